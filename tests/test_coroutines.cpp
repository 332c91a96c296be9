// Coroutine<T> itself, driven by hand where no loop is needed.
// Upstream counterparts: Lib/test/test_asyncio/test_pep492.py, Lib/test/test_coroutines.py.
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

using asyncio::AnyFuture;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::InvalidStateError;
using asyncio::RuntimeError;
using asyncio::Task;
using asyncio::ValueError;
using test::Instance;
using test::Log;
using test::nothing;
using test::TestLoop;
using test::thrown;
using test::Unnumbered;

namespace {

constexpr const char* REUSED = "std::runtime_error: cannot reuse already awaited coroutine";
constexpr const char* AWAITED_ALREADY = "std::runtime_error: coroutine is being awaited already";

constexpr int MANY = 1'000'000;
constexpr int DEEP = 100'000;

template <class E> std::exception_ptr make(const char* text) { return std::make_exception_ptr(E(text)); }

// Says when it dies.
struct Local {
  Local(Log& l, std::string n) : log(&l), name(std::move(n)) {}
  Local(Local&& other) noexcept : log(std::exchange(other.log, nullptr)), name(std::move(other.name)) {}
  Local(const Local&) = delete;
  ~Local() {
    if (log) log->push_back("~" + name);
  }
  Log* log;
  std::string name;
};

Coroutine<int> value(int n) { co_return n; }

Coroutine<int> fails(std::string text) {
  throw RuntimeError(text);
  co_return 0;
}

Coroutine<void> writes(Log& log, std::string word) {
  log.push_back(std::move(word));
  co_return;
}

Coroutine<int> awaits(Future<int> future) { co_return co_await future; }

// Recursion: `depth` frames, the innermost of which awaits the future.
Coroutine<int> descend(int depth, Future<int> future, Instance = {}) {
  if (depth == 0) co_return co_await future;
  co_return 1 + co_await descend(depth - 1, future);
}

Coroutine<void> nested(Log& log, Future<int> future, int depth, Local argument) {
  const Local local(log, "local " + std::to_string(depth));
  if (depth == 1) {
    co_await future;
  } else {
    co_await nested(log, future, depth - 1, Local(log, "argument " + std::to_string(depth - 1)));
  }
  log.push_back("went on " + argument.name);
}

}  // namespace

// ---- What a Coroutine is --------------------------------------------------------------------------------

TEST_CASE("a coroutine runs nothing until it is driven", "[coroutines][api]") {
  Log log;
  Coroutine<void> coroutine = writes(log, "ran");
  CHECK(log.empty());
  CHECK_FALSE(coroutine.done());
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(log == Log{"ran"});
  CHECK(coroutine.done());
}

TEST_CASE("a coroutine can be moved and not copied", "[coroutines][api]") {
  STATIC_REQUIRE(!std::is_copy_constructible_v<Coroutine<int>>);
  STATIC_REQUIRE(!std::is_copy_assignable_v<Coroutine<int>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Coroutine<int>>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Coroutine<int>>);
}

TEST_CASE("a coroutine knows the type of its result", "[coroutines][test_pep492.test_iscoroutine]") {
  STATIC_REQUIRE(std::is_same_v<Coroutine<int>::value_type, int>);
  STATIC_REQUIRE(std::is_same_v<Coroutine<>, Coroutine<void>>);
  STATIC_REQUIRE(std::is_void_v<decltype(std::declval<Coroutine<>>().result())>);
}

TEST_CASE("a callable that returns a coroutine is a coroutine function, another is not",
          "[coroutines][test_pep492.test_iscoroutinefunction]") {
  const auto function = []() -> Coroutine<int> { co_return 1; };
  const auto plain = [] { return 1; };
  STATIC_REQUIRE(asyncio::CoroutineFunction<decltype(function)>);
  STATIC_REQUIRE(!asyncio::CoroutineFunction<decltype(plain)>);
  STATIC_REQUIRE(!asyncio::CoroutineFunction<Coroutine<int>>);
}

TEST_CASE("a coroutine moved to another variable is driven there", "[coroutines][api]") {
  Coroutine<int> first = value(3);
  Coroutine<int> second = std::move(first);
  CHECK(first.done());
  CHECK_FALSE(second.send().has_value());
  CHECK(second.result() == 3);
}

