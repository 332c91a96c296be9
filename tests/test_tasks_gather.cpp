// gather. Upstream counterpart: Lib/test/test_asyncio/test_tasks.py, GatherTestsBase.
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tests/utils.hpp"

namespace {

using asyncio::AnyFuture;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::NoneType;
using asyncio::Outcome;
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
using test::waits_for;
using test::yields_then_returns;

/// Goes on after the first cancellation, and returns `value` a while later.
Coroutine<int> refuses_once(double seconds, int value) {
  try {
    co_await asyncio::sleep(1000);
  } catch (const CancelledError&) {}
  co_await asyncio::sleep(seconds);
  co_return value;
}

/// "7" for a value, the exception's text for an exception.
template <class T> std::string text_of(const std::variant<T, std::exception_ptr>& outcome) {
  if (outcome.index() == 1) return asyncio::describe(std::get<1>(outcome));
  if constexpr (std::is_same_v<T, NoneType>) {
    return "None";
  } else {
    return std::to_string(std::get<0>(outcome));
  }
}
template <class T> Log texts_of(const std::vector<std::variant<T, std::exception_ptr>>& outcomes) {
  Log texts;
  for (const auto& outcome : outcomes) texts.push_back(text_of(outcome));
  return texts;
}

/// Counts how often the future calls back.
template <class T> void count_callbacks(const Future<T>& future, int& count) {
  future.add_done_callback([&count](const Future<T>&) { ++count; });
}

std::vector<Future<int>> make_futures(asyncio::EventLoop& loop, int n) {
  std::vector<Future<int>> futures;
  for (int i = 0; i < n; ++i) futures.push_back(loop.create_future<int>());
  return futures;
}

}  // namespace

TEST_CASE("gather of futures ends when the last is done, with the results in the order of the arguments",
          "[gather][test_tasks.test_success]") {
  TestLoop loop;
  const Future<int> a(loop), b(loop), c(loop);
  const auto all = asyncio::gather(a, b, c);
  int called = 0;
  count_callbacks(all, called);
  b.set_result(1);
  a.set_result(2);
  test::run_briefly(loop);
  CHECK(called == 0);
  CHECK_FALSE(all.done());
  c.set_result(3);
  test::run_briefly(loop);
  CHECK(called == 1);
  CHECK(all.result() == std::tuple(2, 1, 3));
}

TEST_CASE("gather of a vector of futures gives a vector in the order of the vector",
          "[gather][test_tasks.test_success]") {
  TestLoop loop;
  const auto futures = make_futures(loop, 3);
  const Future<Numbers> all = asyncio::gather(futures);
  futures[1].set_result(1);
  futures[0].set_result(2);
  test::run_briefly(loop);
  CHECK_FALSE(all.done());
  futures[2].set_result(3);
  test::run_briefly(loop);
  CHECK(all.result() == Numbers{2, 1, 3});
}

TEST_CASE("gather of coroutines ends when the last is done, with the results in the order of the arguments",
          "[gather][test_tasks.test_success]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const auto [a, b, c] = co_await asyncio::gather(later(2, 1), later(3, 2), later(1, 3));
    CHECK(a == 1);
    CHECK(b == 2);
    CHECK(c == 3);
    CHECK(loop.time() == 3);
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather of a vector of coroutines gives a vector in the order of the vector",
          "[gather][test_tasks.test_success]") {
  TestLoop loop;
  auto main = []() -> Coroutine<Numbers> {
    std::vector<Coroutine<int>> coroutines;
    for (int i = 0; i < 5; ++i) coroutines.push_back(later(5 - i, i));
    co_return co_await asyncio::gather(std::move(coroutines));
  };
  CHECK(loop.run_until_complete(main()) == Numbers{0, 1, 2, 3, 4});
}

