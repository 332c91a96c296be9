// In the order of Python, or nobody can tell.
#include <iostream>
#include <string>
#include <vector>

#include "asyncio.hpp"

using asyncio::Coroutine;

Coroutine<int> work();
Coroutine<std::string> text();
Coroutine<int> fib(int n) {
  if (n < 2) co_return n;
  co_return co_await fib(n - 1) + co_await fib(n - 2);
}
int log(const char* text);

Coroutine<void> in_order(std::vector<int> values) {
  const int first = co_await work();
  std::cout << "work gave " << first << "\n";
  std::cout << co_await work() << "\n";
  int sum = co_await work() + log("behind");
  sum += co_await work();
  const std::string name = std::string("a") + co_await text();
  const bool both = log("left") && co_await work();
  const std::size_t size = values.size() + co_await work();
  values.push_back(co_await work());
  values[0] = co_await work();
  asyncio::Task<int> task = asyncio::create_task(work());
  const bool same = 3 * co_await task == sum;
  std::cout << both << same << size << name;
}
