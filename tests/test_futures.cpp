// Futures: their states, who is told when they are done, and what becomes of an exception nobody looks at.
// Upstream counterpart: Lib/test/test_asyncio/test_futures.py.
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

using asyncio::AnyFuture;
using asyncio::CallbackId;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::InvalidStateError;
using asyncio::RuntimeError;
using asyncio::Task;
using asyncio::ValueError;
using test::appends;
using test::AtEnd;
using test::await_and_log;
using test::CaptureCerr;
using test::contains;
using test::Instance;
using test::Log;
using test::returns;
using test::SetEventLoop;
using test::TestLoop;
using test::thrown;
using test::Unnumbered;
using test::waits_for;

namespace {

struct CountsCopies {
  explicit CountsCopies(int* counter) : copies(counter) {}
  CountsCopies(const CountsCopies& other) : copies(other.copies) { ++*copies; }
  CountsCopies(CountsCopies&& other) noexcept : copies(other.copies) {}
  CountsCopies& operator=(const CountsCopies&) = delete;
  int* copies;
};

struct CannotBeCopied {
  explicit CannotBeCopied(bool armed_) : armed(armed_) {}
  CannotBeCopied(const CannotBeCopied& other) : armed(other.armed) {
    if (armed) throw RuntimeError("no copy");
  }
  bool armed;
};

int sum_of_results = 0;
int add_result(Future<int> future) { return sum_of_results += future.result(); }

template <class F>
concept TakesBraces = requires(F future) {
  future.set_result({1, 2});
};

Coroutine<int> wait_for_ever(Log* log = nullptr) {
  try {
    co_await Future<int>();
  } catch (const CancelledError& error) {
    if (log) log->push_back(std::string("cancelled ") + error.what());
    throw;
  }
  co_return 0;
}

}  // namespace

// ---- What a future is -----------------------------------------------------------------------------------

TEST_CASE("a new future is pending: neither done nor cancelled", "[futures][test_futures.test_initial_state]") {
  TestLoop loop;
  const Future<int> future(loop);
  CHECK_FALSE(future.done());
  CHECK_FALSE(future.cancelled());
}

TEST_CASE("a future belongs to the loop it was made for", "[futures][test_futures.test_initial_state]") {
  TestLoop loop;
  CHECK(&Future<int>(loop).get_loop() == &loop);
  CHECK(&loop.create_future<int>().get_loop() == &loop);
  CHECK(&loop.create_future().get_loop() == &loop);
}

TEST_CASE("Future() belongs to the running loop", "[futures][test_futures.test_constructor_use_running_loop]") {
  TestLoop running, current;
  const SetEventLoop guard(current);
  const EventLoop* found = nullptr;
  running.call_soon([&] { found = &Future<int>().get_loop(); });
  test::run_once(running);
  CHECK(found == &running);
}

TEST_CASE("Future() belongs to the loop of set_event_loop when none runs",
          "[futures][test_futures.test_constructor_use_global_loop]") {
  TestLoop loop;
  const SetEventLoop guard(loop);
  CHECK(&Future<int>().get_loop() == &loop);
  CHECK(&Future<>().get_loop() == &loop);
}