TEST_CASE("gather takes coroutines, tasks, futures and callables side by side, of different types", "[gather]") {
  TestLoop loop;
  const Future<std::string> future(loop);
  auto main = [&]() -> Coroutine<void> {
    const Task<int> task = asyncio::create_task(returns(1));
    const int base = 40;
    auto callable = [&] { return returns(base + 2); };
    loop.call_soon([&] { future.set_result("spam"); });
    const auto [a, b, c, d] = co_await asyncio::gather(task, future, nothing(), callable);
    CHECK(a == 1);
    CHECK(b == "spam");
    CHECK(c == asyncio::None);
    CHECK(d == 42);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the type of gather's result names each result, void as None", "[gather]") {
  using Both = decltype(asyncio::gather(returns(1), nothing()));
  CHECK(std::is_same_v<Both, Future<std::tuple<int, NoneType>>>);
  using Many = decltype(asyncio::gather(std::vector<Coroutine<int>>()));
  CHECK(std::is_same_v<Many, Future<Numbers>>);
  using Nones = decltype(asyncio::gather(std::vector<Task<void>>()));
  CHECK(std::is_same_v<Nones, Future<std::vector<NoneType>>>);
  using Outcomes = decltype(asyncio::gather({.return_exceptions = true}, returns(1), nothing()));
  CHECK(std::is_same_v<Outcomes, Future<std::tuple<Outcome<int>, Outcome<void>>>>);
  CHECK(std::is_same_v<Outcome<int>, std::variant<int, std::exception_ptr>>);
}

TEST_CASE("gather of coroutines starts them as tasks, in the order of the arguments", "[gather]") {
  TestLoop loop;
  Log log;
  auto notes = [&](std::string name) -> Coroutine<void> {
    log.push_back(name);
    co_return;
  };
  auto main = [&]() -> Coroutine<void> {
    const auto all = asyncio::gather(notes("a"), notes("b"), notes("c"));
    CHECK(log.empty());
    co_await all;
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"a", "b", "c"});
}

TEST_CASE("gather keeps a callable until its coroutine is done", "[gather][rule-7]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    auto callable = [instance = Instance()]() -> Coroutine<int> {
      static_cast<void>(instance);
      co_await asyncio::sleep(1);
      co_return Instance::alive();
    };
    const auto all = asyncio::gather(std::move(callable));
    const auto [alive] = co_await all;
    CHECK(alive >= 1);
  };
  loop.run_until_complete(main());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("the first exception ends gather at once, with that very exception",
          "[gather][test_tasks.test_one_exception]") {
  TestLoop loop;
  const auto f = make_futures(loop, 5);
  const auto all = asyncio::gather(f[0], f[1], f[2], f[3], f[4]);
  int called = 0;
  count_callbacks(all, called);
  const std::exception_ptr spam = std::make_exception_ptr(asyncio::ValueError("spam"));
  f[0].set_result(1);
  f[1].set_exception(spam);
  test::run_briefly(loop);
  CHECK(called == 1);
  CHECK(all.exception() == spam);
  f[2].set_result(3);
  f[3].cancel();
  f[4].set_exception(asyncio::RuntimeError("too late"));
  test::run_briefly(loop);
  CHECK(called == 1);
  CHECK(all.exception() == spam);
}

TEST_CASE("after the first exception the other children of gather go on", "[gather][test_tasks.test_one_exception]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const Task<int> survivor = asyncio::create_task(later(5, 7));
    const auto all = asyncio::gather(survivor, fails_later(1, "spam"));
    std::string error;
    try {
      co_await all;
    } catch (const asyncio::ValueError& e) {
      error = e.what();
    }
    CHECK(error == "spam");
    CHECK(loop.time() == 1);
    CHECK_FALSE(survivor.done());
    const int value = co_await survivor;
    CHECK(value == 7);
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather marks the exceptions of all its children as retrieved, also those that come too late",
          "[gather][test_tasks.test_exception_marking]") {
  TestLoop loop;
  auto& reports = loop.catch_exceptions();
  auto main = []() -> Coroutine<void> { co_await asyncio::gather(fails_later(1, "first"), fails_later(2, "second")); };
  const Task<void> task = loop.create_task(main());
  CHECK(test::thrown([&] { loop.run_until_complete(task); }) == "std::invalid_argument: first");
  loop.run_until_complete(asyncio::sleep(5));
  CHECK(reports.empty());
}

TEST_CASE("with return_exceptions the exceptions stand among the results",
          "[gather][test_tasks.test_return_exceptions][test_tasks.test_result_exception_success]") {
  TestLoop loop;
  const auto futures = make_futures(loop, 4);
  const auto all = asyncio::gather({.return_exceptions = true}, futures);
  int called = 0;
  count_callbacks(all, called);
  futures[1].set_result(1);
  futures[2].set_exception(asyncio::ValueError("two"));
  futures[0].set_result(3);
  test::run_briefly(loop);
  CHECK_FALSE(all.done());
  futures[3].set_exception(asyncio::RuntimeError("three"));
  test::run_briefly(loop);
  CHECK(called == 1);
  CHECK(texts_of(all.result()) == Log{"3", "1", "std::invalid_argument: two", "std::runtime_error: three"});
}

