// A result that is not there yet. Upstream counterpart: Lib/asyncio/futures.py.
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

/// How a result of type T is kept: a future without a value keeps a None.
template <class T> using Stored = std::conditional_t<std::is_void_v<T>, NoneType, T>;

/// Can a result be copied? A container says yes of whatever it holds; so does the pair or tuple that a container is in.
template <class T> inline constexpr bool copyable = std::copy_constructible<T>;
template <template <class...> class C, class... T>
requires requires { typename C<T...>::allocator_type; } || requires {
  typename std::tuple_size<C<T...>>::type;
}
inline constexpr bool copyable<C<T...>> = (copyable<T> && ...);

/// A done callback of a future: a handle that is told at the end which future it was. It stands in the future's list,
/// then in the loop's queue.
class DoneCallback : public PendingHandle {
 public:
  CallbackId id() const noexcept override { return id_; }
  void future_done(const AnyFuture& future) noexcept override;
  AnyFuture awaiter() const noexcept override { return awaiter_; }
  void end_with_loop() noexcept override;

 protected:
  AnyFuture future_;  // null until it is done: no cycle of references

 private:
  friend class FutureState;
  CallbackId id_{};
  AnyFuture awaiter_;
};

/// A future, the object: everything that does not depend on the type of the result. asyncio: futures.Future
class FutureState : public Counted {
 public:
  explicit FutureState(EventLoop& loop) noexcept : anchor_(loop.anchor()) {}

  /// RuntimeError "Event loop is closed" when the loop is gone. asyncio: futures.Future.get_loop
  EventLoop& get_loop() const { return anchor_->get_loop(); }
  bool is_of(const EventLoop& loop) const noexcept { return anchor_->loop == &loop; }

  /// asyncio: futures.Future.done
  bool done() const noexcept { return state_ != State::pending; }
  /// asyncio: futures.Future.cancelled
  bool cancelled() const noexcept { return state_ == State::cancelled; }
  /// asyncio: futures.Future.cancel
  virtual bool cancel(std::string message = {});
  /// asyncio: futures.Future.exception
  std::exception_ptr exception();
  /// Returns if there is a result; else raises as result() does. asyncio: futures.Future.result
  void check_result();
  /// What an awaiter is to be thrown: the exception, a CancelledError, or null for a result. Only when done.
  std::exception_ptr outcome();

  /// The CancelledError that ended a task, once; then, and for a future, a new one with the message of cancel().
  /// asyncio: futures.Future._make_cancelled_error
  std::exception_ptr make_cancelled_error();
  /// A new CancelledError with the message of cancel().
  std::exception_ptr cancelled_error() const;

  /// The guard of the public set_result and set_exception: InvalidStateError if it is done; a task refuses. `method` is
  /// the caller's name.
  virtual void check_settable(const char* method) const;
  /// asyncio: futures.Future.set_result
  template <class T, class... Value> void set_result(Value&&... value) {
    if constexpr (!std::is_void_v<T>) {
      static_cast<std::optional<T>*>(slot())->emplace(std::forward<Value>(value)...);
    }
    state_ = State::finished;
    schedule_callbacks();
  }
  /// asyncio: futures.Future.set_exception
  void set_exception(std::exception_ptr exception);

  /// asyncio: futures.Future.add_done_callback
  CallbackId add_done_callback(const Ref<DoneCallback>& callback, AnyFuture awaiter = {});
  /// asyncio: futures.Future.remove_done_callback
  std::size_t remove_done_callback(CallbackId id);
  /// A task that waits: its wakeup is the done callback. The loop lists the task, so that it need not list this.
  void add_waiter(Ref<PendingHandle> task) { callbacks_.push_back(std::move(task)); }
  /// Who waits for it.
  const std::vector<Ref<PendingHandle>>& callbacks() const noexcept { return callbacks_; }

  /// asyncio: base_futures._future_repr
  virtual std::string repr() const;
  virtual const char* class_name() const noexcept { return "Future"; }
  virtual const char* state_name() const noexcept;
  virtual std::string details() const { return ""; }
  virtual TaskState* as_task() noexcept { return nullptr; }
  virtual Ref<ContextState> context() const { return nullptr; }
  /// The std::optional<Stored<T>> of the subclass.
  virtual void* slot() noexcept = 0;

 protected:
  /// Reports an exception that nobody retrieved. asyncio: futures.Future.__del__
  void unreferenced() noexcept override;
  /// Tells the loop's exception handler, or std::cerr if there is no loop any more. Nothing comes out.
  void report(const char* message, std::exception_ptr exception) noexcept;
  /// Cancelled, and nobody is told: there is no loop any more.
  void end_with_loop() noexcept;
  std::string cancel_message() const { return cancel_message_ ? *cancel_message_ : std::string(); }
  void set_cancel_message(std::string message);

