// Two loops, one thread: GLib's main loop waits for both, by a selector of ours, glib.hpp.
// Look at Selector::select: GLib's callbacks run inside it, so whoever blocks, blocks everybody.
#include <iostream>
#include <string>
#include <thread>

#include "examples/third_party/common.hpp"
#include "examples/third_party/glib.hpp"

using asyncio::Coroutine;

/// A timer of GLib's that counts, every 10 ms, and notices how long it had to wait.
class Ticker {
 public:
  Ticker() : source_(g_timeout_add(10, tick, this)) {}
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker() { g_source_remove(source_); }
  int ticks = 0;
  double longest_gap = 0;

 private:
  static gboolean tick(void* data) {
    Ticker& self = *static_cast<Ticker*>(data);
    const double now = g_get_monotonic_time() / 1e6;
    self.longest_gap = std::max(self.longest_gap, now - std::exchange(self.last_, now));
    ++self.ticks;
    return G_SOURCE_CONTINUE;
  }
  double last_ = g_get_monotonic_time() / 1e6;
  guint source_;
};

Coroutine<> show_both() {
  const Ticker ticker;
  int ours = 0;
  for (; ours < 20; ++ours) co_await asyncio::sleep(0.01);
  std::cout << "20 sleeps of ours, and GLib's timer ticked: " << (ticker.ticks >= 5) << "\n";
}

// A callback of GLib's wakes a task; a task gives GLib something to do.
Coroutine<> show_wake() {
  asyncio::Future<std::string> news(asyncio::get_running_loop());
  g_idle_add(
      [](void* future) -> gboolean {
        static_cast<asyncio::Future<std::string>*>(future)->set_result("set in an idle callback");
        return G_SOURCE_REMOVE;
      },
      &news);
  const std::string text = co_await news;
  std::cout << "a future: " << text << "\n";
}

Coroutine<> echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  for (std::string line; line = co_await reader.readline(), !line.empty();) writer.write(line);
}

Coroutine<std::string> ask(asyncio::StreamReader reader, asyncio::StreamWriter writer, std::string line) {
  writer.write(line + "\n");
  const std::string answer = co_await reader.readline();
  co_return answer.substr(0, answer.find('\n'));
}

Coroutine<> show_sockets() {
  asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
  const auto streams = co_await asyncio::open_connection("127.0.0.1", server.sockets()[0].port());
  const std::string answer = co_await ask(streams.first, streams.second, "hello");
  std::cout << "our sockets, polled by GLib: " << answer << "\n";
  server.close();
}

Coroutine<> show_gio() {
  const std::string text = co_await glib::load("/proc/self/comm");
  std::cout << "a file, by GIO: " << !text.empty() << "\n";
  const std::string missing = co_await common::error_of(glib::load("/nowhere/at/all"));
  std::cout << "no such file: " << missing << "\n";
}

void compute() { std::this_thread::sleep_for(std::chrono::milliseconds(200)); }

Coroutine<double> longest_of_ours(double seconds) {
  auto& loop = asyncio::get_running_loop();
  double longest = 0, last = loop.time();
  for (const double end = last + seconds; last < end;) {
    co_await asyncio::sleep(0.01);
    longest = std::max(longest, loop.time() - last);
    last = loop.time();
  }
  co_return longest;
}

// Who computes for 0.2 s in this thread stops the others for as long: GLib's callback our tasks, a task GLib's callbacks.
Coroutine<> show_who_blocks_whom() {
  g_idle_add([](void*) -> gboolean { return compute(), G_SOURCE_REMOVE; }, nullptr);
  const double ours = co_await longest_of_ours(0.3);
  std::cout << "a callback of GLib's computes; our tasks wait: " << (ours >= 0.2) << "\n";
  const Ticker ticker;
  compute();
  co_await asyncio::sleep(0.05);
  std::cout << "a task computes; GLib's timer waits: " << (ticker.longest_gap >= 0.2) << "\n";
  const Ticker another;
  const double start = asyncio::get_running_loop().time();
  co_await asyncio::get_running_loop().run_in_executor(nullptr, compute);
  const bool computed = asyncio::get_running_loop().time() - start >= 0.2;
  std::cout << "a thread computes: " << computed << "; GLib's timer ticks on: " << (another.ticks >= 5) << "\n";
}

Coroutine<> demonstrate() {
  co_await show_both();
  co_await show_wake();
  co_await show_sockets();
  co_await show_gio();
  co_await show_who_blocks_whom();
}

Coroutine<> measure() {
  const common::Stopwatch rounds;
  for (int i = 0; i < 20000; ++i) co_await asyncio::sleep(0);
  rounds.report("rounds of both loops", 20000);
  asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
  const auto streams = co_await asyncio::open_connection("127.0.0.1", server.sockets()[0].port());
  const common::Stopwatch messages;
  for (int i = 0; i < 3000; ++i) co_await ask(streams.first, streams.second, "hello");
  messages.report("messages", 3000);
  server.close();
}

// Cancels GIO's reading at every moment; the callbacks that still come find nobody, and do no harm.
Coroutine<> cancel_at_random() {
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    const auto task = asyncio::create_task(glib::load("/proc/self/maps"));
    for (int yields = i % 9; yields > 0; --yields) co_await asyncio::sleep(0);
    task.cancel();
    const std::string text = co_await glib::load("/proc/self/comm");
    wrong += text != "13_glib\n";
    cancelled += task.cancelled();
  }
  co_await asyncio::sleep(0.1);
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  const asyncio::RunnerOptions options{.loop_factory = glib::new_event_loop};
  if (arguments.mode == "bench") {
    asyncio::run(measure(), options);
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(), options);
  } else {
    asyncio::run(demonstrate(), options);
  }
}
