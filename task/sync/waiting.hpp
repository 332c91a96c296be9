// Several awaitables at once. Upstream counterpart: Lib/asyncio/tasks.py, from wait() on.
#pragma once

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

/// What return_exceptions makes of a result of type T.
template <class T> using Outcome = std::variant<Stored<T>, std::exception_ptr>;
/// The type of the result of a Coroutine, Future, Task or callable.
template <class A> using ResultOf = typename decltype(ensure_future(std::declval<A>()))::value_type;

/// Options of gather.
struct GatherOptions {
  bool return_exceptions = false;  // exceptions stand among the results, instead of the first one being raised
};

/// What gather returns, the object: cancel() cancels the children. asyncio: tasks._GatheringFuture
class GatheringState : public FutureState {
 public:
  GatheringState(EventLoop& loop, std::vector<AnyFuture> children, bool return_exceptions)
      : FutureState(loop), children_(std::move(children)), return_exceptions_(return_exceptions) {}
  void start();
  bool cancel(std::string message = {}) override;
  const std::vector<AnyFuture>& children() const noexcept { return children_; }

 protected:
  virtual void set_results() = 0;

 private:
  void child_done(const AnyFuture& child);
  void all_done();

  std::vector<AnyFuture> children_;
  std::size_t unfinished_ = 0;
  bool return_exceptions_;
  bool cancel_requested_ = false;
  bool cancelling_ = false;  // in cancel() now
};

/// With the results, which `collect` makes of the typed children.
template <class Results, class Collect> class GatheringOf final : public WithResult<Results, GatheringState> {
 public:
  GatheringOf(EventLoop& loop, std::vector<AnyFuture> children, bool return_exceptions, Collect collect)
      : WithResult<Results, GatheringState>(loop, std::move(children), return_exceptions),
        collect_(std::in_place, std::move(collect)) {}

 private:
  void set_results() override {
    this->result_.emplace((*collect_)());
    collect_.reset();
    this->set_result();
  }

  std::optional<Collect> collect_;
};

template <class Collect>
auto start_gathering(EventLoop& loop, std::vector<AnyFuture> children, bool return_exceptions, Collect collect) {
  using Results = std::invoke_result_t<Collect&>;
  for (const AnyFuture& child : children) {
    if (&child.get_loop() != &loop) throw ValueError("gather() was given futures of different event loops");
  }
  auto* outer = new GatheringOf<Results, Collect>(loop, std::move(children), return_exceptions, std::move(collect));
  Future<Results> future(outer);
  outer->start();
  return future;
}

/// The exception that stands for a child, null for a result.
std::exception_ptr outcome_among_results(const AnyFuture& child);

/// How a child's result stands among the others: as it is, or as an Outcome.
template <bool Outcomes, class T>
std::conditional_t<Outcomes, Outcome<T>, Stored<T>> result_among(const Future<T>& child) {
  if constexpr (Outcomes) {
    if (std::exception_ptr exception = outcome_among_results(child))
      return Outcome<T>(std::in_place_index<1>, exception);
    return Outcome<T>(std::in_place_index<0>, result_among<false>(child));
  } else if constexpr (std::is_void_v<T>) {
    return None;
  } else {
    return child.consume_result();
  }
}

/// A task for a coroutine or callable, which nobody else will know of; a future or task as it is.
template <class A> auto child_future(A&& awaitable) {
  static_assert(
      requires { ensure_future(std::forward<A>(awaitable)); },
      "gather needs Coroutines, Futures, Tasks, or callables that return a Coroutine: this is none of them");
  auto future = ensure_future(std::forward<A>(awaitable));
  constexpr bool was_future = std::is_convertible_v<std::remove_cvref_t<A>, AnyFuture>;
  if constexpr (!was_future) static_cast<TaskState*>(future.state())->log_destroy_pending_ = false;
  return Future<typename decltype(future)::value_type>(std::move(future));
}

template <bool Outcomes, class... T> auto gather_futures(bool return_exceptions, std::tuple<Future<T>...> typed) {
  std::vector<AnyFuture> children;
  std::apply([&](const auto&... futures) { (children.push_back(futures), ...); }, typed);
  EventLoop& loop = children.empty() ? get_event_loop() : children.front().get_loop();
  auto collect = [typed = std::move(typed)] {
    return std::apply([](const auto&... futures) { return std::tuple{result_among<Outcomes>(futures)...}; }, typed);
  };
  return start_gathering(loop, std::move(children), return_exceptions, std::move(collect));
}

template <bool Outcomes, class A> auto gather_vector(bool return_exceptions, std::vector<A> awaitables) {
  using T = ResultOf<A>;
  std::vector<Future<T>> futures;
  for (A& awaitable : awaitables) futures.push_back(child_future(std::move(awaitable)));
  EventLoop& loop = futures.empty() ? get_event_loop() : futures.front().get_loop();
  std::vector<AnyFuture> children(futures.begin(), futures.end());
  auto collect = [futures = std::move(futures)] {
    std::vector<decltype(result_among<Outcomes>(futures.front()))> results;
    for (const Future<T>& future : futures) results.push_back(result_among<Outcomes>(future));
    return results;
  };
  return start_gathering(loop, std::move(children), return_exceptions, std::move(collect));
}