TEST_CASE("Future() is an error in a thread that has no loop",
          "[futures][test_futures.test_constructor_without_loop]") {
  std::string error;
  std::thread([&error] { error = thrown([] { return Future<int>(); }); }).join();
  CHECK(contains(error, "std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("a future is made from nothing but a loop, and only when it is said explicitly",
          "[futures][test_futures.test_constructor_positional]") {
  STATIC_REQUIRE(!std::is_constructible_v<Future<int>, int>);
  STATIC_REQUIRE(std::is_constructible_v<Future<int>, EventLoop&>);
  STATIC_REQUIRE(!std::is_convertible_v<EventLoop&, Future<int>>);
}

TEST_CASE("futures and tasks are futures, other things are not", "[futures][test_futures.test_isfuture]") {
  STATIC_REQUIRE(std::is_convertible_v<Future<int>, AnyFuture>);
  STATIC_REQUIRE(std::is_convertible_v<Task<void>, AnyFuture>);
  STATIC_REQUIRE(std::is_convertible_v<Task<int>, Future<int>>);
  STATIC_REQUIRE(!std::is_convertible_v<int, AnyFuture>);
  STATIC_REQUIRE(!std::is_convertible_v<Coroutine<int>, AnyFuture>);
  STATIC_REQUIRE(!std::is_convertible_v<Future<int>, Task<int>>);
}

TEST_CASE("the type of the result is part of the future's type", "[futures][test_futures.test_generic_alias]") {
  STATIC_REQUIRE(std::is_same_v<Future<std::string>::value_type, std::string>);
  STATIC_REQUIRE(std::is_same_v<Future<>, Future<void>>);
  STATIC_REQUIRE(std::is_void_v<decltype(std::declval<Future<>>().result())>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<Future<int>>().result()), int>);
}

// ---- A reference, compared by identity ------------------------------------------------------------------

TEST_CASE("a copy of a future is the same future", "[futures][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Future<int> copy = future;
  copy.set_result(1);
  CHECK(future.result() == 1);
  CHECK(future == copy);
}

TEST_CASE("two futures are equal only if they are the same object, whatever their results", "[futures][api]") {
  TestLoop loop;
  const Future<int> a(loop), b(loop);
  a.set_result(1);
  b.set_result(1);
  CHECK(a != b);
  CHECK(a == a);
}

TEST_CASE("a future converts to AnyFuture, which is equal to it and does what needs no type", "[futures][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  const AnyFuture any = future;
  CHECK(any == future);
  CHECK(future == any);
  CHECK_FALSE(any.done());
  CHECK(&any.get_loop() == &loop);
  CHECK(any.cancel("enough"));
  CHECK(future.cancelled());
  CHECK(any.cancelled());
}

TEST_CASE("an AnyFuture made from nothing is null", "[futures][api]") {
  TestLoop loop;
  const AnyFuture null;
  CHECK_FALSE(null);
  CHECK(null == AnyFuture());
  CHECK(static_cast<bool>(AnyFuture(Future<int>(loop))));
  CHECK(null != AnyFuture(Future<int>(loop)));
}

TEST_CASE("futures, tasks and AnyFutures that are the same object have the same hash", "[futures][api]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(42));
  const Future<int> future = task;
  const AnyFuture any = task;
  CHECK(std::hash<Task<int>>()(task) == std::hash<AnyFuture>()(any));
  CHECK(std::hash<Future<int>>()(future) == std::hash<AnyFuture>()(any));
  std::unordered_set<AnyFuture> set{any, future, task};
  CHECK(set.size() == 1);
  set.insert(Future<int>(loop));
  CHECK(set.size() == 2);
  loop.run_until_complete(future);
}

TEST_CASE("comparisons among futures, tasks and AnyFutures are unambiguous", "[futures][api]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(42));
  const Future<int> future = task;
  const AnyFuture any = task;
  const asyncio::AnyTask any_task = task;
  CHECK(future == task);
  CHECK(task == future);
  CHECK(any == task);
  CHECK(task == any);
  CHECK(any_task == task);
  CHECK(future == any_task);
  CHECK(task == task);
  CHECK(task != Future<int>(loop));
  CHECK(AnyFuture(Future<void>(loop)) != task);
  loop.run_until_complete(future);
}

TEST_CASE("a Future made from a task is the task: cancel cancels the coroutine", "[futures][api]") {
  TestLoop loop;
  const SetEventLoop guard(loop);
  Log log;
  const Future<int> future = loop.create_task(wait_for_ever(&log));
  test::run_once(loop);
  CHECK(future.cancel("by reference"));
  CHECK_FALSE(future.done());
  test::run_once(loop, 2);
  CHECK(log == Log{"cancelled by reference"});
  CHECK(future.cancelled());
}

TEST_CASE("a Future made from a task is the task: set_result and set_exception are refused", "[futures][api]") {
  TestLoop loop;
  const Future<int> future = loop.create_task(returns(42));
  CHECK(thrown([&] { future.set_result(1); }) == "std::runtime_error: Task does not support set_result operation");
  CHECK(thrown([&] { future.set_exception(RuntimeError("x")); }) ==
        "std::runtime_error: Task does not support set_exception operation");
  CHECK(loop.run_until_complete(future) == 42);
}

// ---- Results --------------------------------------------------------------------------------------------

TEST_CASE("result() and exception() of a pending future are errors", "[futures][test_futures.test_result]") {
  TestLoop loop;
  const Future<int> future(loop);
  REQUIRE_THROWS_AS(future.result(), InvalidStateError);
  REQUIRE_THROWS_AS(future.exception(), InvalidStateError);
  CHECK(thrown([&] { return future.exception(); }) == "asyncio::InvalidStateError: Exception is not set.");
}

TEST_CASE("set_result makes a future done with that value and no exception", "[futures][test_futures.test_result]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(42);
  CHECK(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK(future.result() == 42);
  CHECK(future.result() == 42);
  CHECK_FALSE(future.exception());
}

TEST_CASE("a future without a value is done by set_result()", "[futures][test_futures.test_result]") {
  TestLoop loop;
  const Future<> future(loop);
  REQUIRE_THROWS_AS(future.result(), InvalidStateError);
  future.set_result();
  future.result();
  CHECK(future.done());
  CHECK_FALSE(future.exception());
}

TEST_CASE("a future with a result accepts no other outcome", "[futures][rule-8][test_futures.test_result]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(42);
  REQUIRE_THROWS_AS(future.set_result(43), InvalidStateError);
  REQUIRE_THROWS_AS(future.set_exception(RuntimeError("late")), InvalidStateError);
  REQUIRE_THROWS_AS(future.set_exception(std::exception_ptr()), InvalidStateError);
  CHECK_FALSE(future.cancel());
  CHECK_FALSE(future.cancelled());
  CHECK(future.result() == 42);
}

TEST_CASE("the error of a second set_result says that the state is invalid", "[futures][rule-8]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(42);
  CHECK(contains(thrown([&] { future.set_result(43); }), "invalid state"));
}

TEST_CASE("a result is given as anything its type can be made from", "[futures][api]") {
  TestLoop loop;
  const Future<std::string> text(loop);
  text.set_result("text");
  CHECK(text.result() == "text");
  const Future<std::unique_ptr<int>> pointer(loop);
  pointer.set_result(std::make_unique<int>(7));
  CHECK(*pointer.take_result() == 7);
}

TEST_CASE("set_result takes a value in braces, as its signature says", "[futures][api]") {
  CHECK(TakesBraces<Future<std::pair<int, int>>>);
  CHECK(TakesBraces<Future<std::vector<int>>>);
}

TEST_CASE("a result needs no default constructor", "[futures][api]") {
  TestLoop loop;
  const Future<Unnumbered> future(loop);
  future.set_result(Unnumbered(5));
  CHECK(future.result().number == 5);
}

TEST_CASE("an exception_ptr can be a result: it is not raised", "[futures][api]") {
  TestLoop loop;
  const Future<std::exception_ptr> future(loop);
  future.set_result(std::make_exception_ptr(RuntimeError("kept")));
  CHECK_FALSE(future.exception());
  CHECK(asyncio::describe(future.result()) == "std::runtime_error: kept");
}

TEST_CASE("the result of a future may be a future", "[futures][api]") {
  struct Body {
    static Coroutine<int> run(Future<Future<int>> outer) {
      const Future<int> inner = co_await outer;
      co_return co_await inner;
    }
  };
  TestLoop loop;
  const Future<Future<int>> outer(loop);
  const Future<int> inner(loop);
  outer.set_result(inner);
  loop.call_later(1, [inner] { inner.set_result(9); });
  CHECK(loop.run_until_complete(Body::run(outer)) == 9);
}

TEST_CASE("a future stays pending when the copy of its value throws", "[futures][rule-8]") {
  TestLoop loop;
  const Future<CannotBeCopied> future(loop);
  const CannotBeCopied value(true);
  CHECK(thrown([&] { future.set_result(value); }) == "std::runtime_error: no copy");
  CHECK_FALSE(future.done());
  future.set_result(CannotBeCopied(false));
  CHECK(future.done());
}

TEST_CASE("set_result_unless_cancelled leaves a cancelled future as it is",
          "[futures][test_futures.test_set_result_unless_cancelled]") {
  TestLoop loop;
  const Future<int> cancelled(loop), pending(loop);
  cancelled.cancel();
  asyncio::set_result_unless_cancelled(cancelled, 2);
  CHECK(cancelled.cancelled());
  asyncio::set_result_unless_cancelled(pending, 2);
  CHECK(pending.result() == 2);
}

TEST_CASE("a value whose destructor uses the loop dies with its future, a hundred times",
          "[futures][test_futures.test_future_del_collect]") {
  struct Meddler {
    explicit Meddler(EventLoop& l) : loop(&l) {}
    Meddler(Meddler&& other) noexcept : loop(std::exchange(other.loop, nullptr)) {}
    ~Meddler() {
      if (loop) loop->create_future<int>().set_result(1);
    }
    EventLoop* loop;
  };
  TestLoop loop;
  for (int i = 0; i < 100; ++i) Future<Meddler>(loop).set_result(Meddler(loop));
  SUCCEED();
}

// ---- Exceptions -----------------------------------------------------------------------------------------

TEST_CASE("set_exception makes a future done, and result() raises that exception",
          "[futures][test_futures.test_exception]") {
  TestLoop loop;
  const Future<int> future(loop);
  const auto exception = std::make_exception_ptr(RuntimeError("boom"));
  future.set_exception(exception);
  CHECK(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK((future.exception() == exception));
  CHECK(thrown([&] { return future.result(); }) == "std::runtime_error: boom");
}

TEST_CASE("a future with an exception accepts no other outcome", "[futures][rule-8][test_futures.test_exception]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_exception(RuntimeError("boom"));
  REQUIRE_THROWS_AS(future.set_result(1), InvalidStateError);
  REQUIRE_THROWS_AS(future.set_exception(std::exception_ptr()), InvalidStateError);
  CHECK_FALSE(future.cancel());
  CHECK_FALSE(future.cancelled());
  CHECK(thrown([&] { return future.result(); }) == "std::runtime_error: boom");
}

TEST_CASE("set_exception takes an exception object as well as an exception_ptr",
          "[futures][test_futures.test_exception_class]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_exception(asyncio::KeyError("which"));
  CHECK(thrown([&] { return future.result(); }) == "std::out_of_range: which");
}

TEST_CASE("set_exception of a null pointer is a ValueError and leaves the future pending",
          "[futures][rule-8][test_futures.test_exception]") {
  TestLoop loop;
  const Future<int> future(loop);
  REQUIRE_THROWS_AS(future.set_exception(std::exception_ptr()), ValueError);
  CHECK_FALSE(future.done());
  future.set_result(1);
  CHECK(future.result() == 1);
}

TEST_CASE("result() raises the same exception object every time", "[futures][test_futures.test_exception]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_exception(RuntimeError("boom"));
  const void* first = nullptr;
  for (int i = 0; i < 3; ++i) {
    try {
      future.result();
    } catch (const RuntimeError& error) {
      if (!first) first = &error;
      CHECK(first == &error);
    }
  }
  CHECK(first != nullptr);
}

TEST_CASE("an exception need not derive from std::exception", "[futures][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_exception(asyncio::SystemExit(3));
  CHECK(thrown([&] { return future.result(); }) == "asyncio::SystemExit: 3");
}

TEST_CASE("a future that was given a CancelledError as its exception is not cancelled", "[futures]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_exception(CancelledError("from elsewhere"));
  CHECK(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK(asyncio::describe(future.exception()) == "asyncio::CancelledError: from elsewhere");
}

// ---- Cancellation ---------------------------------------------------------------------------------------

TEST_CASE("cancel makes a pending future done and cancelled, once", "[futures][test_futures.test_cancel]") {
  TestLoop loop;
  const Future<int> future(loop);
  CHECK(future.cancel());
  CHECK(future.cancelled());
  CHECK(future.done());
  CHECK_FALSE(future.cancel());
}

TEST_CASE("result() and exception() of a cancelled future raise CancelledError",
          "[futures][test_futures.test_cancel]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.cancel();
  REQUIRE_THROWS_AS(future.result(), CancelledError);
  REQUIRE_THROWS_AS(future.exception(), CancelledError);
}

TEST_CASE("a cancelled future accepts no other outcome", "[futures][rule-8][test_futures.test_cancel]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.cancel();
  REQUIRE_THROWS_AS(future.set_result(1), InvalidStateError);
  REQUIRE_THROWS_AS(future.set_exception(RuntimeError("late")), InvalidStateError);
  REQUIRE_THROWS_AS(future.set_exception(std::exception_ptr()), InvalidStateError);
  CHECK(future.cancelled());
}

TEST_CASE("the message given to cancel is what the CancelledError says",
          "[futures][test_futures.test_future_cancel_message_getter]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.cancel("my message");
  CHECK(thrown([&] { return future.result(); }) == "asyncio::CancelledError: my message");
  CHECK(thrown([&] { return future.exception(); }) == "asyncio::CancelledError: my message");
  CHECK(thrown([&] { return loop.run_until_complete(future); }) == "asyncio::CancelledError: my message");
}

TEST_CASE("a CancelledError without a message says nothing",
          "[futures][test_futures.test_future_cancel_message_getter]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.cancel();
  CHECK(thrown([&] { return future.result(); }) == "asyncio::CancelledError");
}

TEST_CASE("a second cancel does not replace the message of the first",
          "[futures][test_futures.test_future_cancel_message_setter]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.cancel("first");
  future.cancel("second");
  CHECK(thrown([&] { return future.result(); }) == "asyncio::CancelledError: first");
}

TEST_CASE("a CancelledError is not a std::exception", "[futures][api]") {
  STATIC_REQUIRE(!std::is_base_of_v<std::exception, CancelledError>);
  STATIC_REQUIRE(!std::is_base_of_v<std::exception, asyncio::KeyboardInterrupt>);
  STATIC_REQUIRE(!std::is_base_of_v<std::exception, asyncio::SystemExit>);
  STATIC_REQUIRE(std::is_base_of_v<asyncio::Error, InvalidStateError>);
  STATIC_REQUIRE(std::is_base_of_v<std::exception, asyncio::Error>);
}

TEST_CASE("catching std::exception around an await does not swallow a cancellation", "[futures][api]") {
  struct Body {
    static Coroutine<void> run(Future<int> future, bool& swallowed) {
      try {
        co_await future;
      } catch (const std::exception&) {
        swallowed = true;
      }
    }
  };
  TestLoop loop;
  bool swallowed = false;
  const Future<int> future(loop);
  const auto task = loop.create_task(Body::run(future, swallowed));
  loop.call_soon([future] { future.cancel(); });
  REQUIRE_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK_FALSE(swallowed);
}

// ---- Done callbacks -------------------------------------------------------------------------------------

TEST_CASE("done callbacks run in the order in which they were added",
          "[futures][rule-3][test_futures.test_callbacks_invoked_on_set_result]") {
  TestLoop loop;
  Log log;
  const Future<std::string> future(loop);
  future.add_done_callback(appends(log, "first"));
  future.add_done_callback(appends(log, "second"));
  future.add_done_callback(appends(log, "third"));
  future.set_result("foo");
  test::run_once(loop);
  CHECK(log == Log{"first", "second", "third"});
  CHECK(future.result() == "foo");
}

TEST_CASE("set_result calls no callback itself: all run in the next iteration",
          "[futures][rule-3][test_futures.test_callbacks_invoked_on_set_result]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  loop.call_soon([&] {
    future.set_result(1);
    log.push_back("set");
  });
  test::run_once(loop);
  CHECK(log == Log{"set"});
  test::run_once(loop);
  CHECK(log == Log{"set", "done"});
}

TEST_CASE("done callbacks run when an exception is set",
          "[futures][rule-3][test_futures.test_callbacks_invoked_on_set_exception]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  const auto exception = std::make_exception_ptr(RuntimeError("boom"));
  future.set_exception(exception);
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"done"});
  CHECK((future.exception() == exception));
}

