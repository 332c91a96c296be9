// The kernel: callbacks, timers, descriptors, threads, futures, tasks, run().
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>
#include <thread>

#include "tests/faults/faults.hpp"

using namespace asyncio;

namespace faults {
namespace {

void callbacks_and_timers() {
  EventLoop loop;
  std::vector<int> order;
  loop.call_soon([&] { order.push_back(1); });
  loop.call_soon([&] { order.push_back(0); }).cancel();
  loop.call_later(0.001, [&] { order.push_back(3); });
  loop.call_later(0, [&] { order.push_back(2); });
  loop.call_later(5, [&] { order.push_back(0); }).cancel();
  run_on(loop, [&]() -> Coroutine<void> { co_await sleep(0.003); });
  expect(order == std::vector{1, 2, 3}, "callbacks ran in another order");
}

void many_cancelled_timers() {
  EventLoop loop;
  std::vector<TimerHandle> timers;
  for (int i = 0; i < 150; ++i) timers.push_back(loop.call_later(60, [] {}));
  for (const TimerHandle& timer : timers) timer.cancel();
  run_on(loop, []() -> Coroutine<void> { co_await sleep(0.001); });
}

void errors_in_callbacks() {
  EventLoop loop;
  int reported = 0;
  loop.set_exception_handler([&](EventLoop&, const ExceptionContext& context) {
    reported += holds<ValueError>(context.exception);
    throw RuntimeError("the handler fails, too: " + context.message);
  });
  loop.call_soon([] { throw ValueError("a callback fails"); });
  {
    const Future<int> never_retrieved(loop);
    never_retrieved.set_exception(ValueError("nobody asks"));
  }
  run_on(loop, []() -> Coroutine<void> { co_await sleep(0); });
  expect(happened() || reported == 2, "the handler was not told of both errors");
}

struct Pair {
  Pair() {
    const Pause pause;
    int ends[2];
    expect(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0, "no socketpair");
    a = FileDescriptor(ends[0]);
    b = FileDescriptor(ends[1]);
  }
  FileDescriptor a, b;
};

void readers_and_writers(std::unique_ptr<selectors::BaseSelector> selector) {
  Pair pair;
  EventLoop loop(std::move(selector));
  run_on(loop, [&]() -> Coroutine<void> {
    const Future<void> readable(loop), writable(loop);
    loop.add_reader(pair.a.get(), [&, readable] {
      loop.remove_reader(pair.a.get());
      readable.set_result();
    });
    loop.add_writer(pair.a.get(), [&, writable] {
      loop.remove_writer(pair.a.get());
      writable.set_result();
    });
    const Finally removed([&] {
      loop.remove_reader(pair.a.get());
      loop.remove_writer(pair.a.get());
    });
    co_await writable;
    expect(::send(pair.b.get(), "ab", 2, 0) == 2 || happened(), "nothing was sent");
    if (!happened()) co_await readable;
  });
}
void readers_and_writers_of_epoll() { readers_and_writers(std::make_unique<selectors::EpollSelector>()); }
void readers_and_writers_of_poll() { readers_and_writers(std::make_unique<selectors::PollSelector>()); }

void calls_from_threads() {
  EventLoop loop;
  run_on(loop, [&]() -> Coroutine<void> {
    const Future<int> called(loop);
    std::thread other([&] {
      try {
        loop.call_soon_threadsafe([called] { called.set_result(7); });
      } catch (...) {
        const Pause pause;
        raised_by([&] {  // a RuntimeError if the loop is closed by now
          loop.call_soon_threadsafe([called] { called.set_exception(RuntimeError("the thread had no memory")); });
        });
      }
    });
    const Finally joined([&] { other.join(); });
    expect(co_await called == 7, "another result");
  });
}

Coroutine<int> add(int a, int b) {
  co_await sleep(0);
  co_return a + b;
}
Coroutine<int> fibonacci(int n) {
  if (n < 2) co_return n;
  const int a = co_await fibonacci(n - 1);
  const int b = co_await fibonacci(n - 2);
  co_return co_await add(a, b);
}

void futures() {
  EventLoop loop;
  std::vector<int> order;
  run_on(loop, [&]() -> Coroutine<void> {
    const Future<std::string> future = loop.create_future<std::string>();
    future.add_done_callback([&](const Future<std::string>&) { order.push_back(1); });
    future.remove_done_callback(future.add_done_callback([&](const Future<std::string>&) { order.push_back(2); }));
    future.add_done_callback([&](const Future<std::string>&) { order.push_back(3); });
    loop.call_soon([future] { future.set_result("a result that is too long for a small string"); });
    expect((co_await future).size() == 44, "another result");
    const Future<int> cancelled = loop.create_future<int>();
    cancelled.cancel("a message that is too long for a small string, too");
    try {
      co_await cancelled;
      throw Wrong{"a cancelled future has no result"};
    } catch (const CancelledError&) {}
  });
  expect(order == std::vector{1, 3}, "done callbacks ran in another order");
}

void tasks() {
  run_on_new_loop([]() -> Coroutine<void> {
    const Task<int> named = create_task(fibonacci(6), {.name = "a name that is too long for a small string"});
    const Task<int> eager = create_task(fibonacci(3), {.eager_start = true});
    expect(co_await named == 8 && co_await eager == 2, "another number");
  });
}

// What a task refers to stands outside of main(), which may end before the task.
void cancelled_tasks() {
  bool cleaned_up = false;
  run_on_new_loop([&]() -> Coroutine<void> {
    const auto body = [&]() -> Coroutine<void> {
      const Finally clean_up([&] { cleaned_up = true; });
      co_await sleep(60);
    };
    const Task<void> task = create_task(body);
    co_await sleep(0);
    task.cancel("enough");
    try {
      co_await task;
      throw Wrong{"a cancelled task has returned"};
    } catch (const CancelledError&) {}
    expect(cleaned_up, "the frame was not left");
  });
}

void errors_in_tasks() {
  run_on_new_loop([]() -> Coroutine<void> {
    const auto failing = []() -> Coroutine<void> {
      co_await sleep(0);
      throw ValueError("a task fails with a message that is long");
    };
    create_task(failing);
    try {
      co_await create_task(failing);
      throw Wrong{"it has not failed"};
    } catch (const ValueError&) {}
  });
}

// Nobody awaits these when the loop closes: every kind of await, and what their destructors do.
void pending_when_the_loop_closes() {
  EventLoop loop;
  struct Touches {
    EventLoop& loop;
    ~Touches() {
      try {
        loop.call_soon([] {});
      } catch (...) {}
    }
  };
  const auto sleeping = [&]() -> Coroutine<void> {
    const Touches touches{loop};
    co_await sleep(60);
  };
  const auto outer = [&]() -> Coroutine<void> { co_await sleeping(); };
  const Task<void> a = loop.create_task(outer);
  const Task<void> b = loop.create_task(outer);
  a.add_done_callback([b](const Future<void>&) {});
  run_on(loop, []() -> Coroutine<void> { co_await sleep(0); });
  loop.close();
  expect(a.cancelled() && b.cancelled(), "a task is not done, though its loop is closed");
}

void run_and_context() {
  ContextVar<std::string> name("name", "nobody");
  const auto inner = [&]() -> Coroutine<std::string> {
    co_await sleep(0);
    co_return name.get();
  };
  const auto main = [&]() -> Coroutine<std::string> {
    const Token token = name.set("somebody with a name that is long");
    const std::string seen = co_await create_task(inner);
    name.reset(token);
    expect(name.get() == "nobody", "reset() has not reset");
    co_return seen;
  };
  expect(run(main()) == "somebody with a name that is long", "another context");
}

void run_cancels_what_is_left() {
  bool cleaned_up = false;
  const auto background = [&]() -> Coroutine<void> {
    const Finally clean_up([&] { cleaned_up = true; });
    co_await sleep(60);
  };
  const auto main = [&]() -> Coroutine<void> {
    create_task(background);
    co_await sleep(0);
  };
  run(main());
  expect(cleaned_up, "a task was left");
}

void runner_and_sigint() {
  const auto interrupted = []() -> Coroutine<void> {
    ::raise(SIGINT);
    co_await sleep(patience);
    throw Wrong{"Ctrl-C had no effect"};
  };
  Runner runner;
  // Where the handler of SIGINT cannot be installed, the signal ends the program, as it would have without a loop.
  ::signal(SIGINT, happened() ? SIG_IGN : SIG_DFL);
  try {
    runner.run(interrupted());
  } catch (const KeyboardInterrupt&) {}
  const auto answer = []() -> Coroutine<int> { co_return co_await add(40, 2); };
  expect(runner.run(answer()) == 42, "another answer");
  runner.close();
}

void signals() {
  EventLoop loop;
  std::vector<int> arrived;
  for (const int signum : {SIGUSR1, SIGUSR2})
    loop.add_signal_handler(signum, [&, signum] { arrived.push_back(signum); });
  run_on(loop, [&]() -> Coroutine<void> {
    for (const int signum : {SIGUSR2, SIGUSR1, SIGUSR1}) ::raise(signum);
    while (arrived.size() < 3) co_await sleep(0.001);
    loop.remove_signal_handler(SIGUSR1);
  });
  expect(arrived == std::vector{SIGUSR2, SIGUSR1, SIGUSR1}, "signals in another order");
}

struct Counting : Instrument {
  void task_created(const AnyTask&, const AnyTask&) override { names.push_back("created"); }
  void task_done(const AnyTask& task) override { names.push_back(task.get_name()); }
  std::vector<std::string> names;
};
struct Throwing : Instrument {
  void before_run(const Handle&) override { throw ValueError("an instrument fails"); }
};

void instruments() {
  EventLoop loop;
  Counting counting;
  Throwing throwing;
  loop.add_instrument(counting);
  loop.add_instrument(throwing);
  run_on(loop, []() -> Coroutine<void> { co_await create_task(add(1, 2), {.name = "adds"}); });
  expect(happened() || counting.names.size() >= 4, "the instrument has not seen everything");
}

void debug_mode() {
  EventLoop loop;
  loop.set_debug(true);
  loop.slow_callback_duration = 0;
  run_on(loop, []() -> Coroutine<void> {
    static_cast<void>(add(1, 2));  // never awaited
    co_await add(1, 2);
  });
  const auto for_ever = [&]() -> Coroutine<void> { co_await Future<void>(loop); };
  try {
    loop.run_until_complete(for_ever());
    throw Wrong{"a deadlock was not noticed"};
  } catch (const RuntimeError&) {}
}

void graphs() {
  run_on_new_loop([]() -> Coroutine<void> {
    const Task<int> task = create_task(fibonacci(2), {.name = "fibonacci"});
    const auto waiting = [task]() -> Coroutine<void> { co_await task; };
    const Task<void> waits = create_task(waiting, {.name = "waits"});
    co_await sleep(0);
    std::ostringstream text;
    task.print_stack(text);
    print_call_graph(task, text);
    text << format_call_graph(waits) << ps(get_running_loop()) << pstree(get_running_loop());
    co_await waits;
    expect(text.str().find("waits") != std::string::npos || !text, "the graph has no names");
  });
}

}  // namespace

std::vector<Program> programs_of_the_kernel() {
  return {
      {"callbacks and timers", callbacks_and_timers},
      {"many cancelled timers", many_cancelled_timers},
      {"errors in callbacks", errors_in_callbacks},
      {"readers and writers, epoll", readers_and_writers_of_epoll},
      {"readers and writers, poll", readers_and_writers_of_poll},
      {"calls from threads", calls_from_threads},
      {"futures", futures},
      {"tasks", tasks},
      {"cancelled tasks", cancelled_tasks},
      {"errors in tasks", errors_in_tasks},
      {"pending when the loop closes", pending_when_the_loop_closes},
      {"run() and context variables", run_and_context},
      {"run() cancels what is left", run_cancels_what_is_left},
      {"Runner and Ctrl-C", runner_and_sigint},
      {"signals", signals},
      {"instruments", instruments},
      {"debug mode", debug_mode},
      {"call graphs", graphs},
  };
}

}  // namespace faults
