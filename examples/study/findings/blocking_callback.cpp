// Broken on purpose: a coroutine waits with a call that blocks the thread, and the ticker misses its ticks.
#include <chrono>
#include <iostream>
#include <thread>

#include "asyncio.hpp"

asyncio::Coroutine<> tick() {
  for (int n = 1; n <= 3; ++n) {
    co_await asyncio::sleep(0.05);
    std::cout << "tick " << n << "\n";
  }
}

asyncio::Coroutine<> tour() {
  asyncio::Task<> ticker = asyncio::create_task(tick());
  co_await asyncio::sleep(0.06);
  std::this_thread::sleep_for(std::chrono::milliseconds(150));  // instead of co_await asyncio::sleep(0.15)
  std::cout << "blocked, and nobody ticked\n";
  co_await ticker;
}

int main() { asyncio::run(tour()); }
