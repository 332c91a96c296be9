// Several awaitables at once: wait, shield, as_completed, and ensure_future of what is not a coroutine yet.
// Upstream counterpart: Lib/test/test_asyncio/test_tasks.py, the wait, shield and as_completed parts of BaseTaskTests.
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/utils.hpp"

using asyncio::AnyFuture;
using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::CurrentLoop;
using test::fails;
using test::fails_later;
using test::Instance;
using test::later;
using test::Log;
using test::makes_unique;
using test::nothing;
using test::Numbers;
using test::returns;
using test::says;
using test::TestLoop;
using test::yields_then_returns;

// ---- wait --------------------------------------------------------------------------------------------

TEST_CASE("wait waits for all, and gives them in the order of the vector", "[wait][test_tasks.test_wait]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(later(0.1, 1)), b = loop.create_task(later(0.15, 2));
  const std::vector<Task<int>> both{b, a};
  auto main = [&]() -> Coroutine<int> {
    const auto [done, pending] = co_await asyncio::wait(both);
    CHECK(done == std::vector<Task<int>>{b, a});
    CHECK(pending.empty());
    co_return 42;
  };
  CHECK(loop.run_until_complete(main()) == 42);
  CHECK(loop.time() == 0.15);
  CHECK(loop.run_until_complete(main()) == 42);  // again: all are done already
  CHECK(loop.time() == 0.15);
}

TEST_CASE("wait takes every range that a vector can be made of",
          "[wait][test_tasks.test_wait_generator][test_tasks.test_wait_with_iterator_of_tasks]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(asyncio::create_task(returns(i)));
    const auto result = co_await asyncio::wait(std::move(tasks), {.return_when = asyncio::ALL_COMPLETED});
    CHECK(result.done.size() == 10);
    CHECK(result.pending.empty());
  };
  loop.run_until_complete(main());
}

TEST_CASE("wait counts what is given twice once", "[wait][test_tasks.test_wait_duplicate_coroutines]") {
  TestLoop loop;
  const Task<std::string> c = loop.create_task(says("test")), d = loop.create_task(says("spam"));
  const std::vector<Task<std::string>> tasks{c, c, d};
  const auto result = loop.run_until_complete(asyncio::wait(tasks));
  CHECK(result.done == std::vector<Task<std::string>>{c, d});
  CHECK(result.pending.empty());
}

TEST_CASE("wait for nothing is ValueError",
          "[wait][rule-8][test_tasks.test_wait_errors][test_tasks.test_wait_invalid_args]") {
  TestLoop loop;
  CHECK_THROWS_AS(loop.run_until_complete(asyncio::wait(std::vector<Task<int>>())), asyncio::ValueError);
}

TEST_CASE("wait with a timeout that is not a number is ValueError", "[wait][rule-8]") {
  TestLoop loop;
  loop.catch_exceptions();
  const Task<int> task = loop.create_task(later(1, 1));
  const std::vector<Task<int>> tasks{task};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(loop.run_until_complete(asyncio::wait(tasks, {.timeout = nan})), asyncio::ValueError);
  CHECK(loop.run_until_complete(task) == 1);
}

TEST_CASE("wait for the first that is completed leaves the others running",
          "[wait][test_tasks.test_wait_first_completed]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(later(10, 1)), b = loop.create_task(later(0.1, 2));
  const std::vector<Task<int>> both{b, a};
  const auto result = loop.run_until_complete(asyncio::wait(both, {.return_when = asyncio::FIRST_COMPLETED}));
  CHECK(result.done == std::vector<Task<int>>{b});
  CHECK(result.pending == std::vector<Task<int>>{a});
  CHECK(b.result() == 2);
  CHECK(loop.time() == 0.1);
  CHECK(loop.run_until_complete(a) == 1);
}

TEST_CASE("what is done when wait returns stands in done, though it did not end the waiting",
          "[wait][test_tasks.test_wait_really_done]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(yields_then_returns(1, 1)), b = loop.create_task(yields_then_returns(2, 2));
  const std::vector<Task<int>> both{b, a};
  const auto result = loop.run_until_complete(asyncio::wait(both, {.return_when = asyncio::FIRST_COMPLETED}));
  CHECK(result.done == std::vector<Task<int>>{b, a});
  CHECK(result.pending.empty());
}

