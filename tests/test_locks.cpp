// Lock, Event, Condition, Semaphore, BoundedSemaphore, Barrier: who goes on, in which order and when, and what
// becomes of those that are cancelled meanwhile. Upstream counterpart: Lib/test/test_asyncio/test_locks.py.
#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/locks.hpp"

namespace {

using asyncio::Barrier;
using asyncio::BoundedSemaphore;
using asyncio::BrokenBarrierError;
using asyncio::CancelledError;
using asyncio::Condition;
using asyncio::Coroutine;
using asyncio::Event;
using asyncio::Lock;
using asyncio::Semaphore;
using asyncio::Task;
using test::acquire_now;
using test::check_linear;
using test::contains;
using test::Instance;
using test::is_notified;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::takes;
using test::TestLoop;

/// Takes it, notes its number, and gives it back in the same step.
template <class Primitive> Coroutine<void> takes_and_returns(Primitive& primitive, Numbers& log, int number) {
  co_await primitive.acquire();
  log.push_back(number);
  primitive.release();
}

Coroutine<void> waits(Event& event, Numbers& log, int number) {
  co_await event.wait();
  log.push_back(number);
}

/// The same, and gives the lock back.
Coroutine<void> is_notified_and_returns(Condition& condition, Numbers& log, int number) {
  co_await condition.acquire();
  co_await condition.wait();
  log.push_back(number);
  condition.release();
}

Coroutine<void> acquires_holding(Lock& lock, Instance) { co_await lock.acquire(); }
Coroutine<void> acquires_holding(Semaphore& semaphore, Instance) { co_await semaphore.acquire(); }
Coroutine<void> acquires_holding(Event& event, Instance) { co_await event.wait(); }
Coroutine<void> acquires_holding(Condition& condition, Instance) {
  co_await condition.acquire();
  co_await condition.wait();
}
Coroutine<void> acquires_holding(Barrier& barrier, Instance) { co_await barrier.wait(); }

/// In a fresh loop, what `make()` coroutine throws.
template <class F> std::string thrown_in_a_second_loop(F make) {
  TestLoop second;
  return test::thrown([&] { second.run_until_complete(make()); });
}

const char* const OTHER_LOOP = "is bound to a different event loop";

}  // namespace

// ---- Lock --------------------------------------------------------------------------------------------

TEST_CASE("a free lock is taken at once, without giving up an iteration", "[locks][test_locks.test_acquire][rule-1]") {
  TestLoop loop;
  Lock lock;
  auto main = [&]() -> Coroutine<bool> {
    const int before = loop.iterations();
    const bool acquired = co_await lock.acquire();
    CHECK(loop.iterations() == before);
    co_return acquired;
  };
  CHECK_FALSE(lock.locked());
  CHECK(loop.run_until_complete(main()));
  CHECK(lock.locked());
}

TEST_CASE("each release of a lock lets exactly one waiter go on, in the order they came",
          "[locks][test_locks.test_acquire]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  const Task<void> first = loop.create_task(takes(lock, log, 1));
  const Task<void> second = loop.create_task(takes(lock, log, 2));
  run_once(loop);
  CHECK(log.empty());

  lock.release();
  run_once(loop);
  CHECK(log == Numbers{1});
  run_once(loop);
  CHECK(log == Numbers{1});

  const Task<void> third = loop.create_task(takes(lock, log, 3));
  lock.release();
  run_once(loop);
  CHECK(log == Numbers{1, 2});

  lock.release();
  run_once(loop);
  CHECK(log == Numbers{1, 2, 3});
  CHECK(first.done());
  CHECK(second.done());
  CHECK(third.done());
  CHECK(lock.locked());
}

TEST_CASE("who waited for a lock goes on two iterations after the release was scheduled", "[locks][iterations]") {
  TestLoop loop;
  Lock lock;
  acquire_now(loop, lock);
  auto main = [&]() -> Coroutine<int> {
    loop.call_soon([&] { lock.release(); });
    const int before = loop.iterations();
    co_await lock.acquire();
    co_return loop.iterations() - before;
  };
  CHECK(loop.run_until_complete(main()) == 2);
}

TEST_CASE("a lock that was released for a waiter cannot be taken by a newcomer before the waiter runs",
          "[locks][fairness]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  loop.create_task(takes(lock, log, 1));
  run_once(loop);
  loop.create_task(takes(lock, log, 2));  // its first step comes before the waiter is woken
  lock.release();
  CHECK_FALSE(lock.locked());
  run_briefly(loop);
  CHECK(log == Numbers{1});
  lock.release();
  run_briefly(loop);
  CHECK(log == Numbers{1, 2});
}

TEST_CASE("a task that releases a lock and wants it again queues behind those that wait", "[locks][fairness]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  auto twice = [&](int number) -> Coroutine<void> {
    for (int turn : {10, 20}) {
      co_await lock.acquire();
      log.push_back(turn + number);
      co_await asyncio::sleep(0.01);
      lock.release();
    }
  };
  for (int number : {1, 2, 3}) loop.create_task(twice(number));
  loop.run_until_complete(asyncio::sleep(1));
  CHECK(log == Numbers{11, 12, 13, 21, 22, 23});
}

TEST_CASE("a task may release a lock that another task acquired", "[locks]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  loop.create_task(takes(lock, log, 1));
  run_once(loop);
  loop.create_task(takes(lock, log, 2));
  loop.call_soon([&] { lock.release(); });
  run_briefly(loop);
  CHECK(log == Numbers{1, 2});
}