TEST_CASE("done callbacks run when the future is cancelled", "[futures][rule-3][test_futures.test_cancel]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  future.cancel();
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"done"});
}

TEST_CASE("a callback added to a done future runs in the next iteration, in order", "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "before"));
  future.set_result(1);
  future.add_done_callback(appends(log, "after"));
  future.add_done_callback(appends(log, "last"));
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"before", "after", "last"});
}

TEST_CASE("a callback added by a done callback of the same future runs one iteration later",
          "[futures][rule-2][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback([&](const Future<int>& done) {
    log.push_back("outer");
    done.add_done_callback(appends(log, "inner"));
  });
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"outer"});
  test::run_once(loop);
  CHECK(log == Log{"outer", "inner"});
}

TEST_CASE("done callbacks stand in the queue where set_result put them", "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  loop.call_soon([&] { log.push_back("earlier"); });
  future.set_result(1);
  loop.call_soon([&] { log.push_back("later"); });
  test::run_once(loop);
  CHECK(log == Log{"earlier", "done", "later"});
}

TEST_CASE("a done callback is given the future that is done", "[futures][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  std::vector<AnyFuture> given;
  int value = 0;
  future.add_done_callback([&](Future<int> done) {
    given.push_back(done);
    value = done.result();
  });
  AnyFuture(future).add_done_callback([&](AnyFuture done) { given.push_back(done); });
  future.set_result(42);
  test::run_once(loop);
  CHECK((given == std::vector<AnyFuture>{future, future}));
  CHECK(value == 42);
}

