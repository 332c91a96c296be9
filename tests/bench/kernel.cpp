// What the kernel costs, per operation, beside a bare program that does the same with no features: the limit.
//   kernel            the table
//   kernel ROW N      N operations of row ROW, unmeasured: for an instruction counter
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "asyncio.hpp"
#include "tests/bench/limit.hpp"

using asyncio::Coroutine, asyncio::EventLoop, asyncio::Task;
using bench::cpu_ns, bench::Sleepers;

namespace {

// A callback that reschedules itself.
struct OurAgain {
  EventLoop& loop;
  long left;
};
void our_again(OurAgain* state) {
  if (--state->left == 0) return state->loop.stop();
  state->loop.call_soon(our_again, state);
}
double our_reschedule(long n) {
  EventLoop loop;
  OurAgain state{loop, n};
  loop.call_soon(our_again, &state);
  return cpu_ns([&] { loop.run_forever(); });
}
struct LimitAgain {
  limit::Loop<limit::Callback> loop;
  long left;
};
void limit_again(void* argument) {
  auto* state = static_cast<LimitAgain*>(argument);
  if (--state->left != 0) state->loop.ready.push({limit_again, state});
}
double limit_reschedule(long n) {
  LimitAgain state{{}, n};
  state.loop.ready.push({limit_again, &state});
  return cpu_ns([&] { state.loop.run(); });
}

// Many callbacks queued, then run.
double our_queue(long n) {
  EventLoop loop;
  long count = 0;
  return cpu_ns([&] {
    for (long i = 0; i < n; ++i) loop.call_soon([](long* c) { ++*c; }, &count);
    loop.stop();
    loop.run_forever();
  });
}
double limit_queue(long n) {
  long count = 0;
  return cpu_ns([&] {
    limit::Loop<limit::Callback> loop;
    for (long i = 0; i < n; ++i) loop.ready.push({[](void* c) { ++*static_cast<long*>(c); }, &count});
    loop.run();
  });
}

// Tasks that take turns.
Coroutine<void> our_switcher(long turns) {
  for (; turns > 0; --turns) co_await asyncio::sleep(0);
}
Coroutine<void> our_switchers(long tasks, long turns) {
  std::vector<Task<void>> all;
  for (long i = 0; i < tasks; ++i) all.push_back(asyncio::create_task(our_switcher(turns)));
  for (const Task<void>& task : all) co_await task;
}
template <long tasks> double our_switch(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(our_switchers(tasks, n / tasks)); });
}
limit::Detached limit_switcher(limit::TaskLoop& loop, long turns) {
  for (; turns > 0; --turns) co_await limit::Yield{loop};
}
template <long tasks> double limit_switch(long n) {
  limit::TaskLoop loop;
  return cpu_ns([&] {
    for (long i = 0; i < tasks; ++i) loop.ready.push(limit_switcher(loop, n / tasks).handle);
    loop.run();
  });
}

// A chain of ten coroutines, each awaiting the next.
Coroutine<int> our_nested(int depth) {
  if (depth == 1) co_return 1;
  co_return co_await our_nested(depth - 1) + 1;
}
Coroutine<int> our_chains(long n) {
  int sum = 0;
  for (; n > 0; n -= 10) sum += co_await our_nested(10);
  co_return sum;
}
double our_await(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(our_chains(n)); });
}
limit::Nested limit_nested(int depth) {
  if (depth == 1) co_return 1;
  co_return co_await limit_nested(depth - 1) + 1;
}
limit::Detached limit_chains(long n, int& sum) {
  for (; n > 0; n -= 10) sum += co_await limit_nested(10);
}
double limit_await(long n) {
  int sum = 0;
  return cpu_ns([&] { limit_chains(n, sum).handle.resume(); });
}

