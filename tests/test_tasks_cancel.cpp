// The cancellation of tasks: what it reaches, its messages, cancelling and uncancel.
// Upstream counterpart: Lib/test/test_asyncio/test_tasks.py, the cancel tests of BaseTaskTests.
#include <string>

#include "tests/utils.hpp"

namespace {

using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::cancel_myself;
using test::fails;
using test::holds;
using test::Instance;
using test::later;
using test::Log;
using test::NotesEnd;
using test::nothing;
using test::returns;
using test::sleeps;
using test::TestLoop;
using test::waits_for;

/// What the message of a caught CancelledError was; "none" if none was raised.
template <class F> std::string cancel_message_of(F f) {
  try {
    static_cast<void>(f());
  } catch (const CancelledError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

// ---- cancellation ------------------------------------------------------------------------------------

TEST_CASE("a task cancelled before its first step never runs its body",
          "[tasks][rule-5][test_tasks.test_cancel_with_message_before_starting_task]") {
  TestLoop loop;
  bool ran = false;
  auto body = [&]() -> Coroutine<void> {
    ran = true;
    co_return;
  };
  const Task<void> task = loop.create_task(body());
  CHECK(task.cancel());
  CHECK_FALSE(task.done());
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK_FALSE(ran);
  CHECK(task.cancelled());
}

TEST_CASE("a task cancelled before its first step frees its arguments", "[tasks][rule-5][rule-7]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(holds(Instance(), future));
  task.cancel();
  test::run_once(loop);
  CHECK(task.cancelled());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a callable whose task is cancelled before the first step is never called", "[tasks][rule-5]") {
  TestLoop loop;
  bool called = false;
  const Task<int> task = loop.create_task([&, instance = Instance()] {
    static_cast<void>(instance);
    called = true;
    return returns(2);
  });
  task.cancel();
  test::run_briefly(loop);
  CHECK(task.cancelled());
  CHECK_FALSE(called);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a callback can cancel a sleeping task", "[tasks][rule-5][test_tasks.test_cancel]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(later(10, 12));
  loop.call_soon([&] { CHECK(task.cancel()); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.done());
  CHECK(task.cancelled());
  CHECK(loop.time() == 0);
}

TEST_CASE("cancel of a done task changes nothing and is false", "[tasks][rule-5][test_tasks.test_cancel]") {
  TestLoop loop;
  SECTION("returned") {
    const Task<int> task = loop.create_task(returns(1));
    test::run_briefly(loop);
    CHECK_FALSE(task.cancel());
    CHECK(task.cancelling() == 0);
    CHECK(task.result() == 1);
  }
  SECTION("raised") {
    const Task<int> task = loop.create_task(fails("spam"));
    test::run_briefly(loop);
    CHECK_FALSE(task.cancel("too late"));
    CHECK(test::thrown([&] { return task.result(); }) == "std::invalid_argument: spam");
  }
  SECTION("cancelled") {
    const Task<int> task = loop.create_task(returns(1));
    task.cancel("in time");
    test::run_briefly(loop);
    CHECK_FALSE(task.cancel("too late"));
    CHECK(task.cancelling() == 1);
    CHECK(cancel_message_of([&] { return task.result(); }) == "in time");
  }
}

TEST_CASE("a task is cancelled between two sleeps of 0", "[tasks][rule-5][test_tasks.test_cancel_yield]") {
  TestLoop loop;
  int steps = 0;
  auto body = [&]() -> Coroutine<int> {
    for (; steps < 3; ++steps) co_await asyncio::sleep(0);
    co_return 12;
  };
  const Task<int> task = loop.create_task(body());
  test::run_once(loop, 2);
  task.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelled());
  CHECK(steps == 1);
  CHECK_FALSE(task.cancel());
}

TEST_CASE("a task that waits for a future is cancelled when the future is",
          "[tasks][rule-5][test_tasks.test_cancel_inner_future]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  future.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelled());
  CHECK(task.cancelling() == 0);
}

TEST_CASE("cancelling both a task and the future it waits for ends both",
          "[tasks][rule-5][test_tasks.test_cancel_both_task_and_inner_future]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  CHECK(future.cancel());
  CHECK(task.cancel());
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(future.cancelled());
  CHECK(task.cancelled());
}

TEST_CASE("cancel of a task cancels the future it waits for at once",
          "[tasks][rule-5][test_tasks.test_task_cancel_waiter_future]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  CHECK(task.cancel());
  CHECK(future.cancelled());
  CHECK_FALSE(task.done());
  test::run_once(loop);
  CHECK(task.cancelled());
}

TEST_CASE("cancel reaches the innermost future through coroutines and tasks, and comes back through all",
          "[tasks][rule-5][test_tasks.test_yield_future_passes_cancel]") {
  TestLoop loop;
  const Future<int> future(loop);
  Log log;
  auto innermost = [&]() -> Coroutine<int> {
    try {
      co_return co_await future;
    } catch (const CancelledError&) {
      log.push_back("innermost");
      throw;
    }
  };
  auto middle = [&]() -> Coroutine<int> {
    const Task<int> task = asyncio::create_task(innermost());
    try {
      co_return co_await task;
    } catch (const CancelledError&) {
      log.push_back("middle");
      throw;
    }
  };
  auto outer = [&]() -> Coroutine<int> {
    try {
      co_return co_await middle();
    } catch (const CancelledError&) {
      log.push_back("outer");
    }
    co_return 0;
  };
  const Task<int> task = loop.create_task(outer());
  test::run_briefly(loop);
  task.cancel();
  CHECK(future.cancelled());
  CHECK(loop.run_until_complete(task) == 0);
  CHECK(log == Log{"innermost", "middle", "outer"});
}

TEST_CASE("a task that catches CancelledError and returns is not cancelled",
          "[tasks][rule-5][test_tasks.test_cancel_task_catching]") {
  TestLoop loop;
  const Future<void> first(loop), second(loop);
  auto body = [&]() -> Coroutine<int> {
    co_await first;
    try {
      co_await second;
    } catch (const CancelledError&) {
      co_return 42;
    }
    co_return 0;
  };
  const Task<int> task = loop.create_task(body());
  test::run_briefly(loop);
  first.set_result();
  test::run_briefly(loop);
  task.cancel();
  CHECK(second.cancelled());
  CHECK(loop.run_until_complete(task) == 42);
  CHECK_FALSE(task.cancelled());
}

TEST_CASE("a task that swallows CancelledError goes on awaiting",
          "[tasks][rule-5][test_tasks.test_cancel_task_ignoring]") {
  TestLoop loop;
  const Future<int> first(loop), second(loop);
  auto body = [&]() -> Coroutine<int> {
    try {
      co_await first;
    } catch (const CancelledError&) {}
    co_return co_await second;
  };
  const Task<int> task = loop.create_task(body());
  test::run_briefly(loop);
  task.cancel();
  CHECK(first.cancelled());
  test::run_briefly(loop);
  CHECK_FALSE(task.done());
  second.set_result(42);
  CHECK(loop.run_until_complete(task) == 42);
  CHECK_FALSE(second.cancelled());
  CHECK_FALSE(task.cancelled());
}

TEST_CASE("a cancellation that was swallowed still counts in cancelling()", "[tasks][rule-5]") {
  TestLoop loop;
  auto body = []() -> Coroutine<int> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {}
    co_return asyncio::current_task().cancelling();
  };
  const Task<int> task = loop.create_task(body());
  test::run_once(loop);
  task.cancel();
  CHECK(loop.run_until_complete(task) == 1);
  CHECK(task.cancelling() == 1);
}

TEST_CASE("a handler of std::exception lets a cancellation pass", "[tasks][rule-5]") {
  TestLoop loop;
  bool swallowed = false;
  auto body = [&]() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const std::exception&) {
      swallowed = true;
    }
  };
  const Task<void> task = loop.create_task(body());
  test::run_once(loop);
  task.cancel();
  test::run_briefly(loop);
  CHECK(task.cancelled());
  CHECK_FALSE(swallowed);
}

