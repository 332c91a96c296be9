// The loop itself: iterations, timers, stop, nested runs, other threads.
// Upstream counterpart: Lib/test/test_asyncio/test_base_events.py, BaseEventTests and BaseEventLoopTests.
#include "loop/base_events.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

using asyncio::Coroutine, asyncio::EventLoop, asyncio::Future, asyncio::Task, asyncio::TimerHandle;
using asyncio::KeyboardInterrupt, asyncio::ValueError;
using test::Append, test::CLOSED, test::Instance, test::nothing;
using test::Numbers, test::run_once, test::TestLoop, test::thrown_in_thread;
using namespace std::chrono_literals;

namespace {

constexpr double INF = std::numeric_limits<double>::infinity();
constexpr double NAN_DELAY = std::numeric_limits<double>::quiet_NaN();

/// A real loop that remembers how long it was ready to wait in each iteration.
struct CountingSelector : selectors::DefaultSelector {
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
    timeouts.push_back(timeout);
    return selectors::DefaultSelector::select(timeout);
  }
  std::vector<std::optional<double>> timeouts;
};

struct OddClock {
  double now = 0;
  int calls = 0;
};

/// A loop on a clock that does not keep to the timeout: select() moves it by passes(timeout).
class OddLoop : public OddClock, public EventLoop {
 public:
  explicit OddLoop(double (*passes)(double)) : EventLoop(std::make_unique<Selector>(*this, passes)) {}
  double time() const override { return now; }

 private:
  struct Selector : selectors::BaseSelector {
    Selector(OddClock& own, double (*function)(double)) : clock(own), passes(function) {}
    std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
      ++clock.calls;
      clock.now += passes(timeout.value());
      return {};
    }
    OddClock& clock;
    double (*passes)(double);
  };
};

Coroutine<int> number(int n) { co_return n; }
Coroutine<void> stopping(EventLoop& loop) {
  loop.stop();
  co_await asyncio::sleep(1);
}

}  // namespace

// ---- call_soon and the iteration

TEST_CASE("call_soon calls the callback with its arguments", "[test_events.test_call_soon]") {
  TestLoop loop;
  std::string result;
  const auto callback = [&](const std::string& a, const std::string& b) {
    result = a + " " + b;
    loop.stop();
  };
  loop.call_soon(callback, "hello", "world");
  loop.run_forever();
  CHECK(result == "hello world");
}

TEST_CASE("call_soon does not call at once", "[test_base_events.test_call_soon][rule-2]") {
  TestLoop loop;
  bool called = false;
  loop.call_soon([&] { called = true; });
  CHECK_FALSE(called);
  CHECK(loop.iterations() == 0);
  run_once(loop);
  CHECK(called);
}

TEST_CASE("callbacks run in the order of call_soon", "[test_base_events.test_call_soon][rule-2]") {
  TestLoop loop;
  Numbers order;
  for (int i = 0; i < 5; ++i) loop.call_soon(Append{&order, i});
  run_once(loop);
  CHECK(order == Numbers{0, 1, 2, 3, 4});
}

TEST_CASE("a callback is called once", "[test_base_events.test_run_once]") {
  TestLoop loop;
  int count = 0;
  loop.call_soon([&] { ++count; });
  run_once(loop, 3);
  CHECK(count == 1);
}

TEST_CASE("a callback that schedules another runs it in the next iteration",
          "[test_base_events.test__run_once_schedule_handle][rule-2]") {
  TestLoop loop;
  int iteration = -1;
  loop.call_soon([&] { loop.call_soon([&] { iteration = loop.iterations(); }); });
  run_once(loop);
  CHECK(iteration == -1);
  run_once(loop);
  CHECK(iteration == 2);
}

TEST_CASE("a callback that keeps rescheduling itself runs once per iteration", "[base_events][rule-2]") {
  TestLoop loop;
  int count = 0;
  struct Again {
    TestLoop& loop;
    int& count;
    void operator()() const {
      ++count;
      loop.call_soon(*this);
    }
  };
  loop.call_soon(Again{loop, count});
  run_once(loop, 7);
  CHECK(count == 7);
  CHECK(loop.iterations() == 7);
}

