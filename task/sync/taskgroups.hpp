// Tasks that end together. Upstream counterpart: Lib/asyncio/taskgroups.py.
#pragma once

#include <exception>
#include <map>
#include <optional>
#include <vector>

#include "task/sync/async_with.hpp"

namespace asyncio {

/// The body of async_with starts tasks, and async_with waits for all of them. If one of them or the body fails, the
/// others are cancelled, and an ExceptionGroup of all errors is raised. A KeyboardInterrupt or SystemExit is raised by
/// itself. asyncio: taskgroups.TaskGroup
class TaskGroup {
 public:
  TaskGroup() = default;
  TaskGroup(TaskGroup&& other) noexcept { static_cast<void>(other); }  // only before it is entered, so it is empty
  ~TaskGroup();

  /// Starts a task in the group. RuntimeError before the group is entered, and when it is finished or shutting down.
  /// asyncio: taskgroups.TaskGroup.create_task
  template <class T> Task<T> create_task(Coroutine<T> coroutine, const TaskOptions& options = {}) {
    check_open();
    Task<T> task = loop_->create_task(std::move(coroutine), options);
    add(task);
    return task;
  }
  template <CoroutineFunction F> auto create_task(F f, const TaskOptions& options = {}) {
    return create_task(call_and_keep_(std::move(f)), options);
  }

  /// RuntimeError if it was already entered, or outside a task. asyncio: taskgroups.TaskGroup.__aenter__
  Coroutine<void> aenter();
  /// Waits for the tasks and raises their errors. asyncio: taskgroups.TaskGroup.__aexit__
  Coroutine<bool> aexit(std::exception_ptr exception) {
    body_error_ = std::move(exception);
    return std::move(leave_);
  }

 private:
  Coroutine<bool> leave(const std::exception_ptr& exception);
  void check_open() const;
  void add(const AnyTask& task);
  void abort();
  void on_task_done(const AnyTask& task);
  void note_base_error(const std::exception_ptr& exception);

  bool entered_ = false, exiting_ = false, aborting_ = false;
  EventLoop* loop_ = nullptr;
  AnyTask parent_task_;
  bool parent_cancel_requested_ = false;
  struct Member {
    AnyTask task;
    CallbackId callback;
  };
  std::map<std::size_t, Member> tasks_;  // those that are not done, oldest first
  std::size_t last_number_ = 0;
  AnyTask unlisted_;       // there was no memory to list it
  Coroutine<bool> leave_;  // what aexit() returns; made beforehand, because leaving must not fail
  std::exception_ptr body_error_;
  std::vector<std::exception_ptr> errors_;
  std::exception_ptr base_error_;  // a KeyboardInterrupt or SystemExit
  std::optional<Future<void>> on_completed_fut_;
};

}  // namespace asyncio
