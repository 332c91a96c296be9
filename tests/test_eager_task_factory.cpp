// Tasks that take their first step inside create_task. Upstream counterpart:
// Lib/test/test_asyncio/test_eager_task_factory.py; here eager start is an option of each task.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/utils.hpp"

namespace {

using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::fails;
using test::Instance;
using test::Log;
using test::says;
using test::TestLoop;

constexpr asyncio::TaskOptions EAGER{.name = {}, .eager_start = true};

Coroutine<std::string> says_later(std::string text) {
  co_await asyncio::sleep(0.1);
  co_return text;
}
Coroutine<void> sets(Future<std::string> future, std::string text) {
  future.set_result(text);
  co_return;
}

bool contains(const std::vector<AnyTask>& tasks, const AnyTask& task) {
  return std::find(tasks.begin(), tasks.end(), task) != tasks.end();
}

}  // namespace

TEST_CASE("eager start is each task's own option: the others start in the next iteration",
          "[eager][test_eager_task_factory.test_eager_task_factory_set]") {
  TestLoop loop;
  Log log;
  auto body = [&](std::string name) -> Coroutine<void> {
    log.push_back(name);
    co_return;
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> lazy = asyncio::create_task(body("lazy"));
    const Task<void> eager = asyncio::create_task(body("eager"), EAGER);
    log.push_back("main");
    co_await lazy;
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"eager", "main", "lazy"});
}

TEST_CASE("the loop's create_task and the Task constructor start eagerly, too",
          "[eager][test_eager_task_factory.test_eager_task_factory_set]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> made = loop.create_task(says("made"), EAGER);
    const Task<std::string> constructed(says("constructed"), loop, EAGER);
    CHECK(made.done());
    CHECK(constructed.done());
    CHECK(constructed.result() == "constructed");
    co_return;
  };
  loop.run_until_complete(main());
}

TEST_CASE("a future can be set during an eager first step and be awaited afterwards",
          "[eager][test_eager_task_factory.test_await_future_during_eager_step]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<std::string> {
    const Future<std::string> future = loop.create_future<std::string>();
    const Task<void> task = asyncio::create_task(sets(future, "my message"), EAGER);
    CHECK(task.done());
    co_return co_await future;
  };
  CHECK(loop.run_until_complete(main()) == "my message");
}

TEST_CASE("an eager task whose coroutine does not suspend is done when create_task returns",
          "[eager][test_eager_task_factory.test_eager_completion]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    const Task<std::string> task = asyncio::create_task(says("hello"), EAGER);
    CHECK(task.done());
    co_return co_await task;
  };
  CHECK(loop.run_until_complete(main()) == "hello");
}

TEST_CASE("an eager task that suspends goes on like any other task",
          "[eager][test_eager_task_factory.test_block_after_eager_step]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    const Task<std::string> task = asyncio::create_task(says_later("after blocking"), EAGER);
    CHECK_FALSE(task.done());
    const std::string result = co_await task;
    CHECK(task.done());
    co_return result;
  };
  CHECK(loop.run_until_complete(main()) == "after blocking");
  CHECK(loop.time() == 0.1);
}

TEST_CASE("an eager task that ended in its first step cannot be cancelled any more",
          "[eager][rule-5][test_eager_task_factory.test_cancellation_after_eager_completion]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    const Task<std::string> task = asyncio::create_task(says("without blocking"), EAGER);
    CHECK_FALSE(task.cancel());
    std::string result = co_await task;
    CHECK_FALSE(task.cancelled());
    co_return result;
  };
  CHECK(loop.run_until_complete(main()) == "without blocking");
}

TEST_CASE("an eager task that suspended in its first step is cancelled at that await",
          "[eager][rule-5][test_eager_task_factory.test_cancellation_after_eager_step_blocks]") {
  TestLoop loop;
  std::string message;
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> task = asyncio::create_task(says_later("never"), EAGER);
    CHECK(task.cancel("cancellation message"));
    CHECK(task.cancelling() == 1);
    try {
      co_await task;
    } catch (const CancelledError& error) {
      message = error.what();
      throw;
    }
  };
  CHECK_THROWS_AS(loop.run_until_complete(main()), CancelledError);
  CHECK(message == "cancellation message");
}

