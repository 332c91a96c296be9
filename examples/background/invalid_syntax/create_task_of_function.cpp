// A task is made of a coroutine: of what an asynchronous function returns, or of the function itself. This one blocks
// while it is called, and asyncio::to_thread is for such.
// error: create_task needs a Coroutine or a callable without arguments that returns one
#include "asyncio.hpp"

int work();

asyncio::Coroutine<int> f() { co_return co_await asyncio::create_task(work); }
