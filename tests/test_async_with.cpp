// async_with: what `async with` does. Upstream counterpart: Lib/test/test_coroutines.py, the test_with methods.
#include <memory>
#include <string>
#include <utility>

#include "tests/utils.hpp"

namespace {

using asyncio::async_with;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Task;
using test::Instance;
using test::Log;
using test::TestLoop;

/// Notes what is done to it. aenter() gives nothing: the body gets the manager.
struct Manager {
  explicit Manager(Log& notes, bool swallows_errors = false) : log(notes), swallows(swallows_errors) {}
  Coroutine<void> aenter() {
    log.push_back("aenter");
    co_return;
  }
  Coroutine<bool> aexit(std::exception_ptr exception) {
    log.push_back(exception ? "aexit with " + asyncio::describe(exception) : "aexit");
    co_return swallows;
  }
  Log& log;
  bool swallows;
};

/// Gives a value to the body.
struct Opens {
  Coroutine<std::unique_ptr<int>> aenter() {
    co_await asyncio::sleep(1);
    co_return std::make_unique<int>(5);
  }
  Coroutine<bool> aexit(std::exception_ptr) {
    co_await asyncio::sleep(1);
    co_return false;
  }
};

struct Fails {
  Fails(bool enter, bool exit) : in_aenter(enter), in_aexit(exit) {}
  Coroutine<void> aenter() {
    if (in_aenter) throw asyncio::ValueError("aenter");
    co_return;
  }
  Coroutine<bool> aexit(std::exception_ptr) {
    if (in_aexit) throw asyncio::ValueError("aexit");
    co_return true;
  }
  bool in_aenter, in_aexit;
};

/// Cannot be moved: an lvalue is all that async_with can be given.
struct Immovable : Manager {
  using Manager::Manager;
  Immovable(const Immovable&) = delete;
  Immovable& operator=(const Immovable&) = delete;
};

/// Is counted while it lives.
struct Counted {
  Coroutine<void> aenter() { co_return; }
  Coroutine<bool> aexit(std::exception_ptr) { co_return false; }
  Instance instance;
};

}  // namespace

TEST_CASE("async_with calls aenter, the body, aexit", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<void> {
    Manager manager(log);
    co_await async_with(manager, [&]() -> Coroutine<void> {
      log.push_back("body");
      co_return;
    });
    log.push_back("after");
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"aenter", "body", "aexit", "after"});
}

TEST_CASE("async_with does nothing before it is awaited", "[async_with]") {
  TestLoop loop;
  Log log;
  Manager manager(log);
  auto main = [&]() -> Coroutine<void> {
    auto body = [&]() -> Coroutine<void> { co_return; };
    auto with = async_with(manager, body);
    co_await asyncio::sleep(1);
    CHECK(log.empty());
    co_await with;
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"aenter", "aexit"});
}

TEST_CASE("the value of async_with is the body's", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<int> {
    Manager manager(log);
    co_return co_await async_with(manager, [&]() -> Coroutine<int> { co_return 7; });
  };
  CHECK(loop.run_until_complete(main()) == 7);
  CHECK(log == Log{"aenter", "aexit"});
}

TEST_CASE("the value of async_with may be move-only", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<std::unique_ptr<int>> {
    Manager manager(log);
    co_return co_await async_with(manager,
                                  [&]() -> Coroutine<std::unique_ptr<int>> { co_return std::make_unique<int>(8); });
  };
  CHECK(*loop.run_until_complete(main()) == 8);
}

TEST_CASE("the body gets the manager itself when aenter gives nothing", "[async_with]") {
  TestLoop loop;
  Log log;
  Manager manager(log);
  auto main = [&]() -> Coroutine<void> {
    co_await async_with(manager, [&](Manager& entered) -> Coroutine<void> {
      CHECK(&entered == &manager);
      co_return;
    });
    co_await async_with(manager, [&](auto& entered) -> Coroutine<void> {
      CHECK(&entered == &manager);
      co_return;
    });
  };
  loop.run_until_complete(main());
}

TEST_CASE("the body gets what aenter gives, and may change it or leave it alone", "[async_with]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    Opens opens;
    const int taken = co_await async_with(opens, [&](std::unique_ptr<int>& value) -> Coroutine<int> {
      *value += 1;
      co_return *std::exchange(value, nullptr);
    });
    const int ignored = co_await async_with(opens, [&]() -> Coroutine<int> { co_return 30; });
    co_return taken + ignored;
  };
  CHECK(loop.run_until_complete(main()) == 36);
  CHECK(loop.time() == 4);
}