TEST_CASE("wait for the first exception returns at once when one has failed",
          "[wait][test_tasks.test_wait_first_exception]") {
  TestLoop loop;
  loop.catch_exceptions();
  const Task<int> a = loop.create_task(later(10, 1)), b = loop.create_task(fails("err"));
  const std::vector<Task<int>> both{b, a};
  const auto result = loop.run_until_complete(asyncio::wait(both, {.return_when = asyncio::FIRST_EXCEPTION}));
  CHECK(result.done == std::vector<Task<int>>{b});
  CHECK(result.pending == std::vector<Task<int>>{a});
  CHECK(loop.time() == 0);
}

TEST_CASE("wait for the first exception returns when one fails during the waiting",
          "[wait][test_tasks.test_wait_first_exception_in_wait]") {
  TestLoop loop;
  loop.catch_exceptions();
  const Task<int> a = loop.create_task(later(10, 1)), b = loop.create_task(fails_later(0.01, "err"));
  const std::vector<Task<int>> both{b, a};
  const auto result = loop.run_until_complete(asyncio::wait(both, {.return_when = asyncio::FIRST_EXCEPTION}));
  CHECK(result.done == std::vector<Task<int>>{b});
  CHECK(result.pending == std::vector<Task<int>>{a});
  CHECK(loop.time() == 0.01);
}

TEST_CASE("wait for the first exception is not ended by results or cancellations", "[wait]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(later(1, 1)), b = loop.create_task(later(100, 2)),
                  c = loop.create_task(later(3, 3));
  loop.call_later(2, [&] { b.cancel(); });
  const std::vector<Task<int>> tasks{a, b, c};
  const auto result = loop.run_until_complete(asyncio::wait(tasks, {.return_when = asyncio::FIRST_EXCEPTION}));
  CHECK(result.done == tasks);
  CHECK(loop.time() == 3);
}

TEST_CASE("wait raises nothing of what it waits for", "[wait][test_tasks.test_wait_with_exception]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(later(0.1, 1)), b = loop.create_task(fails_later(0.15, "really"));
  const std::vector<Task<int>> both{b, a};
  for (int i = 0; i < 2; ++i) {
    const auto result = loop.run_until_complete(asyncio::wait(both));
    CHECK(result.done == both);
    CHECK(asyncio::describe(b.exception()) == "std::invalid_argument: really");
    CHECK(loop.time() == 0.15);
  }
}

TEST_CASE("wait with a timeout gives what is done in time, and cancels nothing",
          "[wait][test_tasks.test_wait_with_timeout]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(later(0.1, 1)), b = loop.create_task(later(0.15, 2));
  const std::vector<Task<int>> both{b, a};
  const auto result = loop.run_until_complete(asyncio::wait(both, {.timeout = 0.11}));
  CHECK(result.done == std::vector<Task<int>>{a});
  CHECK(result.pending == std::vector<Task<int>>{b});
  CHECK(loop.time() == 0.11);
  CHECK(loop.run_until_complete(b) == 2);
}

TEST_CASE("wait's timeout at the moment at which a task ends", "[wait][test_tasks.test_wait_concurrent_complete]") {
  TestLoop loop;
  loop.catch_exceptions();
  const Task<int> a = loop.create_task(later(0.1, 1)), b = loop.create_task(later(0.15, 2));
  const std::vector<Task<int>> both{b, a};
  const auto result = loop.run_until_complete(asyncio::wait(both, {.timeout = 0.1}));
  CHECK(result.done == std::vector<Task<int>>{a});
  CHECK(result.pending == std::vector<Task<int>>{b});
  CHECK(loop.time() == 0.1);
}

TEST_CASE("wait with a timeout of 0 or less still gives up iterations, and no time", "[wait]") {
  for (const double timeout : {0.0, -1.0}) {
    TestLoop loop;
    loop.catch_exceptions();
    const Task<int> a = loop.create_task(returns(1)), b = loop.create_task(later(1, 2));
    const std::vector<Task<int>> both{a, b};
    const auto result = loop.run_until_complete(asyncio::wait(both, {.timeout = timeout}));
    CHECK(result.done == std::vector<Task<int>>{a});
    CHECK(result.pending == std::vector<Task<int>>{b});
    CHECK(loop.time() == 0);
  }
}