TEST_CASE("a done callback of a task is given the task", "[futures][api]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(42));
  AnyFuture given;
  task.add_done_callback([&](const Future<int>& done) { given = done; });
  test::run_once(loop, 2);
  CHECK(given == task);
}

TEST_CASE("a done callback may be move-only and is called as an lvalue", "[futures][api]") {
  struct Callable {
    std::unique_ptr<Log*> log;
    void operator()(const Future<int>&) & { (*log)->push_back("lvalue"); }
    void operator()(const Future<int>&) && { (*log)->push_back("rvalue"); }
  };
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(Callable{std::make_unique<Log*>(&log)});
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"lvalue"});
}

TEST_CASE("a function is a done callback, and what it returns is ignored", "[futures][api]") {
  TestLoop loop;
  sum_of_results = 0;
  const Future<int> future(loop);
  future.add_done_callback(&add_result);
  future.set_result(3);
  test::run_once(loop);
  CHECK(sum_of_results == 3);
}

TEST_CASE("an exception in a done callback goes to the exception handler, and the others still run",
          "[futures][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  Log log;
  const Future<int> future(loop);
  future.add_done_callback([](const auto&) { throw RuntimeError("in the callback"); });
  future.add_done_callback(appends(log, "next"));
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"next"});
  REQUIRE(caught.size() == 1);
  CHECK(asyncio::describe(caught[0].exception) == "std::runtime_error: in the callback");
}

TEST_CASE("a done callback and what it holds are destroyed once it has run", "[futures][rule-7]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.add_done_callback([instance = Instance()](const auto&) {});
  CHECK(Instance::alive() == 1);
  future.set_result(1);
  CHECK(Instance::alive() == 1);
  test::run_once(loop);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a done callback and what it holds are destroyed with a future that is never done", "[futures][rule-7]") {
  TestLoop loop;
  {
    Future<int>(loop).add_done_callback([instance = Instance()](const auto&) {});
  }
  CHECK(Instance::alive() == 0);
}

// ---- remove_done_callback -------------------------------------------------------------------------------

TEST_CASE("the first of three callbacks can be removed, once",
          "[futures][test_futures.test_callbacks_remove_first_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const CallbackId first = future.add_done_callback(appends(log, "1"));
  future.add_done_callback(appends(log, "2"));
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(first) == 1);
  CHECK(future.remove_done_callback(first) == 0);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"2", "3"});
}

