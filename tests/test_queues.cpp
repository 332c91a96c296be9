// Queue, PriorityQueue, LifoQueue: order, waiting, cancellation, join and shutdown. Upstream counterpart:
// Lib/test/test_asyncio/test_queues.py.
#include <algorithm>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/async_test.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::LifoQueue;
using asyncio::PriorityQueue;
using asyncio::Queue;
using asyncio::QueueEmpty;
using asyncio::QueueFull;
using asyncio::QueueShutDown;
using asyncio::Task;
using test::cancel_in_random_order;
using test::check_linear;
using test::Instance;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::TestLoop;

const char* const EMPTY = "asyncio::QueueEmpty: the queue is empty";
const char* const FULL = "asyncio::QueueFull: the queue is full";
const char* const SHUT_DOWN = "asyncio::QueueShutDown: the queue was shut down";

template <class Q> Coroutine<void> gets(Q& queue, Numbers& log) { log.push_back(co_await queue.get()); }

/// Puts the item and notes it.
template <class Q> Coroutine<void> puts(Q& queue, Numbers& log, int item) {
  co_await queue.put(item);
  log.push_back(item);
}

/// All that is in the queue.
template <class Q> Numbers drain(Q& queue) {
  Numbers items;
  while (!queue.empty()) items.push_back(queue.get_nowait());
  return items;
}

/// Orders by `priority` alone: the serial number tells equal ones apart.
struct Job {
  int priority, serial;
  friend bool operator<(const Job& a, const Job& b) { return a.priority < b.priority; }
};

Coroutine<void> gets_holding(Queue<int>& queue, Instance) { co_await queue.get(); }
Coroutine<void> puts_holding(Queue<int>& queue, Instance) { co_await queue.put(1); }
Coroutine<void> joins_holding(Queue<int>& queue, Instance) { co_await queue.join(); }

}  // namespace

// ---- size and order ----------------------------------------------------------------------------------

ASYNC_TEST_CASE("a queue is empty until something is put, and again when all was got",
                "[queues][test_queues.test_empty]") {
  Queue<int> queue;
  CHECK(queue.empty());
  co_await queue.put(1);
  CHECK_FALSE(queue.empty());
  CHECK(queue.qsize() == 1);
  const int got = co_await queue.get();
  CHECK(got == 1);
  CHECK(queue.empty());
}

TEST_CASE("a queue without a limit is never full, one with a limit is full at it", "[queues][test_queues.test_full]") {
  Queue<int> unlimited;
  for (int item = 0; item < 1000; ++item) unlimited.put_nowait(item);
  CHECK_FALSE(unlimited.full());
  CHECK(unlimited.maxsize() == 0);
  Queue<int> limited(2);
  CHECK(limited.maxsize() == 2);
  limited.put_nowait(1);
  CHECK_FALSE(limited.full());
  limited.put_nowait(2);
  CHECK(limited.full());
}

TEST_CASE("a queue gives first what came first", "[queues][test_queues.test_order]") {
  Queue<int> queue;
  for (int item : {1, 3, 2}) queue.put_nowait(item);
  CHECK(drain(queue) == Numbers{1, 3, 2});
}

TEST_CASE("a LifoQueue gives first what came last", "[queues][test_queues.test_order]") {
  LifoQueue<int> queue;
  for (int item : {1, 3, 2}) queue.put_nowait(item);
  CHECK(drain(queue) == Numbers{2, 3, 1});
}

TEST_CASE("a PriorityQueue gives first what is smallest", "[queues][test_queues.test_order]") {
  PriorityQueue<int> queue;
  for (int item : {1, 3, 2, 9, 0, 4}) queue.put_nowait(item);
  CHECK(drain(queue) == Numbers{0, 1, 2, 3, 4, 9});
}

