// asyncio::run and Runner: what main() sees, what becomes of the tasks that are left, and Ctrl-C.
// Upstream counterpart: Lib/test/test_asyncio/test_runners.py.
#include <pthread.h>
#include <signal.h>

#include <memory>
#include <string>
#include <thread>
#include <type_traits>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::KeyboardInterrupt;
using asyncio::Runner;
using asyncio::Task;
using test::action_of;
using test::catch_exceptions;
using test::Contexts;
using test::Instance;
using test::Log;
using test::nothing;
using test::SetEnvironment;
using test::TestLoop;

Coroutine<int> returns(int value) {
  co_await asyncio::sleep(0);
  co_return value;
}
Coroutine<void> fails() {
  co_await asyncio::sleep(0);
  throw asyncio::ValueError("spam");
}
Coroutine<bool> tells_debug() { co_return asyncio::get_running_loop().get_debug(); }
Coroutine<EventLoop*> tells_loop() { co_return &asyncio::get_running_loop(); }

/// A loop on a virtual clock that notes how many of its kind live.
class CountedLoop : public TestLoop {
 public:
  CountedLoop() { ++alive; }
  ~CountedLoop() override { --alive; }
  static inline int alive = 0;
};
std::unique_ptr<EventLoop> virtual_clock() { return std::make_unique<CountedLoop>(); }

/// SIGINT has its default action, as in a fresh process: the test framework has put its own there.
class DefaultSigint {
 public:
  DefaultSigint() {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(SIGINT, &action, &before_);
  }
  ~DefaultSigint() { ::sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_;
};

bool sigint_is_default() { return action_of(SIGINT) == SIG_DFL; }

void interrupt_self() { ::raise(SIGINT); }

int user_handler_calls = 0;
void user_handler(int) { ++user_handler_calls; }

/// Waits for ever, with nothing in the loop to wake it.
Coroutine<void> waits_for_ever() {
  const Future<void> never = asyncio::get_running_loop().create_future();
  co_await never;
}

Coroutine<void> interrupted_by_itself() {
  asyncio::get_running_loop().call_soon(interrupt_self);
  co_await waits_for_ever();
}

}  // namespace

// ---- run ---------------------------------------------------------------------------------------------

TEST_CASE("run returns what main returns", "[runners][test_runners.test_asyncio_run_return]") {
  CHECK(asyncio::run(returns(42)) == 42);
}

TEST_CASE("run of a main without a result returns nothing", "[runners][test_runners.test_asyncio_run_return]") {
  CHECK(std::is_void_v<decltype(asyncio::run(nothing()))>);
  asyncio::run(nothing());
}

TEST_CASE("run moves a move-only result out", "[runners][test_runners.test_asyncio_run_return]") {
  auto main = []() -> Coroutine<std::unique_ptr<int>> {
    co_await asyncio::sleep(0);
    co_return std::make_unique<int>(7);
  };
  CHECK(*asyncio::run(main()) == 7);
}

TEST_CASE("run never asks a result for more than to be moved",
          "[runners][test_runners.test_no_repr_is_call_on_the_task_result]") {
  struct CountsCopies {
    CountsCopies() = default;
    CountsCopies(const CountsCopies& other) : copies(other.copies + 1) {}
    CountsCopies(CountsCopies&&) = default;
    int copies = 0;
  };
  auto main = []() -> Coroutine<CountsCopies> { co_return CountsCopies(); };
  CHECK(asyncio::run(main()).copies == 0);
  Runner runner;
  CHECK(runner.run(main()).copies == 0);
}

TEST_CASE("run takes a callable, and keeps what it captured", "[runners][test_runners.test_asyncio_run_return]") {
  auto main = [value = std::make_unique<int>(5)]() -> Coroutine<int> {
    co_await asyncio::sleep(0);
    co_return *value;
  };
  CHECK(asyncio::run(std::move(main)) == 5);
}

