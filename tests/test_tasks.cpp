// Tasks: how they are made, what they have in common with futures, names, current_task and all_tasks, sleep.
// Upstream counterpart: Lib/test/test_asyncio/test_tasks.py, BaseTaskTests, BaseCurrentLoopTests and SleepTests.
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "tests/utils.hpp"

namespace {

using asyncio::AnyFuture;
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
using test::makes_unique;
using test::nothing;
using test::returns;
using test::SetEventLoop;
using test::sleeps;
using test::TestLoop;
using test::waits_for;

Coroutine<std::string> says_ok() { co_return "ok"; }

}  // namespace

// ---- making tasks ------------------------------------------------------------------------------------

TEST_CASE("a task made before the loop runs keeps what its coroutine returns", "[tasks][test_tasks.test_task_class]") {
  TestLoop loop;
  SECTION("with create_task") {
    const Task<std::string> task = loop.create_task(says_ok());
    CHECK_FALSE(task.done());
    CHECK(loop.run_until_complete(task) == "ok");
    CHECK(task.done());
  }
  SECTION("with the constructor") {
    const Task<std::string> task(says_ok(), loop);
    CHECK_FALSE(task.done());
    loop.run_until_complete(Future<std::string>(task));
    CHECK(task.done());
  }
}

TEST_CASE("a task knows the loop it was made for", "[tasks][test_tasks.test_task_class]") {
  TestLoop loop, other;
  const Task<void> task(nothing(), loop);
  const Task<void> others = other.create_task(nothing());
  CHECK(&task.get_loop() == &loop);
  CHECK(&others.get_loop() == &other);
  loop.run_until_complete(task);
  other.run_until_complete(others);
}

TEST_CASE("Task(coro) belongs to the loop that is set for this thread", "[tasks][test_tasks.test_task_class]") {
  TestLoop loop;
  const SetEventLoop set(loop);
  const Task<void> task{nothing()};
  CHECK(&task.get_loop() == &loop);
  loop.run_until_complete(task);
}

TEST_CASE("a finished task can be asked for its result again and again", "[tasks][test_tasks.test_task_class]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(says_ok());
  test::run_briefly(loop);
  CHECK(task.result() == "ok");
  CHECK(task.result() == "ok");
  CHECK(task.exception() == nullptr);
  CHECK_FALSE(task.cancelled());
}

TEST_CASE("result and exception of a pending task are InvalidStateError", "[tasks][rule-8]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1));
  CHECK_THROWS_AS(task.result(), asyncio::InvalidStateError);
  CHECK_THROWS_AS(task.exception(), asyncio::InvalidStateError);
  loop.run_until_complete(task);
}

TEST_CASE("run_until_complete wraps a coroutine in a task of its own", "[tasks][test_tasks.test_task_basics]") {
  TestLoop loop;
  auto inner = [](int value) -> Coroutine<int> { co_return value; };
  auto outer = [&]() -> Coroutine<int> {
    const int a = co_await inner(42);
    const int b = co_await inner(1000);
    co_return a + b;
  };
  CHECK(loop.run_until_complete(outer()) == 1042);
}

TEST_CASE("a task that waits for a future goes on with the future's value",
          "[tasks][test_tasks.test_step_result_future]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  CHECK_FALSE(task.done());
  future.set_result(7);
  test::run_briefly(loop);
  CHECK(task.result() == 7);
}

TEST_CASE("a task that waits for a future is raised the future's exception",
          "[tasks][test_tasks.test_step_result_future]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_briefly(loop);
  future.set_exception(asyncio::ValueError("spam"));
  CHECK(test::thrown([&] { return loop.run_until_complete(task); }) == "std::invalid_argument: spam");
}

TEST_CASE("a task may wait for a future that a timer sets", "[tasks][test_tasks.test_foobar]") {
  TestLoop loop;
  const Future<int> future = loop.create_future<int>();
  loop.call_later(0.1, [=] { future.set_result(1); });
  CHECK(loop.run_until_complete(loop.create_task(waits_for(future))) == 1);
  CHECK(loop.time() == 0.1);
}

