#include "task/sync/queues.hpp"

namespace asyncio {

// asyncio: queues.Queue._wakeup_next
void QueueBase::wakeup_next(LinkedList<Waiter>& waiters) {
  while (!waiters.empty()) {
    const Waiter& waiter = waiters.pop_front();
    if (waiter.future.done()) continue;
    waiter.future.set_result();
    return;
  }
}

EventLoop& QueueBase::loop_to_wait_in() {
  if (is_shutdown_) throw QueueShutDown();
  return get_loop();
}

bool QueueBase::give_up(Waiter& waiter) noexcept {
  if (waiter.orphaned()) return false;
  waiter.future.cancel();
  waiter.unlink();
  return !waiter.future.cancelled();
}

void QueueBase::item_put() {
  ++unfinished_tasks_;
  finished_.clear();
  wakeup_next(getters_);
}

void QueueBase::task_done() {
  if (unfinished_tasks_ == 0) throw ValueError("task_done() called too many times");
  if (--unfinished_tasks_ == 0) finished_.set();
}

Coroutine<void> QueueBase::join() {
  if (unfinished_tasks_ > 0) co_await finished_.wait();
}

void QueueBase::shutdown(bool immediate) {
  is_shutdown_ = true;
  while (immediate && !empty()) {
    discard();
    if (unfinished_tasks_ > 0 && --unfinished_tasks_ == 0) finished_.set();
  }
  while (!getters_.empty()) wakeup_next(getters_);
  while (!putters_.empty()) wakeup_next(putters_);
}

}  // namespace asyncio
