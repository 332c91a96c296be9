// There are no asynchronous generators here: a class with anext() is one, or a Queue.
// error: no member named 'yield_value' in
#include "asyncio.hpp"

asyncio::Coroutine<int> f() { co_yield 1; }