TEST_CASE("a coroutine that returns a future gives the future itself, not its result",
          "[tasks][test_tasks.test_coroutine_non_gen_function_return_future]") {
  TestLoop loop;
  const Future<int> future(loop);
  auto gives = [&]() -> Coroutine<Future<int>> { co_return future; };
  auto sets = [&]() -> Coroutine<void> {
    future.set_result(3);
    co_return;
  };
  const Task<Future<int>> giver = loop.create_task(gives());
  const Task<void> setter = loop.create_task(sets());
  CHECK(loop.run_until_complete(giver) == future);
  CHECK(setter.done());
}

TEST_CASE("several tasks that wait for one future all get its value, in the order they came", "[tasks][rule-3]") {
  TestLoop loop;
  const Future<int> future(loop);
  std::vector<int> log;
  auto waiter = [&](int number) -> Coroutine<void> {
    const int value = co_await future;
    log.push_back(number * 100 + value);
  };
  for (int number : {1, 2, 3}) loop.create_task(waiter(number));
  test::run_once(loop);
  future.set_result(7);
  test::run_once(loop);
  CHECK(log == std::vector<int>{107, 207, 307});
}

TEST_CASE("several tasks may wait for one task, before it is done and after", "[tasks]") {
  TestLoop loop;
  const Task<int> source = loop.create_task(later(1, 5));
  auto waiter = [&]() -> Coroutine<int> { co_return co_await source; };
  const Task<int> a = loop.create_task(waiter()), b = loop.create_task(waiter());
  CHECK(loop.run_until_complete(a) == 5);
  CHECK(loop.run_until_complete(b) == 5);
  CHECK(loop.run_until_complete(waiter()) == 5);
}

TEST_CASE("co_await of a task lvalue leaves the result in the task", "[tasks]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(says_ok());
  auto main = [&]() -> Coroutine<std::string> { co_return co_await task; };
  CHECK(loop.run_until_complete(main()) == "ok");
  CHECK(task.result() == "ok");
}

TEST_CASE("co_await of a moved task takes a move-only result out", "[tasks]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    Task<std::unique_ptr<int>> task = asyncio::create_task(makes_unique(6));
    const std::unique_ptr<int> result = co_await std::move(task);
    co_return *result;
  };
  CHECK(loop.run_until_complete(main()) == 6);
}

TEST_CASE("co_await of a moved task copies the result while somebody else holds the task", "[tasks]") {
  TestLoop loop;
  const Task<std::string> held = loop.create_task(says_ok());
  auto main = [&]() -> Coroutine<std::string> {
    Task<std::string> mine = held;
    co_return co_await std::move(mine);
  };
  CHECK(loop.run_until_complete(main()) == "ok");
  CHECK(held.result() == "ok");
}

TEST_CASE("run_until_complete moves a task's move-only result out", "[tasks]") {
  TestLoop loop;
  const std::unique_ptr<int> result = loop.run_until_complete(loop.create_task(makes_unique(9)));
  CHECK(*result == 9);
}

TEST_CASE("a task whose references were all dropped runs to its end", "[tasks]") {
  TestLoop loop;
  bool ended = false;
  auto body = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(1);
    ended = true;
  };
  loop.create_task(body());
  loop.run_until_complete(sleeps(2));
  CHECK(ended);
}

TEST_CASE("a done task has freed its coroutine and its arguments, however long it is held", "[tasks][rule-7]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(holds(Instance(), future));
  test::run_once(loop);
  CHECK(Instance::alive() == 1);
  future.set_result();
  loop.run_until_complete(task);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task's done callbacks are called after its end, in the order they were added", "[tasks][rule-3]") {
  TestLoop loop;
  Log log;
  auto body = [&]() -> Coroutine<void> {
    log.push_back("body");
    co_return;
  };
  const Task<void> task = loop.create_task(body());
  task.add_done_callback([&](const Future<void>& future) { log.push_back(future == task ? "first" : "?"); });
  task.add_done_callback([&](const Future<void>&) { log.push_back("second"); });
  test::run_briefly(loop);
  CHECK(log == Log{"body", "first", "second"});
}

