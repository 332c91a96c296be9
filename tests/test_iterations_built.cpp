// How many iterations later things happen in what is built on tasks: the rest of the table of the public interface, of
// which tests/test_iterations.cpp has the first part.
#include <optional>
#include <vector>

#include "tests/utils.hpp"

using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::iterations_of;
using test::returns;
using test::TestLoop;

TEST_CASE("wait_for of a coroutine that does not suspend takes no iteration", "[iterations][waitfor][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::wait_for(returns(1), 10); }) == 0);
}

TEST_CASE("wait_for without a limit of a coroutine that does not suspend takes no iteration",
          "[iterations][waitfor][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::wait_for(returns(1), std::nullopt); }) == 0);
}

TEST_CASE("wait_for of a future that is done takes no iteration, also with a limit of 0",
          "[iterations][waitfor][rule-1]") {
  TestLoop loop;
  const Future<int> done(loop);
  done.set_result(1);
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          co_await asyncio::wait_for(done, 10);
          co_await asyncio::wait_for(done, 0);
        }) == 0);
}

TEST_CASE("wait_for of a task that returns at once goes on as an await of the task does", "[iterations][waitfor]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          const Task<int> task = asyncio::create_task(returns(1));
          co_await asyncio::wait_for(task, 10);
        }) == 2);
}

TEST_CASE("async_with a timeout takes no iteration", "[iterations][timeouts][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          co_await asyncio::async_with(asyncio::timeout(10), [&]() -> Coroutine<void> { co_return; });
        }) == 0);
}

TEST_CASE("TimeoutError of timeout(0) comes two iterations later", "[iterations][timeouts]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          try {
            co_await asyncio::async_with(asyncio::timeout(0),
                                         [&]() -> Coroutine<void> { co_await asyncio::sleep(1000); });
          } catch (const asyncio::TimeoutError&) {}
        }) == 2);
}

TEST_CASE("gather of coroutines that return at once takes three iterations", "[iterations][gather]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::gather(returns(1), returns(1)); }) == 3);
}

TEST_CASE("gather of a vector of coroutines that return at once takes three iterations", "[iterations][gather]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          std::vector<Coroutine<int>> coroutines;
          for (int i = 0; i < 3; ++i) coroutines.push_back(returns(1));
          co_await asyncio::gather(std::move(coroutines));
        }) == 3);
}

TEST_CASE("gather of nothing, and of what is done, takes no iteration", "[iterations][gather]") {
  TestLoop loop;
  const Future<int> done(loop);
  done.set_result(1);
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          co_await asyncio::gather();
          co_await asyncio::gather(done, done);
        }) == 0);
}

TEST_CASE("wait for tasks that return at once takes three iterations", "[iterations][wait]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          std::vector<Task<int>> tasks;
          for (int i = 0; i < 3; ++i) tasks.push_back(asyncio::create_task(returns(1)));
          co_await asyncio::wait(std::move(tasks));
        }) == 3);
}

TEST_CASE("wait for what is done takes two iterations: its callback, then the awaiter", "[iterations][wait]") {
  TestLoop loop;
  const Future<int> done(loop);
  done.set_result(1);
  const std::vector<Future<int>> futures(1, done);
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> { co_await asyncio::wait(futures); }) == 2);
}

TEST_CASE("shield of a coroutine that returns at once takes three iterations", "[iterations][shield]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::shield(returns(1)); }) == 3);
}

TEST_CASE("a task group whose tasks return at once takes three iterations", "[iterations][taskgroups]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          co_await asyncio::async_with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) -> Coroutine<void> {
            for (int i = 0; i < 3; ++i) group.create_task(returns(1));
            co_return;
          });
        }) == 3);
}

TEST_CASE("as_completed of coroutines that return at once takes three iterations, for all of them",
          "[iterations][as_completed]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          std::vector<Coroutine<int>> coroutines;
          for (int i = 0; i < 3; ++i) coroutines.push_back(returns(1));
          for (auto& next : asyncio::as_completed(std::move(coroutines))) co_await next;
        }) == 3);
}

TEST_CASE("the awaiter of an Event that call_soon sets goes on two iterations later", "[iterations][locks]") {
  TestLoop loop;
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          asyncio::Event event;
          loop.call_soon([&] { event.set(); });
          co_await event.wait();
        }) == 2);
}

TEST_CASE("waiting for an Event that is set takes no iteration", "[iterations][locks][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          asyncio::Event event;
          event.set();
          co_await event.wait();
        }) == 0);
}

TEST_CASE("the getter of an item that call_soon puts goes on two iterations later", "[iterations][queues]") {
  TestLoop loop;
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          asyncio::Queue<int> queue;
          loop.call_soon([&] { queue.put_nowait(1); });
          const int item = co_await queue.get();
          CHECK(item == 1);
        }) == 2);
}

TEST_CASE("getting an item that is there, and putting one where there is room, takes no iteration",
          "[iterations][queues][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          asyncio::Queue<int> queue;
          co_await queue.put(1);
          co_await queue.get();
        }) == 0);
}

TEST_CASE("the awaiter of a Lock that call_soon releases goes on two iterations later", "[iterations][locks]") {
  TestLoop loop;
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          asyncio::Lock lock;
          co_await lock.acquire();
          loop.call_soon([&] { lock.release(); });
          co_await lock.acquire();
        }) == 2);
}

TEST_CASE("acquiring and releasing a free Lock takes no iteration", "[iterations][locks][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          asyncio::Lock lock;
          co_await asyncio::async_with(lock, [&]() -> Coroutine<void> { co_return; });
        }) == 0);
}
