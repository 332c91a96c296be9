// How many iterations later things happen: the table of the public interface, one test per row. TestLoop
// counts its iterations; what happens in the same step has the distance 0.
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::iterations_of;
using test::returns;
using test::TestLoop;

Coroutine<void> sleeps_for_ever() { co_await asyncio::sleep(1000); }
Coroutine<void> notes_iteration(TestLoop& loop, int& iteration) {
  iteration = loop.iterations();
  co_return;
}

Coroutine<int> chain_of_awaits(int depth) {
  if (depth == 0) co_return 0;
  co_return 1 + co_await chain_of_awaits(depth - 1);
}

Coroutine<int> chain_of_tasks(int depth) {
  if (depth == 0) co_return 0;
  const Task<int> next = asyncio::create_task(chain_of_tasks(depth - 1));
  co_return 1 + co_await next;
}

}  // namespace

TEST_CASE("awaiting a coroutine that returns at once takes no iteration", "[iterations][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await returns(1); }) == 0);
}

TEST_CASE("awaiting a chain of a thousand coroutines takes no iteration", "[iterations][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await chain_of_awaits(1000); }) == 0);
}

TEST_CASE("awaiting a future that is done takes no iteration", "[iterations][rule-1]") {
  TestLoop loop;
  const Future<int> done(loop);
  done.set_result(1);
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> { co_await done; }) == 0);
}

TEST_CASE("awaiting a future that failed already raises in the same iteration", "[iterations][rule-1]") {
  TestLoop loop;
  const Future<int> failed(loop);
  failed.set_exception(asyncio::ValueError("spam"));
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          try {
            co_await failed;
          } catch (const asyncio::ValueError&) {}
        }) == 0);
}

TEST_CASE("awaiting a future that was cancelled already raises in the same iteration", "[iterations][rule-1]") {
  TestLoop loop;
  const Future<int> cancelled(loop);
  cancelled.cancel();
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          try {
            co_await cancelled;
          } catch (const asyncio::CancelledError&) {}
        }) == 0);
}

TEST_CASE("awaiting a task that is done takes no iteration", "[iterations][rule-1]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(1));
  loop.run_until_complete(task);
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> { co_await task; }) == 0);
}

TEST_CASE("the first step of a created task comes one iteration later", "[iterations]") {
  TestLoop loop;
  int created = 0, first_step = 0;
  auto main = [&]() -> Coroutine<void> {
    created = loop.iterations();
    const Task<void> task = asyncio::create_task(notes_iteration(loop, first_step));
    co_await task;
  };
  loop.run_until_complete(main());
  CHECK(first_step - created == 1);
}

TEST_CASE("tasks that are created together take their first steps in one iteration, in order", "[iterations]") {
  TestLoop loop;
  int first = 0, second = 0;
  const Task<void> a = loop.create_task(notes_iteration(loop, first));
  const Task<void> b = loop.create_task(notes_iteration(loop, second));
  test::run_once(loop);
  CHECK(first == 1);
  CHECK(second == 1);
}

TEST_CASE("sleep of 0 seconds gives up exactly one iteration", "[iterations][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::sleep(0); }) == 1);
}

TEST_CASE("sleep of a negative time gives up exactly one iteration", "[iterations][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::sleep(-1); }) == 1);
}

TEST_CASE("ten sleeps of 0 seconds give up ten iterations", "[iterations][rule-1]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          for (int i = 0; i < 10; ++i) co_await asyncio::sleep(0);
        }) == 10);
}

TEST_CASE("sleep of a nanosecond takes two iterations: the timer, then the sleeper", "[iterations]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await asyncio::sleep(1e-9); }) == 2);
}

TEST_CASE("CancelledError appears in a cancelled sleeper one iteration later", "[iterations][rule-5]") {
  TestLoop loop;
  int cancelled = 0, raised = 0;
  auto sleeper = [&]() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const asyncio::CancelledError&) {
      raised = loop.iterations();
    }
  };
  const Task<void> task = loop.create_task(sleeper());
  loop.call_later(1, [&] {
    cancelled = loop.iterations();
    task.cancel();
  });
  loop.run_until_complete(task);
  CHECK(raised - cancelled == 1);
}