TEST_CASE("a hundred tasks whose results do work when they are destroyed all end",
          "[tasks][test_tasks.test_task_del_collect]") {
  TestLoop loop;
  auto body = [](int) -> Coroutine<Instance> { co_return Instance(); };
  {
    std::vector<Task<Instance>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(loop.create_task(body(i)));
    test::run_briefly(loop);
    for (const auto& task : tasks) CHECK(task.done());
    CHECK(Instance::alive() == 100);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("create_task takes a task's coroutine for good: the coroutine can be used once",
          "[tasks][rule-8][test_tasks.test_create_task_with_noncoroutine]") {
  TestLoop loop;
  SECTION("a moved-from coroutine") {
    Coroutine<int> coroutine = returns(1);
    const Task<int> task = loop.create_task(std::move(coroutine));
    CHECK_THROWS_AS(loop.create_task(std::move(coroutine)), asyncio::RuntimeError);
    CHECK(loop.run_until_complete(task) == 1);
  }
  SECTION("an awaited coroutine") {
    auto main = []() -> Coroutine<void> {
      Coroutine<int> coroutine = returns(1);
      const int value = co_await coroutine;
      CHECK(value == 1);
      CHECK_THROWS_AS(asyncio::create_task(std::move(coroutine)), asyncio::RuntimeError);
    };
    loop.run_until_complete(main());
  }
  SECTION("no coroutine at all") {
    CHECK_THROWS_AS(loop.create_task(Coroutine<int>()), asyncio::RuntimeError);
    CHECK(asyncio::all_tasks(loop).empty());
  }
}

TEST_CASE("a coroutine that was driven by hand cannot become a task", "[tasks][rule-8]") {
  TestLoop loop;
  const Future<int> future(loop);
  Coroutine<int> coroutine = waits_for(future);
  coroutine.send();
  CHECK_THROWS_AS(loop.create_task(std::move(coroutine)), asyncio::RuntimeError);
}

TEST_CASE("create_task on a closed loop is an error and leaves no task behind",
          "[tasks][rule-8][test_tasks.test_error_in_call_soon]") {
  TestLoop loop;
  loop.close();
  const Future<void> future(loop);
  CHECK(test::thrown([&] { return loop.create_task(holds(Instance(), future)); }) ==
        "std::runtime_error: Event loop is closed");
  CHECK(Instance::alive() == 0);
  CHECK(asyncio::all_tasks(loop).empty());
}

TEST_CASE("the free create_task makes a task of the running loop", "[tasks][test_tasks.test_bare_create_task]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<int> {
    const Task<int> task = asyncio::create_task(returns(1));
    CHECK(&task.get_loop() == &loop);
    co_return co_await task;
  };
  CHECK(loop.run_until_complete(main()) == 1);
}

TEST_CASE("the free create_task names the task", "[tasks][test_tasks.test_bare_create_named_task]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    const Task<void> task = asyncio::create_task(nothing(), {.name = "No-op"});
    co_await task;
    co_return task.get_name();
  };
  CHECK(loop.run_until_complete(main()) == "No-op");
}

TEST_CASE("the free create_task without a running loop is RuntimeError",
          "[tasks][rule-8][test_tasks.test_bare_create_task]") {
  TestLoop loop;
  const SetEventLoop set(loop);
  CHECK(test::thrown([] { return asyncio::create_task(nothing()); }) == "std::runtime_error: no running event loop");
}

// ---- callables instead of coroutines -----------------------------------------------------------------

TEST_CASE("a callable given to create_task lives as long as the coroutine it made",
          "[tasks][test_tasks.test_create_task_with_async_function]") {
  TestLoop loop;
  const std::string text = "longer than any small string buffer, so that a dangling capture shows";
  const Task<std::string> task = loop.create_task([text]() -> Coroutine<std::string> {
    co_await asyncio::sleep(1);
    co_return text;
  });
  CHECK(loop.run_until_complete(task) == text);
}

TEST_CASE("the captures of a callable given to create_task are freed when the task is done", "[tasks][rule-7]") {
  TestLoop loop;
  const Task<void> task = loop.create_task([instance = Instance()]() -> Coroutine<void> {
    static_cast<void>(instance);
    co_await asyncio::sleep(1);
  });
  test::run_once(loop);
  CHECK(Instance::alive() == 1);
  loop.run_until_complete(task);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("the callable given to create_task may be move-only", "[tasks]") {
  TestLoop loop;
  const Task<int> task = loop.create_task([value = std::make_unique<int>(3)]() -> Coroutine<int> {
    co_await asyncio::sleep(0);
    co_return *value;
  });
  CHECK(loop.run_until_complete(task) == 3);
}

TEST_CASE("the free create_task takes a callable, too", "[tasks]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    auto body = [value = std::make_unique<int>(4)]() -> Coroutine<int> {
      co_await asyncio::sleep(0);
      co_return *value;
    };
    const Task<int> task = asyncio::create_task(std::move(body), {.name = "kept"});
    CHECK(task.get_name() == "kept");
    co_return co_await task;
  };
  CHECK(loop.run_until_complete(main()) == 4);
}