TEST_CASE("equal items leave a PriorityQueue in the order of heapq, which is not that of their arrival",
          "[queues][heapq]") {
  PriorityQueue<Job> queue;
  SECTION("all equal") {
    for (int serial = 0; serial < 8; ++serial) queue.put_nowait({1, serial});
    Numbers serials;
    while (!queue.empty()) serials.push_back(queue.get_nowait().serial);
    CHECK(serials == Numbers{0, 2, 6, 5, 7, 4, 1, 3});
  }
  SECTION("two priorities, with gets in between") {
    Numbers serials;
    for (int serial = 0; serial < 12; ++serial) {
      queue.put_nowait({serial % 2, serial});
      if (serial % 4 == 3) serials.push_back(queue.get_nowait().serial);
    }
    while (!queue.empty()) serials.push_back(queue.get_nowait().serial);
    CHECK(serials == Numbers{0, 2, 6, 8, 4, 10, 3, 7, 11, 1, 5, 9});
  }
}

TEST_CASE("put and get that need not wait give up no iteration", "[queues][rule-1]") {
  TestLoop loop;
  Queue<int> queue(1);
  auto main = [&]() -> Coroutine<void> {
    const int before = loop.iterations();
    for (int item = 0; item < 3; ++item) {
      co_await queue.put(item);
      const int got = co_await queue.get();
      CHECK(got == item);
    }
    CHECK(loop.iterations() == before);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a producer stops at the limit and goes on when something is got", "[queues][test_queues.test_maxsize]") {
  TestLoop loop;
  Queue<int> queue(2);
  Numbers log;
  auto producer = [&]() -> Coroutine<void> {
    for (int item : {0, 1, 2}) co_await puts(queue, log, item);
  };
  const Task<void> task = loop.create_task(producer());
  run_once(loop, 2);
  CHECK(log == Numbers{0, 1});
  CHECK(queue.get_nowait() == 0);
  run_once(loop);
  CHECK(log == Numbers{0, 1, 2});
  CHECK(drain(queue) == Numbers{1, 2});
  CHECK(task.done());
}

// ---- get ---------------------------------------------------------------------------------------------

TEST_CASE("get waits for an item", "[queues][test_queues.test_blocking_get_wait]") {
  TestLoop loop;
  Queue<int> queue;
  const Task<int> task = loop.create_task(queue.get());
  run_once(loop);
  CHECK_FALSE(task.done());
  loop.call_later(0.01, [&] { queue.put_nowait(1); });
  CHECK(loop.run_until_complete(task) == 1);
  CHECK(loop.time() == 0.01);
}

TEST_CASE("who waits in get goes on two iterations after the put was scheduled", "[queues][iterations]") {
  TestLoop loop;
  Queue<int> queue;
  auto main = [&]() -> Coroutine<int> {
    loop.call_soon([&] { queue.put_nowait(1); });
    const int before = loop.iterations();
    co_await queue.get();
    co_return loop.iterations() - before;
  };
  CHECK(loop.run_until_complete(main()) == 2);
}

TEST_CASE("those that wait in get are served in the order they came", "[queues][fairness]") {
  TestLoop loop;
  Queue<int> queue;
  std::vector<std::pair<int, int>> log;
  auto getter = [&](int number) -> Coroutine<void> {
    const int item = co_await queue.get();
    log.emplace_back(number, item);
  };
  for (int number : {1, 2, 3}) loop.create_task(getter(number));
  run_once(loop);
  for (int item : {10, 20, 30}) queue.put_nowait(item);
  run_once(loop);
  CHECK(log == std::vector<std::pair<int, int>>{{1, 10}, {2, 20}, {3, 30}});
}

TEST_CASE("a newcomer may take the item that a woken getter was to have: that one waits again", "[queues][fairness]") {
  TestLoop loop;
  Queue<int> queue;
  Numbers log;
  const Task<void> waits = loop.create_task(gets(queue, log));
  run_once(loop);
  queue.put_nowait(1);
  CHECK(queue.get_nowait() == 1);
  run_once(loop, 2);
  CHECK_FALSE(waits.done());
  queue.put_nowait(2);
  run_once(loop);
  CHECK(log == Numbers{2});
}

TEST_CASE("get_nowait gives an item or is QueueEmpty",
          "[queues][test_queues.test_nonblocking_get][test_queues.test_nonblocking_get_exception]") {
  Queue<int> queue;
  CHECK(test::thrown([&] { return queue.get_nowait(); }) == EMPTY);
  queue.put_nowait(1);
  CHECK(queue.get_nowait() == 1);
  CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
}

TEST_CASE("a get makes room for one that waits in put", "[queues][test_queues.test_get_with_putters]") {
  TestLoop loop;
  Queue<int> queue(1);
  Numbers log;
  queue.put_nowait(1);
  loop.create_task(puts(queue, log, 2));
  loop.create_task(puts(queue, log, 3));
  run_once(loop);
  CHECK(queue.get_nowait() == 1);
  run_once(loop);
  CHECK(log == Numbers{2});
  CHECK(queue.get_nowait() == 2);
  run_once(loop);
  CHECK(log == Numbers{2, 3});
}

ASYNC_TEST_CASE("items come out in the order of those that waited in put",
                "[queues][test_queues.test_get_with_waiting_putters]") {
  Queue<std::string> queue(1);
  asyncio::create_task(queue.put("a"));
  asyncio::create_task(queue.put("b"));
  std::string text = co_await queue.get();
  text += co_await queue.get();
  CHECK(text == "ab");
}

TEST_CASE("a producer and a consumer meet in a queue of one", "[queues][test_queues.test_why_are_getters_waiting]") {
  TestLoop loop;
  Queue<int> queue(1);
  Numbers log;
  auto producer = [&]() -> Coroutine<void> {
    for (int item = 0; item < 5; ++item) co_await queue.put(item);
  };
  auto consumer = [&]() -> Coroutine<void> {
    for (int item = 0; item < 5; ++item) co_await gets(queue, log);
  };
  const Task<void> task = loop.create_task(producer());
  loop.run_until_complete(consumer());
  CHECK(task.done());
  CHECK(log == Numbers{0, 1, 2, 3, 4});
}

TEST_CASE("a get that timed out takes no item",
          "[queues][test_queues.test_cancelled_getters_not_being_held_in_self_getters]") {
  TestLoop loop;
  Queue<int> queue(5);
  CHECK_THROWS_AS(loop.run_until_complete(asyncio::wait_for(queue.get(), 0.1)), asyncio::TimeoutError);
  queue.put_nowait(1);
  run_briefly(loop);
  CHECK(queue.qsize() == 1);
}

// ---- get, cancelled ----------------------------------------------------------------------------------

TEST_CASE("an item goes to the next getter when the first was cancelled",
          "[queues][cancel][test_queues.test_get_cancelled_race]") {
  TestLoop loop;
  Queue<int> queue;
  const Task<int> first = loop.create_task(queue.get());
  const Task<int> second = loop.create_task(queue.get());
  run_once(loop);
  first.cancel();
  run_once(loop);
  CHECK(first.cancelled());
  queue.put_nowait(7);
  CHECK(loop.run_until_complete(second) == 7);
}

TEST_CASE("a getter that is cancelled in the iteration in which it was woken loses no item",
          "[queues][cancel][test_queues.test_get_cancel_drop_one_pending_reader]") {
  TestLoop loop;
  Queue<int> queue;
  const Task<int> reader = loop.create_task(queue.get());
  run_once(loop);
  queue.put_nowait(1);
  queue.put_nowait(2);
  reader.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(reader), CancelledError);
  CHECK(drain(queue) == Numbers{1, 2});
}