TEST_CASE("wait's timeout may be a duration, and all options be given together", "[wait]") {
  using namespace std::chrono_literals;
  TestLoop loop;
  loop.catch_exceptions();
  const Task<int> a = loop.create_task(later(1, 1)), b = loop.create_task(later(2, 2));
  const std::vector<Task<int>> both{a, b};
  auto main = [&]() -> Coroutine<std::size_t> {
    const auto result = co_await asyncio::wait(both, {.timeout = 500ms, .return_when = asyncio::FIRST_COMPLETED});
    co_return result.done.size();
  };
  CHECK(loop.run_until_complete(main()) == 0);
  CHECK(loop.time() == 0.5);
}

TEST_CASE("wait's timer is dropped when it returns in time", "[wait]") {
  TestLoop loop;
  const std::vector<Task<int>> tasks{loop.create_task(later(1, 1))};
  loop.run_until_complete(asyncio::wait(tasks, {.timeout = 100}));
  CHECK(loop.time() == 1);
  CHECK_THROWS_AS(loop.run_forever(), std::logic_error);  // no timer left that could wake it
}

TEST_CASE("cancelling wait leaves what it waits for running",
          "[wait][rule-5][test_tasks.test_yield_wait_does_not_shield_cancel]") {
  TestLoop loop;
  const Future<int> waiter(loop);
  int proof = 0;
  auto inner = [&]() -> Coroutine<void> {
    co_await waiter;
    proof += 1;
  };
  auto outer = [&]() -> Coroutine<void> {
    const std::vector<Task<void>> tasks{asyncio::create_task(inner())};
    co_await asyncio::wait(tasks);
    proof += 100;
  };
  const Task<void> task = loop.create_task(outer());
  test::run_briefly(loop);
  task.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  waiter.set_result(1);
  test::run_briefly(loop);
  CHECK(proof == 1);
}

TEST_CASE("wait takes futures of mixed types as AnyFuture, and tasks as AnyTask", "[wait]") {
  TestLoop loop;
  const Task<int> a = loop.create_task(later(1, 1));
  const Task<std::string> b = loop.create_task(says("b"));
  const Future<void> c(loop);
  const std::vector<AnyFuture> mixed{a, b, c};
  const auto futures = loop.run_until_complete(asyncio::wait(mixed, {.return_when = asyncio::FIRST_COMPLETED}));
  CHECK(futures.done == std::vector<AnyFuture>{b});
  CHECK(futures.pending == std::vector<AnyFuture>{a, c});
  const std::vector<AnyTask> tasks{a, b};
  const auto both = loop.run_until_complete(asyncio::wait(tasks));
  CHECK(both.done == tasks);
}

TEST_CASE("wait leaves move-only results in the tasks", "[wait]") {
  TestLoop loop;
  const std::vector<Task<std::unique_ptr<int>>> tasks{loop.create_task(makes_unique(1, 5))};
  const auto result = loop.run_until_complete(asyncio::wait(tasks));
  CHECK(*result.done[0].take_result() == 5);
}

TEST_CASE("wait removes its callbacks from what is still pending", "[wait][rule-7]") {
  TestLoop loop;
  const Future<int> pending(loop);
  const std::vector<Future<int>> futures{pending};
  for (int i = 0; i < 3; ++i) loop.run_until_complete(asyncio::wait(futures, {.timeout = 1}));
  CHECK(pending.repr().find("cb=") == std::string::npos);
}

// ---- shield ------------------------------------------------------------------------------------------

TEST_CASE("shield has the result of what it shields", "[shield][test_tasks.test_shield_result]") {
  TestLoop loop;
  const Future<int> inner(loop);
  const Future<int> outer = asyncio::shield(inner);
  inner.set_result(42);
  CHECK(loop.run_until_complete(outer) == 42);
}

