// wait_for: an await with a limit of time. Upstream counterpart: Lib/test/test_asyncio/test_waitfor.py.
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "tests/utils.hpp"

namespace {

using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::dies_slowly;
using test::fails_later;
using test::Instance;
using test::makes_unique;
using test::outcome_of;
using test::says;
using test::TestLoop;

constexpr double EPSILON = 0.0001;

Coroutine<std::string> later(double seconds, std::string text) {
  co_await asyncio::sleep(seconds);
  co_return text;
}
/// Takes 2 seconds, whoever cancels it.
Coroutine<void> slow(TestLoop& loop, bool& exited) {
  const double exit_at = loop.time() + 2;
  while (loop.time() < exit_at) {
    try {
      co_await asyncio::sleep(exit_at - loop.time());
    } catch (const CancelledError&) {}
  }
  exited = true;
}

template <class T> Coroutine<void> dropping(Coroutine<T> coroutine) { static_cast<void>(co_await coroutine); }

}  // namespace

// ---- in time -----------------------------------------------------------------------------------------

TEST_CASE("wait_for returns what the awaitable returns in time", "[waitfor][test_waitfor.test_wait_for]") {
  TestLoop loop;
  CHECK(loop.run_until_complete(asyncio::wait_for(later(1, "done"), 2)) == "done");
  CHECK(loop.time() == 1);
}

TEST_CASE("wait_for without a limit waits for ever", "[waitfor][test_waitfor.test_wait_for_blocking]") {
  TestLoop loop;
  CHECK(loop.run_until_complete(asyncio::wait_for(later(1e6, "done"), std::nullopt)) == "done");
  CHECK(loop.time() == 1e6);
}

TEST_CASE("wait_for's limit may be a duration", "[waitfor]") {
  using namespace std::chrono_literals;
  TestLoop loop;
  CHECK(loop.run_until_complete(outcome_of(dropping(asyncio::wait_for(later(1, "done"), 500ms)))) == "TimeoutError");
  CHECK(loop.time() == 0.5);
}

TEST_CASE("wait_for drops its timer when the awaitable is in time", "[waitfor]") {
  TestLoop loop;
  loop.run_until_complete(asyncio::wait_for(later(1, "done"), 100));
  CHECK_THROWS_AS(loop.run_forever(), std::logic_error);  // no timer left that could wake it
}

TEST_CASE("wait_for takes a future, a task, a coroutine and a callable", "[waitfor]") {
  TestLoop loop;
  const Future<std::string> future(loop);
  auto main = [&]() -> Coroutine<std::string> {
    const Task<std::string> task = asyncio::create_task(later(1, "b"));
    auto callable = [text = std::string("d"), instance = Instance()]() -> Coroutine<std::string> {
      static_cast<void>(instance);
      co_await asyncio::sleep(1);
      co_return text;
    };
    loop.call_soon([&] { future.set_result("a"); });
    std::string all = co_await asyncio::wait_for(future, 10);
    all += co_await asyncio::wait_for(task, 10);
    all += co_await asyncio::wait_for(later(1, "c"), 10);
    auto last = asyncio::wait_for(std::move(callable), 10);
    all += co_await last;
    co_return all;
  };
  CHECK(loop.run_until_complete(main()) == "abcd");
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a result that is set before the limit is no race", "[waitfor][test_waitfor.test_wait_for_race_condition]") {
  TestLoop loop;
  const Future<std::string> future(loop);
  loop.call_soon([&] { future.set_result("ok"); });
  CHECK(loop.run_until_complete(asyncio::wait_for(future, 0.2)) == "ok");
}

TEST_CASE("wait_for raises what the awaitable raises in time", "[waitfor]") {
  TestLoop loop;
  CHECK(test::thrown([&] { return loop.run_until_complete(asyncio::wait_for(fails_later(1), 2)); }) ==
        "std::invalid_argument: spam");
}

