// Task groups: children that end together. Upstream counterpart: Lib/test/test_asyncio/test_taskgroups.py.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

namespace {

using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::ExceptionGroup;
using asyncio::Future;
using asyncio::Task;
using asyncio::TaskGroup;
using test::dies_slowly;
using test::fails_later;
using test::Instance;
using test::later;
using test::Log;
using test::makes_unique;
using test::nothing;
using test::TestLoop;

struct MyError : std::runtime_error {
  MyError() : std::runtime_error("mine") {}
};

Coroutine<void> interrupts_later(double seconds) {
  co_await asyncio::sleep(seconds);
  throw asyncio::KeyboardInterrupt();
}
/// Sleeps; counts a cancellation and passes it on.
Coroutine<void> counts_cancellation(int& count) {
  try {
    co_await asyncio::sleep(1000);
  } catch (const CancelledError&) {
    ++count;
    throw;
  }
}
/// Sleeps; what ends the sleep is replaced by another error.
Coroutine<void> sleeps_then_fails(double seconds = 1000) {
  try {
    co_await asyncio::sleep(seconds);
  } catch (const CancelledError&) {}
  throw asyncio::ValueError("cleanup");
}

/// What the group consists of, sorted: "[a, b]"; "[]" if it is no group.
std::string errors_of(const std::exception_ptr& exception) {
  Log texts;
  try {
    std::rethrow_exception(exception);
  } catch (const ExceptionGroup& group) {
    for (const auto& inner : group.exceptions()) {
      texts.push_back(asyncio::holds<ExceptionGroup>(inner) ? errors_of(inner) : asyncio::describe(inner));
    }
  } catch (...) {}
  std::sort(texts.begin(), texts.end());
  std::string all;
  for (const auto& text : texts) all += (all.empty() ? "" : ", ") + text;
  return "[" + all + "]";
}

/// Runs the coroutine in a task, and gives what came out: "" for a return.
std::exception_ptr error_of(TestLoop& loop, Coroutine<void> coroutine) {
  const Task<void> task = loop.create_task(std::move(coroutine));
  try {
    loop.run_until_complete(task);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

/// The same, and cancels the task at a time.
std::exception_ptr error_when_cancelled(TestLoop& loop, double when, Coroutine<void> coroutine) {
  const Task<void> task = loop.create_task(std::move(coroutine));
  loop.call_later(when, [task] { task.cancel(); });
  try {
    loop.run_until_complete(task);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

const std::string SPAM = "[std::invalid_argument: spam]";
const std::string CLEANUP = "[std::invalid_argument: cleanup]";

}  // namespace

// ---- children that succeed ---------------------------------------------------------------------------

TEST_CASE("a group waits for the tasks it started", "[taskgroups][test_taskgroups.test_taskgroup_01]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    std::optional<Task<int>> a, b;
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      a = group.create_task(later(0.1, 42));
      b = group.create_task(later(0.2, 11));
      co_return;
    });
    CHECK(a->result() == 42);
    CHECK(b->result() == 11);
    CHECK(loop.time() == 0.2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the body of a group may await between the tasks it starts",
          "[taskgroups][test_taskgroups.test_taskgroup_02]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    std::optional<Task<int>> a, b;
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      a = group.create_task(later(1, 42));
      co_await asyncio::sleep(1.5);
      b = group.create_task(later(2, 11));
    });
    CHECK(a->result() == 42);
    CHECK(b->result() == 11);
    CHECK(loop.time() == 3.5);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a child that is cancelled on its own does not disturb the group",
          "[taskgroups][test_taskgroups.test_taskgroup_03]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    std::optional<Task<int>> a, b;
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      a = group.create_task(later(10, 42));
      co_await asyncio::sleep(1);
      a->cancel();
      b = group.create_task(later(2, 11));
    });
    CHECK(a->cancelled());
    CHECK(b->result() == 11);
    CHECK(loop.time() == 3);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a group without tasks ends with its body, in the same iteration", "[taskgroups]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const int start = loop.iterations();
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup&) -> Coroutine<void> { co_return; });
    CHECK(loop.iterations() == start);
  };
  loop.run_until_complete(main());
}

TEST_CASE("the value of the body comes out when the children are done", "[taskgroups]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<int> {
    co_return co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<int> {
      group.create_task(later(5, 1));
      co_return 7;
    });
  };
  CHECK(loop.run_until_complete(main()) == 7);
  CHECK(loop.time() == 5);
}

