// Who awaits whom, and where. Upstream counterpart: Lib/asyncio/graph.py and tools.py of CPython 3.14.
#pragma once

#include <string>
#include <vector>

#include "task/debug/stacks.hpp"

namespace asyncio {

/// A future or task, where it is suspended (innermost first), and who awaits it. A task that awaits itself over several
/// corners is marked as `cycle` where it comes for the second time. asyncio: graph.FutureCallGraph
struct FutureCallGraph {
  AnyFuture future;
  std::vector<StackEntry> call_stack;
  std::vector<FutureCallGraph> awaited_by;
  bool cycle = false;
};

/// asyncio: graph.capture_call_graph
FutureCallGraph capture_call_graph(const AnyFuture& future);
/// asyncio: graph.format_call_graph
std::string format_call_graph(const AnyFuture& future);
/// asyncio: graph.print_call_graph
void print_call_graph(const AnyFuture& future, std::ostream& os = standard_error());

/// The pending tasks of a loop as a table: their coroutine stacks and who awaits them.
/// asyncio: tools.display_awaited_by_tasks_table
std::string ps(EventLoop& loop);
/// The same as a tree, each task under the coroutine that awaits it. RuntimeError names the cycles, if there are any.
/// asyncio: tools.display_awaited_by_tasks_tree
std::string pstree(EventLoop& loop);

}  // namespace asyncio