TEST_CASE("a coroutine can be moved while it is suspended", "[coroutines][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> first = descend(2, future);
  REQUIRE(first.send().has_value());
  Coroutine<int> second = std::move(first);
  future.set_result(40);
  CHECK_FALSE(second.send().has_value());
  CHECK(second.result() == 42);
}

TEST_CASE("assigning to a coroutine variable destroys the frame it had, and empties the source",
          "[coroutines][rule-7][rule-8]") {
  struct Body {
    static Coroutine<int> run(int n, Instance) { co_return n; }
  };
  Coroutine<int> target = Body::run(1, {});
  Coroutine<int> source = Body::run(2, {});
  CHECK(Instance::alive() == 2);
  target = std::move(source);
  CHECK(Instance::alive() == 1);
  CHECK(source.done());
  CHECK(thrown([&] { source.send(); }) == REUSED);
  target.send();
  CHECK(target.result() == 2);
}

// ---- send, throw_, result, done -------------------------------------------------------------------------

TEST_CASE("send returns the future that is awaited, and nullopt when the body has returned", "[coroutines][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = awaits(future);
  const std::optional<AnyFuture> yielded = coroutine.send();
  REQUIRE(yielded.has_value());
  CHECK(*yielded == future);
  CHECK_FALSE(coroutine.done());
  future.set_result(42);
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(coroutine.done());
  CHECK(coroutine.result() == 42);
}

TEST_CASE("a bare yield, which sleep(0) is, sends a null future", "[coroutines][rule-1][api]") {
  Coroutine<void> coroutine = asyncio::sleep(0);
  const std::optional<AnyFuture> yielded = coroutine.send();
  REQUIRE(yielded.has_value());
  CHECK_FALSE(*yielded);
  CHECK_FALSE(coroutine.send().has_value());
}

TEST_CASE("result() before the end is an InvalidStateError", "[coroutines][rule-8]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = awaits(future);
  REQUIRE_THROWS_AS(coroutine.result(), InvalidStateError);
  REQUIRE(coroutine.send().has_value());
  REQUIRE_THROWS_AS(coroutine.result(), InvalidStateError);
}

TEST_CASE("send raises what the body throws, and the coroutine is done", "[coroutines][api]") {
  Coroutine<int> coroutine = fails("boom");
  CHECK(thrown([&] { coroutine.send(); }) == "std::runtime_error: boom");
  CHECK(coroutine.done());
}

TEST_CASE("result() of a coroutine that threw raises that exception", "[coroutines][rule-8][api]") {
  Coroutine<int> coroutine = fails("boom");
  CHECK(thrown([&] { coroutine.send(); }) == "std::runtime_error: boom");
  CHECK(thrown([&] { return coroutine.result(); }) == "std::runtime_error: boom");
}

TEST_CASE("what a body throws need not derive from std::exception", "[coroutines][api]") {
  struct Body {
    static Coroutine<void> run() {
      throw 42;
      co_return;
    }
  };
  Coroutine<void> coroutine = Body::run();
  REQUIRE_THROWS_AS(coroutine.send(), int);
}

TEST_CASE("send and throw_ after the end are errors", "[coroutines][rule-8]") {
  Coroutine<int> returned = value(1);
  returned.send();
  CHECK(thrown([&] { returned.send(); }) == REUSED);
  CHECK(thrown([&] { returned.throw_(make<ValueError>("x")); }) == REUSED);
  Coroutine<int> failed = fails("boom");
  REQUIRE_THROWS(failed.send());
  CHECK(thrown([&] { failed.send(); }) == REUSED);
  CHECK(returned.result() == 1);
}

TEST_CASE("throw_ raises the exception at the await, where it can be caught", "[coroutines][api]") {
  struct Body {
    static Coroutine<int> run(Future<int> future, Log& log) {
      try {
        co_await future;
      } catch (const ValueError& error) {
        log.push_back(error.what());
      }
      co_return 7;
    }
  };
  TestLoop loop;
  Log log;
  Coroutine<int> coroutine = Body::run(Future<int>(loop), log);
  REQUIRE(coroutine.send().has_value());
  CHECK_FALSE(coroutine.throw_(make<ValueError>("caught")).has_value());
  CHECK(log == Log{"caught"});
  CHECK(coroutine.result() == 7);
}

