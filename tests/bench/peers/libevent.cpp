// The rows that libevent has. A callback that is to run once is event_base_once; one that reschedules itself is a timer of
// 0 seconds, for event_base_once inside a callback would never poll.
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>

#include <memory>

#include "tests/bench/bench.hpp"

namespace {

using Base = std::unique_ptr<event_base, void (*)(event_base*)>;
Base make_base() { return Base(event_base_new(), event_base_free); }

Base make_precise_base() {
  event_config* config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
  Base base(event_base_new_with_config(config), event_base_free);
  event_config_free(config);
  return base;
}

timeval to_timeval(double seconds) {
  const auto whole = static_cast<time_t>(seconds);
  return {whole, static_cast<suseconds_t>(1e6 * (seconds - static_cast<double>(whole)))};
}

struct Again {
  event timer;
  long left;
};

double reschedule(long n) {
  const Base base = make_base();
  Again state{{}, n};
  const auto again = [](evutil_socket_t, short, void* argument) {
    auto* self = static_cast<Again*>(argument);
    const timeval at_once{};
    if (--self->left != 0) evtimer_add(&self->timer, &at_once);
  };
  evtimer_assign(&state.timer, base.get(), again, &state);
  again(0, 0, &state);
  return bench::cpu_ns([&] { event_base_dispatch(base.get()); });
}

double queue(long n) {
  const Base base = make_base();
  long count = 0;
  const auto add = [](evutil_socket_t, short, void* c) { ++*static_cast<long*>(c); };
  return bench::cpu_ns([&] {
    for (long i = 0; i < n; ++i) event_base_once(base.get(), -1, EV_TIMEOUT, add, &count, nullptr);
    event_base_dispatch(base.get());
  });
}

double timers(long n) {
  const std::vector<double> delays = bench::random_numbers(n, 100, 1000);
  const std::vector<long> order = bench::random_order(n);
  const auto events = std::make_unique<event[]>(n);
  const Base base = make_base();
  return bench::cpu_ns([&] {
    for (long i = 0; i < n; ++i) {
      evtimer_assign(
          &events[i], base.get(), [](evutil_socket_t, short, void*) {}, nullptr);
      const timeval delay = to_timeval(delays[i]);
      evtimer_add(&events[i], &delay);
    }
    for (const long i : order) evtimer_del(&events[i]);
    event_base_loop(base.get(), EVLOOP_NONBLOCK);
  });
}

struct Timer {
  event timer;
  double when;
  std::vector<double>* late;
};

std::vector<double> lateness(long n) {
  const Base base = make_precise_base();
  std::vector<double> late;
  std::vector<Timer> all(n);
  const std::vector<double> delays = bench::random_numbers(n, 0.05, 1);
  const double start = bench::monotonic();
  for (long i = 0; i < n; ++i) {
    Timer& timer = all[i];
    timer.when = start + delays[i];
    timer.late = &late;
    const auto fired = [](evutil_socket_t, short, void* argument) {
      const Timer& self = *static_cast<Timer*>(argument);
      self.late->push_back(bench::monotonic() - self.when);
    };
    evtimer_assign(&timer.timer, base.get(), fired, &timer);
    const timeval delay = to_timeval(timer.when - bench::monotonic());
    evtimer_add(&timer.timer, &delay);
  }
  event_base_dispatch(base.get());
  return late;
}

// Plain events and calls: libevent's buffers (bufferevent) make more system calls for each message.
void readable(evutil_socket_t fd, short, void*) {
  char buffer[1 << 16];
  const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
  if (n == 0) std::exit(0);
  if (n > 0 && ::send(fd, buffer, n, MSG_NOSIGNAL) != n) std::abort();
}
void connecting(evutil_socket_t listener, short, void* base) {
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
  if (fd < 0) return;
  event_add(event_new(static_cast<event_base*>(base), fd, EV_READ | EV_PERSIST, readable, nullptr), nullptr);
}
double echo(long listener) {
  const Base base = make_base();
  event* accepting = event_new(base.get(), static_cast<int>(listener), EV_READ | EV_PERSIST, connecting, base.get());
  event_add(accepting, nullptr);
  event_base_dispatch(base.get());
  return 0;
}

constexpr bench::Row ROWS[] = {
    {"call_soon", bench::each<reschedule>, 300'000},
    {"queue", bench::each<queue>, 1'000'000},
    {"timers", bench::each<timers>, 1'000'000},
    {"late_median", [](long n) { return bench::late_median(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_p99", [](long n) { return bench::late_p99(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_early", [](long n) { return bench::early(lateness(n)); }, bench::LATENESS_TIMERS},
    {"echo_protocol", echo, 0},
};

}  // namespace

int main(int argc, char** argv) { return bench::main_of("libevent", ROWS, argc, argv); }