TEST_CASE("run takes a coroutine function", "[runners][test_runners.test_asyncio_run_return]") {
  asyncio::run(nothing);
  CHECK_THROWS_AS(asyncio::run(fails), asyncio::ValueError);
}

TEST_CASE("run raises what main raises", "[runners][test_runners.test_asyncio_run_raises]") {
  CHECK(test::thrown([] { asyncio::run(fails()); }) == "std::invalid_argument: spam");
}

TEST_CASE("run raises CancelledError when main was cancelled", "[runners][rule-5]") {
  auto main = []() -> Coroutine<void> {
    asyncio::current_task().cancel("why");
    co_await asyncio::sleep(0);
  };
  CHECK(test::thrown([&] { asyncio::run(main()); }) == "asyncio::CancelledError: why");
}

TEST_CASE("run of a coroutine that was moved from is RuntimeError",
          "[runners][rule-8][test_runners.test_asyncio_run_only_coro]") {
  Coroutine<int> coroutine = returns(1);
  CHECK(asyncio::run(std::move(coroutine)) == 1);
  CHECK_THROWS_AS(asyncio::run(std::move(coroutine)), asyncio::RuntimeError);
}

TEST_CASE("run switches the loop's debug mode as it is told", "[runners][test_runners.test_asyncio_run_debug]") {
  CHECK_FALSE(asyncio::run(tells_debug(), {.debug = false}));
  CHECK(asyncio::run(tells_debug(), {.debug = true}));
}

TEST_CASE("run leaves debug mode to the environment when it is not told",
          "[runners][test_runners.test_asyncio_run_debug]") {
  const SetEnvironment unset("ASYNCIO_DEBUG", nullptr);
  CHECK_FALSE(asyncio::run(tells_debug()));
  const SetEnvironment set("ASYNCIO_DEBUG", "1");
  CHECK(asyncio::run(tells_debug()));
  CHECK_FALSE(asyncio::run(tells_debug(), {.debug = false}));
}

TEST_CASE("run inside a running loop is RuntimeError, and the loop runs on",
          "[runners][rule-8][test_runners.test_asyncio_run_from_running_loop]") {
  auto main = []() -> Coroutine<std::string> {
    const EventLoop* const before = &asyncio::get_running_loop();
    std::string error = test::thrown([] { return asyncio::run(returns(1)); });
    CHECK(&asyncio::get_running_loop() == before);
    co_await asyncio::sleep(0);
    co_return error;
  };
  const std::string error = asyncio::run(main());
  CHECK(error.find("cannot be called from a running event loop") != std::string::npos);
}

TEST_CASE("what run refuses to run is destroyed without being started", "[runners][rule-8]") {
  bool ran = false;
  auto refused = [&](Instance) -> Coroutine<void> {
    ran = true;
    co_return;
  };
  auto main = [&]() -> Coroutine<void> {
    CHECK_THROWS_AS(asyncio::run(refused(Instance())), asyncio::RuntimeError);
    CHECK(Instance::alive() == 0);
    co_return;
  };
  asyncio::run(main());
  CHECK_FALSE(ran);
}

TEST_CASE("run cancels the tasks that main left, and waits for their end",
          "[runners][test_runners.test_asyncio_run_cancels_hanging_tasks]") {
  Log log;
  auto leftover = [&](std::string name, double cleanup) -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      log.push_back(name + " cancelled");
    }
    co_await asyncio::sleep(cleanup);
    log.push_back(name + " ends");
  };
  auto main = [&]() -> Coroutine<int> {
    asyncio::create_task(leftover("a", 2));
    asyncio::create_task(leftover("b", 1));
    co_await asyncio::sleep(0);
    co_return 123;
  };
  CHECK(asyncio::run(main(), {.loop_factory = virtual_clock}) == 123);
  CHECK(log == Log{"a cancelled", "b cancelled", "b ends", "a ends"});
}

