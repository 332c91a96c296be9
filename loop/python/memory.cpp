#include "loop/python/memory.hpp"

#include <new>
#include <vector>

namespace asyncio {

void destroy_in_turn(const Counted* object) noexcept {
  static constinit thread_local std::vector<const Counted*>* in_turn = nullptr;
  if (in_turn) {
    try {
      return in_turn->push_back(object);
    } catch (const std::bad_alloc&) {
      delete object;  // without memory for the list, destroy it at once
      return;
    }
  }
  std::vector<const Counted*> others;
  in_turn = &others;
  delete object;
  while (!others.empty()) {
    const Counted* next = others.back();
    others.pop_back();
    delete next;
  }
  in_turn = nullptr;
}

#if !defined(ASYNCIO_NO_POOL)

// Closed until pool_grow() opens it: of a thread that only gives blocks back, nothing would free them.
constinit thread_local Pool pool{.free = {}, .closed = true};

namespace {

// Frees a thread's unused blocks when the thread ends.
struct Drain {
  Drain() { pool.closed = false; }
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