TEST_CASE("shield has the very exception of what it shields", "[shield][test_tasks.test_shield_exception]") {
  TestLoop loop;
  const Future<int> inner(loop);
  const Future<int> outer = asyncio::shield(inner);
  test::run_briefly(loop);
  const std::exception_ptr expected = std::make_exception_ptr(asyncio::RuntimeError("expected"));
  inner.set_exception(expected);
  test::run_briefly(loop);
  CHECK(outer.exception() == expected);
}

TEST_CASE("shield is cancelled when what it shields is", "[shield][rule-5][test_tasks.test_shield_cancel_inner]") {
  TestLoop loop;
  const Future<int> inner(loop);
  const Future<int> outer = asyncio::shield(inner);
  test::run_briefly(loop);
  inner.cancel();
  test::run_briefly(loop);
  CHECK(outer.cancelled());
}

TEST_CASE("cancelling shield leaves what it shields alone, and no callback behind",
          "[shield][rule-5][test_tasks.test_shield_cancel_outer]") {
  TestLoop loop;
  const Future<int> inner(loop);
  const Future<int> outer = asyncio::shield(inner);
  test::run_briefly(loop);
  outer.cancel();
  test::run_briefly(loop);
  CHECK(outer.cancelled());
  CHECK_FALSE(inner.done());
  CHECK(inner.repr().find("cb=") == std::string::npos);
}

TEST_CASE("shield of what is done is the future itself", "[shield][test_tasks.test_shield_shortcut]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(42);
  const Future<int> outer = asyncio::shield(future);
  CHECK(outer == future);
  CHECK(loop.run_until_complete(outer) == 42);
}

TEST_CASE("cancelling the task that awaits a shield does not reach the shielded coroutine",
          "[shield][rule-5][test_tasks.test_shield_effect]") {
  TestLoop loop;
  const Future<int> waiter(loop);
  int proof = 0;
  auto inner = [&]() -> Coroutine<void> {
    co_await waiter;
    proof += 1;
  };
  auto outer = [&]() -> Coroutine<void> {
    co_await asyncio::shield(inner());
    proof += 100;
  };
  const Task<void> task = loop.create_task(outer());
  test::run_briefly(loop);
  task.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  waiter.set_result(1);
  test::run_briefly(loop);
  CHECK(proof == 1);
}

TEST_CASE("a shielded gather goes on when the shield is cancelled", "[shield][test_tasks.test_shield_gather]") {
  TestLoop loop;
  const Future<int> child1(loop), child2(loop);
  const auto parent = asyncio::gather(child1, child2);
  const auto outer = asyncio::shield(parent);
  test::run_briefly(loop);
  outer.cancel();
  test::run_briefly(loop);
  CHECK(outer.cancelled());
  child1.set_result(1);
  child2.set_result(2);
  test::run_briefly(loop);
  CHECK(parent.result() == std::tuple(1, 2));
}

TEST_CASE("cancelling a gather of shields cancels the shields only", "[shield][test_tasks.test_gather_shield]") {
  TestLoop loop;
  const Future<int> child1(loop), child2(loop);
  const Future<int> inner1 = asyncio::shield(child1), inner2 = asyncio::shield(child2);
  const auto parent = asyncio::gather(inner1, inner2);
  test::run_briefly(loop);
  parent.cancel();
  test::run_briefly(loop);
  CHECK(asyncio::holds<CancelledError>(parent.exception()));
  CHECK(inner1.cancelled());
  CHECK(inner2.cancelled());
  CHECK_FALSE(child1.done());
  child1.set_result(1);
  child2.set_result(2);
  test::run_briefly(loop);
  CHECK(child1.result() == 1);
}

TEST_CASE("shield of a coroutine without any loop is RuntimeError",
          "[shield][rule-8][test_tasks.test_shield_coroutine_without_loop]") {
  std::string error;
  std::thread([&] { error = test::thrown([] { return asyncio::shield(returns(42)); }); }).join();
  CHECK(error.find("no current event loop") != std::string::npos);
}

TEST_CASE("shield of a coroutine uses the running loop",
          "[shield][test_tasks.test_shield_coroutine_use_running_loop]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<int> {
    const Future<int> outer = asyncio::shield(returns(42));
    CHECK(&outer.get_loop() == &loop);
    co_return co_await outer;
  };
  CHECK(loop.run_until_complete(main()) == 42);
}

