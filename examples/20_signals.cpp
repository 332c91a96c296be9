// Signals: a handler that the loop calls is ordinary code; and Ctrl-C under run() is a cancellation.
// Look at the order: raise() has returned before the handler runs, for that is a callback like any other. Then at
// SIGINT, which nobody handles: main is cancelled, tidies up, and run() ends with KeyboardInterrupt.
#include <csignal>
#include <iostream>

#include "asyncio.hpp"

void on_signal(int& received) {
  ++received;
  std::cout << "handler: SIGUSR1, number " << received << "\n";
}

asyncio::Coroutine<> handlers() {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  int received = 0;
  asyncio::Event terminated;
  loop.add_signal_handler(SIGUSR1, on_signal, std::ref(received));
  loop.add_signal_handler(SIGTERM, [&] {
    std::cout << "handler: SIGTERM, time to go\n";
    terminated.set();
  });
  for (int n = 1; n <= 2; ++n) {
    std::raise(SIGUSR1);
    std::cout << "main: raise() has returned; handled so far: " << received << "\n";
    co_await asyncio::sleep(0.01);
  }
  loop.call_later(0.01, std::raise, SIGTERM);
  co_await terminated.wait();
  bool removed = loop.remove_signal_handler(SIGUSR1), again = loop.remove_signal_handler(SIGUSR1);
  loop.remove_signal_handler(SIGTERM);
  std::cout << std::boolalpha << "main: handler removed: " << removed << ", and once more: " << again << "\n";
}

asyncio::Coroutine<> interrupted() {
  bool cancelled = false;
  try {
    std::raise(SIGINT);  // as the terminal does at Ctrl-C
    co_await asyncio::sleep(10);
  } catch (const asyncio::CancelledError&) {
    cancelled = true;
  }
  if (cancelled) {
    std::cout << "main: cancelled by SIGINT; there is time to tidy up\n";
    co_await asyncio::sleep(0.01);
    throw asyncio::CancelledError();
  }
}

int main() {
  asyncio::run(handlers());
  try {
    asyncio::run(interrupted());
  } catch (const asyncio::KeyboardInterrupt&) {
    std::cout << "run() raised KeyboardInterrupt\n";
  }
}
