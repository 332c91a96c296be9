// What the tests of sockets, pipes, children and threads share: a guard against hanging, and what a process can see of
// itself: descriptors, children, memory, signals.
#pragma once

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/sanitizers.hpp"
#include "tests/utils.hpp"

namespace test {

/// How errors name std::system_error: libc++ has it in a namespace of its own.
inline const std::string SYSTEM_ERROR = asyncio::demangle(typeid(std::system_error).name());

using Contexts = std::vector<asyncio::ExceptionContext>;

/// The stress tests in their full size: ASYNCIO_STRESS=1.
bool stress();

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
asyncio::Coroutine<void> iterations(int n);

/// Waits until the condition holds, looking again and again: whoever runs it guards against its never holding.
template <class Condition> asyncio::Coroutine<void> until(Condition condition) {
  while (!condition()) co_await asyncio::sleep(0.0005);
}

/// What goes to the exception handler of the running loop from now on.
void catch_exceptions(Contexts& caught);

/// How many descriptors this process has open.
std::ptrdiff_t open_fds();

/// Has this process a child, running or dead?
bool has_children();

/// How many threads this process has, without those that end just now: the kernel lists a thread still when its join
/// has returned.
std::ptrdiff_t thread_count();

/// Bytes of memory in use now, and at most so far.
std::size_t resident();
std::size_t peak_resident();

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
std::pair<int, int> raw_socket_pair(int type = SOCK_STREAM | SOCK_NONBLOCK);

/// Streams over a socket that is connected already.
asyncio::Coroutine<Streams> open_socket(int fd, std::size_t limit = asyncio::DEFAULT_LIMIT);

/// A directory for sockets and files, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace test