TEST_CASE("a task that main left is done after run, also when it is held",
          "[runners][test_runners.test_asyncio_run_cancels_hanging_tasks]") {
  AnyTask left;
  auto main = [&]() -> Coroutine<int> {
    left = asyncio::create_task(asyncio::sleep(1000));
    co_return 123;
  };
  CHECK(asyncio::run(main()) == 123);
  CHECK(left.done());
  CHECK(left.cancelled());
}

TEST_CASE("run cancels what main left also when main raises",
          "[runners][test_runners.test_asyncio_run_cancels_hanging_tasks]") {
  AnyTask left;
  auto main = [&]() -> Coroutine<void> {
    left = asyncio::create_task(asyncio::sleep(1000));
    co_await fails();
  };
  CHECK_THROWS_AS(asyncio::run(main()), asyncio::ValueError);
  CHECK(left.cancelled());
}

TEST_CASE("run reports the tasks that answer their cancellation with an exception",
          "[runners][test_runners.test_asyncio_run_reports_hanging_tasks_errors]") {
  Contexts caught;
  AnyTask left;
  auto leftover = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      throw asyncio::ValueError("division by zero");
    }
  };
  auto main = [&]() -> Coroutine<int> {
    catch_exceptions(caught);
    left = asyncio::create_task(leftover());
    co_await asyncio::sleep(0);
    co_return 123;
  };
  CHECK(asyncio::run(main()) == 123);
  CHECK(left.done());
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "unhandled exception during asyncio.run() shutdown");
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: division by zero");
  CHECK(caught[0].future == left);
}

TEST_CASE("run raises main's exception when a task that is left fails, too",
          "[runners][test_runners.test_asyncio_run_closes_gens_after_hanging_tasks_errors]") {
  Contexts caught;
  AnyTask left;
  auto leftover = [](Instance) -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      throw asyncio::KeyError("left");
    }
  };
  auto main = [&]() -> Coroutine<void> {
    catch_exceptions(caught);
    left = asyncio::create_task(leftover(Instance()));
    co_await fails();
  };
  CHECK(test::thrown([&] { asyncio::run(main()); }) == "std::invalid_argument: spam");
  CHECK(left.done());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task that is made while run ends is destroyed pending", "[runners][rule-7]") {
  Contexts caught;
  auto latecomer = [](Instance) -> Coroutine<void> { co_await asyncio::sleep(1000); };
  auto leftover = [&]() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      asyncio::create_task(latecomer(Instance()));
    }
  };
  auto main = [&]() -> Coroutine<void> {
    catch_exceptions(caught);
    asyncio::create_task(leftover());
    co_await asyncio::sleep(0);
  };
  asyncio::run(main());
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task was destroyed but it is pending!");
  CHECK(caught[0].future.cancelled());
  caught.clear();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a KeyboardInterrupt of a task that is left comes out of run", "[runners][rule-6]") {
  auto leftover = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      throw KeyboardInterrupt();
    }
  };
  Contexts caught;
  auto main = [&]() -> Coroutine<int> {
    catch_exceptions(caught);
    asyncio::create_task(asyncio::sleep(1000));
    asyncio::create_task(leftover());
    asyncio::create_task(asyncio::sleep(1000));
    co_await asyncio::sleep(0);
    co_return 1;
  };
  CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
}

TEST_CASE("KeyboardInterrupt and SystemExit of main come out of run, and are not reported besides",
          "[runners][rule-6]") {
  Contexts caught;
  SECTION("KeyboardInterrupt") {
    auto main = [&]() -> Coroutine<void> {
      catch_exceptions(caught);
      throw KeyboardInterrupt();
      co_return;
    };
    CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
  }
  SECTION("SystemExit") {
    auto main = [&]() -> Coroutine<void> {
      catch_exceptions(caught);
      throw asyncio::SystemExit(3);
      co_return;
    };
    CHECK_THROWS_AS(asyncio::run(main()), asyncio::SystemExit);
  }
  CHECK(caught.empty());
}

