// 02: a heap of timers. The loop sleeps until the first one is due, and not longer than that.
#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

// A callback that is scheduled: whoever has a copy can cancel it.
struct Handle {
  void cancel() const { *cancelled = true; }

  std::function<void()> callback;
  double when = 0;
  std::shared_ptr<bool> cancelled = std::make_shared<bool>(false);
};

class EventLoop {
 public:
  double time() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  template <class F, class... Args> Handle call_soon(F f, Args... args) {
    ready_.push_back({std::bind_front(f, args...)});
    return ready_.back();
  }
  template <class F, class... Args> Handle call_later(double delay, F f, Args... args) {
    return call_at(time() + delay, f, args...);
  }
  template <class F, class... Args> Handle call_at(double when, F f, Args... args) {
    const Handle timer{std::bind_front(f, args...), when};
    scheduled_.push_back(timer);
    std::ranges::push_heap(scheduled_, std::greater(), &Handle::when);
    return timer;
  }

  void run_forever() {
    do run_once();
    while (!stopping_);
    stopping_ = false;
  }
  void stop() { stopping_ = true; }

 private:
  void run_once() {
    drop_cancelled_timers();
    std::this_thread::sleep_for(std::chrono::duration<double>(select_timeout()));
    queue_due_timers();
    run_ready();
  }

  void drop_cancelled_timers() {
    while (!scheduled_.empty() && *scheduled_.front().cancelled) pop_timer();
  }

  double select_timeout() const {
    if (!ready_.empty() || stopping_ || scheduled_.empty()) return 0;
    return std::max(scheduled_.front().when - time(), 0.0);
  }

  void queue_due_timers() {
    const double end_time = time() + 1e-9;  // the clock's resolution
    while (!scheduled_.empty() && scheduled_.front().when < end_time) ready_.push_back(pop_timer());
  }

  void run_ready() {
    for (std::size_t ntodo = ready_.size(); ntodo > 0; --ntodo) {
      const Handle handle = ready_.front();
      ready_.pop_front();
      if (!*handle.cancelled) handle.callback();
    }
  }

  Handle pop_timer() {
    std::ranges::pop_heap(scheduled_, std::greater(), &Handle::when);
    const Handle timer = scheduled_.back();
    scheduled_.pop_back();
    return timer;
  }

  std::deque<Handle> ready_;
  std::vector<Handle> scheduled_;  // a heap: the next one first
  bool stopping_ = false;
};

void say(std::string text) { std::cout << text << "\n"; }

EventLoop loop;

int main() {
  const double start = loop.time();
  loop.call_later(0.1, [] { loop.stop(); });
  loop.call_later(0.05, say, "0.05 s");
  loop.call_later(0.07, say, "never shown").cancel();
  for (int i = 0; i < 5; ++i) loop.call_at(start + 0.02, say, "0.02 s: number " + std::to_string(i));
  loop.run_forever();
  say(loop.time() - start < 0.1 ? "too early" : "main: 0.1 s are over");
}