TEST_CASE("throw_ returns what is awaited next, if the exception is caught", "[coroutines][api]") {
  struct Body {
    static Coroutine<int> run(Future<int> first, Future<int> second) {
      try {
        co_await first;
      } catch (const CancelledError&) {}
      co_return co_await second;
    }
  };
  TestLoop loop;
  const Future<int> second(loop);
  Coroutine<int> coroutine = Body::run(Future<int>(loop), second);
  REQUIRE(coroutine.send().has_value());
  const auto yielded = coroutine.throw_(std::make_exception_ptr(CancelledError()));
  REQUIRE(yielded.has_value());
  CHECK(*yielded == second);
  second.set_result(1);
  CHECK_FALSE(coroutine.send().has_value());
}

TEST_CASE("throw_ raises an exception that is not caught, and the coroutine is done", "[coroutines][api]") {
  TestLoop loop;
  Coroutine<int> coroutine = awaits(Future<int>(loop));
  REQUIRE(coroutine.send().has_value());
  CHECK(thrown([&] { coroutine.throw_(make<CancelledError>("stop")); }) == "asyncio::CancelledError: stop");
  CHECK(coroutine.done());
}

TEST_CASE("throw_ reaches a bare yield", "[coroutines][api]") {
  Coroutine<void> coroutine = asyncio::sleep(0);
  REQUIRE(coroutine.send().has_value());
  REQUIRE_THROWS_AS(coroutine.throw_(make<ValueError>("x")), ValueError);
}

TEST_CASE("an exception thrown into a coroutine that never started comes out, and the body never runs",
          "[coroutines][rule-5][api]") {
  Log log;
  Coroutine<void> coroutine = writes(log, "ran");
  CHECK(thrown([&] { coroutine.throw_(make<ValueError>("early")); }) == "std::invalid_argument: early");
  CHECK(coroutine.done());
  CHECK(log.empty());
  CHECK(thrown([&] { coroutine.send(); }) == REUSED);
}

TEST_CASE("a throw_ is delivered once: the next await is an ordinary one", "[coroutines][api]") {
  struct Body {
    static Coroutine<int> run(Future<int> future) {
      for (;;) {
        try {
          co_return co_await future;
        } catch (const ValueError&) {}
      }
    }
  };
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = Body::run(future);
  REQUIRE(coroutine.send().has_value());
  for (int i = 0; i < 3; ++i) REQUIRE(coroutine.throw_(make<ValueError>("again")).has_value());
  future.set_result(5);
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(coroutine.result() == 5);
}

TEST_CASE("a coroutine that sends to itself is told that it is executing", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<void> run(Coroutine<void>& self, Log& log) {
      log.push_back(thrown([&] { self.send(); }));
      log.push_back(thrown([&] { self.throw_(make<ValueError>("x")); }));
      co_return;
    }
  };
  Log log;
  Coroutine<void> coroutine;
  coroutine = Body::run(coroutine, log);
  CHECK_FALSE(coroutine.send().has_value());
  const std::string expected = "std::invalid_argument: coroutine already executing";
  CHECK(log == Log{expected, expected});
}

TEST_CASE("a coroutine deep inside that sends to the outermost one is told that it is executing",
          "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<void> inner(Coroutine<void>& outermost, std::string& error) {
      error = thrown([&] { outermost.send(); });
      co_return;
    }
    static Coroutine<void> outer(Coroutine<void>& self, std::string& error) { co_await inner(self, error); }
  };
  std::string error;
  Coroutine<void> coroutine;
  coroutine = Body::outer(coroutine, error);
  coroutine.send();
  CHECK(error == "std::invalid_argument: coroutine already executing");
}

TEST_CASE("a coroutine may drive another one by hand", "[coroutines][api]") {
  struct Body {
    static Coroutine<int> run(Future<int> future) {
      Coroutine<int> inner = descend(1, future);
      if (!inner.send()) throw RuntimeError("did not suspend");
      future.set_result(41);
      if (inner.send()) throw RuntimeError("did not return");
      co_return inner.result();
    }
  };
  TestLoop loop;
  Coroutine<int> coroutine = Body::run(Future<int>(loop));
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(coroutine.result() == 42);
}

