// Tasks: steps, cancellation, names, current_task and all_tasks, sleep, and what becomes of a task that is
// lost. Upstream counterpart: Lib/test/test_asyncio/test_tasks.py, but for gather, wait, wait_for, shield and
// as_completed.
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
using test::Log;
using test::makes_unique;
using test::NotesEnd;
using test::nothing;
using test::returns;

using test::later;
using test::SetEventLoop;
using test::sleeps;
using test::TestLoop;
using test::waits_for;

Coroutine<std::string> says_ok() { co_return "ok"; }

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

// ---- errors ------------------------------------------------------------------------------------------

TEST_CASE("what a coroutine raises is its task's exception", "[tasks][test_tasks.test_exception_traceback]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(fails("spam"));
  test::run_briefly(loop);
  CHECK(task.done());
  CHECK_FALSE(task.cancelled());
  CHECK(asyncio::describe(task.exception()) == "std::invalid_argument: spam");
  CHECK(test::thrown([&] { return task.result(); }) == "std::invalid_argument: spam");
}

TEST_CASE("whoever awaits a task is raised its exception", "[tasks][test_tasks.test_exception_chaining_after_await]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    const Task<int> task = asyncio::create_task(fails("spam"));
    try {
      co_await task;
    } catch (const asyncio::ValueError& error) {
      co_return error.what();
    }
    co_return "nothing was raised";
  };
  CHECK(loop.run_until_complete(main()) == "spam");
}

TEST_CASE("a task can raise what another exception's handler left it to raise",
          "[tasks][test_tasks.test_exception_chaining_after_await_with_context_cycle]") {
  TestLoop loop;
  auto raises = [](std::exception_ptr exception) -> Coroutine<void> {
    std::rethrow_exception(exception);
    co_return;
  };
  auto main = [&]() -> Coroutine<bool> {
    const auto original = std::make_exception_ptr(asyncio::KeyError("a"));
    const Task<void> task = asyncio::create_task(raises(original));
    try {
      co_await task;
    } catch (const asyncio::KeyError&) {
      co_return std::current_exception() == original;
    }
    co_return false;
  };
  CHECK(loop.run_until_complete(main()));
}

TEST_CASE("an exception of any type can come out of a task", "[tasks]") {
  TestLoop loop;
  auto body = []() -> Coroutine<void> {
    throw 42;
    co_return;
  };
  CHECK_THROWS_AS(loop.run_until_complete(body()), int);
}

TEST_CASE("an exception in a task does not leave the loop", "[tasks][rule-6]") {
  TestLoop loop;
  const Task<int> failing = loop.create_task(fails("spam")), other = loop.create_task(returns(1));
  CHECK(loop.run_until_complete(other) == 1);
  CHECK(failing.exception());
}

TEST_CASE("KeyboardInterrupt and SystemExit in a task leave run_forever, and are the task's exception",
          "[tasks][rule-6][test_tasks.test_baseexception_during_cancel]") {
  TestLoop loop;
  SECTION("KeyboardInterrupt") {
    const Task<void> task = loop.create_task([]() -> Coroutine<void> {
      throw asyncio::KeyboardInterrupt();
      co_return;
    });
    CHECK_THROWS_AS(loop.run_forever(), asyncio::KeyboardInterrupt);
    CHECK_THROWS_AS(std::rethrow_exception(task.exception()), asyncio::KeyboardInterrupt);
  }
  SECTION("SystemExit") {
    const Task<void> task = loop.create_task([]() -> Coroutine<void> {
      throw asyncio::SystemExit(3);
      co_return;
    });
    CHECK_THROWS_AS(loop.run_forever(), asyncio::SystemExit);
    CHECK_THROWS_AS(std::rethrow_exception(task.exception()), asyncio::SystemExit);
  }
}

