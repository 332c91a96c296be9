// Where tasks are suspended, who awaits whom, and the report of a deadlock. Upstream counterpart: test_get_stack of
// Lib/test/test_asyncio/test_tasks.py, and test_graph.py and test_tools.py of CPython 3.14.
#include <sstream>
#include <string>
#include <vector>

#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using test::contains;
using test::fails;
using test::Log;
using test::nothing;
using test::TestLoop;

Coroutine<void> innermost(Future<void> future) { co_await future; }
Coroutine<void> middle(Future<void> future) { co_await innermost(future); }
Coroutine<void> outermost(Future<void> future) { co_await middle(future); }
Coroutine<void> awaits(Task<void> task) { co_await task; }
/// Awaits the task that is found in `slot` when it runs.
Coroutine<void> awaits_later(std::vector<Task<void>>& tasks, std::size_t index) {
  const Task<void> task = tasks[index];
  co_await task;
}
Coroutine<void> waits_for_a_future() {
  const Future<void> never;
  co_await never;
}
Coroutine<void> waits_for_a_child() {
  const Task<void> child = asyncio::create_task(waits_for_a_future(), {.name = "child"});
  co_await child;
}

/// The functions of a stack, without their namespaces.
Log functions_of(const std::vector<asyncio::StackEntry>& stack) {
  Log names;
  for (const auto& entry : stack) names.push_back(entry.function.substr(entry.function.rfind(':') + 1));
  return names;
}
Log names_of(const std::vector<asyncio::FutureCallGraph>& graphs) {
  Log names;
  for (const auto& graph : graphs) names.push_back(asyncio::AnyTask(graph.future.state()->as_task()).get_name());
  return names;
}

}  // namespace

// ---- get_stack and print_stack -----------------------------------------------------------------------

TEST_CASE("a suspended task's stack lists its coroutines, outermost first", "[graph][test_tasks.test_get_stack]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(outermost(future));
  test::run_once(loop);
  const auto stack = task.get_stack();
  CHECK(functions_of(stack) == Log{"outermost", "middle", "innermost"});
  for (const auto& entry : stack) {
    CHECK(std::string(entry.file).ends_with("test_graph.cpp"));
    CHECK(entry.line > 0);
  }
  REQUIRE(stack.size() == 3);
  CHECK(stack[2].line < stack[1].line);
  future.set_result();
  loop.run_until_complete(task);
}

TEST_CASE("a task that has not taken its first step has no frames to show", "[graph][test_tasks.test_get_stack]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(nothing());
  CHECK(task.get_stack().empty());
  loop.run_until_complete(task);
}

TEST_CASE("a done task has an empty stack", "[graph][test_tasks.test_get_stack]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(nothing());
  loop.run_until_complete(task);
  CHECK(task.get_stack().empty());
  std::ostringstream text;
  task.print_stack(text);
  CHECK(text.str().rfind("No stack for ", 0) == 0);
}

TEST_CASE("print_stack and print_call_graph write to std::cerr unless they are told where",
          "[graph][test_tasks.test_print_stack]") {
  TestLoop loop;
  const Task<void> task = loop.create_task(nothing(), {.name = "printed"});
  const test::CaptureCerr captured;
  task.print_stack();
  CHECK(contains(captured.text(), "No stack for <Task pending name='printed'"));
  asyncio::print_call_graph(task);
  CHECK(contains(captured.text(), "* Task(name='printed'"));
  loop.run_until_complete(task);
}

TEST_CASE("print_stack writes a line for each coroutine, with its file and line",
          "[graph][test_tasks.test_get_stack]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(outermost(future), {.name = "printed"});
  test::run_once(loop);
  std::ostringstream text;
  task.print_stack(text);
  CHECK(text.str().rfind("Stack for <Task pending name='printed'", 0) == 0);
  const std::size_t outer = text.str().find("outermost"), inner = text.str().rfind("innermost");
  CHECK(outer < inner);
  CHECK(contains(text.str(), "test_graph.cpp\", line "));
  future.set_result();
  loop.run_until_complete(task);
}

TEST_CASE("an AnyTask tells its stack, too", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const asyncio::AnyTask task = loop.create_task(middle(future));
  test::run_once(loop);
  CHECK(functions_of(task.get_stack()) == Log{"middle", "innermost"});
  future.set_result();
  test::run_briefly(loop);
}

// ---- capture_call_graph and its texts ----------------------------------------------------------------

TEST_CASE("the call graph of a task has its coroutines, innermost first, and who awaits it", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(middle(future), {.name = "awaited"});
  const Task<void> a = loop.create_task(awaits(task), {.name = "a"}), b = loop.create_task(awaits(task), {.name = "b"});
  test::run_briefly(loop);
  const auto graph = asyncio::capture_call_graph(task);
  CHECK(graph.future == task);
  CHECK(functions_of(graph.call_stack) == Log{"innermost", "middle"});
  CHECK(names_of(graph.awaited_by) == Log{"a", "b"});
  CHECK_FALSE(graph.cycle);
  REQUIRE(graph.awaited_by.size() == 2);
  CHECK(functions_of(graph.awaited_by[0].call_stack) == Log{"awaits"});
  CHECK(graph.awaited_by[0].awaited_by.empty());
  future.set_result();
  loop.run_until_complete(a);
  loop.run_until_complete(b);
}