TEST_CASE("tasks may be started in a group while others end", "[taskgroups][test_taskgroups.test_taskgroup_23]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    std::vector<Task<int>> tasks;
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (int i = 0; i < 10; ++i) {
        co_await asyncio::sleep(1);
        tasks.push_back(group.create_task(later(3, i)));
      }
      co_await asyncio::sleep(20);
      for (const auto& task : tasks) CHECK(task.done());
    });
    CHECK(loop.time() == 30);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a child may start further children, also when the body has ended",
          "[taskgroups][test_taskgroups.test_taskgroup_24]") {
  TestLoop loop;
  int ended = 0;
  auto leaf = [&](double seconds) -> Coroutine<void> {
    co_await asyncio::sleep(seconds);
    ++ended;
  };
  auto root = [&](TaskGroup& group) -> Coroutine<void> {
    co_await asyncio::sleep(1);
    group.create_task(leaf(1));
    group.create_task(leaf(2));
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(root(group));
      co_return;
    });
  };
  loop.run_until_complete(main());
  CHECK(ended == 2);
  CHECK(loop.time() == 3);
}

TEST_CASE("a group names its tasks", "[taskgroups][test_taskgroups.test_taskgroup_task_name]") {
  TestLoop loop;
  auto main = []() -> Coroutine<std::string> {
    co_return co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<std::string> {
      co_return group.create_task(nothing(), {.name = "yolo"}).get_name();
    });
  };
  CHECK(loop.run_until_complete(main()) == "yolo");
}

TEST_CASE("a group's tasks run in the context they are given",
          "[taskgroups][test_taskgroups.test_taskgroup_task_context]") {
  TestLoop loop;
  asyncio::ContextVar<int> variable("variable");
  auto sets = [&](int value) -> Coroutine<void> {
    co_await asyncio::sleep(0);
    variable.set(value);
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      asyncio::Context context = asyncio::copy_context();
      for (const int value : {1, 2}) {
        const Task<void> task = group.create_task(sets(value), {.context = &context});
        co_await task;
        CHECK(context.run([&] { return variable.get(); }) == value);
      }
    });
    CHECK_THROWS_AS(variable.get(), asyncio::KeyError);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a group takes a callable and keeps it until its coroutine is done", "[taskgroups][rule-7]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    std::optional<Task<int>> task;
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      auto body = [value = std::make_unique<int>(4), instance = Instance()]() -> Coroutine<int> {
        static_cast<void>(instance);
        co_await asyncio::sleep(1);
        co_return *value;
      };
      task = group.create_task(std::move(body));
      co_return;
    });
    co_return task->result();
  };
  CHECK(loop.run_until_complete(main()) == 4);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("the move-only result of a group's task can be moved out", "[taskgroups]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    std::optional<Task<std::unique_ptr<int>>> task;
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      task = group.create_task(makes_unique(3));
      co_return;
    });
    const std::unique_ptr<int> result = co_await std::move(*task);
    co_return *result;
  };
  CHECK(loop.run_until_complete(main()) == 3);
}

TEST_CASE("a task that a group starts eagerly and that is done at once is no reason to wait", "[taskgroups][eager]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const int start = loop.iterations();
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      const Task<void> task = group.create_task(nothing(), {.eager_start = true});
      CHECK(task.done());
      co_return;
    });
    CHECK(loop.iterations() == start);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a hundred thousand tasks in one group all end", "[taskgroups][scale]") {
  TestLoop loop;
  int ended = 0;
  auto body = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(0);
    ++ended;
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (int i = 0; i < 100'000; ++i) group.create_task(body());
      co_return;
    });
  };
  loop.run_until_complete(main());
  CHECK(ended == 100'000);
}

// ---- children that fail ------------------------------------------------------------------------------

TEST_CASE("a child's error cancels the other children and comes out in an ExceptionGroup",
          "[taskgroups][test_taskgroups.test_taskgroup_04]") {
  TestLoop loop;
  int cancelled = 0, went_on = 0;
  std::optional<Task<void>> other;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(fails_later(1));
      other = group.create_task(counts_cancellation(cancelled));
      co_return;
    });
    ++went_on;
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(cancelled == 1);
  CHECK(went_on == 0);
  CHECK(other->cancelled());
  CHECK(loop.time() == 1);
}

