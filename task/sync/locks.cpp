#include "task/sync/locks.hpp"

#include <utility>

namespace asyncio {

EventLoop& LoopBound::get_loop(EventLoop& loop) {
  if (!anchor_) anchor_ = loop.anchor();
  if (anchor_ != loop.anchor()) throw RuntimeError("this lock or queue is bound to a different event loop");
  return loop;
}

static bool all_cancelled(const LinkedList<Waiter>& waiters) noexcept {
  for (const Waiter* waiter = waiters.next(); waiter; waiter = waiters.next(waiter)) {
    if (!waiter->future.cancelled()) return false;
  }
  return true;
}

Coroutine<bool> Lock::acquire() {
  if (locked_ || !all_cancelled(waiters_)) {
    Waiter waiter(get_loop());
    waiters_.push_back(waiter);
    try {
      co_await waiter.future;
    } catch (const CancelledError&) {
      if (waiter.orphaned()) throw;
      waiter.unlink();
      if (!locked_) wake_up_first();
      throw;
    }
  }
  locked_ = true;
  co_return true;
}

void Lock::release() {
  if (!locked_) throw RuntimeError("Lock is not acquired.");
  locked_ = false;
  wake_up_first();
}

// asyncio: locks.Lock._wake_up_first
void Lock::wake_up_first() {
  Waiter* first = waiters_.next();
  if (first && !first->future.done()) first->future.set_result();
}

void Event::set() {
  if (std::exchange(value_, true)) return;
  for (Waiter* waiter = waiters_.next(); waiter; waiter = waiters_.next(waiter)) {
    if (!waiter->future.done()) waiter->future.set_result();
  }
}

Coroutine<bool> Event::wait() {
  if (value_) co_return true;
  Waiter waiter(get_loop());
  waiters_.push_back(waiter);
  co_await waiter.future;
  co_return true;
}

Coroutine<bool> Condition::wait() {
  if (!locked()) throw RuntimeError("cannot wait on un-acquired lock");
  Waiter waiter(get_loop());
  release();
  waiters_.push_back(waiter);
  std::exception_ptr error;
  try {
    co_await waiter.future;
  } catch (...) {
    error = std::current_exception();
    if (waiter.orphaned()) throw;
  }
  waiter.unlink();
  // It always returns with the lock acquired. A cancellation while it waits for the lock is raised afterwards. Without
  // memory to wait for it, it tries again in each iteration.
  for (bool acquired = false, waits = true; !acquired && (waits || locked());) {
    try {
      if (!waits) co_await BareYield();
      acquired = co_await acquire();
    } catch (...) {
      error = std::current_exception();
      waits = holds<CancelledError>(error);
    }
  }
  lock_.locked_ = true;  // without memory to ask for it, it takes a lock that is free
  if (!error) co_return true;
  notify_waiters(1);  // we may have been notified: pass the notification on
  std::rethrow_exception(error);
}

void Condition::notify(std::size_t n) {
  if (!locked()) throw RuntimeError("cannot notify on un-acquired lock");
  notify_waiters(n);
}

// asyncio: locks.Condition._notify
void Condition::notify_waiters(std::size_t n) {
  for (Waiter *waiter = waiters_.next(), *next; waiter && n > 0; waiter = next) {
    next = waiters_.next(waiter);
    if (waiter->future.done()) continue;  // cancelled: it leaves by itself
    waiter->unlink();
    waiter->future.set_result();
    --n;
  }
}

Semaphore::Semaphore(int value) : value_(value) {
  if (value < 0) throw ValueError("Semaphore initial value must be >= 0");
}

bool Semaphore::locked() const noexcept { return value_ == 0 || !woken_.empty() || !all_cancelled(waiters_); }

Coroutine<bool> Semaphore::acquire() {
  if (!locked()) {
    --value_;
    co_return true;
  }
  Waiter waiter(get_loop());
  waiters_.push_back(waiter);
  std::exception_ptr error;
  try {
    co_await waiter.future;
  } catch (...) {
    error = std::current_exception();
    if (waiter.orphaned()) throw;
  }
  waiter.unlink();
  if (error && waiter.future.done() && !waiter.future.cancelled()) ++value_;  // woken before: give the permit back
  while (value_ > 0 && wake_up_next()) {}
  if (error) std::rethrow_exception(error);
  co_return true;
}

void Semaphore::release() {
  ++value_;
  wake_up_next();
}

// asyncio: locks.Semaphore._wake_up_next
bool Semaphore::wake_up_next() {
  for (Waiter* waiter = waiters_.next(); waiter; waiter = waiters_.next(waiter)) {
    if (waiter->future.done()) continue;  // cancelled: it leaves by itself
    --value_;
    woken_.push_back(*waiter);
    waiter->future.set_result();
    return true;
  }
  return false;
}

void BoundedSemaphore::release() {
  if (value_ >= bound_value_) throw ValueError("BoundedSemaphore released too many times");
  Semaphore::release();
}

Barrier::Barrier(int parties) : parties_(parties) {
  if (parties < 1) throw ValueError("parties must be > 0");
}

Coroutine<int> Barrier::wait() {
  co_return co_await async_with(cond_, [&] { return wait_in_turn(); });
}

Coroutine<int> Barrier::wait_in_turn() {
  co_await block();
  const int index = count_++;
  std::exception_ptr error;
  try {
    if (count_ == parties_) {
      set_state(State::draining);
    } else {
      co_await wait_until_full();
    }
  } catch (...) {
    error = std::current_exception();
  }
  --count_;
  exit();
  if (error) std::rethrow_exception(error);
  co_return index;
}

// Waits until the tasks of the previous round have left. asyncio: locks.Barrier._block
Coroutine<void> Barrier::block() {
  co_await cond_.wait_for([&] { return state_ != State::draining && state_ != State::resetting; });
  if (state_ == State::broken) throw BrokenBarrierError("Barrier aborted");
}

// asyncio: locks.Barrier._release
void Barrier::set_state(State state) {
  state_ = state;
  cond_.notify_all();
}

// asyncio: locks.Barrier._wait
Coroutine<void> Barrier::wait_until_full() {
  co_await cond_.wait_for([&] { return state_ != State::filling; });
  if (state_ == State::broken || state_ == State::resetting) throw BrokenBarrierError("Abort or reset of barrier");
}

// asyncio: locks.Barrier._exit
void Barrier::exit() {
  if (count_ > 0) return;
  if (state_ == State::resetting || state_ == State::draining) state_ = State::filling;
  cond_.notify_all();
}

Coroutine<void> Barrier::reset() {
  co_await cond_.acquire();
  set_state(count_ > 0 ? State::resetting : State::filling);
  cond_.release();
}

Coroutine<void> Barrier::abort() {
  co_await cond_.acquire();
  set_state(State::broken);
  cond_.release();
}

}  // namespace asyncio