// A thousand tasks at a time, created, run and awaited.
constexpr long BATCH = 1000;
Coroutine<long> our_child(long i) { co_return i; }
Coroutine<long> our_batches(long n) {
  long sum = 0;
  std::vector<Task<long>> tasks;
  for (; n > 0; n -= BATCH) {
    for (long i = 0; i < BATCH; ++i) tasks.push_back(asyncio::create_task(our_child(i)));
    for (const Task<long>& task : tasks) sum += co_await task;
    tasks.clear();
  }
  co_return sum;
}
double our_create(long n) {
  EventLoop loop;
  return cpu_ns([&] { loop.run_until_complete(our_batches(n)); });
}
limit::Detached limit_child(long i, long& result, long& left) {
  result = i;
  --left;
  co_return;
}
double limit_create(long n) {
  limit::TaskLoop loop;
  std::vector<long> results(BATCH);
  long sum = 0, left = n;
  return cpu_ns([&] {
    while (left > 0) {
      for (long i = 0; i < BATCH; ++i) loop.ready.push(limit_child(i, results[i], left).handle);
      loop.run();
      for (const long result : results) sum += result;
    }
  });
}

// Many tasks asleep at once: memory when all have gone to sleep, time from the first to the last.
Coroutine<void> our_sleeper() { co_await asyncio::sleep(1); }
Coroutine<double> our_sleepers_bytes(double before) {
  std::vector<Task<void>> tasks;
  for (long i = 0; i < bench::SLEEPERS; ++i) tasks.push_back(asyncio::create_task(our_sleeper()));
  co_await asyncio::sleep(0);
  const double bytes = (bench::resident_bytes() - before) / bench::SLEEPERS;
  for (const Task<void>& task : tasks) co_await task;
  co_return bytes;
}
Sleepers our_sleepers() {
  EventLoop loop;
  Sleepers result;
  const double before = bench::resident_bytes();
  result[1] = cpu_ns([&] { result[0] = loop.run_until_complete(our_sleepers_bytes(before)); }) / bench::SLEEPERS;
  return result;
}
limit::Detached limit_sleeper(limit::TaskLoop& loop) { co_await limit::Sleep{loop, 1}; }
Sleepers limit_sleepers() {
  limit::TaskLoop loop;
  Sleepers result;
  const double before = bench::resident_bytes();
  result[1] = cpu_ns([&] {
                for (long i = 0; i < bench::SLEEPERS; ++i) loop.ready.push(limit_sleeper(loop).handle);
                for (long i = 0; i < bench::SLEEPERS; ++i) loop.ready.pop()();
                result[0] = (bench::resident_bytes() - before) / bench::SLEEPERS;
                loop.run();
              }) /
              bench::SLEEPERS;
  return result;
}

