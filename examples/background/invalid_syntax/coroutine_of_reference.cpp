// What a reference refers to may be gone when the awaiter looks at it.
// error: a Coroutine returns a value: use std::reference_wrapper or a pointer
#include "asyncio.hpp"

int number = 42;

asyncio::Coroutine<int&> f() { co_return number; }
