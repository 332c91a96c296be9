// Tasks: coroutines that run on the loop. Upstream counterpart: Lib/asyncio/tasks.py.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "task/coroutines.hpp"

namespace asyncio {

class AnyTask;

struct StackEntry;  // task/debug/stacks.hpp

/// The object behind a Task, without the type of its result. It is a future, and also the handle of its own next step,
/// so that a step allocates nothing. While it is pending it holds a reference to itself, so it is not destroyed. It is
/// either in the ready queue or waits for fut_waiter_, never both. asyncio: tasks.Task
class TaskState : public FutureState, public PendingHandle {
 public:
  using FutureState::cancelled;
  void incref() noexcept { FutureState::incref(); }
  void decref() noexcept { FutureState::decref(); }

  /// Schedules the first step, or runs it at once for eager_start. asyncio: tasks.Task.__init__
  void start(const TaskOptions& options);
  /// Asks the coroutine to end with a CancelledError. RuntimeError if tasks wait for each other in a cycle.
  /// asyncio: tasks.Task.cancel
  bool cancel(std::string message = {}) override;
  /// asyncio: tasks.Task.cancelling
  int cancelling() const noexcept { return num_cancels_requested_; }
  /// asyncio: tasks.Task.uncancel
  int uncancel() noexcept;
  /// asyncio: tasks.Task.get_name
  std::string get_name() const { return name_ ? *name_ : "Task-" + std::to_string(number_); }
  /// asyncio: tasks.Task.set_name
  void set_name(std::string name) { name_ = std::make_unique<std::string>(std::move(name)); }

  AnyFuture awaiter() const noexcept override { return AnyFuture(const_cast<TaskState*>(this)); }
  /// With false, nothing is reported if the task is pending when the loop closes.
  /// asyncio: tasks.Task._log_destroy_pending
  void set_log_destroy_pending(bool enabled) noexcept { log_destroy_pending_ = enabled; }

  /// Always RuntimeError: only the coroutine sets the result. asyncio: tasks.Task.set_result
  void check_settable(const char* method) const override;
  /// asyncio: base_tasks._task_repr
  std::string repr() const override { return FutureState::repr(); }
  const char* class_name() const noexcept override { return "Task"; }
  const char* state_name() const noexcept override;
  TaskState* as_task() noexcept override { return this; }
  Ref<ContextState> context() const override { return context_; }

  CoroutineBase coro_;

 protected:
  TaskState(CoroutineBase coroutine, EventLoop& loop)
      : FutureState(loop), coro_(std::move(coroutine)), innermost_(coro_.frame()) {
    set_repeats();
  }
  /// Sets the result to what the coroutine returned. asyncio: tasks.Task.__step_run_and_handle_result
  virtual void set_result_of_coroutine() = 0;

 private:
  Ref<PendingHandle> next_step() noexcept;
  TaskState* waiting_for_task() const noexcept;
  TaskState* last_waiting_task();
  std::string details() const override;
  void callback() override;
  void wakeup(FutureState* future);
  void step(std::exception_ptr exception);
  void step_as_current_task(const std::exception_ptr& exception);
  void step_run_and_handle_result(const std::exception_ptr& exception);
  void handle_yield(FutureState* future);
  void end() noexcept;
  void future_done(const AnyFuture& future) noexcept override;
  void end_with_loop() noexcept override;
  void unreferenced_as_handle() noexcept override { decref(); }

