// Coroutines, and a loop of their own in one line: the text of serve() is that of fibservsync with a co_await where it
// would block. Look at Ready: the selector's `data` is the coroutine that waits, and the loop resumes it.
#include <coroutine>
#include <exception>

#include "examples/fibservers/fib.hpp"
#include "selectors/selectors.hpp"

selectors::DefaultSelector selector;

// A coroutine that starts at once, and ends for itself.
struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

struct Ready {
  int fd;
  unsigned events;

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiting) const { selector.register_(fd, events, waiting.address()); }
  void await_resume() const { selector.unregister(fd); }
};

Task serve(int client) {
  Lines lines;
  char data[4096];
  for (;;) {
    co_await Ready{client, selectors::EVENT_READ};
    const ssize_t n = ::recv(client, data, sizeof data, 0);
    if (n <= 0) break;
    lines.feed(std::string_view(data, n));
    while (const auto line = lines.next()) {
      for (std::string out = answer(*line); !out.empty();) {
        co_await Ready{client, selectors::EVENT_WRITE};
        const ssize_t sent = send(client, out);
        out.erase(0, sent < 0 ? out.size() : sent);
      }
    }
  }
  ::close(client);
}

Task accept_clients(int server) {
  for (;;) {
    co_await Ready{server, selectors::EVENT_READ};
    const int client = accept(server, SOCK_NONBLOCK);
    if (client >= 0) serve(client);
  }
}

int main(int argc, char** argv) {
  end_on_signals();
  accept_clients(create_server(port_argument(argc, argv), SOCK_NONBLOCK));
  for (;;)
    for (const auto& event : selector.select()) std::coroutine_handle<>::from_address(event.key.data).resume();
}
