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

/// The object behind a Handle: a scheduled callback. The subclass CallbackHandle holds the callable. A task is also a
/// HandleState, the handle of its next step. asyncio: events.Handle
class HandleState : public Counted {
 public:
  /// Destroys the callable and its arguments now, or, if it is running, when it has returned.
  /// asyncio: events.Handle.cancel
  virtual void cancel_callback() noexcept;
  bool cancelled() const noexcept { return cancelled_; }

  /// The callback is called more than once, so the callable is not destroyed after the first call.
  void set_repeats() noexcept { repeats_ = true; }
  /// It was made ahead of time: the callback runs in this context, not in the one in which it was made.
  void set_context(Ref<ContextState> context) noexcept { context_ = std::move(context); }

  /// Calls the callback. An exception goes to the loop's exception handler, except that KeyboardInterrupt and
  /// SystemExit are raised. asyncio: events.Handle._run
  void run(EventLoop& loop);

  /// The name of the callback in messages. asyncio: events.Handle.__repr__
  virtual std::string repr() const = 0;

 protected:
  virtual void callback() = 0;
  virtual void drop_callback() noexcept {}
  /// The last reference to it as a handle is gone. (A task also has references as a future.)
  virtual void unreferenced_as_handle() noexcept { delete this; }
  void unreferenced() noexcept override { unreferenced_as_handle(); }

  // The flags come first, because they fit into the padding after the reference count.
  bool dropped_ = false;  // the callable is destroyed, or is being destroyed: its destructor may cancel this handle
  bool cancelled_ : 1 = false;
  bool running_ : 1 = false;
  bool repeats_ : 1 = false;    // called more than once: a reader, a writer, a signal handler, a task
  bool scheduled_ : 1 = false;  // a timer that is in the loop's heap
  Ref<ContextState> context_ = copy_current_context();  // the callback runs in it

 private:
  friend class EventLoop;
  void report_exception(EventLoop& loop);
};

/// The object behind a TimerHandle. asyncio: events.TimerHandle
class TimerHandleState : public HandleState {
 public:
  TimerHandleState(double when, EventLoop& loop) : when_(when), loop_(&loop) {}
  /// The loop time at which it is due, in seconds.
  double when() const noexcept { return when_; }
  /// Also tells the loop that one more of its timers is cancelled. asyncio: events.TimerHandle.cancel
  void cancel_callback() noexcept override;

 private:
  friend class EventLoop;
  double when_;
  EventLoop* loop_;  // valid only while scheduled_, because a loop that closes empties its heap
};

/// A handle that may never run: a task, or the done callback of a future. It and the future may refer to each other;
/// such a cycle upstream leaves to the garbage collector. Here the loop lists these handles and ends them when it
/// closes.
class PendingHandle : public HandleState, public Link {
 public:
  /// The id of a done callback; for a task an id that no callback has.
  virtual CallbackId id() const noexcept { return CallbackId{}; }
  /// The future it waits for is done.
  virtual void future_done(const AnyFuture&) noexcept {}
  /// The task or gather that waits by means of this handle; null if unknown.
  virtual AnyFuture awaiter() const noexcept;
  /// The loop is closed: releases everything that it holds.
  virtual void end_with_loop() noexcept;

  Ref<PendingHandle> next_callback;  // of the future for which this one waits, see DoneCallbacks
};

/// A handle that contains the callable and its arguments, so that call_soon makes one allocation. The arguments are
/// passed as lvalues.
template <class Base, class F, class... Args> class CallbackHandle final : public Base {
 public:
  template <class Bound, class... BaseArgs> explicit CallbackHandle(Bound&& bound, BaseArgs&&... base)
      : Base(std::forward<BaseArgs>(base)...), bound_(std::in_place, std::forward<Bound>(bound)) {}
  std::string repr() const override { return "<Handle " + demangle(typeid(F).name()) + ">"; }

 private:
  void callback() override {
    std::apply([](F& f, Args&... args) { static_cast<void>(std::invoke(f, args...)); }, *bound_);
  }
  void drop_callback() noexcept override {
    if (!std::exchange(this->dropped_, true)) bound_.reset();
  }
  void unreferenced() noexcept override { delete this; }  // the type is known here: one virtual call instead of three

  std::optional<std::tuple<F, Args...>> bound_;
};

/// A handle derived from Base, made with the arguments `base`. `bound` is a tuple of references to the callable and its
/// arguments, which are copied or moved into the handle.
template <class Base, class F, class... Args, class... BaseArgs>
Ref<Base> make_bound_handle(std::tuple<F, Args...> bound, BaseArgs&&... base) {
  using Callback = CallbackHandle<Base, std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>&...>,
                "this callback cannot be called with these arguments: they are stored by value and passed as lvalues");
  return Ref<Base>(new Callback(std::move(bound), std::forward<BaseArgs>(base)...));
}

/// A handle that calls f(args...).
template <class Base = HandleState, class F, class... Args> Ref<Base> make_handle(F&& f, Args&&... args) {
  return make_bound_handle<Base>(std::forward_as_tuple(std::forward<F>(f), std::forward<Args>(args)...));
}