TEST_CASE("a getter that is cancelled in the iteration in which it was woken wakes the next",
          "[queues][cancel][test_queues.test_get_cancel_drop_many_pending_readers]") {
  TestLoop loop;
  Queue<int> queue;
  std::vector<Task<int>> readers;
  for (int i = 0; i < 3; ++i) readers.push_back(loop.create_task(queue.get()));
  run_once(loop);
  queue.put_nowait(1);
  queue.put_nowait(2);
  readers[0].cancel();
  run_once(loop, 2);
  CHECK(readers[0].cancelled());
  REQUIRE(readers[1].done());
  REQUIRE(readers[2].done());
  CHECK(readers[1].result() + readers[2].result() == 3);
}

TEST_CASE("getters that are all cancelled after a put leave the item in the queue", "[queues][cancel]") {
  TestLoop loop;
  Queue<int> queue;
  std::vector<Task<int>> readers;
  for (int i = 0; i < 4; ++i) readers.push_back(loop.create_task(queue.get()));
  run_once(loop);
  queue.put_nowait(1);
  for (const Task<int>& reader : readers) reader.cancel();
  run_briefly(loop);
  CHECK(drain(queue) == Numbers{1});
  queue.put_nowait(2);
  CHECK(loop.run_until_complete(queue.get()) == 2);
}

