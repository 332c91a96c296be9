// main is no coroutine: asyncio::run(coroutine()) is the way in.
// error: 'co_await' cannot be used in the 'main' function
#include "asyncio.hpp"

int main() { co_await asyncio::sleep(1); }