TEST_CASE("a cancelled wait for a lock leaves the lock as it was", "[locks][test_locks.test_acquire_cancel]") {
  TestLoop loop;
  Lock lock;
  acquire_now(loop, lock);
  const Task<bool> task = loop.create_task(lock.acquire());
  run_once(loop);
  loop.call_soon([&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(lock.locked());
  lock.release();
  CHECK_FALSE(lock.locked());
  acquire_now(loop, lock);
}

TEST_CASE("a release passes over a waiter that was cancelled just before", "[locks][test_locks.test_cancel_race]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  const asyncio::Future<void> blocker(loop);
  auto blocked = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(lock, [&]() -> Coroutine<void> { co_await blocker; });
  };
  const Task<void> a = loop.create_task(blocked());
  run_once(loop);
  CHECK(lock.locked());
  const Task<void> b = loop.create_task(takes_and_returns(lock, log, 2));
  run_once(loop);
  const Task<void> c = loop.create_task(takes_and_returns(lock, log, 3));
  run_once(loop);

  blocker.set_result();
  b.cancel();
  run_once(loop);
  CHECK_FALSE(lock.locked());
  CHECK(a.done());
  CHECK(b.cancelled());
  loop.run_until_complete(c);
  CHECK(log == Numbers{3});
}

TEST_CASE("a cancellation and a release together hand the lock to one waiter, not to two",
          "[locks][test_locks.test_cancel_release_race]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  const Task<void> first = loop.create_task(takes(lock, log, 1));
  const Task<void> second = loop.create_task(takes(lock, log, 2));
  const Task<void> third = loop.create_task(takes(lock, log, 3));
  run_once(loop);
  loop.call_soon([&] {
    first.cancel();
    lock.release();
  });
  run_briefly(loop);
  CHECK(log == Numbers{2});
  CHECK(first.cancelled());
  CHECK(second.done());
  CHECK_FALSE(third.done());
  third.cancel();
  run_once(loop);
  CHECK(third.cancelled());
}

TEST_CASE("a waiter that is cancelled right before the release does not keep the lock from the next",
          "[locks][test_locks.test_finished_waiter_cancelled]") {
  TestLoop loop;
  Lock lock;
  acquire_now(loop, lock);
  const Task<bool> b = loop.create_task(lock.acquire());
  run_once(loop);
  const Task<bool> c = loop.create_task(lock.acquire());
  b.cancel();
  lock.release();
  run_once(loop);
  CHECK(lock.locked());
  CHECK(b.cancelled());
  CHECK(loop.run_until_complete(c));
}

TEST_CASE("a waiter that is cancelled in the iteration in which it was woken passes the lock on",
          "[locks][test_locks.test_finished_waiter_cancelled]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3}) tasks.push_back(loop.create_task(takes(lock, log, number)));
  run_once(loop);
  lock.release();
  tasks[0].cancel();  // woken, but its step has yet to come
  run_once(loop, 2);
  CHECK(tasks[0].cancelled());
  CHECK(log == Numbers{2});
  CHECK(lock.locked());
  CHECK_FALSE(tasks[2].done());
  lock.release();
  run_once(loop);
  CHECK(log == Numbers{2, 3});
}

TEST_CASE("when all that were woken one after the other are cancelled too, the lock is free", "[locks][cancel]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3}) tasks.push_back(loop.create_task(takes(lock, log, number)));
  run_once(loop);
  lock.release();
  for (const Task<void>& task : tasks) task.cancel();
  run_briefly(loop);
  CHECK(log.empty());
  CHECK_FALSE(lock.locked());
  acquire_now(loop, lock);
}

TEST_CASE("a free lock whose waiters are all cancelled may be taken before they have gone", "[locks][cancel]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  const Task<void> waiter = loop.create_task(takes(lock, log, 1));
  run_once(loop);
  auto main = [&]() -> Coroutine<void> {
    waiter.cancel();
    lock.release();
    const int before = loop.iterations();
    co_await lock.acquire();
    CHECK(loop.iterations() == before);
  };
  loop.run_until_complete(main());
  run_briefly(loop);
  CHECK(waiter.cancelled());
  CHECK(lock.locked());
}

TEST_CASE("who is cancelled in the middle of the queue leaves the order of the others alone", "[locks][fairness]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  std::vector<Task<void>> tasks;
  for (int number : {1, 2, 3, 4, 5}) tasks.push_back(loop.create_task(takes_and_returns(lock, log, number)));
  run_once(loop);
  tasks[3].cancel();
  tasks[1].cancel();
  run_once(loop);
  lock.release();
  run_briefly(loop);
  CHECK(log == Numbers{1, 3, 5});
  CHECK_FALSE(lock.locked());
}

TEST_CASE("a cancellation that a waiter catches lets it queue again, at the end", "[locks][cancel]") {
  TestLoop loop;
  Lock lock;
  Numbers log;
  acquire_now(loop, lock);
  auto stubborn = [&]() -> Coroutine<void> {
    try {
      co_await lock.acquire();
    } catch (const CancelledError&) {
      log.push_back(0);
    }
    co_await lock.acquire();
    log.push_back(1);
    lock.release();
  };
  const Task<void> task = loop.create_task(stubborn());
  loop.create_task(takes_and_returns(lock, log, 2));
  run_once(loop);
  task.cancel();
  run_once(loop);
  lock.release();
  run_briefly(loop);
  CHECK(log == Numbers{0, 2, 1});
}

TEST_CASE("releasing a lock that nobody holds is RuntimeError", "[locks][test_locks.test_release_not_acquired]") {
  Lock lock;
  CHECK(test::thrown([&] { lock.release(); }) == "std::runtime_error: Lock is not acquired.");
  CHECK_FALSE(lock.locked());
}

TEST_CASE("a lock released without waiters is free", "[locks][test_locks.test_release_no_waiters]") {
  TestLoop loop;
  Lock lock;
  acquire_now(loop, lock);
  CHECK(lock.locked());
  lock.release();
  CHECK_FALSE(lock.locked());
  CHECK_THROWS_AS(lock.release(), asyncio::RuntimeError);
}

TEST_CASE("async_with holds a lock during the body, and gives the body's value",
          "[locks][test_locks.test_context_manager]") {
  TestLoop loop;
  Lock lock;
  auto main = [&]() -> Coroutine<int> {
    co_return co_await asyncio::async_with(lock, [&]() -> Coroutine<int> {
      CHECK(lock.locked());
      co_return 7;
    });
  };
  CHECK(loop.run_until_complete(main()) == 7);
  CHECK_FALSE(lock.locked());
}

TEST_CASE("async_with releases the lock when the body throws", "[locks][test_locks.test_context_manager]") {
  TestLoop loop;
  Lock lock;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(lock, [&]() -> Coroutine<void> {
      throw asyncio::ValueError("spam");
      co_return;
    });
  };
  CHECK(test::thrown([&] { loop.run_until_complete(main()); }) == "std::invalid_argument: spam");
  CHECK_FALSE(lock.locked());
}

