#include "task/sync/taskgroups.hpp"

namespace asyncio {

TaskGroup::~TaskGroup() {
  for (const auto& [number, member] : tasks_) member.task.remove_done_callback(member.callback);
}

void TaskGroup::check_open() const {
  if (!entered_) throw RuntimeError("TaskGroup has not been entered: create tasks inside the body of async_with");
  if (exiting_ && tasks_.empty()) throw RuntimeError("TaskGroup is finished");
  if (aborting_) throw RuntimeError("TaskGroup is shutting down");
}

void TaskGroup::add(const AnyTask& task) {
  const auto done = [this, number = ++last_number_, task](const AnyFuture&) {
    tasks_.erase(number);
    on_task_done(task);
  };
  if (task.done()) return on_task_done(task);
  try {
    // Listed first, because the callback refers to this group, which removes it from those that are listed.
    Member& member = tasks_.emplace(last_number_, Member{task, {}}).first->second;
    member.callback = task.add_done_callback(done, parent_task_);
  } catch (...) {
    tasks_.erase(last_number_);
    unlisted_ = task;
    task.cancel();
    abort();
    throw;
  }
}

Coroutine<void> TaskGroup::aenter() {
  if (entered_) throw RuntimeError("TaskGroup has already been entered");
  loop_ = &get_running_loop();
  parent_task_ = current_task();
  if (!parent_task_) throw RuntimeError("TaskGroup cannot determine the parent task");
  leave_ = leave(body_error_);
  entered_ = true;
  co_return;
}

// What aexit() returns.
Coroutine<bool> TaskGroup::leave(const std::exception_ptr& exception) {
  exiting_ = true;
  note_base_error(exception);
  std::exception_ptr propagate_cancellation_error = holds<CancelledError>(exception) ? exception : nullptr;
  const bool failed = exception && !propagate_cancellation_error;
  if (exception && !aborting_) abort();

  for (bool waits = !unlisted_; !tasks_.empty() || (unlisted_ && !unlisted_.done());) {
    try {
      if (!waits) co_await BareYield();
      if (waits) on_completed_fut_ = loop_->create_future();
      if (waits) co_await *on_completed_fut_;
    } catch (const std::bad_alloc&) {
      waits = false;  // it looks in each iteration
    } catch (const CancelledError&) {
      // Cancelled while it waits: cancels the children, but only once, so that their clean-up is not disturbed.
      if (!aborting_) {
        propagate_cancellation_error = std::current_exception();
        abort();
      }
    }
    on_completed_fut_.reset();
  }

  if (base_error_) std::rethrow_exception(base_error_);
  // The group itself has cancelled the parent task. That cancellation ends here, unless there were others.
  if (parent_cancel_requested_ && parent_task_.uncancel() == 0) propagate_cancellation_error = nullptr;
  if (propagate_cancellation_error && errors_.empty()) std::rethrow_exception(propagate_cancellation_error);
  if (failed) errors_.push_back(exception);
  if (!errors_.empty()) {
    if (parent_task_.cancelling()) {  // a cancellation from outside is delivered at the next await
      parent_task_.uncancel();
      parent_task_.cancel();
    }
    throw ExceptionGroup("unhandled errors in a TaskGroup", std::exchange(errors_, {}));
  }
  co_return false;
}

// asyncio: taskgroups.TaskGroup._is_base_error
void TaskGroup::note_base_error(const std::exception_ptr& exception) {
  if (!base_error_ && holds<Exit>(exception)) base_error_ = exception;
}

// asyncio: taskgroups.TaskGroup._abort
void TaskGroup::abort() {
  aborting_ = true;
  for (const auto& [number, member] : tasks_) member.task.cancel();
}

// asyncio: taskgroups.TaskGroup._on_task_done
void TaskGroup::on_task_done(const AnyTask& task) {
  if (on_completed_fut_ && tasks_.empty() && !on_completed_fut_->done()) on_completed_fut_->set_result();
  if (task.cancelled() || !task.exception()) return;
  errors_.push_back(task.exception());
  note_base_error(task.exception());
  if (parent_task_.done()) {
    loop_->report("Task has errored out but its parent task is already completed", {{}, task.exception(), task, {}});
  } else if (!aborting_ && !parent_cancel_requested_) {
    abort();
    parent_cancel_requested_ = true;
    parent_task_.cancel();
  }
}

}  // namespace asyncio