TEST_CASE("the call graph of a future has no coroutines, only who awaits it", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(innermost(future), {.name = "waiter"});
  test::run_once(loop);
  const auto graph = asyncio::capture_call_graph(future);
  CHECK(graph.call_stack.empty());
  CHECK(names_of(graph.awaited_by) == Log{"waiter"});
  future.set_result();
  loop.run_until_complete(task);
  CHECK(asyncio::capture_call_graph(future).awaited_by.empty());
}

TEST_CASE("the call graph goes through gather, wait, wait_for, TaskGroup to the task that awaits", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> child = loop.create_task(innermost(future), {.name = "child"});
  auto by_gather = [&]() -> Coroutine<void> { co_await asyncio::gather(child); };
  auto by_wait = [&]() -> Coroutine<void> {
    const std::vector<Task<void>> tasks(1, child);
    co_await asyncio::wait(tasks);
  };
  auto by_wait_for = [&]() -> Coroutine<void> { co_await asyncio::wait_for(child, 100); };
  const Task<void> a = loop.create_task(by_gather(), {.name = "by_gather"}),
                   b = loop.create_task(by_wait(), {.name = "by_wait"}),
                   c = loop.create_task(by_wait_for(), {.name = "by_wait_for"});
  Task<void> in_group = child;
  auto by_group = [&]() -> Coroutine<void> {
    co_await asyncio::async_with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) -> Coroutine<void> {
      in_group = group.create_task(innermost(future));
      co_return;
    });
  };
  const Task<void> d = loop.create_task(by_group(), {.name = "by_group"});
  test::run_briefly(loop);
  CHECK(names_of(asyncio::capture_call_graph(child).awaited_by) == Log{"by_gather", "by_wait", "by_wait_for"});
  CHECK(names_of(asyncio::capture_call_graph(in_group).awaited_by) == Log{"by_group"});
  future.set_result();
  for (const auto& task : {a, b, c, d}) loop.run_until_complete(task);
}

TEST_CASE("a cycle of awaits is marked in the call graph where it closes", "[graph]") {
  TestLoop loop;
  loop.catch_exceptions();
  std::vector<Task<void>> tasks;
  tasks.push_back(loop.create_task(awaits_later(tasks, 1), {.name = "one"}));
  tasks.push_back(loop.create_task(awaits_later(tasks, 0), {.name = "two"}));
  test::run_briefly(loop);
  const auto graph = asyncio::capture_call_graph(tasks[0]);
  REQUIRE(graph.awaited_by.size() == 1);
  REQUIRE(graph.awaited_by[0].awaited_by.size() == 1);
  CHECK(graph.awaited_by[0].awaited_by[0].cycle);
  CHECK(graph.awaited_by[0].awaited_by[0].future == tasks[0]);
  CHECK(contains(asyncio::format_call_graph(tasks[0]), "(cycle)"));
  loop.close();
}

TEST_CASE("format_call_graph names the task, its coroutines and its awaiters", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(middle(future), {.name = "awaited"});
  const Task<void> waiter = loop.create_task(awaits(task), {.name = "waiter"});
  test::run_briefly(loop);
  const std::string text = asyncio::format_call_graph(task);
  CHECK(text.rfind("* Task(name='awaited', id=0x", 0) == 0);
  CHECK(contains(text, "\n  + Call stack:\n  |   File '"));
  CHECK(contains(text, "innermost()\n"));
  CHECK(contains(text, "\n  + Awaited by:\n    * Task(name='waiter', id=0x"));
  CHECK(text.find("innermost()") < text.find("middle()"));
  std::ostringstream printed;
  asyncio::print_call_graph(task, printed);
  CHECK(printed.str() == text);
  future.set_result();
  loop.run_until_complete(waiter);
}

TEST_CASE("format_call_graph of a future that nobody awaits is one line", "[graph]") {
  TestLoop loop;
  const std::string text = asyncio::format_call_graph(Future<int>(loop));
  CHECK(text.rfind("* Future(id=0x", 0) == 0);
  CHECK(text.find('\n') == text.size() - 1);
}

// ---- ps and pstree -----------------------------------------------------------------------------------

TEST_CASE("ps has a row for each pending task: its coroutines, and who awaits it", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(middle(future), {.name = "awaited"});
  const Task<void> waiter = loop.create_task(awaits(task), {.name = "waiter"});
  test::run_briefly(loop);
  std::istringstream text(asyncio::ps(loop));
  Log lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  REQUIRE(lines.size() == 4);
  for (const char* column : {"tid", "task id", "task name", "coroutine stack", "awaiter chain", "awaiter name"}) {
    CHECK(contains(lines[0], column));
  }
  CHECK(contains(lines[2], "awaited"));
  CHECK(contains(lines[2], "innermost -> "));
  CHECK(contains(lines[2], "waiter"));
  CHECK(contains(lines[3], "waiter"));
  CHECK(contains(lines[3], "0x0"));
  future.set_result();
  loop.run_until_complete(waiter);
  CHECK_FALSE(contains(asyncio::ps(loop), "awaited "));
}

