// What futures and tasks tell the exception handler, and how they show themselves.
// Upstream counterpart: Lib/test/test_asyncio/test_futures.py, BaseFutureTests, and test_futures2.py.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

using asyncio::AnyFuture;
using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::RuntimeError;
using asyncio::Task;
using asyncio::ValueError;
using test::CaptureCerr;
using test::contains;
using test::fails;
using test::TestLoop;
using test::waits_for;

namespace {

int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Awaits whatever task it is given later.
Coroutine<void> awaits_later(std::shared_ptr<std::vector<Task<void>>> tasks, std::size_t which) {
  co_await asyncio::sleep(0);
  const Task<void> other = tasks->at(which);
  co_await other;
}

// Two tasks, each of which waits for the other.
std::shared_ptr<std::vector<Task<void>>> make_cycle(TestLoop& loop) {
  auto tasks = std::make_shared<std::vector<Task<void>>>();
  tasks->push_back(loop.create_task(awaits_later(tasks, 1), {.name = "ping"}));
  tasks->push_back(loop.create_task(awaits_later(tasks, 0), {.name = "pong"}));
  test::run_once(loop, 3);
  return tasks;
}

}  // namespace

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

// ---- From inside coroutines ----------------------------------------------------------------------------

TEST_CASE("a failed task that is awaited five times raises the same exception, which does not grow",
          "[futures][test_futures2.test_future_traceback]") {
  struct Body {
    static Coroutine<void> run(std::vector<const void*>& seen) {
      const Task<int> task = asyncio::create_task(fails("42"));
      for (int i = 0; i < 5; ++i) {
        try {
          co_await task;
        } catch (const ValueError& error) {
          seen.push_back(&error);
          if (std::string(error.what()) != "42") throw RuntimeError("the text has changed");
        }
      }
    }
  };
  TestLoop loop;
  std::vector<const void*> seen;
  loop.run_until_complete(Body::run(seen));
  CHECK(seen == std::vector<const void*>(5, seen.at(0)));
}

TEST_CASE("a failed task that nobody holds is reported as soon as it has ended",
          "[futures][rule-6][test_futures2.test_task_exc_handler_correct_context]") {
  struct Body {
    static Coroutine<std::size_t> run(std::vector<asyncio::ExceptionContext>& caught) {
      asyncio::create_task(fails("nobody looks"));
      co_await asyncio::sleep(0);
      co_return caught.size();
    }
  };
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  CHECK(loop.run_until_complete(Body::run(caught)) == 1);
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task exception was never retrieved");
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: nobody looks");
  CHECK(contains(caught[0].future.repr(), "<Task finished"));
}

TEST_CASE("a callback that throws is reported in the iteration in which it ran, with its handle",
          "[futures][rule-6][test_futures2.test_handle_exc_handler_correct_context]") {
  struct Body {
    static Coroutine<std::size_t> run(std::vector<asyncio::ExceptionContext>& caught, asyncio::Handle& handle) {
      handle = asyncio::get_running_loop().call_soon([] { throw ValueError("in a callback"); });
      co_await asyncio::sleep(0);
      co_return caught.size();
    }
  };
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  asyncio::Handle handle;
  CHECK(loop.run_until_complete(Body::run(caught, handle)) == 1);
  REQUIRE(caught.size() == 1);
  CHECK(contains(caught[0].message, "Exception in callback"));
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: in a callback");
  CHECK(caught[0].handle == handle);
  CHECK_FALSE(caught[0].future);
}

TEST_CASE("a task that waits shows what it waits for", "[futures][test_futures2]") {
  TestLoop loop;
  const Future<void> future(loop);
  struct Body {
    static Coroutine<void> run(Future<void> future) { co_await future; }
  };
  const Task<void> task = loop.create_task(Body::run(future), {.name = "waiter"});
  CHECK(contains(task.repr(), "<Task pending name='waiter'"));
  test::run_once(loop);
  CHECK(contains(task.repr(), "wait_for=<Future pending"));
  future.set_result();
  test::run_once(loop);
  CHECK(contains(task.repr(), "<Task finished name='waiter'"));
}

TEST_CASE("a task that is its own result's keeper can be shown",
          "[futures][test_futures2.test_recursive_repr_for_pending_tasks]") {
  struct Body {
    static Coroutine<std::vector<asyncio::AnyTask>> run() { co_return asyncio::all_tasks(); }
  };
  TestLoop loop;
  {
    const Task<std::vector<asyncio::AnyTask>> task = loop.create_task(Body::run());
    test::run_once(loop);
    const std::vector<asyncio::AnyTask> all = task.take_result();
    REQUIRE(all.size() == 1);
    CHECK(all[0] == task);
    CHECK(contains(all[0].repr(), "<Task finished"));
  }
}

TEST_CASE("two tasks that wait for each other can be shown: the repetition is cut",
          "[futures][test_futures2.test_recursive_repr_for_pending_tasks]") {
  TestLoop loop;
  loop.catch_exceptions();
  {
    const auto tasks = make_cycle(loop);
    const std::string text = tasks->at(0).repr();
    CHECK(contains(text, "name='ping'"));
    CHECK(contains(text, "name='pong'"));
    CHECK(contains(text, "..."));
    CHECK(occurrences(text, "name='ping'") == 1);
    loop.close();
    tasks->clear();
  }
}
