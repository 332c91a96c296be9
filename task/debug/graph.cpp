#include "task/debug/graph.hpp"

#include <unistd.h>

#include <algorithm>
#include <iomanip>
#include <list>
#include <sstream>
#include <unordered_map>

namespace asyncio {
namespace {

TaskState* as_task(const AnyFuture& future) { return future.state()->as_task(); }

std::vector<StackEntry> stack_of(const AnyFuture& future) {  // innermost first
  const TaskState* task = as_task(future);
  std::vector<StackEntry> stack = task ? asyncio::stack_of(*task) : std::vector<StackEntry>();
  std::reverse(stack.begin(), stack.end());
  return stack;
}

// The tasks that wait for a future, directly or through a gather.
std::vector<AnyFuture> awaited_by(const AnyFuture& future) {
  std::vector<AnyFuture> tasks;
  const auto add = [&](const AnyFuture& task) {
    if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) tasks.push_back(task);
  };
  const DoneCallbacks& callbacks = future.state()->callbacks();
  for (const PendingHandle* callback = nullptr; (callback = callbacks.next(callback));) {
    const AnyFuture waiter = callback->awaiter();
    if (!waiter) continue;
    if (waiter.state()->as_task()) {
      add(waiter);
    } else {
      for (const AnyFuture& task : awaited_by(waiter)) add(task);
    }
  }
  return tasks;
}

// asyncio: graph._build_graph_for_future
FutureCallGraph build_graph(const AnyFuture& future, std::vector<AnyFuture>& path) {
  FutureCallGraph graph{future, stack_of(future), {}};
  graph.cycle = std::find(path.begin(), path.end(), future) != path.end();
  if (graph.cycle) return graph;
  path.push_back(future);
  for (const AnyFuture& waiter : awaited_by(future)) graph.awaited_by.push_back(build_graph(waiter, path));
  path.pop_back();
  return graph;
}

std::string id_of(const AnyFuture& future) {
  std::ostringstream text;
  text << static_cast<const void*>(future.state());
  return text.str();
}

void render_level(const FutureCallGraph& graph, const std::string& indent, std::ostream& out) {
  const TaskState* task = as_task(graph.future);
  out << indent << "* ";
  if (task) out << "Task(name='" << task->get_name() << "', id=" << id_of(graph.future) << ")";
  if (!task) out << "Future(id=" << id_of(graph.future) << ")";
  out << (graph.cycle ? " (cycle)\n" : "\n");
  if (!graph.call_stack.empty()) out << indent << "  + Call stack:\n";
  for (const StackEntry& entry : graph.call_stack) {
    out << indent << "  |   File '" << entry.file << "', line " << entry.line << ", in async " << entry.function
        << "()\n";
  }
  if (!graph.awaited_by.empty()) out << indent << "  + Awaited by:\n";
  for (const FutureCallGraph& parent : graph.awaited_by) render_level(parent, indent + "    ", out);
}

std::string chain_of(const AnyFuture& task) {
  std::string chain;
  for (const StackEntry& entry : stack_of(task)) chain += (chain.empty() ? "" : " -> ") + entry.function;
  return chain;
}

// The tree that pstree prints: tasks, under them their frames, and under these the tasks that they await.
// asyncio: tools.build_async_tree
class Tree {
 public:
  explicit Tree(const std::vector<AnyTask>& tasks) {
    for (const AnyTask& task : tasks) tasks_[task] = &nodes_.emplace_back(Node{"(T) " + task.get_name(), {}});
    for (const AnyTask& task : tasks) innermost(task);
    for (const AnyTask& task : tasks) {
      for (const AnyFuture& waiter : awaited_by(task)) {
        if (!tasks_.contains(waiter)) continue;
        innermost(waiter)->children.push_back(tasks_[task]);
        tasks_[task]->awaited = true;
      }
    }
  }
  std::string render() {
    std::string text;
    for (const Node& node : nodes_) {
      if (node.is_root()) render(node, "", true, text);
    }
    return text;
  }