TEST_CASE("the text of a group's ExceptionGroup tells how many errors there are", "[taskgroups]") {
  TestLoop loop;
  const int n = GENERATE(1, 2);
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (int i = 0; i < n; ++i) group.create_task(fails_later(1));
      co_return;
    });
  };
  CHECK(asyncio::describe(error_of(loop, main())) ==
        (n == 1 ? "asyncio::ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"
                : "asyncio::ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)"));
}

TEST_CASE("a child's error cancels the body, too; the errors of all children are gathered",
          "[taskgroups][test_taskgroups.test_cancel_children_on_child_error]") {
  TestLoop loop;
  int cancelled = 0;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (const char* text : {"a", "b", "c"}) group.create_task(fails_later(0.1, text));
      group.create_task(counts_cancellation(cancelled));
      co_await counts_cancellation(cancelled);
    });
  };
  CHECK(errors_of(error_of(loop, main())) ==
        "[std::invalid_argument: a, std::invalid_argument: b, std::invalid_argument: c]");
  CHECK(cancelled == 2);
  CHECK(loop.time() == 0.1);
}

TEST_CASE("children that fail while they are cancelled add their errors",
          "[taskgroups][test_taskgroups.test_taskgroup_08]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (int i = 0; i < 3; ++i) group.create_task(sleeps_then_fails());
      co_await asyncio::sleep(1000);
    });
  };
  const auto error = error_when_cancelled(loop, 1, main());
  CHECK(errors_of(error) ==
        "[std::invalid_argument: cleanup, std::invalid_argument: cleanup, std::invalid_argument: cleanup]");
}

TEST_CASE("an error of the body cancels the children and comes out in an ExceptionGroup",
          "[taskgroups][test_taskgroups.test_taskgroup_09]") {
  TestLoop loop;
  std::optional<Task<int>> a, b;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      a = group.create_task(later(10, 42));
      b = group.create_task(later(20, 11));
      co_await asyncio::sleep(1);
      throw asyncio::ValueError("spam");
    });
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(a->cancelled());
  CHECK(b->cancelled());
  CHECK(loop.time() == 1);
}

TEST_CASE("an error of the body cancels children that have not taken their first step",
          "[taskgroups][test_taskgroups.test_taskgroup_10]") {
  TestLoop loop;
  std::optional<Task<int>> a, b;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      a = group.create_task(later(10, 42));
      b = group.create_task(later(20, 11));
      throw asyncio::ValueError("spam");
      co_return;
    });
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(a->cancelled());
  CHECK(b->cancelled());
  CHECK(loop.time() == 0);
}

TEST_CASE("an error of a child and one of the body stand side by side",
          "[taskgroups][test_taskgroups.test_taskgroup_19]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(fails_later(1));
      co_await sleeps_then_fails();
    });
  };
  CHECK(errors_of(error_of(loop, main())) == "[std::invalid_argument: cleanup, std::invalid_argument: spam]");
}

TEST_CASE("the errors of children stand before that of the body", "[taskgroups]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(sleeps_then_fails());
      co_await asyncio::sleep(1);
      throw MyError();
    });
  };
  const auto error = error_of(loop, main());
  try {
    std::rethrow_exception(error);
  } catch (const ExceptionGroup& group) {
    REQUIRE(group.exceptions().size() == 2);
    CHECK(asyncio::describe(group.exceptions()[0]) == "std::invalid_argument: cleanup");
    CHECK(asyncio::holds<MyError>(group.exceptions()[1]));
  }
}

TEST_CASE("a group waits until its cancelled children have ended", "[taskgroups]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(dies_slowly(5));
      group.create_task(fails_later(1));
      co_return;
    });
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(loop.time() == 6);
}

TEST_CASE("children that multiply are all cancelled by one error", "[taskgroups][test_taskgroups.test_taskgroup_25]") {
  TestLoop loop;
  int hydras = 0;
  std::function<Coroutine<void>(TaskGroup&)> hydra = [&](TaskGroup& group) -> Coroutine<void> {
    ++hydras;
    co_await asyncio::sleep(0.01);
    group.create_task(hydra(group));
    group.create_task(hydra(group));
  };
  auto hercules = [&]() -> Coroutine<void> {
    while (hydras < 10) co_await asyncio::sleep(0.015);
    throw asyncio::ValueError("spam");
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(hydra(group));
      group.create_task(hercules());
      co_return;
    });
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(hydras >= 10);
}