// ---- Awaiting a coroutine -------------------------------------------------------------------------------

TEST_CASE("an awaited coroutine runs at once, inside the step of its caller", "[coroutines][rule-1]") {
  struct Body {
    static Coroutine<void> run(Log& log) {
      log.push_back("before");
      co_await writes(log, "inside");
      log.push_back("after");
    }
  };
  TestLoop loop;
  Log log;
  loop.call_soon([&log] { log.push_back("other callback"); });
  const auto task = loop.create_task(Body::run(log));
  loop.call_soon([&log] { log.push_back("later callback"); });
  test::run_once(loop);
  CHECK(log == Log{"other callback", "before", "inside", "after", "later callback"});
}

TEST_CASE("a coroutine that is awaited later starts only then", "[coroutines][rule-1]") {
  struct Body {
    static Coroutine<void> run(Log& log) {
      Coroutine<void> inner = writes(log, "inner");
      log.push_back("made");
      co_await std::move(inner);
    }
  };
  Log log;
  Coroutine<void> coroutine = Body::run(log);
  coroutine.send();
  CHECK(log == Log{"made", "inner"});
}

TEST_CASE("the value of an await is what the coroutine returns",
          "[coroutines][test_pep492.test_async_def_coroutines]") {
  struct Body {
    static Coroutine<std::string> bar() { co_return "spam"; }
    static Coroutine<std::string> foo() { co_return co_await bar(); }
  };
  TestLoop loop;
  loop.set_debug(GENERATE(false, true));
  CHECK(loop.run_until_complete(Body::foo()) == "spam");
}

TEST_CASE("a suspended coroutine goes on in the innermost frame, and every frame gets its value", "[coroutines]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = descend(10, future);
  const auto yielded = coroutine.send();
  REQUIRE(yielded.has_value());
  CHECK(*yielded == future);
  future.set_result(100);
  CHECK_FALSE(coroutine.send().has_value());
  CHECK(coroutine.result() == 110);
}

TEST_CASE("throw_ reaches the innermost of several frames, and each may catch it", "[coroutines]") {
  struct Body {
    static Coroutine<void> run(Log& log, Future<int> future, int depth) {
      try {
        if (depth == 0)
          co_await future;
        else
          co_await run(log, future, depth - 1);
      } catch (const CancelledError&) {
        log.push_back(std::to_string(depth));
        if (depth < 2) throw;
      }
      log.push_back("went on " + std::to_string(depth));
    }
  };
  TestLoop loop;
  Log log;
  Coroutine<void> coroutine = Body::run(log, Future<int>(loop), 3);
  REQUIRE(coroutine.send().has_value());
  CHECK_FALSE(coroutine.throw_(make<CancelledError>("")).has_value());
  CHECK(log == Log{"0", "1", "2", "went on 2", "went on 3"});
}

TEST_CASE("an exception goes through many frames as one object, unwinding each", "[coroutines]") {
  struct Body {
    static Coroutine<int> run(int depth, const void*& origin, Instance) {
      if (depth == 0) {
        try {
          throw RuntimeError("from below");
        } catch (const RuntimeError& error) {
          origin = &error;
          throw;
        }
      }
      const Instance local;
      co_return co_await run(depth - 1, origin, {});
    }
  };
  const void* origin = nullptr;
  const void* seen = nullptr;
  {
    Coroutine<int> coroutine = Body::run(100, origin, {});
    try {
      coroutine.send();
    } catch (const RuntimeError& error) {
      seen = &error;
      CHECK(std::string(error.what()) == "from below");
    }
  }
  CHECK(seen == origin);
  CHECK(seen != nullptr);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a coroutine that caught an exception of an inner one awaits on", "[coroutines]") {
  struct Body {
    static Coroutine<int> run(Future<int> future) {
      int caught = 0;
      for (int i = 0; i < 3; ++i) {
        try {
          co_await fails("again");
        } catch (const RuntimeError&) {
          ++caught;
        }
      }
      co_return caught + co_await awaits(future);
    }
  };
  TestLoop loop;
  const Future<int> future(loop);
  loop.call_later(1, [future] { future.set_result(10); });
  CHECK(loop.run_until_complete(Body::run(future)) == 13);
}

