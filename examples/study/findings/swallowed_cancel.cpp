// Broken on purpose: a task catches everything, and so also its own cancellation.
#include <iostream>

#include "asyncio.hpp"

asyncio::Coroutine<> poll() {
  for (int attempt = 1; attempt <= 3; ++attempt) {
    try {
      co_await asyncio::sleep(0.02);
    } catch (...) {  // const std::exception& lets a CancelledError pass
      std::cout << "something went wrong, try again\n";
    }
  }
}

asyncio::Coroutine<> tour() {
  asyncio::Task<> poller = asyncio::create_task(poll());
  co_await asyncio::sleep(0.01);
  poller.cancel();
  co_await poller;
  std::cout << "it went on to its end\n";
}

int main() { asyncio::run(tour()); }
