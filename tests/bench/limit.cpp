// The limit: what each row costs a bare program with no features. tests/bench/README.md
#include "tests/bench/limit.hpp"

#include <sys/socket.h>

#include "tests/bench/bench.hpp"

using bench::cpu_ns;

namespace {

constexpr long BATCH = 1000;

struct Again {
  limit::Loop<limit::Callback> loop;
  long left;
};
void again(void* argument) {
  auto* state = static_cast<Again*>(argument);
  if (--state->left != 0) state->loop.ready.push({again, state});
}
double reschedule(long n) {
  Again state{{}, n};
  state.loop.ready.push({again, &state});
  return cpu_ns([&] { state.loop.run(); });
}

double queue(long n) {
  long count = 0;
  return cpu_ns([&] {
    limit::Loop<limit::Callback> loop;
    for (long i = 0; i < n; ++i) loop.ready.push({[](void* c) { ++*static_cast<long*>(c); }, &count});
    loop.run();
  });
}

limit::Detached switcher(limit::TaskLoop& loop, long turns) {
  for (; turns > 0; --turns) co_await limit::Yield{loop};
}
template <long tasks> double switches(long n) {
  limit::TaskLoop loop;
  return cpu_ns([&] {
    for (long i = 0; i < tasks; ++i) loop.ready.push(switcher(loop, n / tasks).handle);
    loop.run();
  });
}

limit::Nested nested(int depth) {
  if (depth == 1) co_return 1;
  co_return co_await nested(depth - 1) + 1;
}
limit::Detached chains(long n, int& sum) {
  for (; n > 0; n -= 10) sum += co_await nested(10);
}
double await(long n) {
  int sum = 0;
  return cpu_ns([&] { chains(n, sum).handle.resume(); });
}

limit::Detached child(long i, long& result, long& left) {
  result = i;
  --left;
  co_return;
}
double create(long n) {
  limit::TaskLoop loop;
  std::vector<long> results(BATCH);
  long sum = 0, left = n;
  return cpu_ns([&] {
    while (left > 0) {
      for (long i = 0; i < BATCH; ++i) loop.ready.push(child(i, results[i], left).handle);
      loop.run();
      for (const long result : results) sum += result;
    }
  });
}

limit::Detached sleeper(limit::TaskLoop& loop) { co_await limit::Sleep{loop, 1}; }
double sleepers(long n, double& bytes) {
  limit::TaskLoop loop;
  const double before = bench::resident_bytes();
  return cpu_ns([&] {
    for (long i = 0; i < n; ++i) loop.ready.push(sleeper(loop).handle);
    for (long i = 0; i < n; ++i) loop.ready.pop()();
    bytes = bench::resident_bytes() - before;
    loop.run();
  });
}
double sleep_bytes(long n) {
  double bytes = 0;
  sleepers(n, bytes);
  return bytes;
}
double sleep_ns(long n) {
  double bytes = 0;
  return sleepers(n, bytes);
}

double timers(long n) {
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

std::vector<double> lateness(long n) {
  std::vector<double> deadlines = bench::random_numbers(n, bench::monotonic() + 0.05, 1);
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

// The limit: no buffers, no errors, no features.
double serve(long n) {
  const int listener = static_cast<int>(n);
  const int epfd = ::epoll_create1(0);
  epoll_event events[1024], event{.events = EPOLLIN, .data = {.fd = listener}};
  ::epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &event);
  char buffer[1 << 16];
  for (;;) {
    const int n = ::epoll_wait(epfd, events, 1024, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        event.data.fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        ::epoll_ctl(epfd, EPOLL_CTL_ADD, event.data.fd, &event);
        continue;
      }
      const ssize_t size = ::recv(fd, buffer, sizeof buffer, 0);
      if (size <= 0) return 0;
      ::send(fd, buffer, size, MSG_NOSIGNAL);
    }
  }
}

constexpr bench::Row ROWS[] = {
    {"call_soon", bench::each<reschedule>, 300'000},
    {"queue", bench::each<queue>, 1'000'000},
    {"switch", bench::each<switches<2>>, 600'000},
    {"switch1000", bench::each<switches<1000>>, 3'000'000},
    {"await", bench::each<await>, 3'000'000},
    {"create_task", bench::each<create>, 1'000'000},
    {"sleep_bytes", bench::each<sleep_bytes>, bench::SLEEPERS},
    {"sleep_ns", bench::each<sleep_ns>, bench::SLEEPERS},
    {"timers", bench::each<timers>, 1'000'000},
    {"late_median", [](long n) { return bench::late_median(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_p99", [](long n) { return bench::late_p99(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_early", [](long n) { return bench::early(lateness(n)); }, bench::LATENESS_TIMERS},
    {"echo_protocol", serve, 0},
};

}  // namespace

int main(int argc, char** argv) { return bench::main_of("limit", ROWS, argc, argv); }
