// These functions stand in front of those of the C library, for the whole program: the loop's clock, its selector, and
// std::chrono::steady_clock go through them, and so does std::this_thread::sleep_for. Without VIRTUAL each calls the one
// of the library. A wait takes no time if nothing but this thread could end it. If there are other threads or children,
// it takes the real time.
#include "examples/study/virtual_clock.hpp"

#include <dlfcn.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>

namespace study {
namespace {

constexpr std::int64_t SECOND = 1'000'000'000;
// In nanoseconds. It starts at a round number, so that the sums of delays are round.
constinit std::atomic<std::int64_t> virtual_now = 1000 * SECOND;

template <class Function> Function* next(const char* name) noexcept {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

std::int64_t real_now() noexcept {
  static const auto real = next<decltype(::clock_gettime)>("clock_gettime");
  timespec time{};
  real(CLOCK_MONOTONIC, &time);
  return time.tv_sec * SECOND + time.tv_nsec;
}

bool is_alone() noexcept {
  siginfo_t child;
  if (::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0) return false;
  std::error_code error;
  const std::filesystem::directory_iterator threads("/proc/self/task", error);
  return !error && std::distance(begin(threads), end(threads)) == 1;
}

// A wait of the selector: first without waiting, then as long as nothing else could be ready.
template <class Wait> int wait_virtually(const timespec* timeout, Wait wait) {
  static constexpr timespec AT_ONCE{0, 0};
  const int ready = wait(&AT_ONCE);
  if (ready != 0 || (timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0)) return ready;
  if (timeout && is_alone()) {
    virtual_now += timeout->tv_sec * SECOND + timeout->tv_nsec;
    return 0;
  }
  const std::int64_t start = real_now();
  const int result = wait(timeout);
  virtual_now += real_now() - start;
  return result;
}

}  // namespace

bool clock_is_virtual() noexcept {
  static const bool is_set = [] {
    const char* value = std::getenv("VIRTUAL");
    return value && *value && *value != '0';
  }();
  return is_set;
}

double now() noexcept { return 1e-9 * static_cast<double>(clock_is_virtual() ? virtual_now.load() : real_now()); }

}  // namespace study

using study::clock_is_virtual, study::next, study::virtual_now, study::SECOND;

extern "C" {

// Each look at the clock moves it on by a nanosecond, so that a loop that waits for a time to come ends.
int clock_gettime(clockid_t id, timespec* time) noexcept {
  static const auto real = next<decltype(::clock_gettime)>("clock_gettime");
  if (!clock_is_virtual() || id != CLOCK_MONOTONIC) return real(id, time);
  const std::int64_t now = ++virtual_now;
  *time = {now / SECOND, now % SECOND};
  return 0;
}

int nanosleep(const timespec* wanted, timespec* left) {
  static const auto real = next<decltype(::nanosleep)>("nanosleep");
  if (!clock_is_virtual()) return real(wanted, left);
  virtual_now += wanted->tv_sec * SECOND + wanted->tv_nsec;
  return 0;
}

int clock_nanosleep(clockid_t id, int flags, const timespec* wanted, timespec* left) {
  static const auto real = next<decltype(::clock_nanosleep)>("clock_nanosleep");
  if (!clock_is_virtual() || id != CLOCK_MONOTONIC) return real(id, flags, wanted, left);
  const std::int64_t time = wanted->tv_sec * SECOND + wanted->tv_nsec;
  virtual_now = flags & TIMER_ABSTIME ? std::max(virtual_now.load(), time) : virtual_now + time;
  return 0;
}

int epoll_pwait2(int epfd, epoll_event* events, int size, const timespec* timeout, const sigset_t* mask) {
  static const auto real = next<decltype(::epoll_pwait2)>("epoll_pwait2");
  const auto wait = [&](const timespec* limit) { return real(epfd, events, size, limit, mask); };
  return clock_is_virtual() ? study::wait_virtually(timeout, wait) : wait(timeout);
}

int ppoll(pollfd* fds, nfds_t size, const timespec* timeout, const sigset_t* mask) {
  static const auto real = next<decltype(::ppoll)>("ppoll");
  const auto wait = [&](const timespec* limit) { return real(fds, size, limit, mask); };
  return clock_is_virtual() ? study::wait_virtually(timeout, wait) : wait(timeout);
}

}  // extern "C"
