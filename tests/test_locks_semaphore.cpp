// Semaphore and BoundedSemaphore: who gets a permit, in which order and when.
// Upstream counterpart: Lib/test/test_asyncio/test_locks.py, SemaphoreTests.
#include <optional>
#include <vector>

#include "tests/locks.hpp"

using asyncio::BoundedSemaphore;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Semaphore;
using asyncio::Task;
using test::acquire_now;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::takes;
using test::TestLoop;

TEST_CASE("a semaphore of zero is locked from the start", "[locks][test_locks.test_initial_value_zero]") {
  const Semaphore semaphore(0);
  CHECK(semaphore.locked());
}

TEST_CASE("a semaphore has one permit unless it is told otherwise", "[locks][test_locks.test_semaphore]") {
  TestLoop loop;
  Semaphore semaphore;
  CHECK_FALSE(semaphore.locked());
  acquire_now(loop, semaphore);
  CHECK(semaphore.locked());
}

TEST_CASE("a negative number of permits is ValueError", "[locks][test_locks.test_semaphore_value]") {
  CHECK(test::thrown([] { return Semaphore(-1).locked(); }) ==
        "std::invalid_argument: Semaphore initial value must be >= 0");
  CHECK_THROWS_AS(BoundedSemaphore(-4), asyncio::ValueError);
}

TEST_CASE("a permit that is there is taken without giving up an iteration",
          "[locks][test_locks.test_acquire][rule-1]") {
  TestLoop loop;
  Semaphore semaphore(3);
  auto main = [&]() -> Coroutine<void> {
    const int before = loop.iterations();
    for (int i = 0; i < 3; ++i) {
      CHECK_FALSE(semaphore.locked());
      const bool acquired = co_await semaphore.acquire();
      CHECK(acquired);
    }
    CHECK(loop.iterations() == before);
  };
  loop.run_until_complete(main());
  CHECK(semaphore.locked());
}

TEST_CASE("a semaphore lets in as many as it has permits, and the next with each release",
          "[locks][test_locks.test_acquire]") {
  TestLoop loop;
  Semaphore semaphore(3);
  Numbers log;
  acquire_now(loop, semaphore);
  acquire_now(loop, semaphore);
  CHECK_FALSE(semaphore.locked());
  for (int number : {1, 2, 3}) loop.create_task(takes(semaphore, log, number));
  run_once(loop);
  CHECK(log == Numbers{1});
  CHECK(semaphore.locked());

  const Task<void> fourth = loop.create_task(takes(semaphore, log, 4));
  semaphore.release();
  semaphore.release();
  run_once(loop);
  CHECK(log == Numbers{1, 2, 3});
  CHECK(semaphore.locked());
  CHECK_FALSE(fourth.done());

  semaphore.release();
  loop.run_until_complete(fourth);
  CHECK(log == Numbers{1, 2, 3, 4});
}

TEST_CASE("a cancelled wait for a permit takes none", "[locks][test_locks.test_acquire_cancel]") {
  TestLoop loop;
  Semaphore semaphore;
  acquire_now(loop, semaphore);
  const Task<bool> task = loop.create_task(semaphore.acquire());
  run_once(loop);
  loop.call_soon([&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  semaphore.release();
  CHECK_FALSE(semaphore.locked());
  acquire_now(loop, semaphore);
}

TEST_CASE("a permit goes past those that were cancelled before it came",
          "[locks][test_locks.test_acquire_cancel_before_awoken]") {
  TestLoop loop;
  Semaphore semaphore(0);
  Numbers log;
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3, 4}) tasks.push_back(loop.create_task(takes(semaphore, log, number)));
  run_once(loop);
  tasks[0].cancel();
  tasks[1].cancel();
  semaphore.release();
  run_once(loop, 2);
  CHECK(log == Numbers{3});
  CHECK_FALSE(tasks[3].done());
  tasks[3].cancel();
  run_once(loop);
  CHECK(semaphore.locked());
}

