// Broken on purpose: a task asks again and again whether something has happened, instead of waiting for it.
#include <iostream>

#include "asyncio.hpp"

asyncio::Coroutine<> tour() {
  bool arrived = false;
  auto& loop = asyncio::get_running_loop();
  loop.call_later(0.02, [&] { arrived = true; });
  int turns = 0;
  for (; turns < 150 || !arrived; ++turns) co_await asyncio::sleep(0);  // an asyncio::Event would wait
  std::cout << "arrived, after more than 100 turns: " << std::boolalpha << (turns > 100) << "\n";
}

int main() { asyncio::run(tour()); }