TEST_CASE("the first and the second of three callbacks can be removed",
          "[futures][test_futures.test_callbacks_remove_first_and_second_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const CallbackId first = future.add_done_callback(appends(log, "1"));
  const CallbackId second = future.add_done_callback(appends(log, "2"));
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(first) == 1);
  CHECK(future.remove_done_callback(second) == 1);
  CHECK(future.remove_done_callback(first) == 0);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"3"});
}

TEST_CASE("the last of three callbacks can be removed, and another takes its place",
          "[futures][test_futures.test_callbacks_remove_third_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "1"));
  future.add_done_callback(appends(log, "2"));
  const CallbackId third = future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(third) == 1);
  CHECK(future.remove_done_callback(third) == 0);
  future.add_done_callback(appends(log, "4"));
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"1", "2", "4"});
}

TEST_CASE("the same callable added twice are two callbacks, removed one by one",
          "[futures][test_futures.test_remove_done_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const auto callback = appends(log, "called");
  const CallbackId first = future.add_done_callback(callback);
  const CallbackId second = future.add_done_callback(callback);
  CHECK(first != second);
  CHECK(future.remove_done_callback(first) == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"called"});
}

TEST_CASE("all callbacks can be removed, and nothing is called", "[futures][test_futures.test_remove_done_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(future.add_done_callback(appends(log, "called")));
  for (const CallbackId id : ids) CHECK(future.remove_done_callback(id) == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log.empty());
}

TEST_CASE("the id of another future's callback removes nothing", "[futures][test_futures.test_remove_done_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop), other(loop);
  const CallbackId foreign = other.add_done_callback(appends(log, "other"));
  const CallbackId own = future.add_done_callback(appends(log, "own"));
  CHECK(own != foreign);
  CHECK(future.remove_done_callback(foreign) == 0);
  CHECK(AnyFuture(future).remove_done_callback(own) == 1);
  future.set_result(1);
  other.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"other"});
}

TEST_CASE("a callback that is scheduled already cannot be removed any more",
          "[futures][test_futures.test_schedule_callbacks_list_mutation_1]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  future.add_done_callback([&](const Future<int>& done) {
    for (const CallbackId id : ids) CHECK(done.remove_done_callback(id) == 0);
  });
  ids.push_back(future.add_done_callback(appends(log, "1")));
  ids.push_back(future.add_done_callback(appends(log, "2")));
  future.set_result(1);
  CHECK(future.remove_done_callback(ids[0]) == 0);
  test::run_once(loop);
  CHECK(log == Log{"1", "2"});
}

TEST_CASE("a waiting task is not removed with the callbacks around it", "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const CallbackId before = future.add_done_callback(appends(log, "before"));
  const auto task = loop.create_task(await_and_log(future, log, "task"));
  test::run_once(loop);
  const CallbackId after = future.add_done_callback(appends(log, "after"));
  CHECK(future.remove_done_callback(before) == 1);
  CHECK(future.remove_done_callback(after) == 1);
  future.set_result(7);
  test::run_once(loop);
  CHECK(log == Log{"task=7"});
  CHECK(task.done());
}

TEST_CASE("a removed callback's destructor may add callbacks: they come after those that stay",
          "[futures][test_futures.test_schedule_callbacks_list_mutation_2]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "1"));
  AtEnd adds([&] { future.add_done_callback(appends(log, "added")); });
  const CallbackId removed = future.add_done_callback([adds = std::move(adds)](const auto&) {});
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(removed) == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"1", "3", "added"});
}

TEST_CASE("a removed callback's destructor may remove other callbacks",
          "[futures][test_futures.test_remove_done_callbacks_list_mutation]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  std::size_t removed_inside = 0;
  ids.push_back(future.add_done_callback(appends(log, "1")));
  AtEnd removes([&] { removed_inside = future.remove_done_callback(ids[0]) + future.remove_done_callback(ids[1]); });
  const CallbackId removed = future.add_done_callback([removes = std::move(removes)](const auto&) {});
  ids.push_back(future.add_done_callback(appends(log, "3")));
  future.add_done_callback(appends(log, "4"));
  CHECK(future.remove_done_callback(removed) == 1);
  CHECK(removed_inside == 2);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"4"});
}

TEST_CASE("a removed callback's destructor may make the future done: the others are still called",
          "[futures][rule-3][test_futures.test_remove_done_callbacks_list_mutation]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "1"));
  AtEnd finishes([&] { future.set_result(1); });
  const CallbackId removed = future.add_done_callback([finishes = std::move(finishes)](const auto&) {});
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(removed) == 1);
  test::run_once(loop);
  CHECK(log == Log{"1", "3"});
}

TEST_CASE("the callbacks of a hundred removals that each remove another are all gone",
          "[futures][test_futures.test_remove_done_callbacks_list_clear]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  std::size_t next = 1;
  for (int i = 0; i < 100; ++i) {
    AtEnd removes([&] {
      if (next < ids.size()) future.remove_done_callback(ids[next++]);
    });
    ids.push_back(
        future.add_done_callback([&log, removes = std::move(removes)](const auto&) { log.push_back("called"); }));
  }
  future.remove_done_callback(ids[0]);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log.empty());
}

// ---- Awaiting a future ----------------------------------------------------------------------------------

TEST_CASE("awaiting a done future does not suspend", "[futures][rule-1]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(42);
  Coroutine<int> coroutine = waits_for(future);
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(coroutine.result() == 42);
}

TEST_CASE("awaiting a done future takes no iteration more", "[futures][rule-1]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(42);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_once(loop);
  CHECK(task.done());
}

TEST_CASE("a future can be awaited twice: only the first await yields it",
          "[futures][rule-1][test_futures.test_yield_from_twice]") {
  struct Body {
    static Coroutine<int> run(Future<int> future) {
      const int first = co_await future;
      co_return first + co_await future;
    }
  };
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = Body::run(future);
  const auto yielded = coroutine.send();
  REQUIRE(yielded.has_value());
  CHECK(*yielded == future);
  future.set_result(21);
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(coroutine.result() == 42);
}