TEST_CASE("a cancelled task unwinds its coroutines from the inside out", "[tasks][rule-5]") {
  TestLoop loop;
  Log log;
  auto inner = [&]() -> Coroutine<void> {
    const NotesEnd end{log, "inner"};
    co_await asyncio::sleep(1000);
  };
  auto outer = [&]() -> Coroutine<void> {
    const NotesEnd end{log, "outer"};
    co_await inner();
  };
  const Task<void> task = loop.create_task(outer());
  test::run_once(loop);
  task.cancel();
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"inner", "outer"});
}

TEST_CASE("a cancelled task may await for its cleanup before it lets the cancellation go on", "[tasks][rule-5]") {
  TestLoop loop;
  bool cleaned = false;
  auto body = [&]() -> Coroutine<void> {
    std::exception_ptr cancelled;
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      cancelled = std::current_exception();
    }
    co_await asyncio::sleep(1);
    cleaned = true;
    std::rethrow_exception(cancelled);
  };
  const Task<void> task = loop.create_task(body());
  test::run_once(loop);
  task.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(cleaned);
  CHECK(loop.time() == 1);
  CHECK(task.cancelled());
}

TEST_CASE("a task that answers a cancellation with another exception has failed, not been cancelled",
          "[tasks][rule-5][test_tasks.test_cancellation_exception_context]") {
  TestLoop loop;
  auto body = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError& error) {
      throw asyncio::ValueError(std::string("cancelled: ") + error.what());
    }
  };
  const Task<void> task = loop.create_task(body());
  loop.call_soon([&] { task.cancel("msg"); });
  CHECK(test::thrown([&] { loop.run_until_complete(task); }) == "std::invalid_argument: cancelled: msg");
  CHECK_FALSE(task.cancelled());
}

