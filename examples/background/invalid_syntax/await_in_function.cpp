// co_await makes a coroutine of a function, and a coroutine has to return one: Coroutine<int>, not int. Python says
// SyntaxError: 'await' outside async function.
// error, g++: unable to find the promise type for this coroutine
// error, clang++: this function cannot be a coroutine
#include "asyncio.hpp"

int f() { return co_await asyncio::sleep(1, 42); }
