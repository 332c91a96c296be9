// A main() that returns no Coroutine is no main for run.
// error: run needs a Coroutine, or a callable without arguments that returns one
#include "asyncio.hpp"

int work() { return 7; }

void f() { asyncio::run(work); }