TEST_CASE("a plain coroutine function is a callable for create_task, too",
          "[tasks][test_tasks.test_create_task_with_asynclike_function]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(says_ok);
  CHECK(loop.run_until_complete(task) == "ok");
}

TEST_CASE("the callable given to create_task is not called before the first step", "[tasks][rule-5]") {
  TestLoop loop;
  bool called = false;
  const Task<int> task = loop.create_task([&] {
    called = true;
    return returns(2);
  });
  CHECK_FALSE(called);
  CHECK(loop.run_until_complete(task) == 2);
  CHECK(called);
}

// ---- ensure_future -----------------------------------------------------------------------------------

TEST_CASE("ensure_future makes a coroutine a task of the running loop",
          "[tasks][test_tasks.test_ensure_future_coroutine]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<std::string> {
    const Task<std::string> task = asyncio::ensure_future(says_ok());
    CHECK(&task.get_loop() == &loop);
    co_return co_await task;
  };
  CHECK(loop.run_until_complete(main()) == "ok");
}

TEST_CASE("ensure_future makes a coroutine a task of the loop that is set when none runs",
          "[tasks][test_tasks.test_ensure_future_coroutine]") {
  TestLoop loop;
  const SetEventLoop set(loop);
  const Task<std::string> task = asyncio::ensure_future(says_ok());
  CHECK(&task.get_loop() == &loop);
  CHECK(loop.run_until_complete(task) == "ok");
}

TEST_CASE("ensure_future of a coroutine without any loop is RuntimeError",
          "[tasks][rule-8][test_tasks.test_ensure_future_coroutine]") {
  std::string error;
  std::thread([&] { error = test::thrown([] { return asyncio::ensure_future(says_ok()); }); }).join();
  CHECK(error.find("There is no current event loop in thread") != std::string::npos);
}

TEST_CASE("ensure_future gives a future back as it is", "[tasks][test_tasks.test_ensure_future_future]") {
  TestLoop loop;
  const Future<std::string> future(loop);
  future.set_result("ko");
  const Future<std::string> ensured = asyncio::ensure_future(future);
  CHECK(ensured == future);
  CHECK(loop.run_until_complete(ensured) == "ko");
}

TEST_CASE("ensure_future gives a task back as it is", "[tasks][test_tasks.test_ensure_future_task]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(says_ok());
  const Task<std::string> ensured = asyncio::ensure_future(task);
  CHECK(ensured == task);
  CHECK(loop.run_until_complete(ensured) == "ok");
}

// ---- a task is a future ------------------------------------------------------------------------------

TEST_CASE("a Task is a Future", "[tasks][test_tasks.test_future_subclass]") {
  CHECK(std::is_base_of_v<Future<int>, Task<int>>);
  CHECK(std::is_convertible_v<Task<int>, Future<int>>);
  CHECK(std::is_convertible_v<Task<int>, AnyTask>);
  CHECK(std::is_convertible_v<Task<int>, AnyFuture>);
}

TEST_CASE("a task refuses set_result and set_exception and runs on",
          "[tasks][rule-8][test_tasks.test_task_set_methods]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(says_ok());
  CHECK(test::thrown([&] { task.set_result("ko"); }) ==
        "std::runtime_error: Task does not support set_result operation");
  CHECK(test::thrown([&] { task.set_exception(asyncio::ValueError("spam")); }) ==
        "std::runtime_error: Task does not support set_exception operation");
  CHECK(loop.run_until_complete(task) == "ok");
}

TEST_CASE("a task held as a Future refuses set_result and set_exception all the same",
          "[tasks][rule-8][test_tasks.test_set_result_causes_invalid_state]") {
  TestLoop loop;
  const Future<int> future = loop.create_task(returns(1));
  CHECK_THROWS_AS(future.set_result(2), asyncio::RuntimeError);
  CHECK_THROWS_AS(future.set_exception(asyncio::ValueError("spam")), asyncio::RuntimeError);
  CHECK(loop.run_until_complete(future) == 1);
}