TEST_CASE("a coroutine that raises CancelledError by itself cancels its task", "[tasks][rule-5]") {
  TestLoop loop;
  auto body = []() -> Coroutine<void> {
    throw CancelledError("by myself");
    co_return;
  };
  const Task<void> task = loop.create_task(body());
  test::run_briefly(loop);
  CHECK(task.cancelled());
  CHECK(task.cancelling() == 0);
  CHECK(cancel_message_of([&] { task.result(); }) == "by myself");
}

TEST_CASE("a task that cancels itself is cancelled at its next await",
          "[tasks][rule-5][test_tasks.test_cancel_current_task]") {
  TestLoop loop;
  bool went_on = false, came_back = false;
  auto body = [&]() -> Coroutine<int> {
    cancel_myself();
    went_on = true;
    co_await asyncio::sleep(100);
    came_back = true;
    co_return 12;
  };
  const Task<int> task = loop.create_task(body());
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelled());
  CHECK(went_on);
  CHECK_FALSE(came_back);
  CHECK(loop.time() == 0);
  CHECK_FALSE(task.cancel());
}

TEST_CASE("a task that cancels itself does not notice in an await that does not suspend", "[tasks][rule-1][rule-5]") {
  TestLoop loop;
  const Future<int> done(loop);
  done.set_result(7);
  Log log;
  auto body = [&]() -> Coroutine<void> {
    cancel_myself();
    log.push_back("future " + std::to_string(co_await done));
    log.push_back("coroutine " + std::to_string(co_await returns(5)));
    try {
      co_await asyncio::sleep(0);
    } catch (const CancelledError&) {
      log.push_back("cancelled");
    }
  };
  loop.run_until_complete(body());
  CHECK(log == Log{"future 7", "coroutine 5", "cancelled"});
}

TEST_CASE("a task cancelled after its last await is cancelled all the same",
          "[tasks][rule-5][test_tasks.test_cancel_at_end]") {
  TestLoop loop;
  auto body = []() -> Coroutine<int> {
    cancel_myself("at the end");
    co_return 12;
  };
  const Task<int> task = loop.create_task(body());
  CHECK(cancel_message_of([&] { return loop.run_until_complete(task); }) == "at the end");
  CHECK(task.done());
  CHECK(task.cancelled());
  CHECK_FALSE(task.cancel());
}

TEST_CASE("a task that is cancelled in its last step and raises has failed",
          "[tasks][rule-5][test_tasks.test_cancel_at_end]") {
  TestLoop loop;
  auto body = []() -> Coroutine<void> {
    cancel_myself();
    throw asyncio::ValueError("spam");
    co_return;
  };
  const Task<void> task = loop.create_task(body());
  CHECK(test::thrown([&] { loop.run_until_complete(task); }) == "std::invalid_argument: spam");
  CHECK_FALSE(task.cancelled());
}