TEST_CASE("run cancels the tasks that are left when main raises SystemExit", "[runners][rule-6]") {
  AnyTask left;
  auto main = [&]() -> Coroutine<void> {
    left = asyncio::create_task(asyncio::sleep(1000));
    co_await asyncio::sleep(0);
    throw asyncio::SystemExit(3);
  };
  CHECK_THROWS_AS(asyncio::run(main()), asyncio::SystemExit);
  CHECK(left.cancelled());
}

TEST_CASE("run makes its loop this thread's loop, and leaves none behind",
          "[runners][test_runners.test_asyncio_run_set_event_loop]") {
  auto main = []() -> Coroutine<bool> { co_return &asyncio::get_event_loop() == &asyncio::get_running_loop(); };
  CHECK(asyncio::run(main()));
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
  CHECK_THROWS_AS(asyncio::get_event_loop(), asyncio::RuntimeError);
}

TEST_CASE("run runs on the loop that its loop_factory makes, and destroys it",
          "[runners][test_runners.test_asyncio_run_loop_factory]") {
  auto main = []() -> Coroutine<bool> {
    co_await asyncio::sleep(1e6);
    co_return dynamic_cast<CountedLoop*>(&asyncio::get_running_loop()) != nullptr;
  };
  CHECK(asyncio::run(main(), {.loop_factory = virtual_clock}));
  CHECK(CountedLoop::alive == 0);
}

TEST_CASE("new_event_loop is a loop_factory", "[runners][test_runners.test_loop_factory_default_event_loop]") {
  CHECK(asyncio::run(returns(1), {.loop_factory = asyncio::new_event_loop}) == 1);
}

TEST_CASE("run with a loop_factory does not touch this thread's loop",
          "[runners][test_runners.test_asyncio_run_loop_factory]") {
  TestLoop mine;
  asyncio::set_event_loop(&mine);
  asyncio::run(nothing(), {.loop_factory = virtual_clock});
  CHECK(&asyncio::get_event_loop() == &mine);
  asyncio::set_event_loop(nullptr);
}

TEST_CASE("a loop_factory that makes no loop is an error, not a crash", "[runners][rule-8]") {
  constexpr auto none = []() -> std::unique_ptr<EventLoop> { return nullptr; };
  CHECK_THROWS_AS(asyncio::run(returns(1), {.loop_factory = none}), std::exception);
}

TEST_CASE("run works in any thread", "[runners]") {
  int result = 0;
  std::thread([&] { result = asyncio::run(returns(4)); }).join();
  CHECK(result == 4);
}

// ---- Runner ------------------------------------------------------------------------------------------

TEST_CASE("a runner's loop has the debug mode that the runner was told",
          "[runners][test_runners.test_debug][test_runners.test_non_debug]") {
  Runner debug({.debug = true}), plain({.debug = false});
  CHECK(debug.get_loop().get_debug());
  CHECK_FALSE(plain.get_loop().get_debug());
}

TEST_CASE("a runner gets its loop from its loop_factory, once", "[runners][test_runners.test_custom_factory]") {
  Runner runner({.loop_factory = virtual_clock});
  CHECK(CountedLoop::alive == 0);
  EventLoop& loop = runner.get_loop();
  CHECK(dynamic_cast<CountedLoop*>(&loop) != nullptr);
  CHECK(&runner.get_loop() == &loop);
  CHECK(CountedLoop::alive == 1);
}

TEST_CASE("a runner runs coroutine after coroutine on one loop", "[runners][test_runners.test_run]") {
  Runner runner;
  EventLoop* const loop = runner.run(tells_loop());
  CHECK(loop == &runner.get_loop());
  CHECK(runner.run(tells_loop()) == loop);
  CHECK(runner.run(returns(3)) == 3);
}