TEST_CASE("a waiter that is cancelled in the iteration in which it got a permit passes it on",
          "[locks][cancel][test_locks.test_acquire_hang]") {
  TestLoop loop;
  Semaphore semaphore(0);
  Numbers log;
  const Task<void> first = loop.create_task(takes(semaphore, log, 1));
  const Task<void> second = loop.create_task(takes(semaphore, log, 2));
  run_once(loop);
  SECTION("cancelled, then released") {
    first.cancel();
    semaphore.release();
  }
  SECTION("released, then cancelled") {
    semaphore.release();
    first.cancel();
  }
  run_once(loop, 2);
  CHECK(first.cancelled());
  CHECK(log == Numbers{2});
  CHECK(semaphore.locked());
}

TEST_CASE("a permit that comes back from a cancelled waiter stays when nobody else waits", "[locks][cancel]") {
  TestLoop loop;
  Semaphore semaphore(0);
  const Task<bool> task = loop.create_task(semaphore.acquire());
  run_once(loop);
  semaphore.release();
  CHECK(semaphore.locked());  // the permit is given already
  task.cancel();
  run_briefly(loop);
  CHECK(task.cancelled());
  CHECK_FALSE(semaphore.locked());
  acquire_now(loop, semaphore);
  CHECK(semaphore.locked());
}

TEST_CASE("several permits for waiters that are all cancelled at once are all still there", "[locks][cancel]") {
  TestLoop loop;
  BoundedSemaphore semaphore(3);
  Numbers log;
  for (int i = 0; i < 3; ++i) acquire_now(loop, semaphore);
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3, 4}) tasks.push_back(loop.create_task(takes(semaphore, log, number)));
  run_once(loop);
  for (int i = 0; i < 3; ++i) semaphore.release();
  for (const Task<void>& task : tasks) task.cancel();
  run_briefly(loop);
  CHECK(log.empty());
  CHECK_THROWS_AS(semaphore.release(), asyncio::ValueError);  // all three are back
  for (int i = 0; i < 3; ++i) acquire_now(loop, semaphore);
  CHECK(semaphore.locked());
}

TEST_CASE("a waiter that is cancelled by the one that had the permit before does not take it along",
          "[locks][cancel][test_locks.test_acquire_no_hang]") {
  TestLoop loop;
  Semaphore semaphore(1);
  std::optional<Task<void>> second;
  auto holds_then_cancels = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(semaphore, [&]() -> Coroutine<void> { co_await asyncio::sleep(0); });
    second->cancel();
  };
  auto wants = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(semaphore, [&]() -> Coroutine<void> {
      FAIL("it was cancelled before it had the permit");
      co_return;
    });
  };
  const Task<void> first = loop.create_task(holds_then_cancels());
  second = loop.create_task(wants());
  run_briefly(loop);
  CHECK(first.done());
  CHECK(second->cancelled());
  CHECK(loop.run_until_complete(asyncio::wait_for(semaphore.acquire(), 1.0)));
}

TEST_CASE("a semaphore may get more permits than it began with, a bounded one may not",
          "[locks][test_locks.test_release_not_acquired]") {
  TestLoop loop;
  Semaphore semaphore(1);
  semaphore.release();
  acquire_now(loop, semaphore);
  acquire_now(loop, semaphore);
  CHECK(semaphore.locked());

  BoundedSemaphore bounded(1);
  CHECK(test::thrown([&] { bounded.release(); }) == "std::invalid_argument: BoundedSemaphore released too many times");
  acquire_now(loop, bounded);
  bounded.release();
  CHECK_THROWS_AS(bounded.release(), asyncio::ValueError);
}

TEST_CASE("a bounded semaphore knows its bound through a reference to its base, too", "[locks]") {
  BoundedSemaphore bounded(1);
  Semaphore& semaphore = bounded;
  CHECK_THROWS_AS(semaphore.release(), asyncio::ValueError);
}

TEST_CASE("a permit that is released with nobody waiting is there for the next",
          "[locks][test_locks.test_release_no_waiters]") {
  TestLoop loop;
  Semaphore semaphore;
  acquire_now(loop, semaphore);
  CHECK(semaphore.locked());
  semaphore.release();
  CHECK_FALSE(semaphore.locked());
}