TEST_CASE("shield of a coroutine uses the loop that is set for this thread when none runs",
          "[shield][test_tasks.test_shield_coroutine_use_global_loop]") {
  CurrentLoop loop;
  const Future<int> outer = asyncio::shield(returns(42));
  CHECK(&outer.get_loop() == &loop);
  CHECK(loop.run_until_complete(outer) == 42);
}

TEST_CASE("shield passes void and move-only results, and takes callables", "[shield]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    co_await asyncio::shield(nothing());
    const std::unique_ptr<int> result = co_await asyncio::shield(makes_unique(1, 3));
    auto callable = [extra = 4]() -> Coroutine<int> {
      co_await asyncio::sleep(1);
      co_return extra;
    };
    const Future<int> outer = asyncio::shield(std::move(callable));
    const int extra = co_await outer;
    co_return *result + extra;
  };
  CHECK(loop.run_until_complete(main()) == 7);
}

TEST_CASE("shield raises what the copy of the result throws", "[shield][rule-8]") {
  struct CannotBeCopied {
    CannotBeCopied() = default;
    CannotBeCopied(CannotBeCopied&&) = default;
    CannotBeCopied(const CannotBeCopied&) { throw asyncio::RuntimeError("no copy"); }
  };
  TestLoop loop;
  const Future<CannotBeCopied> inner(loop);
  const Future<CannotBeCopied> outer = asyncio::shield(inner);
  inner.set_result(CannotBeCopied());
  test::run_briefly(loop);
  REQUIRE(outer.done());
  CHECK(asyncio::describe(outer.exception()) == "std::runtime_error: no copy");
}