// Timers that are cancelled before they are due, as timeouts are. The limit marks a dead timer and sweeps.
double our_timers(long n) {
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
double limit_timers(long n) {
  const std::vector<double> delays = bench::random_numbers(n, 100, 1000);
  const std::vector<long> order = bench::random_order(n);
  struct Timer {
    limit::Callback callback;
    bool cancelled;
  };
  using Entry = std::pair<double, long>;
  std::vector<Timer> timers;
  std::vector<Entry> heap;
  long count = 0;
  return cpu_ns([&] {
    for (const double delay : delays) {
      heap.push_back({bench::monotonic() + delay, static_cast<long>(timers.size())});
      std::push_heap(heap.begin(), heap.end(), std::greater());
      timers.push_back({{[](void* c) { ++*static_cast<long*>(c); }, &count}, false});
    }
    for (const long i : order) timers[i].cancelled = true;
    std::erase_if(heap, [&](const Entry& entry) { return timers[entry.second].cancelled; });
  });
}

// How late timers fire, in seconds each.
std::vector<double> our_lateness() {
  EventLoop loop;
  std::vector<double> late;
  const double start = loop.time();
  for (const double when : bench::random_numbers(bench::LATENESS_TIMERS, start + 0.05, 1)) {
    loop.call_at(when, [&loop, &late, when] {
      late.push_back(bench::monotonic() - when);
      if (late.size() == bench::LATENESS_TIMERS) loop.stop();
    });
  }
  loop.run_forever();
  return late;
}
std::vector<double> limit_lateness() {
  std::vector<double> deadlines = bench::random_numbers(bench::LATENESS_TIMERS, bench::monotonic() + 0.05, 1);
  std::sort(deadlines.begin(), deadlines.end());
  const int epfd = epoll_create1(0);
  std::vector<double> late;
  while (late.size() < deadlines.size()) {
    const double left = std::max(deadlines[late.size()] - bench::monotonic(), 0.0);
    const timespec timeout{static_cast<time_t>(left), static_cast<long>((left - static_cast<time_t>(left)) * 1e9) + 1};
    epoll_event event;
    epoll_pwait2(epfd, &event, 1, &timeout, nullptr);
    for (double now; late.size() < deadlines.size() && (now = bench::monotonic()) >= deadlines[late.size()];)
      late.push_back(now - deadlines[late.size()]);
  }
  close(epfd);
  return late;
}

struct Goal {
  double most;
  bool times_the_limit;
};

struct Row {
  const char* key;  // for the command line
  const char* name;
  double (*limit)(long);
  double (*ours)(long);
  long operations;
  Goal goal;
};

constexpr Row ROWS[] = {
    {"call_soon", bench::RESCHEDULE, limit_reschedule, our_reschedule, 300'000, {1.05, true}},
    {"queue", bench::QUEUE, limit_queue, our_queue, 1'000'000, {1.1, true}},
    {"switch", bench::SWITCH_2, limit_switch<2>, our_switch<2>, 600'000, {1.2, true}},
    {"switch1000", bench::SWITCH_1000, limit_switch<1000>, our_switch<1000>, 3'000'000, {2, true}},
    {"await", bench::NESTED, limit_await, our_await, 3'000'000, {30, false}},
    {"create_task", bench::CREATE, limit_create, our_create, 1'000'000, {60, false}},
    {"timers", bench::TIMERS, limit_timers, our_timers, 1'000'000, {2, true}},
};

void print(const char* name, double limit, double ours, Goal goal) {
  const bool ok = ours <= (goal.times_the_limit ? goal.most * limit : goal.most);
  std::printf("%-36s %9.1f %9.1f %8.2f  <= %5g%s %5s\n", name, limit, ours, limit > 0 ? ours / limit : 1, goal.most,
              goal.times_the_limit ? "x" : " ", ok ? "ok" : "over");
  std::fflush(stdout);
}

// Limit and ours in turn, so that a slow moment of the machine meets both.
void measure(const Row& row, int repetitions = 9) {
  std::vector<double> limit, ours;
  const auto per_operation = [&](double (*f)(long)) { return f(row.operations) / static_cast<double>(row.operations); };
  per_operation(row.limit), per_operation(row.ours);
  for (int i = 0; i < repetitions; ++i) {
    limit.push_back(per_operation(row.limit));
    ours.push_back(per_operation(row.ours));
  }
  print(row.name, bench::median(limit), bench::median(ours), row.goal);
}

void measure_sleepers(int repetitions = 7) {
  std::vector<double> limit[2], ours[2];
  for (int i = 0; i < repetitions; ++i) {
    const Sleepers one_limit = bench::in_child(limit_sleepers), one_ours = bench::in_child(our_sleepers);
    for (int what : {0, 1}) {
      limit[what].push_back(one_limit[what]);
      ours[what].push_back(one_ours[what]);
    }
  }
  print(bench::SLEEP_BYTES, bench::median(limit[0]), bench::median(ours[0]), {256, false});
  print(bench::SLEEP_NS, bench::median(limit[1]), bench::median(ours[1]), {1.5, true});
}

void measure_lateness(int repetitions = 7) {
  std::vector<double> limit[2], ours[2];
  double early = 0;
  for (int i = 0; i < repetitions; ++i) {
    const bench::Lateness one_limit(limit_lateness()), one_ours(our_lateness());
    limit[0].push_back(one_limit.median), limit[1].push_back(one_limit.p99);
    ours[0].push_back(one_ours.median), ours[1].push_back(one_ours.p99);
    early += one_ours.early;
  }
  print(bench::LATE_MEDIAN, bench::median(limit[0]), bench::median(ours[0]), {1.1, true});
  print(bench::LATE_P99, bench::median(limit[1]), bench::median(ours[1]), {1.1, true});
  print(bench::EARLY, 0, early, {0, false});
}

int run_one(const char* key, long n) {
  for (const Row& row : ROWS) {
    if (std::strcmp(row.key, key) == 0) return row.ours(n), 0;
  }
  std::fprintf(stderr, "no such row: %s\n", key);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) return run_one(argv[1], std::atol(argv[2]));
  std::printf("%-36s %9s %9s %8s  %9s\n", "workload", "limit", "ours", "ratio", "goal");
  measure_sleepers();  // first: its processes start with the memory that this one has
  for (const Row& row : ROWS) measure(row);
  measure_lateness();
}
