// Timeouts: a deadline for the body of async_with. Upstream counterpart: Lib/test/test_asyncio/test_timeouts.py.
#include <chrono>
#include <limits>
#include <optional>
#include <string>

#include "tests/utils.hpp"

namespace {

using asyncio::async_with;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Task;
using asyncio::Timeout;
using test::sleeps;
using test::TestLoop;

/// What ends its sleep is replaced by another error.
Coroutine<void> crashes(double seconds) {
  try {
    co_await asyncio::sleep(seconds);
  } catch (const CancelledError&) {}
  throw asyncio::ValueError("spam");
}

/// Runs `body` under the timeout: "TimeoutError", "CancelledError", what() of any other error, or "returned".
template <class Body> Coroutine<std::string> outcome_of(Timeout& timeout, Body body) {
  auto sleeping = [&]() -> Coroutine<void> { co_await body(); };
  co_return co_await test::outcome_of(async_with(timeout, sleeping));
}

/// The same for a body that sleeps.
Coroutine<std::string> outcome_of_sleep(Timeout& timeout, double seconds) {
  auto body = [&] { return sleeps(seconds); };
  co_return co_await outcome_of(timeout, body);
}

}  // namespace

// ---- the deadline ------------------------------------------------------------------------------------

TEST_CASE("a body that takes longer than its timeout ends with TimeoutError",
          "[timeouts][test_timeouts.test_timeout_basic]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(0.01);
    const std::string outcome = co_await outcome_of_sleep(cm, 10);
    CHECK(outcome == "TimeoutError");
    CHECK(cm.expired());
    CHECK(loop.time() == 0.01);
  };
  loop.run_until_complete(main());
}

TEST_CASE("timeout_at takes a time of the loop", "[timeouts][test_timeouts.test_timeout_at_basic]") {
  TestLoop loop;
  loop.advance_time(100);
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout_at(101);
    const std::string outcome = co_await outcome_of_sleep(cm, 10);
    CHECK(outcome == "TimeoutError");
    CHECK(cm.expired());
    CHECK(cm.when() == 101.0);
    CHECK(loop.time() == 101);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a timeout may be a duration, and a temporary", "[timeouts]") {
  using namespace std::chrono_literals;
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await async_with(asyncio::timeout(500ms), [&](Timeout& cm) -> Coroutine<void> {
      CHECK(cm.when() == 0.5);
      co_await asyncio::sleep(10);
    });
  };
  CHECK_THROWS_AS(loop.run_until_complete(main()), asyncio::TimeoutError);
  CHECK(loop.time() == 0.5);
}

TEST_CASE("a body that is in time returns its value", "[timeouts][test_timeouts.test_timeout_not_called]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(10);
    const int value = co_await async_with(cm, [&]() -> Coroutine<int> {
      co_await asyncio::sleep(0.01);
      co_return 7;
    });
    CHECK(value == 7);
    CHECK_FALSE(cm.expired());
    CHECK(*cm.when() > loop.time());
  };
  loop.run_until_complete(main());
  CHECK_THROWS_AS(loop.run_forever(), std::logic_error);  // no timer left that could wake it
}

TEST_CASE("without a limit nothing expires",
          "[timeouts][test_timeouts.test_timeout_disabled][test_timeouts.test_timeout_at_disabled]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout timeout = asyncio::timeout(std::nullopt), timeout_at = asyncio::timeout_at(std::nullopt);
    for (Timeout* cm : {&timeout, &timeout_at}) {
      const std::string outcome = co_await outcome_of_sleep(*cm, 1e6);
      CHECK(outcome == "returned");
      CHECK_FALSE(cm->expired());
      CHECK_FALSE(cm->when().has_value());
    }
  };
  loop.run_until_complete(main());
}

