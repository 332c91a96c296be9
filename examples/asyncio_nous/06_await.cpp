// await: a coroutine, a future and a task are awaited in the same way, and give the same.
// Look at what has happened before the await: of a coroutine nothing, of a task what it could do while others waited.
#include <iostream>
#include <string>

#include "asyncio.hpp"

asyncio::Coroutine<std::string> answer(std::string who) {
  std::cout << "  " << who << ": is asked\n";
  co_await asyncio::sleep(0.01);
  std::cout << "  " << who << ": answers\n";
  co_return "the answer of " + who;
}

asyncio::Coroutine<> tour() {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  asyncio::Coroutine<std::string> coroutine = answer("a coroutine");
  asyncio::Task<std::string> task = loop.create_task(answer("a task"));
  asyncio::Future<std::string> future = loop.create_future<std::string>();
  loop.call_later(0.02, [future] { future.set_result("the answer of a future"); });
  std::cout << "main: sleeps\n";
  co_await asyncio::sleep(0.05);

  std::cout << "main: awaits\n";
  std::string result = co_await coroutine;
  std::cout << result << "\n";
  result = co_await future;
  std::cout << result << "\n";
  result = co_await task;
  std::cout << result << "\n";

  result = co_await task;
  std::cout << "again: " << result << "\n";
  try {
    co_await coroutine;
  } catch (const asyncio::RuntimeError& error) {
    std::cout << "again: " << error.what() << "\n";
  }
}

int main() { asyncio::run(tour()); }
