// A queue in a ring of memory. Upstream counterpart: collections.deque.
#pragma once

#include <bit>
#include <cstddef>
#include <memory>
#include <utility>

namespace asyncio {

/// Appends on the right, pops on the left. Unlike in Python's, room is reserved first, so that append() cannot fail.
template <class T> class Deque {
 public:
  bool empty() const noexcept { return head_ == tail_; }
  std::size_t size() const noexcept { return tail_ - head_; }
  /// For how many items there is room.
  std::size_t capacity() const noexcept { return mask_ + 1; }
  /// Makes room for n items.
  void reserve(std::size_t n) {
    if (n <= capacity()) return;
    auto ring = std::make_unique<T[]>(std::bit_ceil(n));
    for (std::size_t i = 0; i < size(); ++i) ring[i] = std::move((*this)[i]);
    ring_ = std::move(ring);
    mask_ = std::bit_ceil(n) - 1;
    tail_ -= std::exchange(head_, 0);
  }
  T& operator[](std::size_t i) const noexcept { return ring_[(head_ + i) & mask_]; }
  void append(T&& item) noexcept { ring_[tail_++ & mask_] = std::move(item); }
  T popleft() noexcept { return std::move(ring_[head_++ & mask_]); }

 private:
  std::size_t mask_ = 0;  // the capacity, which is a power of two, minus one
  std::unique_ptr<T[]> ring_ = std::make_unique<T[]>(1);
  std::size_t head_ = 0, tail_ = 0;
};

}  // namespace asyncio
