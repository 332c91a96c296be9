// What is built from tasks: gather, groups, timeouts, locks, queues; and threads and processes.
#include <unistd.h>

#include <memory>

#include "tests/faults/faults.hpp"

using namespace asyncio;

namespace faults {
namespace {

Coroutine<std::string> say(std::string text, double delay = 0) {
  co_await sleep(delay);
  co_return text + " and some more, so that it needs memory";
}
Coroutine<int> fail() {
  co_await sleep(0);
  throw ValueError("this one fails");
}

void gathers() {
  run_on_new_loop([]() -> Coroutine<void> {
    const auto both = gather(say("a"), gather(say("b"), say("c")));
    const auto [a, inner] = co_await both;
    expect(a.starts_with("a and") && std::get<1>(inner).starts_with("c and"), "other results");
    std::vector<Coroutine<std::string>> many;
    for (const char* text : {"x", "y", "z"}) many.push_back(say(text));
    const std::vector<std::string> all = co_await gather(std::move(many));
    expect(all.size() == 3 && all[2].starts_with("z and"), "another list");
  });
}

void gathers_that_fail() {
  run_on_new_loop([]() -> Coroutine<void> {
    const auto outcomes = co_await gather({.return_exceptions = true}, say("a"), fail());
    expect(std::get<1>(outcomes).index() == 1, "the exception is no outcome");
    try {
      co_await gather(say("b", 0.001), fail());
      throw Wrong{"gather has not failed"};
    } catch (const ValueError&) {}
    const auto cancelled = gather(say("c", 60), say("d", 60));
    co_await sleep(0);
    cancelled.cancel();
    try {
      co_await cancelled;
      throw Wrong{"gather was not cancelled"};
    } catch (const CancelledError&) {}
  });
}

void waits() {
  run_on_new_loop([]() -> Coroutine<void> {
    std::vector<Task<std::string>> tasks;
    tasks.push_back(create_task(say("a")));
    tasks.push_back(create_task(say("b", 60)));
    const auto first = co_await wait(tasks, {.return_when = FIRST_COMPLETED});
    expect(first.done.size() == 1 && first.pending.size() == 1, "wait has returned others");
    const auto none = co_await wait(first.pending, {.timeout = 0.001});
    expect(none.done.empty(), "wait has not timed out");
    tasks[1].cancel();
  });
}

void wait_for_and_shield() {
  run_on_new_loop([]() -> Coroutine<void> {
    expect((co_await wait_for(say("a"), 60)).starts_with("a and"), "another result");
    try {
      co_await wait_for(say("b", 60), 0.001);
      throw Wrong{"wait_for has not timed out"};
    } catch (const TimeoutError&) {}
    const Task<std::string> inner = create_task(say("c", 0.001));
    const Future<std::string> outer = shield(inner);
    outer.cancel();
    expect((co_await inner).starts_with("c and"), "shield has let it be cancelled");
    expect((co_await shield(say("d"))).starts_with("d and"), "another result");
  });
}

void completions() {
  run_on_new_loop([]() -> Coroutine<void> {
    std::vector<Coroutine<std::string>> several;
    several.push_back(say("a", 0.001));
    several.push_back(say("b"));
    std::string order;
    for (auto& next : as_completed(std::move(several))) order += (co_await next)[0];
    expect(order == "ba", "another order");
    std::vector<Coroutine<std::string>> slow;
    slow.push_back(say("c", 60));
    try {
      for (auto& next : as_completed(std::move(slow), {.timeout = 0.001})) co_await next;
      throw Wrong{"as_completed has not timed out"};
    } catch (const TimeoutError&) {}
  });
}

void task_groups() {
  run_on_new_loop([]() -> Coroutine<void> {
    TaskGroup group;
    std::vector<Task<std::string>> tasks;
    const auto body = [&]() -> Coroutine<void> {
      tasks.push_back(group.create_task(say("a", 0.001)));
      tasks.push_back(group.create_task(say("b")));
      tasks.push_back(group.create_task(say("c"), {.eager_start = true}));
      co_return;
    };
    co_await async_with(group, body);
    for (const Task<std::string>& task : tasks) expect(task.done(), "the group has not waited");
  });
}

void task_groups_that_fail() {
  bool cancelled = false;
  run_on_new_loop([&]() -> Coroutine<void> {
    const auto victim = [&]() -> Coroutine<void> {
      try {
        co_await sleep(60);
      } catch (const CancelledError&) {
        cancelled = true;
        throw;
      }
    };
    TaskGroup group;
    const auto body = [&]() -> Coroutine<void> {
      group.create_task(victim);
      group.create_task(fail());
      group.create_task(fail());
      co_await sleep(60);
    };
    try {
      co_await async_with(group, body);
      throw Wrong{"the group has not failed"};
    } catch (const ExceptionGroup&) {}
    expect(cancelled || happened(), "the others were not cancelled");
  });
}

void timeouts() {
  run_on_new_loop([]() -> Coroutine<void> {
    const auto slow = []() -> Coroutine<void> { co_await sleep(60); };
    try {
      co_await async_with(timeout(0.001), slow);
      throw Wrong{"no timeout"};
    } catch (const TimeoutError&) {}
    const auto inner = [&]() -> Coroutine<void> { co_await async_with(timeout(60), slow); };
    try {
      co_await async_with(timeout(0.001), inner);
      throw Wrong{"no outer timeout"};
    } catch (const TimeoutError&) {}
  });
}

void locks() {
  Lock lock;
  Semaphore semaphore(1);
  int inside = 0;
  run_on_new_loop([&]() -> Coroutine<void> {
    const auto worker = [&]() -> Coroutine<void> {
      const auto locked = [&]() -> Coroutine<void> {
        expect(++inside == 1, "two hold the lock");
        co_await sleep(0);
        --inside;
      };
      co_await async_with(lock, locked);
      co_await async_with(semaphore, locked);
    };
    std::vector<Task<void>> workers;
    for (int i = 0; i < 3; ++i) workers.push_back(create_task(worker));
    co_await gather({.return_exceptions = true}, std::move(workers));
    expect(!lock.locked() && !semaphore.locked(), "a lock was not released");
    const Task<void> interrupted = create_task(worker);
    co_await sleep(0);
    interrupted.cancel();
    co_await wait(std::vector(1, interrupted));
    expect(!lock.locked() && !semaphore.locked(), "a lock was not released after a cancellation");
  });
}

void events_conditions_barriers() {
  Event event;
  Condition condition;
  Barrier barrier(3);
  bool ready = false;
  run_on_new_loop([&]() -> Coroutine<void> {
    const auto waiter = [&]() -> Coroutine<void> {
      co_await event.wait();
      const auto until_ready = [&]() -> Coroutine<void> { co_await condition.wait_for([&] { return ready; }); };
      co_await async_with(condition, until_ready);
      co_await barrier.wait();
    };
    TaskGroup group;  // if one fails, the others are cancelled, so that nobody waits for it
    const auto body = [&]() -> Coroutine<void> {
      group.create_task(waiter);
      group.create_task(waiter);
      co_await sleep(0);
      event.set();
      const auto notify = [&]() -> Coroutine<void> {
        ready = true;
        condition.notify_all();
        co_return;
      };
      co_await async_with(condition, notify);
      co_await barrier.wait();
    };
    co_await async_with(group, body);
  });
}

void queues() {
  Queue<std::string> queue(1);
  PriorityQueue<int> first_the_smallest;
  std::vector<std::string> got;
  run_on_new_loop([&]() -> Coroutine<void> {
    const auto producer = [&]() -> Coroutine<void> {
      for (const char* text : {"one", "two", "three"}) co_await queue.put(text);
      co_await queue.join();
      queue.shutdown();
    };
    const auto consumer = [&]() -> Coroutine<void> {
      try {
        for (;;) {
          got.push_back(co_await queue.get());
          queue.task_done();
        }
      } catch (const QueueShutDown&) {}
    };
    TaskGroup group;
    const auto body = [&]() -> Coroutine<void> {
      group.create_task(producer);
      group.create_task(consumer);
      for (const int item : {3, 1, 2}) first_the_smallest.put_nowait(item);
      expect(co_await first_the_smallest.get() == 1, "not the smallest");
    };
    co_await async_with(group, body);
    expect(got == std::vector<std::string>{"one", "two", "three"}, "items were lost");
  });
}

int square(int n) { return n * n; }

void threads() {
  run_on_new_loop([]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    expect(co_await to_thread(square, 3) == 9, "another square");
    ThreadPoolExecutor two(2);
    const auto a = loop.run_in_executor(&two, square, 4);
    const auto b = loop.run_in_executor(&two, [] { return std::string("a string that is too long to be small"); });
    expect(co_await a == 16 && (co_await b).size() == 37, "other results");
    const auto failing = [] { throw ValueError("the call fails"); };
    try {
      co_await to_thread(failing);
      throw Wrong{"it has not failed"};
    } catch (const ValueError&) {}
  });
}

void run_with_threads() {
  const auto main = []() -> Coroutine<int> {
    EventLoop& loop = get_running_loop();
    const auto from_thread = [&loop] {
      const auto add = []() -> Coroutine<int> {
        co_await sleep(0);
        co_return 41;
      };
      const auto submit = [&] {
        const Pause pause;  // the standard library ends the program if there is no memory to break a promise
        return run_coroutine_threadsafe(add(), loop);
      };
      return submit().get() + 1;
    };
    co_return co_await to_thread(from_thread);
  };
  expect(run(main()) == 42, "another answer");
}

void processes() {
  run_on_new_loop([]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    ProcessPoolExecutor processes(1);
    expect(co_await loop.run_in_executor(&processes, square, 5) == 25, "another square");
    const auto text = [] { return std::string(10'000, 'x'); };
    expect((co_await loop.run_in_executor(&processes, text)).size() == 10'000, "the text is short");
    const auto failing = []() -> int { throw ValueError("the call fails"); };
    try {
      co_await loop.run_in_executor(&processes, failing);
      throw Wrong{"it has not failed"};
    } catch (const RuntimeError&) {}
  });
}

void names_that_are_looked_up() {
  run_on_new_loop([]() -> Coroutine<void> {
    const auto addresses = co_await get_running_loop().getaddrinfo("localhost", "80");
    expect(!addresses.empty(), "localhost has no address");
  });
}

}  // namespace

std::vector<Program> programs_of_tasks() {
  return {
      {"gather", gathers},
      {"gather that fails", gathers_that_fail},
      {"wait", waits},
      {"wait_for and shield", wait_for_and_shield},
      {"as_completed", completions},
      {"task group", task_groups},
      {"task group that fails", task_groups_that_fail},
      {"timeouts", timeouts},
      {"locks", locks},
      {"events, conditions, barriers", events_conditions_barriers},
      {"queues", queues},
      {"threads", threads},
      {"run() with threads", run_with_threads, true},
      {"processes", processes},
      {"getaddrinfo", names_that_are_looked_up},
  };
}

}  // namespace faults