TEST_CASE("wait_for passes void and move-only results", "[waitfor]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    co_await asyncio::wait_for(asyncio::sleep(1), 2);
    const std::unique_ptr<int> a = co_await asyncio::wait_for(makes_unique(1, 3), 2);
    Task<std::unique_ptr<int>> task = asyncio::create_task(makes_unique(1, 4));
    const std::unique_ptr<int> b = co_await asyncio::wait_for(std::move(task), 2);
    co_return *a * 10 + *b;
  };
  CHECK(loop.run_until_complete(main()) == 34);
}

TEST_CASE("wait_for with a limit that is not a number is ValueError", "[waitfor][rule-8]") {
  TestLoop loop;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(loop.run_until_complete(asyncio::wait_for(says("done"), nan)), asyncio::ValueError);
}

// ---- too late ----------------------------------------------------------------------------------------

TEST_CASE("a task that is too late for wait_for is cancelled, then TimeoutError",
          "[waitfor][test_waitfor.test_wait_for]") {
  TestLoop loop;
  bool running = false;
  auto body = [&]() -> Coroutine<std::string> {
    running = true;
    const asyncio::Finally stopped([&] { running = false; });
    co_await asyncio::sleep(1000);
    co_return "done";
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> task = asyncio::create_task(body());
    const std::string outcome = co_await outcome_of(dropping(asyncio::wait_for(task, 0.1)));
    CHECK(outcome == "TimeoutError");
    CHECK(task.done());
    CHECK(task.cancelled());
    CHECK_FALSE(running);
    CHECK(loop.time() == 0.1);
  };
  loop.run_until_complete(main());
}

TEST_CASE("wait_for waits for what ignores the cancellation", "[waitfor][test_waitfor.test_asyncio_wait_for_timeout]") {
  TestLoop loop;
  bool exited = false;
  CHECK(loop.run_until_complete(outcome_of(asyncio::wait_for(slow(loop, exited), 1))) == "returned");
  CHECK(exited);
  CHECK(loop.time() == 2);
}

TEST_CASE("a result that the awaitable returns after its cancellation is wait_for's result",
          "[waitfor][test_waitfor.test_wait_for_cancellation_race_condition]"
          "[test_waitfor.test_wait_for_cancel_suppressed]") {
  TestLoop loop;
  auto returns_42 = []() -> Coroutine<int> {
    try {
      co_await asyncio::sleep(10);
    } catch (const CancelledError&) {
      co_return 42;
    }
    co_return 0;
  };
  CHECK(loop.run_until_complete(asyncio::wait_for(returns_42(), 0.1)) == 42);
  CHECK(loop.time() == 0.1);
}

TEST_CASE("wait_for waits until the cancelled task has ended, then TimeoutError",
          "[waitfor][test_waitfor.test_wait_for_waits_for_task_cancellation]") {
  TestLoop loop;
  bool done = false;
  auto main = [&]() -> Coroutine<std::string> {
    const Task<void> task = asyncio::create_task(dies_slowly(5, &done));
    co_return co_await outcome_of(asyncio::wait_for(task, EPSILON));
  };
  CHECK(loop.run_until_complete(main()) == "TimeoutError");
  CHECK(done);
  CHECK(loop.time() == EPSILON + 5);
}

TEST_CASE("wait_for raises what the awaitable raises after its cancellation",
          "[waitfor][test_waitfor.test_wait_for_reraises_exception_during_cancellation]") {
  TestLoop loop;
  auto fails = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1);
    } catch (const CancelledError&) {}
    throw asyncio::ValueError("spam");
  };
  auto main = [&]() -> Coroutine<std::string> {
    const Task<void> task = asyncio::create_task(fails());
    co_return co_await outcome_of(asyncio::wait_for(task, EPSILON));
  };
  CHECK(loop.run_until_complete(main()) == "spam");
}