TEST_CASE("return_exceptions works for arguments of different types", "[gather][test_tasks.test_return_exceptions]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const auto [a, b, c] = co_await asyncio::gather({.return_exceptions = true}, returns(1), fails("spam"), nothing());
    CHECK(text_of(a) == "1");
    CHECK(text_of(b) == "std::invalid_argument: spam");
    CHECK(text_of(c) == "None");
  };
  loop.run_until_complete(main());
}

TEST_CASE("with return_exceptions the result of success is a vector of values",
          "[gather][test_tasks.test_result_exception_success]") {
  TestLoop loop;
  const auto futures = make_futures(loop, 2);
  const auto all = asyncio::gather({.return_exceptions = true}, futures);
  for (const auto& future : futures) future.set_result(4);
  test::run_briefly(loop);
  CHECK(texts_of(all.result()) == Log{"4", "4"});
}

TEST_CASE("return_exceptions may be given as false: the first exception is raised",
          "[gather][test_tasks.test_success]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::gather({.return_exceptions = false}, returns(1), fails("spam"));
  };
  CHECK(test::thrown([&] { loop.run_until_complete(main()); }) == "std::invalid_argument: spam");
}

TEST_CASE("gather of nothing is done at once with an empty result",
          "[gather][test_tasks.test_constructor_empty_sequence_use_running_loop]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const int start = loop.iterations();
    const auto none = asyncio::gather();
    const auto no_results = asyncio::gather(std::vector<Coroutine<int>>());
    const auto no_outcomes = asyncio::gather({.return_exceptions = true}, std::vector<Task<int>>());
    CHECK(&none.get_loop() == &loop);
    CHECK(none.done());
    CHECK(none.result() == std::tuple<>());
    const Numbers results = co_await no_results;
    CHECK(results.empty());
    CHECK(no_outcomes.result().empty());
    CHECK(loop.iterations() == start);
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather of nothing belongs to the loop that is set for this thread when none runs",
          "[gather][test_tasks.test_constructor_empty_sequence_use_global_loop]") {
  CurrentLoop loop;
  const auto none = asyncio::gather();
  CHECK(&none.get_loop() == &loop);
  CHECK(none.done());
}

TEST_CASE("gather of coroutines or of nothing without any loop is RuntimeError",
          "[gather][rule-8][test_tasks.test_constructor_empty_sequence_without_loop]"
          "[test_tasks.test_constructor_without_loop]") {
  std::string of_nothing, of_coroutines;
  std::thread([&] {
    of_nothing = test::thrown([] { return asyncio::gather(); });
    of_coroutines = test::thrown([] { return asyncio::gather(returns(1), returns(2)); });
  }).join();
  CHECK(of_nothing.find("no current event loop") != std::string::npos);
  CHECK(of_coroutines.find("no current event loop") != std::string::npos);
}

TEST_CASE("gather of coroutines uses the loop that is set for this thread when none runs",
          "[gather][test_tasks.test_constructor_use_global_loop][test_tasks.test_constructor_use_running_loop]") {
  CurrentLoop loop;
  const auto all = asyncio::gather(returns(1), returns(2));
  CHECK(&all.get_loop() == &loop);
  CHECK(loop.run_until_complete(all) == std::tuple(1, 2));
}

TEST_CASE("gather belongs to the loop of its children, whichever is set for this thread",
          "[gather][test_tasks.test_constructor_homogenous_futures]") {
  CurrentLoop current;
  TestLoop other;
  const auto futures = make_futures(other, 3);
  const auto all = asyncio::gather(futures[0], futures[1], futures[2]);
  CHECK(&all.get_loop() == &other);
  test::run_briefly(other);
  CHECK_FALSE(all.done());
}

TEST_CASE("gather of futures of different loops is ValueError",
          "[gather][rule-8][test_tasks.test_constructor_heterogenous_futures]") {
  TestLoop one, other;
  const Future<int> a(one), b(other);
  CHECK_THROWS_AS(asyncio::gather(a, b), asyncio::ValueError);
  const std::vector<Future<int>> both{a, b};
  CHECK_THROWS_AS(asyncio::gather(both), asyncio::ValueError);
}