TEST_CASE("a task that cancels itself and then waits for a task cancels that one, down to its future",
          "[tasks][rule-5][test_tasks.test_cancel_awaited_task]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> nested = loop.create_task(waits_for(future));
  auto body = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(0);
    cancel_myself("passed on");
    co_await nested;
  };
  const Task<void> task = loop.create_task(body());
  CHECK(cancel_message_of([&] { loop.run_until_complete(task); }) == "passed on");
  CHECK(task.cancelled());
  CHECK(nested.cancelled());
  CHECK(future.cancelled());
}

TEST_CASE("a cancelled task that waits for a task which swallows the cancellation gets its result", "[tasks][rule-5]") {
  TestLoop loop;
  auto stubborn = []() -> Coroutine<int> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {}
    co_await asyncio::sleep(1);
    co_return 3;
  };
  const Task<int> inner = loop.create_task(stubborn());
  const Task<int> outer = loop.create_task(waits_for(inner));
  test::run_briefly(loop);
  CHECK(outer.cancel());
  CHECK(inner.cancelling() == 1);
  CHECK(outer.cancelling() == 1);
  CHECK(loop.run_until_complete(outer) == 3);
  CHECK_FALSE(outer.cancelled());
  CHECK_FALSE(inner.cancelled());
}

TEST_CASE("cancel reaches the inner task again after that has swallowed a cancellation", "[tasks][rule-5]") {
  TestLoop loop;
  auto stubborn = []() -> Coroutine<int> {
    int swallowed = 0;
    while (swallowed < 2) {
      try {
        co_await asyncio::sleep(1000);
      } catch (const CancelledError&) {
        ++swallowed;
      }
    }
    co_return swallowed;
  };
  const Task<int> inner = loop.create_task(stubborn());
  const Task<int> outer = loop.create_task(waits_for(inner));
  test::run_briefly(loop);
  outer.cancel();
  test::run_briefly(loop);
  CHECK_FALSE(inner.done());
  CHECK_FALSE(outer.done());
  outer.cancel();
  CHECK(loop.run_until_complete(outer) == 2);
  CHECK(inner.cancelling() == 2);
  CHECK(outer.cancelling() == 2);
}

TEST_CASE("a task that is ready to go on with a value is cancelled before it sees it",
          "[tasks][rule-5][test_tasks.test_uncancel_resets_must_cancel]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  future.set_result(1);
  CHECK(task.cancel("late"));
  CHECK(cancel_message_of([&] { return loop.run_until_complete(task); }) == "late");
  CHECK_FALSE(future.cancelled());
}

TEST_CASE("a task cancelled by another one in the same iteration is not stepped first", "[tasks][rule-5]") {
  TestLoop loop;
  bool ran = false;
  Task<void> victim = loop.create_task(nothing());
  auto killer = [&]() -> Coroutine<void> {
    victim.cancel();
    co_return;
  };
  auto body = [&]() -> Coroutine<void> {
    ran = true;
    co_return;
  };
  loop.create_task(killer());
  victim = loop.create_task(body());
  test::run_once(loop);
  CHECK(victim.cancelled());
  CHECK_FALSE(ran);
}

// ---- cancelling, uncancel, messages ------------------------------------------------------------------

TEST_CASE("cancelling() counts the calls of cancel(), each of which is true",
          "[tasks][rule-5][test_tasks.test_cancelling]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  CHECK(task.cancelling() == 0);
  CHECK(task.cancel());
  CHECK(task.cancelling() == 1);
  CHECK(task.cancel());
  CHECK(task.cancelling() == 2);
  CHECK(AnyTask(task).cancelling() == 2);
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelling() == 2);
}

