// A future: a place for a result that comes later, or for an exception.
// Look at who sets it and who gets it: they know the future, not each other.
#include <iostream>
#include <stdexcept>
#include <string>

#include "asyncio.hpp"

void on_done(asyncio::Future<std::string> future) {
  std::cout << "callback: the future is done, with ";
  std::cout << (future.exception() ? "an exception" : "a result") << "\n";
}

asyncio::Coroutine<> wait_for_it(asyncio::Future<std::string> future) {
  try {
    std::string result = co_await future;
    std::cout << "result: " << result << "\n";
  } catch (const std::runtime_error& error) {
    std::cout << "exception: " << error.what() << "\n";
  }
}

int main() {
  asyncio::EventLoop loop;

  asyncio::Future<std::string> future = loop.create_future<std::string>();
  future.add_done_callback(on_done);
  loop.call_later(0.05, [&] { future.set_result("the future is here"); });
  std::cout << std::boolalpha << "done: " << future.done() << "\n";
  loop.run_until_complete(wait_for_it(future));
  std::cout << "done: " << future.done() << "\n";

  asyncio::Future<std::string> failing = loop.create_future<std::string>();
  failing.add_done_callback(on_done);
  loop.call_later(0.05, [&] { failing.set_exception(std::runtime_error("no future")); });
  loop.run_until_complete(wait_for_it(failing));

  try {
    future.set_result("another one");
  } catch (const asyncio::InvalidStateError&) {
    std::cout << "a second result is an InvalidStateError\n";
  }
}