TEST_CASE("the same future may be given to gather more than once: it has its result at each place",
          "[gather][test_tasks.test_duplicate_coroutines]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const Task<std::string> abc = asyncio::create_task(says("abc"));
    const auto [a, b, c, d] = co_await asyncio::gather(abc, abc, says("def"), abc);
    CHECK(a == "abc");
    CHECK(b == "abc");
    CHECK(c == "def");
    CHECK(d == "abc");
  };
  loop.run_until_complete(main());
}

TEST_CASE("a future that stands twice in the vector of gather has its result at both places",
          "[gather][test_tasks.test_duplicate_coroutines]") {
  TestLoop loop;
  const Future<int> a(loop), b(loop);
  const std::vector<Future<int>> futures{a, b, a};
  const Future<Numbers> all = asyncio::gather(futures);
  a.set_result(1);
  b.set_result(2);
  test::run_briefly(loop);
  CHECK(all.result() == Numbers{1, 2, 1});
}

TEST_CASE("gather of what is done already is done when it returns", "[gather]") {
  TestLoop loop;
  const Future<int> a(loop), b(loop);
  a.set_result(1);
  b.set_result(2);
  const auto all = asyncio::gather(a, b);
  CHECK(all.done());
  CHECK(all.result() == std::tuple(1, 2));
}

TEST_CASE("gather of one future that failed already has failed when it returns", "[gather]") {
  TestLoop loop;
  const Future<int> failed(loop), pending(loop);
  failed.set_exception(asyncio::ValueError("spam"));
  const auto all = asyncio::gather(pending, failed);
  CHECK(all.done());
  CHECK(asyncio::describe(all.exception()) == "std::invalid_argument: spam");
}

TEST_CASE("gather waits for the pending ones when others are done already", "[gather]") {
  TestLoop loop;
  const Future<int> a(loop), b(loop);
  a.set_result(1);
  const auto all = asyncio::gather(a, b);
  CHECK_FALSE(all.done());
  b.set_result(2);
  test::run_briefly(loop);
  CHECK(all.result() == std::tuple(1, 2));
}

TEST_CASE("a cancelled child ends gather with CancelledError as its exception, but gather is not cancelled",
          "[gather][test_tasks.test_one_cancellation]") {
  TestLoop loop;
  const auto f = make_futures(loop, 5);
  const auto all = asyncio::gather(f);
  int called = 0;
  count_callbacks(all, called);
  f[0].set_result(1);
  f[1].cancel();
  test::run_briefly(loop);
  CHECK(called == 1);
  CHECK(all.done());
  CHECK_FALSE(all.cancelled());
  CHECK(asyncio::holds<CancelledError>(all.exception()));
  f[2].set_result(3);
  f[3].cancel();
  f[4].set_exception(asyncio::RuntimeError("too late"));
  test::run_briefly(loop);
  CHECK(called == 1);
}

TEST_CASE("with return_exceptions a child's CancelledError stands among the results",
          "[gather][test_tasks.test_result_exception_one_cancellation]") {
  TestLoop loop;
  const auto f = make_futures(loop, 6);
  const auto all = asyncio::gather({.return_exceptions = true}, f);
  f[0].set_result(1);
  f[1].set_exception(asyncio::ValueError("one"));
  f[2].cancel();
  test::run_briefly(loop);
  CHECK_FALSE(all.done());
  f[3].set_result(3);
  f[4].cancel();
  f[5].set_exception(asyncio::RuntimeError("five"));
  const auto results = loop.run_until_complete(all);
  REQUIRE(results.size() == 6);
  CHECK(text_of(results[0]) == "1");
  CHECK(text_of(results[1]) == "std::invalid_argument: one");
  CHECK(asyncio::holds<CancelledError>(std::get<1>(results[2])));
  CHECK(text_of(results[3]) == "3");
  CHECK(asyncio::holds<CancelledError>(std::get<1>(results[4])));
  CHECK(text_of(results[5]) == "std::runtime_error: five");
}