TEST_CASE("pstree has each task under the coroutine that awaits it", "[graph]") {
  TestLoop loop;
  const Future<void> future(loop);
  const Task<void> task = loop.create_task(middle(future), {.name = "awaited"});
  const Task<void> waiter = loop.create_task(awaits(task), {.name = "waiter"});
  test::run_briefly(loop);
  const std::string text = asyncio::pstree(loop);
  const std::size_t root = text.find("└── (T) waiter\n"), frame = text.find("awaits"),
                    child = text.find("└── (T) awaited\n"), inner = text.find("innermost");
  CHECK(root == 0);
  CHECK(frame < child);
  CHECK(child < inner);
  CHECK(inner != std::string::npos);
  future.set_result();
  loop.run_until_complete(waiter);
}

TEST_CASE("pstree of a loop without tasks is empty", "[graph]") {
  TestLoop loop;
  CHECK(asyncio::pstree(loop) == "");
}

TEST_CASE("pstree refuses a cycle of awaits and names its tasks", "[graph][rule-8]") {
  TestLoop loop;
  loop.catch_exceptions();
  std::vector<Task<void>> tasks;
  tasks.push_back(loop.create_task(awaits_later(tasks, 1), {.name = "one"}));
  tasks.push_back(loop.create_task(awaits_later(tasks, 2), {.name = "two"}));
  tasks.push_back(loop.create_task(awaits_later(tasks, 0), {.name = "three"}));
  test::run_briefly(loop);
  const std::string error = test::thrown([&] { return asyncio::pstree(loop); });
  CHECK(contains(error, "await-graph contains cycles"));
  CHECK(contains(error, "one → two → three → one"));
  loop.close();
}

// ---- deadlock ----------------------------------------------------------------------------------------

TEST_CASE("in debug mode a program that nothing can wake is RuntimeError, which lists the tasks", "[graph][deadlock]") {
  const std::string error = test::thrown([] { asyncio::run(waits_for_a_child(), {.debug = true}); });
  CHECK(contains(error, "Deadlock: nothing can ever wake this loop"));
  CHECK(contains(error, "waits_for_a_child"));
  CHECK(contains(error, "name='child'"));
  CHECK(contains(error, "waits_for_a_future"));
}

TEST_CASE("the deadlock report lists every waiting task with the line where it waits", "[graph][deadlock]") {
  auto main = []() -> Coroutine<void> {
    const Task<void> one = asyncio::create_task(waits_for_a_future(), {.name = "one"});
    const Task<void> two = asyncio::create_task(awaits(one), {.name = "two"});
    co_await two;
  };
  const std::string error = test::thrown([&] { asyncio::run(main(), {.debug = true}); });
  CHECK(contains(error, "name='one'"));
  CHECK(contains(error, "name='two'"));
  CHECK(contains(error, "test_graph.cpp:"));
}

// Hidden while it hangs: CPython raises a RecursionError, which is a RuntimeError.
TEST_CASE("cancelling a task in a cycle of awaits is RuntimeError", "[cycle][graph][rule-8]") {
  TestLoop loop;
  loop.catch_exceptions();
  std::vector<Task<void>> tasks;
  tasks.push_back(loop.create_task(awaits_later(tasks, 1), {.name = "one"}));
  tasks.push_back(loop.create_task(awaits_later(tasks, 0), {.name = "two"}));
  test::run_briefly(loop);
  CHECK_THROWS_AS(tasks[0].cancel(), asyncio::RuntimeError);
  loop.close();
}

// Hidden while it hangs: run cancels the tasks of the cycle after the report.
TEST_CASE("the deadlock report lists tasks that await one another", "[cycle][graph][deadlock]") {
  auto main = []() -> Coroutine<void> {
    std::vector<Task<void>> tasks;
    tasks.push_back(asyncio::create_task(awaits_later(tasks, 1), {.name = "one"}));
    tasks.push_back(asyncio::create_task(awaits_later(tasks, 0), {.name = "two"}));
    const Task<void> task = tasks[0];
    co_await task;
  };
  const std::string error = test::thrown([&] { asyncio::run(main(), {.debug = true}); });
  CHECK(contains(error, "name='one'"));
  CHECK(contains(error, "name='two'"));
}

TEST_CASE("a program in debug mode that waits for a timer is no deadlock", "[graph][deadlock]") {
  const std::string error = test::thrown([] { asyncio::run(asyncio::sleep(0.001), {.debug = true}); });
  CHECK(error == "");
}

TEST_CASE("the error of main comes out of run in debug mode as it is", "[graph][deadlock]") {
  const std::string error = test::thrown([] { asyncio::run(fails(), {.debug = true}); });
  CHECK(error == "std::invalid_argument: spam");
}