TEST_CASE("CancelledError appears in a task between two sleeps of 0 one iteration later", "[iterations][rule-5]") {
  TestLoop loop;
  int cancelled = 0, raised = 0;
  auto spinner = [&]() -> Coroutine<void> {
    try {
      for (;;) co_await asyncio::sleep(0);
    } catch (const asyncio::CancelledError&) {
      raised = loop.iterations();
    }
  };
  const Task<void> task = loop.create_task(spinner());
  test::run_once(loop, 3);
  cancelled = loop.iterations();
  task.cancel();
  test::run_once(loop);
  CHECK(raised - cancelled == 1);
  CHECK(task.done());
}

TEST_CASE("the awaiter of a created task that returns at once goes on two iterations later", "[iterations]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          const Task<int> task = asyncio::create_task(returns(1));
          co_await task;
        }) == 2);
}

TEST_CASE("the awaiter of a future that call_soon sets goes on two iterations later", "[iterations]") {
  TestLoop loop;
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          const Future<void> future = loop.create_future();
          loop.call_soon([future] { future.set_result(); });
          co_await future;
        }) == 2);
}

TEST_CASE("the awaiter of a future goes on one iteration after it was set", "[iterations]") {
  TestLoop loop;
  const Future<void> future(loop);
  int set = 0, resumed = 0;
  auto waiter = [&]() -> Coroutine<void> {
    co_await future;
    resumed = loop.iterations();
  };
  const Task<void> task = loop.create_task(waiter());
  loop.call_later(1, [&] {
    set = loop.iterations();
    future.set_result();
  });
  loop.run_until_complete(task);
  CHECK(resumed - set == 1);
}

TEST_CASE("the awaiter of a task that it cancelled goes on two iterations later", "[iterations][rule-5]") {
  TestLoop loop;
  const Task<void> sleeper = loop.create_task(sleeps_for_ever());
  test::run_once(loop);
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          sleeper.cancel();
          try {
            co_await sleeper;
          } catch (const asyncio::CancelledError&) {}
        }) == 2);
}

TEST_CASE("the awaiter of a task that was cancelled before its first step goes on two iterations later",
          "[iterations][rule-5]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          const Task<void> task = asyncio::create_task(sleeps_for_ever());
          task.cancel();
          try {
            co_await task;
          } catch (const asyncio::CancelledError&) {}
        }) == 2);
}

TEST_CASE("a chain of six nested tasks takes twelve iterations", "[iterations]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> { co_await chain_of_tasks(6); }) == 12);
}

TEST_CASE("an eagerly started task takes its first step at once and is done when create_task returns",
          "[iterations][eager]") {
  TestLoop loop;
  int created = -1, first_step = -2;
  CHECK(iterations_of(loop, [&]() -> Coroutine<void> {
          created = loop.iterations();
          const Task<void> task = asyncio::create_task(notes_iteration(loop, first_step), {.eager_start = true});
          CHECK(task.done());
          co_await task;
        }) == 0);
  CHECK(first_step == created);
}

TEST_CASE("an eagerly started task that suspends goes on as a lazy one does after its first step",
          "[iterations][eager]") {
  TestLoop loop;
  CHECK(iterations_of(loop, []() -> Coroutine<void> {
          const Task<void> task = asyncio::create_task(asyncio::sleep(0), {.eager_start = true});
          co_await task;
        }) == 2);
}

TEST_CASE("a done callback is called one iteration after the future was set", "[iterations][rule-3]") {
  TestLoop loop;
  int called = 0;
  const Future<void> future(loop);
  future.add_done_callback([&](const Future<void>&) { called = loop.iterations(); });
  future.set_result();
  CHECK(called == 0);
  test::run_once(loop);
  CHECK(called == 1);
}

TEST_CASE("run_until_complete ends with the iteration after the one in which the coroutine returned", "[iterations]") {
  TestLoop loop;
  loop.run_until_complete(returns(1));
  CHECK(loop.iterations() == 2);
}
