// What `async def` makes: a lazy coroutine, which is resumed with send() and throw_().
// Upstream counterpart: Objects/genobject.c and Lib/asyncio/coroutines.py.
#pragma once

#include <concepts>
#include <coroutine>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "future/futures.hpp"

namespace asyncio {

class CoroutineBase;

/// What is known of one coroutine frame; the base class of its promise. asyncio: genobject.c PyCoroObject
struct Frame {
  std::coroutine_handle<> handle{};
  Frame* caller = nullptr;            // the frame that awaits this one, which is resumed when this one has returned
  CoroutineBase* cr_await = nullptr;  // the coroutine that this one awaits (upstream's name)
  FutureState* yielded = nullptr;     // the future that this one awaits; null: a bare yield
  std::exception_ptr exception{};     // to be thrown at the await; at the end, the exception of the body
  std::source_location where{};       // of the latest await; before the first one, of the function
  bool running = false;               // being resumed now (set in the outermost frame of a chain)
  bool started = false;

  /// Whether this is a coroutine of the library that upstream does not have. The names of these end with an underscore.
  bool is_internal() const;
  /// This frame, or, if it is internal, the first frame in the chain of awaits that is not.
  const Frame& of_program() const;
  /// Raises the exception that throw_() has left, if there is one.
  [[gnu::always_inline]] void rethrow_thrown() {
    if (exception) std::rethrow_exception(std::exchange(exception, nullptr));
  }
};

/// A coroutine without the type of its result. It owns the frame, and runs only when send() or throw_() is called.
/// asyncio: genobject.c PyCoroObject
class CoroutineBase {
 public:
  CoroutineBase() = default;
  explicit CoroutineBase(Frame& frame) noexcept : frame_(&frame) {}
  CoroutineBase(CoroutineBase&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  CoroutineBase& operator=(CoroutineBase&& other) noexcept {
    CoroutineBase old(std::move(other));
    std::swap(frame_, old.frame_);
    return *this;
  }
  /// Destroys the frame and those of the coroutines that it awaits, innermost first.
  ~CoroutineBase() {
    if (!frame_) return;
    frame_->cr_await ? destroy_chain() : frame_->handle.destroy();
  }

  /// Runs to the next yield. Returns the future that is awaited, null for a bare yield, or nullopt if the body has
  /// returned. Raises what the body throws. RuntimeError if it had already ended, ValueError if it is running.
  /// asyncio: genobject.c gen_send
  std::optional<AnyFuture> send();
  /// The same, but first raises the exception at the await. A body that has not started never runs.
  /// asyncio: genobject.c gen_throw
  std::optional<AnyFuture> throw_(std::exception_ptr exception);
  /// Whether the body has ended, or the coroutine was moved from or awaited.
  bool done() const noexcept { return !frame_ || frame_->handle.done(); }

  Frame* frame() const noexcept { return frame_; }
  /// The suspended frame at the end of the chain of awaits.
  Frame* innermost() const noexcept;
  /// send() for a caller that remembers the innermost frame, so that it need not be searched each time. Returns true if
  /// the coroutine awaits innermost->yielded, false if the body has returned.
  bool send(Frame*& innermost);
  /// The same for throw_().
  bool throw_(std::exception_ptr exception, Frame*& innermost);
  /// Gives up the frame to a task or awaiter. RuntimeError if it was already awaited, is running or was moved from.
  Frame& take() {
    if (!frame_ || frame_->started) throw_cannot_take();
    return *std::exchange(frame_, nullptr);
  }
  void destroy_chain() noexcept;
  void warn_never_awaited() const noexcept;

 private:
  [[noreturn]] void throw_cannot_take() const;

  Frame* frame_ = nullptr;
};

/// How `co_await coroutine` works: its frame becomes the innermost one.
template <class T> class CoroutineAwaiter {
 public:
  CoroutineAwaiter(Frame& awaiting, CoroutineBase& coroutine) : awaiting_(awaiting), child_(coroutine.take()) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) noexcept {
    child_.frame()->caller = &awaiting_;
    awaiting_.cr_await = &child_;
  }
  T await_resume();

 private:
  Frame& awaiting_;
  CoroutineBase child_;
};

/// How `co_await future` works. The six lines of upstream's method are three members here. The result of an rvalue is
/// moved out if it cannot be copied or if this is the only reference. asyncio: futures.Future.__await__
template <class T, bool IsRvalue> class FutureAwaiter {
  static_assert(IsRvalue || std::is_void_v<T> || copyable<T>, "it can only be moved: write co_await std::move(future)");

 public:
  FutureAwaiter(Frame& awaiting, Future<T> future) noexcept : awaiting_(awaiting), future_(std::move(future)) {}
  /// Upstream's `if not self.done():`.
  bool await_ready() const { return future_.done(); }
  /// Upstream's `yield self`: send() returns the future to the task.
  void await_suspend(std::coroutine_handle<>) noexcept { awaiting_.yielded = future_.state(); }
  /// When resumed: raises what throw_() was given. Then upstream's `if not self.done(): raise` and `return
  /// self.result()`.
  T await_resume() {
    awaiting_.rethrow_thrown();
    if (!future_.done()) throw RuntimeError("await wasn't used with future");
    if constexpr (IsRvalue) {
      return future_.consume_result();
    } else {
      return future_.result();
    }
  }

 private:
  Frame& awaiting_;
  Future<T> future_;
};

/// What sleep(0) awaits: it suspends for one iteration and waits for nothing. It is also the initial suspension of
/// every coroutine.
struct BareYield {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) noexcept { awaiting->yielded = nullptr; }
  void await_resume() { awaiting->rethrow_thrown(); }

