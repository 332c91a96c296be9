// Barrier: who passes it with whom, and what breaks it.
// Upstream counterpart: Lib/test/test_asyncio/test_locks.py, BarrierTests.
#include <algorithm>
#include <vector>

#include "tests/locks.hpp"

using asyncio::Barrier;
using asyncio::BrokenBarrierError;
using asyncio::Coroutine;
using asyncio::Task;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::TestLoop;

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
