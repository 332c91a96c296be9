// The two system calls an event loop waits in, poll(2) and epoll(7), behind one set of methods.
// Upstream counterpart: Modules/selectmodule.c, the objects that select.poll() and select.epoll() return.
#pragma once

#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace selectors {

/// One descriptor the kernel reported: events are the raw POLLIN, POLLOUT, POLLHUP … (epoll uses the same
/// bits).
struct PolledEvent {
  int fd;
  unsigned events;
};

/// Raises std::system_error (upstream: OSError) with errno as it stands; `what` says which call failed and
/// what to do.
[[noreturn]] void throw_errno(const std::string& what);

/// poll(2): the kernel is told of every descriptor in every call, so waiting costs O(descriptors).
class Poll {
 public:
  /// Each raises std::system_error when the descriptor is not open. Events are POLLIN and POLLOUT.
  void add(int fd, unsigned events);
  void modify(int fd, unsigned events);
  void remove(int fd) noexcept;

  /// Blocks for at most `timeout` seconds (nullopt: for ever; <= 0: not at all). Never returns empty early.
  /// The span is valid until the next call.
  std::span<const PolledEvent> wait(std::optional<double> timeout);
  void close() noexcept { fds_.clear(); }

 private:
  std::vector<pollfd>::iterator find(int fd) noexcept;

  std::vector<pollfd> fds_;
  std::vector<PolledEvent> ready_;
};

/// epoll(7): the kernel keeps the table, so waiting costs O(descriptors that are ready).
class Epoll {
 public:
  Epoll();
  ~Epoll() { close(); }
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  void add(int fd, unsigned events);
  void modify(int fd, unsigned events);
  void remove(int fd) noexcept;
  /// As Poll::wait. Inline, because a busy loop polls in every iteration, and after a system call each return costs most.
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
  void close() noexcept;

 private:
  void control(int operation, int fd, unsigned events);
  void block(std::optional<double> timeout);
  int collect(int n);
  void rebuild();

  struct Registration {
    unsigned events = 0;
    std::uint32_t generation = 0;  // which add() it was: tells a reused number from its old owner
  };

  std::vector<epoll_event> buffer_;  // before epfd_: if there is no memory for it, nothing is open yet
  int epfd_;
  std::vector<Registration> registrations_;  // indexed by descriptor: the kernel hands out small numbers
  std::uint32_t generation_ = 0;
  std::vector<PolledEvent> ready_;
};

}  // namespace selectors
