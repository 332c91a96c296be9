// How the cost of one operation grows with the number of things there are. tests/bench/README.md
//   growth            the rows: name, the highest exponent that is allowed, sizes
//   growth ROW SIZE   CPU nanoseconds of one operation
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <cstring>

#include "asyncio.hpp"
#include "tests/bench/bench.hpp"

using asyncio::Coroutine, asyncio::EventLoop, asyncio::FileDescriptor, asyncio::Task;
using bench::cpu_ns;

namespace {

Coroutine<void> nothing() { co_return; }

double tasks(long n) {
  EventLoop loop;
  const auto body = [&]() -> Coroutine<void> {
    std::vector<Task<void>> all;
    for (long i = 0; i < n; ++i) all.push_back(asyncio::create_task(nothing()));
    for (const Task<void>& task : all) co_await task;
  };
  return cpu_ns([&] { loop.run_until_complete(body()); });
}

double timers(long n) {
  const std::vector<double> delays = bench::random_numbers(n, 0, 1e-3);
  EventLoop loop;
  long left = n;
  return cpu_ns([&] {
    for (const double delay : delays) {
      loop.call_later(delay, [&] {
        if (--left == 0) loop.stop();
      });
    }
    loop.run_forever();
  });
}

// n tasks wait; then `wake` lets all of them go on.
template <class Wait, class Wake> double waiters(EventLoop& loop, long n, Wait wait, Wake wake) {
  const auto body = [&]() -> Coroutine<void> {
    std::vector<Task<void>> all;
    for (long i = 0; i < n; ++i) all.push_back(asyncio::create_task(wait()));
    co_await asyncio::sleep(0);
    wake(all);
    for (const Task<void>& task : all) {
      try {
        co_await task;
      } catch (const asyncio::CancelledError&) {}
    }
  };
  return cpu_ns([&] { loop.run_until_complete(body()); });
}
Coroutine<void> pass(asyncio::Lock& lock) {
  co_await lock.acquire();
  lock.release();
}
double lock_waiters(long n) {
  EventLoop loop;
  asyncio::Lock lock;
  loop.run_until_complete(lock.acquire());
  return waiters(
      loop, n, [&] { return pass(lock); }, [&](auto&) { lock.release(); });
}
double lock_cancelled(long n) {
  EventLoop loop;
  asyncio::Lock lock;
  loop.run_until_complete(lock.acquire());
  return waiters(
      loop, n, [&] { return pass(lock); },
      [&](auto& all) {
        for (const Task<void>& task : all) task.cancel();
      });
}
double event_waiters(long n) {
  EventLoop loop;
  asyncio::Event event;
  const auto wait = [&]() -> Coroutine<void> { co_await event.wait(); };
  return waiters(loop, n, wait, [&](auto&) { event.set(); });
}
double queue_waiters(long n) {
  EventLoop loop;
  asyncio::Queue<long> queue;
  const auto get = [&]() -> Coroutine<void> { co_await queue.get(); };
  return waiters(loop, n, get, [&](auto& all) {
    for (std::size_t i = 0; i < all.size(); ++i) queue.put_nowait(1);
  });
}

double callbacks(long n) {
  EventLoop loop;
  const asyncio::Future<void> future(loop);
  return cpu_ns([&] {
    for (long i = 0; i < n; ++i) future.add_done_callback([](const asyncio::Future<void>&) {});
    future.set_result();
    loop.stop();
    loop.run_forever();
  });
}
// Upstream goes through the whole list for each, too.
double remove_callback(long n) {
  EventLoop loop;
  const asyncio::Future<void> future(loop);
  std::vector<asyncio::CallbackId> ids;
  for (long i = 0; i < n; ++i) ids.push_back(future.add_done_callback([](const asyncio::Future<void>&) {}));
  return cpu_ns([&] {
    for (const asyncio::CallbackId id : ids) future.remove_done_callback(id);
  });
}

// One descriptor is busy, n are not; `rounds` iterations.
template <class Selector> double idle(long n) {
  constexpr long ROUNDS = 2000;
  EventLoop loop(std::make_unique<Selector>());
  std::vector<FileDescriptor> all;
  for (long i = 0; i < n; ++i) {
    all.emplace_back(::eventfd(0, EFD_NONBLOCK));
    loop.add_reader(all.back().get(), [] {});
  }
  const FileDescriptor busy(::eventfd(1, EFD_NONBLOCK));
  long left = ROUNDS;
  loop.add_reader(busy.get(), [&] {
    if (--left == 0) loop.stop();
  });
  const double ns = cpu_ns([&] { loop.run_forever(); });
  return ns / ROUNDS * static_cast<double>(n);
}

// Descriptors that are closed while they are watched, and opened anew under the same number.
double reopened(long n) {
  EventLoop loop;
  return cpu_ns([&] {
    for (long i = 0; i < n; ++i) {
      const FileDescriptor fd(::eventfd(0, EFD_NONBLOCK));
      loop.add_reader(fd.get(), [] {});
    }
  });
}

struct Growth {
  bench::Row row;
  double most;  // exponent of the cost of one
  std::vector<long> sizes;
};

const Growth ROWS[] = {
    {{"tasks", bench::each<tasks>, 0}, 0.25, {1'000, 10'000, 100'000, 1'000'000}},
    {{"timers", bench::each<timers>, 0}, 0.25, {1'000, 10'000, 100'000, 1'000'000}},
    {{"lock_waiters", bench::each<lock_waiters>, 0}, 0.25, {1'000, 10'000, 100'000}},
    {{"lock_cancelled_waiters", bench::each<lock_cancelled>, 0}, 0.25, {1'000, 10'000, 100'000}},
    {{"event_waiters", bench::each<event_waiters>, 0}, 0.25, {1'000, 10'000, 100'000}},
    {{"queue_waiters", bench::each<queue_waiters>, 0}, 0.25, {1'000, 10'000, 100'000}},
    {{"callbacks_of_one_future", bench::each<callbacks>, 0}, 0.25, {1'000, 10'000, 100'000}},
    {{"remove_done_callback", bench::each<remove_callback>, 0}, 1.1, {1'000, 4'000, 16'000}},
    {{"idle_epoll", bench::each<idle<selectors::EpollSelector>>, 0}, 0.25, {10, 100, 1'000, 10'000}},
    {{"idle_poll", bench::each<idle<selectors::PollSelector>>, 0}, 1.1, {10, 100, 1'000, 10'000}},
    {{"reopened_descriptors", bench::each<reopened>, 0}, 0.25, {1'000, 10'000, 100'000}},
};

}  // namespace

int main(int argc, char** argv) {
  rlimit files{20'000, 20'000};
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (argc == 1) std::puts("growth");
  for (const Growth& growth : ROWS) {
    if (argc == 1) {
      std::printf("%s %g", growth.row.key, growth.most);
      for (const long size : growth.sizes) std::printf(" %ld", size);
      std::puts("");
    } else if (std::strcmp(argv[1], growth.row.key) == 0) {
      std::printf("%.3f\n", growth.row.run(std::atol(argv[2])));
    }
  }
}