TEST_CASE("async_with releases the lock when the body is cancelled, and not when the acquire was",
          "[locks][cancel][test_locks.test_context_manager]") {
  TestLoop loop;
  Lock lock;
  auto sleeps_with_it = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(lock, [&]() -> Coroutine<void> { co_await asyncio::sleep(1); });
  };
  const Task<void> holder = loop.create_task(sleeps_with_it());
  const Task<void> waiter = loop.create_task(sleeps_with_it());
  run_once(loop);
  waiter.cancel();
  run_once(loop);
  CHECK(waiter.cancelled());
  CHECK(lock.locked());
  holder.cancel();
  run_once(loop);
  CHECK(holder.cancelled());
  CHECK_FALSE(lock.locked());
}

TEST_CASE("Lock, Condition and the semaphores are all free after async_with",
          "[locks][test_locks.test_lock_by_with_statement]") {
  TestLoop loop;
  Lock lock;
  Condition condition;
  Semaphore semaphore;
  BoundedSemaphore bounded;
  auto use = [&](auto& primitive) -> Coroutine<void> {
    CHECK_FALSE(primitive.locked());
    co_await asyncio::async_with(primitive, [&]() -> Coroutine<void> {
      CHECK(primitive.locked());
      co_await asyncio::sleep(0);
    });
    CHECK_FALSE(primitive.locked());
  };
  loop.run_until_complete(use(lock));
  loop.run_until_complete(use(condition));
  loop.run_until_complete(use(semaphore));
  loop.run_until_complete(use(bounded));
}

// ---- bound to one loop -------------------------------------------------------------------------------

TEST_CASE("what made a task wait is bound to that task's loop: to wait for it in another is RuntimeError",
          "[locks][test_locks.test_ambiguous_loops]") {
  TestLoop loop;
  loop.catch_exceptions();
  SECTION("a lock") {
    Lock lock;
    acquire_now(loop, lock);
    loop.create_task(lock.acquire());
    run_once(loop);
    CHECK(contains(thrown_in_a_second_loop([&] { return lock.acquire(); }), OTHER_LOOP));
  }
  SECTION("a semaphore") {
    Semaphore semaphore(0);
    loop.create_task(semaphore.acquire());
    run_once(loop);
    CHECK(contains(thrown_in_a_second_loop([&] { return semaphore.acquire(); }), OTHER_LOOP));
  }
  SECTION("an event") {
    Event event;
    loop.create_task(event.wait());
    run_once(loop);
    CHECK(contains(thrown_in_a_second_loop([&] { return event.wait(); }), OTHER_LOOP));
  }
  SECTION("a barrier") {
    Barrier barrier(3);
    loop.create_task(barrier.wait());
    run_once(loop);
    CHECK(contains(thrown_in_a_second_loop([&] { return barrier.wait(); }), OTHER_LOOP));
  }
  SECTION("a condition") {
    Condition condition;
    Numbers log;
    loop.create_task(is_notified(condition, log, 1));
    run_once(loop);
    auto main = [&]() -> Coroutine<void> {
      co_await condition.acquire();  // without contention
      co_await condition.wait();
    };
    CHECK(contains(thrown_in_a_second_loop([&] { return main(); }), OTHER_LOOP));
    CHECK(condition.locked());  // refused before it was released
  }
}

TEST_CASE("a lock that never made anybody wait may be used in any loop", "[locks][test_locks.test_ambiguous_loops]") {
  Lock lock;
  for (int i = 0; i < 2; ++i) {
    TestLoop loop;
    acquire_now(loop, lock);
    lock.release();
  }
  CHECK_FALSE(lock.locked());
}

TEST_CASE("nobody can wait for a lock where no loop runs", "[locks][rule-8]") {
  TestLoop loop;
  Lock lock;
  acquire_now(loop, lock);
  Coroutine<bool> acquire = lock.acquire();
  CHECK(test::thrown([&] { return acquire.send(); }) == "std::runtime_error: no running event loop");
  CHECK(lock.locked());
}

