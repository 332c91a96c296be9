// A lambda is a function of its own: that f is a coroutine does not make one of it.
// error, g++: unable to find the promise type for this coroutine
// error, clang++: this function cannot be a coroutine
#include "asyncio.hpp"

asyncio::Coroutine<> f() {
  const auto pause = []() -> void { co_await asyncio::sleep(1); };
  pause();
  co_return;
}