TEST_CASE("a result that is a tuple is awaited as one value",
          "[futures][test_futures.test_future_stop_iteration_args]") {
  TestLoop loop;
  const Future<std::tuple<int, std::string>> future(loop);
  future.set_result(std::tuple<int, std::string>(1, "two"));
  CHECK((loop.run_until_complete(waits_for(future)) == std::tuple<int, std::string>(1, "two")));
}

TEST_CASE("an await that is resumed before its future is done is an error",
          "[futures][rule-8][test_futures.test_iter]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = waits_for(future);
  REQUIRE(coroutine.send().has_value());
  CHECK(thrown([&] { coroutine.send(); }) == "std::runtime_error: await wasn't used with future");
  CHECK(coroutine.done());
}

TEST_CASE("an exception thrown into an await of a future comes out of it",
          "[futures][test_futures.test_future_iter_throw]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = waits_for(future);
  REQUIRE(coroutine.send().has_value());
  CHECK(thrown([&] { coroutine.throw_(std::make_exception_ptr(RuntimeError("zebra"))); }) ==
        "std::runtime_error: zebra");
  CHECK_FALSE(future.done());
}

TEST_CASE("an exception thrown into an await is raised there even if the future is done by now",
          "[futures][test_futures.test_future_iter_throw]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = waits_for(future);
  REQUIRE(coroutine.send().has_value());
  future.set_result(1);
  REQUIRE_THROWS_AS(coroutine.throw_(std::make_exception_ptr(ValueError("elephant"))), ValueError);
}

TEST_CASE("awaiting a future with an exception raises it", "[futures]") {
  TestLoop loop;
  const Future<int> future(loop);
  SECTION("that is done already") { future.set_exception(RuntimeError("boom")); }
  SECTION("that is done later") {
    loop.call_soon([future] { future.set_exception(RuntimeError("boom")); });
  }
  CHECK(thrown([&] { return loop.run_until_complete(waits_for(future)); }) == "std::runtime_error: boom");
}

TEST_CASE("awaiting a cancelled future raises CancelledError with its message", "[futures]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  SECTION("cancelled already") { future.cancel("why"); }
  SECTION("cancelled later") {
    loop.call_soon([future] { future.cancel("why"); });
  }
  loop.run_until_complete(await_and_log(future, log, "task"));
  CHECK(log == Log{"task cancelled why"});
}

TEST_CASE("all who await a future are woken in the order in which they began to wait, callbacks among them",
          "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "callback 1"));
  const auto a = loop.create_task(await_and_log(future, log, "a"));
  const auto b = loop.create_task(await_and_log(future, log, "b"));
  test::run_once(loop);
  future.add_done_callback(appends(log, "callback 2"));
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"callback 1", "a=1", "b=1", "callback 2"});
}

TEST_CASE("cancelling a future cancels none of the tasks that await it: they may catch it", "[futures]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const auto a = loop.create_task(await_and_log(future, log, "a"));
  const auto b = loop.create_task(await_and_log(future, log, "b"));
  test::run_once(loop);
  future.cancel("m");
  test::run_once(loop);
  CHECK(log == Log{"a cancelled m", "b cancelled m"});
  CHECK_FALSE(a.cancelled());
  CHECK(a.done());
  CHECK(b.done());
}

TEST_CASE("who awaits a future that call_soon sets goes on two iterations later", "[futures][iterations]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_once(loop);
  loop.call_soon([future] { future.set_result(1); });
  test::run_once(loop);
  CHECK_FALSE(task.done());
  test::run_once(loop);
  CHECK(task.done());
}

TEST_CASE("awaiting a future of another loop is an error at the await", "[futures][rule-8]") {
  TestLoop loop, other;
  const Future<int> future(other);
  const std::string error = thrown([&] { return loop.run_until_complete(waits_for(future)); });
  CHECK(contains(error, "std::runtime_error: "));
  CHECK(contains(error, "attached to a different loop"));
  CHECK_FALSE(future.done());
}

TEST_CASE("the error of awaiting another loop's future can be caught, and the coroutine goes on", "[futures][rule-8]") {
  struct Body {
    static Coroutine<int> run(Future<int> foreign, Future<int> own) {
      try {
        co_await foreign;
      } catch (const RuntimeError&) {}
      co_return co_await own;
    }
  };
  TestLoop loop, other;
  const Future<int> own(loop);
  loop.call_later(1, [own] { own.set_result(5); });
  CHECK(loop.run_until_complete(Body::run(Future<int>(other), own)) == 5);
}

TEST_CASE("awaiting another loop's future that is done is no error: it does not suspend", "[futures][rule-1]") {
  TestLoop loop, other;
  const Future<int> future(other);
  future.set_result(3);
  CHECK(loop.run_until_complete(waits_for(future)) == 3);
}

// ---- Copies and moves of the result ---------------------------------------------------------------------

namespace {

Coroutine<int> await_lvalue(Future<CountsCopies> future) {
  const CountsCopies value = co_await future;
  co_return *value.copies;
}

Coroutine<int> await_rvalue(Future<CountsCopies> future) {
  const CountsCopies value = co_await std::move(future);
  co_return *value.copies;
}

}  // namespace

TEST_CASE("co_await of an lvalue copies the result, once", "[futures][moves]") {
  TestLoop loop;
  int copies = 0;
  Future<CountsCopies> future(loop);
  future.set_result(CountsCopies(&copies));
  CHECK(loop.run_until_complete(await_lvalue(std::move(future))) == 1);
}

TEST_CASE("co_await of an rvalue moves the result out when nobody else holds the future", "[futures][moves]") {
  TestLoop loop;
  int copies = 0;
  Future<CountsCopies> future(loop);
  future.set_result(CountsCopies(&copies));
  CHECK(loop.run_until_complete(await_rvalue(std::move(future))) == 0);
}

TEST_CASE("co_await of an rvalue copies the result when somebody else holds the future", "[futures][moves]") {
  TestLoop loop;
  int copies = 0;
  const Future<CountsCopies> future(loop);
  future.set_result(CountsCopies(&copies));
  CHECK(loop.run_until_complete(await_rvalue(future)) == 1);
  CHECK(future.result().copies == &copies);
}

