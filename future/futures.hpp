// A future: a result that will be set later. Upstream counterpart: Lib/asyncio/futures.py.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "future/exceptions.hpp"
#include "loop/base_events.hpp"

namespace asyncio {

/// The type that stores a result of type T: NoneType for void.
template <class T> using Stored = std::conditional_t<std::is_void_v<T>, NoneType, T>;

/// Whether a result can be copied. A container claims to be copyable even if its items are not, and so does a pair or
/// tuple that holds one.
template <class T> inline constexpr bool copyable = std::copy_constructible<T>;
template <template <class...> class C, class... T>
requires requires { typename C<T...>::allocator_type; } || requires {
  typename std::tuple_size<C<T...>>::type;
}
inline constexpr bool copyable<C<T...>> = (copyable<T> && ...);

/// A done callback of a future. It is in the future's list until the future is done, then in the loop's queue.
class DoneCallback : public PendingHandle {
 public:
  CallbackId id() const noexcept override { return id_; }
  void future_done(const AnyFuture& future) noexcept override;
  AnyFuture awaiter() const noexcept override { return awaiter_; }
  void end_with_loop() noexcept override;

 protected:
  AnyFuture future_;  // null until the future is done, so that the two are no cycle of references

 private:
  friend class FutureState;
  CallbackId id_{};
  AnyFuture awaiter_;
};

/// The done callbacks of a future, in the order in which they were added. Each holds the next one, and the last one the
/// first. So adding one needs no memory: a handle waits for one future at a time.
class DoneCallbacks {
 public:
  DoneCallbacks() = default;
  DoneCallbacks(DoneCallbacks&&) = default;
  ~DoneCallbacks() {
    while (!empty()) popleft();
  }
  bool empty() const noexcept { return !last_; }
  /// The first one, or the one after `callback`; null at the end.
  PendingHandle* next(const PendingHandle* callback = nullptr) const noexcept {
    return callback == last_.get() ? nullptr : (callback ? callback : last_.get())->next_callback.get();
  }
  void append(Ref<PendingHandle> callback) noexcept {
    callback->next_callback = last_ ? std::move(last_->next_callback) : callback;
    if (last_) last_->next_callback = callback;
    last_ = std::move(callback);
  }
  Ref<PendingHandle> popleft() noexcept {
    Ref<PendingHandle> first = std::move(last_->next_callback);
    first == last_ ? last_ = nullptr : last_->next_callback = std::move(first->next_callback);
    return first;
  }

 private:
  Ref<PendingHandle> last_;
};

/// The object behind a Future: everything that does not depend on the type of the result. asyncio: futures.Future
class FutureState : public Counted {
 public:
  explicit FutureState(EventLoop& loop) noexcept : anchor_(loop.anchor()) {}

  /// RuntimeError "Event loop is closed" if the loop was destroyed. asyncio: futures.Future.get_loop
  EventLoop& get_loop() const { return anchor_->get_loop(); }
  bool is_of(const EventLoop& loop) const noexcept { return anchor_->loop == &loop; }

  /// Not pending any more. asyncio: futures.Future.done
  bool done() const noexcept { return state_ != State::pending; }
  /// asyncio: futures.Future.cancelled
  bool cancelled() const noexcept { return state_ == State::cancelled; }
  /// Returns false if it is already done. asyncio: futures.Future.cancel
  virtual bool cancel(std::string message = {});
  /// Null if there is a result; raises InvalidStateError or CancelledError. asyncio: futures.Future.exception
  std::exception_ptr exception();
  /// Raises what result() raises; returns if there is a result. asyncio: futures.Future.result
  void check_result();
  /// What to throw at an await: the exception, a CancelledError, or null for a result. Must be done.
  std::exception_ptr outcome();

  /// The first time, the CancelledError that ended a task; afterwards, and for a future, a new one with the message of
  /// cancel().
  /// asyncio: futures.Future._make_cancelled_error
  std::exception_ptr make_cancelled_error();
  /// A new CancelledError with the message of cancel().
  std::exception_ptr cancelled_error() const;

