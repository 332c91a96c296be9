// The rules of cancellation, one at a time: cancel() is a request, and cancelling() counts how often it was made.
// Look at the last line of each rule: how the task ended, and what the count says about it.
#include <iostream>
#include <string>

#include "asyncio.hpp"

using Job = asyncio::Coroutine<std::string>;

Job lets_it_pass() {
  std::cout << "  task: begins\n";
  co_return co_await asyncio::sleep(3600, std::string("never returned"));
}

Job swallows(bool uncancels) {
  try {
    co_await asyncio::sleep(3600);
  } catch (const asyncio::CancelledError&) {
    std::cout << "  task: catches it; cancelling() is " << asyncio::current_task().cancelling() << "\n";
  }
  if (uncancels) std::cout << "  task: uncancel() leaves " << asyncio::current_task().uncancel() << "\n";
  co_await asyncio::sleep(0.01);  // the next await is an ordinary one
  co_return "its result";
}

Job cleans_up() {
  std::exception_ptr cancelled;
  try {
    co_await asyncio::sleep(3600);
  } catch (const asyncio::CancelledError&) {
    cancelled = std::current_exception();  // C++ has no co_await inside a handler: leave it first
  }
  std::cout << "  task: cleans up\n";
  co_await asyncio::sleep(0.03);
  std::cout << "  task: is clean\n";
  std::rethrow_exception(cancelled);
}

Job cancels_itself() {
  asyncio::current_task().cancel();
  co_return "never returned";
}

Job awaits_shielded(asyncio::Task<std::string> inner) { co_return co_await asyncio::shield(inner); }

asyncio::Coroutine<> outcome(asyncio::Task<std::string> task) {
  try {
    std::string result = co_await task;
    std::cout << "  main: it has returned " << result;
  } catch (const asyncio::CancelledError&) {
    std::cout << "  main: it is cancelled";
  }
  std::cout << "; cancelling() is " << task.cancelling() << "\n";
}

asyncio::Coroutine<> cancel(std::string rule, Job job, int times, double pause) {
  std::cout << rule << ":\n";
  asyncio::Task<std::string> task = asyncio::create_task(std::move(job));
  for (int i = 0; i < times; ++i) {
    if (pause > 0) co_await asyncio::sleep(pause);
    task.cancel();
  }
  co_await outcome(task);
}

asyncio::Coroutine<> tour() {
  co_await cancel("before the first step: the body never runs", lets_it_pass(), 1, 0);
  co_await cancel("twice, before it could react: cancelled once, counted twice", lets_it_pass(), 2, 0);
  co_await cancel("at an await: CancelledError, which ends the task", lets_it_pass(), 1, 0.01);
  co_await cancel("caught, and not raised again: the task goes on, the count remembers", swallows(false), 1, 0.01);
  co_await cancel("caught, and taken back: as if nobody had asked", swallows(true), 1, 0.01);
  co_await cancel("a cleanup that awaits, then raises it again", cleans_up(), 1, 0.01);
  co_await cancel("a second cancel() during the cleanup: ends the cleanup, too", cleans_up(), 2, 0.01);
  co_await cancel("a task that cancels itself and awaits nothing more: heeded all the same", cancels_itself(), 0, 0);
  asyncio::Task<std::string> inner = asyncio::create_task(asyncio::sleep(0.03, std::string("what it saved")));
  co_await cancel("shield: who awaits is cancelled, what is awaited is not", awaits_shielded(inner), 1, 0.01);
  co_await outcome(inner);
}

int main() { asyncio::run(tour()); }
