// What the tests of locks share.
// Upstream counterpart: Lib/test/test_asyncio/test_locks.py.
#pragma once

#include "tests/utils.hpp"

namespace test {

/// Takes it, notes its number, and keeps it.
template <class Primitive> asyncio::Coroutine<void> takes(Primitive& primitive, Numbers& log, int number) {
  co_await primitive.acquire();
  log.push_back(number);
}

/// Waits for a notification, notes its number, and keeps the lock.
inline asyncio::Coroutine<void> is_notified(asyncio::Condition& condition, Numbers& log, int number) {
  co_await condition.acquire();
  co_await condition.wait();
  log.push_back(number);
}

/// Acquires from outside of any task, when it is known not to wait.
template <class Primitive> void acquire_now(TestLoop& loop, Primitive& primitive) {
  const auto acquired = loop.create_task(primitive.acquire());
  run_once(loop);
  REQUIRE(acquired.done());
  REQUIRE(acquired.result());
}

}  // namespace test
