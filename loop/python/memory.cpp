#include "loop/python/memory.hpp"

#include <new>

namespace asyncio {

#if !defined(ASYNCIO_NO_POOL)

constinit thread_local Pool pool{};

namespace {

// Gives a thread's free blocks back when the thread ends.
struct Drain {
  ~Drain() {
    pool.closed = true;
    for (Pool::Block*& list : pool.free) {
      while (list) ::operator delete(std::exchange(list, list->next));
    }
  }
};

}  // namespace

void* pool_grow(std::size_t size) {
  static thread_local Drain drain;
  (void)drain;
  return ::operator new(Pool::class_of(size) * Pool::STEP + 8);
}

#endif

}  // namespace asyncio
