// call_later and call_at: timers are called in the order in which they are due, never early.
// Look at the timer that is late: a callback that blocks holds up everything, for there is one thread.
#include <iostream>
#include <string>
#include <thread>

#include "asyncio.hpp"

int main() {
  asyncio::EventLoop loop;
  const double start = loop.time();
  const auto ring = [&](std::string name, double due) {
    std::cout << name << ": due at " << due << " s; early: " << (loop.time() < start + due) << "\n";
  };
  const auto block = [&](double seconds) {
    std::cout << "block: due at 0.4 s, keeps the thread for " << seconds << " s\n";
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    std::cout << "block: returns; late is due by now: " << (loop.time() > start + 0.5) << "\n";
  };

  // From one start, for time goes by from one call_later to the next.
  loop.call_at(start + 0.3, ring, "third", 0.3);
  loop.call_at(start + 0.1, ring, "first", 0.1);
  loop.call_at(start + 0.2, ring, "second", 0.2);
  asyncio::TimerHandle handle = loop.call_later(0.3, ring, "never shown", 0.3);
  handle.cancel();
  loop.call_at(start + 0.4, block, 0.2);
  loop.call_at(start + 0.5, ring, "late", 0.5);
  loop.call_later(0.7, [&] { loop.stop(); });
  std::cout << std::boolalpha << "main: six timers, scheduled in any order; one more is cancelled\n";

  loop.run_forever();
  std::cout << "main: stopped by the last timer\n";
  loop.close();
}