TEST_CASE("a timeout of 0 interrupts the first await that suspends", "[timeouts][test_timeouts.test_timeout_zero]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(0);
    const std::string outcome = co_await outcome_of_sleep(cm, 10);
    CHECK(outcome == "TimeoutError");
    CHECK(cm.expired());
    CHECK(cm.when() == 0.0);
    CHECK(loop.time() == 0);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a timeout of 0 or less interrupts even sleep(0)",
          "[timeouts][test_timeouts.test_timeout_zero_sleep_zero][test_timeouts.test_timeout_in_the_past_sleep_zero]") {
  for (const double delay : {0.0, -11.0}) {
    TestLoop loop;
    auto main = [&]() -> Coroutine<void> {
      Timeout cm = asyncio::timeout(delay);
      const std::string outcome = co_await outcome_of_sleep(cm, 0);
      CHECK(outcome == "TimeoutError");
      CHECK(cm.expired());
      CHECK(cm.when() == delay);
    };
    loop.run_until_complete(main());
  }
}

TEST_CASE("a timeout of 0 does not touch a body that never suspends", "[timeouts]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(0);
    auto body = []() -> Coroutine<void> { co_return; };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "returned");
    co_await asyncio::sleep(0);
    CHECK_FALSE(cm.expired());
    CHECK(asyncio::current_task().cancelling() == 0);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a timeout that is not a number is ValueError", "[timeouts][rule-8]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    co_await async_with(asyncio::timeout(nan), [&]() -> Coroutine<void> { co_await asyncio::sleep(1); });
  };
  CHECK_THROWS_AS(loop.run_until_complete(main()), asyncio::ValueError);
}

TEST_CASE("the body sees the timeout as a CancelledError", "[timeouts][test_timeouts.test_waiter_cancelled]") {
  TestLoop loop;
  bool cancelled = false;
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(0.01);
    auto body = [&]() -> Coroutine<void> {
      try {
        co_await asyncio::sleep(10);
      } catch (const CancelledError&) {
        cancelled = true;
        throw;
      }
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "TimeoutError");
  };
  loop.run_until_complete(main());
  CHECK(cancelled);
}

TEST_CASE("the task whose timeout expired goes on as if it had never been cancelled",
          "[timeouts][rule-5][test_timeouts.test_outer_task_is_not_cancelled]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    Timeout cm = asyncio::timeout(0.001);
    const std::string outcome = co_await outcome_of_sleep(cm, 10);
    CHECK(outcome == "TimeoutError");
    co_await asyncio::sleep(1);
    co_return asyncio::current_task().cancelling();
  };
  const Task<int> task = loop.create_task(main());
  CHECK(loop.run_until_complete(task) == 0);
  CHECK_FALSE(task.cancelled());
}

TEST_CASE("a body that swallows the cancellation of its timeout returns, and the timeout has expired",
          "[timeouts][rule-5]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(1);
    auto body = []() -> Coroutine<void> {
      try {
        co_await asyncio::sleep(10);
      } catch (const CancelledError&) {}
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "returned");
    CHECK(cm.expired());
    CHECK(asyncio::current_task().cancelling() == 0);
  };
  loop.run_until_complete(main());
}

// ---- foreign errors and cancellations ----------------------------------------------------------------

TEST_CASE("an error of the body passes through", "[timeouts][test_timeouts.test_foreign_exception_passed]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(0.01);
    auto body = []() -> Coroutine<void> {
      throw asyncio::KeyError("eggs");
      co_return;
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "eggs");
    CHECK_FALSE(cm.expired());
  };
  loop.run_until_complete(main());
}

TEST_CASE("an error that the body raises when its time is over comes out instead of TimeoutError",
          "[timeouts][test_timeouts.test_foreign_exception_on_timeout]"
          "[test_timeouts.test_foreign_exception_on_timeout_2]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    Timeout cm = asyncio::timeout(0.01);
    auto body = [] { return crashes(1); };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "spam");
    CHECK(cm.expired());
    co_return asyncio::current_task().cancelling();
  };
  CHECK(loop.run_until_complete(main()) == 0);
}

