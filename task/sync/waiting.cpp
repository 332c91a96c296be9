#include "task/sync/waiting.hpp"

namespace asyncio {

// A gather may wait for a gather; this limits the depth as Python's recursion limit does.
bool GatheringState::cancel(std::string message) {
  static constinit thread_local int depth = 0;
  constexpr int RECURSION_LIMIT = 1000;
  if (done()) return false;
  if (cancelling_) throw RuntimeError("futures wait for each other in a cycle: " + repr());
  if (depth == RECURSION_LIMIT) throw RuntimeError("maximum recursion depth exceeded: gathers in gathers");
  ++depth;
  cancelling_ = true;
  const Finally left([this] {
    --depth;
    cancelling_ = false;
  });
  bool ret = false;
  for (std::size_t i = 0; i < children_.size(); ++i) ret |= children_[i].cancel(message);
  cancel_requested_ |= ret;
  return ret;
}

void GatheringState::start() {
  for (const AnyFuture& child : children_) {
    if (!child.state()->is_of(get_loop())) throw ValueError("gather() was given futures of different event loops");
  }
  if (children_.empty()) return set_results();
  std::vector<AnyFuture> done_futs;
  for (const AnyFuture& child : children_) {
    if (child.done()) {
      done_futs.push_back(child);
    } else {
      child.add_done_callback([this](const AnyFuture& done) { done_callback(done); }, AnyFuture(this));
    }
  }
  for (const AnyFuture& child : done_futs) done_callback(child);
}

// Upstream's closure _done_callback. asyncio: tasks.gather
void GatheringState::done_callback(const AnyFuture& child) {
  ++nfinished_;
  const bool failed = child.cancelled() || child.state()->outcome();  // also marks it as retrieved
  if (done()) return;
  if (!return_exceptions_ && failed) return set_exception(child.state()->outcome());
  if (nfinished_ < children_.size()) return;
  const std::exception_ptr thrown = raised_by([this] {  // by the move or copy of a result
    // A cancellation is raised even if return_exceptions is set.
    cancel_requested_ ? set_exception(children_.back().state()->make_cancelled_error()) : set_results();
  });
  if (thrown) set_exception(thrown);
  children_.clear();
}

// What the callbacks of wait() share. It is counted, because a callback may run after the coroutine was destroyed.
struct Waiting : Counted {
  explicit Waiting(EventLoop& loop) : waiter(loop) {}
  void release() {
    timeout_handle.cancel();
    if (!waiter.done()) waiter.set_result();
  }
  const Future<void> waiter;
  TimerHandle timeout_handle;
  std::size_t counter = 0;
};

// asyncio: tasks._wait
Coroutine<void> wait_until(std::vector<AnyFuture> futures, WaitOptions options) {
  if (futures.empty()) throw ValueError("Set of Tasks/Futures is empty.");
  EventLoop& loop = get_running_loop();
  const auto waiting = make_ref<Waiting>(loop);
  if (options.timeout) waiting->timeout_handle = loop.call_later(*options.timeout, [waiting] { waiting->release(); });
  waiting->counter = futures.size();
  const auto on_completion = [waiting, return_when = options.return_when](const AnyFuture& future) {
    const bool enough = --waiting->counter == 0 || return_when == FIRST_COMPLETED;
    if (enough || (return_when == FIRST_EXCEPTION && !future.cancelled() && future.exception())) waiting->release();
  };
  std::vector<CallbackId> callbacks;
  for (const AnyFuture& future : futures) callbacks.push_back(future.add_done_callback(on_completion, current_task()));
  const Finally remove_callbacks([&] {
    waiting->timeout_handle.cancel();
    for (std::size_t i = 0; i < callbacks.size(); ++i) futures[i].remove_done_callback(callbacks[i]);
  });
  co_await waiting->waiter;
}

// asyncio: tasks._cancel_and_wait
Coroutine<void> cancel_and_wait(AnyFuture future) {
  const Future<void> waiter = get_running_loop().create_future();
  const auto release_waiter = [waiter](const AnyFuture&) { set_result_unless_cancelled(waiter); };
  const CallbackId callback = future.add_done_callback(release_waiter, current_task());
  const Finally remove_callback([&] { future.remove_done_callback(callback); });
  future.cancel();
  co_await waiter;
}

void CompletionState::start(const std::vector<AnyFuture>& futures, std::optional<Delay> timeout) {
  const Ref<CompletionState> self(this);
  for (const AnyFuture& future : futures) {
    if (todo_.contains(future)) continue;
    todo_[future] = future.add_done_callback([self](const AnyFuture& done) { self->handle_completion(done); });
  }
  size_ = todo_.size();
  if (timeout && size_ > 0) {
    timeout_handle_ = get_event_loop().call_later(*timeout, [self] { self->handle_timeout(); });
  }
}

// asyncio: tasks._AsCompletedIterator._handle_completion
void CompletionState::handle_completion(const AnyFuture& future) {
  if (todo_.erase(future) == 0) return;  // the timeout came first
  if (todo_.empty()) timeout_handle_.cancel();
  if (raised_by([&] { done_.put_nowait(future); })) done_.shutdown();  // no memory: nobody may wait for it
}

// asyncio: tasks._AsCompletedIterator._handle_timeout
void CompletionState::handle_timeout() {
  for (const auto& [future, callback] : std::exchange(todo_, {})) {
    future.remove_done_callback(callback);
    done_.put_nowait(AnyFuture());
  }
}

Coroutine<AnyFuture> CompletionState::wait_for_one() {
  AnyFuture future = co_await done_.get();
  if (!future) throw TimeoutError();
  co_return future;
}

}  // namespace asyncio
