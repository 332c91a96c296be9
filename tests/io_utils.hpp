// What the tests of sockets, pipes, children and threads share: a guard against hanging, and what a process can see of
// itself: descriptors, children, memory, signals.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

namespace test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool TSAN = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool TSAN = true;
#else
inline constexpr bool TSAN = false;
#endif
#else
inline constexpr bool TSAN = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool ASAN = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool ASAN = true;
#else
inline constexpr bool ASAN = false;
#endif
#else
inline constexpr bool ASAN = false;
#endif

using Contexts = std::vector<asyncio::ExceptionContext>;

/// The stress tests in their full size: ASYNCIO_STRESS=1.
inline bool stress() { return std::getenv("ASYNCIO_STRESS") != nullptr; }

/// asyncio::run of a callable, which fails with a TimeoutError instead of hanging.
template <class F> auto run_io(F body, double seconds = 60, asyncio::RunnerOptions options = {}) {
  auto guarded = [&]() -> decltype(body()) { co_return co_await asyncio::wait_for(body(), seconds); };
  return asyncio::run(guarded, options);
}

/// The type and text of what the coroutine throws; "" if it throws nothing.
template <class T> asyncio::Coroutine<std::string> thrown_by(asyncio::Coroutine<T> coroutine) {
  std::string text;
  try {
    static_cast<void>(co_await std::move(coroutine));
  } catch (...) {
    text = asyncio::describe(std::current_exception());
  }
  co_return text;
}

/// The errno of the OSError that the coroutine throws; 0 if it throws nothing.
template <class T> asyncio::Coroutine<int> errno_of(asyncio::Coroutine<T> coroutine) {
  int code = 0;
  try {
    static_cast<void>(co_await std::move(coroutine));
  } catch (const asyncio::OSError& error) {
    code = error.code().value();
  }
  co_return code;
}

/// Gives the loop n iterations.
inline asyncio::Coroutine<void> iterations(int n) {
  while (n-- > 0) co_await asyncio::sleep(0);
}

/// Waits until the condition holds, looking again and again: whoever runs it guards against its never holding.
template <class Condition> asyncio::Coroutine<void> until(Condition condition) {
  while (!condition()) co_await asyncio::sleep(0.0005);
}

/// What goes to the exception handler of the running loop from now on.
inline void catch_exceptions(Contexts& caught) {
  asyncio::get_running_loop().set_exception_handler(
      [&caught](asyncio::EventLoop&, const asyncio::ExceptionContext& context) { caught.push_back(context); });
}

/// How many descriptors this process has open.
inline std::ptrdiff_t open_fds() { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}) - 1; }

/// Has this process a child, running or dead?
inline bool has_children() {
  siginfo_t info;
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/// How many threads this process has.
inline std::ptrdiff_t thread_count() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

/// Bytes of memory in use now, and at most so far.
inline std::size_t resident() {
  std::size_t pages = 0, used = 0;
  std::ifstream("/proc/self/statm") >> pages >> used;
  return used * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}
inline std::size_t peak_resident() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

/// Sets an environment variable, or unsets it for null, until the end of the scope.
class SetEnvironment {
 public:
  SetEnvironment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~SetEnvironment() { set(before_ ? before_->c_str() : nullptr); }
  SetEnvironment(const SetEnvironment&) = delete;
  SetEnvironment& operator=(const SetEnvironment&) = delete;

 private:
  void set(const char* value) { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }

  const char* name_;
  std::optional<std::string> before_;
};

/// What the process does when the signal comes.
inline auto action_of(int signum) {
  struct sigaction action;
  ::sigaction(signum, nullptr, &action);
  return action.sa_handler;
}

/// Runs f in a child process, which ends when it hangs; the status it ends with, -1 if there is none.
template <class F> int status_of_child(F f) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(5);
    ::signal(SIGSEGV, SIG_DFL);
    f();
    ::_exit(0);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child ? status : -1;
}

using Streams = std::pair<asyncio::StreamReader, asyncio::StreamWriter>;

/// Two connected sockets, for whom takes them over.
inline std::pair<int, int> raw_socket_pair() {
  int ends[2];
  asyncio::check_call(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), "socketpair");
  return {ends[0], ends[1]};
}

/// Streams over a socket that is connected already.
inline asyncio::Coroutine<Streams> open_socket(int fd, std::size_t limit = asyncio::DEFAULT_LIMIT) {
  return asyncio::open_connection("", 0, {.limit = limit, .sock = fd});
}

/// A directory for sockets and files, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/asyncio-test-XXXXXX";
    path_ = asyncio::check_call(::mkdtemp(name) ? 0 : -1, "mkdtemp") == 0 ? name : "";
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace test
