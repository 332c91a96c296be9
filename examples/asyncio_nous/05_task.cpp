// A task: a coroutine that the loop runs, and the future of its result.
// Look at the order: what is awaited runs one after the other, what is a task runs when the others wait.
#include <iostream>
#include <string>

#include "asyncio.hpp"

asyncio::Coroutine<int> count_to(std::string name, int n) {
  for (int i = 1; i <= n; ++i) {
    std::cout << name << ": " << i << "\n";
    co_await asyncio::sleep(0.02);
  }
  co_return n;
}

asyncio::Coroutine<> tour() {
  asyncio::Task<int> a = asyncio::create_task(count_to("a", 2), {.name = "the first"});
  asyncio::Task<int> b = asyncio::create_task(count_to("b", 3));
  std::cout << "two tasks are made, and have not begun: " << a.get_name() << " is done: " << std::boolalpha << a.done()
            << "\n";
  int result_of_a = co_await a, result_of_b = co_await b;
  std::cout << "results: " << result_of_a << " and " << result_of_b << "\n";

  asyncio::Task<int> c = asyncio::create_task(count_to("c", 100));
  co_await asyncio::sleep(0.01);
  c.cancel();
  try {
    co_await c;
  } catch (const asyncio::CancelledError&) {
    std::cout << "c was cancelled: " << c.cancelled() << "\n";
  }
}

int main() { asyncio::run(tour()); }