TEST_CASE("an awaited coroutine is an rvalue or an lvalue", "[coroutines][api]") {
  struct Body {
    static Coroutine<int> run() {
      Coroutine<int> moved = value(1);
      Coroutine<int> lvalue = value(2);
      const int first = co_await std::move(moved);
      co_return first + co_await lvalue + co_await value(4);
    }
  };
  Coroutine<int> coroutine = Body::run();
  coroutine.send();
  CHECK(coroutine.result() == 7);
}

// ---- Misuse ---------------------------------------------------------------------------------------------

TEST_CASE("awaiting a coroutine a second time is an error at the await", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<std::string> run() {
      Coroutine<int> inner = value(1);
      co_await inner;
      try {
        co_await inner;
      } catch (const RuntimeError& error) {
        co_return error.what();
      }
      co_return "";
    }
  };
  Coroutine<std::string> coroutine = Body::run();
  coroutine.send();
  CHECK(coroutine.result() == "cannot reuse already awaited coroutine");
}

TEST_CASE("awaiting a coroutine that was moved from is an error at the await", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<void> run(Coroutine<int>& moved_from) { co_await moved_from; }
  };
  Coroutine<int> inner = value(1);
  const Coroutine<int> other = std::move(inner);
  Coroutine<void> coroutine = Body::run(inner);
  CHECK(thrown([&] { coroutine.send(); }) == REUSED);
}

TEST_CASE("a default-constructed coroutine is done, has no result and cannot be driven or awaited",
          "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<int> run() { co_return co_await Coroutine<int>(); }
  };
  Coroutine<int> coroutine;
  CHECK(coroutine.done());
  REQUIRE_THROWS_AS(coroutine.result(), InvalidStateError);
  CHECK(thrown([&] { coroutine.send(); }) == REUSED);
  CHECK(thrown([&] { coroutine.throw_(make<ValueError>("x")); }) == REUSED);
  Coroutine<int> awaiting = Body::run();
  CHECK(thrown([&] { awaiting.send(); }) == REUSED);
}

TEST_CASE("awaiting a coroutine that was driven by hand and is suspended is an error", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<int> run(Coroutine<int>& inner) { co_return co_await inner; }
  };
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> inner = awaits(future);
  REQUIRE(inner.send().has_value());
  Coroutine<int> coroutine = Body::run(inner);
  CHECK(thrown([&] { coroutine.send(); }) == AWAITED_ALREADY);
  future.set_result(1);
  CHECK_FALSE(inner.send().has_value());  // it took no harm
  CHECK(inner.result() == 1);
}

TEST_CASE("awaiting a coroutine that was driven by hand to its end is an error", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<int> run(Coroutine<int>& inner) { co_return co_await inner; }
  };
  Coroutine<int> inner = value(1);
  inner.send();
  Coroutine<int> coroutine = Body::run(inner);
  CHECK(thrown([&] { coroutine.send(); }) == REUSED);
}

TEST_CASE("a coroutine that awaits itself gets an error", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<void> run(Coroutine<void>& self) { co_await self; }
  };
  Coroutine<void> coroutine;
  coroutine = Body::run(coroutine);
  CHECK(thrown([&] { coroutine.send(); }) == AWAITED_ALREADY);
}

TEST_CASE("a coroutine that a task runs cannot be awaited as well",
          "[coroutines][rule-8][test_pep492.test_double_await]") {
  struct Body {
    static Coroutine<void> run() {
      Coroutine<void> sleeper = asyncio::sleep(0.1);
      const Task<void> task = asyncio::create_task(std::move(sleeper));
      co_await asyncio::sleep(0);
      std::exception_ptr error;
      try {
        co_await sleeper;
      } catch (...) {
        error = std::current_exception();
      }
      task.cancel();
      if (error) std::rethrow_exception(error);
    }
  };
  TestLoop loop;
  loop.set_debug(true);
  CHECK(thrown([&] { loop.run_until_complete(Body::run()); }) == REUSED);
  test::run_briefly(loop);
}

