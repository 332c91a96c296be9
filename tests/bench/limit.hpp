// The limits: the least that a loop can do which polls the selector once per iteration. No handles, no
// futures, no errors, no cancellation: a ring of what is ready, a heap of what is due, bare coroutines.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <coroutine>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "tests/bench/bench.hpp"

namespace limit {

/// A queue that doubles when it is full.
template <class T> class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { std::free(items_); }

  std::size_t size() const { return tail_ - head_; }
  void push(T item) {
    if (size() == capacity_) grow();
    items_[tail_++ & (capacity_ - 1)] = item;
  }
  T pop() { return items_[head_++ & (capacity_ - 1)]; }

 private:
  void grow() {
    const std::size_t count = size();
    T* items = static_cast<T*>(std::malloc(2 * capacity_ * sizeof(T)));
    for (std::size_t i = 0; i < count; ++i) items[i] = pop();
    std::free(std::exchange(items_, items));
    head_ = 0;
    tail_ = count;
    capacity_ *= 2;
  }

  std::size_t capacity_ = 64, head_ = 0, tail_ = 0;
  T* items_ = static_cast<T*>(std::malloc(capacity_ * sizeof(T)));
};

struct Callback {
  void operator()() const { function(argument); }
  void (*function)(void*);
  void* argument;
};

/// T is what is called: a Callback or a coroutine.
template <class T> class Loop {
 public:
  ~Loop() { close(epfd_); }

  void run() {
    while (ready.size() != 0 || !timers_.empty()) run_once();
  }
  void call_at(double when, T item) {
    timers_.push_back({when, item});
    std::push_heap(timers_.begin(), timers_.end());
  }

  Ring<T> ready;

 private:
  struct Timer {
    double when;
    T item;
    bool operator<(const Timer& other) const { return when > other.when; }
  };

  void run_once() {
    epoll_event event;
    if (ready.size() != 0) {
      epoll_wait(epfd_, &event, 1, 0);
    } else {
      const double left = std::max(timers_.front().when - bench::monotonic(), 0.0);
      const timespec timeout{static_cast<time_t>(left), static_cast<long>((left - static_cast<time_t>(left)) * 1e9)};
      epoll_pwait2(epfd_, &event, 1, &timeout, nullptr);
    }
    if (!timers_.empty()) queue_due_timers();
    for (std::size_t n = ready.size(); n > 0; --n) ready.pop()();
  }
  void queue_due_timers() {
    const double now = bench::monotonic();
    while (!timers_.empty() && timers_.front().when <= now) {
      ready.push(timers_.front().item);
      std::pop_heap(timers_.begin(), timers_.end());
      timers_.pop_back();
    }
  }

  const int epfd_ = epoll_create1(0);
  std::vector<Timer> timers_;
};

/// Coroutine frames, recycled by size.
struct RecycledFrame {
  struct Free {
    Free* next;
  };
  static inline constinit Free* lists[64] = {};

  static void* operator new(std::size_t size) {
    Free*& list = lists[(size + 15) / 16];
    return list ? std::exchange(list, list->next) : ::operator new((size + 15) / 16 * 16);
  }
  static void operator delete(void* frame, std::size_t size) {
    Free*& list = lists[(size + 15) / 16];
    list = new (frame) Free{list};
  }
};

/// A coroutine that somebody resumes and that destroys itself at its end.
struct Detached {
  struct promise_type : RecycledFrame {
    Detached get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::abort(); }
  };
  std::coroutine_handle<> handle;
};

/// A lazy coroutine that is awaited by another one, by symmetric transfer.
class Nested {
 public:
  struct promise_type : RecycledFrame {
    struct ResumeAwaiting {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
        return ended.promise().awaiting;
      }
      void await_resume() noexcept {}
    };
    Nested get_return_object() { return Nested(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    ResumeAwaiting final_suspend() noexcept { return {}; }
    void return_value(int v) { value = v; }
    void unhandled_exception() { std::abort(); }

    std::coroutine_handle<> awaiting;
    int value = 0;
  };

  Nested(Nested&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Nested() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) {
    handle_.promise().awaiting = awaiting;
    return handle_;
  }
  int await_resume() { return handle_.promise().value; }

 private:
  explicit Nested(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

using TaskLoop = Loop<std::coroutine_handle<>>;

/// Back in the next iteration.
struct Yield {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> self) { loop.ready.push(self); }
  void await_resume() {}
  TaskLoop& loop;
};

struct Sleep {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> self) { loop.call_at(bench::monotonic() + delay, self); }
  void await_resume() {}
  TaskLoop& loop;
  double delay;
};

}  // namespace limit