TEST_CASE("a task that one run of a runner left goes on in the next", "[runners][test_runners.test_run]") {
  Runner runner({.loop_factory = virtual_clock});
  int steps = 0;
  auto spinner = [&]() -> Coroutine<void> {
    for (;; ++steps) co_await asyncio::sleep(1);
  };
  auto start = [&]() -> Coroutine<void> {
    asyncio::create_task(spinner());
    co_await asyncio::sleep(2.5);
  };
  auto wait = []() -> Coroutine<void> { co_await asyncio::sleep(3); };
  runner.run(start());
  CHECK(steps == 2);
  runner.run(wait());
  CHECK(steps == 5);
}

TEST_CASE("a runner goes on after a main that raised", "[runners][test_runners.test_run]") {
  Runner runner;
  CHECK_THROWS_AS(runner.run(fails()), asyncio::ValueError);
  CHECK(runner.run(returns(1)) == 1);
  auto leaves = []() -> Coroutine<void> {
    throw asyncio::SystemExit(3);
    co_return;
  };
  CHECK_THROWS_AS(runner.run(leaves()), asyncio::SystemExit);
  CHECK(runner.run(returns(2)) == 2);
}

TEST_CASE("a runner takes a callable, and keeps what it captured", "[runners][test_runners.test_run]") {
  Runner runner;
  auto main = [value = std::make_unique<int>(5)]() -> Coroutine<int> {
    co_await asyncio::sleep(0);
    co_return *value;
  };
  CHECK(runner.run(std::move(main)) == 5);
}

namespace {

Coroutine<int> exchange(asyncio::ContextVar<int>& variable, int value) {
  const int old = variable.get();
  co_await asyncio::sleep(0);
  variable.set(value);
  co_return old;
}

}  // namespace

TEST_CASE("all that a runner runs shares one context, which the caller does not see",
          "[runners][test_runners.test_run_keeps_context]") {
  asyncio::ContextVar<int> variable("cvar", -1);
  Runner runner;
  CHECK(runner.run(exchange(variable, 1)) == -1);
  CHECK(runner.run(exchange(variable, 2)) == 1);
  CHECK(runner.run(exchange(variable, 3)) == 2);
  CHECK(variable.get() == -1);
}

TEST_CASE("a coroutine that a runner runs in a context of its own leaves the runner's as it was",
          "[runners][test_runners.test_run]") {
  asyncio::ContextVar<int> variable("cvar", -1);
  asyncio::Context own;
  own.run([&] { variable.set(5); });
  Runner runner;
  CHECK(runner.run(exchange(variable, 1), &own) == 5);
  CHECK(runner.run(exchange(variable, 2)) == -1);
  CHECK(runner.run([&] { return exchange(variable, 7); }, &own) == 1);
  CHECK(runner.run(exchange(variable, 3)) == 2);
  CHECK(own.run([&] { return variable.get(); }) == 7);
  CHECK(variable.get() == -1);
}

TEST_CASE("a runner's context is a copy of the one in which its loop was made",
          "[runners][test_runners.test_run_keeps_context]") {
  asyncio::ContextVar<int> variable("cvar");
  const auto get = [&]() -> Coroutine<int> { co_return variable.get(); };
  asyncio::Context().run([&] {
    Runner runner;
    variable.set(1);
    runner.get_loop();
    variable.set(2);
    CHECK(runner.run(get()) == 1);
    CHECK(variable.get() == 2);
  });
}

TEST_CASE("close closes the runner's loop", "[runners][test_runners.test_explicit_close]") {
  Runner runner;
  const Future<void> future(runner.get_loop());
  runner.close();
  CHECK(test::thrown([&] { return &future.get_loop(); }) == "std::runtime_error: Event loop is closed");
}

TEST_CASE("a closed runner has no loop and runs nothing",
          "[runners][rule-8][test_runners.test_explicit_close][test_runners.test_second_with_block_raises]") {
  Runner runner;
  CHECK(runner.run(returns(1)) == 1);
  runner.close();
  CHECK(test::thrown([&] { return &runner.get_loop(); }) == "std::runtime_error: Runner is closed");
  CHECK(test::thrown([&] { return runner.run(returns(2)); }) == "std::runtime_error: Runner is closed");
}