TEST_CASE("the loop runs on, when it is started again, after a task's SystemExit left it", "[tasks][rule-6]") {
  TestLoop loop;
  const Task<void> fatal = loop.create_task([]() -> Coroutine<void> {
    throw asyncio::SystemExit(3);
    co_return;
  });
  const Task<int> other = loop.create_task(returns(1));
  CHECK_THROWS_AS(loop.run_until_complete(other), asyncio::SystemExit);
  CHECK_FALSE(other.done());
  CHECK_FALSE(loop.is_running());
  CHECK(loop.run_until_complete(other) == 1);
  CHECK(fatal.exception());
}

TEST_CASE("a task that answers its cancellation with SystemExit leaves the loop and is not cancelled",
          "[tasks][rule-6][test_tasks.test_baseexception_during_cancel]") {
  TestLoop loop;
  const Task<void> task = loop.create_task([]() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(10);
    } catch (const CancelledError&) {
      throw asyncio::SystemExit(4);
    }
  });
  test::run_once(loop);
  task.cancel();
  CHECK_FALSE(task.done());
  CHECK_THROWS_AS(test::run_once(loop), asyncio::SystemExit);
  CHECK(task.done());
  CHECK_FALSE(task.cancelled());
  CHECK(task.exception());
}

TEST_CASE("awaiting a future of another loop is RuntimeError", "[tasks][rule-8][test_tasks.test_other_loop_future]") {
  TestLoop loop, other;
  const Future<int> future(other);
  const std::string error = test::thrown([&] { return loop.run_until_complete(waits_for(future)); });
  CHECK(error.find("std::runtime_error: <Task pending") == 0);
  CHECK(error.find("got Future") != std::string::npos);
  CHECK(error.find("attached to a different loop") != std::string::npos);
}

TEST_CASE("a task can catch the error of awaiting a future of another loop, and go on",
          "[tasks][rule-8][test_tasks.test_other_loop_future]") {
  TestLoop loop, other;
  const Future<int> foreign(other);
  auto body = [&]() -> Coroutine<int> {
    try {
      co_await foreign;
    } catch (const asyncio::RuntimeError&) {}
    co_await asyncio::sleep(1);
    co_return 5;
  };
  CHECK(loop.run_until_complete(body()) == 5);
}

TEST_CASE("awaiting a future whose loop is gone is RuntimeError", "[tasks][rule-7][rule-8]") {
  TestLoop loop;
  auto gone = std::make_unique<TestLoop>();
  const Future<int> future(*gone);
  const Task<int> pending = gone->create_task(waits_for(future));
  test::run_once(*gone);
  gone->set_exception_handler([](asyncio::EventLoop&, const asyncio::ExceptionContext&) {});
  gone.reset();
  auto body = [&]() -> Coroutine<int> { co_return co_await future; };
  CHECK_THROWS_AS(loop.run_until_complete(body()), asyncio::RuntimeError);
}

TEST_CASE("a done future of another loop can be awaited", "[tasks][rule-1]") {
  TestLoop loop, other;
  const Future<int> future(other);
  future.set_result(8);
  CHECK(loop.run_until_complete(waits_for(future)) == 8);
}

TEST_CASE("a task that awaits itself is raised RuntimeError",
          "[tasks][rule-8][test_tasks.test_task_awaits_on_itself]") {
  TestLoop loop;
  const Future<int> placeholder(loop);
  Future<int> itself = placeholder;
  auto body = [&]() -> Coroutine<int> { co_return co_await itself; };
  const Task<int> task = loop.create_task(body());
  itself = task;
  const std::string error = test::thrown([&] { return loop.run_until_complete(task); });
  CHECK(error.find("std::runtime_error: Task cannot await on itself") == 0);
}

TEST_CASE("run_until_complete of a task of another loop is ValueError", "[tasks][rule-8]") {
  TestLoop loop, other;
  const Task<int> task = other.create_task(returns(1));
  CHECK_THROWS_AS(loop.run_until_complete(task), asyncio::ValueError);
  CHECK(other.run_until_complete(task) == 1);
}

