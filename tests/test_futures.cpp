// Futures: their states and results, who may await them, and their ends.
// Upstream counterpart: Lib/test/test_asyncio/test_futures.py, BaseFutureTests.
#include <functional>
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
using test::await_and_log;
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

TEST_CASE("a reference to no future says so, whatever is asked of it", "[futures][rule-8]") {
  TestLoop loop;
  Future<int> future(loop);
  const Future<int> kept = std::move(future);
  const char* error = "std::runtime_error: there is no future: this reference is null, or was moved from";
  CHECK(thrown([&] { return future.done(); }) == error);
  CHECK(thrown([&] { future.set_result(1); }) == error);
  CHECK(thrown([] { AnyFuture().cancel(); }) == error);
  CHECK(AnyFuture().repr() == "<Future null>");
}