  Frame* innermost_;
  AnyFuture fut_waiter_;
  std::unique_ptr<std::string> name_;  // null: Task-<number>
  std::uint64_t number_ = 0;
  int num_cancels_requested_ = 0;
  bool must_cancel_ = false;
  bool log_destroy_pending_ = true;
};

/// A task whose result has the type T. asyncio: tasks.Task
template <class T> class TaskOf final : public WithResult<T, TaskState> {
 public:
  TaskOf(Coroutine<T>& coroutine, EventLoop& loop) : WithResult<T, TaskState>(CoroutineBase(coroutine.take()), loop) {}

 private:
  void set_result_of_coroutine() override {
    [[maybe_unused]] auto& promise = *static_cast<Promise<T>*>(this->coro_.frame());
    if constexpr (std::is_void_v<T>) {
      FutureState::set_result<void>();
    } else {
      FutureState::set_result<T>(promise.result());
    }
  }
};

// Defined in task/debug/stacks.cpp.
std::vector<StackEntry> stack_of(const TaskState& task);
void print_stack_of(const TaskState& task, std::ostream& os);

/// The methods that Task and AnyTask add to a future.
template <class Derived> class TaskMethods {
 public:
  /// The number of calls of cancel() minus the number of calls of uncancel(). asyncio: tasks.Task.cancelling
  int cancelling() const { return task().cancelling(); }
  /// Takes back one cancel() and returns how many are left. If none is left, a CancelledError that was not raised yet
  /// will not be raised. asyncio: tasks.Task.uncancel
  int uncancel() const { return task().uncancel(); }
  /// "Task-N" unless it was set. asyncio: tasks.Task.get_name
  std::string get_name() const { return task().get_name(); }
  /// asyncio: tasks.Task.set_name
  void set_name(std::string name) const { task().set_name(std::move(name)); }
  /// The coroutines in which it is suspended, outermost first; empty when it is done. asyncio: tasks.Task.get_stack
  std::vector<StackEntry> get_stack() const { return stack_of(task()); }
  /// Writes them to `os`. asyncio: tasks.Task.print_stack
  void print_stack(std::ostream& os = standard_error()) const { print_stack_of(task(), os); }

 private:
  TaskState& task() const { return static_cast<TaskState&>(static_cast<const Derived*>(this)->checked()); }
};

/// A reference to a task of any result type, or null.
class AnyTask : public AnyFuture, public TaskMethods<AnyTask> {
 public:
  AnyTask() = default;
  explicit AnyTask(TaskState* task) noexcept : AnyFuture(task) {}
};

/// A reference to a coroutine that the loop runs: a future with the coroutine's result. cancel() raises CancelledError
/// at the await at which the coroutine is suspended. A task runs on without references to it; closing the loop ends it.
/// asyncio: tasks.Task
template <class T> class Task : public Future<T>, public TaskMethods<Task<T>> {
 public:
  using value_type = T;

  /// A task of get_event_loop(). RuntimeError if the coroutine was awaited, started or moved from.
  explicit Task(Coroutine<T> coroutine) : Task(std::move(coroutine), get_event_loop()) {}
  /// A task of `loop`. Also RuntimeError if the loop is closed. asyncio: tasks.Task.__init__
  Task(Coroutine<T> coroutine, EventLoop& loop, const TaskOptions& options = {})
      : Future<T>(new TaskOf<T>(coroutine, loop)) {
    static_cast<TaskState*>(this->state())->start(options);
  }
  operator AnyTask() const noexcept { return AnyTask(static_cast<TaskState*>(this->state())); }  // NOLINT
};

/// A callable without arguments that returns a Coroutine. create_task, run and others accept one.
template <class F>
concept CoroutineFunction = std::invocable<F&> && requires {
  typename std::invoke_result_t<F&>::promise_type;
};

/// Keeps the callable, and so the captures of a lambda, until its coroutine is done. NOTES [lambda-coroutine]
template <CoroutineFunction F> auto call_and_keep_(F f) -> std::invoke_result_t<F&> { co_return co_await f(); }

template <class T> Task<T> EventLoop::create_task(Coroutine<T> coroutine, const TaskOptions& options) {
  return Task<T>(std::move(coroutine), *this, options);
}

template <class F> auto EventLoop::create_task(F f, const TaskOptions& options)
    -> Task<typename std::invoke_result_t<F&>::value_type> {
  return create_task(call_and_keep_(std::move(f)), options);
}

/// Wraps the coroutine in a task of the running loop. By default the first step runs in the next iteration.
/// RuntimeError if no loop runs. asyncio: tasks.create_task
template <class T> Task<T> create_task(Coroutine<T> coroutine, const TaskOptions& options = {}) {
  return get_running_loop().create_task(std::move(coroutine), options);
}
/// The same with the coroutine that f() returns; f is kept until the task is done.
template <CoroutineFunction F> auto create_task(F f, const TaskOptions& options = {}) {
  return get_running_loop().create_task(std::move(f), options);
}
template <class F> void create_task(F, const TaskOptions& = {}) {
  static_assert(CoroutineFunction<F>, "create_task needs a Coroutine or a callable without arguments that returns one");
}

/// The task of the loop that is running now, or null. By default of the running loop; RuntimeError if no loop runs.
/// asyncio: tasks.current_task
AnyTask current_task(EventLoop& loop = get_running_loop());
/// The pending tasks of the loop, oldest first. By default of the running loop; RuntimeError if no loop runs.
/// asyncio: tasks.all_tasks
std::vector<AnyTask> all_tasks(EventLoop& loop = get_running_loop());

/// Returns a future or task unchanged; wraps a coroutine in a task of get_event_loop(). asyncio: tasks.ensure_future
template <class T> Future<T> ensure_future(Future<T> future) { return future; }
template <class T> Task<T> ensure_future(Task<T> task) { return task; }
template <class T> Task<T> ensure_future(Coroutine<T> coroutine) { return Task<T>(std::move(coroutine)); }

template <CoroutineFunction F> auto ensure_future(F f) { return ensure_future(call_and_keep_(std::move(f))); }

/// Waits for `delay`; 0 or less suspends for exactly one iteration. ValueError for NaN. asyncio: tasks.sleep
Coroutine<void> sleep(Delay delay);
/// The same for any number or duration. It matches exactly, so that sleep(1) never calls the sleep of <unistd.h>.
template <std::convertible_to<Delay> D> Coroutine<void> sleep(D delay) { return sleep(Delay(delay)); }
/// The same, then returns `result`.
template <class T> Coroutine<T> sleep(Delay delay, T result) {
  co_await asyncio::sleep(delay);
  co_return result;
}

template <class T> T EventLoop::run_until_complete(Future<T> future) {
  check_closed();
  check_running();
  run_until_done(future, false);
  return future.take_result();
}

template <class T> T EventLoop::run_until_complete(Coroutine<T> coroutine) {
  check_closed();
  check_running();
  const Task<T> task = create_task(std::move(coroutine));
  static_cast<TaskState*>(task.state())->set_log_destroy_pending(false);
  run_until_done(task, true);
  return task.take_result();
}

}  // namespace asyncio

template <class T> struct std::hash<asyncio::Task<T>> : std::hash<asyncio::AnyFuture> {};
template <> struct std::hash<asyncio::AnyTask> : std::hash<asyncio::AnyFuture> {};