TEST_CASE("an await in the handling of an error is limited, too",
          "[timeouts][test_timeouts.test_timeout_exception_context]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(0.01);
    auto body = []() -> Coroutine<void> {
      std::exception_ptr error;
      try {
        throw asyncio::ValueError("spam");
      } catch (...) {
        error = std::current_exception();
      }
      co_await asyncio::sleep(1);
      std::rethrow_exception(error);
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "TimeoutError");
  };
  loop.run_until_complete(main());
}

TEST_CASE("a cancellation from elsewhere is not made a TimeoutError",
          "[timeouts][rule-5][test_timeouts.test_foreign_cancel_doesnt_timeout_if_not_expired]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(10);
    auto body = []() -> Coroutine<void> {
      asyncio::current_task().cancel();
      co_await asyncio::sleep(10);
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "CancelledError");
    CHECK_FALSE(cm.expired());
  };
  loop.run_until_complete(main());
}

TEST_CASE("a cancellation from elsewhere in the iteration of the deadline wins", "[timeouts][rule-5]") {
  TestLoop loop;
  std::string outcome;
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(1);
    outcome = co_await outcome_of_sleep(cm, 10);
    CHECK(cm.expired());
    CHECK(asyncio::current_task().cancelling() == 1);
  };
  const Task<void> task = loop.create_task(main());
  loop.call_at(1, [&] { task.cancel(); });
  loop.run_until_complete(task);
  CHECK(outcome == "CancelledError");
}

TEST_CASE("a timeout works in a task that was cancelled before and went on",
          "[timeouts][rule-5][test_timeouts.test_timeout_after_cancellation]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    try {
      asyncio::current_task().cancel();
      co_await asyncio::sleep(1);
    } catch (const CancelledError&) {}
    Timeout cm = asyncio::timeout(0.0);
    const std::string outcome = co_await outcome_of_sleep(cm, 1);
    CHECK(outcome == "TimeoutError");
    CHECK(asyncio::current_task().cancelling() == 1);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a cancellation within a timeout passes in a task that was cancelled before",
          "[timeouts][rule-5][test_timeouts.test_cancel_in_timeout_after_cancellation]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    try {
      asyncio::current_task().cancel();
      co_await asyncio::sleep(1);
    } catch (const CancelledError&) {}
    Timeout cm = asyncio::timeout(1.0);
    auto body = []() -> Coroutine<void> {
      asyncio::current_task().cancel();
      co_await asyncio::sleep(2);
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "CancelledError");
  };
  loop.run_until_complete(main());
}

// ---- nested timeouts ---------------------------------------------------------------------------------

TEST_CASE("of nested timeouts with one deadline the outer one raises TimeoutError",
          "[timeouts][test_timeouts.test_nested_timeouts]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout outer = asyncio::timeout_at(0.01), inner = asyncio::timeout_at(0.01);
    std::string inner_outcome;
    auto body = [&]() -> Coroutine<void> {
      inner_outcome = co_await outcome_of_sleep(inner, 10);
      if (inner_outcome == "CancelledError") throw CancelledError();
    };
    const std::string outcome = co_await outcome_of(outer, body);
    CHECK(inner_outcome == "CancelledError");
    CHECK(outcome == "TimeoutError");
    CHECK(outer.expired());
    CHECK(inner.expired());
  };
  loop.run_until_complete(main());
}

TEST_CASE("an inner timeout that is due as late as the outer one expires first if its deadline was earlier",
          "[timeouts][test_timeouts.test_nested_timeouts_concurrent]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout outer = asyncio::timeout(0.002), inner = asyncio::timeout(0.1);
    std::string inner_outcome;
    auto body = [&]() -> Coroutine<void> {
      auto busy = [&]() -> Coroutine<void> {
        loop.advance_time(0.01);  // past the deadline of the outer one only
        co_await asyncio::sleep(1);
      };
      inner_outcome = co_await outcome_of(inner, busy);
      if (inner_outcome == "CancelledError") throw CancelledError();
    };
    const std::string outcome = co_await outcome_of(outer, body);
    CHECK(inner_outcome == "CancelledError");
    CHECK(outcome == "TimeoutError");
    CHECK_FALSE(inner.expired());
  };
  loop.run_until_complete(main());
}

