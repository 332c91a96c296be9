// An event loop from scratch, for sockets only: a selector, and coroutines that resume when their operation is done.
// There is no future, no task, no callback: what waits is the operation itself, which is also the awaiter. So nobody can
// wait for two things, nobody can be cancelled, no coroutine can await another one, and the only timer is a pause.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <coroutine>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "loop/python/sockets.hpp"
#include "selectors/selectors.hpp"

namespace myloop {

/// A coroutine that runs at once, and frees itself at its end. Nobody hears of it again.
struct Coroutine {
  struct promise_type {
    Coroutine get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

inline selectors::DefaultSelector selector;

/// Something to do on a socket: try, and again whenever the selector says so, until it is done.
class Operation {
 public:
  Operation(int fd, unsigned events) : fd_(fd), events_(events) {}
  bool await_ready() { return done(attempt()); }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    selector.register_(fd_, events_, this);
  }
  void on_ready() {
    if (!done(attempt())) return;
    selector.unregister(fd_);
    waiter_.resume();
  }

 protected:
  virtual ssize_t attempt() = 0;
  virtual bool complete() { return true; }
  ssize_t result() const {
    if (n_ < 0) throw std::system_error(error_, std::generic_category());
    return n_;
  }
  const int fd_;

 private:
  bool done(ssize_t n) {
    n_ = n;
    error_ = errno;
    return n < 0 ? error_ != EAGAIN : complete();
  }
  unsigned events_;
  ssize_t n_ = 0;
  int error_ = 0;
  std::coroutine_handle<> waiter_;
};

struct sock_recv : Operation {
  sock_recv(int fd, std::size_t n) : Operation(fd, selectors::EVENT_READ), data(n, '\0') {}
  ssize_t attempt() override { return ::recv(fd_, data.data(), data.size(), 0); }
  std::string await_resume() {
    data.resize(result());
    return std::move(data);
  }
  std::string data;
};

struct sock_sendall : Operation {
  sock_sendall(int fd, std::string_view data) : Operation(fd, selectors::EVENT_WRITE), data(data) {}
  ssize_t attempt() override {
    const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (n > 0) data.remove_prefix(n);
    return n;
  }
  bool complete() override { return data.empty(); }
  void await_resume() { result(); }
  std::string_view data;
};

struct sock_accept : Operation {
  explicit sock_accept(int fd) : Operation(fd, selectors::EVENT_READ) {}
  ssize_t attempt() override { return ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }
  std::pair<int, asyncio::SocketAddress> await_resume() {
    const int client = static_cast<int>(result());
    return {client, asyncio::getpeername(client).value_or(asyncio::SocketAddress("0.0.0.0", 0))};
  }
};

inline std::coroutine_handle<> paused;

/// A second at most, for one coroutine at a time.
struct pause {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> waiter) { paused = waiter; }
  void await_resume() {}
};

/// An operation that is ready may close a socket that is ready, too, but not another one's: each has one coroutine.
[[noreturn]] inline void run_forever() {
  for (;;) {
    const std::coroutine_handle<> resting = std::exchange(paused, nullptr);
    for (const auto& event : selector.select(resting ? std::optional(1.0) : std::nullopt))
      static_cast<Operation*>(event.key.data)->on_ready();
    if (resting) resting.resume();
  }
}

}  // namespace myloop
