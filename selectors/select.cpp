#include "selectors/select.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <string>
#include <utility>

namespace selectors {
namespace {

constexpr double LONGEST_WAIT = 24 * 3600;  // seconds; a longer wait is split into several

double monotonic() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

timespec to_timespec(double seconds) noexcept {  // rounded up: a wait may be late, never early
  const double whole = std::floor(seconds);
  const auto nanoseconds = static_cast<long>(std::ceil((seconds - whole) * 1e9));
  return nanoseconds < 1'000'000'000 ? timespec{static_cast<time_t>(whole), nanoseconds}
                                     : timespec{static_cast<time_t>(whole) + 1, 0};
}

#if !defined(ASYNCIO_NO_EPOLL)
// epoll_pwait2 where the kernel has it, else ENOSYS. Not under ThreadSanitizer: it delivers signals only inside calls
// that it knows, and it does not know this one.
int wait_nanoseconds([[maybe_unused]] int epfd, [[maybe_unused]] epoll_event* events, [[maybe_unused]] int size,
                     [[maybe_unused]] const timespec& limit) {
#if defined(__SANITIZE_THREAD__)
  errno = ENOSYS;
  return -1;
#else
  return ::epoll_pwait2(epfd, events, size, &limit, nullptr);
#endif
}
#endif

// Calls wait_for(seconds) until something is ready or the timeout has passed. A signal handler that interrupts the call
// does not shorten the wait: the call is repeated with the time that is left (PEP 475).
template <class WaitFor> int wait_until_ready(const char* what, std::optional<double> timeout, WaitFor wait_for) {
  const bool forever = !timeout;
  double left = forever ? LONGEST_WAIT : *timeout > 0 ? *timeout : 0;
  const double deadline = forever || left == 0 ? 0 : monotonic() + left;
  for (;;) {
    const int n = wait_for(std::min(left, LONGEST_WAIT));
    if (n > 0) return n;
    if (n < 0) errno == EINTR ? interrupted() : throw_errno(what);
    if (deadline != 0) left = std::max(deadline - monotonic(), 0.0);
    if (n == 0 && left == 0) return 0;
  }
}

}  // namespace

void throw_errno(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

std::vector<pollfd>::iterator Poll::find(int fd) noexcept {
  return std::find_if(fds_.begin(), fds_.end(), [fd](const pollfd& entry) { return entry.fd == fd; });
}

void Poll::add(int fd, unsigned events) {
  if (fcntl(fd, F_GETFD) < 0) throw_errno("fd " + std::to_string(fd) + " is not open: poll cannot wait for it");
  fds_.push_back({fd, static_cast<short>(events), 0});
}

void Poll::modify(int fd, unsigned events) {
  if (fcntl(fd, F_GETFD) < 0) throw_errno("fd " + std::to_string(fd) + " was closed while it was registered");
  find(fd)->events = static_cast<short>(events);
}

void Poll::remove(int fd) noexcept {
  *find(fd) = fds_.back();
  fds_.pop_back();
}

std::span<const PolledEvent> Poll::wait(std::optional<double> timeout) {
  wait_until_ready("poll", timeout, [this](double seconds) {
    const timespec limit = to_timespec(seconds);
    return ::ppoll(fds_.data(), fds_.size(), &limit, nullptr);
  });
  ready_.clear();
  for (const pollfd& entry : fds_) {
    if (entry.revents != 0) ready_.push_back({entry.fd, static_cast<unsigned short>(entry.revents)});
  }
  return ready_;
}

#if !defined(ASYNCIO_NO_EPOLL)
Epoll::Epoll() : buffer_(1), epfd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (epfd_ < 0) throw_errno("epoll_create1");
}

void Epoll::close() noexcept {
  if (epfd_ >= 0) ::close(std::exchange(epfd_, -1));
}

void Epoll::control(int operation, int fd, unsigned events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = std::uint64_t{generation_} << 32 | static_cast<std::uint32_t>(fd);
  if (::epoll_ctl(epfd_, operation, fd, &event) == 0) return;
  const std::string name = "fd " + std::to_string(fd);
  if (errno == EPERM) {
    throw_errno(name + " is a regular file: epoll cannot wait for it; read it in a thread, or use PollSelector");
  }
  if (errno == ENOENT) throw_errno(name + " was closed and its number reused while it was registered");
  throw_errno(name + (errno == EBADF ? " is not open" : ": epoll_ctl"));
}

void Epoll::add(int fd, unsigned events) {
  ++generation_;
  if (registrations_.size() <= static_cast<std::size_t>(fd)) registrations_.resize(fd + 1);
  buffer_.resize(registrations_.size());  // one call reports every descriptor that is ready
  ready_.reserve(buffer_.size());
  control(EPOLL_CTL_ADD, fd, events);
  registrations_[fd] = {events, generation_};
}

void Epoll::modify(int fd, unsigned events) {
  ++generation_;
  control(EPOLL_CTL_MOD, fd, events);
  registrations_[fd] = {events, generation_};
}

void Epoll::remove(int fd) noexcept {
  epoll_event unused{};
  // May fail, because the kernel has already removed a descriptor that was closed.
  ::epoll_ctl(epfd_, EPOLL_CTL_DEL, fd, &unused);
  registrations_[fd] = {};
}

void Epoll::block(std::optional<double> timeout) {
  const int size = static_cast<int>(buffer_.size());
  wait_until_ready("epoll_wait", timeout, [&](double seconds) {
    const timespec limit = to_timespec(seconds);
    int n = wait_nanoseconds(epfd_, buffer_.data(), size, limit);
    // before Linux 5.11, and under valgrind, a wait can only be given in milliseconds
    if (n < 0 && errno == ENOSYS)
      n = ::epoll_wait(epfd_, buffer_.data(), size, static_cast<int>(std::ceil(seconds * 1e3)));
    return n > 0 ? collect(n) : n;
  });
}

// Keeps the events of current registrations and returns their number. An event is stale when its descriptor was closed
// here while a duplicate keeps the file open.
int Epoll::collect(int n) {
  bool stale = false;
  for (const epoll_event& event : std::span(buffer_).first(n)) {
    const auto fd = static_cast<std::uint32_t>(event.data.u64);
    const bool current = fd < registrations_.size() && registrations_[fd].generation == event.data.u64 >> 32;
    if (current) ready_.push_back({static_cast<int>(fd), event.events});
    stale |= !current;
  }
  if (stale) rebuild();
  return static_cast<int>(ready_.size());
}

// A descriptor that was closed while a duplicate of it is open stays in the kernel's table under its old number, and
// epoll_ctl cannot remove it. Its events are recognised by their generation. To stop them, a new table is made from the
// registrations that are still valid.
void Epoll::rebuild() {
  Epoll fresh;
  for (std::size_t fd = 0; fd < registrations_.size(); ++fd) {
    if (registrations_[fd].events == 0) continue;
    try {
      modify(static_cast<int>(fd), registrations_[fd].events);
      fresh.generation_ = generation_ - 1;
      fresh.add(static_cast<int>(fd), registrations_[fd].events);
    } catch (const std::system_error&) {
      registrations_[fd] = {};  // the file was closed: nothing is left to wait for
    }
  }
  std::swap(epfd_, fresh.epfd_);
}
#endif

}  // namespace selectors
