// Who watches a loop at work. Upstream has no counterpart; the idea is trio's Instrument.
#pragma once

#include <optional>
#include <span>

#include "loop/base_events.hpp"

namespace asyncio {

class AnyTask;  // task/tasks.hpp

/// Derive from it, override what you want to hear of, and give it to EventLoop::add_instrument. It is called by the loop, in the
/// loop's thread, at once; references may be kept. `by` is null where no callback or task is at work. What it schedules itself
/// it is not told of. One that throws is removed, and the error goes to the exception handler. Destroying it removes it.
struct Instrument {
  Instrument() = default;
  Instrument(const Instrument&) = delete;
  Instrument& operator=(const Instrument&) = delete;
  virtual ~Instrument();

  /// An iteration begins: how long the loop is willing to wait, in seconds; nullopt: until something happens.
  virtual void before_select(std::optional<double> /*timeout*/) {}
  /// What the selector reported; the span is valid during the call.
  virtual void after_select(std::span<const selectors::SelectorEvent> /*events*/) {}

  /// By call_soon, call_at, a future that is done, a task that goes on; by nothing: a descriptor, another thread.
  virtual void handle_scheduled(const Handle& /*handle*/, const Handle& /*by*/) {}
  virtual void before_run(const Handle& /*handle*/) {}
  /// Also when it threw.
  virtual void after_run(const Handle& /*handle*/) {}

  virtual void task_created(const AnyTask& /*task*/, const AnyTask& /*by*/) {}
  /// Its coroutine is about to run, until it waits or ends.
  virtual void task_step(const AnyTask& /*task*/) {}
  /// Null: for nothing, as sleep(0) does.
  virtual void task_waits(const AnyTask& /*task*/, const AnyFuture& /*on*/) {}
  /// What it waited for is done: its next step is scheduled.
  virtual void task_woken(const AnyTask& /*task*/, const AnyFuture& /*by*/) {}
  /// Returned, raised, was cancelled, or ended with its loop.
  virtual void task_done(const AnyTask& /*task*/) {}

 private:
  friend class EventLoop;
  Ref<LoopAnchor> watched_;  // the loop's that it watches
};

}  // namespace asyncio