TEST_CASE("a task refuses a coroutine that was awaited, driven or moved from", "[coroutines][rule-8]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = awaits(future);
  SECTION("driven, suspended") {
    REQUIRE(coroutine.send().has_value());
    CHECK(thrown([&] { loop.create_task(std::move(coroutine)); }) == AWAITED_ALREADY);
  }
  SECTION("driven to its end") {
    future.set_result(1);
    coroutine.send();
    CHECK(thrown([&] { loop.create_task(std::move(coroutine)); }) == REUSED);
  }
  SECTION("moved from") {
    const Coroutine<int> other = std::move(coroutine);
    CHECK(thrown([&] { loop.create_task(std::move(coroutine)); }) == REUSED);
  }
  SECTION("never made") {
    CHECK(thrown([&] { loop.create_task(Coroutine<int>()); }) == REUSED);
  }
  CHECK(asyncio::all_tasks(loop).empty());
}

TEST_CASE("run_until_complete refuses a coroutine that was moved from", "[coroutines][rule-8]") {
  TestLoop loop;
  Coroutine<int> coroutine = value(1);
  const Coroutine<int> other = std::move(coroutine);
  CHECK(thrown([&] { return loop.run_until_complete(std::move(coroutine)); }) == REUSED);
}

TEST_CASE("two coroutines cannot await the same one", "[coroutines][rule-8]") {
  struct Body {
    static Coroutine<int> run(Coroutine<int>& shared) { co_return co_await shared; }
  };
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> shared = awaits(future);
  const Task<int> first = loop.create_task(Body::run(shared));
  const Task<int> second = loop.create_task(Body::run(shared));
  test::run_once(loop);
  CHECK(asyncio::describe(second.exception()) == REUSED);
  future.set_result(8);
  test::run_briefly(loop);
  CHECK(first.result() == 8);
}

// ---- Results of any type --------------------------------------------------------------------------------

TEST_CASE("a result can be move-only", "[coroutines][moves]") {
  struct Body {
    static Coroutine<std::unique_ptr<int>> make(int n) { co_return std::make_unique<int>(n); }
    static Coroutine<std::unique_ptr<int>> pass(int n) { co_return co_await make(n); }
  };
  TestLoop loop;
  CHECK(*loop.run_until_complete(Body::pass(6)) == 6);
  Coroutine<std::unique_ptr<int>> coroutine = Body::pass(7);
  coroutine.send();
  CHECK(*coroutine.result() == 7);
}

TEST_CASE("a result needs no default constructor, from a coroutine", "[coroutines][moves]") {
  struct Body {
    static Coroutine<Unnumbered> make(int n) { co_return Unnumbered(n); }
    static Coroutine<int> run() { co_return (co_await make(5)).number; }
  };
  TestLoop loop;
  CHECK(loop.run_until_complete(Body::run()) == 5);
}

TEST_CASE("a result is moved all the way up, never copied", "[coroutines][moves]") {
  struct Counting {
    explicit Counting(int* c) : copies(c) {}
    Counting(const Counting& other) : copies(other.copies) { ++*copies; }
    Counting(Counting&& other) noexcept : copies(other.copies) {}
    int* copies;
  };
  struct Body {
    static Coroutine<Counting> make(int depth, int* copies) {
      if (depth == 0) co_return Counting(copies);
      co_return co_await make(depth - 1, copies);
    }
  };
  TestLoop loop;
  int copies = 0;
  static_cast<void>(loop.run_until_complete(Body::make(5, &copies)));
  CHECK(copies == 0);
}

TEST_CASE("a body returns whatever its result can be made from", "[coroutines][api]") {
  struct Body {
    static Coroutine<std::string> text() { co_return "a literal"; }
    static Coroutine<std::optional<int>> some() { co_return 3; }
    static Coroutine<std::optional<int>> none() { co_return std::nullopt; }
    static Coroutine<double> number() { co_return 2; }
  };
  TestLoop loop;
  CHECK(loop.run_until_complete(Body::text()) == "a literal");
  CHECK(loop.run_until_complete(Body::some()) == 3);
  CHECK(loop.run_until_complete(Body::none()) == std::nullopt);
  CHECK(loop.run_until_complete(Body::number()) == 2.0);
}

