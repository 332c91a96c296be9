// Broken on purpose: a task fails, and nobody asks it for its result.
#include <iostream>

#include "asyncio.hpp"

asyncio::Coroutine<> send() {
  co_await asyncio::sleep(0.01);
  throw asyncio::RuntimeError("the line is dead");
}

asyncio::Coroutine<> tour() {
  asyncio::create_task(send());  // nobody keeps it
  co_await asyncio::sleep(0.02);
  std::cout << "sent, or so it seems\n";
}

int main() { asyncio::run(tour()); }