TEST_CASE("tasks that want a permit again and again take turns",
          "[locks][fairness][test_locks.test_acquire_fifo_order]") {
  TestLoop loop;
  Semaphore semaphore(1);
  Numbers log;
  auto twice = [&](int number) -> Coroutine<void> {
    for (int turn : {10, 20}) {
      co_await semaphore.acquire();
      log.push_back(turn + number);
      co_await asyncio::sleep(0.01);
      semaphore.release();
    }
  };
  for (int number : {1, 2, 3}) loop.create_task(twice(number));
  loop.run_until_complete(asyncio::sleep(1));
  CHECK(log == Numbers{11, 12, 13, 21, 22, 23});
}

TEST_CASE("who releases a permit and wants one again cannot overtake who waits for it",
          "[locks][fairness][test_locks.test_acquire_fifo_order_2]") {
  TestLoop loop;
  Semaphore semaphore(1);
  Numbers log;
  auto again = [&]() -> Coroutine<void> {
    co_await semaphore.acquire();
    log.push_back(2);
    semaphore.release();
    co_await semaphore.acquire();
    log.push_back(4);
  };
  const Task<void> first = loop.create_task(takes(semaphore, log, 1));
  const Task<void> second = loop.create_task(again());
  const Task<void> third = loop.create_task(takes(semaphore, log, 3));
  run_once(loop);
  semaphore.release();
  semaphore.release();
  run_briefly(loop);
  CHECK(log == Numbers{1, 2, 3, 4});
  CHECK(first.done());
  CHECK(second.done());
  CHECK(third.done());
}

TEST_CASE("permits that come after a waiter was cancelled go to the others in order",
          "[locks][cancel][test_locks.test_acquire_fifo_order_3]") {
  TestLoop loop;
  Semaphore semaphore(0);
  Numbers log;
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3}) tasks.push_back(loop.create_task(takes(semaphore, log, number)));
  run_once(loop);
  tasks[0].cancel();
  run_once(loop);
  semaphore.release();
  semaphore.release();
  run_briefly(loop);
  CHECK(tasks[0].cancelled());
  CHECK(log == Numbers{2, 3});
}

TEST_CASE("one waiter that goes on wakes all for whom there are permits",
          "[locks][fairness][test_locks.test_acquire_fifo_order_4]") {
  TestLoop loop;
  Semaphore semaphore(0);
  Numbers log;
  auto note = [&](int number) -> Coroutine<void> {
    log.push_back(number);
    co_return;
  };
  auto first = [&]() -> Coroutine<void> {
    co_await semaphore.acquire();
    loop.create_task(note(4));  // after those that the permits are for
    log.push_back(1);
  };
  auto second = [&]() -> Coroutine<void> {
    for (int i = 0; i < 3; ++i) semaphore.release();
    CHECK(semaphore.locked());  // the first was woken but has not gone on: nobody may overtake it
    co_await semaphore.acquire();
    log.push_back(2);
  };
  auto third = [&]() -> Coroutine<void> {
    co_await semaphore.acquire();
    CHECK(semaphore.locked());
    log.push_back(3);
  };
  loop.create_task(first());
  loop.create_task(second());
  loop.create_task(third());
  run_briefly(loop);
  CHECK(log == Numbers{1, 2, 3, 4});
  CHECK(semaphore.locked());
}

TEST_CASE("nobody takes a permit while one that was woken before has not gone on",
          "[locks][fairness][test_locks.test_acquire_fifo_order_4]") {
  TestLoop loop;
  Semaphore semaphore(0);
  Numbers log;
  loop.create_task(takes(semaphore, log, 1));
  run_once(loop);
  auto newcomer = [&]() -> Coroutine<void> {
    semaphore.release();
    semaphore.release();  // two permits, one waiter
    co_await takes(semaphore, log, 2);
  };
  loop.create_task(newcomer());
  run_briefly(loop);
  CHECK(log == Numbers{1, 2});
}
