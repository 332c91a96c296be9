// Broken on purpose: a coroutine is called and not awaited. Its body never runs.
#include <iostream>

#include "asyncio.hpp"

asyncio::Coroutine<> save() {
  std::cout << "saved\n";
  co_return;
}

asyncio::Coroutine<> tour() {
  static_cast<void>(save());  // co_await is missing; the compiler warns if the cast is missing, too
  std::cout << "everything is saved, or so it seems\n";
  co_return;
}

int main() { asyncio::run(tour()); }