TEST_CASE("an exception behind a cancelled shield is reported as never retrieved", "[shield][rule-6]") {
  TestLoop loop;
  auto& reports = loop.catch_exceptions();
  auto main = []() -> Coroutine<void> { co_await asyncio::shield(fails_later(5, "lost")); };
  const Task<void> task = loop.create_task(main());
  loop.call_later(1, [&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  loop.run_until_complete(asyncio::sleep(10));
  REQUIRE(reports.size() == 1);
  CHECK(asyncio::describe(reports[0].exception) == "std::invalid_argument: lost");
}

// ---- as_completed ------------------------------------------------------------------------------------

TEST_CASE("as_completed gives the results in the order of completion", "[as_completed][test_tasks.test_as_completed]") {
  TestLoop loop;
  auto main = []() -> Coroutine<Numbers> {
    std::vector<Coroutine<int>> coroutines;
    coroutines.push_back(later(0.02, 2));
    coroutines.push_back(later(0.15, 3));
    coroutines.push_back(later(0.01, 1));
    Numbers results;
    for (auto& next : asyncio::as_completed(std::move(coroutines))) results.push_back(co_await next);
    co_return results;
  };
  CHECK(loop.run_until_complete(main()) == Numbers{1, 2, 3});
  CHECK(loop.time() == 0.15);
}

TEST_CASE("as_completed takes tasks and futures, too", "[as_completed][test_tasks.test_as_completed]") {
  TestLoop loop;
  const std::vector<Task<int>> tasks{loop.create_task(later(2, 2)), loop.create_task(later(1, 1))};
  const std::vector<Future<int>> futures{tasks[0], tasks[1]};
  auto main = [&]() -> Coroutine<Numbers> {
    Numbers results;
    for (auto& next : asyncio::as_completed(tasks)) results.push_back(co_await next);
    for (auto& next : asyncio::as_completed(futures)) results.push_back(co_await next);  // all done: in given order
    co_return results;
  };
  CHECK(loop.run_until_complete(main()) == Numbers{1, 2, 2, 1});
}

TEST_CASE("as_completed of nothing gives nothing", "[as_completed]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    int count = 0;
    for (auto& next : asyncio::as_completed(std::vector<Task<int>>())) count += co_await next;
    for (auto& next : asyncio::as_completed(std::vector<Task<int>>(), {.timeout = 1})) count += co_await next;
    co_return count;
  };
  CHECK(loop.run_until_complete(main()) == 0);
  CHECK(loop.time() == 0);
}

TEST_CASE("as_completed with a timeout raises TimeoutError for each that comes too late",
          "[as_completed][test_tasks.test_as_completed_with_timeout]") {
  TestLoop loop;
  std::vector<Task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(loop.create_task(later(0.1 * i, i)));
  auto main = [&]() -> Coroutine<Log> {
    Log log;
    for (auto& next : asyncio::as_completed(tasks, {.timeout = 0.12})) {
      try {
        log.push_back(std::to_string(co_await next));
      } catch (const asyncio::TimeoutError&) {
        log.push_back("late");
      }
    }
    co_return log;
  };
  CHECK(loop.run_until_complete(main()) == Log{"1", "late", "late"});
  CHECK(loop.time() == 0.12);
  CHECK_FALSE(tasks[1].done());
  loop.run_until_complete(tasks[2]);
}

TEST_CASE("a timeout of as_completed that is not needed is dropped",
          "[as_completed][test_tasks.test_as_completed_with_unused_timeout]") {
  TestLoop loop;
  const std::vector<Task<int>> tasks{loop.create_task(later(0.01, 1))};
  auto main = [&]() -> Coroutine<int> {
    int sum = 0;
    for (auto& next : asyncio::as_completed(tasks, {.timeout = 1})) sum += co_await next;
    co_return sum;
  };
  CHECK(loop.run_until_complete(main()) == 1);
  CHECK(loop.time() == 0.01);
  CHECK_THROWS_AS(loop.run_forever(), std::logic_error);  // no timer left that could wake it
}

TEST_CASE("a range of as_completed that was left with break is resumed by the next loop over it",
          "[as_completed][test_tasks.test_as_completed_resume_iterator]") {
  TestLoop loop;
  loop.catch_exceptions();
  auto main = []() -> Coroutine<Numbers> {
    std::vector<Coroutine<int>> coroutines;
    for (int i = 0; i < 4; ++i) coroutines.push_back(returns(i));
    auto range = asyncio::as_completed(std::move(coroutines));
    Numbers results;
    for (auto& next : range) {
      results.push_back(co_await next);
      if (results.size() == 2) break;
    }
    for (auto& next : range) results.push_back(co_await next);
    co_return results;
  };
  CHECK(loop.run_until_complete(main()) == Numbers{0, 1, 2, 3});
}

TEST_CASE("whichever coroutine of as_completed is awaited first gets the first result",
          "[as_completed][test_tasks.test_as_completed_reverse_wait]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    std::vector<Coroutine<int>> coroutines;
    coroutines.push_back(later(0.05, 1));
    coroutines.push_back(later(0.10, 2));
    std::vector<Coroutine<int>> nexts;
    for (auto& next : asyncio::as_completed(std::move(coroutines))) nexts.push_back(std::move(next));
    REQUIRE(nexts.size() == 2);
    const int first = co_await nexts[1];
    CHECK(first == 1);
    CHECK(loop.time() == 0.05);
    const int second = co_await nexts[0];
    CHECK(second == 2);
    CHECK(loop.time() == 0.10);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the coroutines of as_completed may be awaited at the same time",
          "[as_completed][test_tasks.test_as_completed_concurrent]") {
  TestLoop loop;
  auto main = []() -> Coroutine<Numbers> {
    std::vector<Coroutine<int>> coroutines;
    coroutines.push_back(later(0.06, 2));
    coroutines.push_back(later(0.05, 1));
    std::vector<Coroutine<int>> nexts;
    for (auto& next : asyncio::as_completed(std::move(coroutines))) nexts.push_back(std::move(next));
    co_return co_await asyncio::gather(std::move(nexts));
  };
  CHECK(loop.run_until_complete(main()) == Numbers{1, 2});
}

TEST_CASE("as_completed gives what stands twice in the vector once",
          "[as_completed][test_tasks.test_as_completed_duplicate_coroutines]") {
  TestLoop loop;
  auto main = []() -> Coroutine<Log> {
    const Task<std::string> ham = asyncio::create_task(says("ham")), spam = asyncio::create_task(says("spam"));
    std::vector<Task<std::string>> tasks;
    for (const auto& task : {ham, ham, spam}) tasks.push_back(task);
    Log log;
    for (auto& next : asyncio::as_completed(std::move(tasks))) log.push_back(co_await next);
    co_return log;
  };
  CHECK(loop.run_until_complete(main()) == Log{"ham", "spam"});
}

TEST_CASE("as_completed of coroutines without any loop is RuntimeError",
          "[as_completed][rule-8][test_tasks.test_as_completed_coroutine_without_loop]") {
  std::string error;
  std::thread([&] {
    std::vector<Coroutine<int>> coroutines;
    coroutines.push_back(returns(42));
    error = test::thrown([&] { return asyncio::as_completed(std::move(coroutines)); });
  }).join();
  CHECK(error.find("no current event loop") != std::string::npos);
}

TEST_CASE("as_completed makes tasks of the running loop of its coroutines",
          "[as_completed][test_tasks.test_as_completed_coroutine_use_running_loop]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<int> {
    std::vector<Coroutine<int>> coroutines;
    coroutines.push_back(returns(42));
    auto range = asyncio::as_completed(std::move(coroutines));
    CHECK(asyncio::all_tasks().size() == 2);
    int sum = 0, count = 0;
    for (auto& next : range) {
      sum += co_await next;
      ++count;
    }
    CHECK(count == 1);
    co_return sum;
  };
  CHECK(loop.run_until_complete(main()) == 42);
}