TEST_CASE("one iteration runs exactly what was ready at its start", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  for (int i = 0; i < 3; ++i) {
    loop.call_soon([&, i] {
      order.push_back(i);
      loop.call_soon(Append{&order, 10 + i});
    });
  }
  run_once(loop);
  CHECK(order == Numbers{0, 1, 2});
  run_once(loop);
  CHECK(order == Numbers{0, 1, 2, 10, 11, 12});
}

TEST_CASE("what was ready comes first, then descriptors, then due timers", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.call_at(1, Append{&order, 3});
  loop.add_reader(100, Append{&order, 2});
  loop.call_soon(Append{&order, 1});
  loop.advance_time(1);
  loop.selector.make_ready(100, selectors::EVENT_READ);
  run_once(loop);
  CHECK(order == Numbers{1, 2, 3});
}

TEST_CASE("the selector is polled in every iteration, also when callbacks are always ready", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(100, Append{&order, 100});
  loop.call_soon([&] {
    order.push_back(1);
    loop.selector.make_ready(100, selectors::EVENT_READ);
    loop.call_soon(Append{&order, 2});
  });
  run_once(loop, 2);
  CHECK(order == Numbers{1, 2, 100});
}

TEST_CASE("a loop with something ready polls; an idle one waits for its next timer",
          "[test_base_events.test__run_once][rule-2]") {
  TestLoop loop;
  loop.call_soon([] {});
  loop.call_later(10, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(loop.selector.timeouts == std::vector<std::optional<double>>{0.0, 10.0});
}

TEST_CASE("a loop with nothing to wait for waits without limit", "[base_events][rule-2]") {
  TestLoop loop;
  REQUIRE_THROWS_AS(loop.run_forever(), std::logic_error);  // the virtual selector refuses to
  CHECK(loop.selector.timeouts == std::vector<std::optional<double>>{std::nullopt});
}

TEST_CASE("an error of the selector comes out of run_forever, and the loop can run again", "[base_events][rule-8]") {
  TestLoop loop;
  REQUIRE_THROWS_AS(loop.run_forever(), std::logic_error);
  CHECK_FALSE(loop.is_running());
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
  bool called = false;
  loop.call_soon([&] { called = true; });
  run_once(loop);
  CHECK(called);
}

// ---- stop

TEST_CASE("a loop that is stopped before it runs makes one iteration, without waiting",
          "[test_base_events.test_run_forever_pre_stopped]") {
  TestLoop loop;
  loop.call_later(10, [] {});
  loop.stop();
  loop.run_forever();
  CHECK(loop.selector.timeouts == std::vector<std::optional<double>>{0.0});
}

TEST_CASE("stop lets the rest of the batch run", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.call_soon(Append{&order, 1});
  loop.call_soon([&] { loop.stop(); });
  loop.call_soon(Append{&order, 2});
  loop.run_forever();
  CHECK(order == Numbers{1, 2});
  CHECK(loop.iterations() == 1);
}

TEST_CASE("what the last batch schedules is left for the next run", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.call_soon([&] {
    loop.stop();
    loop.call_soon(Append{&order, 1});
  });
  loop.run_forever();
  CHECK(order.empty());
  run_once(loop);
  CHECK(order == Numbers{1});
}

TEST_CASE("stopping twice ends one run", "[base_events]") {
  TestLoop loop;
  loop.stop();
  loop.stop();
  loop.run_forever();
  int count = 0;
  loop.call_soon([&] { ++count; });
  loop.call_later(1, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(count == 1);
  CHECK(loop.time() == 1);
}

TEST_CASE("a stop does not survive a run that ended by an interrupt", "[base_events][rule-6]") {
  TestLoop loop;
  loop.call_soon([&] {
    loop.stop();
    throw KeyboardInterrupt();
  });
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  loop.call_later(1, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(loop.time() == 1);
}

TEST_CASE("a loop is running inside run_forever only", "[base_events]") {
  TestLoop loop;
  bool running = false;
  loop.call_soon([&] { running = loop.is_running(); });
  CHECK_FALSE(loop.is_running());
  run_once(loop);
  CHECK(running);
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("a stopped loop does not run a descriptor's callback twice for one event",
          "[test_base_events.test_single_selecter_event_callback_after_stopping]") {
  TestLoop loop;
  int calls = 0;
  loop.add_reader(100, [&] { ++calls; });
  loop.selector.make_ready(100, selectors::EVENT_READ);
  loop.call_soon([&] { loop.stop(); });
  loop.run_forever();
  CHECK(calls == 1);
  loop.call_soon([&] { loop.stop(); });
  loop.run_forever();
  CHECK(calls == 1);
}

// ---- timers

TEST_CASE("call_later calls when the delay is over, not before", "[test_events.test_call_later][rule-4]") {
  TestLoop loop;
  double called_at = -1;
  loop.call_later(
      0.5,
      [&](EventLoop* stopped) {
        called_at = loop.time();
        stopped->stop();
      },
      &loop);
  loop.run_forever();
  CHECK(called_at == 0.5);
}

TEST_CASE("a timer that is not due stays scheduled", "[test_base_events.test_call_later]") {
  TestLoop loop;
  bool called = false;
  loop.call_later(10, [&] { called = true; });
  run_once(loop);
  loop.advance_time(9.999);
  run_once(loop);
  CHECK_FALSE(called);
  loop.advance_time(0.001);
  run_once(loop);
  CHECK(called);
}

TEST_CASE("a delay is seconds or any duration", "[base_events]") {
  TestLoop loop;
  Numbers order;
  loop.call_later(1min, Append{&order, 3});
  loop.call_later(2, Append{&order, 2});
  loop.call_later(0.25f, Append{&order, 1});
  loop.call_later(100ms, Append{&order, 0});
  loop.call_later(std::chrono::hours(1), [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{0, 1, 2, 3});
  CHECK(loop.time() == 3600);
}

TEST_CASE("timers fire in the order of their times, whatever order they were made in", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  for (const int when : {5, 2, 8, 1, 9, 3, 7, 4, 6}) loop.call_at(when, Append{&order, when});
  loop.call_at(10, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("negative delays are due at once, the most negative first",
          "[test_base_events.test_call_later_negative_delays]") {
  TestLoop loop;
  std::string calls;
  loop.call_later(-1, [&] { calls += 'a'; });
  loop.call_later(-2, [&] { calls += 'b'; });
  run_once(loop);
  CHECK(calls == "ba");
}

TEST_CASE("call_later(0) runs in the same iteration as call_soon, after it", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.call_later(0, Append{&order, 2});
  loop.call_soon(Append{&order, 1});
  run_once(loop);
  CHECK(order == Numbers{1, 2});
}

TEST_CASE("call_later(0) of a callback runs in the next iteration", "[base_events][rule-2]") {
  TestLoop loop;
  bool called = false;
  loop.call_soon([&] { loop.call_later(0, [&] { called = true; }); });
  run_once(loop);
  CHECK_FALSE(called);
  run_once(loop);
  CHECK(called);
}

TEST_CASE("all timers that are due run in one iteration", "[base_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  for (const int when : {3, 1, 2}) loop.call_at(when, Append{&order, when});
  loop.advance_time(3);
  run_once(loop);
  CHECK(order == Numbers{1, 2, 3});
}

TEST_CASE("eight equal deadlines fire in heapq's order", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  for (int i = 0; i < 8; ++i) loop.call_at(10, Append{&order, i});

  SECTION("with a later timer behind them") {
    loop.call_at(11, [&] { loop.stop(); });
    loop.run_forever();
    CHECK(order == Numbers{0, 2, 6, 5, 7, 1, 3, 4});
  }
  SECTION("alone") {
    loop.advance_time(10);
    run_once(loop);
    CHECK(order == Numbers{0, 2, 6, 5, 7, 4, 1, 3});
  }
}

TEST_CASE("a timer never fires early, also when the selector returns early", "[base_events][rule-4]") {
  OddLoop loop([](double timeout) { return timeout > 1e-6 ? timeout / 2 : timeout; });
  double called_at = -1;
  loop.call_at(1, [&] {
    called_at = loop.time();
    loop.stop();
  });
  loop.run_forever();
  CHECK(called_at >= 1 - 1e-9);
  CHECK(loop.calls > 10);
}

TEST_CASE("a timer fires when no more than the clock's resolution is missing", "[base_events][rule-4]") {
  TestLoop loop;
  bool called = false;
  loop.call_at(1, [&] { called = true; });
  loop.advance_time(1 - 2e-9);
  run_once(loop);
  CHECK_FALSE(called);
  loop.advance_time(1.5e-9);
  run_once(loop);
  CHECK(called);
}

TEST_CASE("a timer that misses exactly the clock's resolution is not due", "[base_events][rule-4]") {
  TestLoop loop;
  bool called = false;
  loop.call_at(1e-9, [&] { called = true; });
  run_once(loop);
  CHECK_FALSE(called);
}

TEST_CASE("an overdue timer makes the loop poll: the timeout is never negative", "[base_events][rule-2]") {
  TestLoop loop;
  loop.call_at(1, [&] { loop.stop(); });
  loop.advance_time(5);
  loop.run_forever();
  CHECK(loop.selector.timeouts.back() == 0.0);
}

TEST_CASE("a clock that jumps over many deadlines fires them all, in order", "[base_events][rule-4]") {
  OddLoop loop([](double timeout) { return timeout + 100; });
  Numbers order;
  for (const int when : {30, 10, 20}) loop.call_at(when, Append{&order, when});
  loop.call_at(40, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{10, 20, 30});
  CHECK(loop.calls == 1);
}

TEST_CASE("the selector waits for a day at most; a longer timer is waited for in pieces", "[base_events][rule-4]") {
  TestLoop loop;
  constexpr double DAY = 24 * 3600;
  loop.call_later(2.5 * DAY, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(loop.selector.timeouts == std::vector<std::optional<double>>{DAY, DAY, DAY / 2});
}

TEST_CASE("a timer at infinity never fires, and costs one wait a day", "[base_events][rule-4]") {
  TestLoop loop;
  bool called = false;
  const TimerHandle timer = loop.call_later(INF, [&] { called = true; });
  CHECK(std::isinf(timer.when()));
  loop.call_at(3 * 24 * 3600, [&] { loop.stop(); });
  loop.run_forever();
  CHECK_FALSE(called);
  CHECK(loop.iterations() == 3);
}

TEST_CASE("a NaN delay is a ValueError, and nothing is scheduled", "[base_events][rule-8]") {
  TestLoop loop;
  const std::string expected = "std::invalid_argument: Invalid delay: NaN (not a number)";
  CHECK(test::thrown([&] { loop.call_later(NAN_DELAY, [captured = Instance()] {}); }) == expected);
  CHECK(test::thrown([&] { loop.call_at(NAN_DELAY, [captured = Instance()] {}); }) == expected);
  CHECK(Instance::alive() == 0);
  bool called = false;
  loop.call_later(1, [&] {
    called = true;
    loop.stop();
  });
  loop.run_forever();
  CHECK(called);
  CHECK(loop.iterations() == 1);
}

TEST_CASE("cancelled timers are dropped before the wait is chosen", "[test_base_events.test__run_once][rule-2]") {
  TestLoop loop;
  loop.call_later(5, [] {}).cancel();
  loop.call_later(6, [] {}).cancel();
  loop.call_later(10, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(loop.selector.timeouts == std::vector<std::optional<double>>{10.0});
}

TEST_CASE("a loop whose timers are all cancelled has nothing to wait for", "[base_events][rule-2]") {
  TestLoop loop;
  for (int i = 1; i < 4; ++i) loop.call_later(i, [] {}).cancel();
  REQUIRE_THROWS_AS(loop.run_forever(), std::logic_error);
  CHECK(loop.selector.timeouts == std::vector<std::optional<double>>{std::nullopt});
}

TEST_CASE("a timer cancelled by another one that fires with it is not called", "[base_events][rule-2]") {
  TestLoop loop;
  TimerHandle second;
  bool called = false;
  loop.call_at(1, [&] { second.cancel(); });
  second = loop.call_at(2, [&] { called = true; });
  loop.advance_time(5);
  run_once(loop, 2);
  CHECK_FALSE(called);
}

TEST_CASE("cancelling a timer twice counts once", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  // 104 timers, 40 of them cancelled, each one three times: under half, so that the heap is left as it is.
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 40; ++i) timers.push_back(loop.call_at(10, [] {}));
  for (int i = 0; i < 64; ++i) loop.call_at(10, Append{&order, i});
  std::vector<TimerHandle> copies = timers;
  for (const auto* handles : {&timers, &copies, &timers}) {
    for (const TimerHandle& timer : *handles) timer.cancel();
  }
  loop.call_at(11, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order.size() == 64);
}

// Compaction shows in the order of equal deadlines: heapify leaves the survivors elsewhere than heappop does.
// The orders are those of CPython's loop on the same work: eight timers at 10, among others at 1000.
TEST_CASE("over 100 timers of which over half are cancelled are compacted, fewer are not",
          "[test_base_events.test__run_once_cancelled_event_cleanup][rule-4]") {
  struct Case {
    int scheduled, cancelled;
    Numbers order;
  };
  const Case cases[] = {{100, 60, {91, 95, 96, 97, 98, 92, 93, 94}},    // not more than 100
                        {101, 50, {92, 95, 96, 97, 99, 98, 93, 94}},    // less than half
                        {101, 51, {98, 95, 92, 97, 96, 93, 99, 94}},    // compacted
                        {102, 51, {93, 95, 96, 97, 99, 100, 98, 94}},   // half, not more
                        {102, 52, {99, 95, 93, 98, 97, 94, 100, 96}}};  // compacted
  for (const auto& [scheduled, cancelled, expected] : cases) {
    CAPTURE(scheduled, cancelled);
    TestLoop loop;
    Numbers order;
    std::vector<TimerHandle> timers;
    for (int i = 0; i < scheduled - 1; ++i) {
      timers.push_back(loop.call_at(i < scheduled - 9 ? 1000 : 10, Append{&order, i}));
    }
    for (int i = 0; i < cancelled; ++i) timers[static_cast<std::size_t>(i)].cancel();
    loop.call_at(11, [&] { loop.stop(); });
    loop.run_forever();
    CHECK(order == expected);
  }
}

// The orders, again, are those of CPython's loop on the same work.
TEST_CASE("timers that were compacted away do not count for the next compaction", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 110; ++i) timers.push_back(loop.call_at(1000, [] {}));
  for (int i = 0; i < 80; ++i) timers[static_cast<std::size_t>(i)].cancel();
  run_once(loop);  // 30 are left
  timers.clear();
  for (int i = 0; i < 99; ++i) timers.push_back(loop.call_at(i < 91 ? 1000 : 10, Append{&order, i}));
  for (int i = 0; i < 50; ++i) timers[static_cast<std::size_t>(i)].cancel();  // 50 of 130
  loop.call_at(11, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{91, 92, 93, 94, 95, 96, 97, 98});
}

TEST_CASE("cancelled timers that left the heap one by one do not count for a compaction", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 80; ++i) timers.push_back(loop.call_at(1, [] {}));
  for (const TimerHandle& timer : timers) timer.cancel();
  run_once(loop);  // none is left
  timers.clear();
  for (int i = 0; i < 100; ++i) timers.push_back(loop.call_at(i < 92 ? 1000 : 10, Append{&order, i}));
  for (int i = 0; i < 30; ++i) timers[static_cast<std::size_t>(i)].cancel();  // 30 of 101
  loop.call_at(11, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{92, 95, 96, 97, 99, 98, 93, 94});
}

TEST_CASE("timers that are cancelled after they fired do not make a compaction due", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 80; ++i) timers.push_back(loop.call_later(0, [] {}));
  run_once(loop);
  for (const TimerHandle& timer : timers) timer.cancel();
  timers.clear();
  for (int i = 0; i < 100; ++i) timers.push_back(loop.call_at(i < 92 ? 1000 : 10, Append{&order, i}));
  for (int i = 0; i < 30; ++i) timers[static_cast<std::size_t>(i)].cancel();  // 30 of 101
  loop.call_at(11, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{92, 95, 96, 97, 99, 98, 93, 94});
}

TEST_CASE("timers that are cancelled twice do not make a compaction due", "[base_events][rule-4]") {
  TestLoop loop;
  Numbers order;
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 100; ++i) timers.push_back(loop.call_at(i < 92 ? 1000 : 10, Append{&order, i}));
  for (int i = 0; i < 40; ++i) timers[static_cast<std::size_t>(i)].cancel();
  for (int i = 0; i < 40; ++i) timers[static_cast<std::size_t>(i)].cancel();  // 40 of 101
  loop.call_at(11, [&] { loop.stop(); });
  loop.run_forever();
  CHECK(order == Numbers{92, 95, 96, 97, 99, 98, 93, 94});
}

TEST_CASE("a timer that was compacted away can be cancelled again", "[base_events][rule-7]") {
  TestLoop loop;
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 200; ++i) timers.push_back(loop.call_later(100 + i, [captured = Instance()] {}));
  for (const TimerHandle& timer : timers) timer.cancel();
  CHECK(Instance::alive() == 0);
  run_once(loop);
  for (const TimerHandle& timer : timers) timer.cancel();
  bool called = false;
  loop.call_later(1, [&] {
    called = true;
    loop.stop();
  });
  loop.run_forever();
  CHECK(called);
  CHECK(loop.time() == 1);
}

TEST_CASE("the real clock does not go back, and a real timer is never early",
          "[test_base_events.test_time_and_call_at][rule-4]") {
  EventLoop loop;
  const double start = loop.time(), when = start + 0.002;
  CHECK(loop.time() >= start);
  double called_at = 0;
  loop.call_at(when, [&] {
    called_at = loop.time();
    loop.stop();
  });
  loop.run_forever();
  CHECK(called_at >= when - 1e-9);
}

TEST_CASE("short sleeps on a real loop do not make it spin", "[test_events.test_timeout_rounding][rule-4]") {
  auto selector = std::make_unique<CountingSelector>();
  const CountingSelector& counting = *selector;
  EventLoop loop(std::move(selector));
  const auto main = []() -> Coroutine<void> {
    for (const double delay : {2e-3, 1e-4, 1e-6, 1e-8, 1e-10}) co_await asyncio::sleep(delay);
  };
  loop.run_until_complete(main());
  CHECK(counting.timeouts.size() <= 20);  // twelve if no wait ends early
}

// ---- nested runs

TEST_CASE("a running loop refuses to run, and goes on as it was", "[base_events][rule-8]") {
  TestLoop loop;
  std::string error;
  EventLoop* running = nullptr;
  bool next = false;
  loop.call_soon([&] {
    error = test::thrown([&] { loop.run_forever(); });
    running = asyncio::get_running_loop_or_null();
    loop.call_soon([&] {
      next = loop.is_running();
      loop.stop();
    });
  });
  loop.run_forever();
  CHECK(error == "std::runtime_error: This event loop is already running");
  CHECK(running == &loop);
  CHECK(next);
}

TEST_CASE("run_until_complete inside a coroutine is refused, and the coroutine is freed",
          "[test_events.test_run_until_complete_nesting][rule-8]") {
  TestLoop loop;
  const auto inner = [](Instance) -> Coroutine<void> { co_return; };
  const auto outer = [&]() -> Coroutine<void> {
    loop.run_until_complete(inner(Instance()));
    co_return;
  };
  CHECK(test::thrown([&] { loop.run_until_complete(outer()); }) ==
        "std::runtime_error: This event loop is already running");
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a second loop cannot run in a thread where one runs, which goes on as it was",
          "[test_base_events.test_running_loop_within_a_loop][rule-8]") {
  TestLoop outer, inner;
  std::string forever, until_complete;
  bool unharmed = false, inner_called = false;
  inner.call_soon([&] { inner_called = true; });
  outer.call_soon([&] {
    forever = test::thrown([&] { inner.run_forever(); });
    until_complete = test::thrown([&] { inner.run_until_complete(nothing()); });
    unharmed = asyncio::get_running_loop_or_null() == &outer && outer.is_running() && !inner.is_running();
  });
  run_once(outer);
  CHECK(forever == "std::runtime_error: Cannot run the event loop while another loop is running");
  CHECK(until_complete == forever);
  CHECK(unharmed);
  CHECK_FALSE(inner_called);
  run_once(inner);
  CHECK(inner_called);
}

TEST_CASE("a refused nested run does not forget that the loop is to stop", "[base_events][rule-8]") {
  TestLoop loop;
  loop.call_soon([&] {
    loop.stop();
    static_cast<void>(test::thrown([&] { loop.run_forever(); }));
  });
  loop.run_forever();
  CHECK(loop.iterations() == 1);
}

TEST_CASE("a loop that runs in one thread refuses to run in another", "[base_events][rule-8]") {
  TestLoop loop;
  std::string error;
  loop.call_soon([&] { error = thrown_in_thread([&] { loop.run_forever(); }); });
  run_once(loop);
  CHECK(error == "std::runtime_error: This event loop is already running");
}

// ---- run_until_complete, create_task

TEST_CASE("run_until_complete runs until the result is there", "[test_events.test_run_until_complete]") {
  TestLoop loop;
  loop.run_until_complete(asyncio::sleep(0.1));
  CHECK(loop.time() >= 0.1 - 1e-9);
  CHECK(loop.run_until_complete(number(42)) == 42);
  CHECK(loop.run_until_complete(loop.create_task(number(43))) == 43);
  const Future<int> future = loop.create_future<int>();
  loop.call_later(1, [future] { future.set_result(44); });
  CHECK(loop.run_until_complete(future) == 44);
}

TEST_CASE("a loop that is stopped before the result is there is a RuntimeError",
          "[test_events.test_run_until_complete_stopped]") {
  TestLoop loop;
  CHECK(test::thrown([&] { loop.run_until_complete(stopping(loop)); }) ==
        "std::runtime_error: Event loop stopped before Future completed.");
}

TEST_CASE("run_until_complete of another loop's future is a ValueError",
          "[test_base_events.test_run_until_complete_loop][rule-8]") {
  TestLoop loop, other;
  const Future<void> future = loop.create_future<void>();
  REQUIRE_THROWS_AS(other.run_until_complete(future), ValueError);
  CHECK_FALSE(future.done());
  CHECK(other.iterations() == 0);
}

TEST_CASE("a task may be created before the loop runs, and has the name it was given",
          "[test_base_events.test_create_named_task_with_default_factory]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(number(1), {.name = "test_task"});
  CHECK(task.get_name() == "test_task");
  CHECK_FALSE(task.done());
  CHECK(loop.run_until_complete(task) == 1);
}

TEST_CASE("a task that cannot be created frees its coroutine",
          "[test_base_events.test_create_task_error_closes_coro][rule-7]") {
  TestLoop loop;
  loop.close();
  const auto body = [](Instance) -> Coroutine<void> { co_return; };
  CHECK(test::thrown([&] { loop.create_task(body(Instance())); }) == CLOSED);
  CHECK(test::thrown([&] { loop.run_until_complete(body(Instance())); }) == CLOSED);
  CHECK(Instance::alive() == 0);
}

// ---- other threads

TEST_CASE("call_soon_threadsafe from the loop's own thread keeps the order of the calls",
          "[test_events.test_call_soon_threadsafe_same_thread]") {
  EventLoop loop;
  Numbers order;
  loop.call_soon_threadsafe(Append{&order, 1});
  loop.call_soon(Append{&order, 2});
  loop.call_soon_threadsafe(Append{&order, 3});
  run_once(loop, 2);
  CHECK(order == Numbers{1, 2, 3});
}

TEST_CASE("call_soon_threadsafe inside a callback runs in the next iteration, in the order of the calls",
          "[test_events.test_call_soon_threadsafe_same_thread][rule-2]") {
  EventLoop loop;
  Numbers order;
  loop.call_soon([&] {
    loop.call_soon(Append{&order, 1});
    loop.call_soon_threadsafe(Append{&order, 2});
    loop.call_soon(Append{&order, 3});
  });
  run_once(loop);
  CHECK(order.empty());
  run_once(loop);
  CHECK(order == Numbers{1, 2, 3});
}

TEST_CASE("what another thread called comes before what this one called afterwards",
          "[test_events.test_call_soon_threadsafe]") {
  EventLoop loop;
  Numbers order;

  SECTION("while the loop does not run") {
    std::thread([&] { loop.call_soon_threadsafe(Append{&order, 1}); }).join();
    loop.call_soon(Append{&order, 2});
  }
  SECTION("while the loop runs") {
    loop.call_soon([&] {
      std::thread([&] { loop.call_soon_threadsafe(Append{&order, 1}); }).join();
      loop.call_soon(Append{&order, 2});
    });
  }
  run_once(loop, 3);
  CHECK(order == Numbers{1, 2});
}

TEST_CASE("call_soon_threadsafe wakes a loop that sleeps", "[test_events.test_call_soon_threadsafe]") {
  EventLoop loop;
  const TimerHandle far = loop.call_later(3600, [] {});
  std::thread other([&] {
    std::this_thread::sleep_for(1ms);
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  const double start = loop.time();
  loop.run_forever();
  other.join();
  CHECK(loop.time() - start < 60);
}

TEST_CASE("a loop that sleeps is woken every time", "[test_events.test_call_soon_threadsafe]") {
  EventLoop loop;
  std::atomic<int> count = 0;
  std::thread other([&] {
    for (int i = 0; i < 200; ++i) {
      loop.call_soon_threadsafe([&] { ++count; });
      while (count <= i) std::this_thread::yield();  // only then the next one: the loop is asleep again
    }
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  loop.run_forever();
  other.join();
  CHECK(count == 200);
}

TEST_CASE("of several threads, each one's calls run in the order it made them", "[base_events][threads]") {
  constexpr int THREADS = 4, CALLS = 500;
  EventLoop loop;
  std::vector<Numbers> seen(THREADS);
  int finished = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < THREADS; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < CALLS; ++i) {
        loop.call_soon_threadsafe([&, t, i] { seen[static_cast<std::size_t>(t)].push_back(i); });
      }
      loop.call_soon_threadsafe([&] {
        if (++finished == THREADS) loop.stop();
      });
    });
  }
  loop.run_forever();
  for (std::thread& thread : threads) thread.join();
  for (const Numbers& order : seen) {
    CHECK(order.size() == CALLS);
    CHECK(std::is_sorted(order.begin(), order.end()));
  }
}

TEST_CASE("many calls from another thread do not block it while the loop does not run", "[base_events][threads]") {
  constexpr int CALLS = 100'000;  // more than a pipe holds bytes
  EventLoop loop;
  int count = 0;
  std::thread([&] {
    for (int i = 0; i < CALLS; ++i) loop.call_soon_threadsafe([&] { ++count; });
  }).join();
  CHECK(count == 0);
  run_once(loop);
  CHECK(count == CALLS);
}

TEST_CASE("call_soon_threadsafe on a closed loop is an error in the calling thread", "[base_events][threads][rule-8]") {
  EventLoop loop;
  loop.close();
  CHECK(thrown_in_thread([&] { loop.call_soon_threadsafe([captured = Instance()] {}); }) == CLOSED);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("close frees what other threads called and nobody ran", "[base_events][threads][rule-7]") {
  EventLoop loop;
  bool called = false;
  std::thread([&] { loop.call_soon_threadsafe([&, captured = Instance()] { called = true; }); }).join();
  loop.close();
  CHECK_FALSE(called);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("arguments of call_soon_threadsafe may be move-only", "[base_events][threads]") {
  EventLoop loop;
  int seen = 0;
  std::thread([&] {
    loop.call_soon_threadsafe([&](const std::unique_ptr<int>& value) { seen = *value; }, std::make_unique<int>(7));
  }).join();
  run_once(loop);
  CHECK(seen == 7);
}

TEST_CASE("a loop may be made in one thread, run in a second one and closed in the first", "[base_events][threads]") {
  EventLoop loop;
  std::thread::id runner;
  loop.call_soon([&] { runner = std::this_thread::get_id(); });
  std::thread::id expected;
  std::thread([&] {
    expected = std::this_thread::get_id();
    run_once(loop);
  }).join();
  CHECK(runner == expected);
  loop.close();
}

TEST_CASE("a loop that is destroyed while it runs ends the process, and says so", "[base_events][rule-7]") {
  static const test::CaptureCerr* written = nullptr;
  const int status = test::status_of_child([] {
    const test::CaptureCerr captured;
    written = &captured;
    std::set_terminate([] { ::_exit(test::contains(written->text(), "destroyed while it was running") ? 7 : 8); });
    auto loop = std::make_unique<EventLoop>();
    loop->call_soon([&] { loop = nullptr; });
    loop->run_forever();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}
