// Several awaitables at once. Upstream counterpart: Lib/asyncio/tasks.py, from wait() on.
#pragma once

#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "task/sync/queues.hpp"
#include "task/sync/timeouts.hpp"

namespace asyncio {

/// A result of type T, or the exception that stands for it with return_exceptions.
template <class T> using Outcome = std::variant<Stored<T>, std::exception_ptr>;
/// The type of the result of a Coroutine, Future, Task or callable.
template <class A> using ResultOf = typename decltype(ensure_future(std::declval<A>()))::value_type;

/// Options of gather.
struct GatherOptions {
  bool return_exceptions = false;  // put exceptions among the results, instead of raising the first one
};

/// The object behind the future that gather returns. cancel() cancels the children; when they are done, so is this.
/// asyncio: tasks._GatheringFuture
class GatheringState : public FutureState {
 public:
  GatheringState(EventLoop& loop, std::vector<AnyFuture> children, bool return_exceptions)
      : FutureState(loop), children_(std::move(children)), return_exceptions_(return_exceptions) {}
  /// ValueError if the children are of different loops. asyncio: tasks.gather
  void start();
  bool cancel(std::string message = {}) override;
  const std::vector<AnyFuture>& children() const noexcept { return children_; }

 protected:
  virtual void set_results() = 0;

 private:
  void done_callback(const AnyFuture& child);