TEST_CASE("cancelling the awaiter of gather cancels all children",
          "[gather][rule-5][test_tasks.test_cancellation_broadcast]") {
  TestLoop loop;
  const Future<int> waiter(loop);
  const Task<int> child1 = loop.create_task(waits_for(waiter)), child2 = loop.create_task(waits_for(waiter));
  AnyFuture gathering;
  bool went_on = false;
  auto outer = [&]() -> Coroutine<void> {
    const auto all = asyncio::gather(child1, child2);
    gathering = all;
    co_await all;
    went_on = true;
  };
  const Task<void> task = loop.create_task(outer());
  test::run_briefly(loop);
  CHECK(task.cancel());
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK_FALSE(gathering.cancel());
  CHECK(waiter.cancelled());
  CHECK(child1.cancelled());
  CHECK(child2.cancelled());
  CHECK_FALSE(went_on);
}

TEST_CASE("gather.cancel is false once all children are done, though the result is not set yet",
          "[gather][test_tasks.test_cancel_gather_1]") {
  CurrentLoop loop;
  const Future<int> future(loop);
  const auto all = asyncio::gather(waits_for(future));
  bool cancelled = true;
  test::run_briefly(loop);
  future.add_done_callback([&](const Future<int>&) { cancelled = all.cancel(); });
  future.set_result(42);
  CHECK(loop.run_until_complete(all) == std::tuple(42));
  CHECK_FALSE(cancelled);
}

TEST_CASE("gather.cancel is false when gather is done", "[gather]") {
  TestLoop loop;
  const Future<int> a(loop);
  const auto all = asyncio::gather(a);
  a.set_result(1);
  test::run_briefly(loop);
  CHECK_FALSE(all.cancel());
}

TEST_CASE("cancelling gather is not swallowed by return_exceptions, and keeps its message",
          "[gather][rule-5][test_tasks.test_cancel_gather_2]") {
  for (const std::string message : {"", "my message"}) {
    TestLoop loop;
    auto ticks = []() -> Coroutine<void> {
      for (;;) co_await asyncio::gather({.return_exceptions = true}, asyncio::sleep(0.05));
    };
    const Task<void> task = loop.create_task(ticks());
    loop.call_later(0.2, [&] { task.cancel(message); });
    std::string what = "none";
    try {
      loop.run_until_complete(task);
    } catch (const CancelledError& error) {
      what = error.what();
    }
    CHECK(what == message);
    CHECK(task.cancelled());
  }
}

