// A coroutine is one activation of a function, and runs once: there is one owner, and a copy would be a second one. (The
// one who awaits a moved-from coroutine is told when the program runs: RuntimeError.)
// error, g++: use of deleted function 'asyncio::Coroutine<void>::Coroutine(const asyncio::Coroutine<void>&)'
// error, clang++: call to implicitly-deleted copy constructor of 'Coroutine<void>'
#include "asyncio.hpp"

asyncio::Coroutine<> work();

void f() {
  asyncio::Coroutine<> coroutine = work();
  asyncio::run(coroutine);
}