TEST_CASE("a timeout of wait_for leaves no cancellation behind", "[waitfor][rule-5]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    for (const double timeout : {0.0, 1.0}) {
      const std::string outcome = co_await outcome_of(asyncio::wait_for(asyncio::sleep(10), timeout));
      CHECK(outcome == "TimeoutError");
    }
    co_return asyncio::current_task().cancelling();
  };
  CHECK(loop.run_until_complete(main()) == 0);
}

TEST_CASE("wait_for frees the coroutine that was too late before it raises", "[waitfor][rule-7]") {
  TestLoop loop;
  auto body = [](Instance) -> Coroutine<void> { co_await asyncio::sleep(10); };
  auto main = [&]() -> Coroutine<void> {
    try {
      co_await asyncio::wait_for(body(Instance()), 1);
    } catch (const asyncio::TimeoutError&) {
      CHECK(Instance::alive() == 0);
    }
  };
  loop.run_until_complete(main());
}

// ---- a limit of 0 or less ----------------------------------------------------------------------------

TEST_CASE("wait_for with a limit of 0 returns the result of a future that is done",
          "[waitfor][test_waitfor.test_wait_for_timeout_less_then_0_or_0_future_done]") {
  TestLoop loop;
  const Future<std::string> future(loop);
  future.set_result("done");
  CHECK(loop.run_until_complete(asyncio::wait_for(future, 0)) == "done");
}

TEST_CASE("wait_for with a limit of 0 never starts a coroutine",
          "[waitfor][test_waitfor.test_wait_for_timeout_less_then_0_or_0_coroutine_do_not_started]") {
  TestLoop loop;
  bool started = false;
  auto body = [&]() -> Coroutine<void> {
    started = true;
    co_return;
  };
  CHECK(loop.run_until_complete(outcome_of(asyncio::wait_for(body(), 0))) == "TimeoutError");
  CHECK_FALSE(started);
}

TEST_CASE("wait_for with a limit of 0 or less cancels a task that runs, and waits for it",
          "[waitfor][test_waitfor.test_wait_for_timeout_less_then_0_or_0]") {
  for (const double timeout : {0.0, -1.0}) {
    TestLoop loop;
    bool running = false;
    auto body = [&]() -> Coroutine<void> {
      running = true;
      const asyncio::Finally stopped([&] { running = false; });
      co_await asyncio::sleep(10);
    };
    auto main = [&]() -> Coroutine<void> {
      const Task<void> task = asyncio::create_task(body());
      co_await asyncio::sleep(0);
      CHECK(running);
      const std::string outcome = co_await outcome_of(asyncio::wait_for(task, timeout));
      CHECK(outcome == "TimeoutError");
      CHECK(task.cancelled());
      CHECK_FALSE(running);
    };
    loop.run_until_complete(main());
    CHECK(loop.time() == 0);
  }
}

TEST_CASE("wait_for with a limit of 0 waits until the cancelled task has ended",
          "[waitfor][test_waitfor.test_wait_for_waits_for_task_cancellation_w_timeout_0]") {
  TestLoop loop;
  bool done = false;
  auto main = [&]() -> Coroutine<std::string> {
    const Task<void> task = asyncio::create_task(dies_slowly(5, &done));
    co_await asyncio::sleep(1);
    co_return co_await outcome_of(asyncio::wait_for(task, 0));
  };
  CHECK(loop.run_until_complete(main()) == "TimeoutError");
  CHECK(done);
  CHECK(loop.time() == 6);
}

TEST_CASE("wait_for with a limit of 0 raises what a task raises when it is cancelled", "[waitfor]") {
  TestLoop loop;
  auto fails = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1);
    } catch (const CancelledError&) {}
    throw asyncio::ValueError("spam");
  };
  auto main = [&]() -> Coroutine<std::string> {
    const Task<void> task = asyncio::create_task(fails());
    co_await asyncio::sleep(0);
    co_return co_await outcome_of(asyncio::wait_for(task, 0));
  };
  CHECK(loop.run_until_complete(main()) == "spam");
}