TEST_CASE("an error of the body is given to aexit, then raised", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<void> {
    Manager manager(log);
    co_await async_with(manager, [&]() -> Coroutine<void> {
      throw asyncio::ValueError("spam");
      co_return;
    });
  };
  CHECK(test::thrown([&] { loop.run_until_complete(main()); }) == "std::invalid_argument: spam");
  CHECK(log == Log{"aenter", "aexit with std::invalid_argument: spam"});
}

TEST_CASE("an error that aexit swallows does not come out: the value is a default one", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<int> {
    Manager manager(log, true);
    co_return co_await async_with(manager, [&]() -> Coroutine<int> {
      throw asyncio::ValueError("spam");
      co_return 7;
    });
  };
  CHECK(loop.run_until_complete(main()) == 0);
  CHECK(log.size() == 2);
}

TEST_CASE("aexit's true does not change the value of a body that returns", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<int> {
    Manager manager(log, true);
    co_return co_await async_with(manager, [&]() -> Coroutine<int> { co_return 7; });
  };
  CHECK(loop.run_until_complete(main()) == 7);
}

TEST_CASE("a cancellation of the body is given to aexit, too", "[async_with][rule-5]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<void> {
    Manager manager(log);
    co_await async_with(manager, [&]() -> Coroutine<void> { co_await asyncio::sleep(1000); });
  };
  const Task<void> task = loop.create_task(main());
  loop.call_later(1, [&] { task.cancel("enough"); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  REQUIRE(log.size() == 2);
  CHECK(log[1].find("CancelledError: enough") != std::string::npos);
}

TEST_CASE("when aenter fails neither the body nor aexit is called", "[async_with]") {
  TestLoop loop;
  bool called = false;
  auto main = [&]() -> Coroutine<void> {
    Fails manager(true, true);
    co_await async_with(manager, [&]() -> Coroutine<void> {
      called = true;
      co_return;
    });
  };
  CHECK(test::thrown([&] { loop.run_until_complete(main()); }) == "std::invalid_argument: aenter");
  CHECK_FALSE(called);
}

TEST_CASE("an error of aexit replaces that of the body", "[async_with]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Fails manager(false, true);
    co_await async_with(manager, [&]() -> Coroutine<void> {
      throw asyncio::RuntimeError("body");
      co_return;
    });
  };
  CHECK(test::thrown([&] { loop.run_until_complete(main()); }) == "std::invalid_argument: aexit");
}

TEST_CASE("an lvalue manager is held by reference, and need not be movable", "[async_with]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<void> {
    Immovable manager(log);
    co_await async_with(manager, [&](Immovable& entered) -> Coroutine<void> {
      CHECK(&entered == &manager);
      co_return;
    });
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"aenter", "aexit"});
}

TEST_CASE("an rvalue manager lives until the end of the co_await", "[async_with][rule-7]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Counted manager;
    CHECK(Instance::alive() == 1);
    co_await async_with(std::move(manager), [&](Counted& entered) -> Coroutine<void> {
      CHECK(&entered != &manager);
      co_await asyncio::sleep(1);
      CHECK(Instance::alive() >= 2);
    });
    CHECK(Instance::alive() == 1);
  };
  loop.run_until_complete(main());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("managers nest, and end in the reverse order", "[async_with]") {
  TestLoop loop;
  Log log;
  struct Named {
    Named(Log& notes, std::string text) : log(notes), name(std::move(text)) {}
    Coroutine<void> aenter() {
      log.push_back("+" + name);
      co_return;
    }
    Coroutine<bool> aexit(std::exception_ptr) {
      log.push_back("-" + name);
      co_return false;
    }
    Log& log;
    std::string name;
  };
  auto main = [&]() -> Coroutine<void> {
    Named outer(log, "outer"), inner(log, "inner");
    co_await async_with(
        outer, [&]() -> Coroutine<void> { co_await async_with(inner, [&]() -> Coroutine<void> { co_return; }); });
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"+outer", "+inner", "-inner", "-outer"});
}

TEST_CASE("a lock is held during the body, and released when it fails", "[async_with][locks]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    asyncio::Lock lock;
    bool held = false;
    try {
      co_await async_with(lock, [&]() -> Coroutine<void> {
        held = lock.locked();
        throw asyncio::ValueError("spam");
        co_return;
      });
    } catch (const asyncio::ValueError&) {}
    CHECK(held);
    CHECK_FALSE(lock.locked());
  };
  loop.run_until_complete(main());
}
