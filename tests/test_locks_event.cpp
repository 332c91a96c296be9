// Event: who goes on when it is set. Upstream counterpart: Lib/test/test_asyncio/test_locks.py, EventTests.

#include "tests/locks.hpp"

namespace {

using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Event;
using asyncio::Task;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::TestLoop;

Coroutine<void> waits(Event& event, Numbers& log, int number) {
  co_await event.wait();
  log.push_back(number);
}

}  // namespace

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