TEST_CASE("a done task refuses set_result, too, and keeps its result", "[tasks][rule-8]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1));
  test::run_briefly(loop);
  CHECK_THROWS_AS(task.set_result(2), asyncio::RuntimeError);
  CHECK(task.result() == 1);
}

TEST_CASE("a task held as a Future is still the task: the same identity, and cancel cancels the coroutine",
          "[tasks][rule-5]") {
  TestLoop loop;
  bool cancelled = false;
  auto body = [&]() -> Coroutine<int> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      cancelled = true;
      throw;
    }
    co_return 1;
  };
  const Task<int> task = loop.create_task(body());
  const Future<int> future = task;
  test::run_once(loop);
  CHECK(future.cancel());
  CHECK_FALSE(task.done());
  CHECK(task.cancelling() == 1);
  test::run_briefly(loop);
  CHECK(cancelled);
  CHECK(future.cancelled());
}

TEST_CASE("references to one task of any type are equal, to two tasks are not", "[tasks]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1)), other = loop.create_task(returns(1));
  const Future<int> future = task;
  const AnyFuture any_future = task;
  const AnyTask any_task = task;
  CHECK(task == task);
  CHECK(task == future);
  CHECK(future == task);
  CHECK(task == any_future);
  CHECK(any_future == task);
  CHECK(task == any_task);
  CHECK(any_task == task);
  CHECK(future == any_task);
  CHECK(any_task == any_future);
  CHECK(task != other);
  CHECK(any_task != AnyTask(other));
  CHECK(future != Future<int>(other));
  test::run_briefly(loop);
}

TEST_CASE("references to one task of any type have one hash", "[tasks]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1));
  const AnyTask any_task = task;
  CHECK(std::hash<Task<int>>()(task) == std::hash<AnyTask>()(any_task));
  CHECK(std::hash<Future<int>>()(task) == std::hash<AnyFuture>()(task));
  std::unordered_set<AnyTask> tasks{any_task};
  CHECK(tasks.count(task) == 1);
  test::run_briefly(loop);
}

TEST_CASE("an AnyTask is null until it refers to a task", "[tasks]") {
  TestLoop loop;
  AnyTask any;
  CHECK_FALSE(any);
  any = loop.create_task(returns(1));
  CHECK(any);
  CHECK_FALSE(any.done());
  test::run_briefly(loop);
  CHECK(any.done());
}

// ---- names and repr ----------------------------------------------------------------------------------

TEST_CASE("tasks without a name are numbered, and the numbers grow",
          "[tasks][test_tasks.test_task_repr_autogenerated]") {
  TestLoop loop;
  const Task<void> a = loop.create_task(nothing()), b = loop.create_task(nothing());
  REQUIRE(a.get_name().substr(0, 5) == "Task-");
  REQUIRE(b.get_name().substr(0, 5) == "Task-");
  CHECK(std::stoll(a.get_name().substr(5)) < std::stoll(b.get_name().substr(5)));
  test::run_briefly(loop);
}

TEST_CASE("a task keeps a copy of the name it was given", "[tasks][test_tasks.test_task_set_name_pylong]") {
  TestLoop loop;
  std::string name = "a name that is too long for a small string buffer";
  const Task<void> task = loop.create_task(nothing(), {.name = name});
  name.assign(name.size(), '#');
  CHECK(task.get_name() == "a name that is too long for a small string buffer");
  test::run_briefly(loop);
  CHECK(task.get_name() == "a name that is too long for a small string buffer");
}

TEST_CASE("a task can be renamed at any time", "[tasks][test_tasks.test_task_set_name_pylong]") {
  TestLoop loop;
  const Task<void> task(nothing(), loop, {.name = "987654321"});
  CHECK(task.get_name() == "987654321");
  task.set_name("123456789");
  CHECK(task.get_name() == "123456789");
  loop.run_until_complete(task);
  task.set_name("done");
  CHECK(AnyTask(task).get_name() == "done");
}

TEST_CASE("a task's text tells its state and its name", "[tasks][test_tasks.test_task_repr]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(nothing(), {.name = "TestTask"});
  CHECK(task.repr().find("<Task pending name='TestTask'") == 0);
  loop.run_until_complete(task);
  CHECK(task.repr().find("<Task finished name='TestTask'") == 0);
}

