// What the kernel and the servers of this library cost. tests/bench/README.md
#include "asyncio.hpp"
#include "tests/bench/bench.hpp"

using asyncio::Coroutine, asyncio::EventLoop, asyncio::StreamReader, asyncio::StreamWriter, asyncio::Task;
using bench::cpu_ns;

namespace {

// A callback that reschedules itself.
struct Again {
  EventLoop& loop;
  long left;
};
void again(Again* state) {
  if (--state->left == 0) return state->loop.stop();
  state->loop.call_soon(again, state);
}
double reschedule(long n) {
  EventLoop loop;
  Again state{loop, n};
  loop.call_soon(again, &state);
  return cpu_ns([&] { loop.run_forever(); });
}
// Many callbacks queued, then run.
double queue(long n) {
  EventLoop loop;
  long count = 0;
  return cpu_ns([&] {
    for (long i = 0; i < n; ++i) loop.call_soon([](long* c) { ++*c; }, &count);
    loop.stop();
    loop.run_forever();
  });
}
// Tasks that take turns.
Coroutine<void> switcher(long turns) {
  for (; turns > 0; --turns) co_await asyncio::sleep(0);
}
Coroutine<void> switchers(long tasks, long turns) {
  std::vector<Task<void>> all;
  for (long i = 0; i < tasks; ++i) all.push_back(asyncio::create_task(switcher(turns)));
  for (const Task<void>& task : all) co_await task;
}
template <long tasks> double switches(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(switchers(tasks, n / tasks)); });
}
// A chain of ten coroutines, each awaiting the next.
Coroutine<int> nested(int depth) {
  if (depth == 1) co_return 1;
  co_return co_await nested(depth - 1) + 1;
}
Coroutine<int> chains(long n) {
  int sum = 0;
  for (; n > 0; n -= 10) sum += co_await nested(10);
  co_return sum;
}
double await(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(chains(n)); });
}
// A thousand tasks at a time, created, run and awaited.
constexpr long BATCH = 1000;
Coroutine<long> child(long i) { co_return i; }
Coroutine<long> batches(long n) {
  long sum = 0;
  std::vector<Task<long>> tasks;
  for (; n > 0; n -= BATCH) {
    for (long i = 0; i < BATCH; ++i) tasks.push_back(asyncio::create_task(child(i)));
    for (const Task<long>& task : tasks) sum += co_await task;
    tasks.clear();
  }
  co_return sum;
}
Coroutine<void> gathered(long n) {
  for (; n > 0; n -= BATCH) {
    std::vector<Task<long>> tasks;
    for (long i = 0; i < BATCH; ++i) tasks.push_back(asyncio::create_task(child(i)));
    co_await asyncio::gather(std::move(tasks));
  }
}
double gather(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(gathered(n)); });
}
double create(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(batches(n)); });
}
// Many tasks asleep at once: memory when all have gone to sleep, time from the first to the last.
Coroutine<void> sleeper() { co_await asyncio::sleep(1); }
Coroutine<double> sleepers(long n, double before) {
  std::vector<Task<void>> tasks;
  for (long i = 0; i < n; ++i) tasks.push_back(asyncio::create_task(sleeper()));
  co_await asyncio::sleep(0);
  const double bytes = bench::resident_bytes() - before;
  for (const Task<void>& task : tasks) co_await task;
  co_return bytes;
}
double sleep_bytes(long n) {
  EventLoop loop;
  return loop.run_until_complete(sleepers(n, bench::resident_bytes()));
}
double sleep_ns(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(sleepers(n, 0)); });
}

// Timers that are cancelled before they are due, as timeouts are.
double timers(long n) {
  const std::vector<double> delays = bench::random_numbers(n, 100, 1000);
  const std::vector<long> order = bench::random_order(n);
  EventLoop loop;
  std::vector<asyncio::TimerHandle> handles;
  handles.reserve(n);
  long count = 0;
  return cpu_ns([&] {
    for (const double delay : delays)
      handles.push_back(loop.call_later(
          delay, [](long* c) { ++*c; }, &count));
    for (const long i : order) std::exchange(handles[i], {}).cancel();
    loop.stop();
    loop.run_forever();
  });
}
// How late timers fire, in seconds each.
std::vector<double> lateness(long n) {
  EventLoop loop;
  std::vector<double> late;
  const double start = loop.time();
  for (const double when : bench::random_numbers(n, start + 0.05, 1)) {
    loop.call_at(when, [&, when] {
      late.push_back(bench::monotonic() - when);
      if (static_cast<long>(late.size()) == n) loop.stop();
    });
  }
  loop.run_forever();
  return late;
}

// Echo servers: over a Protocol, streams, sock_* calls.
struct Echo : asyncio::Protocol {
  std::shared_ptr<asyncio::Transport> transport;
  void connection_made(std::shared_ptr<asyncio::Transport> made) override { transport = std::move(made); }
  void data_received(std::string_view data) override { transport->write(data); }
  void connection_lost(std::exception_ptr) override { ::_exit(0); }
};

Coroutine<void> serve_protocol(int listener) {
  const auto factory = [] { return std::make_shared<Echo>(); };
  const asyncio::Server server = co_await asyncio::get_running_loop().create_server(factory, "", 0, {.sock = listener});
  co_await server.serve_forever();
}

Coroutine<void> echo_stream(StreamReader reader, StreamWriter writer) {
  for (std::string data = co_await reader.read(1 << 16); !data.empty(); data = co_await reader.read(1 << 16)) {
    writer.write(data);
    co_await writer.drain();
  }
  ::_exit(0);
}

Coroutine<void> serve_streams(int listener) {
  const asyncio::Server server = co_await asyncio::start_server(echo_stream, "", 0, {.sock = listener});
  co_await server.serve_forever();
}

Coroutine<void> echo_sock(int fd) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  for (std::string data = co_await loop.sock_recv(fd, 4096); !data.empty(); data = co_await loop.sock_recv(fd, 4096)) {
    co_await loop.sock_sendall(fd, data);
  }
  ::_exit(0);
}

Coroutine<void> serve_sock(int listener) {
  for (;;) {
    const auto accepted = co_await asyncio::get_running_loop().sock_accept(listener);
    asyncio::create_task(echo_sock(accepted.first));
  }
}

template <Coroutine<void> (*serve)(int)> double echo(long listener) {
  asyncio::run(serve(static_cast<int>(listener)));
  return 0;
}

constexpr bench::Row ROWS[] = {
    {"call_soon", bench::each<reschedule>, 300'000},
    {"queue", bench::each<queue>, 1'000'000},
    {"switch", bench::each<switches<2>>, 600'000},
    {"switch1000", bench::each<switches<1000>>, 3'000'000},
    {"await", bench::each<await>, 3'000'000},
    {"create_task", bench::each<create>, 1'000'000},
    {"gather", bench::each<gather>, 1'000'000},
    {"sleep_bytes", bench::each<sleep_bytes>, bench::SLEEPERS},
    {"sleep_ns", bench::each<sleep_ns>, bench::SLEEPERS},
    {"timers", bench::each<timers>, 1'000'000},
    {"late_median", [](long n) { return bench::late_median(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_p99", [](long n) { return bench::late_p99(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_early", [](long n) { return bench::early(lateness(n)); }, bench::LATENESS_TIMERS},
    {"echo_protocol", echo<serve_protocol>, 0},
    {"echo_streams", echo<serve_streams>, 0},
    {"echo_sock", echo<serve_sock>, 0},
};

}  // namespace

int main(int argc, char** argv) { return bench::main_of("asyncio-cpp", ROWS, argc, argv); }