TEST_CASE("a loop that was busy past both deadlines: first the inner timeout, then the outer one",
          "[timeouts][test_timeouts.test_nested_timeouts_loop_busy]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout outer = asyncio::timeout(0.1), inner = asyncio::timeout(0.01);
    std::string inner_outcome;
    auto body = [&]() -> Coroutine<void> {
      auto busy = [&]() -> Coroutine<void> {
        loop.advance_time(0.05);
        co_await asyncio::sleep(1);
      };
      inner_outcome = co_await outcome_of(inner, busy);
      co_await asyncio::sleep(10);
    };
    const std::string outcome = co_await outcome_of(outer, body);
    CHECK(inner_outcome == "TimeoutError");
    CHECK(outcome == "TimeoutError");
    CHECK(loop.time() == 0.1);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the cleanup after a timeout may have a timeout of its own",
          "[timeouts][test_timeouts.test_nested_timeout_in_finally]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout outer = asyncio::timeout(1);
    std::string inner_outcome;
    auto body = [&]() -> Coroutine<void> {
      std::exception_ptr error;
      try {
        co_await asyncio::sleep(10);
      } catch (...) {
        error = std::current_exception();
      }
      Timeout inner = asyncio::timeout(1);
      inner_outcome = co_await outcome_of_sleep(inner, 10);
      std::rethrow_exception(error);
    };
    const std::string outcome = co_await outcome_of(outer, body);
    CHECK(inner_outcome == "TimeoutError");
    CHECK(outcome == "TimeoutError");
    CHECK(loop.time() == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a timeout around a task group whose child fails when it is cancelled: the group's errors come out",
          "[timeouts][taskgroups][test_timeouts.test_timeout_taskgroup]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    std::string error;
    try {
      co_await async_with(asyncio::timeout(0.01), [&]() -> Coroutine<void> {
        co_await async_with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) -> Coroutine<void> {
          group.create_task(crashes(2));
          co_await asyncio::sleep(1);
        });
      });
    } catch (const asyncio::ExceptionGroup& group) {
      REQUIRE(group.exceptions().size() == 1);
      error = asyncio::describe(group.exceptions()[0]);
    }
    CHECK(error == "std::invalid_argument: spam");
  };
  loop.run_until_complete(main());
}

// ---- rescheduling ------------------------------------------------------------------------------------

TEST_CASE("the deadline can be moved and taken away while the body runs", "[timeouts][test_timeouts.test_reschedule]") {
  TestLoop loop;
  Timeout cm = asyncio::timeout_at(10);
  auto main = [&]() -> Coroutine<void> {
    co_await async_with(cm, [&]() -> Coroutine<void> { co_await asyncio::sleep(50); });
  };
  const Task<void> task = loop.create_task(main());
  test::run_once(loop);
  CHECK(cm.when() == 10.0);
  loop.call_soon([&] { cm.reschedule(30); });
  test::run_once(loop);
  CHECK(cm.when() == 30.0);
  SECTION("taken away, the body runs until it is cancelled") {
    loop.call_soon([&] {
      cm.reschedule(std::nullopt);
      CHECK_FALSE(cm.when().has_value());
    });
    loop.call_later(40, [&] { task.cancel(); });
    CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
    CHECK_FALSE(cm.expired());
    CHECK(loop.time() == 40);
  }
  SECTION("moved, it expires at the new time") {
    CHECK_THROWS_AS(loop.run_until_complete(task), asyncio::TimeoutError);
    CHECK(loop.time() == 30);
  }
}

TEST_CASE("a deadline that is moved into the past expires in the next iteration", "[timeouts]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await async_with(asyncio::timeout(10), [&](Timeout& cm) -> Coroutine<void> {
      cm.reschedule(-1);
      co_await asyncio::sleep(5);
    });
  };
  CHECK_THROWS_AS(loop.run_until_complete(main()), asyncio::TimeoutError);
  CHECK(loop.time() == 0);
}

// ---- misuse ------------------------------------------------------------------------------------------