  Frame* awaiting = nullptr;
};

template <class C>
requires std::derived_from<std::remove_cvref_t<C>, CoroutineBase>
auto make_awaiter(Frame& awaiting, C&& coroutine) {
  return CoroutineAwaiter<typename std::remove_cvref_t<C>::value_type>(awaiting, coroutine);
}
template <class T> auto make_awaiter(Frame& awaiting, Future<T>&& future) {
  return FutureAwaiter<T, true>(awaiting, std::move(future));
}
template <class T> auto make_awaiter(Frame& awaiting, const Future<T>& future) {
  return FutureAwaiter<T, false>(awaiting, future);
}
inline auto make_awaiter(Frame& awaiting, BareYield) { return BareYield{&awaiting}; }

/// The part of the promise that does not depend on the result.
class PromiseBase : public Frame {
 public:
  static void* operator new(std::size_t size) { return Pool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { Pool::release(memory, size); }

  BareYield initial_suspend() noexcept { return BareYield{this}; }
  std::suspend_always final_suspend() noexcept { return {}; }
  void unhandled_exception() { exception = caught_exception(); }

  template <class Awaitable>
  auto await_transform(Awaitable&& awaitable, std::source_location at = std::source_location::current()) {
    constexpr bool known = requires { make_awaiter(*this, std::forward<Awaitable>(awaitable)); };
    static_assert(known, "co_await needs an asyncio Coroutine, Future or Task: this is none of them");
    where = at;
    if constexpr (known) {
      return make_awaiter(*this, std::forward<Awaitable>(awaitable));
    } else {
      return std::suspend_never();  // so that no further errors follow the one above
    }
  }
};

/// The promise, without return_value() and return_void(), which may not both be declared.
template <class T> class PromiseOf : public PromiseBase {
 public:
  explicit PromiseOf(const std::source_location& at) { where = at; }
  Coroutine<T> get_return_object() noexcept;
  /// Returns what the body returned, moved out, or raises what it threw.
  T result() {
    if (exception) std::rethrow_exception(exception);
    if constexpr (!std::is_void_v<T>) return std::move(*value_);
  }

 protected:
  std::optional<Stored<T>> value_;
};

template <class T> class Promise final : public PromiseOf<T> {
 public:
  explicit Promise(std::source_location at = std::source_location::current()) : PromiseOf<T>(at) {}
  template <class U = T> void return_value(U&& value) requires std::is_constructible_v<T, U> {
    this->value_.emplace(std::forward<U>(value));
  }
};
template <> class Promise<void> final : public PromiseOf<void> {
 public:
  explicit Promise(std::source_location at = std::source_location::current()) : PromiseOf<void>(at) {}
  void return_void() noexcept {}
};

/// What a coroutine function returns. It is lazy: the body runs when it is awaited or wrapped in a task. Move-only.
/// RuntimeError if it is awaited twice, or after it was moved from. asyncio: coroutines.iscoroutine
template <class T> class [[nodiscard]] Coroutine : public CoroutineBase {
  static_assert(!std::is_reference_v<T>, "a Coroutine returns a value: use std::reference_wrapper or a pointer");

 public:
  using promise_type = Promise<T>;
  using value_type = T;

  Coroutine() = default;
  explicit Coroutine(promise_type& promise) noexcept : CoroutineBase(promise) {}
  Coroutine(Coroutine&&) = default;
  Coroutine& operator=(Coroutine&&) = default;
  /// In debug mode warns if it was never awaited. asyncio: genobject.c _PyGen_Finalize
  ~Coroutine() {
    if (frame() && !frame()->started) warn_never_awaited();
  }
  /// Returns what the body returned, moved out, or raises what it threw. InvalidStateError if it has not ended.
  T result() {
    if (!frame() || !done()) throw InvalidStateError("the coroutine has not returned yet");
    return static_cast<promise_type*>(frame())->result();
  }
};

template <class T> Coroutine<T> PromiseOf<T>::get_return_object() noexcept {
  auto& promise = static_cast<Promise<T>&>(*this);
  handle = std::coroutine_handle<Promise<T>>::from_promise(promise);
  return Coroutine<T>(promise);
}

template <class T> T CoroutineAwaiter<T>::await_resume() {
  awaiting_.cr_await = nullptr;
  return static_cast<Promise<T>*>(child_.frame())->result();
}

}  // namespace asyncio
