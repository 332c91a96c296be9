// A result that can only be moved is moved out of the future, once: the caller has to say that he means it.
// error: it can only be moved: write co_await std::move(future)
#include <memory>

#include "asyncio.hpp"

asyncio::Coroutine<std::unique_ptr<int>> f(asyncio::Future<std::unique_ptr<int>> future) { co_return co_await future; }
