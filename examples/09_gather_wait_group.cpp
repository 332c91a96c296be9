// gather, wait, TaskGroup: the same three jobs three times over, and the one in the middle fails.
// Look at who hears of the failure, and at what becomes of slow, which still has a way to go at that moment. A job
// takes some turns of the loop: with seconds, a busy machine could make it end before the one it is slower than.
#include <iostream>
#include <string>
#include <vector>

#include "asyncio.hpp"

asyncio::Coroutine<> take(int turns) {
  for (; turns > 0; --turns) co_await asyncio::sleep(0);
}

asyncio::Coroutine<std::string> job(std::string name, int turns) {
  try {
    co_await take(turns);
  } catch (const asyncio::CancelledError&) {
    std::cout << "  " << name << ": cancelled\n";
    throw;
  }
  std::cout << "  " << name << (name == "broken" ? ": fails\n" : ": done\n");
  if (name == "broken") throw asyncio::ValueError("broken is broken");
  co_return name + "'s result";
}

std::string text(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  }
}

asyncio::Coroutine<> with_gather() {
  try {
    co_await asyncio::gather(job("quick", 1), job("broken", 3), job("slow", 5));
  } catch (const asyncio::ValueError& error) {
    std::cout << "  main: gather raises the failure at once: " << error.what() << "\n";
  }
  co_await take(5);
  std::cout << "  main: nobody stopped slow, and nobody has its result\n";

  std::cout << "gather with return_exceptions: waits for all, and a failure is a result\n";
  auto [quick, broken, slow] =
      co_await asyncio::gather({.return_exceptions = true}, job("quick", 1), job("broken", 3), job("slow", 5));
  std::cout << "  main: " << std::get<0>(quick) << ", " << text(std::get<1>(broken)) << ", " << std::get<0>(slow)
            << "\n";
}

asyncio::Coroutine<> with_wait() {
  std::vector<asyncio::Task<std::string>> tasks;
  tasks.push_back(asyncio::create_task(job("quick", 1)));
  tasks.push_back(asyncio::create_task(job("broken", 3)));
  tasks.push_back(asyncio::create_task(job("slow", 5)));
  auto [done, pending] = co_await asyncio::wait(tasks, {.return_when = asyncio::FIRST_EXCEPTION});
  std::cout << "  main: wait raises nothing: " << done.size() << " are done, " << pending.size() << " is pending\n";
  std::cout << "  main: " << tasks[0].result() << ", " << text(tasks[1].exception()) << "\n";
  std::string late = co_await pending.front();  // not inside the <<: who prints first is then up to the compiler
  std::cout << "  main: what is pending is ours to cancel or to await: " << late << "\n";
}

asyncio::Coroutine<> with_group() {
  try {
    co_await asyncio::async_with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) -> asyncio::Coroutine<> {
      group.create_task(job("quick", 1));
      group.create_task(job("broken", 3));
      group.create_task(job("slow", 5));
      co_return;
    });
  } catch (const asyncio::ExceptionGroup& group) {
    std::cout << "  main: all three have ended; the group raises what failed, as an ExceptionGroup:\n";
    for (std::exception_ptr exception : group.exceptions()) std::cout << "  main: " << text(exception) << "\n";
  }
}

asyncio::Coroutine<> tour() {
  std::cout << "gather: the first failure is the caller's, the siblings go on\n";
  co_await with_gather();
  std::cout << "wait: tells who is done, and leaves the rest to the caller\n";
  co_await with_wait();
  std::cout << "TaskGroup: all or nothing, a failure cancels the siblings\n";
  co_await with_group();
}

int main() { asyncio::run(tour()); }
