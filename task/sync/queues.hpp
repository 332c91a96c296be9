// Queues between tasks. Upstream counterpart: Lib/asyncio/queues.py.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include "loop/python/heapq.hpp"
#include "task/sync/locks.hpp"

namespace asyncio {

/// get_nowait() on an empty queue. asyncio: queues.QueueEmpty
struct QueueEmpty : Error {
  QueueEmpty() : Error("the queue is empty") {}
};
/// put_nowait() on a full queue. asyncio: queues.QueueFull
struct QueueFull : Error {
  QueueFull() : Error("the queue is full") {}
};
/// put(), or get() when it is empty, on a queue after shutdown(). asyncio: queues.QueueShutDown
struct QueueShutDown : Error {
  QueueShutDown() : Error("the queue was shut down") {}
};

/// A queue without the type of its items.
class QueueBase : private LoopBound {
 public:
  virtual ~QueueBase() = default;
  /// The number of items. asyncio: queues.Queue.qsize
  virtual std::size_t qsize() const noexcept = 0;
  /// The limit of items; 0: none.
  std::size_t maxsize() const noexcept { return maxsize_; }
  /// asyncio: queues.Queue.empty
  bool empty() const noexcept { return qsize() == 0; }
  /// False if there is no limit. asyncio: queues.Queue.full
  bool full() const noexcept { return maxsize_ > 0 && qsize() >= maxsize_; }
  /// An item from get() has been processed. ValueError if it is called more often than items were put.
  /// asyncio: queues.Queue.task_done
  void task_done();
  /// Waits until task_done() was called for every item. asyncio: queues.Queue.join
  Coroutine<void> join();
  /// From now on put() raises QueueShutDown, and so does get() once the queue is empty. With `immediate` the queue is
  /// emptied at once. asyncio: queues.Queue.shutdown
  void shutdown(bool immediate = false);

 protected:
  explicit QueueBase(std::size_t maxsize) : maxsize_(maxsize) { finished_.set(); }
  virtual void discard() = 0;
  /// The running loop. QueueShutDown after shutdown().
  EventLoop& loop_to_wait_in();
  /// Called when a wait was interrupted. Returns true if the waiter had already been woken, so that the next one must
  /// be woken instead. Returns false also if the queue was destroyed.
  static bool give_up(Waiter& waiter) noexcept;
  static void wakeup_next(LinkedList<Waiter>& waiters);
  void item_put();

  LinkedList<Waiter> getters_, putters_;
  bool is_shutdown_ = false;

 private:
  std::size_t maxsize_;
  std::size_t unfinished_tasks_ = 0;
  Event finished_;
};

/// First in, first out. It is for the tasks of one loop, not for threads. asyncio: queues.Queue
template <class T> class Queue : public QueueBase {
 public:
  /// For at most `maxsize` items; 0: no limit.
  explicit Queue(std::size_t maxsize = 0) : QueueBase(maxsize) {}
  std::size_t qsize() const noexcept override { return queue_.size(); }
  /// Waits while the queue is full, then adds the item. Raises QueueShutDown. asyncio: queues.Queue.put
  Coroutine<void> put(T item) {
    while (full()) {
      Waiter putter(loop_to_wait_in());
      putters_.push_back(putter);
      try {
        co_await putter.future;
      } catch (...) {
        if (give_up(putter) && !full()) wakeup_next(putters_);
        throw;
      }
    }
    put_nowait(std::move(item));
  }
  /// Adds the item. Raises QueueFull, QueueShutDown. asyncio: queues.Queue.put_nowait
  void put_nowait(T item) {
    if (is_shutdown_) throw QueueShutDown();
    if (full()) throw QueueFull();
    put_item(std::move(item));
    item_put();
  }
  /// Waits while the queue is empty, then removes an item. Raises QueueShutDown. asyncio: queues.Queue.get
  Coroutine<T> get() {
    while (empty()) {
      Waiter getter(loop_to_wait_in());
      getters_.push_back(getter);
      try {
        co_await getter.future;
      } catch (...) {
        if (give_up(getter) && !empty()) wakeup_next(getters_);
        throw;
      }
    }
    co_return get_nowait();
  }
  /// Removes an item. Raises QueueEmpty, QueueShutDown. asyncio: queues.Queue.get_nowait
  T get_nowait() {
    if (empty() && is_shutdown_) throw QueueShutDown();
    if (empty()) throw QueueEmpty();
    T item = get_item();
    wakeup_next(putters_);
    return item;
  }

 protected:
  /// asyncio: queues.Queue._put
  virtual void put_item(T item) { queue_.push_back(std::move(item)); }
  /// asyncio: queues.Queue._get
  virtual T get_item() {
    T item = std::move(queue_.front());
    queue_.pop_front();
    return item;
  }
  void discard() override { get_item(); }

  std::deque<T> queue_;
};

/// The smallest item first, compared with <. asyncio: queues.PriorityQueue
template <class T> class PriorityQueue final : public Queue<T> {
 public:
  /// PriorityQueue(maxsize), as Queue.
  using Queue<T>::Queue;

 private:
  void put_item(T item) override { heappush(this->queue_, std::move(item)); }
  T get_item() override { return heappop(this->queue_); }
};

/// Last in, first out. asyncio: queues.LifoQueue
template <class T> class LifoQueue final : public Queue<T> {
 public:
  /// LifoQueue(maxsize), as Queue.
  using Queue<T>::Queue;

 private:
  T get_item() override {
    T item = std::move(this->queue_.back());
    this->queue_.pop_back();
    return item;
  }
};

}  // namespace asyncio
