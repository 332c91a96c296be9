// Future: a result that is not there yet, and who wants to know when it is.
// Look at the two lines of the producer: set_result() calls nobody, it has the callbacks called soon.
#include <iostream>

#include "asyncio.hpp"

void produce(asyncio::Future<int> future) {
  std::cout << "producer: set_result(42)\n";
  future.set_result(42);
  std::cout << "producer: set_result() has returned, and no callback has run\n";
}

void first(asyncio::Future<int> future) { std::cout << "first callback: " << future.result() << "\n"; }

void second(asyncio::Future<int> future) { std::cout << "second callback: " << future.result() << "\n"; }

int main() {
  asyncio::EventLoop loop;
  asyncio::Future<int> future = loop.create_future<int>();
  try {
    future.result();
  } catch (const asyncio::InvalidStateError&) {
    std::cout << "main: the future is pending: result() is an InvalidStateError\n";
  }

  future.add_done_callback(first);
  future.add_done_callback(second);
  loop.call_later(0.05, produce, future);
  int result = loop.run_until_complete(future);
  std::cout << "main: run_until_complete() waited for it: " << result << "\n";

  try {
    future.set_result(43);
  } catch (const asyncio::InvalidStateError&) {
    std::cout << "main: a future is done once: a second set_result() is an InvalidStateError\n";
  }

  asyncio::Future<int> failed = loop.create_future<int>();
  loop.call_soon([failed] { failed.set_exception(asyncio::ValueError("no luck today")); });
  try {
    loop.run_until_complete(failed);
  } catch (const asyncio::ValueError& error) {
    std::cout << "main: an exception is a result, too: " << error.what() << "\n";
  }
  loop.close();
}
