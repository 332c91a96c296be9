// The same, and a few threads that compute: a slow request stops nobody.
// Look at the way back: a thread may not resume a coroutine of the loop's, so it writes which one into a pipe, and the
// loop reads the pipe as it reads a client.
#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "examples/fibservers/fib.hpp"
#include "selectors/selectors.hpp"

selectors::DefaultSelector selector;
int pipe_ends[2];

// The jobs that no thread has taken yet.
class Jobs {
 public:
  void put(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    changed_.notify_one();
  }
  std::function<void()> get() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !jobs_.empty(); });
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
} jobs;

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

struct Answered {
  const std::string& line;
  std::string* out;

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiting) const {
    jobs.put([this, waiting] {
      *out = answer(line);
      void* const address = waiting.address();
      if (::write(pipe_ends[1], &address, sizeof address) < 0) std::terminate();
    });
  }
  void await_resume() const {}
};

Task resume_answered() {
  for (void* address;;) {
    co_await Ready{pipe_ends[0], selectors::EVENT_READ};
    if (::read(pipe_ends[0], &address, sizeof address) > 0) std::coroutine_handle<>::from_address(address).resume();
  }
}

Task serve(int client) {
  Lines lines;
  char data[4096];
  for (;;) {
    co_await Ready{client, selectors::EVENT_READ};
    const ssize_t n = ::recv(client, data, sizeof data, 0);
    if (n <= 0) break;
    lines.feed(std::string_view(data, n));
    while (const auto line = lines.next()) {
      std::string out;
      co_await Answered{*line, &out};
      while (!out.empty()) {
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

void work() {
  for (;;) jobs.get()();
}

void serve_clients(const program::Arguments& arguments) {
  program::end_on_signals();
  const int server = create_server(arguments.port(PORT), SOCK_NONBLOCK);
  asyncio::check_call(::pipe(pipe_ends), "pipe");
  for (int i = 0; i < 4; ++i) std::thread(work).detach();
  resume_answered();
  accept_clients(server);
  for (;;) {
    const std::coroutine_handle<> resting = std::exchange(paused, nullptr);
    for (const auto& event : selector.select(resting ? std::optional(1.0) : std::nullopt))
      std::coroutine_handle<>::from_address(event.key.data).resume();
    if (resting) resting.resume();
  }
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve_clients); }
