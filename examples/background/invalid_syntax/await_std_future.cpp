// A std::future blocks its thread when it is asked: it is none of ours. to_thread and run_in_executor give one that can
// be awaited.
// error: co_await needs an asyncio Coroutine, Future or Task: this is none of them
#include <future>

#include "asyncio.hpp"

asyncio::Coroutine<int> f(std::future<int> result) { co_return co_await result; }
