// Condition: who is notified, and what becomes of a notification whose receiver is cancelled.
// Upstream counterpart: Lib/test/test_asyncio/test_locks.py, ConditionTests.
#include <string>
#include <vector>

#include "tests/locks.hpp"

namespace {

using asyncio::CancelledError;
using asyncio::Condition;
using asyncio::Coroutine;
using asyncio::Lock;
using asyncio::Task;
using test::acquire_now;
using test::is_notified;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::TestLoop;

/// The same, and gives the lock back.
Coroutine<void> is_notified_and_returns(Condition& condition, Numbers& log, int number) {
  co_await condition.acquire();
  co_await condition.wait();
  log.push_back(number);
  condition.release();
}

}  // namespace

TEST_CASE("who waits on a condition gives up its lock, and has it again when it goes on",
          "[locks][test_locks.test_wait]") {
  TestLoop loop;
  Condition condition;
  Numbers log;
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3}) tasks.push_back(loop.create_task(is_notified(condition, log, number)));
  run_once(loop);
  CHECK(log.empty());
  CHECK_FALSE(condition.locked());

  acquire_now(loop, condition);
  condition.notify();
  run_once(loop);
  CHECK(log.empty());  // notified, but the lock is taken
  CHECK(condition.locked());

  condition.release();
  run_once(loop);
  CHECK(log == Numbers{1});
  CHECK(condition.locked());

  condition.notify(2);
  run_once(loop);
  CHECK(log == Numbers{1});

  condition.release();
  run_once(loop);
  CHECK(log == Numbers{1, 2});
  CHECK(condition.locked());

  condition.release();
  run_once(loop);
  CHECK(log == Numbers{1, 2, 3});
  CHECK(condition.locked());
  for (const Task<void>& task : tasks) CHECK(task.done());
}

TEST_CASE("Condition.wait returns true", "[locks][test_locks.test_wait]") {
  TestLoop loop;
  Condition condition;
  auto waiter = [&]() -> Coroutine<bool> {
    co_await condition.acquire();
    co_return co_await condition.wait();
  };
  const Task<bool> task = loop.create_task(waiter());
  run_once(loop);
  acquire_now(loop, condition);
  condition.notify();
  condition.release();
  CHECK(loop.run_until_complete(task));
}

TEST_CASE("a cancelled wait on a condition ends with the lock held", "[locks][test_locks.test_wait_cancel]") {
  TestLoop loop;
  Condition condition;
  acquire_now(loop, condition);
  const Task<bool> task = loop.create_task(condition.wait());
  run_once(loop);
  CHECK_FALSE(condition.locked());
  loop.call_soon([&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(condition.locked());
  condition.notify_all();  // nobody is left to hear it
  condition.release();
  CHECK_FALSE(condition.locked());
}

TEST_CASE("a wait on a condition that is cancelled while it wants its lock back still ends with the lock",
          "[locks][test_locks.test_wait_cancel_contested]") {
  TestLoop loop;
  Condition condition;
  acquire_now(loop, condition);
  const Task<bool> task = loop.create_task(condition.wait());
  run_once(loop);
  CHECK_FALSE(condition.locked());
  acquire_now(loop, condition);
  condition.notify();
  loop.call_soon([&] { task.cancel(); });
  loop.call_soon([&] { condition.release(); });
  run_briefly(loop);
  CHECK(task.done());
  CHECK(condition.locked());
}

TEST_CASE("a cancellation that comes while the lock is awaited again is raised when the lock is there",
          "[locks][test_locks.test_wait_cancel_after_notify]") {
  TestLoop loop;
  Condition condition;
  bool waited = false;
  auto waits_inside = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(condition, [&]() -> Coroutine<void> {
      waited = true;
      co_await condition.wait();
    });
  };
  const Task<void> task = loop.create_task(waits_inside());
  run_once(loop);
  acquire_now(loop, condition);
  condition.notify();
  run_once(loop);  // now it waits for the lock
  task.cancel();
  run_once(loop);  // swallowed until it has the lock
  CHECK_FALSE(task.done());
  condition.release();
  run_once(loop);
  CHECK(task.cancelled());
  CHECK(waited);
  CHECK_FALSE(condition.locked());
}

TEST_CASE("many cancellations cannot drive a waiter out of a condition without its lock",
          "[locks][cancel][test_locks.test_wait_cancel_after_notify]") {
  TestLoop loop;
  Condition condition;
  acquire_now(loop, condition);
  const Task<bool> task = loop.create_task(condition.wait());
  run_once(loop);
  acquire_now(loop, condition);
  for (int i = 0; i < 5; ++i) {
    task.cancel("number " + std::to_string(i));
    run_once(loop);
    CHECK_FALSE(task.done());
  }
  condition.release();
  run_once(loop, 2);
  CHECK(task.cancelled());
  CHECK(test::thrown([&] { return task.result(); }) == "asyncio::CancelledError: number 4");
  CHECK(condition.locked());
}

TEST_CASE("waiting on a condition without its lock is RuntimeError", "[locks][test_locks.test_wait_unacquired]") {
  TestLoop loop;
  Condition condition;
  CHECK(test::thrown([&] { loop.run_until_complete(condition.wait()); }) ==
        "std::runtime_error: cannot wait on un-acquired lock");
}

TEST_CASE("wait_for sleeps through the notifications that come while its predicate is false",
          "[locks][test_locks.test_wait_for]") {
  TestLoop loop;
  Condition condition;
  bool ready = false;
  int asked = 0;
  auto waiter = [&]() -> Coroutine<bool> {
    co_await condition.acquire();
    const bool result = co_await condition.wait_for([&] {
      ++asked;
      return ready;
    });
    condition.release();
    co_return result;
  };
  const Task<bool> task = loop.create_task(waiter());
  run_once(loop);
  CHECK(asked == 1);
  auto notify = [&] {
    acquire_now(loop, condition);
    condition.notify();
    condition.release();
    run_once(loop);
  };
  notify();
  CHECK_FALSE(task.done());
  CHECK(asked == 2);
  ready = true;
  notify();
  REQUIRE(task.done());
  CHECK(task.result());
  CHECK(asked == 3);
}

TEST_CASE("wait_for needs no lock when its predicate is true, and returns what the predicate returned",
          "[locks][test_locks.test_wait_for_unacquired]") {
  TestLoop loop;
  Condition condition;
  CHECK(loop.run_until_complete(condition.wait_for([] { return 42; })) == 42);
  CHECK_THROWS_AS(loop.run_until_complete(condition.wait_for([] { return false; })), asyncio::RuntimeError);
}

TEST_CASE("notify wakes as many as it is told, in the order they came", "[locks][test_locks.test_notify]") {
  TestLoop loop;
  Condition condition;
  Numbers log;
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3}) tasks.push_back(loop.create_task(is_notified_and_returns(condition, log, number)));
  run_once(loop);
  acquire_now(loop, condition);
  condition.notify(1);
  condition.release();
  run_once(loop);
  CHECK(log == Numbers{1});
  acquire_now(loop, condition);
  condition.notify(1);
  condition.notify(2048);
  condition.release();
  run_briefly(loop);
  CHECK(log == Numbers{1, 2, 3});
  for (const Task<void>& task : tasks) CHECK(task.done());
}