TEST_CASE("closing a runner twice has no further effect", "[runners][test_runners.test_double_close]") {
  Runner runner({.loop_factory = virtual_clock});
  runner.get_loop();
  runner.close();
  CHECK(CountedLoop::alive == 0);
  runner.close();
  CHECK_THROWS_AS(runner.get_loop(), asyncio::RuntimeError);
}

TEST_CASE("close of a runner that has not made its loop yet changes nothing",
          "[runners][test_runners.test_double_close]") {
  Runner runner;
  runner.close();
  CHECK(runner.run(returns(1)) == 1);
}

TEST_CASE("the end of a runner cancels the tasks that are left", "[runners][test_runners.test_run]") {
  AnyTask left;
  {
    Runner runner;
    auto main = [&]() -> Coroutine<void> {
      left = asyncio::create_task(asyncio::sleep(1000));
      co_return;
    };
    runner.run(main());
    CHECK_FALSE(left.done());
  }
  CHECK(left.cancelled());
}

TEST_CASE("a runner cannot run inside its own run", "[runners][rule-8][test_runners.test_recursive_run]") {
  Runner runner;
  auto main = [&]() -> Coroutine<int> { co_return runner.run(returns(1)); };
  const std::string error = test::thrown([&] { return runner.run(main()); });
  CHECK(error.find("cannot be called from a running event loop") != std::string::npos);
  CHECK(runner.run(returns(2)) == 2);
}

TEST_CASE("a runner sets this thread's loop once, and unsets it at its end",
          "[runners][test_runners.test_set_event_loop_called_once]") {
  TestLoop other;
  {
    Runner runner;
    runner.run(nothing());
    CHECK(&asyncio::get_event_loop() == &runner.get_loop());
    asyncio::set_event_loop(&other);
    runner.run(nothing());
    CHECK(&asyncio::get_event_loop() == &other);
  }
  CHECK_THROWS_AS(asyncio::get_event_loop(), asyncio::RuntimeError);
}

// ---- Ctrl-C ------------------------------------------------------------------------------------------

TEST_CASE("SIGINT cancels a main that never waits for a future, and becomes KeyboardInterrupt",
          "[runners][sigint][test_runners.test_interrupt_call_soon]") {
  const DefaultSigint sigint;
  bool cancelled = false;
  auto main = [&]() -> Coroutine<void> {
    asyncio::get_running_loop().call_soon(interrupt_self);
    try {
      for (;;) co_await asyncio::sleep(0);
    } catch (const CancelledError&) {
      cancelled = true;
      throw;
    }
  };
  Runner runner;
  CHECK_THROWS_AS(runner.run(main()), KeyboardInterrupt);
  CHECK(cancelled);
}

TEST_CASE("SIGINT cancels a main that waits, with the future it waits for",
          "[runners][sigint][test_runners.test_interrupt_wait]") {
  const DefaultSigint sigint;
  Runner runner;
  const Future<void> future(runner.get_loop());
  auto main = [&]() -> Coroutine<void> {
    asyncio::get_running_loop().call_soon(interrupt_self);
    co_await future;
  };
  CHECK_THROWS_AS(runner.run(main()), KeyboardInterrupt);
  CHECK(future.cancelled());
}

TEST_CASE("SIGINT wakes a loop that has nothing to do", "[runners][sigint][test_runners.test_interrupt_wait]") {
  const DefaultSigint sigint;
  std::thread sender;
  auto main = [&]() -> Coroutine<void> {
    sender = std::thread([thread = ::pthread_self()] { ::pthread_kill(thread, SIGINT); });
    co_await waits_for_ever();
  };
  CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
  sender.join();
}