TEST_CASE("the text of a task that is being cancelled says so, until it is cancelled",
          "[tasks][test_tasks.test_task_repr]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(nothing(), {.name = "TestTask"});
  task.cancel();
  CHECK(task.repr().find("<Task cancelling name='TestTask'") == 0);
  test::run_briefly(loop);
  CHECK(task.repr().find("<Task cancelled name='TestTask'") == 0);
}

TEST_CASE("the text of a failed task tells its exception", "[tasks][test_tasks.test_task_repr]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(fails("spam"));
  test::run_briefly(loop);
  CHECK(task.repr().find("exception=std::invalid_argument: spam") != std::string::npos);
  CHECK(task.exception());
}

TEST_CASE("the text of a waiting task tells what it waits for", "[tasks][test_tasks.test_task_repr_wait_for]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  CHECK(task.repr().find("wait_for=") == std::string::npos);
  test::run_briefly(loop);
  CHECK(task.repr().find("wait_for=" + future.repr()) != std::string::npos);
  future.set_result(1);
  loop.run_until_complete(task);
}

// ---- current_task and all_tasks ----------------------------------------------------------------------

TEST_CASE("current_task is the task that takes a step, and null outside of one",
          "[tasks][test_tasks.test_current_task]") {
  TestLoop loop;
  CHECK_FALSE(asyncio::current_task(loop));
  AnyTask seen, seen_by_default;
  auto body = [&]() -> Coroutine<void> {
    seen = asyncio::current_task(loop);
    seen_by_default = asyncio::current_task();
    co_return;
  };
  const Task<void> task = loop.create_task(body());
  loop.run_until_complete(task);
  CHECK(seen == task);
  CHECK(seen_by_default == task);
  CHECK_FALSE(asyncio::current_task(loop));
}

TEST_CASE("current_task in a coroutine that is awaited is the task that awaits it",
          "[tasks][test_tasks.test_current_task_with_implicit_loop]") {
  TestLoop loop;
  AnyTask seen;
  auto inner = [&]() -> Coroutine<void> {
    seen = asyncio::current_task();
    co_return;
  };
  auto outer = [&]() -> Coroutine<void> { co_await inner(); };
  const Task<void> task = loop.create_task(outer());
  test::run_briefly(loop);
  CHECK(seen == task);
}

TEST_CASE("current_task without a running loop is RuntimeError unless a loop is named",
          "[tasks][rule-8][test_tasks.test_current_task_no_running_loop_implicit]"
          "[test_tasks.test_current_task_no_running_loop]") {
  TestLoop loop;
  CHECK(test::thrown([] { return asyncio::current_task(); }) == "std::runtime_error: no running event loop");
  CHECK_FALSE(asyncio::current_task(loop));
}

TEST_CASE("current_task in a callback is null", "[tasks][test_tasks.test__leave_task]") {
  TestLoop loop;
  bool called = false;
  auto body = [&]() -> Coroutine<void> {
    loop.call_soon([&] {
      CHECK_FALSE(asyncio::current_task());
      called = true;
    });
    co_await asyncio::sleep(0);
    co_await asyncio::sleep(0);
  };
  loop.run_until_complete(body());
  CHECK(called);
}

TEST_CASE("current_task is right on both sides of an await when two tasks take turns",
          "[tasks][test_tasks.test_current_task_with_interleaving_tasks]") {
  TestLoop loop;
  const Future<void> first(loop), second(loop);
  std::vector<AnyTask> seen_a, seen_b;
  auto a = [&]() -> Coroutine<void> {
    seen_a.push_back(asyncio::current_task());
    co_await first;
    seen_a.push_back(asyncio::current_task());
    second.set_result();
  };
  auto b = [&]() -> Coroutine<void> {
    seen_b.push_back(asyncio::current_task());
    first.set_result();
    co_await second;
    seen_b.push_back(asyncio::current_task());
  };
  const Task<void> task_a = loop.create_task(a()), task_b = loop.create_task(b());
  loop.run_until_complete(task_b);
  CHECK(seen_a == std::vector<AnyTask>{task_a, task_a});
  CHECK(seen_b == std::vector<AnyTask>{task_b, task_b});
  CHECK_FALSE(asyncio::current_task(loop));
}

