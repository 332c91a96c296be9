// The loop itself: run_until_complete and run_forever, and the four ways to have something called.
// Look at the last line of each part: who ends the loop. Then at call_at: the loop's clock is not the one on the wall, but
// one is easily made of the other.
#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include "asyncio.hpp"

void say(std::string text) { std::cout << text << "\n"; }

asyncio::Coroutine<int> compute() {
  co_await asyncio::sleep(0.01);
  co_return 42;
}

double now() {  // seconds since 1970
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

int main() {
  asyncio::EventLoop loop;
  std::cout << "run_until_complete: " << loop.run_until_complete(compute()) << "\n";

  std::cout << "run_forever, until somebody calls stop():\n";
  loop.call_later(0.1, say, "  call_later: in a tenth of a second");
  loop.call_soon(say, "  call_soon: in the next iteration");
  loop.call_later(0.2, [&] { loop.stop(); });
  loop.run_forever();

  const double wall_clock_time = now() + 0.1;  // say, at eight o'clock
  loop.call_at(loop.time() + (wall_clock_time - now()), [&] {
    std::cout << "call_at: it is time: " << std::boolalpha << (now() >= wall_clock_time - 0.01) << "\n";
    loop.stop();
  });
  loop.run_forever();

  std::thread thread([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    loop.call_soon_threadsafe(say, "call_soon_threadsafe: said by a thread, called by the loop");
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  loop.run_forever();
  thread.join();

  std::cout << "closed: " << loop.is_closed() << "\n";
  loop.close();
  std::cout << "closed: " << loop.is_closed() << "\n";
}