TEST_CASE("cancelling gather ends it only when the children have ended", "[gather][rule-5]") {
  TestLoop loop;
  auto stubborn = []() -> Coroutine<void> {
    std::exception_ptr cancelled;
    try {
      co_await asyncio::sleep(1000);
    } catch (...) {
      cancelled = std::current_exception();
    }
    co_await asyncio::sleep(5);
    std::rethrow_exception(cancelled);
  };
  auto main = [&]() -> Coroutine<void> { co_await asyncio::gather(stubborn()); };
  const Task<void> task = loop.create_task(main());
  loop.call_later(1, [&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(loop.time() == 6);
}

TEST_CASE("children that refuse the cancellation: gather is cancelled all the same once they end", "[gather][rule-5]") {
  TestLoop loop;
  const Task<int> child = loop.create_task(refuses_once(5, 3));
  auto main = [&]() -> Coroutine<void> { co_await asyncio::gather(child); };
  const Task<void> task = loop.create_task(main());
  loop.call_later(1, [&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(child.result() == 3);
  CHECK(loop.time() == 6);
}

TEST_CASE("gather moves move-only results out of its children", "[gather]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    auto [a, b] = co_await asyncio::gather(makes_unique(2, 1), makes_unique(1, 2));
    CHECK(*a == 1);
    CHECK(*b == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather of a vector of move-only results moves them out", "[gather]") {
  CurrentLoop loop;
  std::vector<Coroutine<std::unique_ptr<int>>> many;
  for (int i = 0; i < 3; ++i) many.push_back(makes_unique(3 - i, i));
  const std::vector<std::unique_ptr<int>> results = loop.run_until_complete(asyncio::gather(std::move(many)));
  REQUIRE(results.size() == 3);
  for (int i = 0; i < 3; ++i) CHECK(*results[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("a gathered vector of move-only results can be awaited", "[gather]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    std::vector<Coroutine<std::unique_ptr<int>>> many;
    for (int i = 0; i < 3; ++i) many.push_back(makes_unique(3 - i, i));
    const std::vector<std::unique_ptr<int>> results = co_await asyncio::gather(std::move(many));
    REQUIRE(results.size() == 3);
    for (int i = 0; i < 3; ++i) CHECK(*results[static_cast<std::size_t>(i)] == i);
  };
  loop.run_until_complete(main());
}
TEST_CASE("gather with return_exceptions moves move-only results out of its children", "[gather]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    auto [a, b] = co_await asyncio::gather({.return_exceptions = true}, makes_unique(2, 1), fails("spam"));
    CHECK(*std::get<0>(a) == 1);
    CHECK(text_of(b) == "std::invalid_argument: spam");
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather leaves a copyable result in the task that was given", "[gather]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const std::string text(100, 'x');
    const Task<std::string> task = asyncio::create_task(says(text));
    const auto [gathered] = co_await asyncio::gather(task);
    CHECK(gathered == text);
    CHECK(task.result() == text);
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather raises what the copy of a result throws", "[gather][rule-8]") {
  struct CannotBeCopied {
    CannotBeCopied() = default;
    CannotBeCopied(CannotBeCopied&&) = default;
    CannotBeCopied(const CannotBeCopied&) { throw asyncio::RuntimeError("no copy"); }
  };
  TestLoop loop;
  const Future<CannotBeCopied> child(loop);
  const auto outer = asyncio::gather(child);
  child.set_result(CannotBeCopied());
  test::run_briefly(loop);
  REQUIRE(outer.done());
  CHECK(asyncio::describe(outer.exception()) == "std::runtime_error: no copy");
}

TEST_CASE("gather of gathers nests", "[gather]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const auto inner = asyncio::gather(returns(1), returns(2));
    const auto [pair, three] = co_await asyncio::gather(inner, returns(3));
    CHECK(pair == std::tuple(1, 2));
    CHECK(three == 3);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a gather that is dropped leaves its children running", "[gather][rule-7]") {
  TestLoop loop;
  int ended = 0;
  auto child = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(1);
    ++ended;
  };
  auto main = [&]() -> Coroutine<void> {
    asyncio::gather(child(), child());
    co_await asyncio::sleep(2);
  };
  loop.run_until_complete(main());
  CHECK(ended == 2);
}

TEST_CASE("a gather that is pending when its loop closes frees its children without a report", "[gather][rule-7]") {
  {
    CurrentLoop loop;
    auto& reports = loop.catch_exceptions();
    auto body = [](Instance) -> Coroutine<int> { co_return co_await later(1000, 1); };
    const auto all = asyncio::gather(body(Instance()), body(Instance()));
    test::run_briefly(loop);
    CHECK(Instance::alive() > 0);
    loop.close();
    CHECK(reports.empty());
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a gather may outlive its loop", "[gather][rule-7]") {
  std::optional<Future<std::tuple<int, int>>> all;
  {
    CurrentLoop loop;
    loop.catch_exceptions();
    all = asyncio::gather(later(1000, 1), later(1000, 2));
    test::run_briefly(loop);
  }
  static_cast<void>(test::thrown([&] { return all->result(); }));
  all.reset();
}

TEST_CASE("a hundred thousand tasks can be gathered", "[gather][scale]") {
  TestLoop loop;
  const int n = 100'000;
  auto main = [&]() -> Coroutine<long> {
    std::vector<Coroutine<int>> coroutines;
    for (int i = 0; i < n; ++i) coroutines.push_back(yields_then_returns(1, i));
    const Numbers results = co_await asyncio::gather(std::move(coroutines));
    long sum = 0;
    for (int i = 0; i < n; ++i) {
      if (results[static_cast<std::size_t>(i)] == i) ++sum;
    }
    co_return sum;
  };
  CHECK(loop.run_until_complete(main()) == n);
}

TEST_CASE("a million gathered tasks cost ten times as much as a hundred thousand", "[.big][gather][scale]") {
  for (const int n : {100'000, 1'000'000}) {
    TestLoop loop;
    const auto start = std::chrono::steady_clock::now();
    auto main = [&]() -> Coroutine<std::size_t> {
      std::vector<Coroutine<int>> coroutines;
      for (int i = 0; i < n; ++i) coroutines.push_back(yields_then_returns(1, i));
      const Numbers results = co_await asyncio::gather(std::move(coroutines));
      co_return results.size();
    };
    CHECK(loop.run_until_complete(main()) == static_cast<std::size_t>(n));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::cout << "gather of " << n << " tasks: " << taken.count() << " s\n";
  }
}
