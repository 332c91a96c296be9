// Handles, and which loop runs in this thread. Upstream counterpart: Lib/asyncio/events.py.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "loop/python/builtins.hpp"
#include "loop/python/contextvars.hpp"
#include "loop/python/linked_list.hpp"
#include "loop/python/memory.hpp"

namespace asyncio {

class AnyFuture;
class EventLoop;                            // loop/base_events.hpp
class FutureState;                          // future/futures.hpp
template <class T = void> class Future;     // future/futures.hpp
template <class T = void> class Task;       // task/tasks.hpp
template <class T = void> class Coroutine;  // task/coroutines.hpp

/// Which callback remove_done_callback() removes. Ids are never used twice.
enum class CallbackId : std::uint64_t {};

/// A scheduled callback, the object, with the callable inside in the subclass that CallbackHandle makes. A task is one,
/// too: the handle of its next step. asyncio: events.Handle
class HandleState : public Counted {
 public:
  /// Drops the callback and its arguments now, or, while it is running, when it has returned.
  /// asyncio: events.Handle.cancel
  virtual void cancel_callback() noexcept;
  bool cancelled() const noexcept { return cancelled_; }

  /// It is called more than once: its callable is not dropped after the first call.
  void set_repeats() noexcept { repeats_ = true; }

  /// Calls the callback. What it throws goes to the loop's exception handler; only KeyboardInterrupt and
  /// SystemExit come out. asyncio: events.Handle._run
  void run(EventLoop& loop);

  /// What to call the callback in a message. asyncio: events.Handle.__repr__
  virtual std::string repr() const = 0;

 protected:
  virtual void callback() = 0;
  virtual void drop_callback() noexcept {}
  /// The last reference to it as a handle is gone. (A task has references as a future, too.)
  virtual void unreferenced_as_handle() noexcept { delete this; }
  void unreferenced() noexcept override { unreferenced_as_handle(); }

  // The flags stand first: they fit behind the reference count.
  bool cancelled_ : 1 = false;
  bool running_ : 1 = false;
  bool repeats_ : 1 = false;    // called more than once: a reader, a writer, a signal handler, a task
  bool scheduled_ : 1 = false;  // a timer that stands in the loop's heap
  Ref<ContextState> context_ = copy_current_context();  // in which the callback runs

 private:
  friend class EventLoop;
  void report_exception(EventLoop& loop);
};

/// A timer, the object. asyncio: events.TimerHandle
class TimerHandleState : public HandleState {
 public:
  TimerHandleState(double when, EventLoop& loop) noexcept : when_(when), loop_(&loop) {}
  double when() const noexcept { return when_; }
  /// Also tells the loop that one more of its timers is cancelled. asyncio: events.TimerHandle.cancel
  void cancel_callback() noexcept override;

 private:
  friend class EventLoop;
  double when_;
  EventLoop* loop_;  // used while scheduled_ only: a loop that closes takes its timers out of the heap
};

/// A handle that may wait for ever: a task, or the done callback of a future. If what it waits for holds the waiter,
/// the two are a cycle of references, which upstream leaves to the garbage collector. Here the loop lists them all and
/// ends them when it closes.
class PendingHandle : public HandleState, public Link {
 public:
  /// Which done callback it is; that of no other if it is a task.
  virtual CallbackId id() const noexcept { return CallbackId{}; }
  /// What it waits for is done.
  virtual void future_done(const AnyFuture&) noexcept {}
  /// The task that waits through it, if one is known.
  virtual AnyFuture awaiter() const noexcept;
  /// The loop is closed: releases whatever it holds.
  virtual void end_with_loop() noexcept;
};

/// A handle with its callable and arguments inside: the one allocation of a call_soon. They are invoked as
/// lvalues.
template <class Base, class F, class... Args> class CallbackHandle final : public Base {
 public:
  template <class Bound, class... BaseArgs> explicit CallbackHandle(Bound&& bound, BaseArgs&&... base)
      : Base(std::forward<BaseArgs>(base)...), bound_(std::in_place, std::forward<Bound>(bound)) {}
  std::string repr() const override { return "<Handle " + demangle(typeid(F).name()) + ">"; }

 private:
  void callback() override {
    std::apply([](F& f, Args&... args) { static_cast<void>(std::invoke(f, args...)); }, *bound_);
  }
  void drop_callback() noexcept override { bound_.reset(); }
  void unreferenced() noexcept override { delete this; }  // here the type is known: one virtual call, not three

  std::optional<std::tuple<F, Args...>> bound_;
};

/// Base is what a handle is made of, `bound` a tuple of references to the callable and its arguments.
template <class Base, class F, class... Args, class... BaseArgs>
Ref<Base> make_bound_handle(std::tuple<F, Args...> bound, BaseArgs&&... base) {
  using Callback = CallbackHandle<Base, std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>&...>,
                "this callback cannot be called with these arguments: they are stored by value and passed as lvalues");
  return Ref<Base>(new Callback(std::move(bound), std::forward<BaseArgs>(base)...));
}

