// call_soon: what you schedule runs in the next iteration, in order, never at once.
// Look at which iteration each line falls into, and at what stop() does not cut short.
#include <iostream>
#include <string>

#include "asyncio.hpp"

// The first callback of every iteration, for it schedules itself before anybody else does.
void iteration(int n) {
  std::cout << "iteration " << n << "\n";
  asyncio::get_running_loop().call_soon(iteration, n + 1);
}

void say(std::string text) { std::cout << "  " << text << "\n"; }

void d() {
  say("d, which calls stop() and then schedules e");
  asyncio::get_running_loop().stop();
  asyncio::get_running_loop().call_soon(say, "e, which was still in the queue");
}

void b() {
  say("b, which schedules c, d and f");
  asyncio::get_running_loop().call_soon(say, "c");
  asyncio::get_running_loop().call_soon(d);
  asyncio::get_running_loop().call_soon(say, "f: the iteration in which stop() was called runs to its end");
}

int main() {
  asyncio::EventLoop loop;
  loop.call_soon(iteration, 1);
  loop.call_soon(say, "a");
  asyncio::Handle handle = loop.call_soon(say, "never shown");
  loop.call_soon(b);
  handle.cancel();
  std::cout << "main: a and b are scheduled, and nothing has run yet\n";

  loop.run_forever();
  std::cout << "main: the loop has stopped; let it run for one more iteration\n";
  loop.stop();
  loop.run_forever();
  loop.close();
}
