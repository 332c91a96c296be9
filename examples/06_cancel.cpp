// cancel: a CancelledError, thrown at the await where the task is suspended.
// Look at who has the last word: the task. It can tidy up and go, refuse, or not even have started.
#include <iostream>
#include <string>

#include "asyncio.hpp"

asyncio::Coroutine<std::string> tidy() {
  std::exception_ptr cancelled;
  try {
    co_await asyncio::sleep(3600);
  } catch (const asyncio::CancelledError& error) {
    std::cout << "  tidy: cancelled at the await, because: " << error.what() << "\n";
    cancelled = std::current_exception();  // C++ has no co_await inside a handler: leave it first
  }
  co_await asyncio::sleep(0.05);
  std::cout << "  tidy: tidied up, which took an await of its own; now raises it again\n";
  std::rethrow_exception(cancelled);
}

asyncio::Coroutine<std::string> stubborn() {
  try {
    co_await asyncio::sleep(3600);
  } catch (const asyncio::CancelledError& error) {
    std::cout << "  stubborn: cancelled, because: " << error.what() << "; goes on\n";
  }
  co_return "its result";
}

asyncio::Coroutine<std::string> late() {
  std::cout << "  late: never shown\n";
  co_return "";
}

asyncio::Coroutine<> cancel(asyncio::Task<std::string> task) {
  task.cancel("nobody needs you");
  std::cout << "  main: cancel() has returned: the task is not done, it was only asked\n";
  try {
    std::string result = co_await task;
    std::cout << "  main: the task went on and has returned " << result << "\n";
  } catch (const asyncio::CancelledError&) {
    std::cout << "  main: the await raised CancelledError; the task is cancelled\n";
  }
}

asyncio::Coroutine<> tour() {
  for (auto coroutine : {tidy, stubborn}) {
    asyncio::Task<std::string> task = asyncio::create_task(coroutine());
    co_await asyncio::sleep(0.05);
    std::cout << (coroutine == tidy ? "a task that tidies up:\n" : "a task that refuses:\n");
    co_await cancel(task);
  }
  std::cout << "a task that has not started:\n";
  co_await cancel(asyncio::create_task(late()));
}

int main() { asyncio::run(tour()); }
