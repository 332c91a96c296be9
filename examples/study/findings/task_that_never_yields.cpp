// Broken on purpose: a task computes, and awaits only what does not wait. The ticker starts when it is over.
#include <chrono>
#include <iostream>

#include "asyncio.hpp"

asyncio::Coroutine<int> next(int n) { co_return n + 1; }  // awaiting it suspends nobody

asyncio::Coroutine<> count() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  int n = 0;
  while (std::chrono::steady_clock::now() < end) n = co_await next(n);
  std::cout << "counted\n";
}

asyncio::Coroutine<> tick() {
  co_await asyncio::sleep(0.01);
  std::cout << "tick, at last\n";
}

asyncio::Coroutine<> tour() {
  asyncio::Task<> counter = asyncio::create_task(count());
  asyncio::Task<> ticker = asyncio::create_task(tick());
  co_await counter;
  co_await ticker;
}

int main() { asyncio::run(tour()); }
