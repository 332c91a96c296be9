// Tests that await, with Catch2 v2 or v3:
//
//     ASYNC_TEST_CASE("a name", "[tag]") {
//       const int result = co_await f();
//       CHECK(result == 42);
//     }
//
// Every test runs on a loop of its own, as in Python's unittest.IsolatedAsyncioTestCase, and for at most ASYNC_TEST_TIMEOUT
// seconds. Copy this file: it needs asyncio.hpp and Catch2, nothing else.
#pragma once

#include "asyncio.hpp"

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

/// Seconds until a test that hangs ends with a TimeoutError.
#ifndef ASYNC_TEST_TIMEOUT
#define ASYNC_TEST_TIMEOUT 10
#endif

/// The RunnerOptions of every test: {.debug = true}, {.loop_factory = make_test_loop} …
#ifndef ASYNC_TEST_OPTIONS
#define ASYNC_TEST_OPTIONS \
  {}
#endif

/// The body of a test, with its limit of time.
inline asyncio::Coroutine<void> async_test_main(asyncio::Coroutine<void> body, double limit) {
  asyncio::Timeout timeout = asyncio::timeout(limit);
  try {
    co_await asyncio::async_with(timeout, [&]() -> asyncio::Coroutine<void> { co_await body; });
  } catch (const asyncio::TimeoutError&) {
    if (!timeout.expired()) throw;
    FAIL("the test hangs: it was cancelled after " << limit << " s");
  }
}

/// As TEST_CASE, with a body that may co_await.
#define ASYNC_TEST_CASE(...) ASYNC_TEST_CASE_NAMED(ASYNC_TEST_NAME(__LINE__), __VA_ARGS__)

#define ASYNC_TEST_NAME(line) ASYNC_TEST_CONCAT(async_test_case_, line)
#define ASYNC_TEST_CONCAT(a, b) a##b
#define ASYNC_TEST_CASE_NAMED(function, ...)                                                                    \
  static asyncio::Coroutine<void> function();                                                                   \
  TEST_CASE(__VA_ARGS__) { asyncio::run(async_test_main(function(), ASYNC_TEST_TIMEOUT), ASYNC_TEST_OPTIONS); } \
  static asyncio::Coroutine<void> function()

/// Awaits the expression, and checks that it throws a Type. For what it awaits may be no std::exception.
#define CHECK_THROWS_AS_AWAIT(expression, Type)                                                  \
  do {                                                                                           \
    std::exception_ptr thrown;                                                                   \
    try {                                                                                        \
      static_cast<void>(co_await (expression));                                                  \
    } catch (...) {                                                                              \
      thrown = std::current_exception();                                                         \
    }                                                                                            \
    INFO("co_await " #expression " threw " << (thrown ? asyncio::describe(thrown) : "nothing")); \
    CHECK(asyncio::holds<Type>(thrown));                                                         \
  } while (false)
