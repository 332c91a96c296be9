// Which task awaits which, and where. Upstream counterpart: Lib/asyncio/graph.py and tools.py of CPython 3.14.
#pragma once

#include <string>
#include <vector>

#include "task/debug/stacks.hpp"

namespace asyncio {

/// A future or task, the coroutines in which it is suspended (innermost first), and the tasks that await it. If tasks
/// await one another in a cycle, `cycle` marks the second occurrence of a task. asyncio: graph.FutureCallGraph
struct FutureCallGraph {
  AnyFuture future;
  std::vector<StackEntry> call_stack;
  std::vector<FutureCallGraph> awaited_by;
  bool cycle = false;
};

/// The call graph of a future or task. asyncio: graph.capture_call_graph
FutureCallGraph capture_call_graph(const AnyFuture& future);
/// The same as text. asyncio: graph.format_call_graph
std::string format_call_graph(const AnyFuture& future);
/// Writes that text to `os`. asyncio: graph.print_call_graph
void print_call_graph(const AnyFuture& future, std::ostream& os = standard_error());

/// The pending tasks of a loop as a table: their coroutine stacks and the tasks that await them.
/// asyncio: tools.display_awaited_by_tasks_table
std::string ps(EventLoop& loop);
/// The same as a tree, each task below the coroutine that awaits it. RuntimeError, which names one, if there are
/// cycles. asyncio: tools.display_awaited_by_tasks_tree
std::string pstree(EventLoop& loop);

}  // namespace asyncio