TEST_CASE("current_task is null after a task left the loop with a SystemExit",
          "[tasks][rule-6][test_tasks.test__leave_task]") {
  TestLoop loop;
  auto body = []() -> Coroutine<void> {
    throw asyncio::SystemExit(1);
    co_return;
  };
  CHECK_THROWS_AS(loop.run_until_complete(body()), asyncio::SystemExit);
  CHECK_FALSE(asyncio::current_task(loop));
}

TEST_CASE("all_tasks are the pending tasks of one loop",
          "[tasks][test_tasks.test__register_task_1]"
          "[test_tasks.test__register_task_3]") {
  TestLoop loop, other;
  CHECK(asyncio::all_tasks(loop).empty());
  const Future<int> future(loop);
  const Task<int> waiting = loop.create_task(waits_for(future)), quick = loop.create_task(returns(1));
  const Task<int> elsewhere = other.create_task(returns(1));
  CHECK(asyncio::all_tasks(loop) == std::vector<AnyTask>{waiting, quick});
  CHECK(asyncio::all_tasks(other) == std::vector<AnyTask>{elsewhere});
  test::run_briefly(loop);
  CHECK(asyncio::all_tasks(loop) == std::vector<AnyTask>{waiting});
  future.set_result(1);
  test::run_briefly(loop);
  CHECK(asyncio::all_tasks(loop).empty());
  other.run_until_complete(elsewhere);
}

TEST_CASE("all_tasks has the running task, and no task that is done", "[tasks][test_tasks.test__unregister_task]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::size_t> {
    const Task<int> quick = asyncio::create_task(returns(1));
    CHECK(asyncio::all_tasks() == std::vector<AnyTask>{asyncio::current_task(), quick});
    co_await quick;
    CHECK(asyncio::all_tasks() == std::vector<AnyTask>{asyncio::current_task()});
    co_return asyncio::all_tasks().size();
  };
  CHECK(loop.run_until_complete(main()) == 1);
  CHECK(asyncio::all_tasks(loop).empty());
}

TEST_CASE("all_tasks without a running loop is RuntimeError", "[tasks][rule-8]") {
  CHECK(test::thrown([] { return asyncio::all_tasks(); }) == "std::runtime_error: no running event loop");
}

// ---- sleep -------------------------------------------------------------------------------------------

TEST_CASE("sleep takes the time it was told, and returns the result it was given",
          "[tasks][sleep][test_tasks.test_sleep]") {
  TestLoop loop;
  auto sleeper = [](double seconds, std::string result) -> Coroutine<std::string> {
    co_await asyncio::sleep(seconds / 2);
    std::string slept = co_await asyncio::sleep(seconds / 2, result);
    co_return slept;
  };
  CHECK(loop.run_until_complete(sleeper(1, "yeah")) == "yeah");
  CHECK(loop.time() == 1);
}

TEST_CASE("sleep takes numbers of any type, and durations", "[tasks][sleep][test_tasks.test_sleep]") {
  using namespace std::chrono_literals;
  TestLoop loop;
  SECTION("int") {
    loop.run_until_complete(asyncio::sleep(2));
    CHECK(loop.time() == 2);
  }
  SECTION("float") {
    loop.run_until_complete(asyncio::sleep(0.5F));
    CHECK(loop.time() == 0.5);
  }
  SECTION("double") {
    loop.run_until_complete(asyncio::sleep(0.25));
    CHECK(loop.time() == 0.25);
  }
  SECTION("milliseconds") {
    loop.run_until_complete(asyncio::sleep(500ms));
    CHECK(loop.time() == 0.5);
  }
  SECTION("minutes, with a result") {
    CHECK(loop.run_until_complete(asyncio::sleep(2min, 7)) == 7);
    CHECK(loop.time() == 120);
  }
}

TEST_CASE("sleep may return a move-only result", "[tasks][sleep][test_tasks.test_sleep]") {
  TestLoop loop;
  CHECK(*loop.run_until_complete(asyncio::sleep(1, std::make_unique<int>(8))) == 8);
}

TEST_CASE("sleep of 0 lets what is ready run first, and returns its result",
          "[tasks][sleep][rule-1][test_tasks.test_sleep_zero]") {
  TestLoop loop;
  int result = 0;
  auto body = [&]() -> Coroutine<void> {
    loop.call_soon([&] { ++result; });
    CHECK(result == 0);
    const int number = co_await asyncio::sleep(0, 10);
    CHECK(result == 1);
    result += number;
  };
  loop.run_until_complete(body());
  CHECK(result == 11);
  CHECK(loop.time() == 0);
}

