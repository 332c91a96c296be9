// A coroutine that nobody awaits never runs. Python warns when the program runs; with -Werror this does not even compile.
// error, g++: ignoring returned value of type 'asyncio::Coroutine<void>', declared with attribute 'nodiscard'
// error, clang++: ignoring return value of function declared with 'nodiscard' attribute
#include "asyncio.hpp"

asyncio::Coroutine<> f() {
  asyncio::sleep(1);
  co_return;
}
