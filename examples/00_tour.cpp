// The tour: an event loop that says what it does. Its selector is told, in every iteration, how long the loop
// is willing to sleep, and prints that with the iteration's number; all else is printed by what the loop runs. The loop's
// clock counts what it has slept, and nothing else: so the tour is the same on a busy machine.
#include <unistd.h>

#include <cmath>
#include <iomanip>
#include <iostream>
#include <string>
#include <thread>

#include "asyncio.hpp"

double slept = 0;

struct TourLoop : asyncio::EventLoop {
  using EventLoop::EventLoop;
  double time() const override { return slept; }
};

struct TalkingSelector : selectors::DefaultSelector {
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
    std::cout << "  [" << std::setw(2) << ++iteration << "] ";
    if (!timeout) {
      std::cout << "nothing to run, and no timer: sleep until a descriptor is ready\n";
    } else if (*timeout > 0) {
      std::cout << "nothing to run: sleep until the next timer, for " << std::round(*timeout * 10) / 10 << " s\n";
    } else {
      std::cout << "something to run: do not sleep\n";
    }
    slept += timeout.value_or(0);
    return selectors::DefaultSelector::select(timeout);
  }
  int iteration = 0;
};

void act(std::string title, std::string text) { std::cout << "\n" << title << "\n   " << text << "\n"; }

void say(std::string text) { std::cout << "        " << text << "\n"; }

void say_and_stop(std::string text) {
  say(text);
  asyncio::get_running_loop().stop();
}

void a() {
  say("a: schedules c");
  asyncio::get_running_loop().call_soon(say_and_stop, "c: stops the loop");
}

void produce(asyncio::Future<int> future) {
  say("timer: calls set_result(42)");
  future.set_result(42);
  say("timer: set_result() has returned, and the task has not run yet");
}

asyncio::Coroutine<> consume(asyncio::Future<int> future) {
  say("task: awaits the future");
  int result = co_await future;
  say("task: the result is " + std::to_string(result));
}

asyncio::Coroutine<> work(std::string name, double pause) {
  std::cout << "        " << name << ": awaits sleep(" << pause << ")\n";
  co_await asyncio::sleep(pause);
  say(name + ": goes on, and returns");
}

asyncio::Coroutine<> two_tasks(double left_pause, double right_pause) {
  const double start = asyncio::get_running_loop().time();
  asyncio::Task<> left = asyncio::create_task(work("left", left_pause));
  asyncio::Task<> right = asyncio::create_task(work("right", right_pause));
  say("main: has made two tasks, and neither has begun; awaits them");
  co_await left;
  co_await right;
  const double elapsed = asyncio::get_running_loop().time() - start;
  std::cout << "        main: both are done after " << std::round(elapsed * 10) / 10 << " s\n";
}

asyncio::Coroutine<> sleep_for_an_hour() {
  say("task: awaits sleep(3600)");
  try {
    co_await asyncio::sleep(3600);
  } catch (const asyncio::CancelledError&) {
    say("task: a CancelledError, here at the await; cleans up, and lets it go on");
    throw;
  }
}

asyncio::Coroutine<> cancel_a_task() {
  asyncio::Task<> task = asyncio::create_task(sleep_for_an_hour());
  say("main: has made a task, and awaits sleep(0.1)");
  co_await asyncio::sleep(0.1);
  say("main: calls task.cancel(), and awaits the task");
  task.cancel();
  try {
    co_await task;
  } catch (const asyncio::CancelledError&) {
    say("main: the task is cancelled, and nobody has waited for an hour");
  }
}

void on_readable(asyncio::EventLoop& loop, int fd) {
  char data[100];
  const auto n = ::read(fd, data, sizeof data);
  if (n > 0) return say("reader: \"" + std::string(data, n) + "\"");
  loop.remove_reader(fd);
  say_and_stop("reader: the end, the pipe was closed");
}

void write_later(int fd) {
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  if (::write(fd, "hello from another thread", 25) < 0) say("write failed");
  ::close(fd);
}

void run_until_complete(asyncio::EventLoop& loop, asyncio::Coroutine<> coroutine) {
  loop.run_until_complete(std::move(coroutine));
  say("run_until_complete: has heard that its task is done, and returns");
}

int main() {
  TourLoop loop(std::make_unique<TalkingSelector>());
  std::cout << "An event loop is one thread that goes round and round: it asks what happened, then runs what is "
               "ready.\n[n] is the start of its n-th iteration.\n";

  act("1. call_soon", "A callback runs in the next iteration, never at once, and in the order of the calls.");
  loop.call_soon(a);
  loop.call_soon(say, "b");
  say("main: has scheduled a and b, and nothing has run yet");
  loop.run_forever();

  act("2. call_later", "Timers run in the order in which they are due. In between, the loop sleeps.");
  loop.call_later(0.2, say_and_stop, "the timer for 0.2 s, set first");
  loop.call_later(0.1, say, "the timer for 0.1 s, set second");
  loop.call_later(0.1, say, "never shown").cancel();
  loop.run_forever();

  act("3. Future and Task",
      "A task that awaits is a callback of the future: it goes on one iteration after set_result().");
  asyncio::Future<int> future = loop.create_future<int>();
  loop.call_later(0.1, produce, future);
  run_until_complete(loop, consume(future));

  act("4. sleep(0)", "Tasks take turns: each one runs until it awaits.");
  run_until_complete(loop, two_tasks(0, 0));

  act("5. sleep(0.2) and sleep(0.1)",
      "At the same time, they take 0.2 s. A timer sets a future: the sleeper goes on an iteration later.");
  run_until_complete(loop, two_tasks(0.2, 0.1));

  act("6. cancel", "An exception, thrown into the task at the await where it is suspended.");
  run_until_complete(loop, cancel_a_task());

  act("7. add_reader", "A thread will write to a pipe. The kernel wakes the loop when there is something to read.");
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  loop.add_reader(ends[0], on_readable, std::ref(loop), ends[0]);
  std::thread writer(write_later, ends[1]);
  loop.run_forever();
  writer.join();
  ::close(ends[0]);
  loop.close();
}