TEST_CASE("a result that cannot be copied is moved out by co_await std::move(future)", "[futures][moves]") {
  struct Body {
    static Coroutine<int> run(Future<std::unique_ptr<int>> future) {
      const std::unique_ptr<int> value = co_await std::move(future);
      co_return *value;
    }
  };
  TestLoop loop;
  const Future<std::unique_ptr<int>> future(loop);
  SECTION("that is there already") { future.set_result(std::make_unique<int>(9)); }
  SECTION("that comes later") {
    loop.call_soon([future] { future.set_result(std::make_unique<int>(9)); });
  }
  CHECK(loop.run_until_complete(Body::run(future)) == 9);
}

TEST_CASE("co_await of a const future copies the result", "[futures][moves]") {
  struct Body {
    static Coroutine<std::string> run(const Future<std::string> future) { co_return co_await future; }
  };
  TestLoop loop;
  const Future<std::string> future(loop);
  future.set_result("a text that is too long to be kept inside the string object");
  CHECK(loop.run_until_complete(Body::run(future)).size() > 40);
  CHECK(future.result().size() > 40);
}

TEST_CASE("run_until_complete moves the result out", "[futures][moves]") {
  TestLoop loop;
  Future<std::unique_ptr<int>> pointer(loop);
  pointer.set_result(std::make_unique<int>(1));
  CHECK(*loop.run_until_complete(pointer) == 1);
  int copies = 0;
  const Future<CountsCopies> counted(loop);
  counted.set_result(CountsCopies(&copies));
  loop.run_until_complete(counted);
  CHECK(copies == 0);
}

TEST_CASE("a value given to set_result as an rvalue is moved in", "[futures][moves]") {
  TestLoop loop;
  int copies = 0;
  const Future<CountsCopies> future(loop);
  future.set_result(CountsCopies(&copies));
  CHECK(copies == 0);
}

// ---- run_until_complete ---------------------------------------------------------------------------------

TEST_CASE("run_until_complete of a future runs the loop until it is done and returns its result", "[futures]") {
  TestLoop loop;
  const Future<int> future(loop);
  loop.call_later(3600, [future] { future.set_result(1); });
  CHECK(loop.run_until_complete(future) == 1);
  CHECK(loop.time() == 3600.0);
}

TEST_CASE("run_until_complete of a future raises its exception", "[futures]") {
  TestLoop loop;
  const Future<int> future(loop);
  loop.call_soon([future] { future.set_exception(ValueError("bad")); });
  CHECK(thrown([&] { return loop.run_until_complete(future); }) == "std::invalid_argument: bad");
}

TEST_CASE("run_until_complete of a future is an error if the loop is stopped before", "[futures][rule-8]") {
  TestLoop loop;
  const Future<int> future(loop);
  loop.call_soon([&loop] { loop.stop(); });
  CHECK(thrown([&] { return loop.run_until_complete(future); }) ==
        "std::runtime_error: Event loop stopped before Future completed.");
  CHECK_FALSE(future.done());
}

TEST_CASE("run_until_complete refuses a future of another loop", "[futures][rule-8]") {
  TestLoop loop, other;
  const Future<int> future(other);
  REQUIRE_THROWS_AS(loop.run_until_complete(future), ValueError);
}

// ---- An exception that nobody retrieved -----------------------------------------------------------------

TEST_CASE("a pending future is dropped without a word", "[futures][test_futures.test_tb_logger_abandoned]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  { const Future<int> future(loop); }
  CHECK(caught.empty());
}

TEST_CASE("a future with a result is dropped without a word",
          "[futures][test_futures.test_tb_logger_result_unretrieved][test_futures.test_tb_logger_result_"
          "retrieved]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  {
    const Future<int> unread(loop), read(loop);
    unread.set_result(42);
    read.set_result(42);
    read.result();
  }
  CHECK(caught.empty());
}

TEST_CASE("a cancelled future is dropped without a word", "[futures][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  { Future<int>(loop).cancel(); }
  CHECK(caught.empty());
}

TEST_CASE("an exception that nobody retrieved is reported when the last reference goes",
          "[futures][rule-6][test_futures.test_tb_logger_exception_unretrieved][test_futures.test_future_"
          "exception_never_retrieved][test_futures.test_future_exception_never_retrieved_debug]") {
  TestLoop loop;
  loop.set_debug(GENERATE(false, true));
  const auto& caught = loop.catch_exceptions();
  const auto exception = std::make_exception_ptr(RuntimeError("boom"));
  {
    Future<int> future(loop);
    future.set_exception(exception);
    const Future<int> last = std::move(future);
    future = Future<int>(loop);
    CHECK(caught.empty());
  }
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Future exception was never retrieved");
  CHECK((caught[0].exception == exception));
  CHECK(static_cast<bool>(caught[0].future));
  CHECK(caught[0].future.done());
}

TEST_CASE("an exception is reported once, also when the handler keeps the future", "[futures][rule-6]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  { Future<int>(loop).set_exception(RuntimeError("boom")); }
  REQUIRE(caught.size() == 1);
  caught.clear();
  CHECK(caught.empty());
}

TEST_CASE("an exception that was looked at is not reported",
          "[futures][rule-6][test_futures.test_tb_logger_exception_retrieved][test_futures.test_tb_logger_"
          "exception_result_retrieved][test_futures.test_tb_logger_not_called_after_cancel]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  {
    const Future<int> future(loop);
    future.set_exception(RuntimeError("boom"));
    SECTION("by exception()") { static_cast<void>(future.exception()); }
    SECTION("by result()") { REQUIRE_THROWS_AS(future.result(), RuntimeError); }
    SECTION("by AnyFuture::exception()") { static_cast<void>(AnyFuture(future).exception()); }
    SECTION("by co_await") { REQUIRE_THROWS(loop.run_until_complete(waits_for(future))); }
    SECTION("by run_until_complete") { REQUIRE_THROWS(loop.run_until_complete(future)); }
    SECTION("by cancel(), which gives it up") { CHECK_FALSE(future.cancel()); }
  }
  CHECK(caught.empty());
}

