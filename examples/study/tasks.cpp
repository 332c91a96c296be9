#include "examples/study/tasks.hpp"

#include <algorithm>
#include <typeinfo>

namespace study {
namespace {

using asyncio::AnyFuture, asyncio::AnyTask, asyncio::TaskState;

TaskState* behind(const AnyTask& task) { return static_cast<TaskState*>(task.state()); }

// What a reader wants to know of "<Handle main()::{lambda()#1}>": "lambda in main".
std::string short_name(std::string name) {
  if (name.starts_with("<Handle ")) name = name.substr(8, name.size() - 9);
  const bool is_lambda = name.find("lambda") != std::string::npos;
  if (name.starts_with("asyncio::(anonymous namespace)::")) name.erase(9, 23);
  if (name.find("(*)") != std::string::npos) return "function";
  name.resize(std::min(name.find_first_of("(<{"), name.size()));
  while (name.ends_with(':')) name.pop_back();
  return is_lambda ? "lambda in " + name : name;
}

std::string stack_json(const AnyTask& task) {
  std::string json;
  for (const asyncio::StackEntry& entry : task.get_stack()) {
    json += (json.empty() ? "[" : ",[") + array(quote(entry.function), quote(entry.file), entry.line) + "]";
  }
  return "[" + json + "]";
}

}  // namespace

std::string TaskWatch::name_of(const State& state) const { return short_name(state.repr()); }

// A task is its own handle.
int TaskWatch::step_scheduled(const asyncio::Handle& handle) {
  const auto found = tasks_.find(dynamic_cast<const TaskState*>(handle.state()));
  return found == tasks_.end() ? -1 : found->second.handle;
}

int TaskWatch::current_task() {
  const AnyTask task = runs_here() ? asyncio::current_task(loop_) : AnyTask();
  return task ? known(task).id : -1;
}

TaskWatch::KnownTask& TaskWatch::known(const AnyTask& task) {
  KnownTask& known = tasks_[task.state()];
  if (known.id >= 0) return known;
  const asyncio::Frame* frame = behind(task)->coro_.frame();
  const std::source_location at = frame ? frame->of_program().where : std::source_location();
  const std::string function = frame ? asyncio::function_name(at) : "";
  known.id = recorder_.record.add(
      "tasks", "[" + array(quote(task.get_name()), quote(function), quote(at.file_name()), at.line(), id()) + "]");
  known.handle = add_handle("task", task.get_name(), known.id, -1);
  known.state = behind(task);
  return known;
}

// A future is called what the innermost coroutine that awaits it is called, such as asyncio::Queue<int>::get. That of
// gather is awaited by the program itself.
TaskWatch::KnownFuture& TaskWatch::future_of(const AnyTask& task, const AnyFuture& future) {
  KnownFuture& known = futures_[future.state()];
  if (known.id >= 0 && !known.done) return known;
  const auto found = tasks_.find(future.state());
  const std::vector<asyncio::StackEntry> stack = task.get_stack();
  const asyncio::FutureState& state = *future.state();
  const bool is_gather = asyncio::demangle(typeid(state).name()).find("Gathering") != std::string::npos;
  const std::string awaits = stack.empty() ? "" : stack.back().function;
  const std::string entry =
      "[" + array(quote(is_gather ? "asyncio::gather" : awaits), found == tasks_.end() ? -1 : found->second.id) + "]";
  return known = {recorder_.record.add("futures", entry)};
}

void TaskWatch::task_created(const AnyTask& task, const AnyTask& by) {
  const std::lock_guard lock(recorder_.mutex);
  tasks_.erase(task.state());
  futures_.erase(task.state());
  const int creator = by ? known(by).id : -1;
  const int id = known(task).id;
  event("create", array(id, creator), task.get_name() + (by ? "  by " + by.get_name() : ""), recorder_.place());
}

void TaskWatch::task_step(const AnyTask& task) {
  const std::lock_guard lock(recorder_.mutex);
  find_cancellation(known(task));
  event("step", array(known(task).id), task.get_name());
}

void TaskWatch::task_waits(const AnyTask& task, const AnyFuture& on) {
  const std::lock_guard lock(recorder_.mutex);
  const int future = on ? future_of(task, on).id : -1;
  const int stack = recorder_.record.intern("stacks", stack_json(task));
  const std::vector<asyncio::StackEntry> entries = task.get_stack();
  std::string text = task.get_name() + (on ? " on a future" : " for one iteration");
  if (on && tasks_.contains(on.state()))
    text = task.get_name() + " on " + static_cast<TaskState*>(on.state())->get_name();
  if (!entries.empty()) text += "  in " + entries.back().function;
  event("wait", array(known(task).id, future, stack), text);
}

void TaskWatch::task_woken(const AnyTask& task, const AnyFuture& by) {
  const std::lock_guard lock(recorder_.mutex);
  const auto found = futures_.find(by.state());  // it was waited for
  if (found == futures_.end()) return;
  found->second.done = true;
  event("wake", array(known(task).id, found->second.id), task.get_name(), recorder_.place());
}

void TaskWatch::task_done(const AnyTask& task) {
  const std::lock_guard lock(recorder_.mutex);
  find_cancellation(known(task));
  const std::string repr = task.repr();  // not exception(), after which nobody would hear of it
  const std::size_t error = repr.find(" exception=");
  const char* outcome = task.cancelled() ? "cancelled" : error == std::string::npos ? "returned" : "raised";
  const std::string text = error == std::string::npos ? "" : repr.substr(error + 11, repr.size() - error - 12);
  event("done", array(known(task).id, quote(outcome), quote(text)), task.get_name() + " " + outcome + " " + text);
  futures_.erase(task.state());
  tasks_.erase(task.state());
}

void TaskWatch::find_cancellations(std::size_t limit) {
  if (tasks_.size() > limit) return;
  for (auto& [state, task] : tasks_) find_cancellation(task);
}

void TaskWatch::find_cancellation(KnownTask& task) {
  if (task.cancelling == task.state->cancelling()) return;
  task.cancelling = task.state->cancelling();
  event("cancels", array(task.id, task.cancelling),
        task.state->get_name() + ".cancelling() is " + std::to_string(task.cancelling));
}

}  // namespace study