// ---- put ---------------------------------------------------------------------------------------------

TEST_CASE("put waits for room", "[queues][test_queues.test_blocking_put_wait]") {
  TestLoop loop;
  Queue<int> queue(1);
  Numbers log;
  auto producer = [&]() -> Coroutine<void> {
    co_await puts(queue, log, 1);
    co_await puts(queue, log, 2);
  };
  loop.call_later(0.01, [&] { queue.get_nowait(); });
  const Task<void> task = loop.create_task(producer());
  run_once(loop);
  CHECK(log == Numbers{1});
  loop.run_until_complete(task);
  CHECK(log == Numbers{1, 2});
  CHECK(loop.time() == 0.01);
}

TEST_CASE("put_nowait into a full queue is QueueFull, and the queue keeps what it has",
          "[queues][test_queues.test_nonblocking_put][test_queues.test_nonblocking_put_exception]") {
  Queue<int> queue(1);
  queue.put_nowait(1);
  CHECK(test::thrown([&] { queue.put_nowait(2); }) == FULL);
  CHECK(drain(queue) == Numbers{1});
}

ASYNC_TEST_CASE("a put that is done before anybody wants the item is done",
                "[queues][test_queues.test_put_cancelled]") {
  Queue<int> queue;
  const Task<void> task = asyncio::create_task(queue.put(1));
  const int got = co_await queue.get();
  CHECK(got == 1);
  CHECK(task.done());
  CHECK_FALSE(task.cancel());
}

TEST_CASE("a put wakes one that waits in get", "[queues][test_queues.test_put_with_waiting_getters]") {
  TestLoop loop;
  Queue<int> queue;
  const Task<int> task = loop.create_task(queue.get());
  run_once(loop);
  loop.run_until_complete(queue.put(7));
  CHECK(loop.run_until_complete(task) == 7);
}

TEST_CASE("those that wait in put all come in when a getter empties the queue",
          "[queues][test_queues.test_why_are_putters_waiting]") {
  TestLoop loop;
  Queue<int> queue(2);
  Numbers log;
  auto getter = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(0);
    for (std::size_t n = queue.qsize(); n > 0; --n) queue.get_nowait();
  };
  loop.create_task(getter());
  for (int item : {0, 1, 2, 3}) loop.create_task(puts(queue, log, item));
  run_briefly(loop);
  CHECK(log == Numbers{0, 1, 2, 3});
  CHECK(drain(queue) == Numbers{2, 3});
}

// ---- put, cancelled ----------------------------------------------------------------------------------

TEST_CASE("a cancelled put puts nothing, and the others come in in order",
          "[queues][cancel][test_queues.test_put_cancelled_race]") {
  TestLoop loop;
  Queue<int> queue(1);
  Numbers log;
  loop.create_task(puts(queue, log, 1));
  const Task<void> second = loop.create_task(puts(queue, log, 2));
  const Task<void> third = loop.create_task(puts(queue, log, 3));
  run_once(loop);
  CHECK(log == Numbers{1});
  third.cancel();
  run_once(loop);
  CHECK(third.cancelled());
  CHECK(queue.get_nowait() == 1);
  run_once(loop);
  CHECK(queue.get_nowait() == 2);
  CHECK(second.done());
  CHECK(queue.empty());
}

TEST_CASE("a put that is cancelled in the iteration in which it was woken may be tried again",
          "[queues][cancel][test_queues.test_put_cancel_drop]"
          "[test_queues.test_cancelled_put_silence_value_error_exception]") {
  TestLoop loop;
  Queue<int> queue(1);
  queue.put_nowait(1);
  const Task<void> writer = loop.create_task(queue.put(2));
  run_once(loop);
  CHECK(queue.get_nowait() == 1);
  writer.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(writer), CancelledError);
  CHECK(queue.empty());
  loop.run_until_complete(queue.put(2));
  CHECK(drain(queue) == Numbers{2});
}