// ---- Event -------------------------------------------------------------------------------------------

TEST_CASE("setting an event wakes all that wait, in the order they came", "[locks][test_locks.test_wait]") {
  TestLoop loop;
  Event event;
  Numbers log;
  CHECK_FALSE(event.is_set());
  loop.create_task(waits(event, log, 1));
  loop.create_task(waits(event, log, 2));
  run_once(loop);
  CHECK(log.empty());
  loop.create_task(waits(event, log, 3));  // finds it set already
  event.set();
  CHECK(event.is_set());
  run_once(loop);
  CHECK(log == Numbers{3, 1, 2});
}

TEST_CASE("waiting for an event that is set returns true without giving up an iteration",
          "[locks][test_locks.test_wait_on_set][rule-1]") {
  TestLoop loop;
  Event event;
  event.set();
  auto main = [&]() -> Coroutine<bool> {
    const int before = loop.iterations();
    const bool result = co_await event.wait();
    CHECK(loop.iterations() == before);
    co_return result;
  };
  CHECK(loop.run_until_complete(main()));
}

TEST_CASE("who waited for an event gets true, two iterations after set was scheduled",
          "[locks][iterations][test_locks.test_wait]") {
  TestLoop loop;
  Event event;
  auto main = [&]() -> Coroutine<int> {
    loop.call_soon([&] { event.set(); });
    const int before = loop.iterations();
    const bool woken = co_await event.wait();
    CHECK(woken);
    co_return loop.iterations() - before;
  };
  CHECK(loop.run_until_complete(main()) == 2);
}

