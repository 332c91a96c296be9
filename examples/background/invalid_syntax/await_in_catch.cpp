// Python may await in an except clause; C++ may not in a handler: keep std::current_exception(), leave the handler,
// await, and rethrow.
// error, g++: await expressions are not permitted in handlers
// error, clang++: 'co_await' cannot be used in the handler of a try block
#include "asyncio.hpp"

asyncio::Coroutine<> f() {
  try {
    co_await asyncio::sleep(1);
  } catch (const asyncio::CancelledError&) {
    co_await asyncio::sleep(0);
    throw;
  }
}
