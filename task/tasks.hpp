// A coroutine that runs on the loop. Upstream counterpart: Lib/asyncio/tasks.py.
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

/// A task, the object, but for the type of its result. It is a future, and the handle of its own next step:
/// stepping allocates nothing. While it is pending it holds a reference to itself: it cannot be lost. Either
/// it stands in the ready queue or it waits for fut_waiter_, never both. asyncio: tasks.Task
class TaskState : public FutureState, public PendingHandle {
 public:
  using FutureState::cancelled;
  void incref() noexcept { FutureState::incref(); }
  void decref() noexcept { FutureState::decref(); }

  /// Schedules the first step, or takes it at once. asyncio: tasks.Task.__init__
  void start(TaskOptions options);
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
  /// False: nothing is said if it is pending when the loop closes. asyncio: tasks.Task._log_destroy_pending
  void set_log_destroy_pending(bool enabled) noexcept { log_destroy_pending_ = enabled; }

  /// asyncio: tasks.Task.set_result
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
  /// The line of upstream's method that sets the result. asyncio: tasks.Task.__step_run_and_handle_result
  virtual void set_result_of_coroutine() = 0;

 private:
  Ref<PendingHandle> next_step() noexcept;
  TaskState* waiting_for_task() const noexcept;
  TaskState* last_waiting_task();
  std::string details() const override;
  void callback() override;
  void wakeup(FutureState& future);
  void step(std::exception_ptr exception);
  void step_as_current_task(const std::exception_ptr& exception);
  void step_run_and_handle_result(const std::exception_ptr& exception);
  void handle_yield(FutureState* future);
  void step_soon_with_error(const std::string& message);
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
  TaskOf(Coroutine<T> coroutine, EventLoop& loop) : WithResult<T, TaskState>(CoroutineBase(coroutine.take()), loop) {}

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

/// What Task and AnyTask add to a future.
template <class Derived> class TaskMethods {
 public:
  /// How often cancel() was called, less the calls of uncancel(). asyncio: tasks.Task.cancelling
  int cancelling() const { return task().cancelling(); }
  /// Takes one cancel() back; down to 0 it also clears a cancellation that was not delivered yet. Returns how
  /// many are left. asyncio: tasks.Task.uncancel
  int uncancel() const { return task().uncancel(); }
  /// asyncio: tasks.Task.get_name
  std::string get_name() const { return task().get_name(); }
  /// asyncio: tasks.Task.set_name
  void set_name(std::string name) const { task().set_name(std::move(name)); }
  /// Where it is suspended, outermost first; empty when it is done. asyncio: tasks.Task.get_stack
  std::vector<StackEntry> get_stack() const { return stack_of(task()); }
  /// asyncio: tasks.Task.print_stack
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

/// A reference to a coroutine that the loop runs: a future whose result is the coroutine's. cancel() throws
/// CancelledError at the await where it is suspended. It goes on when the last reference is dropped; the
/// loop's end is its end. asyncio: tasks.Task
template <class T> class Task : public Future<T>, public TaskMethods<Task<T>> {
 public:
  using value_type = T;

  /// On get_event_loop(). RuntimeError if the coroutine was awaited, driven or moved from.
  explicit Task(Coroutine<T> coroutine) : Task(std::move(coroutine), get_event_loop()) {}
  /// asyncio: tasks.Task.__init__
  Task(Coroutine<T> coroutine, EventLoop& loop, TaskOptions options = {})
      : Future<T>(new TaskOf<T>(std::move(coroutine), loop)) {
    static_cast<TaskState*>(this->state())->start(options);
  }
  operator AnyTask() const noexcept { return AnyTask(static_cast<TaskState*>(this->state())); }  // NOLINT
};

/// A callable that returns a Coroutine, as create_task, run and others take it.
template <class F>
concept CoroutineFunction = std::invocable<F&> && requires {
  typename std::invoke_result_t<F&>::promise_type;
};

/// Keeps the callable, and so what its coroutine captured, until the coroutine is done. NOTES [lambda-coroutine]
template <CoroutineFunction F> auto call_and_keep_(F f) -> std::invoke_result_t<F&> { co_return co_await f(); }

template <class T> Task<T> EventLoop::create_task(Coroutine<T> coroutine, TaskOptions options) {
  return Task<T>(std::move(coroutine), *this, options);
}

template <class F> auto EventLoop::create_task(F f, TaskOptions options)
    -> Task<typename std::invoke_result_t<F&>::value_type> {
  return create_task(call_and_keep_(std::move(f)), options);
}

/// Wraps the coroutine in a task of the running loop, which takes the first step in the next iteration.
/// RuntimeError if no loop runs. asyncio: tasks.create_task
template <class T> Task<T> create_task(Coroutine<T> coroutine, TaskOptions options = {}) {
  return get_running_loop().create_task(std::move(coroutine), options);
}
template <CoroutineFunction F> auto create_task(F f, TaskOptions options = {}) {
  return get_running_loop().create_task(std::move(f), options);
}
template <class F> void create_task(F, TaskOptions = {}) {
  static_assert(CoroutineFunction<F>,
                "create_task needs a Coroutine, or a callable without arguments that returns one");
}

/// The task that runs now, or null; by default of the running loop, RuntimeError if there is none.
/// asyncio: tasks.current_task
AnyTask current_task(EventLoop& loop = get_running_loop());
/// The tasks that are not done, oldest first. asyncio: tasks.all_tasks
std::vector<AnyTask> all_tasks(EventLoop& loop = get_running_loop());

/// A future or task as it is; a coroutine as a task of get_event_loop(). asyncio: tasks.ensure_future
template <class T> Future<T> ensure_future(Future<T> future) { return future; }
template <class T> Task<T> ensure_future(Task<T> task) { return task; }
template <class T> Task<T> ensure_future(Coroutine<T> coroutine) { return Task<T>(std::move(coroutine)); }

template <CoroutineFunction F> auto ensure_future(F f) { return ensure_future(call_and_keep_(std::move(f))); }

/// Waits for `delay`; 0 or less gives up exactly one iteration. ValueError for NaN. asyncio: tasks.sleep
Coroutine<void> sleep(Delay delay);
/// The same for any number or duration: an exact match, so that sleep(1) is never the sleep of <unistd.h>.
template <std::convertible_to<Delay> D> Coroutine<void> sleep(D delay) { return sleep(Delay(delay)); }
/// The same, and returns `result`.
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