TEST_CASE("a done callback that does not look leaves the exception to be reported", "[futures][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  {
    const Future<int> future(loop);
    future.add_done_callback([](const Future<int>& done) { CHECK(done.done()); });
    future.set_exception(RuntimeError("boom"));
  }
  CHECK(caught.empty());  // the callback that is scheduled holds it
  test::run_once(loop);
  CHECK(caught.size() == 1);
}

TEST_CASE("without a handler an exception that nobody retrieved is written to std::cerr", "[futures][rule-6]") {
  TestLoop loop;
  const CaptureCerr errors;
  { Future<int>(loop).set_exception(RuntimeError("boom")); }
  CHECK(contains(errors.text(), "Future exception was never retrieved"));
  CHECK(contains(errors.text(), "std::runtime_error: boom"));
}

TEST_CASE("an exception that nobody retrieved is written to std::cerr when the loop is gone",
          "[futures][rule-6][rule-7]") {
  const CaptureCerr errors;
  {
    auto loop = std::make_unique<TestLoop>();
    const Future<int> future(*loop);
    future.set_exception(RuntimeError("boom"));
    loop.reset();
    CHECK(errors.text().empty());
  }
  CHECK(contains(errors.text(), "Future exception was never retrieved"));
  CHECK(contains(errors.text(), "std::runtime_error: boom"));
}

TEST_CASE("what an exception handler throws about a dropped future stays inside", "[futures][rule-6]") {
  TestLoop loop;
  const CaptureCerr errors;
  loop.set_exception_handler(
      [](EventLoop&, const asyncio::ExceptionContext&) { throw RuntimeError("in the handler"); });
  { Future<int>(loop).set_exception(RuntimeError("boom")); }
  CHECK(contains(errors.text(), "std::runtime_error: in the handler"));
  CHECK(contains(errors.text(), "std::runtime_error: boom"));
}

// ---- A future and the end of its loop -------------------------------------------------------------------

TEST_CASE("get_loop still answers when the loop is closed, and is an error when it is gone", "[futures][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Future<int> future(*loop);
  loop->close();
  CHECK(&future.get_loop() == loop.get());
  loop.reset();
  CHECK(thrown([&] { return &future.get_loop(); }) == "std::runtime_error: Event loop is closed");
}

TEST_CASE("a done future keeps its outcome when its loop is gone", "[futures][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Future<int> value(*loop), failed(*loop), cancelled(*loop);
  value.set_result(42);
  failed.set_exception(RuntimeError("boom"));
  cancelled.cancel("why");
  loop.reset();
  CHECK(value.result() == 42);
  CHECK(thrown([&] { return failed.result(); }) == "std::runtime_error: boom");
  CHECK(thrown([&] { return cancelled.result(); }) == "asyncio::CancelledError: why");
}

TEST_CASE("a pending future without callbacks needs no loop to become done", "[futures][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Future<int> a(*loop), b(*loop), c(*loop);
  loop.reset();
  a.set_result(42);
  CHECK(a.result() == 42);
  b.set_exception(RuntimeError("boom"));
  CHECK(asyncio::describe(b.exception()) == "std::runtime_error: boom");
  CHECK(c.cancel());
  CHECK(c.cancelled());
}

TEST_CASE("to tell a callback needs the loop: the future is done, and the caller gets an error",
          "[futures][rule-7][rule-8]") {
  auto loop = std::make_unique<TestLoop>();
  Log log;
  const Future<int> future(*loop);
  future.add_done_callback(appends(log, "called"));
  SECTION("when the loop is closed") { loop->close(); }
  SECTION("when the loop is gone") { loop.reset(); }
  CHECK(thrown([&] { future.set_result(1); }) == "std::runtime_error: Event loop is closed");
  CHECK(future.done());
  CHECK(future.result() == 1);
  CHECK(log.empty());
}

TEST_CASE("adding a callback to a done future needs the loop", "[futures][rule-7][rule-8]") {
  auto loop = std::make_unique<TestLoop>();
  const Future<int> future(*loop);
  future.set_result(1);
  SECTION("when the loop is closed") { loop->close(); }
  SECTION("when the loop is gone") { loop.reset(); }
  CHECK(thrown([&] { future.add_done_callback([](const auto&) {}); }) == "std::runtime_error: Event loop is closed");
}

TEST_CASE("removing a callback needs no loop", "[futures][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Future<int> future(*loop);
  const CallbackId id = future.add_done_callback([instance = Instance()](const auto&) {});
  loop.reset();
  CHECK(Instance::alive() == 0);
  future.remove_done_callback(id);
  future.set_result(1);
  CHECK(future.done());
}

TEST_CASE("run_until_complete on a closed loop is an error", "[futures][rule-8]") {
  TestLoop loop;
  const Future<int> future(loop);
  loop.close();
  CHECK(thrown([&] { return loop.run_until_complete(future); }) == "std::runtime_error: Event loop is closed");
}

TEST_CASE("a future made of a closed loop is pending, and can be done", "[futures][rule-7]") {
  TestLoop loop;
  loop.close();
  const Future<int> future = loop.create_future<int>();
  CHECK_FALSE(future.done());
  future.set_result(1);
  CHECK(future.result() == 1);
}

// ---- How a future shows itself --------------------------------------------------------------------------

TEST_CASE("a future shows its class, its state and its exception", "[futures][test_futures.test_future_repr]") {
  TestLoop loop;
  const Future<int> pending(loop), cancelled(loop), finished(loop), failed(loop);
  cancelled.cancel();
  finished.set_result(4);
  failed.set_exception(RuntimeError("boom"));
  CHECK(pending.repr() == "<Future pending>");
  CHECK(cancelled.repr() == "<Future cancelled>");
  CHECK(finished.repr().rfind("<Future finished", 0) == 0);
  CHECK(failed.repr() == "<Future finished exception=std::runtime_error: boom>");
  static_cast<void>(failed.exception());
}

TEST_CASE("showing a future does not count as retrieving its exception", "[futures][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  {
    const Future<int> future(loop);
    future.set_exception(RuntimeError("boom"));
    CHECK_FALSE(future.repr().empty());
  }
  CHECK(caught.size() == 1);
}