TEST_CASE("sleep of NaN is ValueError", "[tasks][sleep][rule-8][test_tasks.test_sleep_when_delay_is_nan]") {
  TestLoop loop;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(loop.run_until_complete(asyncio::sleep(nan)), asyncio::ValueError);
  CHECK_THROWS_AS(loop.run_until_complete(asyncio::sleep(nan, 1)), asyncio::ValueError);
}

TEST_CASE("sleepers wake in the order of their times, and equal ones in the order they went to sleep",
          "[tasks][sleep][rule-4]") {
  TestLoop loop;
  std::vector<int> log;
  auto sleeper = [&](int number, double seconds) -> Coroutine<void> {
    co_await asyncio::sleep(seconds);
    log.push_back(number);
  };
  loop.create_task(sleeper(1, 3));
  loop.create_task(sleeper(2, 1));
  loop.create_task(sleeper(3, 2));
  loop.create_task(sleeper(4, 1));
  loop.run_until_complete(sleeps(4));
  CHECK(log == std::vector<int>{2, 4, 3, 1});
}

TEST_CASE("a cancelled sleep cancels its timer", "[tasks][sleep][test_tasks.test_sleep_cancel]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(asyncio::sleep(10, std::string("yeah")));
  test::run_once(loop);
  task.cancel();
  test::run_briefly(loop);
  CHECK(task.cancelled());
  CHECK_THROWS_AS(loop.run_forever(), std::logic_error);  // no timer is left to wake the loop
  CHECK(loop.time() == 0);
}

TEST_CASE("a timer can cancel a task that sleeps for longer",
          "[tasks][sleep][test_tasks.test_task_cancel_sleeping_task]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<std::string> {
    const Task<void> sleeper = asyncio::create_task(sleeps(5000));
    loop.call_later(0.1, [sleeper] { sleeper.cancel(); });
    try {
      co_await sleeper;
    } catch (const CancelledError&) {
      co_return "cancelled";
    }
    co_return "slept in";
  };
  CHECK(loop.run_until_complete(main()) == "cancelled");
  CHECK(loop.time() == 0.1);
}

TEST_CASE("sleep is a coroutine: nothing happens before it is awaited", "[tasks][sleep]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Coroutine<void> later = asyncio::sleep(1);
    co_await asyncio::sleep(5);
    co_await later;
  };
  loop.run_until_complete(main());
  CHECK(loop.time() == 6);
}

TEST_CASE("what a task was cancelled with is told to the first who asks, as upstream does") {
  TestLoop loop;
  const asyncio::Task<void> task = loop.create_task(asyncio::sleep(1));
  std::vector<std::string> heard;
  const auto wait = [&]() -> asyncio::Coroutine<void> {
    try {
      co_await task;
    } catch (...) {
      heard.push_back(asyncio::describe(std::current_exception()));
    }
  };
  const asyncio::Task<void> first = loop.create_task(wait), second = loop.create_task(wait);
  run_once(loop, 2);
  task.cancel("boom");
  run_briefly(loop);
  CHECK(heard == std::vector<std::string>{"asyncio::CancelledError: boom", "asyncio::CancelledError"});
}

TEST_CASE("a task that cancels itself gets the value of an awaited task that swallows that", "[tasks][rule-5]") {
  TestLoop loop;
  auto swallows = []() -> Coroutine<int> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {}
    co_return 5;
  };
  auto main = [&]() -> Coroutine<int> {
    const Task<int> inner = asyncio::create_task(swallows());
    co_await asyncio::sleep(0);
    cancel_myself();
    const int value = co_await inner;
    co_await asyncio::sleep(0);
    co_return value;
  };
  CHECK(loop.run_until_complete(main()) == 5);
}

TEST_CASE("a task that is cancelled while its future's exception is on its way is thrown CancelledError",
          "[tasks][rule-5]") {
  TestLoop loop;
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future));
  test::run_once(loop);
  future.set_exception(asyncio::ValueError("spam"));
  task.cancel();
  test::run_briefly(loop);
  CHECK(task.cancelled());
}
