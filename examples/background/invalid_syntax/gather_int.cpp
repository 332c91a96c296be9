// Only what can be awaited can be gathered.
// error: no matching function for call to 'ensure_future
#include "asyncio.hpp"

asyncio::Coroutine<> f() { co_await asyncio::gather(asyncio::sleep(1), 42); }
