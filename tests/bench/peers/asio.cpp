// The rows that Boost.Asio has; with -DBOOST_ASIO_DISABLE_THREADS without its locks. sleep(0) is co_await post.
#include <utility>  // Boost 1.74 forgets it

#include <boost/asio.hpp>
#include <chrono>
#include <deque>

#include "tests/bench/bench.hpp"

namespace asio = boost::asio;
using asio::io_context, asio::steady_timer;

namespace {

// A timer, even one that is never set, makes it poll the kernel between callbacks.
struct Context : io_context {
  Context() : io_context(1) {}
  steady_timer timer{*this};
};

steady_timer::duration to_duration(double seconds) {
  return std::chrono::ceil<steady_timer::duration>(std::chrono::duration<double>(seconds));
}

struct Again {
  void operator()() const {
    if (--left != 0) asio::post(context, *this);
  }
  io_context& context;
  long& left;
};

double reschedule() {
  constexpr long n = 300'000;
  Context context;
  long left = n;
  asio::post(context, Again{context, left});
  return bench::cpu_ns([&] { context.run(); }) / n;
}

double queue() {
  constexpr long n = 1'000'000;
  Context context;
  long count = 0;
  return bench::cpu_ns([&] {
           for (long i = 0; i < n; ++i) asio::post(context, [&count] { ++count; });
           context.run();
         }) /
         n;
}

double timers() {
  constexpr long n = 1'000'000;
  const std::vector<double> delays = bench::random_numbers(n, 100, 1000);
  const std::vector<long> order = bench::random_order(n);
  Context context;
  std::deque<steady_timer> all;
  return bench::cpu_ns([&] {
           for (const double delay : delays)
             all.emplace_back(context, to_duration(delay)).async_wait([](boost::system::error_code) {});
           for (const long i : order) all[i].cancel();
           context.poll();
         }) /
         n;
}

bench::Lateness lateness() {
  Context context;
  std::vector<double> late;
  std::deque<steady_timer> all;
  for (const double when : bench::random_numbers(bench::LATENESS_TIMERS, bench::monotonic() + 0.05, 1)) {
    all.emplace_back(context, steady_timer::time_point(to_duration(when)))
        .async_wait([&late, when](boost::system::error_code) { late.push_back(bench::monotonic() - when); });
  }
  context.run();
  return bench::Lateness(late);
}

#if defined(BOOST_ASIO_HAS_CO_AWAIT)

using asio::awaitable, asio::co_spawn, asio::detached, asio::use_awaitable;

awaitable<void> switcher(io_context& context, long turns) {
  for (; turns > 0; --turns) co_await asio::post(context, use_awaitable);
}
template <long tasks> double switches() {
  constexpr long n = 600'000;
  Context context;
  return bench::cpu_ns([&] {
           for (long i = 0; i < tasks; ++i) co_spawn(context, switcher(context, n / tasks), detached);
           context.run();
         }) /
         n;
}

awaitable<int> nested(int depth) {
  if (depth == 1) co_return 1;
  co_return co_await nested(depth - 1) + 1;
}
awaitable<void> chains(long n) {
  for (; n > 0; n -= 10) co_await nested(10);
}
double awaits() {
  constexpr long n = 1'000'000;
  Context context;
  return bench::cpu_ns([&] {
           co_spawn(context, chains(n), detached);
           context.run();
         }) /
         n;
}

awaitable<long> child(long i) { co_return i; }
double create() {
  constexpr long n = 200'000, batch = 1000;
  Context context;
  long sum = 0;
  return bench::cpu_ns([&] {
           for (long left = n; left > 0; left -= batch, context.restart()) {
             for (long i = 0; i < batch; ++i)
               co_spawn(context, child(i), [&sum](std::exception_ptr, long v) { sum += v; });
             context.run();
           }
         }) /
         n;
}

awaitable<void> sleeper(io_context& context) {
  steady_timer timer(context, std::chrono::seconds(1));
  co_await timer.async_wait(use_awaitable);
}
bench::Sleepers sleepers() {
  Context context;
  bench::Sleepers result;
  const double before = bench::resident_bytes();
  result[1] = bench::cpu_ns([&] {
                for (long i = 0; i < bench::SLEEPERS; ++i) co_spawn(context, sleeper(context), detached);
                context.poll();
                result[0] = (bench::resident_bytes() - before) / bench::SLEEPERS;
                context.run();
              }) /
              bench::SLEEPERS;
  return result;
}

#endif

}  // namespace

int main() {
#if defined(BOOST_ASIO_DISABLE_THREADS)
  std::puts("peer Asio, no threads");
#else
  std::puts("peer Asio " BOOST_LIB_VERSION);
#endif
#if defined(BOOST_ASIO_HAS_CO_AWAIT)
  bench::print(sleepers);
  bench::print(bench::SWITCH_2, bench::repeat(switches<2>));
  bench::print(bench::SWITCH_1000, bench::repeat(switches<1000>));
  bench::print(bench::NESTED, bench::repeat(awaits));
  bench::print(bench::CREATE, bench::repeat(create));
#endif
  bench::print(bench::RESCHEDULE, bench::repeat(reschedule));
  bench::print(bench::QUEUE, bench::repeat(queue));
  bench::print(bench::TIMERS, bench::repeat(timers));
  bench::print(lateness());
}
