// call_later and call_at: timers are called in the order in which they are due, never early.
// Look at the timer that is late: a callback that blocks holds up everything, for there is one thread.
#include <cmath>
#include <iostream>
#include <string>
#include <thread>

#include "asyncio.hpp"

int main() {
  asyncio::EventLoop loop;
  const double start = loop.time();
  const auto elapsed = [&] { return std::floor((loop.time() - start) * 10) / 10; };
  const auto ring = [&](std::string name, double due) {
    std::cout << name << ": due at " << due << " s, called at " << elapsed() << " s\n";
  };
  const auto block = [&](double seconds) {
    std::cout << "block: keeps the thread for " << seconds << " s from " << elapsed() << " s on\n";
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  };

  loop.call_later(0.3, ring, "third", 0.3);
  loop.call_later(0.1, ring, "first", 0.1);
  loop.call_later(0.2, ring, "second", 0.2);
  asyncio::TimerHandle handle = loop.call_later(0.3, ring, "never shown", 0.3);
  handle.cancel();
  loop.call_later(0.4, block, 0.2);
  loop.call_at(start + 0.5, ring, "late", 0.5);
  loop.call_later(0.7, [&] { loop.stop(); });
  std::cout << "main: six timers, scheduled in any order; one more is cancelled\n";

  loop.run_forever();
  std::cout << "main: stopped by a timer at " << elapsed() << " s\n";
  loop.close();
}