 private:
  struct Node {
    std::string label;
    std::vector<Node*> children;
    bool awaited = false;  // it is below another node, because a task awaits it or because it is a frame
    bool is_root() const noexcept { return !awaited; }
  };

  // The node of a task's innermost frame. Makes those of all its frames, each below the one that awaits it.
  Node* innermost(const AnyFuture& task) {
    Node* node = tasks_[task];
    for (const StackEntry& entry : asyncio::stack_of(*as_task(task))) {
      const std::string label = " " + entry.function + " " + entry.file + ":" + std::to_string(entry.line);
      const auto found = std::find_if(node->children.begin(), node->children.end(),
                                      [&](const Node* child) { return child->label == label; });
      Node* next = found == node->children.end() ? nullptr : *found;
      if (!next) next = node->children.emplace_back(&nodes_.emplace_back(Node{label, {}, true}));
      node = next;
    }
    return node;
  }

  static void render(const Node& node, const std::string& prefix, bool last, std::string& text) {
    text += prefix + (last ? "└── " : "├── ") + node.label + "\n";
    for (const Node* child : node.children) {
      render(*child, prefix + (last ? "    " : "│   "), child == node.children.back(), text);
    }
  }

  std::list<Node> nodes_;
  std::unordered_map<AnyFuture, Node*> tasks_;
};

// The first cycle of tasks that await one another, as "A → B → A"; "" if there is none.
std::string find_cycle(const FutureCallGraph& graph, const std::string& path) {
  const TaskState* task = as_task(graph.future);
  const std::string here = (task ? task->get_name() : "Future") + (path.empty() ? "" : " → " + path);
  if (graph.cycle) return here;
  for (const FutureCallGraph& parent : graph.awaited_by) {
    if (std::string cycle = find_cycle(parent, here); !cycle.empty()) return cycle;
  }
  return "";
}

}  // namespace

FutureCallGraph capture_call_graph(const AnyFuture& future) {
  std::vector<AnyFuture> path;
  return build_graph(future, path);
}

std::string format_call_graph(const AnyFuture& future) {
  std::ostringstream text;
  render_level(capture_call_graph(future), "", text);
  return text.str();
}

void print_call_graph(const AnyFuture& future, std::ostream& os) { os << format_call_graph(future); }

std::string ps(EventLoop& loop) {
  const auto row = [](const std::vector<std::string>& cells) {
    static constexpr int WIDTHS[] = {10, 20, 20, 50, 50, 15, 15};
    std::ostringstream line;
    for (std::size_t i = 0; i < cells.size(); ++i) line << std::left << std::setw(WIDTHS[i]) << cells[i] << " ";
    return line.str() + "\n";
  };
  std::string text =
      row({"tid", "task id", "task name", "coroutine stack", "awaiter chain", "awaiter name", "awaiter id"}) +
      std::string(180, '-') + "\n";
  const std::string tid = std::to_string(::gettid());
  for (const AnyTask& task : all_tasks(loop)) {
    const std::vector<AnyFuture> waiters = awaited_by(task);
    if (waiters.empty()) text += row({tid, id_of(task), task.get_name(), chain_of(task), "", "", "0x0"});
    for (const AnyFuture& waiter : waiters) {
      const TaskState* parent = as_task(waiter);
      text += row({tid, id_of(task), task.get_name(), chain_of(task), chain_of(waiter),
                   parent ? parent->get_name() : "Unknown", id_of(waiter)});
    }
  }
  return text;
}

std::string pstree(EventLoop& loop) {
  const std::vector<AnyTask> tasks = all_tasks(loop);
  for (const AnyTask& task : tasks) {
    const std::string cycle = find_cycle(capture_call_graph(task), "");
    if (!cycle.empty()) throw RuntimeError("await-graph contains cycles - cannot print a tree!\ncycle: " + cycle);
  }
  return Tree(tasks).render();
}

}  // namespace asyncio