  /// For the public set_result and set_exception: InvalidStateError if it is done. A task always raises RuntimeError.
  /// `method` is the name of the caller.
  virtual void check_settable(const char* method) const;
  /// Constructs the result from `value` and schedules the callbacks. asyncio: futures.Future.set_result
  template <class T, class... Value> void set_result(Value&&... value) {
    if constexpr (!std::is_void_v<T>) {
      static_cast<std::optional<T>*>(slot())->emplace(std::forward<Value>(value)...);
    }
    state_ = State::finished;
    schedule_callbacks();
  }
  /// ValueError if the pointer is null. asyncio: futures.Future.set_exception
  void set_exception(std::exception_ptr exception);

  /// RuntimeError if the loop is closed. asyncio: futures.Future.add_done_callback
  CallbackId add_done_callback(const Ref<DoneCallback>& callback, AnyFuture awaiter = {});
  /// Returns how many were removed: 0 or 1. asyncio: futures.Future.remove_done_callback
  std::size_t remove_done_callback(CallbackId id);
  /// Adds a waiting task, which is its own done callback. The loop already lists the task.
  void add_waiter(Ref<PendingHandle> task) noexcept { callbacks_.append(std::move(task)); }
  /// The tasks that wait for it, and its done callbacks.
  const DoneCallbacks& callbacks() const noexcept { return callbacks_; }

  /// asyncio: base_futures._future_repr
  virtual std::string repr() const;
  virtual const char* class_name() const noexcept { return "Future"; }
  virtual const char* state_name() const noexcept;
  virtual std::string details() const { return ""; }
  virtual TaskState* as_task() noexcept { return nullptr; }
  virtual Ref<ContextState> context() const { return nullptr; }
  /// Points to the std::optional<Stored<T>> of the subclass; null for void.
  virtual void* slot() noexcept = 0;

 protected:
  /// Reports an exception that nobody retrieved. asyncio: futures.Future.__del__
  void unreferenced() noexcept override;
  /// Reports to the loop's exception handler, or to std::cerr if the loop was destroyed.
  void report(const char* message, std::exception_ptr exception) noexcept;
  /// Becomes cancelled without calling its callbacks, because the loop is closed.
  void end_with_loop() noexcept;
  std::string cancel_message() const { return cancel_message_ ? *cancel_message_ : std::string(); }
  void set_cancel_message(std::string message);

 private:
  enum class State : std::uint8_t { pending, cancelled, finished };
  void schedule_callbacks();

  State state_ = State::pending;
  bool log_traceback_ = false;  // there is an exception that was never retrieved

 protected:
  Ref<LoopAnchor> anchor_;
  std::exception_ptr exception_;  // if finished, that of set_exception; if cancelled, the coroutine's CancelledError

