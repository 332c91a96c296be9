// What tasks raise, and what becomes of an exception or a task that is lost.
// Upstream counterpart: Lib/test/test_asyncio/test_tasks.py, BaseTaskTests.
#include <memory>
#include <string>
#include <vector>

#include "tests/utils.hpp"

using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::fails;
using test::holds;
using test::Instance;
using test::Log;
using test::NotesEnd;
using test::nothing;
using test::returns;
using test::sleeps;
using test::TestLoop;
using test::waits_for;

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