TEST_CASE("a timeout cannot be entered while it is entered",
          "[timeouts][rule-8][test_timeouts.test_timeout_already_entered]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(1);
    auto body = [&]() -> Coroutine<void> {
      const std::string outcome = co_await outcome_of_sleep(cm, 0);
      CHECK(outcome == "Timeout has already been entered");
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "returned");
  };
  loop.run_until_complete(main());
}

TEST_CASE("a timeout cannot be entered a second time", "[timeouts][rule-8][test_timeouts.test_timeout_double_enter]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    Timeout cm = asyncio::timeout(1);
    co_await outcome_of_sleep(cm, 0);
    co_return co_await outcome_of_sleep(cm, 0);
  };
  CHECK(loop.run_until_complete(main()) == "Timeout has already been entered");
}

TEST_CASE("a finished timeout cannot be rescheduled", "[timeouts][rule-8][test_timeouts.test_timeout_finished]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    Timeout cm = asyncio::timeout(1);
    co_await outcome_of_sleep(cm, 0);
    co_return test::thrown([&] { cm.reschedule(2); });
  };
  CHECK(loop.run_until_complete(main()) == "std::runtime_error: Cannot change state of finished Timeout");
}

TEST_CASE("an expired timeout cannot be rescheduled", "[timeouts][rule-8][test_timeouts.test_timeout_expired]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    Timeout cm = asyncio::timeout(1);
    co_await outcome_of_sleep(cm, 10);
    co_return test::thrown([&] { cm.reschedule(20); });
  };
  CHECK(loop.run_until_complete(main()) == "std::runtime_error: Cannot change state of expired Timeout");
}

TEST_CASE("a timeout that is expiring cannot be rescheduled",
          "[timeouts][rule-8][test_timeouts.test_timeout_expiring]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    Timeout cm = asyncio::timeout(1);
    std::string error;
    auto body = [&]() -> Coroutine<void> {
      try {
        co_await asyncio::sleep(10);
      } catch (const CancelledError&) {
        error = test::thrown([&] { cm.reschedule(20); });
      }
    };
    co_await outcome_of(cm, body);
    co_return error;
  };
  CHECK(loop.run_until_complete(main()) == "std::runtime_error: Cannot change state of expiring Timeout");
}

TEST_CASE("a timeout that is not entered cannot be rescheduled",
          "[timeouts][rule-8][test_timeouts.test_timeout_not_entered]") {
  Timeout cm = asyncio::timeout_at(0.01);
  CHECK(test::thrown([&] { cm.reschedule(0.02); }) == "std::runtime_error: Timeout has not been entered");
}

TEST_CASE("a timeout cannot be entered outside a task", "[timeouts][rule-8][test_timeouts.test_timeout_without_task]") {
  TestLoop loop;
  std::string error, reschedule_error;
  loop.call_soon([&] {
    Timeout cm = asyncio::timeout(0.01);
    Coroutine<void> enter = cm.aenter();
    error = test::thrown([&] { return enter.send(); });
    reschedule_error = test::thrown([&] { cm.reschedule(0.02); });
  });
  test::run_briefly(loop);
  CHECK(error == "std::runtime_error: Timeout should be used inside a task");
  CHECK(reschedule_error == "std::runtime_error: Timeout has not been entered");
}

TEST_CASE("timeout without a running loop is RuntimeError", "[timeouts][rule-8]") {
  CHECK(test::thrown([] { return asyncio::timeout(1); }) == "std::runtime_error: no running event loop");
}

TEST_CASE("a timeout is expired already when the body is thrown the cancellation", "[timeouts]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Timeout cm = asyncio::timeout(1);
    bool expired_in_body = false;
    auto body = [&]() -> Coroutine<void> {
      try {
        co_await asyncio::sleep(10);
      } catch (const CancelledError&) {
        expired_in_body = cm.expired();
        throw;
      }
    };
    const std::string outcome = co_await outcome_of(cm, body);
    CHECK(outcome == "TimeoutError");
    CHECK(expired_in_body);
  };
  loop.run_until_complete(main());
}