TEST_CASE("a task that stops the loop leaves run_until_complete with an error, and can be run on",
          "[tasks][test_tasks.test_stop_while_run_in_complete]") {
  TestLoop loop;
  int x = 0;
  auto body = [&]() -> Coroutine<void> {
    while (x < 10) {
      co_await asyncio::sleep(0.1);
      if (++x == 2) loop.stop();
    }
  };
  const Task<void> task = loop.create_task(body());
  CHECK(test::thrown([&] { loop.run_until_complete(task); }) ==
        "std::runtime_error: Event loop stopped before Future completed.");
  CHECK_FALSE(task.done());
  CHECK(x == 2);
  task.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
}

// ---- lost exceptions, lost tasks ---------------------------------------------------------------------

TEST_CASE("a task's exception that nobody retrieved is reported when the last reference goes", "[tasks][rule-6]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  {
    const Task<int> task = loop.create_task(fails("spam"));
    test::run_briefly(loop);
    CHECK(caught.empty());
  }
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task exception was never retrieved");
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: spam");
  CHECK(caught[0].future.done());
}

TEST_CASE("a lost task's exception is reported when the task ends", "[tasks][rule-6]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  loop.create_task(fails("spam"));
  CHECK(caught.empty());
  test::run_once(loop);
  CHECK(caught.size() == 1);
}

TEST_CASE("a task's exception that somebody has seen is not reported",
          "[tasks][rule-6][test_tasks.test_tb_logger_not_called_after_cancel]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  Task<int> task = loop.create_task(fails("spam"));
  SECTION("through result") {
    test::run_briefly(loop);
    CHECK_THROWS_AS(task.result(), asyncio::ValueError);
  }
  SECTION("through exception") {
    test::run_briefly(loop);
    CHECK(task.exception());
  }
  SECTION("through an await") {
    auto main = [&]() -> Coroutine<void> {
      try {
        co_await task;
      } catch (const asyncio::ValueError&) {}
    };
    loop.run_until_complete(main());
  }
  SECTION("through run_until_complete") { CHECK_THROWS_AS(loop.run_until_complete(task), asyncio::ValueError); }
  SECTION("who called cancel has given up on it") {
    test::run_briefly(loop);
    task.cancel();
  }
  task = loop.create_task(returns(1));
  test::run_briefly(loop);
  CHECK(caught.empty());
}

TEST_CASE("a cancelled task that is lost is not reported", "[tasks][rule-6]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  loop.create_task(sleeps(10)).cancel();
  test::run_briefly(loop);
  CHECK(caught.empty());
}

TEST_CASE("a task that is pending when its loop closes is reported",
          "[tasks][rule-7][test_tasks.test_log_destroyed_pending_task]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  const Future<int> future(loop);
  const Task<int> task = loop.create_task(waits_for(future), {.name = "kill me"});
  test::run_once(loop);
  CHECK(asyncio::all_tasks(loop) == std::vector<AnyTask>{task});
  loop.close();
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task was destroyed but it is pending!");
  CHECK(caught[0].future == task);
  CHECK(asyncio::all_tasks(loop).empty());
}

TEST_CASE("a task that never took its first step is reported, too, when its loop closes",
          "[tasks][rule-7][test_tasks.test_log_destroyed_pending_task]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  loop.create_task(returns(1));
  loop.close();
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task was destroyed but it is pending!");
}

TEST_CASE("the task that run_until_complete made for a coroutine is not reported when the loop closes",
          "[tasks][rule-7][test_tasks.test_log_destroyed_pending_task]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  loop.call_later(1, [&] { loop.stop(); });
  CHECK_THROWS_AS(loop.run_until_complete(sleeps(10)), asyncio::RuntimeError);
  CHECK(asyncio::all_tasks(loop).size() == 1);
  loop.close();
  CHECK(caught.empty());
}

