// Tasks that end together. Upstream counterpart: Lib/asyncio/taskgroups.py.
#pragma once

#include <exception>
#include <map>
#include <optional>
#include <vector>

#include "task/sync/async_with.hpp"

namespace asyncio {

/// The body of async_with starts tasks; the group waits for them all. When one of them, or the body, fails, the others
/// are cancelled, and an ExceptionGroup of all errors comes out; a KeyboardInterrupt or SystemExit comes out bare.
/// asyncio: taskgroups.TaskGroup
class TaskGroup {
 public:
  TaskGroup() = default;
  TaskGroup(TaskGroup&& other) noexcept { static_cast<void>(other); }  // before it is entered there is nothing to move
  ~TaskGroup();

  /// RuntimeError before the group is entered, when it is finished, and when it is shutting down.
  /// asyncio: taskgroups.TaskGroup.create_task
  template <class T> Task<T> create_task(Coroutine<T> coroutine, TaskOptions options = {}) {
    check_open();
    Task<T> task = loop_->create_task(std::move(coroutine), options);
    add(task);
    return task;
  }
  template <CoroutineFunction F> auto create_task(F f, TaskOptions options = {}) {
    return create_task(call_and_keep_(std::move(f)), options);
  }

  /// asyncio: taskgroups.TaskGroup.__aenter__
  Coroutine<void> aenter();
  /// asyncio: taskgroups.TaskGroup.__aexit__
  Coroutine<bool> aexit(std::exception_ptr exception);

 private:
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
  std::vector<std::exception_ptr> errors_;
  std::exception_ptr base_error_;  // a KeyboardInterrupt or SystemExit
  std::optional<Future<void>> on_completed_fut_;
};

}  // namespace asyncio
