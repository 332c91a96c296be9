#include "task/debug/stacks.hpp"

#include <ostream>

namespace asyncio {

// asyncio: base_tasks._task_get_stack
std::vector<StackEntry> stack_of(const TaskState& task) {
  std::vector<StackEntry> stack;
  for (const Frame* frame = task.coro_.frame(); frame && frame->started;) {
    const std::source_location& at = frame->where;
    if (!frame->is_internal()) stack.push_back({function_name(at), at.file_name(), at.line()});
    frame = frame->cr_await ? frame->cr_await->frame() : nullptr;
  }
  return stack;
}

// asyncio: base_tasks._task_print_stack
void print_stack_of(const TaskState& task, std::ostream& os) {
  const std::vector<StackEntry> stack = stack_of(task);
  os << (stack.empty() ? "No stack for " : "Stack for ") << task.repr()
     << (stack.empty() ? "\n" : " (most recent call last):\n");
  for (const StackEntry& entry : stack) {
    os << "  File \"" << entry.file << "\", line " << entry.line << ", in " << entry.function << "\n";
  }
}

}  // namespace asyncio
