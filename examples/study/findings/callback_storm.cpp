// Broken on purpose: a callback schedules itself at once, again and again.
#include <iostream>

#include "asyncio.hpp"

struct Poll {
  asyncio::EventLoop& loop;
  int left;
  void operator()() {
    if (left > 0) {
      loop.call_soon(Poll{loop, left - 1});  // call_later(0.01, …) would let the loop sleep
    } else {
      std::cout << "at last\n";
      loop.stop();
    }
  }
};

int main() {
  asyncio::EventLoop loop;
  loop.call_soon(Poll{loop, 200});
  loop.run_forever();
}
