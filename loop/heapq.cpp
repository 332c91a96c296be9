#include "loop/heapq.hpp"

#include <utility>

namespace asyncio {

void TimerHeap::push(Entry entry) {
  entries_.push_back(std::move(entry));
  siftdown(0, entries_.size() - 1);
}

Ref<TimerHandleState> TimerHeap::pop() {
  Entry last = std::move(entries_.back());
  entries_.pop_back();
  if (entries_.empty()) return std::move(last.handle);
  std::swap(entries_.front(), last);
  siftup(0);
  return std::move(last.handle);
}

void TimerHeap::heapify() {
  for (std::size_t i = entries_.size() / 2; i-- > 0;) siftup(i);
}

// Moves the entry at `position` towards `start`, past every parent that is due later.
void TimerHeap::siftdown(std::size_t start, std::size_t position) {
  Entry entry = std::move(entries_[position]);
  while (position > start) {
    const std::size_t parent = (position - 1) / 2;
    if (!(entry.when < entries_[parent].when)) break;
    entries_[position] = std::move(entries_[parent]);
    position = parent;
  }
  entries_[position] = std::move(entry);
}

// Moves the smaller child up until a leaf is free, puts the entry there and lets it sink back to its place:
// as heapq does, for it saves comparisons, and for the order of equal times.
void TimerHeap::siftup(std::size_t position) {
  const std::size_t start = position, end = entries_.size();
  Entry entry = std::move(entries_[position]);
  for (std::size_t child = 2 * position + 1; child < end; child = 2 * position + 1) {
    if (child + 1 < end && !(entries_[child].when < entries_[child + 1].when)) ++child;
    entries_[position] = std::move(entries_[child]);
    position = child;
  }
  entries_[position] = std::move(entry);
  siftdown(start, position);
}

}  // namespace asyncio
