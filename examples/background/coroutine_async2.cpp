// A coroutine that awaits a coroutine: bar around foo, driven from outside as if they were one.
// Look at what send() of bar gives: the future that foo awaits. An await hands everything through, in both directions;
// only what the innermost coroutine awaits ever comes out.
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

asyncio::Coroutine<std::string> bar(asyncio::Future<std::string> future) {
  std::cout << "Start bar\n";
  std::string result = co_await foo(future);
  std::cout << "End bar\n";
  co_return result;
}

int main() {
  asyncio::EventLoop loop;  // never runs; but every future belongs to one
  asyncio::Future<std::string> future(loop);

  asyncio::Coroutine<std::string> coroutine = bar(future);
  std::cout << ">>>> send1\n";
  std::optional<asyncio::AnyFuture> awaited = coroutine.send();
  std::cout << "what it awaits is the future: " << std::boolalpha << (awaited == future) << "\n";
  future.set_result("somevalue");

  std::cout << "\n>>>> send2\n";
  awaited = coroutine.send();
  if (!awaited) std::cout << "StopIteration: " << coroutine.result() << "\n";  // it has returned
}