TEST_CASE("a closing loop destroys what its pending tasks hold, innermost first", "[tasks][rule-7]") {
  Log log;
  auto inner = [&](Future<void> future) -> Coroutine<void> {
    const NotesEnd end{log, "inner"};
    co_await future;
  };
  auto outer = [&](Future<void> future) -> Coroutine<void> {
    const NotesEnd end{log, "outer"};
    co_await inner(future);
  };
  TestLoop loop;
  loop.catch_exceptions();
  loop.create_task(outer(Future<void>(loop)));
  test::run_once(loop);
  CHECK(log.empty());
  loop.close();
  CHECK(log == Log{"inner", "outer"});
}

TEST_CASE("a task and a future that refer to each other end with the loop", "[tasks][rule-7]") {
  TestLoop loop;
  loop.catch_exceptions();
  {
    const Future<void> future(loop);
    loop.create_task(holds(Instance(), future));
    test::run_once(loop);
  }
  CHECK(Instance::alive() == 1);
  loop.close();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("two tasks that wait for each other end with the loop", "[tasks][rule-7]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  Future<int> first(loop), second(loop);
  auto body = [](Future<int>& other, Instance) -> Coroutine<int> { co_return co_await other; };
  const Task<int> a = loop.create_task(body(second, Instance()));
  const Task<int> b = loop.create_task(body(first, Instance()));
  first = a;
  second = b;
  test::run_briefly(loop);
  CHECK(Instance::alive() == 2);
  loop.close();
  CHECK(Instance::alive() == 0);
  CHECK(caught.size() == 2);
}

TEST_CASE("a task that was pending when its loop closed is cancelled", "[tasks][rule-7]") {
  TestLoop loop;
  loop.catch_exceptions();
  const Task<void> task = loop.create_task(sleeps(10));
  test::run_once(loop);
  loop.close();
  CHECK(task.done());
  CHECK(task.cancelled());
  CHECK_THROWS_AS(task.result(), CancelledError);
  CHECK_FALSE(task.cancel());
}

TEST_CASE("a destructor that runs because the loop closes gets errors from the loop, not a crash", "[tasks][rule-7]") {
  Log log;
  struct UsesLoop {
    asyncio::EventLoop& loop;
    Log& log;
    ~UsesLoop() {
      log.push_back(test::thrown([&] { return loop.call_soon([] {}); }));
      log.push_back(test::thrown([&] { return loop.create_task(nothing()); }));
    }
  };
  TestLoop loop;
  loop.catch_exceptions();
  auto body = [&]() -> Coroutine<void> {
    const UsesLoop uses{loop, log};
    co_await asyncio::sleep(10);
  };
  loop.create_task(body());
  test::run_once(loop);
  loop.close();
  CHECK(log == Log{"std::runtime_error: Event loop is closed", "std::runtime_error: Event loop is closed"});
}

TEST_CASE("a destructor that runs because the loop closes can cancel tasks and set futures that others wait for",
          "[tasks][rule-7]") {
  struct Meddles {
    Task<int> task;
    Future<int> future;
    Log& log;
    ~Meddles() {
      log.push_back(test::thrown([&] { return task.cancel(); }));
      log.push_back(test::thrown([&] { future.set_result(1); }));
    }
  };
  Log log;
  TestLoop loop;
  loop.catch_exceptions();
  const Future<int> first(loop), second(loop);
  Task<int> a = loop.create_task(waits_for(first));
  auto body = [&](Task<int> other) -> Coroutine<void> {
    const Meddles meddles{other, second, log};
    co_await asyncio::sleep(10);
  };
  a = loop.create_task(waits_for(first));
  const Task<void> meddler = loop.create_task(body(a));
  const Task<int> b = loop.create_task(waits_for(second)), c = loop.create_task(waits_for(b));
  test::run_once(loop);
  loop.close();
  CHECK(log.size() == 2);
  for (const bool done : {a.done(), meddler.done(), b.done(), c.done()}) CHECK(done);
}

TEST_CASE("a task cannot close its loop, and can go on after the attempt", "[tasks][rule-8]") {
  TestLoop loop;
  auto body = [&]() -> Coroutine<std::string> {
    std::string error = test::thrown([&] { loop.close(); });
    co_await asyncio::sleep(1);
    co_return error;
  };
  CHECK(loop.run_until_complete(body()) == "std::runtime_error: Cannot close a running event loop");
}

TEST_CASE("a task that runs its own loop is refused, and goes on", "[tasks][rule-8]") {
  TestLoop loop, other;
  auto body = [&]() -> Coroutine<int> {
    CHECK_THROWS_AS(loop.run_until_complete(returns(1)), asyncio::RuntimeError);
    CHECK_THROWS_AS(other.run_until_complete(returns(1)), asyncio::RuntimeError);
    CHECK(&asyncio::get_running_loop() == &loop);
    co_await asyncio::sleep(1);
    co_return 2;
  };
  CHECK(loop.run_until_complete(body()) == 2);
}

namespace {

/// The outermost of `length` tasks, each of which waits for the next one, and the last for `innermost`.
Future<int> chain_of_waiting_tasks(TestLoop& loop, Future<int> innermost, int length) {
  Future<int> outermost = innermost;
  for (int i = 0; i < length; ++i) outermost = loop.create_task(waits_for(outermost));
  test::run_once(loop);
  return outermost;
}

}  // namespace

TEST_CASE("a chain of 100,000 waiting tasks ends when the innermost future is set", "[tasks][rule-1]") {
  TestLoop loop;
  const Future<int> innermost(loop);
  const Future<int> outermost = chain_of_waiting_tasks(loop, innermost, 100'000);
  innermost.set_result(1);
  CHECK(loop.run_until_complete(outermost) == 1);
}

TEST_CASE("a chain of 100,000 waiting tasks is destroyed with its loop", "[tasks][rule-7]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  const Future<int> outermost = chain_of_waiting_tasks(loop, Future<int>(loop), 100'000);
  loop.close();
  CHECK(outermost.cancelled());
  CHECK(caught.size() == 100'000);
}

TEST_CASE("cancel goes through a chain of a thousand waiting tasks", "[tasks][rule-5]") {
  TestLoop loop;
  const Future<int> innermost(loop);
  const Future<int> outermost = chain_of_waiting_tasks(loop, innermost, 1'000);
  CHECK(outermost.cancel());
  CHECK(innermost.cancelled());
  CHECK_THROWS_AS(loop.run_until_complete(outermost), CancelledError);
}

// Hidden: it does not fail but overflows the stack while Task::cancel is recursive.
TEST_CASE("cancel goes through a chain of 100,000 waiting tasks", "[deep][tasks][rule-5][rule-8]") {
  TestLoop loop;
  const Future<int> innermost(loop);
  const Future<int> outermost = chain_of_waiting_tasks(loop, innermost, 100'000);
  CHECK(outermost.cancel());
  CHECK(innermost.cancelled());
  CHECK_THROWS_AS(loop.run_until_complete(outermost), CancelledError);
}

TEST_CASE("a done task that outlives its loop keeps its result", "[tasks][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Task<int> task = loop->create_task(returns(4));
  loop->run_until_complete(task);
  loop.reset();
  CHECK(task.done());
  CHECK(task.result() == 4);
  CHECK_FALSE(task.cancel());
}

TEST_CASE("a task that outlives its loop answers with an error what needs the loop", "[tasks][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Task<int> task = loop->create_task(returns(4));
  loop->run_until_complete(task);
  loop.reset();
  CHECK(test::thrown([&] { return &task.get_loop(); }) == "std::runtime_error: Event loop is closed");
  CHECK(test::thrown([&] { task.add_done_callback([](const Future<int>&) {}); }) ==
        "std::runtime_error: Event loop is closed");
}

TEST_CASE("a pending task may outlive its loop: it is cancelled then", "[tasks][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  loop->set_exception_handler([](asyncio::EventLoop&, const asyncio::ExceptionContext&) {});
  const Task<void> task = loop->create_task(sleeps(10));
  test::run_once(*loop);
  loop.reset();
  CHECK(task.cancelled());
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