template <class Base = HandleState, class F, class... Args> Ref<Base> make_handle(F&& f, Args&&... args) {
  return make_bound_handle<Base>(std::forward_as_tuple(std::forward<F>(f), std::forward<Args>(args)...));
}

/// What call_soon returns: a reference to a scheduled callback, or null. Cheap to copy, == is identity. It
/// may outlive the loop. asyncio: events.Handle
class Handle {
 public:
  Handle() = default;
  explicit Handle(Ref<HandleState> state) noexcept : state_(std::move(state)) {}
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }

  /// The callback will not be called; it and its arguments are destroyed. asyncio: events.Handle.cancel
  void cancel() const noexcept {
    if (state_) state_->cancel_callback();
  }
  /// asyncio: events.Handle.cancelled
  bool cancelled() const noexcept { return state_ && state_->cancelled(); }
  std::string repr() const { return state_ ? state_->repr() : "<Handle null>"; }
  friend bool operator==(const Handle&, const Handle&) = default;

 protected:
  Ref<HandleState> state_;
};

/// What call_later and call_at return. asyncio: events.TimerHandle
class TimerHandle : public Handle {
 public:
  using Handle::Handle;
  /// The loop time at which it is due, in seconds. asyncio: events.TimerHandle.when
  double when() const noexcept { return state_ ? static_cast<TimerHandleState&>(*state_).when() : 0; }
};

/// A reference to a future or a task of any result type, or null: all that the loop knows of them. == is
/// identity. Its methods live upstairs, in future/futures.hpp. asyncio: futures.Future
class AnyFuture {
 public:
  AnyFuture() = default;
  explicit AnyFuture(FutureState* state) noexcept;
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }

  bool done() const;
  bool cancelled() const;
  /// Raises InvalidStateError while pending, CancelledError when cancelled; null when there is a result.
  std::exception_ptr exception() const;
  bool cancel(std::string message = {}) const;
  /// f(AnyFuture) will be called by call_soon when the future is done. `awaiter` is the task that waits in this way.
  template <class F> CallbackId add_done_callback(F f, AnyFuture awaiter = {}) const;
  std::size_t remove_done_callback(CallbackId id) const;
  EventLoop& get_loop() const;
  /// "<Future pending>", "<Task finished name='Task-1'>" …
  std::string repr() const;

  friend bool operator==(const AnyFuture& a, const AnyFuture& b) noexcept { return a.state_ == b.state_; }
  /// In which a task runs; null for a future, and while the task takes a step. asyncio: tasks.Task.get_context
  Ref<ContextState> context() const;
  FutureState* state() const noexcept;
  /// The future; RuntimeError for a null or moved-from reference.
  FutureState& checked() const;

 protected:
  [[noreturn]] static void throw_null();

  Ref<Counted> state_;
};

/// What an exception handler is told; what is unknown is null.
struct ExceptionContext {
  std::string message;
  std::exception_ptr exception{};
  AnyFuture future{};
  Handle handle{};
};

/// Writes it to std::cerr.
void log_error(const ExceptionContext& context);

/// The loop that runs in this thread; RuntimeError "no running event loop". asyncio: events.get_running_loop
EventLoop& get_running_loop();
/// The same, or null. asyncio: events._get_running_loop
EventLoop* get_running_loop_or_null() noexcept;
/// Called by run_forever. asyncio: events._set_running_loop
void set_running_loop(EventLoop* loop) noexcept;
/// The running loop; else the one set for this thread; else, in the main thread, unless one was set before,
/// one is made and kept until the program ends; else RuntimeError. asyncio: events.get_event_loop
EventLoop& get_event_loop();
/// Sets this thread's loop; nullptr unsets. A loop that is destroyed unsets itself.
/// asyncio: events.set_event_loop
void set_event_loop(EventLoop* loop) noexcept;
/// If `loop` is this thread's loop, this thread has none any more.
void unset_event_loop(const EventLoop* loop) noexcept;
/// Signals are the main thread's business.
bool in_main_thread() noexcept;
/// asyncio: events.new_event_loop
std::unique_ptr<EventLoop> new_event_loop();
/// The one that get_event_loop() makes.
EventLoop& loop_of_main_thread();

}  // namespace asyncio

template <> struct std::hash<asyncio::AnyFuture> {
  std::size_t operator()(const asyncio::AnyFuture& future) const noexcept {
    return std::hash<const void*>()(future.state());
  }
};
