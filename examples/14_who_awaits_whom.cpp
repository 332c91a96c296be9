// Who awaits whom, and in which line: a program that hangs can be asked.
// Look at how the four answers show the same moment: one task from the inside out, then all as a table, then as a tree.
// Python has these from 3.14 on (asyncio.graph, `python -m asyncio ps`, `pstree`), so there is no twin here.
#include <iostream>
#include <string>
#include <vector>

#include "asyncio.hpp"

asyncio::Coroutine<> boil(double seconds) { co_await asyncio::sleep(seconds); }

asyncio::Coroutine<> cook(double seconds) {
  co_await boil(seconds);  // a coroutine that is awaited is a line in the stack of the same task
}

asyncio::Coroutine<> dinner() {
  co_await asyncio::async_with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) -> asyncio::Coroutine<> {
    group.create_task(cook(0.03), {.name = "pasta"});
    group.create_task(cook(0.05), {.name = "sauce"});
    co_return;
  });
}

asyncio::Coroutine<> eat(asyncio::Task<> dinner) {
  co_await dinner;  // a task that is awaited is another node of the graph
}

asyncio::AnyTask find(std::string name) {
  for (const asyncio::AnyTask& task : asyncio::all_tasks()) {
    if (task.get_name() == name) return task;
  }
  return {};
}

std::string name_of(const asyncio::AnyFuture& future) {
  for (const asyncio::AnyTask& task : asyncio::all_tasks()) {
    if (task == future) return task.get_name();
  }
  return "a future";
}

// The graph is plain data: the coroutines of a task, the innermost first, and the graphs of all that await it.
void show(const asyncio::FutureCallGraph& graph, std::string indent) {
  std::cout << indent << name_of(graph.future) << ", suspended";
  for (const asyncio::StackEntry& entry : graph.call_stack) std::cout << " in " << entry.function << ",";
  std::cout << (graph.awaited_by.empty() ? " is awaited by nobody\n" : " is awaited by\n");
  for (const asyncio::FutureCallGraph& waiter : graph.awaited_by) show(waiter, indent + "  ");
}

asyncio::Coroutine<> tour() {
  asyncio::Task<> kitchen = asyncio::create_task(dinner(), {.name = "kitchen"});
  asyncio::Task<> ann = asyncio::create_task(eat(kitchen), {.name = "ann"});
  asyncio::Task<> bob = asyncio::create_task(eat(kitchen), {.name = "bob"});
  co_await asyncio::sleep(0.01);

  std::cout << "capture_call_graph(pasta), walked by this program:\n";
  show(asyncio::capture_call_graph(find("pasta")), "  ");
  std::cout << "\nprint_call_graph(pasta):\n";
  asyncio::print_call_graph(find("pasta"), std::cout);
  std::cout << "\nps(loop): each task, and each one that awaits it\n" << asyncio::ps(asyncio::get_running_loop());
  std::cout << "\npstree(loop): (T) is a task, the rest are its coroutines; what two tasks await stands under both\n"
            << asyncio::pstree(asyncio::get_running_loop());

  co_await ann;
  co_await bob;
}

int main() { asyncio::run(tour()); }
