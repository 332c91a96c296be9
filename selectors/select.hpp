// The two system calls in which an event loop can wait, poll(2) and epoll(7), with the same methods.
// Upstream counterpart: Modules/selectmodule.c, the objects that select.poll() and select.epoll() return.
#pragma once

#if !defined(__linux__) && !defined(ASYNCIO_NO_EPOLL)
#define ASYNCIO_NO_EPOLL  // only poll(2)
#endif

#include <poll.h>
#if !defined(ASYNCIO_NO_EPOLL)
#include <sys/epoll.h>
#endif

#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace selectors {

/// A descriptor that the kernel reported. `events` are the raw POLLIN, POLLOUT, POLLHUP … (epoll uses the same bits).
struct PolledEvent {
  int fd;
  unsigned events;
};

/// Raises std::system_error (upstream: OSError) with the current errno. `what` says which call failed and what to do.
[[noreturn]] void throw_errno(const std::string& what);

/// Called each time a signal interrupts a wait, before the wait goes on with the time that is left. What it throws ends
/// the wait. A host sets it, before any thread waits, to run its own signal handlers. Upstream: PyErr_CheckSignals
inline void (*interrupted)() = [] {};

/// poll(2): every call passes all descriptors to the kernel, so waiting costs O(descriptors).
class Poll {
 public:
  /// Starts waiting for events, POLLIN and POLLOUT. std::system_error if the descriptor is not open.
  void add(int fd, unsigned events);
  /// Changes the events of a descriptor that was added. Errors as add().
  void modify(int fd, unsigned events);
  /// Forgets a descriptor that was added.
  void remove(int fd) noexcept;

  /// Blocks for at most `timeout` seconds (nullopt: no limit; <= 0: not at all). An empty result means that the whole
  /// timeout has passed. The span is valid until the next call.
  std::span<const PolledEvent> wait(std::optional<double> timeout);
  /// Forgets all descriptors.
  void close() noexcept { fds_.clear(); }

 private:
  std::vector<pollfd>::iterator find(int fd) noexcept;

  std::vector<pollfd> fds_;
  std::vector<PolledEvent> ready_;
};

#if !defined(ASYNCIO_NO_EPOLL)
/// epoll(7): the kernel keeps the table of descriptors, so waiting costs O(descriptors that are ready).
class Epoll {
 public:
  /// std::system_error if the kernel gives no descriptor for the table.
  Epoll();
  ~Epoll() { close(); }
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  /// As Poll::add. Also std::system_error for a regular file: epoll cannot wait for one.
  void add(int fd, unsigned events);
  /// As Poll::modify.
  void modify(int fd, unsigned events);
  /// As Poll::remove.
  void remove(int fd) noexcept;
  /// As Poll::wait. Inline because a busy loop polls in every iteration, and a function return right after a system
  /// call is slow.
  std::span<const PolledEvent> wait(std::optional<double> timeout) {
    ready_.clear();
    if (!timeout || *timeout > 0) {
      block(timeout);
    } else {
      const int n = ::epoll_wait(epfd_, buffer_.data(), static_cast<int>(buffer_.size()), 0);
      if (n > 0) collect(n);
      if (n < 0 && errno != EINTR) throw_errno("epoll_wait");
    }
    return ready_;
  }
  /// Closes the kernel's table. No effect the second time.
  void close() noexcept;

 private:
  void control(int operation, int fd, unsigned events);
  void block(std::optional<double> timeout);
  int collect(int n);
  void rebuild();

  struct Registration {
    unsigned events = 0;
    std::uint32_t generation = 0;  // of the last add() or modify(): tells a reused number from its old owner
  };

  std::vector<epoll_event> buffer_;  // before epfd_: if its allocation fails, nothing has to be closed
  int epfd_;
  std::vector<Registration> registrations_;  // indexed by descriptor, because the kernel gives out small numbers
  std::uint32_t generation_ = 0;
  std::vector<PolledEvent> ready_;
};
#endif

}  // namespace selectors