TEST_CASE("a task that uncancels itself can be cancelled once more",
          "[tasks][rule-5][test_tasks.test_uncancel_basic]") {
  TestLoop loop;
  auto body = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(10);
    } catch (const CancelledError&) {
      asyncio::current_task().uncancel();
    }
    co_await asyncio::sleep(10);
  };
  const Task<void> task = loop.create_task(body());
  loop.run_until_complete(sleeps(0.01));
  CHECK(task.cancel());
  CHECK(task.cancelling() == 1);
  CHECK_FALSE(task.cancelled());
  loop.run_until_complete(sleeps(0.01));
  CHECK(task.cancelling() == 0);
  CHECK_FALSE(task.done());
  CHECK(task.cancel());
  CHECK(task.cancelling() == 1);
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelled());
}

TEST_CASE("uncancel after the end does not bring a cancelled task back",
          "[tasks][rule-5][test_tasks.test_uncancel_basic]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  task.cancel();
  test::run_briefly(loop);
  CHECK(task.uncancel() == 0);
  CHECK(task.cancelled());
  CHECK(task.done());
}

TEST_CASE("uncancel of a task that was never cancelled stays at 0", "[tasks][rule-5]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1));
  CHECK(task.uncancel() == 0);
  CHECK(task.uncancel() == 0);
  CHECK(task.cancelling() == 0);
  CHECK(loop.run_until_complete(task) == 1);
}

TEST_CASE("uncancel down to 0 clears a cancellation that was not delivered yet",
          "[tasks][rule-5][test_tasks.test_uncancel_resets_must_cancel]") {
  TestLoop loop;
  SECTION("of a task that is ready to go on") {
    const Future<int> future(loop);
    const Task<int> task = loop.create_task(waits_for(future));
    test::run_briefly(loop);
    future.set_result(42);
    task.cancel();
    CHECK(task.uncancel() == 0);
    CHECK(task.cancelling() == 0);
    CHECK(loop.run_until_complete(task) == 42);
  }
  SECTION("of a task that has not started") {
    const Task<int> task = loop.create_task(returns(42));
    task.cancel("forgotten");
    task.uncancel();
    CHECK(loop.run_until_complete(task) == 42);
    CHECK(task.exception() == nullptr);
  }
  SECTION("of the task that runs") {
    auto body = []() -> Coroutine<int> {
      cancel_myself();
      asyncio::current_task().uncancel();
      co_await asyncio::sleep(0);
      co_return 42;
    };
    CHECK(loop.run_until_complete(body()) == 42);
  }
}

TEST_CASE("uncancel does not reach a future that is cancelled already", "[tasks][rule-5]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  task.cancel();
  CHECK(task.uncancel() == 0);
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelled());
}

TEST_CASE("one uncancel for two cancels leaves the cancellation pending",
          "[tasks][rule-5][test_tasks.test_uncancel_resets_must_cancel]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1));
  task.cancel();
  task.cancel();
  CHECK(task.uncancel() == 1);
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
}

namespace {

struct Outcome {
  bool timed_out = false, block_finished = false, went_on = false;
};

/// What asyncio::timeout does, by hand: cancel() from a timer, and uncancel() at the end of the block.
Coroutine<Outcome> block_with_timeout(asyncio::EventLoop& loop, double seconds, double limit) {
  Outcome outcome;
  const AnyTask task = asyncio::current_task();
  const asyncio::TimerHandle timer = loop.call_later(limit, [&outcome, task] {
    outcome.timed_out = true;
    task.cancel();
  });
  try {
    co_await asyncio::sleep(seconds);
    outcome.block_finished = true;
  } catch (const CancelledError&) {
    if (!outcome.timed_out || task.uncancel() > 0) throw;
  }
  timer.cancel();
  co_await asyncio::sleep(0);
  outcome.went_on = true;
  co_return outcome;
}

}  // namespace

TEST_CASE("a block that timed out takes its cancellation back, and the code after it is not cancelled",
          "[tasks][rule-5][test_tasks.test_uncancel_structured_blocks]") {
  TestLoop loop;
  const Task<Outcome> task = loop.create_task(block_with_timeout(loop, 10, 0.1));
  const Outcome outcome = loop.run_until_complete(task);
  CHECK(outcome.timed_out);
  CHECK_FALSE(outcome.block_finished);
  CHECK(outcome.went_on);
  CHECK(task.cancelling() == 0);
}

