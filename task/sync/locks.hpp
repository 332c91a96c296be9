// Synchronisation of tasks. Upstream counterpart: Lib/asyncio/locks.py and mixins.py.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "task/sync/async_with.hpp"

namespace asyncio {

/// A place in the queue of a lock, event or queue, in the frame of the coroutine that waits there. It leaves the queue
/// when the coroutine goes on, and when the frame is destroyed: removal costs the same wherever it stands.
class Waiter : public Link {
 public:
  explicit Waiter(EventLoop& loop) : future(loop) {}
  /// Cancelled, and what it waited at has let it go before, or was destroyed: there is nothing to put in order.
  bool orphaned() const noexcept { return !linked() && future.cancelled(); }
  const Future<void> future;
};

/// asyncio: mixins._LoopBoundMixin
class LoopBound {
 protected:
  /// The loop of the first task that had to wait; RuntimeError in another loop.
  /// asyncio: mixins._LoopBoundMixin._get_loop
  EventLoop& get_loop();

 private:
  EventLoop* loop_ = nullptr;
};

/// What async_with needs of everything that is acquired and released. asyncio: locks._ContextManagerMixin
template <class Derived> class ContextManager {
 public:
  Coroutine<void> aenter() { co_await static_cast<Derived*>(this)->acquire(); }
  Coroutine<bool> aexit(std::exception_ptr) {
    static_cast<Derived*>(this)->release();
    co_return false;
  }
};

/// One task at a time, first come first served. asyncio: locks.Lock
class Lock : public ContextManager<Lock>, private LoopBound {
 public:
  /// asyncio: locks.Lock.locked
  bool locked() const noexcept { return locked_; }
  /// Always true. asyncio: locks.Lock.acquire
  Coroutine<bool> acquire();
  /// RuntimeError if it is not locked. asyncio: locks.Lock.release
  void release();

 private:
  void wake_up_first();

  LinkedList<Waiter> waiters_;
  bool locked_ = false;
};

/// A flag to wait for. asyncio: locks.Event
class Event : private LoopBound {
 public:
  /// asyncio: locks.Event.is_set
  bool is_set() const noexcept { return value_; }
  /// Wakes all that wait. asyncio: locks.Event.set
  void set();
  /// asyncio: locks.Event.clear
  void clear() noexcept { value_ = false; }
  /// Always true. asyncio: locks.Event.wait
  Coroutine<bool> wait();

 private:
  LinkedList<Waiter> waiters_;
  bool value_ = false;
};

/// A lock, and a queue of tasks that wait for what it protects to change. asyncio: locks.Condition
class Condition : public ContextManager<Condition>, private LoopBound {
 public:
  Condition() : lock_(own_.emplace()) {}
  /// With a lock that is shared; it must outlive the condition.
  explicit Condition(Lock& lock) : lock_(lock) {}

  bool locked() const noexcept { return lock_.locked(); }
  Coroutine<bool> acquire() { return lock_.acquire(); }
  void release() { lock_.release(); }
  /// Releases the lock until notified, then has it again, always true. RuntimeError if it is not locked.
  /// asyncio: locks.Condition.wait
  Coroutine<bool> wait();
  /// Until predicate() is true. asyncio: locks.Condition.wait_for
  template <class Predicate> Coroutine<std::invoke_result_t<Predicate&>> wait_for(Predicate predicate) {
    auto result = predicate();
    while (!result) {
      co_await wait();
      result = predicate();
    }
    co_return result;
  }
  /// RuntimeError if it is not locked. asyncio: locks.Condition.notify
  void notify(std::size_t n = 1);
  /// asyncio: locks.Condition.notify_all
  void notify_all() { notify(static_cast<std::size_t>(-1)); }

 private:
  void notify_waiters(std::size_t n);

  std::optional<Lock> own_;
  Lock& lock_;
  LinkedList<Waiter> waiters_;
};

/// A number of permits. asyncio: locks.Semaphore
class Semaphore : public ContextManager<Semaphore>, private LoopBound {
 public:
  /// ValueError if the value is negative.
  explicit Semaphore(int value = 1);
  virtual ~Semaphore() = default;
  /// Would acquire() wait? asyncio: locks.Semaphore.locked
  bool locked() const noexcept;
  /// Always true. asyncio: locks.Semaphore.acquire
  Coroutine<bool> acquire();
  /// asyncio: locks.Semaphore.release
  virtual void release();

 protected:
  int value_;

 private:
  bool wake_up_next();

  LinkedList<Waiter> waiters_;
  LinkedList<Waiter> woken_;  // have a permit, have not gone on yet: nobody may overtake them
};

/// A semaphore whose release() is a ValueError once all permits are back. asyncio: locks.BoundedSemaphore
class BoundedSemaphore : public Semaphore {
 public:
  explicit BoundedSemaphore(int value = 1) : Semaphore(value), bound_value_(value) {}
  void release() override;

 private:
  int bound_value_;
};

/// Lets tasks go on when `parties` of them have come. asyncio: locks.Barrier
class Barrier {
 public:
  /// ValueError unless parties is positive.
  explicit Barrier(int parties);
  /// Returns this task's number, from 0 on. BrokenBarrierError after abort() or reset(). asyncio: locks.Barrier.wait
  Coroutine<int> wait();
  /// Those that wait get a BrokenBarrierError; then it is as new. asyncio: locks.Barrier.reset
  Coroutine<void> reset();
  /// Broken for good. asyncio: locks.Barrier.abort
  Coroutine<void> abort();
  int parties() const noexcept { return parties_; }
  int n_waiting() const noexcept { return state_ == State::filling ? count_ : 0; }
  bool broken() const noexcept { return state_ == State::broken; }

  Coroutine<int> aenter() { return wait(); }
  Coroutine<bool> aexit(std::exception_ptr) { co_return false; }

 private:
  enum class State { filling, draining, resetting, broken };
  Coroutine<int> wait_in_turn();
  Coroutine<void> block();
  Coroutine<void> wait_until_full();
  void release();
  void exit();

  Condition cond_;
  int parties_;
  int count_ = 0;
  State state_ = State::filling;
};

}  // namespace asyncio
