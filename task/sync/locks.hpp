// Synchronisation of tasks. Upstream counterpart: Lib/asyncio/locks.py and mixins.py.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "task/sync/async_with.hpp"

namespace asyncio {

/// An entry in the list of waiting tasks of a lock, event or queue. It is a local variable of the coroutine that waits,
/// and its destructor removes it from the list, in constant time.
class Waiter : public Link {
 public:
  explicit Waiter(EventLoop& loop) : future(loop) {}
  /// It was cancelled and is in no list any more: the lock or queue has already removed it, or was destroyed. There is
  /// nothing to undo, and the coroutine must not use that object.
  bool orphaned() const noexcept { return !linked() && future.cancelled(); }
  const Future<void> future;
};

/// Base of objects that belong to one loop. asyncio: mixins._LoopBoundMixin
class LoopBound {
 protected:
  /// The loop. The first call binds the object to it; later calls with another loop raise RuntimeError.
  /// asyncio: mixins._LoopBoundMixin._get_loop
  EventLoop& get_loop(EventLoop& loop = get_running_loop());

 private:
  Ref<LoopAnchor> anchor_;
};

/// Lets async_with acquire and release an object. asyncio: locks._ContextManagerMixin
template <class Derived> class ContextManager {
 public:
  Coroutine<void> aenter() { co_await static_cast<Derived*>(this)->acquire(); }
  /// What async_with calls instead of aexit(), because a lock must be released even if there is no memory for a frame.
  void release_at_exit() { static_cast<Derived*>(this)->release(); }
  Coroutine<bool> aexit(std::exception_ptr) {
    release_at_exit();
    co_return false;
  }
};

/// A mutex for tasks, in the order in which they ask for it. It is not for threads. asyncio: locks.Lock
class Lock : public ContextManager<Lock>, private LoopBound {
  friend class Condition;

 public:
  /// asyncio: locks.Lock.locked
  bool locked() const noexcept { return locked_; }
  /// Waits until it is unlocked, then locks it. Always returns true. asyncio: locks.Lock.acquire
  Coroutine<bool> acquire();
  /// Unlocks it and wakes the next task. RuntimeError if it is not locked. asyncio: locks.Lock.release
  void release();

 private:
  void wake_up_first();

  LinkedList<Waiter> waiters_;
  bool locked_ = false;
};

/// A flag for which tasks can wait; not set at first. asyncio: locks.Event
class Event : private LoopBound {
 public:
  using LoopBound::get_loop;
  /// asyncio: locks.Event.is_set
  bool is_set() const noexcept { return value_; }
  /// Sets the flag and wakes all waiting tasks. asyncio: locks.Event.set
  void set();
  /// Clears the flag. asyncio: locks.Event.clear
  void clear() noexcept { value_ = false; }
  /// Waits until the flag is set. Always returns true. asyncio: locks.Event.wait
  Coroutine<bool> wait();

 private:
  LinkedList<Waiter> waiters_;
  bool value_ = false;
};

/// A lock, and a list of tasks that wait until the state which it protects changes. asyncio: locks.Condition
class Condition : public ContextManager<Condition>, private LoopBound {
 public:
  /// With its own lock.
  Condition() : lock_(own_.emplace()) {}
  /// With a shared lock, which must outlive the condition.
  explicit Condition(Lock& lock) : lock_(lock) {}

  /// This and the next two are those of the lock.
  bool locked() const noexcept { return lock_.locked(); }
  Coroutine<bool> acquire() { return lock_.acquire(); }
  void release() { lock_.release(); }
  /// Releases the lock, waits until notified and acquires the lock again, also when it is cancelled. Always returns
  /// true. RuntimeError if it is not locked. asyncio: locks.Condition.wait
  Coroutine<bool> wait();
  /// Waits until predicate() is true, and returns its value. asyncio: locks.Condition.wait_for
  template <class Predicate> Coroutine<std::invoke_result_t<Predicate&>> wait_for(Predicate predicate) {
    auto result = predicate();
    while (!result) {
      co_await wait();
      result = predicate();
    }
    co_return result;
  }
  /// Wakes at most n waiting tasks. RuntimeError if it is not locked. asyncio: locks.Condition.notify
  void notify(std::size_t n = 1);
  /// Wakes all waiting tasks. RuntimeError if it is not locked. asyncio: locks.Condition.notify_all
  void notify_all() { notify(static_cast<std::size_t>(-1)); }

 private:
  void notify_waiters(std::size_t n);

  std::optional<Lock> own_;
  Lock& lock_;
  LinkedList<Waiter> waiters_;
};

/// A number of permits, which tasks acquire and release. asyncio: locks.Semaphore
class Semaphore : public ContextManager<Semaphore>, private LoopBound {
 public:
  /// With `value` permits. ValueError if it is negative.
  explicit Semaphore(int value = 1);
  virtual ~Semaphore() = default;
  /// Whether acquire() would have to wait. asyncio: locks.Semaphore.locked
  bool locked() const noexcept;
  /// Waits for a permit and takes it. Always returns true. asyncio: locks.Semaphore.acquire
  Coroutine<bool> acquire();
  /// Returns a permit and wakes the next task. asyncio: locks.Semaphore.release
  virtual void release();

 protected:
  int value_;

 private:
  bool wake_up_next();

  LinkedList<Waiter> waiters_;
  LinkedList<Waiter> woken_;  // have a permit but have not resumed yet; no other task may overtake them
};

/// A semaphore that never has more permits than at first. asyncio: locks.BoundedSemaphore
class BoundedSemaphore : public Semaphore {
 public:
  /// With `value` permits. ValueError if it is negative.
  explicit BoundedSemaphore(int value = 1) : Semaphore(value), bound_value_(value) {}
  /// As Semaphore::release. ValueError if all permits were already returned.
  void release() override;

 private:
  int bound_value_;
};

/// Makes tasks wait until `parties` of them have arrived; then it can be used again. asyncio: locks.Barrier
class Barrier {
 public:
  /// For `parties` tasks. ValueError if it is less than 1.
  explicit Barrier(int parties);
  /// Waits until all tasks have arrived. Returns the order of arrival of this task, from 0 to parties - 1.
  /// BrokenBarrierError if the barrier is broken, or is reset meanwhile. asyncio: locks.Barrier.wait
  Coroutine<int> wait();
  /// The waiting tasks get a BrokenBarrierError; then the barrier is empty again, also if it was broken.
  /// asyncio: locks.Barrier.reset
  Coroutine<void> reset();
  /// Breaks the barrier: the waiting tasks, and later calls of wait(), get a BrokenBarrierError until reset().
  /// asyncio: locks.Barrier.abort
  Coroutine<void> abort();
  int parties() const noexcept { return parties_; }
  /// How many tasks wait now.
  int n_waiting() const noexcept { return state_ == State::filling ? count_ : 0; }
  bool broken() const noexcept { return state_ == State::broken; }

  Coroutine<int> aenter() { return wait(); }
  Coroutine<bool> aexit(std::exception_ptr) { co_return false; }

 private:
  enum class State { filling, draining, resetting, broken };
  void set_state(State state);
  Coroutine<int> wait_in_turn();
  Coroutine<void> block();
  Coroutine<void> wait_until_full();
  void exit();

  Condition cond_;
  int parties_;
  int count_ = 0;
  State state_ = State::filling;
};

}  // namespace asyncio
