// The timers, earliest first. Upstream counterpart: Lib/heapq.py.
#pragma once

#include <cstddef>
#include <vector>

#include "loop/events.hpp"

namespace asyncio {

/// A binary heap that compares `when` alone and moves exactly as Python's heapq does, so that timers with
/// equal deadlines come out in upstream's order, which is not that of their creation. The time stands beside
/// the pointer: sifting stays in the cache.
class TimerHeap {
 public:
  struct Entry {
    double when;
    Ref<TimerHandleState> handle;
  };

  bool empty() const noexcept { return entries_.empty(); }
  std::size_t size() const noexcept { return entries_.size(); }
  const Entry& front() const noexcept { return entries_.front(); }
  /// asyncio: heapq.heappush
  void push(Entry entry);
  /// asyncio: heapq.heappop
  Ref<TimerHandleState> pop();
  /// Drops the entries the predicate matches, then restores the order. asyncio: heapq.heapify
  template <class Predicate> void erase_if(Predicate matches) {
    std::erase_if(entries_, [&](const Entry& entry) { return matches(*entry.handle); });
    heapify();
  }
  std::vector<Entry> take_all() noexcept { return std::exchange(entries_, {}); }

 private:
  void heapify();
  void siftdown(std::size_t start, std::size_t position);
  void siftup(std::size_t position);

  std::vector<Entry> entries_;
};

}  // namespace asyncio
