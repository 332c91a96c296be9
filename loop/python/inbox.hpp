// A queue to which any thread may append, and the pipe that wakes its reader. In Python any deque can be that queue,
// because the global interpreter lock protects it. Upstream counterpart: the self-pipe of
// Lib/asyncio/selector_events.py.
#pragma once

#include <atomic>
#include <mutex>
#include <span>
#include <vector>

#include "loop/python/memory.hpp"
#include "loop/python/os.hpp"

namespace asyncio {

/// It may outlive its loop. Reference counts are not atomic, so references are moved from one thread to the other
/// without changing the counts. NOTES [threadsafe-inbox]
class Inbox {
 public:
  Inbox();
  ~Inbox() { close(); }

  /// Takes ownership of a reference and wakes the loop. Returns false if the inbox is closed; the caller then still
  /// owns the reference.
  bool add(Counted* object);
  /// Reserves memory for one add_announced(), which can then not fail.
  void announce();
  bool add_announced(Counted* object) noexcept;
  /// Whether it is not empty. For the reader's thread.
  bool waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }
  /// Passes everything to accept(std::span<Counted* const>), which takes ownership. If accept throws std::bad_alloc,
  /// everything stays in the inbox.
  template <class F> void take(F accept) noexcept {
    const std::lock_guard lock(mutex_);
    try {
      accept(std::span<Counted* const>(objects_));
    } catch (const std::bad_alloc&) {
      return;
    }
    objects_.clear();
    waiting_ = false;
  }
  /// Releases everything in it. From now on add() returns false.
  void close() noexcept;

  /// Wakes the loop. asyncio: selector_events.BaseSelectorEventLoop._write_to_self
  void write_to_self() noexcept;
  int read_end() const noexcept { return read_end_.get(); }
  /// The descriptor to which the signal handler writes; -1 once it is closed.
  int write_end() const noexcept { return write_end_.get(); }

 private:
  void make_room();
  bool push(Counted* object) noexcept;

  std::mutex mutex_;
  std::vector<Counted*> objects_;
  std::size_t announced_ = 0;
  std::atomic<bool> waiting_ = false;
  bool closed_ = false;
  FileDescriptor read_end_, write_end_;
};

}  // namespace asyncio
