// An int cannot be awaited: there is nothing to wait for. What can be: a Coroutine, a Future, a Task.
// error: co_await needs an asyncio Coroutine, Future or Task: this is none of them
#include "asyncio.hpp"

asyncio::Coroutine<int> f() { co_return co_await 42; }
