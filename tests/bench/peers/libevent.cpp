// The rows that libevent has. A callback that is to run once is event_base_once; one that reschedules itself
// is a timer of 0 seconds, for event_base_once inside a callback would never poll.
#include <event2/event.h>
#include <event2/event_struct.h>

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

double reschedule() {
  constexpr long n = 300'000;
  const Base base = make_base();
  Again state{{}, n};
  const auto again = [](evutil_socket_t, short, void* argument) {
    auto* self = static_cast<Again*>(argument);
    const timeval at_once{};
    if (--self->left != 0) evtimer_add(&self->timer, &at_once);
  };
  evtimer_assign(&state.timer, base.get(), again, &state);
  again(0, 0, &state);
  return bench::cpu_ns([&] { event_base_dispatch(base.get()); }) / n;
}

double queue() {
  constexpr long n = 1'000'000;
  const Base base = make_base();
  long count = 0;
  const auto add = [](evutil_socket_t, short, void* c) { ++*static_cast<long*>(c); };
  return bench::cpu_ns([&] {
           for (long i = 0; i < n; ++i) event_base_once(base.get(), -1, EV_TIMEOUT, add, &count, nullptr);
           event_base_dispatch(base.get());
         }) /
         n;
}

double timers() {
  constexpr long n = 1'000'000;
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
         }) /
         n;
}

struct Timer {
  event timer;
  double when;
  std::vector<double>* late;
};

bench::Lateness lateness() {
  const Base base = make_precise_base();
  std::vector<double> late;
  std::vector<Timer> all(bench::LATENESS_TIMERS);
  const std::vector<double> delays = bench::random_numbers(bench::LATENESS_TIMERS, 0.05, 1);
  const double start = bench::monotonic();
  for (std::size_t i = 0; i < all.size(); ++i) {
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
  return bench::Lateness(late);
}

}  // namespace

int main() {
  std::printf("peer libevent %s\n", event_get_version());
  bench::print(bench::RESCHEDULE, bench::repeat(reschedule));
  bench::print(bench::QUEUE, bench::repeat(queue));
  bench::print(bench::TIMERS, bench::repeat(timers));
  bench::print(lateness());
}