// ---- cancelled from outside --------------------------------------------------------------------------

TEST_CASE("cancelling wait_for cancels what it waits for, with a limit and without",
          "[waitfor][rule-5][test_waitfor.test_cancel_wait_for][test_waitfor.test_cancel_blocking_wait_for]") {
  for (const std::optional<asyncio::Delay> timeout : {std::optional<asyncio::Delay>(60.0), {}}) {
    TestLoop loop;
    const Task<void> task = loop.create_task(asyncio::sleep(1000));
    const Task<void> waiter = loop.create_task(asyncio::wait_for(task, timeout));
    loop.call_soon([&] { waiter.cancel(); });
    CHECK_THROWS_AS(loop.run_until_complete(waiter), CancelledError);
    CHECK(task.cancelled());
  }
}

TEST_CASE("cancelling wait_for of what ignores the cancellation waits for its end",
          "[waitfor][rule-5][test_waitfor.test_asyncio_wait_for_cancelled]") {
  TestLoop loop;
  bool exited = false;
  const Task<void> waiter = loop.create_task(asyncio::wait_for(slow(loop, exited), 4));
  loop.call_later(1, [&] { waiter.cancel(); });
  loop.run_until_complete(waiter);
  CHECK(exited);
  CHECK(loop.time() == 2);
}

TEST_CASE("a cancellation that comes when the awaitable is done already ends the task, not the awaitable",
          "[waitfor][rule-5][test_waitfor.test_wait_for_issue86296]") {
  TestLoop loop;
  bool reached_end = false;
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> inner = asyncio::create_task(says("done"));
    auto waits = [&]() -> Coroutine<void> {
      co_await asyncio::wait_for(inner, 100);
      co_await asyncio::sleep(1);
      reached_end = true;
    };
    const Task<void> task = asyncio::create_task(waits());
    co_await asyncio::sleep(0);
    task.cancel();
    const std::string outcome = co_await outcome_of(dropping([](Task<void> t) -> Coroutine<int> {
      co_await t;
      co_return 0;
    }(task)));
    CHECK(outcome == "CancelledError");
    CHECK(inner.result() == "done");
  };
  loop.run_until_complete(main());
  CHECK_FALSE(reached_end);
}

// ---- with shield -------------------------------------------------------------------------------------

TEST_CASE("wait_for of a shield with a limit of 0 cancels the shield, not the task",
          "[waitfor][shield][test_waitfor.test_zero_timeout]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> task = asyncio::create_task(later(1, "done"));
    const Future<std::string> shielded = asyncio::shield(task);
    const std::string outcome = co_await outcome_of(dropping(asyncio::wait_for(shielded, 0)));
    CHECK(outcome == "TimeoutError");
    CHECK_FALSE(task.done());
    CHECK(shielded.cancelled());
    co_await asyncio::sleep(2);
    CHECK(task.result() == "done");
  };
  loop.run_until_complete(main());
}

TEST_CASE("wait_for of a shield without a limit returns the task's result",
          "[waitfor][shield][test_waitfor.test_none_timeout]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(later(1, "done"));
  CHECK(loop.run_until_complete(asyncio::wait_for(asyncio::shield(task), std::nullopt)) == "done");
  CHECK(task.done());
}

TEST_CASE("a task behind a shield survives the timeout of wait_for",
          "[waitfor][shield][test_waitfor.test_shielded_timeout]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> task = asyncio::create_task(later(1, "done"));
    const std::string outcome = co_await outcome_of(dropping(asyncio::wait_for(asyncio::shield(task), 0.1)));
    CHECK(outcome == "TimeoutError");
    CHECK_FALSE(task.done());
    const std::string result = co_await task;
    CHECK(result == "done");
  };
  loop.run_until_complete(main());
}
