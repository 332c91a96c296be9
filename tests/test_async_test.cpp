// ASYNC_TEST_CASE, the header that users copy. Upstream counterpart: Lib/test/test_unittest/test_async_case.py.
#include <memory>
#include <string>

#include "tests/utils.hpp"

namespace {

/// Every test of this file on a virtual clock: ten seconds pass in no time.
std::unique_ptr<asyncio::EventLoop> make_test_loop() { return std::make_unique<test::TestLoop>(); }

asyncio::Coroutine<int> half(int n) {
  co_await asyncio::sleep(3600);
  if (n % 2) throw asyncio::ValueError("odd");
  co_return n / 2;
}

asyncio::Coroutine<> hang() { co_await asyncio::get_running_loop().create_future<>(); }

}  // namespace

#define ASYNC_TEST_TIMEOUT 10000
#define ASYNC_TEST_OPTIONS \
  { .loop_factory = make_test_loop }
#include "tests/async_test.hpp"

ASYNC_TEST_CASE("an async test awaits, and checks what it got", "[async_test]") {
  const int result = co_await half(42);
  CHECK(result == 21);
}

ASYNC_TEST_CASE("an async test sees the exception of what it awaits", "[async_test]") {
  CHECK_THROWS_AS_AWAIT(half(1), asyncio::ValueError);
  auto task = asyncio::create_task(hang());
  asyncio::get_running_loop().call_soon([task] { task.cancel(); });
  CHECK_THROWS_AS_AWAIT(task, asyncio::CancelledError);
}

ASYNC_TEST_CASE("an async test runs in a task, on the loop that it asked for", "[async_test]") {
  CHECK(asyncio::current_task());
  CHECK(dynamic_cast<test::TestLoop*>(&asyncio::get_running_loop()));
  CHECK(asyncio::get_running_loop().time() == 0);
  co_return;
}

ASYNC_TEST_CASE("an async test that does not await returns all the same", "[async_test]") { co_return; }

TEST_CASE("an async test that hangs is cancelled after its time", "[async_test]") {
  bool cancelled = false;
  auto body = [&]() -> asyncio::Coroutine<> {
    const asyncio::Finally note([&] { cancelled = true; });
    co_await hang();
  };
  const std::string failure =
      test::thrown([&] { asyncio::run(asyncio::wait_for(body, 1), {.loop_factory = make_test_loop}); });
  CHECK(failure == "asyncio::TimeoutError");
  CHECK(cancelled);
}

ASYNC_TEST_CASE("an async test leaves no task behind", "[async_test]") {
  auto pause = []() -> asyncio::Coroutine<> {
    const test::Instance instance;
    co_await hang();
  };
  asyncio::create_task(pause);
  co_await asyncio::sleep(0);
  CHECK(test::Instance::alive() == 1);
}

TEST_CASE("after an async test no loop runs, and none of its frames is left", "[async_test]") {
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
  CHECK(test::Instance::alive() == 0);
}