  std::vector<AnyFuture> children_;
  std::size_t nfinished_ = 0;
  bool return_exceptions_;
  bool cancel_requested_ = false;
  bool cancelling_ = false;  // cancel() is running
};

/// How a child's result stands among the others: as it is, or as an Outcome.
template <bool Outcomes, class T> using Among = std::conditional_t<Outcomes, Outcome<T>, Stored<T>>;
template <bool Outcomes, class T> Among<Outcomes, T> result_among(const Future<T>& child) {
  if constexpr (Outcomes) {
    std::exception_ptr exception = child.cancelled() ? child.state()->cancelled_error() : child.state()->outcome();
    if (exception) return Outcome<T>(std::in_place_index<1>, std::move(exception));
    return Outcome<T>(std::in_place_index<0>, result_among<false>(child));
  } else if constexpr (std::is_void_v<T>) {
    return None;
  } else {
    return child.consume_result();
  }
}

template <bool Outcomes, class... T> auto results_of(const std::tuple<Future<T>...>& children) {
  using Results = std::tuple<Among<Outcomes, T>...>;  // named: std::tuple{pair} is a tuple of the pair's two
  return std::apply([](const auto&... child) { return Results(result_among<Outcomes>(child)...); }, children);
}
template <bool Outcomes, class T> auto results_of(const std::vector<Future<T>>& children) {
  std::vector<Among<Outcomes, T>> results;
  results.reserve(children.size());
  for (const Future<T>& child : children) results.push_back(result_among<Outcomes>(child));
  return results;
}

/// A GatheringState that knows the types of the children and results. Typed is a tuple or a vector of futures.
template <bool Outcomes, class Typed> class GatheringOf final
    : public WithResult<decltype(results_of<Outcomes>(std::declval<Typed>())), GatheringState> {
 public:
  using Results = decltype(results_of<Outcomes>(std::declval<Typed>()));
  GatheringOf(EventLoop& loop, std::vector<AnyFuture> children, bool return_exceptions, Typed typed)
      : WithResult<Results, GatheringState>(loop, std::move(children), return_exceptions), typed_(std::move(typed)) {}

 private:
  void set_results() override {
    FutureState::set_result<Results>(results_of<Outcomes>(*typed_));
    typed_.reset();
  }
  std::optional<Typed> typed_;
};

/// Returns a future or task unchanged; wraps a coroutine or callable in a task. The program has no reference to that
/// task, so nothing is reported if it is pending when the loop closes.
template <class A> auto child_future(A&& awaitable) {
  static_assert(
      requires { ensure_future(std::forward<A>(awaitable)); },
      "gather needs Coroutines, Futures, Tasks, or callables that return a Coroutine: this is none of them");
  auto future = ensure_future(std::forward<A>(awaitable));
  constexpr bool was_future = std::is_convertible_v<std::remove_cvref_t<A>, AnyFuture>;
  if constexpr (!was_future) static_cast<TaskState*>(future.state())->set_log_destroy_pending(false);
  return Future<typename decltype(future)::value_type>(std::move(future));
}

template <bool Outcomes, class Typed>
auto gather_children(bool return_exceptions, std::vector<AnyFuture> children, Typed typed) {
  EventLoop& loop = children.empty() ? get_event_loop() : children.front().get_loop();
  using Gathering = GatheringOf<Outcomes, Typed>;
  auto* outer = new Gathering(loop, std::move(children), return_exceptions, std::move(typed));
  Future<typename Gathering::Results> future(outer);
  outer->start();
  return future;
}
template <bool Outcomes, class... T> auto gather_tuple(bool return_exceptions, std::tuple<Future<T>...> typed) {
  auto children = std::apply([](const auto&... child) { return std::vector<AnyFuture>{child...}; }, typed);
  return gather_children<Outcomes>(return_exceptions, std::move(children), std::move(typed));
}
template <bool Outcomes, class A> auto gather_vector(bool return_exceptions, std::vector<A> awaitables) {
  std::vector<Future<ResultOf<A>>> typed;
  for (A& awaitable : awaitables) typed.push_back(child_future(std::move(awaitable)));
  std::vector<AnyFuture> children(typed.begin(), typed.end());
  return gather_children<Outcomes>(return_exceptions, std::move(children), std::move(typed));
}

/// Runs the awaitables concurrently. Returns a Future<std::tuple<…>> of their results in the order given, or for a
/// vector a Future<std::vector<…>>. The first exception is raised at once; the other awaitables run on. ValueError for
/// futures of different loops. asyncio: tasks.gather
template <class... A> auto gather(A&&... awaitables) {  // braces: from left to right
  return gather_tuple<false>(false, std::tuple{child_future(std::forward<A>(awaitables))...});
}
template <class A> auto gather(std::vector<A> awaitables) { return gather_vector<false>(false, std::move(awaitables)); }
/// The same with each result as an Outcome.
template <class... A> auto gather(GatherOptions options, A&&... awaitables) {
  return gather_tuple<true>(options.return_exceptions, std::tuple{child_future(std::forward<A>(awaitables))...});
}
template <class A> auto gather(GatherOptions options, std::vector<A> awaitables) {
  return gather_vector<true>(options.return_exceptions, std::move(awaitables));
}

/// Which event lets wait() return. asyncio: tasks.FIRST_COMPLETED
enum ReturnWhen { FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED };

/// Options of wait and as_completed.
struct WaitOptions {
  std::optional<Delay> timeout{};
  ReturnWhen return_when = ALL_COMPLETED;
};

/// What wait returns, each vector in the order given.
template <class F> struct WaitResult { std::vector<F> done, pending; };

Coroutine<void> wait_until(std::vector<AnyFuture> futures, WaitOptions options);

/// Waits until some or all futures are done, or the timeout has passed. It does not raise their exceptions and cancels
/// none of them. ValueError if the vector is empty. F is Future, Task, AnyFuture or AnyTask. asyncio: tasks.wait
template <std::convertible_to<AnyFuture> F> Coroutine<WaitResult<F>> wait(std::vector<F> fs, WaitOptions options = {}) {
  std::vector<F> unique;
  std::unordered_set<AnyFuture> seen;
  for (F& future : fs) {
    if (seen.insert(future).second) unique.push_back(std::move(future));
  }
  co_await wait_until(std::vector<AnyFuture>(unique.begin(), unique.end()), options);
  WaitResult<F> result;
  for (F& future : unique) (future.done() ? result.done : result.pending).push_back(std::move(future));
  co_return result;
}
/// wait({t1, t2}); g++ 12 refuses such a list inside a co_await expression.
template <std::convertible_to<AnyFuture> F>
Coroutine<WaitResult<F>> wait(std::initializer_list<F> futures, WaitOptions options = {}) {
  return wait(std::vector<F>(futures), options);
}

Coroutine<void> cancel_and_wait(AnyFuture future);

/// Awaits with a time limit. If it passes, cancels the awaitable, waits until that has ended and raises TimeoutError.
/// nullopt: no limit. asyncio: tasks.wait_for
template <class A> Coroutine<ResultOf<A>> wait_for(A awaitable, std::optional<Delay> timeout) {
  if (timeout && timeout->seconds() <= 0) {
    const auto future = ensure_future(std::move(awaitable));
    if (!future.done()) {
      co_await cancel_and_wait(future);
      if (holds<CancelledError>(future.state()->outcome())) throw TimeoutError();
    }
    co_return future.consume_result();
  }
  const auto body = [&]() -> Coroutine<ResultOf<A>> { co_return co_await std::move(awaitable); };
  co_return co_await async_with(asyncio::timeout(timeout), body);
}
template <CoroutineFunction F> auto wait_for(F f, std::optional<Delay> timeout) {
  return wait_for(call_and_keep_(std::move(f)), timeout);
}

/// Gives `outer` the result or exception of `done`, or the exception that copying the result throws.
template <class T> void copy_outcome(const Future<T>& done, const Future<T>& outer) {
  const std::exception_ptr failed = raised_by([&] {
    done.state()->check_result();
    if constexpr (std::is_void_v<T>)
      outer.set_result();
    else
      outer.set_result(done.consume_result());
  });
  if (failed) outer.set_exception(failed);
}

/// A future with the result of the awaitable. Cancelling that future does not cancel the awaitable.
/// asyncio: tasks.shield
template <class A> Future<ResultOf<A>> shield(A&& awaitable) {
  using T = ResultOf<A>;
  const Future<T> inner = ensure_future(std::forward<A>(awaitable));
  if (inner.done()) return inner;
  const Future<T> outer(inner.get_loop());
  const CallbackId inner_callback = inner.add_done_callback([outer](const Future<T>& done) {
    if (outer.cancelled()) {
      if (!done.cancelled()) static_cast<void>(done.exception());  // marks it as retrieved
    } else if (done.cancelled()) {
      outer.cancel();
    } else {
      copy_outcome(done, outer);
    }
  });
  outer.add_done_callback([inner, inner_callback](const Future<T>&) { inner.remove_done_callback(inner_callback); });
  return outer;
}

/// The futures for which as_completed waits; shared by the coroutines that it yields.
class CompletionState : public Counted {
 public:
  void start(const std::vector<AnyFuture>& futures, std::optional<Delay> timeout);
  /// The next future that is done. TimeoutError if the timeout passes first.
  /// asyncio: tasks._AsCompletedIterator._wait_for_one
  Coroutine<AnyFuture> wait_for_one();
  std::size_t size() const noexcept { return size_; }