TEST_CASE("a put that is cancelled in the iteration in which it was woken lets the next one in", "[queues][cancel]") {
  TestLoop loop;
  Queue<int> queue(1);
  Numbers log;
  queue.put_nowait(1);
  std::vector<Task<void>> writers;
  for (int item : {2, 3, 4}) writers.push_back(loop.create_task(puts(queue, log, item)));
  run_once(loop);
  CHECK(queue.get_nowait() == 1);
  writers[0].cancel();
  run_once(loop, 2);
  CHECK(writers[0].cancelled());
  CHECK(log == Numbers{3});
  CHECK_FALSE(writers[2].done());
  CHECK(queue.get_nowait() == 3);
  run_once(loop);
  CHECK(log == Numbers{3, 4});
}

TEST_CASE("a put that was cancelled while it waited is passed over",
          "[queues][cancel][test_queues.test_cancelled_puts_not_being_held_in_self_putters]") {
  TestLoop loop;
  Queue<int> queue(1);
  Numbers log;
  queue.put_nowait(1);
  const Task<void> first = loop.create_task(puts(queue, log, 2));
  const Task<void> second = loop.create_task(puts(queue, log, 3));
  run_once(loop);
  first.cancel();
  CHECK(queue.get_nowait() == 1);  // before the cancelled one has gone
  run_once(loop);
  CHECK(first.cancelled());
  CHECK(second.done());
  CHECK(drain(queue) == Numbers{3});
}

// ---- what items may be -------------------------------------------------------------------------------

TEST_CASE("items may be move-only", "[queues]") {
  TestLoop loop;
  Queue<std::unique_ptr<int>> queue(1);
  auto producer = [&]() -> Coroutine<void> {
    for (int item : {1, 2}) {
      auto owned = std::make_unique<int>(item);
      co_await queue.put(std::move(owned));
    }
  };
  auto consumer = [&]() -> Coroutine<int> {
    const std::unique_ptr<int> first = co_await queue.get();
    const std::unique_ptr<int> second = co_await queue.get();
    co_return *first * 10 + *second;
  };
  loop.create_task(producer());
  CHECK(loop.run_until_complete(consumer()) == 12);
}

TEST_CASE("LifoQueue and PriorityQueue take move-only items, too", "[queues]") {
  struct Owner {
    std::unique_ptr<int> value;
    bool operator<(const Owner& other) const { return *value < *other.value; }
  };
  LifoQueue<Owner> lifo;
  PriorityQueue<Owner> priority;
  for (int item : {2, 3, 1}) {
    lifo.put_nowait({std::make_unique<int>(item)});
    priority.put_nowait({std::make_unique<int>(item)});
  }
  CHECK(*lifo.get_nowait().value == 1);
  CHECK(*priority.get_nowait().value == 1);
  CHECK(*priority.get_nowait().value == 2);
}

