// Coroutines, and a loop of their own in a few lines: the text of serve() is that of fibservsync with a co_await where it
// would block. Look at Ready: the selector's `data` is the coroutine that waits, and the loop resumes it.
#include <coroutine>
#include <exception>
#include <utility>

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

std::coroutine_handle<> paused;  // who waits for a second, because no descriptor is left for a client

struct Pause {
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiting) const { paused = waiting; }
  void await_resume() const {}
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
    const int client = accept_now(server);
    if (client >= 0) {
      serve(client);
    } else if (program::out_of_descriptors(errno)) {
      co_await Pause{};
    }
  }
}

void serve_clients(const program::Arguments& arguments) {
  program::end_on_signals();
  accept_clients(create_server(arguments.port(PORT), SOCK_NONBLOCK));
  for (;;) {
    const std::coroutine_handle<> resting = std::exchange(paused, nullptr);
    for (const auto& event : selector.select(resting ? std::optional(1.0) : std::nullopt))
      std::coroutine_handle<>::from_address(event.key.data).resume();
    if (resting) resting.resume();
  }
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve_clients); }