 private:
  std::unique_ptr<std::string> cancel_message_;  // null: none
  DoneCallbacks callbacks_;
};

/// Base, with storage for a result of type T.
template <class T, class Base> class WithResult : public Base {
 public:
  using Base::Base;
  void* slot() noexcept override { return &result_; }

 private:
  std::optional<Stored<T>> result_;
};

/// A future of void stores no value.
template <class Base> class WithResult<void, Base> : public Base {
 public:
  using Base::Base;
  void* slot() noexcept override { return nullptr; }
};

/// The DoneCallback that calls f(Argument).
template <class F, class Argument> class DoneCallbackOf final : public DoneCallback {
 public:
  explicit DoneCallbackOf(F f) : f_(std::in_place, std::move(f)) {}
  std::string repr() const override { return "<Handle " + demangle(typeid(F).name()) + ">"; }

 private:
  void callback() override { static_cast<void>(std::invoke(*f_, Argument(future_.state()))); }
  void drop_callback() noexcept override {
    if (!std::exchange(dropped_, true)) f_.reset();
  }

  std::optional<F> f_;
};

/// A reference to a result that will be set once, later. Cheap to copy; == compares identity. The object lives as long
/// as there is a reference to it, and may outlive its loop. Only the thread of the loop may use it. A Future that is
/// made from a Task refers to the same task. asyncio: futures.Future
template <class T> class Future : public AnyFuture {
  static_assert(!std::is_reference_v<T>, "a Future holds a value: use std::reference_wrapper or a pointer");

 public:
  using value_type = T;

  /// A pending future of get_event_loop(). asyncio: futures.Future.__init__
  Future() : Future(get_event_loop()) {}
  /// A pending future of `loop`.
  explicit Future(EventLoop& loop) : AnyFuture(new WithResult<T, FutureState>(loop)) {}
  explicit Future(FutureState* state) noexcept : AnyFuture(state) {}

  /// A copy of the value. Raises InvalidStateError while pending, CancelledError if cancelled, or the exception that
  /// was set. asyncio: futures.Future.result
  T result() const requires(std::is_void_v<T> || copyable<T>) {
    checked().check_result();
    if constexpr (!std::is_void_v<T>) return *slot();
  }
  /// The same, but moves the value out of the future. Call it only once.
  T take_result() const {
    checked().check_result();
    if constexpr (!std::is_void_v<T>) return std::move(*slot());
  }
  /// Moves the value out if it cannot be copied or if this is the only reference; else copies it.
  T consume_result() const {
    if constexpr (copyable<T>) {
      if (state()->references() > 1) return result();
    }
    return take_result();
  }
  /// Sets the result and schedules the done callbacks. InvalidStateError if it is done, RuntimeError for a task.
  /// asyncio: futures.Future.set_result
  template <class U = T> void set_result(U&& value) const
      requires(!std::is_void_v<T> && std::is_constructible_v<Stored<T>, U>) {
    checked().check_settable("set_result");
    state()->template set_result<T>(std::forward<U>(value));
  }
  void set_result() const requires std::is_void_v<T> {
    checked().check_settable("set_result");
    state()->template set_result<void>();
  }
  /// The same with an exception object or a std::exception_ptr. ValueError if the pointer is null.
  /// asyncio: futures.Future.set_exception
  void set_exception(std::exception_ptr exception) const {
    checked().check_settable("set_exception");
    state()->set_exception(std::move(exception));
  }
  template <class E> void set_exception(E error) const requires(!std::convertible_to<E, std::exception_ptr>) {
    set_exception(std::make_exception_ptr(std::move(error)));
  }
  /// Calls f(Future<T>) through call_soon when the future is done, also if it is already done. RuntimeError if the loop
  /// is closed. asyncio: futures.Future.add_done_callback
  template <class F> CallbackId add_done_callback(F f) const {
    static_assert(std::is_invocable_v<F&, Future<T>>, "a done callback is called with its future: f(Future<T>)");
    return checked().add_done_callback(make_ref<DoneCallbackOf<F, Future<T>>>(std::move(f)));
  }

 private:
  std::optional<Stored<T>>& slot() const noexcept { return *static_cast<std::optional<Stored<T>>*>(checked().slot()); }
};

inline AnyFuture::AnyFuture(FutureState* state) noexcept : state_(state) {}
inline FutureState* AnyFuture::state() const noexcept { return static_cast<FutureState*>(state_.get()); }
inline FutureState& AnyFuture::checked() const {
  if (!state_) throw_null();
  return *state();
}
inline bool AnyFuture::done() const { return checked().done(); }
inline bool AnyFuture::cancelled() const { return checked().cancelled(); }

template <class F> CallbackId AnyFuture::add_done_callback(F f, AnyFuture awaiter) const {
  return checked().add_done_callback(make_ref<DoneCallbackOf<F, AnyFuture>>(std::move(f)), std::move(awaiter));
}

template <class T> Future<T> EventLoop::create_future() { return Future<T>(*this); }

/// Sets the result unless the future was cancelled. asyncio: futures._set_result_unless_cancelled
template <class T, class... Value> void set_result_unless_cancelled(const Future<T>& future, Value&&... value) {
  if (!future.cancelled()) future.set_result(std::forward<Value>(value)...);
}

}  // namespace asyncio

template <class T> struct std::hash<asyncio::Future<T>> : std::hash<asyncio::AnyFuture> {};