TEST_CASE("no task can be started in a group after one has failed",
          "[taskgroups][test_taskgroups.test_taskgroup_no_create_task_after_failure]") {
  TestLoop loop;
  std::string error;
  auto tries = [&](TaskGroup& group) -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      error = test::thrown([&] { return group.create_task(nothing()); });
    }
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(fails_later(1));
      group.create_task(tries(group));
      co_return;
    });
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(error == "std::runtime_error: TaskGroup is shutting down");
}

TEST_CASE("the cancellation that a group asks of its own task leaves no trace",
          "[taskgroups][rule-5][test_taskgroups.test_cancelling_level_preserved]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    std::string error;
    try {
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
        group.create_task(fails_later(0));
        co_return;
      });
    } catch (const ExceptionGroup&) {
      error = errors_of(std::current_exception());
    }
    CHECK(error == SPAM);
    co_return asyncio::current_task().cancelling();
  };
  CHECK(loop.run_until_complete(main()) == 0);
}

TEST_CASE("a body whose cleanup fails when its child fails: both errors come out, and no cancellation is left",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_context_manager_exit_raises]") {
  struct Database {
    Coroutine<void> aenter() { co_return; }
    Coroutine<bool> aexit(std::exception_ptr) {
      throw asyncio::ValueError("spam");
      co_return false;
    }
  };
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    std::string error;
    try {
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
        Database database;
        co_await asyncio::async_with(database, [&](Database&) -> Coroutine<void> {
          group.create_task(fails_later(0, "child"));
          co_await asyncio::sleep(1000);
        });
      });
    } catch (const ExceptionGroup&) {
      error = errors_of(std::current_exception());
      CHECK(asyncio::current_task().cancelling() == 0);
    }
    CHECK(error == "[std::invalid_argument: child, std::invalid_argument: spam]");
  };
  loop.run_until_complete(main());
}

// ---- cancellation from outside -----------------------------------------------------------------------

TEST_CASE("cancelling a task that waits in its group cancels every child once",
          "[taskgroups][rule-5][test_taskgroups.test_cancellation]") {
  TestLoop loop;
  int cancelled = 0;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (int i = 0; i < 5; ++i) group.create_task(counts_cancellation(cancelled));
      co_return;
    });
  };
  CHECK(asyncio::holds<CancelledError>(error_when_cancelled(loop, 1, main())));
  CHECK(cancelled == 5);
}

TEST_CASE("cancelling a task in the body of its group cancels the body, then the children",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_07]") {
  TestLoop loop;
  int children = 0, body = 0;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      for (int i = 0; i < 5; ++i) group.create_task(counts_cancellation(children));
      co_await counts_cancellation(body);
    });
  };
  CHECK(asyncio::holds<CancelledError>(error_when_cancelled(loop, 1, main())));
  CHECK(children == 5);
  CHECK(body == 1);
}

TEST_CASE("the body of a group without tasks can be cancelled",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_17]") {
  TestLoop loop;
  int cancelled = 0;
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(),
                                 [&](TaskGroup&) -> Coroutine<void> { co_await counts_cancellation(cancelled); });
  };
  CHECK(asyncio::holds<CancelledError>(error_when_cancelled(loop, 1, main())));
  CHECK(cancelled == 1);
}

TEST_CASE("a body that turns its cancellation into an error: the error comes out in an ExceptionGroup",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_18]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup&) -> Coroutine<void> { co_await sleeps_then_fails(); });
  };
  CHECK(errors_of(error_when_cancelled(loop, 1, main())) == CLEANUP);
}

TEST_CASE("cancelling a task whose children take their time waits for them",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_22]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(dies_slowly(3));
      group.create_task(later(20, 11));
      co_return;
    });
  };
  CHECK(asyncio::holds<CancelledError>(error_when_cancelled(loop, 1, main())));
  CHECK(loop.time() == 4);
}

TEST_CASE("a second cancellation does not hurry the children of a group", "[taskgroups][rule-5]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(dies_slowly(5));
      co_return;
    });
  };
  const Task<void> task = loop.create_task(main());
  loop.call_later(1, [&] { task.cancel(); });
  loop.call_later(2, [&] { task.cancel(); });
  CHECK_THROWS_AS(loop.run_until_complete(task), CancelledError);
  CHECK(loop.time() == 6);
}

