// The rows that libuv has: callbacks in every iteration (uv_idle), timers of whole milliseconds.
#include <uv.h>

#include <cmath>
#include <memory>

#include "tests/bench/bench.hpp"

namespace {

void close_loop(uv_loop_t& loop) {
  uv_walk(
      &loop, [](uv_handle_t* handle, void*) { uv_close(handle, nullptr); }, nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

double reschedule() {
  constexpr long n = 300'000;
  uv_loop_t loop;
  uv_loop_init(&loop);
  uv_idle_t idle;
  uv_idle_init(&loop, &idle);
  long left = n;
  idle.data = &left;
  uv_idle_start(&idle, [](uv_idle_t* self) {
    if (--*static_cast<long*>(self->data) == 0) uv_idle_stop(self);
  });
  const double ns = bench::cpu_ns([&] { uv_run(&loop, UV_RUN_DEFAULT); });
  close_loop(loop);
  return ns / n;
}

double timers() {
  constexpr long n = 1'000'000;
  const std::vector<double> delays = bench::random_numbers(n, 100, 1000);
  const std::vector<long> order = bench::random_order(n);
  const auto handles = std::make_unique<uv_timer_t[]>(n);
  uv_loop_t loop;
  uv_loop_init(&loop);
  const double ns = bench::cpu_ns([&] {
    for (long i = 0; i < n; ++i) {
      uv_timer_init(&loop, &handles[i]);
      uv_timer_start(
          &handles[i], [](uv_timer_t*) {}, static_cast<std::uint64_t>(1e3 * delays[i]), 0);
    }
    for (const long i : order) uv_timer_stop(&handles[i]);
    uv_run(&loop, UV_RUN_NOWAIT);
  });
  close_loop(loop);
  return ns / n;
}

struct Timer {
  uv_timer_t handle;
  double when;
  std::vector<double>* late;
};

bench::Lateness lateness() {
  uv_loop_t loop;
  uv_loop_init(&loop);
  std::vector<double> late;
  std::vector<Timer> all(bench::LATENESS_TIMERS);
  const std::vector<double> delays = bench::random_numbers(bench::LATENESS_TIMERS, 0.05, 1);
  uv_update_time(&loop);
  const double start = bench::monotonic();
  for (std::size_t i = 0; i < all.size(); ++i) {
    Timer& timer = all[i];
    timer.when = start + delays[i];
    timer.late = &late;
    uv_timer_init(&loop, &timer.handle);
    timer.handle.data = &timer;
    const auto fired = [](uv_timer_t* handle) {
      const Timer& self = *static_cast<Timer*>(handle->data);
      self.late->push_back(bench::monotonic() - self.when);
    };
    uv_timer_start(&timer.handle, fired, static_cast<std::uint64_t>(std::ceil(1e3 * delays[i])), 0);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  close_loop(loop);
  return bench::Lateness(late);
}

}  // namespace

int main() {
  std::printf("peer libuv %s\n", uv_version_string());
  bench::print(bench::RESCHEDULE, bench::repeat(reschedule));
  bench::print(bench::TIMERS, bench::repeat(timers));
  bench::print(lateness());
}
