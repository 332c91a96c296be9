// A binary heap in a random-access container. Upstream counterpart: Lib/heapq.py.
// It compares only with <, and moves items exactly as Python's does. So equal items, such as timers with the same
// deadline, come out in the same order as upstream, which is not the order of their arrival.
#pragma once

#include <cstddef>
#include <utility>

namespace asyncio {

/// Moves the item at `position` towards `start`, past every parent that is greater. asyncio: heapq._siftdown
template <class Heap> void heap_siftdown(Heap& heap, std::size_t start, std::size_t position) {
  auto item = std::move(heap[position]);
  while (position > start) {
    const std::size_t parent = (position - 1) / 2;
    if (!(item < heap[parent])) break;
    heap[position] = std::move(heap[parent]);
    position = parent;
  }
  heap[position] = std::move(item);
}

/// Moves the smaller child up until a leaf is free, puts the item there and moves it up to its place. That takes fewer
/// comparisons than stopping early, and it decides the order of equal items. asyncio: heapq._siftup
template <class Heap> void heap_siftup(Heap& heap, std::size_t position) {
  const std::size_t start = position;
  auto item = std::move(heap[position]);
  for (std::size_t child = 2 * position + 1; child < heap.size(); child = 2 * position + 1) {
    if (child + 1 < heap.size() && !(heap[child] < heap[child + 1])) ++child;
    heap[position] = std::move(heap[child]);
    position = child;
  }
  heap[position] = std::move(item);
  heap_siftdown(heap, start, position);
}

/// Adds the item. asyncio: heapq.heappush
template <class Heap> void heappush(Heap& heap, typename Heap::value_type item) {
  heap.push_back(std::move(item));
  heap_siftdown(heap, 0, heap.size() - 1);
}

/// Removes and returns the smallest item. The heap must not be empty. asyncio: heapq.heappop
template <class Heap> typename Heap::value_type heappop(Heap& heap) {
  auto item = std::move(heap.back());
  heap.pop_back();
  if (heap.empty()) return item;
  std::swap(heap.front(), item);
  heap_siftup(heap, 0);
  return item;
}

/// Makes a heap of the items, in O(n). asyncio: heapq.heapify
template <class Heap> void heapify(Heap& heap) {
  for (std::size_t i = heap.size() / 2; i-- > 0;) heap_siftup(heap, i);
}

}  // namespace asyncio