TEST_CASE("a child that fails while the body takes its time over a cancellation: the error wins",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_15]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(fails_later(3));
      co_await dies_slowly(5);
    });
  };
  CHECK(errors_of(error_when_cancelled(loop, 1, main())) == SPAM);
}

TEST_CASE("the same for a group in a task that the cancelled task awaits",
          "[taskgroups][rule-5][test_taskgroups.test_taskgroup_16]") {
  TestLoop loop;
  auto nested = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(fails_later(3));
      co_await dies_slowly(5);
    });
  };
  auto main = [&]() -> Coroutine<void> {
    const Task<void> task = asyncio::create_task(nested());
    co_await task;
  };
  CHECK(errors_of(error_when_cancelled(loop, 1, main())) == SPAM);
}

TEST_CASE(
    "an error of a child and a cancellation from outside: the group raises the error, the next await is cancelled",
    "[taskgroups][rule-5][test_taskgroups.test_error_and_cancel]") {
  TestLoop loop;
  std::string error, after;
  std::optional<Task<void>> inner;
  auto fails_and_cancels = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(1);
    inner->cancel();
    throw asyncio::ValueError("spam");
  };
  auto body = [&]() -> Coroutine<void> {
    try {
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
        group.create_task(fails_and_cancels());
        co_await asyncio::sleep(1000);
      });
    } catch (const ExceptionGroup&) {
      error = errors_of(std::current_exception());
      CHECK(asyncio::current_task().cancelling() == 1);
    }
    CHECK(asyncio::current_task().cancelling() == 1);
    co_await asyncio::sleep(1000);
    after = "not cancelled";
  };
  inner = loop.create_task(body());
  CHECK_THROWS_AS(loop.run_until_complete(*inner), CancelledError);
  CHECK(error == SPAM);
  CHECK(after == "");
  CHECK(inner->cancelled());
}

// ---- nested groups -----------------------------------------------------------------------------------

TEST_CASE("a group in the body of a group: the inner one's errors are a group within the outer one's",
          "[taskgroups][test_taskgroups.test_taskgroup_11]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup&) -> Coroutine<void> {
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& inner) -> Coroutine<void> {
        inner.create_task(sleeps_then_fails());
        co_await asyncio::sleep(1000);
      });
    });
  };
  CHECK(errors_of(error_when_cancelled(loop, 1, main())) == "[" + CLEANUP + "]");
}

TEST_CASE("a cancelled child of the outer group adds nothing to the inner group's errors",
          "[taskgroups][test_taskgroups.test_taskgroup_12]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& outer) -> Coroutine<void> {
      outer.create_task(asyncio::sleep(1000));
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& inner) -> Coroutine<void> {
        inner.create_task(sleeps_then_fails());
        co_await asyncio::sleep(1000);
      });
    });
  };
  CHECK(errors_of(error_when_cancelled(loop, 1, main())) == "[" + CLEANUP + "]");
}

TEST_CASE("an error in the outer group cancels the inner group", "[taskgroups][test_taskgroups.test_taskgroup_13]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& outer) -> Coroutine<void> {
      outer.create_task(fails_later(1));
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& inner) -> Coroutine<void> {
        inner.create_task(fails_later(10, "never"));
        co_return;
      });
    });
  };
  CHECK(errors_of(error_of(loop, main())) == SPAM);
  CHECK(loop.time() == 1);
}

TEST_CASE("an error in the inner group cancels the outer group", "[taskgroups][test_taskgroups.test_taskgroup_14]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& outer) -> Coroutine<void> {
      outer.create_task(fails_later(10, "never"));
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& inner) -> Coroutine<void> {
        inner.create_task(fails_later(1));
        co_return;
      });
    });
  };
  CHECK(errors_of(error_of(loop, main())) == "[" + SPAM + "]");
  CHECK(loop.time() == 1);
}

TEST_CASE("when children of both groups fail at once each group raises its own",
          "[taskgroups][rule-5][test_taskgroups.test_nested_groups_both_cancelled]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    std::string inner_error, outer_error;
    try {
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& outer) -> Coroutine<void> {
        try {
          co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& inner) -> Coroutine<void> {
            inner.create_task(fails_later(0, "inner"));
            outer.create_task(fails_later(0, "outer"));
            co_return;
          });
        } catch (const ExceptionGroup&) {
          inner_error = errors_of(std::current_exception());
        }
        CHECK(asyncio::current_task().cancelling() == 1);
      });
    } catch (const ExceptionGroup&) {
      outer_error = errors_of(std::current_exception());
    }
    CHECK(inner_error == "[std::invalid_argument: inner]");
    CHECK(outer_error == "[std::invalid_argument: outer]");
    co_return asyncio::current_task().cancelling();
  };
  CHECK(loop.run_until_complete(main()) == 0);
}