TEST_CASE("an eager task that cancels itself in its first step is cancelled", "[eager][rule-5]") {
  TestLoop loop;
  auto suspends = []() -> Coroutine<void> {
    asyncio::current_task().cancel();
    co_await asyncio::sleep(10);
  };
  auto returns = []() -> Coroutine<void> {
    asyncio::current_task().cancel();
    co_return;
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> first = asyncio::create_task(suspends(), EAGER);
    const Task<void> second = asyncio::create_task(returns(), EAGER);
    CHECK_FALSE(first.done());
    CHECK(second.cancelled());
    co_await asyncio::sleep(0);
    CHECK(first.cancelled());
  };
  loop.run_until_complete(main());
}

TEST_CASE("current_task is the eager task inside its first step, and later on",
          "[eager][test_eager_task_factory.test_current_task]") {
  TestLoop loop;
  AnyTask before, after;
  auto body = [&]() -> Coroutine<void> {
    before = asyncio::current_task();
    co_await asyncio::sleep(0.1);
    after = asyncio::current_task();
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> task = asyncio::create_task(body(), EAGER);
    CHECK(before == task);
    co_await task;
    CHECK(after == task);
  };
  loop.run_until_complete(main());
}

TEST_CASE("current_task is the creator again after an eager first step, however that ended",
          "[eager][test_eager_task_factory.test_current_task]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const AnyTask me = asyncio::current_task();
    const Task<std::string> returned = asyncio::create_task(says("ok"), EAGER);
    CHECK(asyncio::current_task() == me);
    const Task<std::string> suspended = asyncio::create_task(says_later("ok"), EAGER);
    CHECK(asyncio::current_task() == me);
    const Task<int> raised = asyncio::create_task(fails(), EAGER);
    CHECK(asyncio::current_task() == me);
    CHECK(raised.exception());
    co_await suspended;
    CHECK(asyncio::current_task() == me);
  };
  loop.run_until_complete(main());
}

TEST_CASE("current_task is null again after a callback started an eager task",
          "[eager][test_eager_task_factory.test_current_task]") {
  TestLoop loop;
  AnyTask inside;
  auto body = [&]() -> Coroutine<void> {
    inside = asyncio::current_task();
    co_return;
  };
  bool called = false;
  loop.call_soon([&] {
    const Task<void> task = asyncio::create_task(body(), EAGER);
    CHECK(inside == task);
    CHECK_FALSE(asyncio::current_task());
    called = true;
  });
  test::run_once(loop);
  CHECK(called);
}

TEST_CASE("eager tasks can start eager tasks: each is the current one in its own step",
          "[eager][test_eager_task_factory.test_current_task]") {
  TestLoop loop;
  auto nest = [](auto& self, int depth) -> Coroutine<int> {
    const AnyTask me = asyncio::current_task();
    int below = 0;
    if (depth > 1) {
      const Task<int> task = asyncio::create_task(self(self, depth - 1), EAGER);
      CHECK(task != me);
      below = task.result();
    }
    CHECK(asyncio::current_task() == me);
    co_return below + 1;
  };
  CHECK(loop.run_until_complete(nest(nest, 10)) == 10);
}

TEST_CASE("all_tasks has an eager task during its first step, and not when that ended it",
          "[eager][test_eager_task_factory.test_all_tasks_with_eager_completion]") {
  TestLoop loop;
  std::vector<AnyTask> inside;
  auto body = [&]() -> Coroutine<void> {
    inside = asyncio::all_tasks();
    co_return;
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> task = asyncio::create_task(body(), EAGER);
    CHECK(contains(inside, task));
    CHECK(contains(inside, asyncio::current_task()));
    CHECK_FALSE(contains(asyncio::all_tasks(), task));
    co_return;
  };
  loop.run_until_complete(main());
}

TEST_CASE("all_tasks has an eager task that suspended until it is done",
          "[eager][test_eager_task_factory.test_all_tasks_with_blocking]") {
  TestLoop loop;
  std::vector<AnyTask> inside;
  auto body = [&](Future<void> first, Future<void> second) -> Coroutine<void> {
    inside = asyncio::all_tasks();
    co_await first;
    second.set_result();
  };
  auto main = [&]() -> Coroutine<void> {
    const Future<void> first(loop), second(loop);
    const Task<void> task = asyncio::create_task(body(first, second), EAGER);
    CHECK(contains(inside, task));
    CHECK(contains(asyncio::all_tasks(), task));
    first.set_result();
    co_await second;
    CHECK_FALSE(contains(asyncio::all_tasks(), task));
  };
  loop.run_until_complete(main());
}