TEST_CASE("an exception comes out of the coroutine of as_completed whose turn it is", "[as_completed]") {
  TestLoop loop;
  const std::vector<Task<int>> tasks{loop.create_task(later(3, 3)), loop.create_task(fails_later(1, "one")),
                                     loop.create_task(later(100, 0))};
  loop.call_later(2, [&] { tasks[2].cancel(); });
  auto main = [&]() -> Coroutine<Log> {
    Log log;
    for (auto& next : asyncio::as_completed(tasks)) {
      try {
        log.push_back(std::to_string(co_await next));
      } catch (const asyncio::ValueError& error) {
        log.push_back(error.what());
      } catch (const CancelledError&) {
        log.push_back("cancelled");
      }
    }
    co_return log;
  };
  CHECK(loop.run_until_complete(main()) == Log{"one", "cancelled", "3"});
}

TEST_CASE("as_completed moves move-only results out", "[as_completed]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    std::vector<Coroutine<std::unique_ptr<int>>> coroutines;
    coroutines.push_back(makes_unique(2, 2));
    coroutines.push_back(makes_unique(1, 1));
    int number = 0;
    for (auto& next : asyncio::as_completed(std::move(coroutines))) {
      const std::unique_ptr<int> result = co_await next;
      number = 10 * number + *result;
    }
    co_return number;
  };
  CHECK(loop.run_until_complete(main()) == 12);
}

TEST_CASE("the tasks of an as_completed that was left run on, and nothing is kept of it", "[as_completed][rule-7]") {
  TestLoop loop;
  int ended = 0;
  auto child = [&](Instance) -> Coroutine<int> {
    co_await asyncio::sleep(1);
    co_return ++ended;
  };
  auto main = [&]() -> Coroutine<void> {
    std::vector<Coroutine<int>> coroutines;
    for (int i = 0; i < 3; ++i) coroutines.push_back(child(Instance()));
    for (auto& next : asyncio::as_completed(std::move(coroutines))) {
      co_await next;
      break;
    }
    co_await asyncio::sleep(2);
  };
  loop.run_until_complete(main());
  CHECK(ended == 3);
  CHECK(Instance::alive() == 0);
}

// ---- ensure_future -----------------------------------------------------------------------------------

TEST_CASE("ensure_future makes a task of a callable, which it keeps", "[ensure_future]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    const Task<int> task = asyncio::ensure_future([value = std::make_unique<int>(3)]() -> Coroutine<int> {
      co_await asyncio::sleep(1);
      co_return *value;
    });
    co_return co_await task;
  };
  CHECK(loop.run_until_complete(main()) == 3);
}

