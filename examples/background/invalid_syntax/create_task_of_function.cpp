// A task is made of a coroutine: of what an asynchronous function returns, or of the function itself. This one blocks
// while it is called, and asyncio::to_thread is for such.
// error: no matching function for call to 'create_task
#include "asyncio.hpp"

int work();

asyncio::Coroutine<int> f() { co_return co_await asyncio::create_task(work); }
