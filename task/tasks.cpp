#include "task/tasks.hpp"

#include <atomic>

namespace asyncio {

void TaskState::start(const TaskOptions& options) {
  EventLoop& loop = get_loop();
  loop.check_usable();
  if (options.name.empty()) {
    static constinit std::atomic<std::uint64_t> task_name_counter = 0;  // asyncio: tasks._task_name_counter
    number_ = ++task_name_counter;
  } else {
    set_name(std::string(options.name));
  }
  if (options.context) context_ = options.context->state();
  loop.add_pending(loop.pending_tasks_, *this);
  incref();
  if (loop.observer_) loop.observer_->task_created(AnyTask(this), current_task(loop));
  if (options.eager_start && loop.is_running()) {
    const EnterContext entered(context_);
    step_as_current_task(nullptr);  // asyncio: tasks.Task.__eager_start
  } else {
    loop.wake(next_step());
  }
}

// This task as the handle of its next step. All such handles together hold one reference to the task.
inline Ref<PendingHandle> TaskState::next_step() noexcept {
  if (HandleState::references() == 0) incref();
  return Ref<PendingHandle>(this);
}

// If this task waits for another task, and that for a third, each passes cancel() on. Upstream does so by recursion;
// here the last task of the chain is searched first, because the chain may be long.
bool TaskState::cancel(std::string message) {
  if (done()) return FutureState::cancel();
  TaskState* task = last_waiting_task();
  for (TaskState* passed = this; passed != task; passed = passed->waiting_for_task()) ++passed->num_cancels_requested_;
  ++task->num_cancels_requested_;
  // fut_waiter_ is kept, because a future may ignore the cancellation and have to be cancelled again.
  if (task->fut_waiter_ && task->fut_waiter_.cancel(message)) return true;
  // The next step is already scheduled. It will raise the CancelledError.
  task->must_cancel_ = true;
  task->set_cancel_message(std::move(message));
  return true;
}

TaskState* TaskState::waiting_for_task() const noexcept {
  TaskState* task = fut_waiter_ ? fut_waiter_.state()->as_task() : nullptr;
  return task && !task->done() ? task : nullptr;
}

// The last task of the chain. `slow` follows at half the speed; the two can meet only in a cycle.
TaskState* TaskState::last_waiting_task() {
  TaskState *task = this, *slow = this;
  for (bool odd = false; TaskState* next = task->waiting_for_task(); odd = !odd) {
    task = next;
    if (odd) slow = slow->waiting_for_task();
    if (task == slow) throw RuntimeError("tasks wait for each other in a cycle: " + repr());
  }
  return task;
}

int TaskState::uncancel() noexcept {
  if (num_cancels_requested_ > 0 && --num_cancels_requested_ == 0) must_cancel_ = false;
  return num_cancels_requested_;
}

void TaskState::check_settable(const char* method) const {
  throw RuntimeError(std::string("Task does not support ") + method + " operation");
}

// asyncio: tasks._enter_task, tasks._leave_task
[[gnu::always_inline]] inline void TaskState::step_as_current_task(const std::exception_ptr& exception) {
  EventLoop& loop = get_loop();
  TaskState* previous = std::exchange(loop.current_task_, this);
  const Finally leave([&] { loop.current_task_ = previous; });
  if (loop.observer_) loop.observer_->task_step(AnyTask(this));
  step_run_and_handle_result(exception);
}

// Called by the loop: the next step, after a future is done or after a bare yield.
void TaskState::callback() { wakeup(fut_waiter_.state()); }

// After a bare yield, and before the first step, no future was awaited: null.
// asyncio: tasks.Task.__wakeup
inline void TaskState::wakeup(FutureState* future) { step(future ? future->outcome() : nullptr); }

// asyncio: tasks.Task.__step
[[gnu::always_inline]] inline void TaskState::step(std::exception_ptr exception) {
  if (done()) throw InvalidStateError("step(): already done: " + repr());
  if (must_cancel_) {
    if (!holds<CancelledError>(exception)) exception = make_cancelled_error();
    must_cancel_ = false;
  }
  fut_waiter_ = AnyFuture();
  step_as_current_task(exception);
}

// Upstream's try and its except clauses. Where upstream catches StopIteration, `yielded` is false here.
// asyncio: tasks.Task.__step_run_and_handle_result
[[gnu::always_inline]] inline void TaskState::step_run_and_handle_result(const std::exception_ptr& exception) {
  try {
    const bool yielded = exception ? coro_.throw_(exception, innermost_) : coro_.send(innermost_);
    if (yielded) return handle_yield(innermost_->yielded);
    if (must_cancel_) {
      must_cancel_ = false;  // cancel() was called in this last step
      FutureState::cancel(cancel_message());
    } else {
      set_result_of_coroutine();
    }
  } catch (const CancelledError&) {
    exception_ = std::current_exception();
    FutureState::cancel();
  } catch (const Exit&) {
    FutureState::set_exception(std::current_exception());
    end();
    throw;
  } catch (...) {
    FutureState::set_exception(caught_exception());
  }
  end();
}

// Its else clause: the coroutine is suspended and has yielded a future, or nothing.
// Without memory to wait, the await raises that.
[[gnu::always_inline]] inline void TaskState::handle_yield(FutureState* future) try {
  EventLoop& loop = get_loop();
  if (future && !future->is_of(loop)) {
    throw RuntimeError(repr() + " got Future " + future->repr() + " attached to a different loop");
  }
  if (future == this) throw RuntimeError("Task cannot await on itself: " + repr());
  if (loop.observer_) loop.observer_->task_waits(AnyTask(this), AnyFuture(future));
  if (!future) return loop.wake(next_step());  // a bare yield suspends for one iteration
  future->add_waiter(next_step());
  fut_waiter_ = AnyFuture(future);
  if (must_cancel_ && future->cancel(cancel_message())) must_cancel_ = false;
} catch (...) {
  if (fut_waiter_) return static_cast<void>(fut_waiter_.cancel());  // there is no memory for cancel's message
  innermost_->exception = caught_exception();
  get_loop().wake(next_step());
}

void TaskState::future_done(const AnyFuture& future) noexcept {
  if (LoopObserver* observer = get_loop().observer()) observer->task_woken(AnyTask(this), future);
}

// The task is done: its frame is destroyed, with the coroutine's arguments. References to the task still see its
// result.
void TaskState::end() noexcept {
  if (LoopObserver* observer = get_loop().observer()) observer->task_done(AnyTask(this));
  unlink();
  coro_ = CoroutineBase();
  decref();
}

// asyncio: tasks.Task.__del__
void TaskState::end_with_loop() noexcept {
  const Ref<TaskState> self(this);
  if (log_destroy_pending_) report("Task was destroyed but it is pending!", nullptr);
  fut_waiter_ = AnyFuture();
  FutureState::end_with_loop();
  end();
}

const char* TaskState::state_name() const noexcept {
  return cancelling() > 0 && !done() ? "cancelling" : FutureState::state_name();
}

std::string TaskState::details() const {
  std::string text = " name='" + get_name() + "'";
  if (const Frame* frame = coro_.frame()) {
    const std::source_location at = frame->of_program().where;
    text += " coro=<" + function_name(at) + "() at " + at.file_name() + ":" + std::to_string(at.line()) + ">";
  }
  if (TaskState* task = fut_waiter_ ? fut_waiter_.state()->as_task() : nullptr) {
    // only its state and name, because tasks may wait in a cycle
    text += std::string(" wait_for=<Task ") + task->state_name() + " name='" + task->get_name() + "' ...>";
  } else if (fut_waiter_) {
    text += " wait_for=" + fut_waiter_.repr();
  }
  return text;
}

AnyTask current_task(EventLoop& loop) { return AnyTask(loop.current_task_); }

std::vector<AnyTask> all_tasks(EventLoop& loop) {
  std::vector<AnyTask> tasks;
  for (PendingHandle* handle = loop.pending_tasks().next(); handle; handle = loop.pending_tasks().next(handle)) {
    tasks.push_back(AnyTask(static_cast<TaskState*>(handle)));
  }
  return tasks;
}

// asyncio: tasks.__sleep0
static Coroutine<void> sleep0() { co_await BareYield(); }

// A function of its own, because a coroutine frame is large enough for all variables of its body; that of sleep0 is
// small.
static Coroutine<void> sleep_until_timer(Delay delay) {
  const Future<void> future = get_running_loop().create_future();
  const Finally cancel([timer = future.get_loop().call_later(
                            delay, [future] { set_result_unless_cancelled(future); })] { timer.cancel(); });
  co_await future;
}

Coroutine<void> sleep(Delay delay) { return delay.seconds() <= 0 ? sleep0() : sleep_until_timer(delay); }

}  // namespace asyncio
