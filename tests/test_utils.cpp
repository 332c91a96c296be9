// What utils.hpp, io_utils.hpp and net.hpp declare and need be compiled but once. There are no tests here.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "tests/net.hpp"

namespace test {

asyncio::Coroutine<void> nothing() { co_return; }
asyncio::Coroutine<int> returns(int value) { co_return value; }
asyncio::Coroutine<std::string> says(std::string text) { co_return text; }

asyncio::Coroutine<int> fails(std::string text) {
  throw asyncio::ValueError(text);
  co_return 0;
}

asyncio::Coroutine<void> sleeps(double seconds) { co_await asyncio::sleep(seconds); }

asyncio::Coroutine<int> later(double seconds, int value) {
  co_await asyncio::sleep(seconds);
  co_return value;
}

asyncio::Coroutine<int> fails_later(double seconds, std::string text) {
  co_await asyncio::sleep(seconds);
  throw asyncio::ValueError(text);
}

asyncio::Coroutine<std::unique_ptr<int>> makes_unique(int value) { co_return std::make_unique<int>(value); }

asyncio::Coroutine<std::unique_ptr<int>> makes_unique(double seconds, int value) {
  co_await asyncio::sleep(seconds);
  co_return std::make_unique<int>(value);
}

asyncio::Coroutine<void> holds(Instance, asyncio::Future<void> future) { co_await future; }

asyncio::Coroutine<int> yields_then_returns(int times, int value) {
  for (int i = 0; i < times; ++i) co_await asyncio::sleep(0);
  co_return value;
}

asyncio::Coroutine<void> await_and_log(asyncio::Future<int> future, Log& log, std::string name) {
  try {
    log.push_back(name + "=" + std::to_string(co_await future));
  } catch (const asyncio::CancelledError& error) {
    log.push_back(name + " cancelled " + error.what());
  }
}

asyncio::Coroutine<void> dies_slowly(double seconds, bool* died) {
  std::exception_ptr cancelled;
  try {
    co_await asyncio::sleep(1000);
  } catch (...) {
    cancelled = std::current_exception();
  }
  co_await asyncio::sleep(seconds);
  if (died) *died = true;
  std::rethrow_exception(cancelled);
}

asyncio::Coroutine<std::string> outcome_of(asyncio::Coroutine<void> coroutine) {
  try {
    co_await coroutine;
  } catch (const asyncio::TimeoutError&) {
    co_return "TimeoutError";
  } catch (const asyncio::CancelledError&) {
    co_return "CancelledError";
  } catch (const std::exception& error) {
    co_return error.what();
  }
  co_return "returned";
}

void cancel_in_random_order(TestLoop& loop, std::vector<asyncio::Task<void>>& tasks) {
  run_once(loop);
  std::shuffle(tasks.begin(), tasks.end(), std::mt19937(7));
  for (const auto& task : tasks) task.cancel();
  run_once(loop, 2);
  CHECK(std::all_of(tasks.begin(), tasks.end(), [](const auto& task) { return task.cancelled(); }));
  CHECK(Instance::alive() == 0);
}

// ---- io_utils.hpp

bool stress() { return std::getenv("ASYNCIO_STRESS") != nullptr; }

asyncio::Coroutine<void> iterations(int n) {
  while (n-- > 0) co_await asyncio::sleep(0);
}

void catch_exceptions(Contexts& caught) {
  asyncio::get_running_loop().set_exception_handler(
      [&caught](asyncio::EventLoop&, const asyncio::ExceptionContext& context) { caught.push_back(context); });
}

std::ptrdiff_t open_fds() { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}) - 1; }