TEST_CASE("awaiting an eager task that is done does not suspend",
          "[eager][rule-1][test_eager_task_factory.test_awaitables_chain]") {
  TestLoop loop;
  auto chain = [](auto& self, int depth) -> Coroutine<int> {
    if (depth == 0) co_return 0;
    const Task<int> task = asyncio::create_task(self(self, depth - 1), EAGER);
    co_return 1 + co_await task;
  };
  const Task<int> root = loop.create_task(chain(chain, 100));
  test::run_once(loop);
  CHECK(root.done());
  CHECK(root.result() == 100);
}

TEST_CASE("a task that is to start eagerly on a loop that does not run starts in the first iteration", "[eager]") {
  TestLoop loop;
  const Task<std::string> task = loop.create_task(says("hello"), EAGER);
  CHECK_FALSE(task.done());
  CHECK(loop.run_until_complete(task) == "hello");
}

TEST_CASE("what an eager first step raises stays in the task", "[eager][rule-6]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const Task<int> task = asyncio::create_task(fails(), EAGER);
    CHECK(task.done());
    CHECK(asyncio::describe(task.exception()) == "std::invalid_argument: spam");
    co_return;
  };
  loop.run_until_complete(main());
}

TEST_CASE("the exception of an eager task that is dropped at once is reported at once", "[eager][rule-6]") {
  TestLoop loop;
  auto& caught = loop.catch_exceptions();
  auto main = [&]() -> Coroutine<void> {
    asyncio::create_task(fails(), EAGER);
    CHECK(caught.size() == 1);
    co_return;
  };
  loop.run_until_complete(main());
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task exception was never retrieved");
}

TEST_CASE("KeyboardInterrupt in an eager first step comes out of create_task", "[eager][rule-6]") {
  TestLoop loop;
  loop.catch_exceptions();
  auto interrupts = []() -> Coroutine<void> {
    throw asyncio::KeyboardInterrupt();
    co_return;
  };
  bool came_out = false;
  auto main = [&]() -> Coroutine<void> {
    const AnyTask me = asyncio::current_task();
    try {
      asyncio::create_task(interrupts(), EAGER);
    } catch (const asyncio::KeyboardInterrupt&) {
      came_out = true;
    }
    CHECK(asyncio::current_task() == me);
    co_return;
  };
  loop.run_until_complete(main());
  CHECK(came_out);
  CHECK(asyncio::all_tasks(loop).empty());
}

TEST_CASE("a done callback of an eager task that is done is called in the next iteration", "[eager][rule-3]") {
  TestLoop loop;
  Log log;
  auto main = [&]() -> Coroutine<void> {
    const Task<std::string> task = asyncio::create_task(says("hello"), EAGER);
    task.add_done_callback([&](const Future<std::string>& future) { log.push_back(future.result()); });
    log.push_back("added");
    co_await asyncio::sleep(0);
    log.push_back("slept");
  };
  loop.run_until_complete(main());
  CHECK(log == Log{"added", "hello", "slept"});
}

TEST_CASE("an eager task that is done has freed its coroutine",
          "[eager][rule-7][test_eager_task_factory.test_issue122332]") {
  TestLoop loop;
  auto body = [](Instance) -> Coroutine<void> { co_return; };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> task = asyncio::create_task(body(Instance()), EAGER);
    CHECK(task.done());
    CHECK(Instance::alive() == 0);
    co_return;
  };
  loop.run_until_complete(main());
}

TEST_CASE("an eager task can be made of a callable, and is named", "[eager]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    auto body = [value = std::make_unique<int>(5)]() -> Coroutine<int> {
      const int before = *value;
      co_await asyncio::sleep(1);
      co_return before + *value;
    };
    const Task<int> task = asyncio::create_task(std::move(body), {.name = "eager beaver", .eager_start = true});
    CHECK(task.get_name() == "eager beaver");
    const int sum = co_await task;
    CHECK(sum == 10);
  };
  loop.run_until_complete(main());
}

TEST_CASE("an eager task that awaits a future of another loop is raised RuntimeError", "[eager][rule-8]") {
  TestLoop loop, other;
  const Future<std::string> foreign(other);
  auto body = [&]() -> Coroutine<std::string> { co_return co_await foreign; };
  auto main = [&]() -> Coroutine<std::string> {
    const Task<std::string> task = asyncio::create_task(body(), EAGER);
    CHECK_FALSE(task.done());
    co_return co_await task;
  };
  CHECK_THROWS_AS(loop.run_until_complete(main()), asyncio::RuntimeError);
}
