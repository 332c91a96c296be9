// The rows that Boost.Asio has; with -DBOOST_ASIO_DISABLE_THREADS without its locks. sleep(0) is co_await post.
#include <utility>  // Boost 1.74 forgets it

#include <boost/asio.hpp>
#include <chrono>
#include <deque>
#include <memory>

#include "tests/bench/bench.hpp"

namespace asio = boost::asio;
using asio::io_context, asio::steady_timer, asio::ip::tcp;

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

double reschedule(long n) {
  Context context;
  long left = n;
  asio::post(context, Again{context, left});
  return bench::cpu_ns([&] { context.run(); });
}

double queue(long n) {
  Context context;
  long count = 0;
  return bench::cpu_ns([&] {
    for (long i = 0; i < n; ++i) asio::post(context, [&count] { ++count; });
    context.run();
  });
}

double timers(long n) {
  const std::vector<double> delays = bench::random_numbers(n, 100, 1000);
  const std::vector<long> order = bench::random_order(n);
  Context context;
  std::deque<steady_timer> all;
  return bench::cpu_ns([&] {
    for (const double delay : delays)
      all.emplace_back(context, to_duration(delay)).async_wait([](boost::system::error_code) {});
    for (const long i : order) all[i].cancel();
    context.poll();
  });
}

std::vector<double> lateness(long n) {
  Context context;
  std::vector<double> late;
  std::deque<steady_timer> all;
  for (const double when : bench::random_numbers(n, bench::monotonic() + 0.05, 1)) {
    all.emplace_back(context, steady_timer::time_point(to_duration(when)))
        .async_wait([&late, when](boost::system::error_code) { late.push_back(bench::monotonic() - when); });
  }
  context.run();
  return late;
}

// Each connection is kept by its own handlers, as in Asio's examples.
struct Connection : std::enable_shared_from_this<Connection> {
  explicit Connection(tcp::socket accepted) : socket(std::move(accepted)) {}
  void read() {
    socket.async_read_some(asio::buffer(data),
                           [self = shared_from_this()](boost::system::error_code error, std::size_t n) {
                             if (error) std::exit(0);
                             asio::async_write(self->socket, asio::buffer(self->data, n),
                                               [self](boost::system::error_code, std::size_t) { self->read(); });
                           });
  }
  tcp::socket socket;
  char data[4096];
};
void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](boost::system::error_code, tcp::socket socket) {
    socket.set_option(tcp::no_delay(true));
    std::make_shared<Connection>(std::move(socket))->read();
    accept(acceptor);
  });
}
double echo_callbacks(long listener) {
  io_context context(1);
  tcp::acceptor acceptor(context, tcp::v4(), static_cast<int>(listener));
  accept(acceptor);
  context.run();
  return 0;
}

#if defined(BOOST_ASIO_HAS_CO_AWAIT)

using asio::awaitable, asio::co_spawn, asio::detached, asio::use_awaitable;

awaitable<void> switcher(io_context& context, long turns) {
  for (; turns > 0; --turns) co_await asio::post(context, use_awaitable);
}
template <long tasks> double switches(long n) {
  Context context;
  return bench::cpu_ns([&] {
    for (long i = 0; i < tasks; ++i) co_spawn(context, switcher(context, n / tasks), detached);
    context.run();
  });
}

awaitable<int> nested(int depth) {
  if (depth == 1) co_return 1;
  co_return co_await nested(depth - 1) + 1;
}
awaitable<void> chains(long n) {
  for (; n > 0; n -= 10) co_await nested(10);
}
double awaits(long n) {
  Context context;
  return bench::cpu_ns([&] {
    co_spawn(context, chains(n), detached);
    context.run();
  });
}

awaitable<long> child(long i) { co_return i; }
double create(long n) {
  constexpr long batch = 1000;
  Context context;
  long sum = 0;
  return bench::cpu_ns([&] {
    for (long left = n; left > 0; left -= batch, context.restart()) {
      for (long i = 0; i < batch; ++i) co_spawn(context, child(i), [&sum](std::exception_ptr, long v) { sum += v; });
      context.run();
    }
  });
}

awaitable<void> sleeper(io_context& context) {
  steady_timer timer(context, std::chrono::seconds(1));
  co_await timer.async_wait(use_awaitable);
}
double sleepers(long n, double& bytes) {
  Context context;
  const double before = bench::resident_bytes();
  return bench::cpu_ns([&] {
    for (long i = 0; i < n; ++i) co_spawn(context, sleeper(context), detached);
    context.poll();
    bytes = bench::resident_bytes() - before;
    context.run();
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

awaitable<void> echo_connection(tcp::socket socket) {
  char buffer[1 << 16];
  for (;;) {
    boost::system::error_code error;
    const std::size_t n =
        co_await socket.async_read_some(asio::buffer(buffer), asio::redirect_error(use_awaitable, error));
    if (error) std::exit(0);
    co_await asio::async_write(socket, asio::buffer(buffer, n), use_awaitable);
  }
}
awaitable<void> echo_listener(tcp::acceptor& acceptor) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    socket.set_option(tcp::no_delay(true));
    co_spawn(acceptor.get_executor(), echo_connection(std::move(socket)), detached);
  }
}
double echo_awaitable(long listener) {
  io_context context(1);
  tcp::acceptor acceptor(context, tcp::v4(), static_cast<int>(listener));
  co_spawn(context, echo_listener(acceptor), detached);
  context.run();
  return 0;
}

#endif

constexpr bench::Row ROWS[] = {
    {"call_soon", bench::each<reschedule>, 300'000},
    {"queue", bench::each<queue>, 1'000'000},
    {"timers", bench::each<timers>, 1'000'000},
    {"late_median", [](long n) { return bench::late_median(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_p99", [](long n) { return bench::late_p99(lateness(n)); }, bench::LATENESS_TIMERS},
    {"late_early", [](long n) { return bench::early(lateness(n)); }, bench::LATENESS_TIMERS},
    {"echo_protocol", echo_callbacks, 0},
#if defined(BOOST_ASIO_HAS_CO_AWAIT)
    {"switch", bench::each<switches<2>>, 600'000},
    {"switch1000", bench::each<switches<1000>>, 600'000},
    {"await", bench::each<awaits>, 1'000'000},
    {"create_task", bench::each<create>, 200'000},
    {"sleep_bytes", bench::each<sleep_bytes>, bench::SLEEPERS},
    {"sleep_ns", bench::each<sleep_ns>, bench::SLEEPERS},
    {"echo_streams", echo_awaitable, 0},
    {"echo_sock", echo_awaitable, 0},
#endif
};

}  // namespace

int main(int argc, char** argv) {
#if defined(BOOST_ASIO_DISABLE_THREADS)
  return bench::main_of("Asio, no threads", ROWS, argc, argv);
#else
  return bench::main_of("Asio", ROWS, argc, argv);
#endif
}
