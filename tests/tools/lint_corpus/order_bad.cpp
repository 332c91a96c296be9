// What g++ 12 runs in another order than Python would.
#include <iostream>
#include <string>

#include "asyncio.hpp"

using asyncio::Coroutine;

Coroutine<int> work();
int log(const char* text);

Coroutine<void> out_of_order(asyncio::EventLoop& loop) {
  std::cout << "work gave " << co_await work() << "\n";                     // finds: order
  std::cout << co_await work() << " and then " << co_await work() << "\n";  // finds: order
  int sum = log("first") + co_await work();                                 // finds: order
  const double elapsed = loop.time() - 1.0 * co_await work();               // finds: order
  if (log("left") == co_await work()) ++sum;                                // finds: order
  sum = sum++ + co_await work();                                            // finds: order
  std::cerr << elapsed << sum;
}