TEST_CASE("a cancelled wait for an event does not disturb the others", "[locks][test_locks.test_wait_cancel]") {
  TestLoop loop;
  Event event;
  Numbers log;
  const Task<void> first = loop.create_task(waits(event, log, 1));
  const Task<void> second = loop.create_task(waits(event, log, 2));
  run_once(loop);
  loop.call_soon([&] { first.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(first), CancelledError);
  event.set();
  loop.run_until_complete(second);
  CHECK(log == Numbers{2});
}

TEST_CASE("a waiter that is cancelled in the iteration in which the event was set is cancelled", "[locks][cancel]") {
  TestLoop loop;
  Event event;
  Numbers log;
  const Task<void> first = loop.create_task(waits(event, log, 1));
  const Task<void> second = loop.create_task(waits(event, log, 2));
  run_once(loop);
  SECTION("set, then cancelled") {
    event.set();
    first.cancel();
  }
  SECTION("cancelled, then set") {
    first.cancel();
    event.set();
  }
  run_once(loop, 2);
  CHECK(first.cancelled());
  CHECK(log == Numbers{2});
}

TEST_CASE("clear makes an event wait again", "[locks][test_locks.test_clear]") {
  TestLoop loop;
  Event event;
  Numbers log;
  event.set();
  CHECK(event.is_set());
  event.clear();
  CHECK_FALSE(event.is_set());
  const Task<void> task = loop.create_task(waits(event, log, 1));
  run_briefly(loop);
  CHECK_FALSE(task.done());
  event.set();
  loop.run_until_complete(task);
}

TEST_CASE("an event that is set and cleared at once still wakes those that waited",
          "[locks][test_locks.test_clear_with_waiters]") {
  TestLoop loop;
  Event event;
  Numbers log;
  const Task<void> waited = loop.create_task(waits(event, log, 1));
  run_once(loop);
  event.set();
  event.clear();
  CHECK_FALSE(event.is_set());
  const Task<void> newcomer = loop.create_task(waits(event, log, 2));
  run_once(loop);
  CHECK(log == Numbers{1});
  CHECK(waited.done());
  CHECK_FALSE(newcomer.done());
  event.set();
  event.set();
  run_once(loop);
  CHECK(log == Numbers{1, 2});
}

TEST_CASE("an event may be set and cleared again before the woken waiters ran",
          "[locks][test_locks.test_clear_with_waiters]") {
  TestLoop loop;
  Event event;
  Numbers log;
  loop.create_task(waits(event, log, 1));
  run_once(loop);
  event.set();
  event.clear();
  event.set();
  event.set();
  run_once(loop);
  CHECK(log == Numbers{1});
  CHECK(event.is_set());
}

// ---- Condition ---------------------------------------------------------------------------------------

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

// ---- Semaphore ---------------------------------------------------------------------------------------

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

// ---- Barrier -----------------------------------------------------------------------------------------

namespace {

constexpr int N = 5;  // parties

/// Runs n instances of the coroutine function at the same time until all are done; raises what the first raised.
template <class F> auto run_tasks(TestLoop& loop, int n, F& coroutine_function) {
  using Awaited = std::invoke_result_t<F&>;
  std::vector<Awaited> coroutines;
  for (int i = 0; i < n; ++i) coroutines.push_back(coroutine_function());
  auto main = [&]() -> Coroutine<std::vector<asyncio::Stored<typename Awaited::value_type>>> {
    co_return co_await asyncio::gather(std::move(coroutines));
  };
  return loop.run_until_complete(main());
}

std::size_t count_of(const Numbers& numbers, int number) {
  return static_cast<std::size_t>(std::count(numbers.begin(), numbers.end(), number));
}

}  // namespace

TEST_CASE("a barrier needs a positive number of parties", "[locks][test_locks.test_barrier_parties]") {
  CHECK(test::thrown([] { return Barrier(0).parties(); }) == "std::invalid_argument: parties must be > 0");
  CHECK_THROWS_AS(Barrier(-4), asyncio::ValueError);
  const Barrier barrier(N);
  CHECK(barrier.parties() == N);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("async_with on a barrier gives every party its own number", "[locks][test_locks.test_context_manager]") {
  TestLoop loop;
  Barrier barrier(3);
  Numbers numbers;
  auto party = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(barrier, [&](int& index) -> Coroutine<void> {
      numbers.push_back(index);
      co_return;
    });
  };
  run_tasks(loop, 3, party);
  std::sort(numbers.begin(), numbers.end());
  CHECK(numbers == Numbers{0, 1, 2});
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("the party that fills a barrier goes on first, then the others in the order they came", "[locks][fairness]") {
  TestLoop loop;
  Barrier barrier(4);
  Numbers numbers;
  auto party = [&]() -> Coroutine<void> { numbers.push_back(co_await barrier.wait()); };
  run_tasks(loop, 4, party);
  CHECK(numbers == Numbers{3, 0, 1, 2});
}

TEST_CASE("a barrier of one never waits", "[locks][test_locks.test_filling_one_task]") {
  TestLoop loop;
  Barrier barrier(1);
  auto main = [&]() -> Coroutine<bool> {
    const int before = loop.iterations();
    const int index = co_await barrier.wait();
    CHECK(index == 0);
    CHECK(loop.iterations() == before);
    co_return co_await asyncio::async_with(barrier, []() -> Coroutine<bool> { co_return true; });
  };
  CHECK(loop.run_until_complete(main()));
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("a barrier of one may be passed again and again", "[locks][test_locks.test_filling_one_task_twice]") {
  TestLoop loop;
  Barrier barrier(1);
  for (int i = 0; i < 2; ++i) {
    const Task<int> task = loop.create_task(barrier.wait());
    run_once(loop);
    REQUIRE(task.done());
    CHECK(task.result() == 0);
    CHECK(barrier.n_waiting() == 0);
  }
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("n_waiting counts the parties that have come", "[locks][test_locks.test_filling_task_by_task]") {
  TestLoop loop;
  Barrier barrier(3);
  std::vector<Task<int>> tasks;
  for (int expected : {1, 2}) {
    tasks.push_back(loop.create_task(barrier.wait()));
    run_once(loop);
    CHECK(barrier.n_waiting() == expected);
  }
  tasks.push_back(loop.create_task(barrier.wait()));
  run_once(loop);
  CHECK(barrier.n_waiting() == 0);  // it drains
  run_briefly(loop);
  for (int i = 0; i < 3; ++i) CHECK(tasks[static_cast<std::size_t>(i)].result() == i);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("a barrier may be waited for inside of itself", "[locks][test_locks.test_filling_tasks_wait_twice]") {
  TestLoop loop;
  Barrier barrier(N);
  Numbers log;
  auto party = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(barrier, [&]() -> Coroutine<void> {
      log.push_back(1);
      co_await asyncio::async_with(barrier, [&]() -> Coroutine<void> {
        log.push_back(2);
        co_return;
      });
    });
  };
  run_tasks(loop, N, party);
  CHECK(log == Numbers{1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("each round of a barrier numbers its parties from 0 on",
          "[locks][test_locks.test_filling_tasks_check_return_value]") {
  TestLoop loop;
  Barrier barrier(N);
  auto party = [&]() -> Coroutine<int> {
    co_await barrier.wait();
    co_return co_await barrier.wait();
  };
  Numbers numbers = run_tasks(loop, N, party);
  std::sort(numbers.begin(), numbers.end());
  CHECK(numbers == Numbers{0, 1, 2, 3, 4});
  CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("who comes while a barrier drains is not let through with those that leave",
          "[locks][test_locks.test_draining_state]") {
  TestLoop loop;
  loop.catch_exceptions();
  Barrier barrier(2);
  const Task<int> first = loop.create_task(barrier.wait());
  const Task<int> second = loop.create_task(barrier.wait());
  const Task<int> early = loop.create_task(barrier.wait());
  run_briefly(loop);
  CHECK(first.done());
  CHECK(second.done());
  CHECK_FALSE(early.done());
  CHECK(barrier.n_waiting() == 1);
  const Task<int> last = loop.create_task(barrier.wait());
  run_briefly(loop);
  CHECK(early.result() == 0);
  CHECK(last.result() == 1);
}

TEST_CASE("parties that wait again wait for those that are still to leave",
          "[locks][test_locks.test_blocking_tasks_while_draining]") {
  TestLoop loop;
  constexpr int REWAIT = 2;
  Barrier barrier(N), others(N - REWAIT);
  int rewait = REWAIT, passed_others = 0;
  auto party = [&]() -> Coroutine<void> {
    co_await barrier.wait();
    if (rewait > 0) {
      --rewait;
    } else {
      co_await others.wait();
      ++passed_others;
    }
    co_await barrier.wait();
  };
  run_tasks(loop, N, party);
  CHECK(passed_others == N - REWAIT);
  CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("a cancelled party is missing: another must come in its place",
          "[locks][cancel][test_locks.test_filling_tasks_cancel_one]") {
  TestLoop loop;
  Barrier barrier(3);
  std::vector<Task<int>> tasks;
  for (int expected : {1, 2}) {
    tasks.push_back(loop.create_task(barrier.wait()));
    run_once(loop);
    CHECK(barrier.n_waiting() == expected);
  }
  tasks[0].cancel();
  run_once(loop);
  CHECK(barrier.n_waiting() == 1);
  run_once(loop);
  CHECK(tasks[0].cancelled());
  tasks.push_back(loop.create_task(barrier.wait()));
  run_once(loop);
  CHECK(barrier.n_waiting() == 2);
  tasks.push_back(loop.create_task(barrier.wait()));
  run_briefly(loop);
  for (std::size_t i : {1, 2, 3}) CHECK_FALSE(tasks[i].cancelled());
  for (std::size_t i : {1, 2, 3}) CHECK(tasks[i].done());
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("a party that is cancelled when the barrier is already full does not hold up the others", "[locks][cancel]") {
  TestLoop loop;
  Barrier barrier(3);
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 2; ++i) tasks.push_back(loop.create_task(barrier.wait()));
  run_once(loop);
  tasks.push_back(loop.create_task(barrier.wait()));
  run_once(loop);  // full
  tasks[0].cancel();
  run_briefly(loop);
  CHECK(tasks[0].cancelled());
  CHECK(tasks[1].result() == 1);
  CHECK(tasks[2].result() == 2);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
  auto party = [&]() -> Coroutine<int> { co_return co_await barrier.wait(); };
  CHECK(run_tasks(loop, 3, party).size() == 3);
}

TEST_CASE("reset of a barrier where nobody waits changes nothing", "[locks][test_locks.test_reset_barrier]") {
  TestLoop loop;
  Barrier barrier(1);
  loop.run_until_complete(barrier.reset());
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
  CHECK(loop.run_until_complete(barrier.wait()) == 0);
}

TEST_CASE("reset raises BrokenBarrierError in those that wait, and the barrier is as new",
          "[locks][test_locks.test_reset_barrier_while_tasks_waiting]") {
  TestLoop loop;
  Barrier barrier(N);
  std::vector<Task<int>> tasks;
  for (int i = 0; i < N - 1; ++i) tasks.push_back(loop.create_task(barrier.wait()));
  run_once(loop);
  loop.create_task(barrier.reset());
  run_briefly(loop);
  for (const Task<int>& task : tasks) {
    REQUIRE(task.done());
    CHECK_THROWS_AS(task.result(), BrokenBarrierError);
  }
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
  auto party = [&]() -> Coroutine<int> { co_return co_await barrier.wait(); };
  CHECK(run_tasks(loop, N, party).size() == static_cast<std::size_t>(N));
}

TEST_CASE("a reset while a barrier drains breaks those that have not left yet",
          "[locks][test_locks.test_reset_barrier_when_tasks_half_draining]") {
  TestLoop loop;
  Barrier barrier(N);
  int left = 0;
  std::size_t broken = 0;
  auto party = [&]() -> Coroutine<void> {
    bool interrupted = false;
    try {
      co_await barrier.wait();
    } catch (const BrokenBarrierError&) {
      interrupted = true;
    }
    if (interrupted) {
      ++broken;
    } else if (++left == N - N / 2) {
      co_await barrier.reset();
    }
  };
  run_tasks(loop, N, party);
  CHECK(broken == static_cast<std::size_t>(N / 2));
  CHECK(left == N - N / 2);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("a reset while a barrier drains lets those that wait to come in go on waiting",
          "[locks][test_locks.test_reset_barrier_when_tasks_half_draining_half_blocking]") {
  TestLoop loop;
  Barrier barrier(N);
  constexpr int BLOCKING = N / 2;
  int count = 0, interrupted_draining = 0, interrupted_blocking = 0;
  auto party = [&]() -> Coroutine<void> {
    bool interrupted = false;
    try {
      co_await barrier.wait();
    } catch (const BrokenBarrierError&) {
      interrupted = true;
    }
    if (interrupted) {
      ++interrupted_draining;
      co_await barrier.wait();
      co_return;
    }
    if (++count > BLOCKING) {
      co_await barrier.reset();
      co_await barrier.wait();
      co_return;
    }
    try {
      co_await barrier.wait();
    } catch (const BrokenBarrierError&) {
      ++interrupted_blocking;
    }
  };
  run_tasks(loop, N, party);
  CHECK(interrupted_draining == BLOCKING);
  CHECK(interrupted_blocking == 0);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("parties that a reset has thrown out may come back at once",
          "[locks][test_locks.test_reset_barrier_while_tasks_waiting_and_waiting_again]") {
  TestLoop loop;
  Barrier barrier(N);
  int interrupted = 0, passed = 0;
  auto party = [&]() -> Coroutine<void> {
    try {
      co_await barrier.wait();
    } catch (const BrokenBarrierError&) {
      ++interrupted;
    }
    co_await barrier.wait();
    ++passed;
  };
  auto last = [&]() -> Coroutine<void> {
    co_await barrier.wait();
    ++passed;
  };
  for (int i = 0; i < N - 1; ++i) loop.create_task(party());
  loop.create_task(barrier.reset());
  run_once(loop);
  loop.create_task(last());
  run_briefly(loop, 40);
  CHECK(interrupted == N - 1);
  CHECK(passed == N);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("a reset by the last that leaves disturbs nobody",
          "[locks][test_locks.test_reset_barrier_while_tasks_draining]") {
  TestLoop loop;
  Barrier barrier(N);
  int count = 0, second_round = 0, interrupted = 0, third_round = 0;
  auto party = [&]() -> Coroutine<void> {
    co_await barrier.wait();
    if (++count == N) {
      co_await barrier.reset();
      co_await barrier.wait();
    } else {
      try {
        co_await barrier.wait();
        ++second_round;
      } catch (const BrokenBarrierError&) {
        ++interrupted;
      }
    }
    co_await barrier.wait();
    ++third_round;
  };
  run_tasks(loop, N, party);
  CHECK(second_round == N - 1);
  CHECK(interrupted == 0);
  CHECK(third_round == N);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("an aborted barrier is broken for whoever comes", "[locks][test_locks.test_abort_barrier]") {
  TestLoop loop;
  Barrier barrier(1);
  loop.run_until_complete(barrier.abort());
  CHECK(barrier.n_waiting() == 0);
  CHECK(barrier.broken());
  CHECK(test::thrown([&] { loop.run_until_complete(barrier.wait()); }) ==
        "asyncio::BrokenBarrierError: Barrier aborted");
}

TEST_CASE("abort raises BrokenBarrierError in those that wait", "[locks][test_locks.test_abort_barrier]") {
  TestLoop loop;
  Barrier barrier(3);
  const Task<int> task = loop.create_task(barrier.wait());
  run_once(loop);
  loop.create_task(barrier.abort());
  run_briefly(loop);
  REQUIRE(task.done());
  CHECK(test::thrown([&] { return task.result(); }) == "asyncio::BrokenBarrierError: Abort or reset of barrier");
  CHECK(barrier.broken());
}

TEST_CASE("an abort while a barrier drains breaks those that leave and those that come",
          "[locks][test_locks.test_abort_barrier_when_tasks_half_draining_half_blocking]") {
  TestLoop loop;
  Barrier barrier(N);
  constexpr int BLOCKING = N / 2;
  int count = 0, interrupted_draining = 0, interrupted_blocking = 0;
  auto party = [&]() -> Coroutine<void> {
    bool interrupted = false;
    try {
      co_await barrier.wait();
    } catch (const BrokenBarrierError&) {
      interrupted = true;
    }
    if (interrupted) {
      ++interrupted_draining;
    } else if (++count > BLOCKING) {
      co_await barrier.abort();
    } else {
      try {
        co_await barrier.wait();
      } catch (const BrokenBarrierError&) {
        ++interrupted_blocking;
      }
    }
  };
  run_tasks(loop, N, party);
  CHECK(barrier.broken());
  CHECK(interrupted_draining == BLOCKING);
  CHECK(interrupted_blocking == N - BLOCKING - 1);
  CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("a party that fails may abort the barrier for the others",
          "[locks][test_locks.test_abort_barrier_when_exception]") {
  TestLoop loop;
  Barrier barrier(N);
  int passed_twice = 0, interrupted = 0;
  auto party = [&]() -> Coroutine<void> {
    bool failed = false;
    try {
      co_await asyncio::async_with(barrier, [&](int& index) -> Coroutine<void> {
        if (index == N / 2) throw asyncio::ValueError("spam");
        co_return;
      });
      co_await asyncio::async_with(barrier, [&]() -> Coroutine<void> {
        ++passed_twice;
        co_return;
      });
    } catch (const BrokenBarrierError&) {
      ++interrupted;
    } catch (const asyncio::ValueError&) {
      failed = true;
    }
    if (failed) co_await barrier.abort();
  };
  run_tasks(loop, N, party);
  CHECK(barrier.broken());
  CHECK(passed_twice == 0);
  CHECK(interrupted == N - 1);
  CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("an aborted barrier is whole again after a reset",
          "[locks][test_locks.test_abort_barrier_when_exception_then_resetting]") {
  TestLoop loop;
  Barrier barrier(N), meeting(N);
  Numbers log;
  auto party = [&]() -> Coroutine<void> {
    bool failed = false;
    try {
      const int index = co_await barrier.wait();
      failed = index == N / 2;
      if (!failed) {
        co_await barrier.wait();
        log.push_back(1);
      }
    } catch (const BrokenBarrierError&) {
      log.push_back(2);
    }
    if (failed) co_await barrier.abort();
    if (co_await meeting.wait() == N / 2) co_await barrier.reset();
    co_await meeting.wait();
    co_await barrier.wait();
    log.push_back(3);
  };
  run_tasks(loop, N, party);
  CHECK_FALSE(barrier.broken());
  CHECK(count_of(log, 1) == 0);
  CHECK(count_of(log, 2) == static_cast<std::size_t>(N - 1));
  CHECK(count_of(log, 3) == static_cast<std::size_t>(N));
  CHECK(barrier.n_waiting() == 0);
}

// ---- the end of it all -------------------------------------------------------------------------------

namespace {

/// Lets tasks wait for `primitive`, and destroys it and the loop, in the one order and in the other.
template <class Primitive, class... Args> void destroy_while_tasks_wait(Args... args) {
  const auto tasks_on = [](TestLoop& loop, Primitive& primitive) {
    loop.catch_exceptions();
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(loop.create_task(acquires_holding(primitive, Instance())));
    run_briefly(loop, 4);
    tasks[1].cancel();  // and has no more time to go on
    return tasks;
  };
  {
    auto loop = std::make_unique<TestLoop>();
    auto primitive = std::make_unique<Primitive>(args...);
    const std::vector<Task<void>> tasks = tasks_on(*loop, *primitive);
    loop.reset();
    CHECK(Instance::alive() == 0);
    primitive.reset();
    CHECK(tasks[3].cancelled());
  }
  {
    auto loop = std::make_unique<TestLoop>();
    auto primitive = std::make_unique<Primitive>(args...);
    const std::vector<Task<void>> tasks = tasks_on(*loop, *primitive);
    primitive.reset();
    loop.reset();
    CHECK(Instance::alive() == 0);
    CHECK(tasks[3].cancelled());
  }
}

Coroutine<void> shares(std::shared_ptr<Lock> lock, Instance) {
  co_await asyncio::async_with(*lock, [&]() -> Coroutine<void> { co_await asyncio::sleep(1000); });
}

}  // namespace

TEST_CASE("a loop may end before or after what its tasks wait for", "[locks][rule-7]") {
  SECTION("a lock") { destroy_while_tasks_wait<Lock>(); }
  SECTION("an event") { destroy_while_tasks_wait<Event>(); }
  SECTION("a condition") { destroy_while_tasks_wait<Condition>(); }
  SECTION("a semaphore") { destroy_while_tasks_wait<Semaphore>(1); }
  SECTION("a barrier") { destroy_while_tasks_wait<Barrier>(9); }
}

TEST_CASE("a lock that lives in the frames of the tasks that wait for it goes with the loop", "[locks][rule-7]") {
  std::weak_ptr<Lock> observer;
  {
    TestLoop loop;
    loop.catch_exceptions();
    const auto lock = std::make_shared<Lock>();
    observer = lock;
    for (int i = 0; i < 3; ++i) loop.create_task(shares(lock, Instance()));
    run_once(loop);
  }
  CHECK(observer.expired());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a lock is of use again when the loop that used it is gone", "[locks][rule-7]") {
  Semaphore semaphore(0);
  {
    TestLoop loop;
    loop.catch_exceptions();
    loop.create_task(semaphore.acquire());
    run_once(loop);
  }
  semaphore.release();  // the waiter is gone: the permit stays
  CHECK_FALSE(semaphore.locked());
}

// ---- many waiters ------------------------------------------------------------------------------------

namespace {

void make_wait(TestLoop&, Event&) {}
void make_wait(TestLoop& loop, Lock& lock) { acquire_now(loop, lock); }
void make_wait(TestLoop& loop, Semaphore& semaphore) { acquire_now(loop, semaphore); }
void finish(TestLoop&, Event& event) { event.set(); }
template <class Primitive> void finish(TestLoop& loop, Primitive& primitive) {
  primitive.release();
  CHECK_FALSE(primitive.locked());
  acquire_now(loop, primitive);
}

/// The CPU seconds it takes to let n tasks wait for a Primitive and to cancel them in random order.
template <class Primitive> double seconds_to_cancel(std::size_t n) {
  const std::clock_t begin = std::clock();
  {
    TestLoop loop;
    Primitive primitive;
    make_wait(loop, primitive);
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < n; ++i) tasks.push_back(loop.create_task(acquires_holding(primitive, Instance())));
    run_once(loop);
    std::shuffle(tasks.begin(), tasks.end(), std::mt19937(7));
    for (const Task<void>& task : tasks) task.cancel();
    run_once(loop, 2);
    CHECK(std::all_of(tasks.begin(), tasks.end(), [](const Task<void>& task) { return task.cancelled(); }));
    CHECK(Instance::alive() == 0);
    finish(loop, primitive);
  }
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

void compare_all_times(std::size_t n, bool print) {
  SECTION("of an event") { check_linear("Event", n, seconds_to_cancel<Event>, print); }
  SECTION("of a lock") { check_linear("Lock", n, seconds_to_cancel<Lock>, print); }
  SECTION("of a semaphore") { check_linear("Semaphore", n, seconds_to_cancel<Semaphore>, print); }
}

}  // namespace

TEST_CASE("ten times the waiters, cancelled in random order, take about ten times as long", "[locks][many]") {
  compare_all_times(2000, false);
}

TEST_CASE("the same with a hundred thousand waiters", "[.big][locks]") { compare_all_times(10000, true); }

TEST_CASE("a hundred thousand waiters that are all cancelled leave nothing behind", "[.big][locks][rule-7]") {
  seconds_to_cancel<Event>(100000);
  seconds_to_cancel<Lock>(100000);
  seconds_to_cancel<Semaphore>(100000);
  CHECK(Instance::alive() == 0);
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

TEST_CASE("a task that waits for a lock or semaphore that is gone can still be cancelled", "[locks][rule-7]") {
  TestLoop loop;
  auto lock = std::make_unique<Lock>();
  auto semaphore = std::make_unique<Semaphore>(0);
  auto condition = std::make_unique<Condition>();
  auto event = std::make_unique<Event>();
  const auto wait_for_condition = [&]() -> Coroutine<bool> {
    co_await condition->acquire();
    co_return co_await condition->wait();
  };
  loop.run_until_complete(lock->acquire());
  const std::vector<Task<bool>> tasks = {loop.create_task(lock->acquire()), loop.create_task(semaphore->acquire()),
                                         loop.create_task(wait_for_condition), loop.create_task(event->wait())};
  run_briefly(loop, 3);
  lock.reset(), semaphore.reset(), condition.reset(), event.reset();
  for (const Task<bool>& task : tasks) task.cancel();
  run_briefly(loop, 3);
  for (const Task<bool>& task : tasks) CHECK(task.cancelled());
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
