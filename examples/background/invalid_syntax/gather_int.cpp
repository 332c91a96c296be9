// Only what can be awaited can be gathered.
// error: gather needs Coroutines, Futures, Tasks, or callables that return a Coroutine: this is none of them
#include "asyncio.hpp"

asyncio::Coroutine<> f() { co_await asyncio::gather(asyncio::sleep(1), 42); }