 private:
  enum class State : std::uint8_t { pending, cancelled, finished };
  void schedule_callbacks();

  State state_ = State::pending;
  bool log_traceback_ = false;  // an exception is set that nobody has looked at

 protected:
  Ref<LoopAnchor> anchor_;
  std::exception_ptr exception_;  // finished: of set_exception; cancelled: the CancelledError that ended a coroutine

 private:
  std::unique_ptr<std::string> cancel_message_;  // null: none
  std::vector<Ref<PendingHandle>> callbacks_;
};

/// Base, with the slot for a result of type T.
template <class T, class Base> class WithResult : public Base {
 public:
  using Base::Base;
  void* slot() noexcept override { return &result_; }

 private:
  std::optional<Stored<T>> result_;
};

/// Without a value there is no slot, either.
template <class Base> class WithResult<void, Base> : public Base {
 public:
  using Base::Base;
  void* slot() noexcept override { return nullptr; }
};

/// What Future::add_done_callback makes of a callable.
template <class F, class Argument> class DoneCallbackOf final : public DoneCallback {
 public:
  explicit DoneCallbackOf(F f) : f_(std::in_place, std::move(f)) {}
  std::string repr() const override { return "<Handle " + demangle(typeid(F).name()) + ">"; }

 private:
  void callback() override { static_cast<void>(std::invoke(*f_, Argument(future_.state()))); }
  void drop_callback() noexcept override { f_.reset(); }

  std::optional<F> f_;
};

/// A reference to a result that will be set later, once. Cheap to copy; == is identity; the object lives
/// while a reference to it exists, also longer than its loop. Made from a task it is still that task.
/// asyncio: futures.Future
template <class T> class Future : public AnyFuture {
  static_assert(!std::is_reference_v<T>, "a Future holds a value: use std::reference_wrapper or a pointer");

 public:
  using value_type = T;

  /// Pending, on get_event_loop(). asyncio: futures.Future.__init__
  Future() : Future(get_event_loop()) {}
  explicit Future(EventLoop& loop) : AnyFuture(new WithResult<T, FutureState>(loop)) {}
  explicit Future(FutureState* state) noexcept : AnyFuture(state) {}

  /// A copy of the value. Raises InvalidStateError while pending, CancelledError, or the exception that was
  /// set. asyncio: futures.Future.result
  T result() const requires(std::is_void_v<T> || copyable<T>) {
    checked().check_result();
    if constexpr (!std::is_void_v<T>) return *slot();
  }
  /// The same, moved out: the future is to be forgotten afterwards.
  T take_result() const {
    checked().check_result();
    if constexpr (!std::is_void_v<T>) return std::move(*slot());
  }
  /// Moved out if it cannot be copied or nobody else holds the future, else a copy.
  T consume_result() const {
    if constexpr (copyable<T>) {
      if (state()->references() > 1) return result();
    }
    return take_result();
  }
  /// InvalidStateError if done; RuntimeError for a task. asyncio: futures.Future.set_result
  template <class U = T> void set_result(U&& value) const
      requires(!std::is_void_v<T> && std::is_constructible_v<Stored<T>, U>) {
    checked().check_settable("set_result");
    state()->template set_result<T>(std::forward<U>(value));
  }
  void set_result() const requires std::is_void_v<T> {
    checked().check_settable("set_result");
    state()->template set_result<void>();
  }
  /// The same with an exception object or a std::exception_ptr, which must not be null.
  /// asyncio: futures.Future.set_exception
  void set_exception(std::exception_ptr exception) const {
    checked().check_settable("set_exception");
    state()->set_exception(std::move(exception));
  }
  template <class E> void set_exception(E error) const requires(!std::convertible_to<E, std::exception_ptr>) {
    set_exception(std::make_exception_ptr(std::move(error)));
  }
  /// f(Future<T>) is called through call_soon when the future is done, also if it is done already.
  /// asyncio: futures.Future.add_done_callback
  template <class F> CallbackId add_done_callback(F f) const {
    static_assert(std::is_invocable_v<F&, Future<T>>,
                  "a done callback is called with the future that is done: f(Future<T>)");
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

/// asyncio: futures._set_result_unless_cancelled
template <class T, class... Value> void set_result_unless_cancelled(const Future<T>& future, Value&&... value) {
  if (!future.cancelled()) future.set_result(std::forward<Value>(value)...);
}

}  // namespace asyncio

template <class T> struct std::hash<asyncio::Future<T>> : std::hash<asyncio::AnyFuture> {};
