// A random mix of everything a loop can do, for as long as it is told: soak SECONDS [SEED]. It prints what the process
// holds as lines of CSV, and fails if memory or descriptors grow after the warm-up, or if something goes wrong.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "asyncio.hpp"

namespace {

using asyncio::Coroutine, asyncio::Future, asyncio::Task;

thread_local std::mt19937 random_bits;  // nested_loop uses it in another thread
std::size_t below(std::size_t n) { return random_bits() % n; }
double short_time() { return 0.0005 * static_cast<double>(below(20)); }

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

Coroutine<int> sleeper(int value) {
  co_await asyncio::sleep(short_time());
  co_return value;
}
Coroutine<void> fails() {
  co_await asyncio::sleep(short_time());
  throw asyncio::RuntimeError("on purpose");
}

Coroutine<void> gathers() {
  std::vector<Coroutine<int>> many;
  for (int i = 0; i < 20; ++i) many.push_back(sleeper(i));
  const std::vector<int> results = co_await asyncio::gather(std::move(many));
  require(results.size() == 20 && results[7] == 7, "gather");
}

Coroutine<void> groups() {
  bool failed = false;
  const auto body = [&](asyncio::TaskGroup& group) -> Coroutine<void> {
    for (int i = 0; i < 5; ++i) group.create_task(sleeper(i));
    group.create_task(fails());
    co_return;
  };
  try {
    co_await asyncio::async_with(asyncio::TaskGroup(), body);
  } catch (const asyncio::ExceptionGroup&) {
    failed = true;
  }
  require(failed, "TaskGroup");
}

Coroutine<void> times_out() {
  bool late = false;
  try {
    co_await asyncio::wait_for(asyncio::sleep(60), 0.001);
  } catch (const asyncio::TimeoutError&) {
    late = true;
  }
  require(late, "wait_for");
}

Coroutine<void> produce(asyncio::Queue<int>& queue) {
  for (int i = 0; i < 50; ++i) co_await queue.put(i);
}
Coroutine<int> consume(asyncio::Queue<int>& queue) {
  int sum = 0;
  for (int i = 0; i < 50; ++i) sum += co_await queue.get();
  co_return sum;
}
Coroutine<void> queues() {
  asyncio::Queue<int> queue(3);
  const auto both = co_await asyncio::gather(produce(queue), consume(queue));
  require(std::get<1>(both) == 50 * 49 / 2, "queue");
}

Coroutine<void> locked(asyncio::Lock& lock, int& inside) {
  const auto body = [&]() -> Coroutine<void> {
    require(++inside == 1, "two in a lock");
    co_await asyncio::sleep(short_time());
    --inside;
  };
  co_await asyncio::async_with(lock, body);
}
Coroutine<void> locks() {
  asyncio::Lock lock;
  int inside = 0;
  std::vector<Coroutine<void>> many;
  for (int i = 0; i < 5; ++i) many.push_back(locked(lock, inside));
  co_await asyncio::gather(std::move(many));
}

// Tasks at several awaits, cancelled in the middle.
Coroutine<void> cancels() {
  asyncio::Event event;
  std::vector<Task<bool>> waiting;
  for (int i = 0; i < 10; ++i) waiting.push_back(asyncio::create_task(event.wait()));
  co_await asyncio::sleep(short_time());
  for (const Task<bool>& task : waiting) task.cancel();
  static_cast<void>(co_await asyncio::wait(waiting));
  for (const Task<bool>& task : waiting) require(task.cancelled(), "cancel");
}

Coroutine<void> echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  for (;;) {
    const std::string data = co_await reader.read(4096);
    if (data.empty()) break;
    writer.write(data);
    co_await writer.drain();
  }
  writer.close();
}
Coroutine<void> talks() {
  const asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", server.sockets().front().port());
  const std::string text(1 + below(100'000), 'x');
  writer.write(text);
  const std::string answer = co_await reader.readexactly(text.size());
  require(answer == text, "echo");
  writer.close();
  co_await writer.wait_closed();
  server.close();
  co_await server.wait_closed();
}
Coroutine<void> abandons() {  // a client that goes in the middle
  const asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", server.sockets().front().port());
  writer.write(std::string(below(300'000), 'x'));
  co_await asyncio::sleep(short_time());
  writer.transport()->abort();
  server.close();
  server.abort_clients();
  co_await server.wait_closed();
}

Coroutine<void> threads() {
  const int result = co_await asyncio::to_thread([] { return 6 * 7; });
  require(result == 42, "to_thread");
}
// Valgrind has none, and without it there are no children.
bool has_pidfd() {
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

Coroutine<void> children() {
  if (!has_pidfd()) co_return;
  const std::vector<std::string> command(1, "cat");
  const auto process =
      co_await asyncio::create_subprocess_exec(command, {.stdin_ = asyncio::PIPE, .stdout_ = asyncio::PIPE});
  const auto output = co_await process.communicate("text");
  require(output.first == "text" && process.returncode() == 0, "subprocess");
}
Coroutine<void> signalled() {
  asyncio::Event arrived;
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  loop.add_signal_handler(SIGUSR1, [&] { arrived.set(); });
  ::kill(::getpid(), SIGUSR1);
  co_await arrived.wait();
  loop.remove_signal_handler(SIGUSR1);
}
Coroutine<void> nested_loop() {  // a loop of its own in a thread
  const auto run = [] { return asyncio::run(sleeper(5)); };
  const int result = co_await asyncio::to_thread(run);
  require(result == 5, "a loop in a thread");
}

long statm() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE) / 1024;
}
long descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(all, std::filesystem::directory_iterator()) - 1;
}

struct Sample {
  double seconds;
  long kilobytes, descriptors;
};

using Activity = Coroutine<void> (*)();
const std::vector<Activity> AT_ONCE = {gathers, groups,   times_out, queues,  locks,      cancels,
                                       talks,   abandons, threads,   gathers, nested_loop};
// A loop has one handler for a signal.
const std::vector<Activity> ALONE = {children, signalled};

Coroutine<void> round() {
  std::vector<Coroutine<void>> many;
  for (std::size_t i = 0; i < 12; ++i) many.push_back(AT_ONCE[below(AT_ONCE.size())]());
  co_await asyncio::gather(std::move(many));
  if (below(10) == 0) co_await ALONE[below(ALONE.size())]();
}

Coroutine<std::vector<Sample>> soak(double seconds) {
  const double start = asyncio::get_running_loop().time(), step = std::max(seconds / 24, 0.5);
  std::vector<Sample> samples;
  long rounds = 0;
  std::puts("seconds,rounds,kilobytes,descriptors,tasks");
  for (double now = 0, next = 0; now < seconds; now = asyncio::get_running_loop().time() - start) {
    co_await round();
    ++rounds;
    if (now < next) continue;
    next = now + step;
    samples.push_back({now, statm(), descriptors()});
    std::printf("%.1f,%ld,%ld,%ld,%zu\n", now, rounds, samples.back().kilobytes, samples.back().descriptors,
                asyncio::all_tasks().size());
    std::fflush(stdout);
  }
  co_return samples;
}

// The middle of the samples from `first` on.
template <class F> long median(const std::vector<Sample>& samples, std::size_t first, std::size_t last, F value) {
  std::vector<long> values;
  for (std::size_t i = first; i < last; ++i) values.push_back(value(samples[i]));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Compares the second quarter with the last one: the first is the warm-up.
bool flat(const std::vector<Sample>& samples) {
  if (samples.size() < 8) return true;
  const std::size_t quarter = samples.size() / 4;
  const auto growth = [&](auto value) {
    return median(samples, samples.size() - quarter, samples.size(), value) -
           median(samples, quarter, 2 * quarter, value);
  };
  const long memory = growth([](const Sample& sample) { return sample.kilobytes; });
  const long files = growth([](const Sample& sample) { return sample.descriptors; });
  std::printf("from the second quarter to the last: %+ld kB (at most +8192), %+ld descriptors (at most +2)\n", memory,
              files);
  return memory <= 8192 && files <= 2;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::stod(argv[1]) : 60;
  random_bits.seed(argc > 2 ? static_cast<unsigned>(std::stoul(argv[2])) : 1);
  const std::vector<Sample> samples = asyncio::run(soak(seconds));
  return flat(samples) ? 0 : 1;
}