/// A reference to a scheduled callback, or null. Returned by call_soon. Cheap to copy; == compares identity. It may
/// outlive the loop, and only the loop's thread may use it. asyncio: events.Handle
class Handle {
 public:
  Handle() = default;
  explicit Handle(Ref<HandleState> state) noexcept : state_(std::move(state)) {}
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }

  /// The callback will not be called; it and its arguments are destroyed. No effect on a null handle.
  /// asyncio: events.Handle.cancel
  void cancel() const noexcept {
    if (state_) state_->cancel_callback();
  }
  /// Whether cancel() was called. asyncio: events.Handle.cancelled
  bool cancelled() const noexcept { return state_ && state_->cancelled(); }
  std::string repr() const { return state_ ? state_->repr() : "<Handle null>"; }
  /// The object, or null. A program that has its own HandleState finds it again, as in ExceptionContext::handle.
  HandleState* state() const noexcept { return state_.get(); }
  friend bool operator==(const Handle&, const Handle&) = default;

 protected:
  Ref<HandleState> state_;
};

/// A Handle of a timer. Returned by call_later and call_at. asyncio: events.TimerHandle
class TimerHandle : public Handle {
 public:
  using Handle::Handle;
  /// The loop time at which it is due, in seconds. asyncio: events.TimerHandle.when
  double when() const noexcept { return state_ ? static_cast<TimerHandleState&>(*state_).when() : 0; }
};

/// A reference to a future or task of any result type, or null; the loop knows futures and tasks only in this form. ==
/// compares identity. Only the thread of the loop may use it. On a null reference every method except repr() and
/// state() raises RuntimeError. The methods are defined in future/. asyncio: futures.Future
class AnyFuture {
 public:
  AnyFuture() = default;
  explicit AnyFuture(FutureState* state) noexcept;
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }

  /// Whether it has a result or an exception, or was cancelled.
  bool done() const;
  /// Whether it was cancelled. A task counts as cancelled only when its coroutine has ended with a CancelledError.
  bool cancelled() const;
  /// The exception; null if there is a result. Raises InvalidStateError while pending, CancelledError if cancelled.
  std::exception_ptr exception() const;
  /// Cancels a future at once; asks a task to raise CancelledError in its coroutine. `message` is the what() of that
  /// error. Returns false if it is already done.
  bool cancel(std::string message = {}) const;
  /// Calls f(AnyFuture) through call_soon when the future is done, also if it is already done. `awaiter` is the task or
  /// gather that waits by means of f, for task/debug/graph.hpp. RuntimeError if the loop is closed.
  template <class F> CallbackId add_done_callback(F f, AnyFuture awaiter = {}) const;
  /// Removes a callback that was not scheduled yet. Returns how many were removed: 0 or 1.
  std::size_t remove_done_callback(CallbackId id) const;
  /// The loop it belongs to. RuntimeError "Event loop is closed" if the loop was destroyed.
  EventLoop& get_loop() const;
  /// "<Future pending>", "<Task finished name='Task-1'>" …; "<Future null>" for a null reference.
  std::string repr() const;

  friend bool operator==(const AnyFuture& a, const AnyFuture& b) noexcept { return a.state_ == b.state_; }
  /// The context in which a task runs; null for a future, and while the task runs a step.
  /// asyncio: tasks.Task.get_context
  Ref<ContextState> context() const;
  /// The object, or null.
  FutureState* state() const noexcept;
  /// The object. RuntimeError if the reference is null or was moved from.
  FutureState& checked() const;

 protected:
  [[noreturn]] static void throw_null();

  Ref<Counted> state_;
};

/// What an exception handler is told. Members that are unknown are null.
struct ExceptionContext {
  std::string message;
  std::exception_ptr exception{};
  AnyFuture future{};
  Handle handle{};
};

/// Writes the message and the error to std::cerr; if memory is exhausted, only the message.
void log_error(const char* message, const ExceptionContext& context) noexcept;

/// The loop that runs in this thread. RuntimeError "no running event loop" if there is none.
/// asyncio: events.get_running_loop
EventLoop& get_running_loop();
/// The same, but null if there is none. asyncio: events._get_running_loop
EventLoop* get_running_loop_or_null() noexcept;
/// Called by run_forever. asyncio: events._set_running_loop
void set_running_loop(EventLoop* loop) noexcept;
/// The running loop, else the loop that was set for this thread. In the main thread, if set_event_loop() was never
/// called, else a new loop, which lives until the program ends. Otherwise RuntimeError. asyncio: events.get_event_loop
EventLoop& get_event_loop();
/// Sets this thread's loop, without owning it; nullptr: none. A loop that is destroyed in this thread is no longer set.
/// asyncio: events.set_event_loop
void set_event_loop(EventLoop* loop) noexcept;
/// If `loop` is set for this thread, sets none.
void unset_event_loop(const EventLoop* loop) noexcept;
/// Whether this is the main thread, in which alone signal handlers can be added.
bool in_main_thread() noexcept;
/// A new loop with a DefaultSelector. asyncio: events.new_event_loop
std::unique_ptr<EventLoop> new_event_loop();
/// The loop that get_event_loop() makes for the main thread.
EventLoop& loop_of_main_thread();

}  // namespace asyncio

template <> struct std::hash<asyncio::AnyFuture> {
  std::size_t operator()(const asyncio::AnyFuture& future) const noexcept {
    return std::hash<const void*>()(future.state());
  }
};