TEST_CASE("what is left in a queue is destroyed with it", "[queues][rule-7]") {
  {
    Queue<Instance> queue;
    for (int i = 0; i < 5; ++i) queue.put_nowait(Instance());
    CHECK(Instance::alive() == 5);
    queue.get_nowait();
    CHECK(Instance::alive() == 4);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("an item whose put is cancelled is destroyed", "[queues][cancel][rule-7]") {
  TestLoop loop;
  Queue<Instance> queue(1);
  queue.put_nowait(Instance());
  const Task<void> task = loop.create_task(queue.put(Instance()));
  run_once(loop);
  CHECK(Instance::alive() == 2);
  task.cancel();
  run_once(loop);
  CHECK(Instance::alive() == 1);
}

// ---- join --------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("task_done without an item is ValueError", "[queues][test_queues.test_task_done_underflow]",
                   Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
  TestType queue;
  CHECK(test::thrown([&] { queue.task_done(); }) == "std::invalid_argument: task_done() called too many times");
  queue.put_nowait(1);
  queue.task_done();
  CHECK_THROWS_AS(queue.task_done(), asyncio::ValueError);
}

TEMPLATE_TEST_CASE("join waits until every item is done", "[queues][test_queues.test_task_done]", Queue<int>,
                   LifoQueue<int>, PriorityQueue<int>) {
  TestLoop loop;
  loop.catch_exceptions();
  TestType queue;
  for (int item = 0; item < 100; ++item) queue.put_nowait(item);
  int sum = 0;
  auto worker = [&]() -> Coroutine<void> {
    for (;;) {
      sum += co_await queue.get();
      co_await asyncio::sleep(0);
      queue.task_done();
    }
  };
  for (int i = 0; i < 2; ++i) loop.create_task(worker());
  loop.run_until_complete(queue.join());
  CHECK(sum == 4950);
  CHECK(queue.empty());
}

TEMPLATE_TEST_CASE("join of an empty queue does not wait", "[queues][rule-1][test_queues.test_join_empty_queue]",
                   Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
  TestLoop loop;
  TestType queue;
  auto main = [&]() -> Coroutine<void> {
    const int before = loop.iterations();
    co_await queue.join();
    co_await queue.join();
    CHECK(loop.iterations() == before);
  };
  loop.run_until_complete(main());
}

TEST_CASE("join counts what was got until task_done, and waits again when more is put", "[queues]") {
  TestLoop loop;
  Queue<int> queue;
  queue.put_nowait(1);
  const Task<void> join = loop.create_task(queue.join());
  const Task<void> other = loop.create_task(queue.join());
  run_once(loop);
  queue.get_nowait();
  run_once(loop);
  CHECK_FALSE(join.done());
  queue.put_nowait(2);
  queue.task_done();
  run_once(loop);
  CHECK_FALSE(join.done());
  queue.task_done();
  run_once(loop);
  CHECK(join.done());
  CHECK(other.done());
}

// ---- shutdown ----------------------------------------------------------------------------------------

namespace {

template <class Q> void check_shut_down(TestLoop& loop, Q& queue) {
  CHECK(test::thrown([&] { loop.run_until_complete(queue.put(9)); }) == SHUT_DOWN);
  CHECK(test::thrown([&] { queue.put_nowait(9); }) == SHUT_DOWN);
  CHECK(test::thrown([&] { return loop.run_until_complete(queue.get()); }) == SHUT_DOWN);
  CHECK(test::thrown([&] { return queue.get_nowait(); }) == SHUT_DOWN);
}

}  // namespace

TEMPLATE_TEST_CASE("shutdown of an empty queue raises QueueShutDown in those that wait in get",
                   "[queues][test_queues.test_shutdown_empty]", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
  TestLoop loop;
  TestType queue;
  const Task<int> first = loop.create_task(queue.get());
  const Task<int> second = loop.create_task(queue.get());
  run_once(loop);
  queue.shutdown();
  CHECK(queue.qsize() == 0);
  loop.run_until_complete(queue.join());
  run_once(loop);
  REQUIRE(first.done());
  REQUIRE(second.done());
  CHECK_THROWS_AS(first.result(), QueueShutDown);
  CHECK_THROWS_AS(second.result(), QueueShutDown);
  check_shut_down(loop, queue);
}

TEMPLATE_TEST_CASE("shutdown lets the items be got, and raises QueueShutDown in those that wait in put",
                   "[queues][test_queues.test_shutdown_nonempty]", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
  TestLoop loop;
  TestType queue(1);
  queue.put_nowait(1);
  const Task<void> join = loop.create_task(queue.join());
  const Task<void> put = loop.create_task(queue.put(2));
  run_once(loop);
  CHECK_FALSE(put.done());
  queue.shutdown(false);
  CHECK(queue.qsize() == 1);
  run_once(loop);
  REQUIRE(put.done());
  CHECK_THROWS_AS(put.result(), QueueShutDown);
  CHECK(test::thrown([&] { queue.put_nowait(9); }) == SHUT_DOWN);  // not QueueFull

  CHECK(loop.run_until_complete(queue.get()) == 1);
  run_once(loop);
  CHECK_FALSE(join.done());
  check_shut_down(loop, queue);
  queue.task_done();
  run_once(loop);
  CHECK(join.done());
  CHECK_THROWS_AS(queue.task_done(), asyncio::ValueError);
}

TEMPLATE_TEST_CASE("an immediate shutdown throws the items away, and join is done",
                   "[queues][test_queues.test_shutdown_immediate]", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
  TestLoop loop;
  TestType queue;
  queue.put_nowait(1);
  queue.put_nowait(2);
  const Task<void> join = loop.create_task(queue.join());
  run_once(loop);
  queue.shutdown(true);
  CHECK(queue.qsize() == 0);
  run_once(loop);
  CHECK(join.done());
  check_shut_down(loop, queue);
  CHECK_THROWS_AS(queue.task_done(), asyncio::ValueError);
}

TEMPLATE_TEST_CASE("an immediate shutdown still waits for what was got but is not done",
                   "[queues][test_queues.test_shutdown_immediate_with_unfinished]", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
  TestLoop loop;
  TestType queue;
  queue.put_nowait(1);
  queue.put_nowait(1);
  const Task<void> join = loop.create_task(queue.join());
  CHECK(loop.run_until_complete(queue.get()) == 1);
  queue.shutdown(true);
  CHECK(queue.qsize() == 0);
  run_once(loop);
  CHECK_FALSE(join.done());
  check_shut_down(loop, queue);
  queue.task_done();
  CHECK_THROWS_AS(queue.task_done(), asyncio::ValueError);
  run_once(loop);
  CHECK(join.done());
}

TEST_CASE("an immediate shutdown of a full queue raises QueueShutDown in those that wait in put",
          "[queues][test_queues.test_shutdown_immediate]") {
  TestLoop loop;
  Queue<int> queue(1);
  queue.put_nowait(1);
  const Task<void> put = loop.create_task(queue.put(2));
  run_once(loop);
  queue.shutdown(true);
  run_once(loop);
  REQUIRE(put.done());
  CHECK_THROWS_AS(put.result(), QueueShutDown);
  CHECK(queue.empty());
}

TEST_CASE("an immediate shutdown destroys the items", "[queues][rule-7]") {
  Queue<Instance> queue;
  for (int i = 0; i < 5; ++i) queue.put_nowait(Instance());
  queue.shutdown(true);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a second shutdown may be the immediate one", "[queues][test_queues.test_shutdown_immediate]") {
  TestLoop loop;
  Queue<int> queue;
  queue.put_nowait(1);
  queue.shutdown();
  queue.shutdown();
  CHECK(queue.qsize() == 1);
  queue.shutdown(true);
  CHECK(queue.qsize() == 0);
  loop.run_until_complete(queue.join());
}

TEST_CASE("a getter that was woken for an item before the shutdown still gets it", "[queues]") {
  TestLoop loop;
  Queue<int> queue;
  const Task<int> first = loop.create_task(queue.get());
  const Task<int> second = loop.create_task(queue.get());
  run_once(loop);
  queue.put_nowait(1);
  queue.shutdown();
  run_once(loop);
  CHECK(first.result() == 1);
  CHECK_THROWS_AS(second.result(), QueueShutDown);
}

TEST_CASE("who waits in get and is cancelled in the iteration of the shutdown is cancelled", "[queues][cancel]") {
  TestLoop loop;
  Queue<int> queue;
  const Task<int> task = loop.create_task(queue.get());
  run_once(loop);
  queue.shutdown();
  task.cancel();
  run_briefly(loop);
  CHECK(task.cancelled());
}

TEST_CASE("QueueEmpty, QueueFull and QueueShutDown are Errors", "[queues]") {
  CHECK_THROWS_AS(throw QueueEmpty(), asyncio::Error);
  CHECK_THROWS_AS(throw QueueFull(), asyncio::Error);
  CHECK_THROWS_AS(throw QueueShutDown(), asyncio::Error);
}

// ---- one loop, and its end ---------------------------------------------------------------------------

TEST_CASE("a queue that made a task wait is bound to that task's loop", "[queues]") {
  TestLoop loop, second;
  loop.catch_exceptions();
  Queue<int> queue(1);
  SECTION("get") {
    loop.create_task(queue.get());
    run_once(loop);
    CHECK_THROWS_AS(second.run_until_complete(queue.get()), asyncio::RuntimeError);
  }
  SECTION("put") {
    queue.put_nowait(1);
    loop.create_task(queue.put(2));
    run_once(loop);
    CHECK_THROWS_AS(second.run_until_complete(queue.put(3)), asyncio::RuntimeError);
    CHECK(queue.qsize() == 1);
  }
  SECTION("join") {
    queue.put_nowait(1);
    loop.create_task(queue.join());
    run_once(loop);
    CHECK_THROWS_AS(second.run_until_complete(queue.join()), asyncio::RuntimeError);
  }
}

TEST_CASE("a loop may end before or after a queue its tasks wait for", "[queues][rule-7]") {
  const bool loop_first = GENERATE(true, false);
  auto loop = std::make_unique<TestLoop>();
  auto full = std::make_unique<Queue<int>>(1), empty = std::make_unique<Queue<int>>();
  loop->catch_exceptions();
  full->put_nowait(0);
  for (int i = 0; i < 3; ++i) {
    loop->create_task(gets_holding(*empty, Instance()));
    loop->create_task(puts_holding(*full, Instance()));
    loop->create_task(joins_holding(*full, Instance()));
  }
  run_once(*loop);
  CHECK(Instance::alive() == 9);
  empty->put_nowait(1);  // one is woken, and has no more time to go on
  if (loop_first) loop.reset();
  full.reset();
  empty.reset();
  loop.reset();
  CHECK(Instance::alive() == 0);
}

// ---- many waiters ------------------------------------------------------------------------------------

namespace {

/// The CPU seconds it takes to let n tasks wait in get, n in put, and to cancel them in random order.
double seconds_to_cancel_in_queues(std::size_t n) {
  const std::clock_t begin = std::clock();
  {
    TestLoop loop;
    Queue<int> full(1), empty;
    full.put_nowait(0);
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < n; ++i) {
      tasks.push_back(loop.create_task(gets_holding(empty, Instance())));
      tasks.push_back(loop.create_task(puts_holding(full, Instance())));
    }
    cancel_in_random_order(loop, tasks);
    empty.put_nowait(1);
    CHECK(drain(empty) == Numbers{1});
    CHECK(drain(full) == Numbers{0});
  }
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

}  // namespace

TEST_CASE("ten times the getters and putters, cancelled in random order, take about ten times as long",
          "[queues][many]") {
  check_linear("Queue", 2000, seconds_to_cancel_in_queues, false);
}

TEST_CASE("the same with a hundred thousand getters and putters", "[.big][queues]") {
  check_linear("Queue", 10000, seconds_to_cancel_in_queues, true);
}

TEST_CASE("a getter whose item was taken by another one waits again, behind the others", "[queues]") {
  TestLoop loop;
  Queue<int> queue;
  Numbers log;
  auto gets_as = [&](int number) -> Coroutine<void> {
    const int item = co_await queue.get();
    log.push_back(10 * number + item);
  };
  const Task<void> first = loop.create_task(gets_as(1)), second = loop.create_task(gets_as(2));
  run_once(loop);
  queue.put_nowait(0);
  CHECK(queue.get_nowait() == 0);
  run_briefly(loop);
  queue.put_nowait(1);
  queue.put_nowait(2);
  run_briefly(loop);
  CHECK(log == Numbers{21, 12});
}

TEST_CASE("a putter whose room was taken by another one waits again", "[queues]") {
  TestLoop loop;
  Queue<int> queue(1);
  queue.put_nowait(0);
  Numbers log;
  const Task<void> putter = loop.create_task(puts(queue, log, 1));
  run_once(loop);
  CHECK(queue.get_nowait() == 0);
  queue.put_nowait(2);
  run_briefly(loop);
  CHECK_FALSE(putter.done());
  CHECK(queue.get_nowait() == 2);
  run_briefly(loop);
  CHECK(log == Numbers{1});
  CHECK(drain(queue) == Numbers{1});
}

TEST_CASE("a task that waits at a queue that is gone can still be cancelled", "[queues][rule-7]") {
  TestLoop loop;
  auto empty = std::make_unique<asyncio::Queue<int>>();
  auto full = std::make_unique<asyncio::Queue<int>>(1);
  full->put_nowait(1);
  const asyncio::Task<int> getter = loop.create_task(empty->get());
  const asyncio::Task<void> putter = loop.create_task(full->put(2));
  test::run_briefly(loop, 3);
  empty.reset(), full.reset();
  getter.cancel();
  putter.cancel();
  test::run_briefly(loop, 3);
  CHECK(getter.cancelled());
  CHECK(putter.cancelled());
}
