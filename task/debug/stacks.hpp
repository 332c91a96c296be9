// Where a task is suspended. Upstream counterpart: Lib/asyncio/base_tasks.py.
#pragma once

#include <string>

#include "task/tasks.hpp"

namespace asyncio {

/// One suspended coroutine of a task, and the await in which it is. asyncio: graph.FrameCallGraphEntry
struct StackEntry {
  std::string function;
  std::string file;
  unsigned line;
};

}  // namespace asyncio
