// The rows that libuv has: callbacks in every iteration (uv_idle), timers of whole milliseconds, an echo server.
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

double reschedule(long n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  uv_idle_t idle;
  uv_idle_init(&loop, &idle);
  idle.data = &n;
  uv_idle_start(&idle, [](uv_idle_t* self) {
    if (--*static_cast<long*>(self->data) == 0) uv_idle_stop(self);
  });
  const double ns = bench::cpu_ns([&] { uv_run(&loop, UV_RUN_DEFAULT); });
  close_loop(loop);
  return ns;
}

double timers(long n) {
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
  return ns;
}

struct Timer {
  uv_timer_t handle;
  double when;
  std::vector<double>* late;
};

std::vector<double> lateness(long n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  std::vector<double> late;
  std::vector<Timer> all(n);
  const std::vector<double> delays = bench::random_numbers(n, 0.05, 1);
  uv_update_time(&loop);
  const double start = bench::monotonic();
  for (long i = 0; i < n; ++i) {
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
  return late;
}

// One buffer for all connections, because each is sent at once: uv_try_write, as libuv's guide says for small writes.
char buffer[1 << 16];
void allocate(uv_handle_t*, size_t, uv_buf_t* buf) { *buf = uv_buf_init(buffer, sizeof buffer); }
void received(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  if (n < 0) std::exit(0);
  const uv_buf_t answer = uv_buf_init(buf->base, static_cast<unsigned>(n));
  if (n > 0 && uv_try_write(stream, &answer, 1) != n) std::abort();
}
void connected(uv_stream_t* server, int) {
  auto* client = new uv_tcp_t;  // the process ends with the first client that leaves
  uv_tcp_init(server->loop, client);
  uv_accept(server, reinterpret_cast<uv_stream_t*>(client));
  uv_tcp_nodelay(client, 1);
  uv_read_start(reinterpret_cast<uv_stream_t*>(client), allocate, received);
}
double echo(long listener) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  uv_tcp_t server;
  uv_tcp_init(&loop, &server);
  uv_tcp_open(&server, static_cast<int>(listener));
  uv_listen(reinterpret_cast<uv_stream_t*>(&server), 1024, connected);
  uv_run(&loop, UV_RUN_DEFAULT);
  return 0;
}

constexpr bench::Row ROWS[] = {
    {"call_soon", bench::each<reschedule>, 300'000},
    {"timers", bench::each<timers>, 1'000'000},
    {"late_median", [](long n) { return bench::late_median(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_p99", [](long n) { return bench::late_p99(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_early", [](long n) { return bench::early(lateness(n)); }, bench::LATENESS_TIMERS},
    {"echo_protocol", echo, 0},
};

}  // namespace

int main(int argc, char** argv) { return bench::main_of("libuv", ROWS, argc, argv); }