TEST_CASE("notify of none wakes nobody", "[locks][test_locks.test_notify]") {
  TestLoop loop;
  loop.catch_exceptions();
  Condition condition;
  Numbers log;
  loop.create_task(is_notified(condition, log, 1));
  run_once(loop);
  acquire_now(loop, condition);
  condition.notify(0);
  condition.release();
  run_briefly(loop);
  CHECK(log.empty());
}

TEST_CASE("a notification is not kept for who waits later", "[locks][test_locks.test_notify]") {
  TestLoop loop;
  loop.catch_exceptions();
  Condition condition;
  Numbers log;
  acquire_now(loop, condition);
  condition.notify(5);
  condition.release();
  loop.create_task(is_notified(condition, log, 1));
  run_briefly(loop);
  CHECK(log.empty());
}

TEST_CASE("notify_all wakes everybody", "[locks][test_locks.test_notify_all]") {
  TestLoop loop;
  Condition condition;
  Numbers log;
  for (int number : {1, 2, 3, 4}) loop.create_task(is_notified_and_returns(condition, log, number));
  run_once(loop);
  acquire_now(loop, condition);
  condition.notify_all();
  condition.release();
  run_briefly(loop);
  CHECK(log == Numbers{1, 2, 3, 4});
}

TEST_CASE("notifying without the lock is RuntimeError",
          "[locks][test_locks.test_notify_unacquired][test_locks.test_notify_all_unacquired]") {
  Condition condition;
  CHECK(test::thrown([&] { condition.notify(); }) == "std::runtime_error: cannot notify on un-acquired lock");
  CHECK(test::thrown([&] { condition.notify_all(); }) == "std::runtime_error: cannot notify on un-acquired lock");
}

TEST_CASE("async_with holds the lock of a condition", "[locks][test_locks.test_context_manager]") {
  TestLoop loop;
  Condition condition;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(condition, [&]() -> Coroutine<void> {
      CHECK(condition.locked());
      co_return;
    });
  };
  CHECK_FALSE(condition.locked());
  loop.run_until_complete(main());
  CHECK_FALSE(condition.locked());
}

TEST_CASE("a condition may share the lock it is given", "[locks][test_locks.test_explicit_lock]") {
  TestLoop loop;
  Lock lock;
  Condition one(lock), other(lock);
  auto check_with = [&](auto& manager) -> Coroutine<void> {
    co_await asyncio::async_with(manager, [&]() -> Coroutine<void> {
      CHECK(lock.locked());
      CHECK(one.locked());
      CHECK(other.locked());
      co_return;
    });
    CHECK_FALSE(lock.locked());
    CHECK_FALSE(one.locked());
    CHECK_FALSE(other.locked());
  };
  loop.run_until_complete(check_with(one));
  loop.run_until_complete(check_with(lock));
  loop.run_until_complete(check_with(other));
}

