// The stack of a suspended task. Upstream counterpart: Lib/asyncio/base_tasks.py.
#pragma once

#include <string>

#include "task/tasks.hpp"

namespace asyncio {

/// A suspended coroutine of a task, and the location of its await. asyncio: graph.FrameCallGraphEntry
struct StackEntry {
  std::string function;
  std::string file;
  unsigned line;
};

}  // namespace asyncio