TEST_CASE("SIGINT that main sends to itself is delivered at its next await",
          "[runners][sigint][test_runners.test_interrupt_wait]") {
  const DefaultSigint sigint;
  auto main = []() -> Coroutine<void> {
    interrupt_self();
    co_await waits_for_ever();
  };
  CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
}

TEST_CASE("SIGINT in main's last step is not lost", "[runners][sigint]") {
  const DefaultSigint sigint;
  auto main = []() -> Coroutine<int> {
    interrupt_self();
    co_return 5;
  };
  CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
}

TEST_CASE("SIGINT after main was cancelled does not turn its CancelledError into KeyboardInterrupt",
          "[runners][sigint][test_runners.test_interrupt_cancelled_task]") {
  const DefaultSigint sigint;
  auto subtask = [](AnyTask main) -> Coroutine<void> {
    co_await asyncio::sleep(0);
    main.cancel();
    interrupt_self();
  };
  auto main = [&]() -> Coroutine<void> {
    asyncio::create_task(subtask(asyncio::current_task()));
    co_await waits_for_ever();
  };
  CHECK_THROWS_AS(asyncio::run(main()), CancelledError);
}

TEST_CASE("SIGINT while a cancelled main cleans up leaves its CancelledError what it is",
          "[runners][sigint][test_runners.test_interrupt_cancelled_task]") {
  const DefaultSigint sigint;
  int cancelling = 0;
  auto main = [&]() -> Coroutine<void> {
    const AnyTask me = asyncio::current_task();
    asyncio::get_running_loop().call_soon([me] { me.cancel(); });
    std::exception_ptr cancelled;
    try {
      co_await waits_for_ever();
    } catch (const CancelledError&) {
      cancelled = std::current_exception();
    }
    interrupt_self();
    try {
      co_await waits_for_ever();
    } catch (const CancelledError&) {
      cancelling = me.cancelling();
    }
    std::rethrow_exception(cancelled);
  };
  CHECK_THROWS_AS(asyncio::run(main()), CancelledError);
  CHECK(cancelling == 2);
}

TEST_CASE("a main that swallows the first SIGINT returns its result", "[runners][sigint]") {
  const DefaultSigint sigint;
  auto main = []() -> Coroutine<std::string> {
    try {
      co_await interrupted_by_itself();
    } catch (const CancelledError&) {}
    co_await asyncio::sleep(0);
    co_return "saved";
  };
  CHECK(asyncio::run(main()) == "saved");
}

TEST_CASE("a main that answers SIGINT with another exception raises that", "[runners][sigint]") {
  const DefaultSigint sigint;
  auto main = []() -> Coroutine<void> {
    try {
      co_await interrupted_by_itself();
    } catch (const CancelledError&) {
      throw asyncio::ValueError("spam");
    }
  };
  CHECK_THROWS_AS(asyncio::run(main()), asyncio::ValueError);
}

TEST_CASE("the second SIGINT is KeyboardInterrupt at once: main, which swallowed the first, is left pending",
          "[runners][sigint]") {
  const DefaultSigint sigint;
  int cancelled = 0;
  auto main = [&]() -> Coroutine<void> {
    while (cancelled < 2) {
      try {
        co_await interrupted_by_itself();
      } catch (const CancelledError&) {
        ++cancelled;
      }
    }
  };
  Runner runner;
  CHECK_THROWS_AS(runner.run(main()), KeyboardInterrupt);
  CHECK(cancelled == 1);
  CHECK(asyncio::all_tasks(runner.get_loop()).size() == 1);
}

TEST_CASE("a main that the second SIGINT left pending is cancelled when the runner ends", "[runners][sigint]") {
  const DefaultSigint sigint;
  int cancelled = 0;
  auto main = [&]() -> Coroutine<void> {
    while (cancelled < 2) {
      try {
        co_await interrupted_by_itself();
      } catch (const CancelledError&) {
        ++cancelled;
      }
    }
  };
  CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
  CHECK(cancelled == 2);
}

