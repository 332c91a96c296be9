// Lock: who gets it, in which order and when; and what holds for all that tasks wait for here: one loop, its end, many
// waiters. Upstream counterpart: Lib/test/test_asyncio/test_locks.py, LockTests.
#include <algorithm>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/locks.hpp"

namespace {

using asyncio::Barrier;
using asyncio::BoundedSemaphore;
using asyncio::CancelledError;
using asyncio::Condition;
using asyncio::Coroutine;
using asyncio::Event;
using asyncio::Lock;
using asyncio::Semaphore;
using asyncio::Task;
using test::acquire_now;
using test::cancel_in_random_order;
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
    cancel_in_random_order(loop, tasks);
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
