// A coroutine without a loop to run it: send() by hand does what a task does.
// Look at main: the first send() runs to the await, and gives what is awaited, a future; who drives the coroutine has to
// see that the future gets its value, and to send() again. The second one returns nothing: the coroutine has returned.
#include <iostream>
#include <optional>
#include <string>

#include "asyncio.hpp"

asyncio::Coroutine<std::string> foo(asyncio::Future<std::string> future) {
  std::cout << "Start foo\n";
  std::string value = co_await future;
  std::cout << value << "\n";
  std::cout << "End foo\n";
  co_return "result";
}

int main() {
  asyncio::EventLoop loop;  // never runs; but every future belongs to one
  asyncio::Future<std::string> future(loop);

  asyncio::Coroutine<std::string> coroutine = foo(future);
  std::cout << ">>>> send1\n";
  std::optional<asyncio::AnyFuture> awaited = coroutine.send();
  std::cout << "what it awaits is the future: " << std::boolalpha << (awaited == future) << "\n";
  future.set_result("somevalue");

  std::cout << "\n>>>> send2\n";
  awaited = coroutine.send();
  if (!awaited) std::cout << "StopIteration: " << coroutine.result() << "\n";  // it has returned
}