// ---- KeyboardInterrupt and SystemExit ----------------------------------------------------------------

TEST_CASE("a KeyboardInterrupt of the body comes out bare, whatever else failed",
          "[taskgroups][test_taskgroups.test_taskgroup_20]") {
  TestLoop loop;
  auto interrupted = []() -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {}
    throw asyncio::KeyboardInterrupt();
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(fails_later(1));
      co_await interrupted();
    });
  };
  CHECK_THROWS_AS(loop.run_until_complete(main()), asyncio::KeyboardInterrupt);
}

TEST_CASE("a SystemExit of the body comes out bare, with its code", "[taskgroups][test_taskgroups.test_taskgroup_20]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(later(10, 1));
      co_await asyncio::sleep(1);
      throw asyncio::SystemExit(3);
    });
  };
  int code = 0;
  try {
    loop.run_until_complete(main());
  } catch (const asyncio::SystemExit& exit) {
    code = exit.code();
  }
  CHECK(code == 3);
  CHECK(loop.time() == 1);
}

TEST_CASE("a KeyboardInterrupt of a child leaves the loop, and comes out of the group when the loop goes on",
          "[taskgroups][rule-6][test_taskgroups.test_taskgroup_21]") {
  TestLoop loop;
  loop.catch_exceptions();
  auto main = []() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      group.create_task(interrupts_later(1));
      co_await sleeps_then_fails();
    });
  };
  const Task<void> task = loop.create_task(main());
  CHECK_THROWS_AS(loop.run_until_complete(task), asyncio::KeyboardInterrupt);
  CHECK_FALSE(task.done());
  CHECK_THROWS_AS(loop.run_until_complete(task), asyncio::KeyboardInterrupt);
  CHECK(task.done());
}

TEST_CASE("what is neither an error nor an order to end stands in the ExceptionGroup",
          "[taskgroups][test_taskgroups.test_taskgroup_20a][test_taskgroups.test_taskgroup_21a]") {
  struct MyBase : asyncio::BaseException {
    MyBase() : asyncio::BaseException("base") {}
  };
  const bool in_child = GENERATE(true, false);
  TestLoop loop;
  auto fails = [](double seconds) -> Coroutine<void> {
    co_await asyncio::sleep(seconds);
    throw MyBase();
  };
  auto main = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
      if (in_child) {
        group.create_task(fails(1));
        co_await sleeps_then_fails();
      } else {
        group.create_task(sleeps_then_fails());
        co_await fails(1);
      }
    });
  };
  const std::string errors = errors_of(error_of(loop, main()));
  CHECK(errors.find("MyBase") != std::string::npos);
  CHECK(errors.find("std::invalid_argument: cleanup") != std::string::npos);
}

// ---- misuse ------------------------------------------------------------------------------------------

TEST_CASE("a group cannot be entered while it is entered",
          "[taskgroups][rule-8][test_taskgroups.test_taskgroup_already_entered]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    TaskGroup group;
    std::string error;
    co_await asyncio::async_with(group, [&]() -> Coroutine<void> {
      try {
        co_await asyncio::async_with(group, [&]() -> Coroutine<void> { co_return; });
      } catch (const asyncio::RuntimeError& e) {
        error = e.what();
      }
    });
    CHECK(error.find("has already been entered") != std::string::npos);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a group cannot be entered a second time",
          "[taskgroups][rule-8][test_taskgroups.test_taskgroup_double_enter]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    TaskGroup group;
    for (int i = 0; i < 2; ++i) co_await asyncio::async_with(group, [&]() -> Coroutine<void> { co_return; });
  };
  CHECK(test::thrown([&] { loop.run_until_complete(main()); }).find("has already been entered") != std::string::npos);
}