TEST_CASE("conditions that share a lock notify only their own waiters", "[locks][test_locks.test_explicit_lock]") {
  TestLoop loop;
  loop.catch_exceptions();
  Lock lock;
  Condition one(lock), other(lock);
  Numbers log;
  loop.create_task(is_notified_and_returns(one, log, 1));
  loop.create_task(is_notified_and_returns(other, log, 2));
  run_once(loop);
  acquire_now(loop, lock);
  other.notify_all();
  lock.release();
  run_briefly(loop);
  CHECK(log == Numbers{2});
}

TEST_CASE("a limit of time on Condition.wait leaves the body of async_with with the lock to release",
          "[locks][test_locks.test_timeout_in_block]") {
  TestLoop loop;
  Condition condition;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(condition, [&]() -> Coroutine<void> {
      bool timed_out = false;
      try {
        co_await asyncio::wait_for(condition.wait(), 0.5);
      } catch (const asyncio::TimeoutError&) {
        timed_out = true;
      }
      CHECK(timed_out);
      CHECK(condition.locked());
    });
  };
  loop.run_until_complete(main());
  CHECK(loop.time() == 0.5);
  CHECK_FALSE(condition.locked());
}

TEST_CASE("the message of a cancellation comes out of Condition.wait unchanged",
          "[locks][test_locks.test_cancelled_error_wakeup][test_locks.test_cancelled_error_re_aquire]") {
  TestLoop loop;
  Condition condition;
  std::string message;
  auto waiter = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(condition, [&]() -> Coroutine<void> {
      try {
        co_await condition.wait_for([] { return false; });
      } catch (const CancelledError& error) {
        message = error.what();
        throw;
      }
    });
  };
  const Task<void> task = loop.create_task(waiter());
  run_once(loop);
  SECTION("when it waits for a notification") { task.cancel("foo"); }
  SECTION("when it waits for the lock again") {
    acquire_now(loop, condition);
    condition.notify();
    run_once(loop);
    task.cancel("foo");
    condition.release();
  }
  CHECK(test::thrown([&] { loop.run_until_complete(task); }) == "asyncio::CancelledError: foo");
  CHECK(message == "foo");
  CHECK_FALSE(condition.locked());
}

TEST_CASE("a notification for a waiter that is cancelled reaches the next one",
          "[locks][test_locks.test_cancelled_wakeup][test_locks.test_cancelled_wakeup_relock]") {
  TestLoop loop;
  Condition condition;
  int state = 0;
  auto consumer = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(condition, [&]() -> Coroutine<void> {
      for (;;) {
        co_await condition.wait_for([&] { return state != 0; });
        if (state < 0) co_return;
        --state;
      }
    });
  };
  bool let_it_want_the_lock = false;
  SECTION("cancelled before it heard the notification") {}
  SECTION("cancelled while it wants the lock") { let_it_want_the_lock = true; }
  const Task<void> first = loop.create_task(consumer());
  const Task<void> second = loop.create_task(consumer());
  run_once(loop);
  auto producer = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(condition, [&]() -> Coroutine<void> {
      ++state;
      condition.notify(1);
      if (let_it_want_the_lock) co_await asyncio::sleep(0);
      first.cancel();
      try {
        co_await asyncio::wait_for(condition.wait_for([&] { return state == 0; }), 0.01);
      } catch (const asyncio::TimeoutError&) {}
      CHECK(state == 0);
      state = -1;
      condition.notify_all();
    });
  };
  loop.run_until_complete(producer());
  loop.run_until_complete(second);
  CHECK(first.cancelled());
}

TEST_CASE("notify() does not count a waiter that was cancelled just before, which notifies one more",
          "[condition][rule-5]") {
  TestLoop loop;
  Condition condition;
  Numbers log;
  auto waits_until_notified = [&](int number) -> Coroutine<void> {
    co_await condition.acquire();
    try {
      co_await condition.wait();
      log.push_back(number);
    } catch (const CancelledError&) {}
    condition.release();
  };
  auto main = [&]() -> Coroutine<void> {
    std::vector<Task<void>> tasks;
    for (int i = 1; i <= 3; ++i) tasks.push_back(asyncio::create_task(waits_until_notified(i)));
    co_await asyncio::sleep(0);
    co_await condition.acquire();
    tasks[0].cancel();
    condition.notify();
    condition.release();
    for (int i = 0; i < 20; ++i) co_await asyncio::sleep(0);
    CHECK(log == Numbers{2, 3});
  };
  loop.run_until_complete(main());
}

TEST_CASE("a waiter of a condition that was cancelled before it was notified gets the lock back first",
          "[locks][rule-5]") {
  TestLoop loop;
  Condition condition;
  bool locked = false;
  const auto wait = [&]() -> Coroutine<void> {
    co_await condition.acquire();
    try {
      co_await condition.wait();
    } catch (const CancelledError&) {
      locked = condition.locked();
      condition.release();
      throw;
    }
  };
  const Task<void> task = loop.create_task(wait);
  run_briefly(loop, 2);
  loop.run_until_complete(condition.acquire());
  task.cancel();
  condition.notify();
  condition.release();
  run_briefly(loop);
  CHECK(task.cancelled());
  CHECK(locked);
}