TEST_CASE("a block that ends in time is not cancelled", "[tasks][rule-5][test_tasks.test_uncancel_structured_blocks]") {
  TestLoop loop;
  const Task<Outcome> task = loop.create_task(block_with_timeout(loop, 0, 10));
  const Outcome outcome = loop.run_until_complete(task);
  CHECK_FALSE(outcome.timed_out);
  CHECK(outcome.block_finished);
  CHECK(outcome.went_on);
  CHECK(task.cancelling() == 0);
}

TEST_CASE("a block that timed out and was cancelled from outside too lets the cancellation through",
          "[tasks][rule-5][test_tasks.test_uncancel_structured_blocks]") {
  TestLoop loop;
  const Task<Outcome> task = loop.create_task(block_with_timeout(loop, 10, 0.1));
  loop.call_at(0.1, [&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(task.cancelling() == 1);
}

TEST_CASE("cancel's message is what the CancelledError says that result raises",
          "[tasks][rule-5][test_tasks.test_cancel_with_message_then_future_result]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  test::run_once(loop);
  SECTION("with a message") {
    task.cancel("my message");
    test::run_briefly(loop);
    CHECK(cancel_message_of([&] { task.result(); }) == "my message");
  }
  SECTION("without one") {
    task.cancel();
    test::run_briefly(loop);
    CHECK(cancel_message_of([&] { task.result(); }).empty());
  }
}

TEST_CASE("cancel's message is what the CancelledError says that exception raises",
          "[tasks][rule-5][test_tasks.test_cancel_with_message_then_future_exception]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  test::run_once(loop);
  task.cancel("my message");
  test::run_briefly(loop);
  CHECK(cancel_message_of([&] { return task.exception(); }) == "my message");
}

TEST_CASE("cancel's message survives when the task has not started yet",
          "[tasks][rule-5][test_tasks.test_cancel_with_message_before_starting_task]"
          "[test_tasks.test_task_cancel_message_getter]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  task.cancel("my message");
  CHECK(cancel_message_of([&] { loop.run_until_complete(task); }) == "my message");
}

TEST_CASE("cancel's message reaches the await, and whoever awaits the task",
          "[tasks][rule-5][test_tasks.test_cancel_traceback_for_future_result]") {
  TestLoop loop;
  std::string at_await, at_awaiter;
  auto sleeper = [&]() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError& error) {
      at_await = error.what();
      throw;
    }
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> task = asyncio::create_task(sleeper());
    co_await asyncio::sleep(0);
    task.cancel("why");
    try {
      co_await task;
    } catch (const CancelledError& error) {
      at_awaiter = error.what();
    }
  };
  loop.run_until_complete(main());
  CHECK(at_await == "why");
  CHECK(at_awaiter == "why");
}

TEST_CASE("cancel's message is given on to the future that the task waits for", "[tasks][rule-5]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  task.cancel("why");
  CHECK(cancel_message_of([&] { return future.result(); }) == "why");
  test::run_briefly(loop);
  CHECK(task.cancelled());
}

TEST_CASE("of two cancels before the first step the second one's message counts",
          "[tasks][rule-5][test_tasks.test_task_cancel_message_setter]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  task.cancel("first");
  task.cancel("second");
  CHECK(cancel_message_of([&] { loop.run_until_complete(task); }) == "second");
}

TEST_CASE("of two cancels of a sleeping task the first one's message counts", "[tasks][rule-5]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(sleeps(10));
  test::run_once(loop);
  task.cancel("first");
  task.cancel("second");
  CHECK(cancel_message_of([&] { loop.run_until_complete(task); }) == "first");
}

TEST_CASE("a message does not leak from a cancellation that was swallowed into the next one", "[tasks][rule-5]") {
  TestLoop loop;
  const Task<int> task = loop.create_task([]() -> Coroutine<int> {
    try {
      co_await asyncio::sleep(0);
    } catch (const CancelledError&) {}
    co_await asyncio::sleep(0);
    co_return 1;
  });
  test::run_once(loop);
  task.cancel("first");
  test::run_once(loop);
  task.cancel();
  CHECK(cancel_message_of([&] { return loop.run_until_complete(task); }).empty());
}