TEST_CASE("run cancels the tasks that are left after a KeyboardInterrupt", "[runners][sigint]") {
  const DefaultSigint sigint;
  AnyTask left;
  auto main = [&]() -> Coroutine<void> {
    left = asyncio::create_task(asyncio::sleep(1000));
    co_await interrupted_by_itself();
  };
  CHECK_THROWS_AS(asyncio::run(main()), KeyboardInterrupt);
  CHECK(left.cancelled());
}

TEST_CASE("a runner counts the SIGINTs of each run anew", "[runners][sigint]") {
  const DefaultSigint sigint;
  Runner runner;
  int cancelled = 0;
  auto main = [&]() -> Coroutine<void> {
    try {
      co_await interrupted_by_itself();
    } catch (const CancelledError&) {
      ++cancelled;
      throw;
    }
  };
  CHECK_THROWS_AS(runner.run(main()), KeyboardInterrupt);
  CHECK(runner.run(returns(1)) == 1);
  CHECK_THROWS_AS(runner.run(main()), KeyboardInterrupt);
  CHECK(cancelled == 2);
}

TEST_CASE("the runner catches SIGINT only while it runs", "[runners][sigint]") {
  const DefaultSigint sigint;
  Runner runner;
  runner.get_loop();
  CHECK(sigint_is_default());
  auto main = []() -> Coroutine<bool> { co_return sigint_is_default(); };
  CHECK_FALSE(runner.run(main()));
  CHECK(sigint_is_default());
}

TEST_CASE("SIGINT has its default action again after run, however that ended", "[runners][sigint]") {
  const DefaultSigint sigint;
  SECTION("with a result") { CHECK(asyncio::run(returns(1)) == 1); }
  SECTION("with an exception") { CHECK_THROWS_AS(asyncio::run(fails()), asyncio::ValueError); }
  SECTION("with a KeyboardInterrupt") { CHECK_THROWS_AS(asyncio::run(interrupted_by_itself()), KeyboardInterrupt); }
  CHECK(sigint_is_default());
}

TEST_CASE("a runner leaves a SIGINT handler of the program alone",
          "[runners][sigint][test_runners.test_signal_install_not_supported_ok]") {
  const DefaultSigint sigint;
  struct sigaction action = {};
  action.sa_handler = user_handler;
  ::sigaction(SIGINT, &action, nullptr);
  user_handler_calls = 0;
  auto main = []() -> Coroutine<int> {
    interrupt_self();
    co_await asyncio::sleep(0);
    co_await asyncio::sleep(0);
    co_return 1;
  };
  CHECK(asyncio::run(main()) == 1);
  CHECK(user_handler_calls == 1);
  CHECK((action_of(SIGINT) == &user_handler));
}

TEST_CASE("a SIGINT handler that main gives to the loop takes the place of the runner's, also in later runs",
          "[runners][sigint]") {
  const DefaultSigint sigint;
  int calls = 0;
  auto interrupted = [&]() -> Coroutine<int> {
    interrupt_self();
    for (int i = 0; i < 3; ++i) co_await asyncio::sleep(0);
    co_return calls;
  };
  auto main = [&]() -> Coroutine<int> {
    asyncio::get_running_loop().add_signal_handler(SIGINT, [&] { ++calls; });
    co_return co_await interrupted();
  };
  {
    Runner runner;
    CHECK(runner.run(main()) == 1);
    REQUIRE_FALSE(sigint_is_default());
    CHECK(runner.run(interrupted()) == 2);
  }
  CHECK(sigint_is_default());
}

TEST_CASE("a runner in another thread leaves SIGINT alone",
          "[runners][sigint][test_runners.test_signal_install_not_supported_ok]") {
  const DefaultSigint sigint;
  bool was_default = false;
  auto main = []() -> Coroutine<bool> { co_return sigint_is_default(); };
  std::thread([&] { was_default = asyncio::run(main()); }).join();
  CHECK(was_default);
}