 private:
  void handle_completion(const AnyFuture& future);
  void handle_timeout();

  Queue<AnyFuture> done_;
  std::unordered_map<AnyFuture, CallbackId> todo_;
  TimerHandle timeout_handle_;
  std::size_t size_ = 0;
};

/// What as_completed returns: a range of coroutines. asyncio: tasks._AsCompletedIterator
template <class T> class AsCompleted {
 public:
  explicit AsCompleted(Ref<CompletionState> state) : state_(std::move(state)), left_(state_->size()) {}

  class Iterator {
   public:
    explicit Iterator(AsCompleted& range) : range_(range) { ++*this; }
    Coroutine<T>& operator*() noexcept { return *next_; }
    Iterator& operator++() {
      next_.reset();
      if (range_.left_ > 0) next_ = wait_for_one(range_.state_);
      if (next_) --range_.left_;
      return *this;
    }
    bool operator==(std::default_sentinel_t) const noexcept { return !next_; }

   private:
    AsCompleted& range_;
    std::optional<Coroutine<T>> next_;
  };
  Iterator begin() { return Iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  static Coroutine<T> wait_for_one(Ref<CompletionState> state) {
    const AnyFuture future = co_await state->wait_for_one();
    co_return Future<T>(future.state()).consume_result();
  }
  Ref<CompletionState> state_;
  std::size_t left_;
};

/// A range of as many coroutines as there are awaitables. Each returns the next result, in the order of completion.
/// After the timeout the remaining ones raise TimeoutError. asyncio: tasks.as_completed
template <class A> AsCompleted<ResultOf<A>> as_completed(std::vector<A> awaitables, WaitOptions options = {}) {
  std::vector<AnyFuture> futures;
  for (A& awaitable : awaitables) futures.push_back(ensure_future(std::move(awaitable)));
  const auto state = make_ref<CompletionState>();
  state->start(futures, options.timeout);
  return AsCompleted<ResultOf<A>>(state);
}

}  // namespace asyncio