bool has_children() {
  siginfo_t info;
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

std::ptrdiff_t thread_count() {
  constexpr unsigned PF_EXITING = 4;  // linux/sched.h
  const auto runs = [](const std::filesystem::directory_entry& thread) {
    std::ifstream stat(thread.path() / "stat");
    stat.ignore(std::numeric_limits<std::streamsize>::max(), ')');  // the name, which may have spaces
    std::string skipped;
    for (int i = 0; i < 6; ++i) stat >> skipped;  // state, ppid, pgrp, session, tty, tpgid
    unsigned flags = 0;
    return (stat >> flags) && !(flags & PF_EXITING);
  };
  return std::count_if(std::filesystem::directory_iterator("/proc/self/task"), {}, runs);
}

std::size_t resident() {
  std::size_t pages = 0, used = 0;
  std::ifstream("/proc/self/statm") >> pages >> used;
  return used * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t peak_resident() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

std::pair<int, int> raw_socket_pair(int type) {
  int ends[2];
  asyncio::check_call(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), "socketpair");
  return {ends[0], ends[1]};
}

asyncio::Coroutine<Streams> open_socket(int fd, std::size_t limit) {
  return asyncio::open_connection("", 0, {.limit = limit, .sock = fd});
}

TemporaryDirectory::TemporaryDirectory() {
  char name[] = "/tmp/asyncio-test-XXXXXX";
  path_ = asyncio::check_call(::mkdtemp(name) ? 0 : -1, "mkdtemp") == 0 ? name : "";
}
TemporaryDirectory::~TemporaryDirectory() { std::filesystem::remove_all(path_); }

// ---- net.hpp

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

std::pair<Fd, Fd> socket_pair(int type) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

Fd reopen_as(int number, int source) {
  REQUIRE(::fcntl(number, F_GETFD) < 0);
  REQUIRE(::dup2(source, number) == number);
  return Fd(number);
}

Fd make_socket(int type, int family) {
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  REQUIRE(fd >= 0);
  return Fd(fd);
}

Fd bound_socket(int type) {
  Fd socket = make_socket(type);
  const asyncio::SocketAddress address("127.0.0.1", 0);
  REQUIRE(::bind(socket, address.data(), address.size()) == 0);
  return socket;
}

Fd listening_socket(int backlog) {
  Fd socket = bound_socket();
  REQUIRE(::listen(socket, backlog) == 0);
  return socket;
}

std::pair<Fd, Fd> tcp_pair() {
  const Fd listener = listening_socket();
  const asyncio::SocketAddress address = asyncio::getsockname(listener);
  Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(client, address.data(), address.size()) == 0);
  asyncio::set_blocking(client, false);
  asyncio::set_blocking(listener, true);
  const int server = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  REQUIRE(server >= 0);
  return {std::move(client), Fd(server)};
}

asyncio::SocketAddress unused_address(int type) { return asyncio::getsockname(bound_socket(type)); }

void send_all(int fd, std::string_view data) {
  REQUIRE(::write(fd, data.data(), data.size()) == static_cast<ssize_t>(data.size()));
}

std::string receive_all(int fd) {
  std::string all, bytes(1 << 16, '\0');
  for (;;) {
    const ssize_t n = ::read(fd, bytes.data(), bytes.size());
    if (n <= 0) return all;
    all.append(bytes, 0, static_cast<std::size_t>(n));
  }
}

std::size_t fill(int fd) {
  std::size_t filled = 0;
  for (std::size_t size = 1 << 16; size >= 1; size /= 2) {
    const std::string data(size, ' ');
    for (;;) {
      const ssize_t n = ::write(fd, data.data(), data.size());
      if (n <= 0) break;
      filled += static_cast<std::size_t>(n);
    }
  }
  return filled;
}

void reset(Fd& fd) {
  const linger now{1, 0};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
  fd.close();
}

std::string digits(std::size_t n) {
  std::string text = "0123456789";
  while (text.size() < n) text += text;
  text.resize(n);
  return text;
}

int code_of(const std::exception_ptr& exception) {
  if (!exception) return -1;
  try {
    std::rethrow_exception(exception);
  } catch (const asyncio::OSError& error) {
    return error.code().value();
  } catch (...) {
    return 0;
  }
}

asyncio::Coroutine<std::exception_ptr> raised(asyncio::Coroutine<void> awaitable) {
  try {
    co_await std::move(awaitable);
  } catch (...) {
    co_return std::current_exception();
  }
  co_return nullptr;
}

asyncio::Coroutine<Endpoint> endpoint(asyncio::EventLoop& loop, std::optional<asyncio::SocketAddress> local,
                                      std::optional<asyncio::SocketAddress> remote) {
  const auto factory = [] { return std::make_shared<DatagramRecorder>(); };
  const auto [transport, protocol] = co_await loop.create_datagram_endpoint(factory, local, remote);
  co_return Endpoint{transport, protocol};
}

asyncio::Coroutine<std::string> receive(int fd, std::size_t n) {
  std::string all;
  std::string bytes(1 << 16, '\0');
  while (all.size() < n) {
    const ssize_t got = ::read(fd, bytes.data(), bytes.size());
    if (got > 0) all.append(bytes, 0, static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN)) break;
    if (got < 0) co_await asyncio::sleep(0.0005);
  }
  co_return all;
}

}  // namespace test
