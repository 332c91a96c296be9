// Waits, so that it can be asked what it waits for: kill -USR1 prints its tasks, in debug mode.
#include <unistd.h>

#include <iostream>

#include "asyncio.hpp"

asyncio::Coroutine<> inner() { co_await asyncio::sleep(20); }

asyncio::Coroutine<> outer() { co_await asyncio::create_task(inner(), {.name = "inner"}); }

asyncio::Coroutine<> tour() {
  asyncio::Task<> task = asyncio::create_task(outer(), {.name = "outer"});
  co_await asyncio::sleep(0.01);
  std::cout << "kill -USR1 " << getpid() << "\n" << std::flush;
  co_await task;
}

int main() { asyncio::run(tour()); }