TEST_CASE("ensure_future of a moved-from coroutine is RuntimeError", "[ensure_future][rule-8]") {
  CurrentLoop loop;
  Coroutine<int> coroutine = returns(1);
  const Task<int> task = asyncio::ensure_future(std::move(coroutine));
  CHECK_THROWS_AS(asyncio::ensure_future(std::move(coroutine)), asyncio::RuntimeError);
  CHECK(loop.run_until_complete(task) == 1);
}

TEST_CASE("cancelling a task that waits for a gather of itself is an error, not an endless recursion") {
  TestLoop loop;
  std::string text;
  std::vector<asyncio::Future<std::tuple<asyncio::NoneType>>> gathering;
  const auto wait_for_gathering = [&]() -> asyncio::Coroutine<void> { co_await gathering[0]; };
  const auto body = [&]() -> asyncio::Coroutine<void> {
    const asyncio::Task<void> task = asyncio::create_task(wait_for_gathering);
    gathering.push_back(asyncio::gather(task));
    co_await asyncio::sleep(1);
    text = test::thrown([&] { return task.cancel(); });
  };
  loop.run_until_complete(asyncio::call_and_keep_(body));
  CHECK_THAT(text, Catch::Matchers::Contains("in a cycle"));
}

TEST_CASE("a gather that was cancelled ends as cancelled even if its last child fails with another error") {
  TestLoop loop;
  const asyncio::Future<void> never(loop);
  const auto child = [&]() -> asyncio::Coroutine<void> {
    try {
      co_await never;
    } catch (const asyncio::CancelledError&) {
      throw asyncio::RuntimeError("why");
    }
  };
  std::string text;
  const auto body = [&]() -> asyncio::Coroutine<void> {
    const auto outer = asyncio::gather({.return_exceptions = true}, child);
    co_await asyncio::sleep(0);
    outer.cancel();
    try {
      co_await outer;
    } catch (...) {
      text = asyncio::describe(std::current_exception());
    }
  };
  loop.run_until_complete(asyncio::call_and_keep_(body));
  CHECK(text == "asyncio::CancelledError");
}

TEST_CASE("wait() for all waits for the others when one fails", "[wait]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    std::vector<Task<int>> tasks;
    tasks.push_back(asyncio::create_task(fails("spam")));
    tasks.push_back(asyncio::create_task(later(10, 1)));
    const auto result = co_await asyncio::wait(tasks);
    CHECK(result.done.size() == 2);
    CHECK(loop.time() == 10);
    CHECK(result.done[0].exception() != nullptr);
  };
  loop.run_until_complete(main());
}

TEST_CASE("after wait() nobody waits for the futures that are pending", "[wait]") {
  TestLoop loop;
  const Future<int> future(loop);
  auto main = [&]() -> Coroutine<void> {
    const std::vector<Future<int>> futures(1, future);
    const auto result = co_await asyncio::wait(futures, {.timeout = 1});
    CHECK(result.pending.size() == 1);
    CHECK(asyncio::capture_call_graph(future).awaited_by.empty());
  };
  loop.run_until_complete(main());
}

TEST_CASE("the timeout of a wait() that is over does not wake the loop", "[wait]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const std::vector<Task<int>> tasks(1, asyncio::create_task(returns(1)));
    co_await asyncio::wait(tasks, {.timeout = 1000});
    const int start = loop.iterations();
    co_await asyncio::sleep(5000);
    CHECK(loop.iterations() - start == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the timeout of an as_completed() that is over does not wake the loop", "[as_completed]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const std::vector<Task<int>> tasks(1, asyncio::create_task(returns(1)));
    for (Coroutine<int>& next : asyncio::as_completed(tasks, {.timeout = 1000})) co_await next;
    const int start = loop.iterations();
    co_await asyncio::sleep(5000);
    CHECK(loop.iterations() - start == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the children of a gather do not keep the task that called it", "[gather][rule-6]") {
  TestLoop loop;
  loop.catch_exceptions();
  const auto fails_after_gather = []() -> Coroutine<void> {
    asyncio::gather(asyncio::sleep(10));
    throw asyncio::RuntimeError("boom");
    co_return;
  };
  loop.create_task(fails_after_gather);
  test::run_briefly(loop, 5);
  CHECK(loop.caught.size() == 1);  // reported now, not when the child has ended
}
