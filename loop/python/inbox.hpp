// A queue that any thread may append to, and the pipe that wakes its reader: what the global interpreter lock makes of every
// deque of Python. Upstream counterpart: the self-pipe of Lib/asyncio/selector_events.py.
#pragma once

#include <atomic>
#include <mutex>
#include <span>
#include <vector>

#include "loop/python/memory.hpp"
#include "loop/python/os.hpp"

namespace asyncio {

/// Others may hold it longer than its loop lives. Reference counts are not atomic: it takes references over from one thread
/// and gives them to the other as they are. NOTES [threadsafe-inbox]
class Inbox {
 public:
  Inbox();
  ~Inbox() { close(); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  /// Takes over a reference. False: it is closed, and the reference is still the caller's.
  bool add(Counted* object);
  /// Makes room for one add_announced(), which then cannot fail for want of memory.
  void announce();
  bool add_announced(Counted* object) noexcept;
  /// There is something in it. For the reader's thread.
  bool waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }
  /// Empties it into accept(std::span<Counted* const>); if that throws std::bad_alloc, everything stays.
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
  /// Releases what is in it, and takes no more.
  void close() noexcept;

  /// asyncio: selector_events.BaseSelectorEventLoop._write_to_self
  void write_to_self() noexcept;
  int read_end() const noexcept { return read_end_.get(); }
  /// Where signals announce themselves; -1 once it is closed.
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