TEST_CASE(
    "a finished group refuses tasks, and frees the coroutine",
    "[taskgroups][rule-8][test_taskgroups.test_taskgroup_finished][test_taskgroups.test_coro_closed_when_tg_closed]") {
  TestLoop loop;
  auto body = [](Instance) -> Coroutine<void> { co_return; };
  auto main = [&]() -> Coroutine<void> {
    TaskGroup group;
    co_await asyncio::async_with(group, [&]() -> Coroutine<void> { co_return; });
    const std::string error = test::thrown([&] { return group.create_task(body(Instance())); });
    CHECK(error.find("is finished") != std::string::npos);
    CHECK(Instance::alive() == 0);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a group that is not entered refuses tasks",
          "[taskgroups][rule-8][test_taskgroups.test_taskgroup_not_entered]") {
  TaskGroup group;
  const std::string error = test::thrown([&] { return group.create_task(nothing()); });
  CHECK(error.find("has not been entered") != std::string::npos);
}

TEST_CASE("a group cannot be entered outside a task",
          "[taskgroups][rule-8][test_taskgroups.test_taskgroup_without_parent_task]") {
  TestLoop loop;
  std::string error, create_error;
  loop.call_soon([&] {
    TaskGroup group;
    Coroutine<void> enter = group.aenter();
    error = test::thrown([&] { return enter.send(); });
    create_error = test::thrown([&] { return group.create_task(nothing()); });
  });
  test::run_briefly(loop);
  CHECK(error.find("parent task") != std::string::npos);
  CHECK(create_error.find("has not been entered") != std::string::npos);
}

TEST_CASE("a loop that is closed in the middle of a group frees the group and its children", "[taskgroups][rule-7]") {
  {
    TestLoop loop;
    loop.catch_exceptions();
    auto child = [](Instance) -> Coroutine<void> { co_await asyncio::sleep(1000); };
    auto main = [&](Instance) -> Coroutine<void> {
      co_await asyncio::async_with(TaskGroup(), [&](TaskGroup& group) -> Coroutine<void> {
        for (int i = 0; i < 3; ++i) group.create_task(child(Instance()));
        co_return;
      });
    };
    const Task<void> task = loop.create_task(main(Instance()));
    test::run_briefly(loop);
    CHECK(Instance::alive() == 4);
    loop.close();
    CHECK(Instance::alive() == 0);
    CHECK(task.cancelled());
  }
}

TEST_CASE("when a task fails, its siblings and the body are cancelled in the same iteration", "[taskgroups]") {
  TestLoop loop;
  int failed = 0, sibling = 0, body = 0;
  auto sleeps_until_cancelled = [&](int& iteration) -> Coroutine<void> {
    try {
      co_await asyncio::sleep(1000);
    } catch (const CancelledError&) {
      iteration = loop.iterations();
      throw;
    }
  };
  auto fails = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(0);
    failed = loop.iterations();
    throw MyError();
  };
  auto main = [&]() -> Coroutine<void> {
    TaskGroup group;
    try {
      co_await asyncio::async_with(group, [&](TaskGroup&) -> Coroutine<void> {
        group.create_task(sleeps_until_cancelled(sibling));
        group.create_task(fails());
        co_await sleeps_until_cancelled(body);
      });
    } catch (const ExceptionGroup&) {}
  };
  loop.run_until_complete(main());
  CHECK(sibling - failed == 2);
  CHECK(body - failed == 2);
}

TEST_CASE("a task that fails in its eager start is an error of its group", "[taskgroups]") {
  TestLoop loop;
  auto fails = []() -> Coroutine<void> {
    throw asyncio::ValueError("spam");
    co_return;
  };
  auto main = [&]() -> Coroutine<void> {
    TaskGroup group;
    std::exception_ptr error;
    try {
      co_await asyncio::async_with(group, [&](TaskGroup&) -> Coroutine<void> {
        group.create_task(fails(), {.eager_start = true});
        co_return;
      });
    } catch (...) {
      error = std::current_exception();
    }
    CHECK(errors_of(error) == "[std::invalid_argument: spam]");
  };
  loop.run_until_complete(main());
}

TEST_CASE("a task that fails when the parent of its group is done already is reported", "[taskgroups]") {
  TestLoop loop;
  TaskGroup group;
  auto parent = [&]() -> Coroutine<void> {
    co_await group.aenter();
    static_cast<void>(group.create_task(fails_later(1)));
  };
  const auto& caught = loop.catch_exceptions();
  loop.run_until_complete(parent());
  loop.run_until_complete(asyncio::sleep(2));
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Task has errored out but its parent task is already completed");
}
