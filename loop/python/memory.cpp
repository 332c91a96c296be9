#include "loop/python/memory.hpp"

#include <atomic>
#include <new>
#include <vector>

#include "loop/python/builtins.hpp"

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

// Closed until the thread needs a block: what a thread gives back that never takes one goes to the others at once.
constinit thread_local Pool pool{.free = {}, .closed = true};

static constinit std::atomic<Pool::Block*> given[Pool::CLASSES] = {};  // by threads that have ended

void pool_give(std::size_t size_class, Pool::Block* list) noexcept {
  while (Pool::Block* block = list) {
    list = block->next;
    block->next = given[size_class].load(std::memory_order_relaxed);
    while (!given[size_class].compare_exchange_weak(block->next, block, std::memory_order_release)) {}
  }
}

// Takes all blocks that were given, because another thread may take the first one meanwhile; else makes new ones, which
// share a piece of memory that is never freed.
void pool_grow(std::size_t size_class) {
  static thread_local const Finally give_all_when_the_thread_ends((pool.closed = false, [] {
    pool.closed = true;
    for (std::size_t i = 0; i < Pool::CLASSES; ++i) pool_give(i, std::exchange(pool.free[i], nullptr));
  }));
  Pool::Block*& free = pool.free[size_class];
  free = given[size_class].exchange(nullptr, std::memory_order_acquire);
  if (free) return;
  auto* memory = static_cast<std::byte*>(::operator new(64 * size_class * Pool::STEP));
  for (int i = 0; i < 64; ++i, memory += size_class * Pool::STEP) free = new (memory) Pool::Block{free};
}

#endif

}  // namespace asyncio
