// The traces of NOTES.md: what await, cancel and a group do, each line with its iteration. `make trace` runs it.
#include <iostream>
#include <optional>
#include <string>

#include "asyncio.hpp"

namespace {

using namespace asyncio;

struct Iterations : Instrument {
  int number = 0;
  void before_select(std::optional<double>) override { ++number; }
};
Iterations iterations;

void say(const char* who, const std::string& text) {
  std::cout << "    [" << iterations.number << "] " << who << ": " << text << "\n";
}

Coroutine<int> leaf() {
  say("leaf", "runs at once, inside its caller's step");
  co_await asyncio::sleep(0);
  say("leaf", "back after one bare yield");
  co_return 7;
}

Coroutine<void> awaits() {
  say("task", "awaits leaf()");
  const int value = co_await leaf();
  say("task", "has " + std::to_string(value) + " in the iteration in which leaf returned");
}

Coroutine<void> sleeper(const char* name) {
  say(name, "sleeps");
  try {
    co_await asyncio::sleep(3600);
  } catch (const CancelledError&) {
    say(name, "CancelledError at the await; cancelling() = " + std::to_string(current_task().cancelling()));
    throw;
  }
}

Coroutine<void> fails() {
  co_await asyncio::sleep(0);
  say("b", "throws");
  throw std::runtime_error("b failed");
}

Coroutine<void> run_all() {
  std::cout << "await\n";
  co_await create_task(awaits());
  say("main", "the awaiter of the task, one iteration after its end");
  std::cout << "cancel\n";
  const Task<void> task = create_task(sleeper("task"));
  co_await asyncio::sleep(0);
  say("main", "calls cancel()");
  task.cancel();
  try {
    co_await task;
  } catch (const CancelledError&) {
    say("main", "the task is cancelled");
  }
  std::cout << "group\n";
  try {
    co_await async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(sleeper("a"));
      group.create_task(fails());
      say("body", "ends; the group waits for a and b");
      co_return;
    });
  } catch (const ExceptionGroup& group) {
    say("main", group.what());
  }
}

}  // namespace

int main() {
  EventLoop loop;
  loop.add_instrument(iterations);
  loop.run_until_complete(run_all());
}