/// Runs them concurrently; the result has theirs in the order given: Future<std::tuple<…>>, of a vector
/// Future<std::vector<…>>. The first exception is raised at once, and the others go on. asyncio: tasks.gather
template <class... A> auto gather(A&&... awaitables) {
  return gather_futures<false>(false,
                               std::tuple{child_future(std::forward<A>(awaitables))...});  // braces: left to right
}
template <class A> auto gather(std::vector<A> awaitables) { return gather_vector<false>(false, std::move(awaitables)); }
/// The same with each result as an Outcome.
template <class... A> auto gather(GatherOptions options, A&&... awaitables) {
  return gather_futures<true>(options.return_exceptions, std::tuple{child_future(std::forward<A>(awaitables))...});
}
template <class A> auto gather(GatherOptions options, std::vector<A> awaitables) {
  return gather_vector<true>(options.return_exceptions, std::move(awaitables));
}

/// When wait() returns. asyncio: tasks.FIRST_COMPLETED
enum ReturnWhen { FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED };

/// Options of wait and as_completed.
struct WaitOptions {
  std::optional<Delay> timeout{};
  ReturnWhen return_when = ALL_COMPLETED;
};

/// What wait returns, each in the order given.
template <class F> struct WaitResult { std::vector<F> done, pending; };

Coroutine<void> wait_until(std::vector<AnyFuture> futures, WaitOptions options);

/// Waits until some or all are done, or the time is over; raises nothing of theirs and cancels nothing. ValueError if
/// there are none. F is Future, Task, AnyFuture or AnyTask. asyncio: tasks.wait
template <std::convertible_to<AnyFuture> F>
Coroutine<WaitResult<F>> wait(std::vector<F> futures, WaitOptions options = {}) {
  std::vector<F> unique;
  std::unordered_set<AnyFuture> seen;
  for (F& future : futures) {
    if (seen.insert(future).second) unique.push_back(std::move(future));
  }
  co_await wait_until(std::vector<AnyFuture>(unique.begin(), unique.end()), options);
  WaitResult<F> result;
  for (F& future : unique) (future.done() ? result.done : result.pending).push_back(std::move(future));
  co_return result;
}

Coroutine<void> cancel_and_wait(AnyFuture future);

/// Awaits with a limit of time; what is not done in time is cancelled, and awaited, then TimeoutError. nullopt: no
/// limit. asyncio: tasks.wait_for
template <class A> Coroutine<ResultOf<A>> wait_for(A awaitable, std::optional<Delay> timeout) {
  if (timeout && timeout->seconds() <= 0) {
    const auto future = ensure_future(std::move(awaitable));
    if (!future.done()) {
      co_await cancel_and_wait(future);
      if (holds<CancelledError>(future.state()->outcome())) throw TimeoutError();
    }
    co_return future.consume_result();
  }
  const auto body = [&]() -> Coroutine<ResultOf<A>> {
    if constexpr (CoroutineFunction<A>) {
      co_return co_await awaitable();
    } else {
      co_return co_await std::move(awaitable);
    }
  };
  co_return co_await async_with(asyncio::timeout(timeout), body);
}

/// The result of the awaitable, whose cancellation does not reach it. asyncio: tasks.shield
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
    } else if (std::exception_ptr exception = done.exception()) {
      outer.set_exception(exception);
    } else if constexpr (std::is_void_v<T>) {
      outer.set_result();
    } else {
      outer.set_result(done.consume_result());
    }
  });
  outer.add_done_callback([inner, inner_callback](const Future<T>&) {
    if (!inner.done()) inner.remove_done_callback(inner_callback);
  });
  return outer;
}

/// What as_completed waits for; the coroutines that it gives share it.
class CompletionState : public Counted {
 public:
  void start(const std::vector<AnyFuture>& futures, std::optional<Delay> timeout);
  /// The next one that is done. TimeoutError. asyncio: tasks._AsCompletedIterator._wait_for_one
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
    bool operator!=(std::nullptr_t) const noexcept { return next_.has_value(); }

   private:
    AsCompleted& range_;
    std::optional<Coroutine<T>> next_;
  };
  Iterator begin() { return Iterator(*this); }
  std::nullptr_t end() const noexcept { return nullptr; }

 private:
  static Coroutine<T> wait_for_one(Ref<CompletionState> state) {
    const AnyFuture future = co_await state->wait_for_one();
    co_return Future<T>(future.state()).consume_result();
  }
  Ref<CompletionState> state_;
  std::size_t left_;
};

/// Coroutines, as many as awaitables, that return their results in the order of completion. With a timeout those that
/// come too late raise TimeoutError. asyncio: tasks.as_completed
template <class A> AsCompleted<ResultOf<A>> as_completed(std::vector<A> awaitables, WaitOptions options = {}) {
  std::vector<AnyFuture> futures;
  for (A& awaitable : awaitables) futures.push_back(ensure_future(std::move(awaitable)));
  const auto state = make_ref<CompletionState>();
  state->start(futures, options.timeout);
  return AsCompleted<ResultOf<A>>(state);
}

}  // namespace asyncio