namespace {
template <class P>
concept ReturnsBraces = requires(P& promise) {
  promise.return_value({1, 2});
};
}  // namespace

TEST_CASE("a body can return a value in braces, as a function can", "[coroutines][api]") {
  CHECK(ReturnsBraces<Coroutine<std::pair<int, int>>::promise_type>);
  CHECK(ReturnsBraces<Coroutine<std::vector<int>>::promise_type>);
}

TEST_CASE("an exception while the result is made comes out of the await", "[coroutines]") {
  struct Picky {
    explicit Picky(int n) {
      if (n < 0) throw ValueError("negative");
    }
  };
  struct Body {
    static Coroutine<Picky> make(int n) { co_return n; }
    static Coroutine<void> run() { co_await make(-1); }
  };
  Coroutine<void> coroutine = Body::run();
  CHECK(thrown([&] { coroutine.send(); }) == "std::invalid_argument: negative");
}

// ---- Arguments and locals -------------------------------------------------------------------------------

TEST_CASE("a coroutine that never ran destroys its arguments", "[coroutines][rule-7]") {
  struct Body {
    static Coroutine<void> run(Instance, Instance) { co_return; }
  };
  {
    const Coroutine<void> coroutine = Body::run({}, {});
    CHECK(Instance::alive() == 2);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("locals die when the body ends, arguments with the frame", "[coroutines][rule-7]") {
  struct Body {
    static Coroutine<void> run(Log& log, Local argument) {
      const Local local(log, "local");
      log.push_back("body of " + argument.name);
      co_return;
    }
  };
  Log log;
  {
    Coroutine<void> coroutine = Body::run(log, Local(log, "argument"));
    coroutine.send();
    log.push_back("returned");
  }
  CHECK(log == Log{"body of argument", "~local", "returned", "~argument"});
}

TEST_CASE("the frame of an awaited temporary is gone when the next statement runs", "[coroutines][rule-7]") {
  struct Body {
    static Coroutine<void> inner(Instance, int& alive) {
      alive = Instance::alive();
      co_return;
    }
    static Coroutine<int> run(int& inside) {
      co_await inner({}, inside);
      co_return Instance::alive();
    }
  };
  int inside = 0;
  Coroutine<int> coroutine = Body::run(inside);
  coroutine.send();
  CHECK(inside > 0);
  CHECK(coroutine.result() == 0);
}

TEST_CASE("a task destroys its coroutine's arguments when it is done, not when it is dropped", "[coroutines][rule-7]") {
  struct Body {
    static Coroutine<int> run(Instance) { co_return 1; }
  };
  TestLoop loop;
  const Task<int> task = loop.create_task(Body::run({}));
  CHECK(Instance::alive() == 1);
  test::run_once(loop);
  CHECK(task.done());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("frames that are destroyed while suspended unwind from the innermost out", "[coroutines][rule-7]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  {
    Coroutine<void> coroutine = nested(log, future, 3, Local(log, "argument 3"));
    REQUIRE(coroutine.send().has_value());
    CHECK(log.empty());
  }
  CHECK(log == Log{"~local 1", "~argument 1", "~local 2", "~argument 2", "~local 3", "~argument 3"});
}

TEST_CASE("an exception unwinds each frame's locals before the next frame sees it", "[coroutines][rule-7]") {
  TestLoop loop;
  Log log;
  Coroutine<void> coroutine = nested(log, Future<int>(loop), 2, Local(log, "argument 2"));
  REQUIRE(coroutine.send().has_value());
  REQUIRE_THROWS_AS(coroutine.throw_(make<ValueError>("x")), ValueError);
  CHECK(log == Log{"~local 1", "~argument 1", "~local 2"});
}

TEST_CASE("a lambda that captures by value is kept by the task that runs it", "[coroutines][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  Task<int> task = [&] {
    auto function = [future, text = std::string(50, 'x'), instance = Instance()]() -> Coroutine<int> {
      const int n = co_await future;
      co_return n + static_cast<int>(text.size());
    };
    return loop.create_task(std::move(function));
  }();
  test::run_once(loop);
  CHECK(Instance::alive() == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(task.result() == 51);
  CHECK(Instance::alive() == 0);
}

// ---- A million awaits, a chain of a hundred thousand ----------------------------------------------------

TEST_CASE("a million awaits that never suspend need no stack and no iteration", "[coroutines][rule-1][depth]") {
  struct Body {
    static Coroutine<long> run() {
      long sum = 0;
      for (int i = 0; i < MANY; ++i) {
        co_await nothing();
        sum += co_await value(1);
      }
      co_return sum;
    }
  };
  TestLoop loop;
  const Task<long> task = loop.create_task(Body::run());
  test::run_once(loop);
  REQUIRE(task.done());
  CHECK(task.result() == MANY);
}

TEST_CASE("a million awaits of a done future need no iteration", "[coroutines][rule-1][depth]") {
  struct Body {
    static Coroutine<long> run(Future<int> future) {
      long sum = 0;
      for (int i = 0; i < MANY; ++i) sum += co_await future;
      co_return sum;
    }
  };
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(1);
  const Task<long> task = loop.create_task(Body::run(future));
  test::run_once(loop);
  REQUIRE(task.done());
  CHECK(task.result() == MANY);
}

TEST_CASE("a chain of a hundred thousand awaits that never suspends returns", "[coroutines][depth]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.set_result(0);
  {
    Coroutine<int> coroutine = descend(DEEP, future);
    CHECK_FALSE(coroutine.send().has_value());
    CHECK(coroutine.result() == DEEP);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a chain of a hundred thousand awaits is resumed and returns", "[coroutines][depth]") {
  TestLoop loop;
  const Future<int> future(loop);
  loop.call_later(1, [future] { future.set_result(0); });
  CHECK(loop.run_until_complete(descend(DEEP, future)) == DEEP);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a chain of a hundred thousand awaits is thrown into", "[coroutines][depth]") {
  TestLoop loop;
  {
    Coroutine<int> coroutine = descend(DEEP, Future<int>(loop));
    REQUIRE(coroutine.send().has_value());
    CHECK(thrown([&] { coroutine.throw_(make<ValueError>("deep")); }) == "std::invalid_argument: deep");
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task a hundred thousand awaits deep is cancelled", "[coroutines][rule-5][depth]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(descend(DEEP, Future<int>(loop)));
  test::run_once(loop);
  task.cancel();
  test::run_once(loop, 2);
  CHECK(task.cancelled());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a chain of a hundred thousand awaits is destroyed while it is suspended", "[coroutines][rule-7][depth]") {
  TestLoop loop;
  {
    Coroutine<int> coroutine = descend(DEEP, Future<int>(loop));
    REQUIRE(coroutine.send().has_value());
    CHECK(Instance::alive() > DEEP);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task a hundred thousand awaits deep is destroyed with its loop", "[coroutines][rule-7][depth]") {
  {
    TestLoop loop;
    const auto& caught = loop.catch_exceptions();
    const Task<int> task = loop.create_task(descend(DEEP, Future<int>(loop)));
    test::run_once(loop);
    CHECK(Instance::alive() > DEEP);
    loop.close();
    CHECK(caught.size() == 1);
    CHECK(task.cancelled());
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a coroutine a hundred thousand deep yields a thousand times", "[coroutines][depth]") {
  struct Body {
    static Coroutine<int> run(int depth) {
      if (depth > 0) co_return co_await run(depth - 1);
      for (int i = 0; i < 1000; ++i) co_await asyncio::sleep(0);
      co_return 1;
    }
  };
  TestLoop loop;
  CHECK(loop.run_until_complete(Body::run(DEEP)) == 1);
}

TEST_CASE("an exception comes up through ten thousand frames that each catch and rethrow it", "[coroutines][depth]") {
  struct Body {
    static Coroutine<void> run(int depth, int& caught) {
      if (depth == 0) throw RuntimeError("bottom");
      try {
        co_await run(depth - 1, caught);
      } catch (const RuntimeError&) {
        ++caught;
        throw;
      }
    }
  };
  int caught = 0;
  Coroutine<void> coroutine = Body::run(10'000, caught);
  CHECK(thrown([&] { coroutine.send(); }) == "std::runtime_error: bottom");
  CHECK(caught == 10'000);
}
