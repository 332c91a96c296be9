// 01: a deque of callbacks. "Soon" is the next iteration: what a callback schedules never runs in this one.
#include <deque>
#include <functional>
#include <iostream>
#include <string>

class EventLoop {
 public:
  template <class F, class... Args> void call_soon(F f, Args... args) { ready_.push_back(std::bind_front(f, args...)); }

  void run_forever() {
    do run_once();
    while (!stopping_);
    stopping_ = false;
  }
  void stop() { stopping_ = true; }

 private:
  void run_once() { run_ready(); }

  void run_ready() {
    for (std::size_t ntodo = ready_.size(); ntodo > 0; --ntodo) {
      const std::function<void()> callback = ready_.front();
      ready_.pop_front();
      callback();
    }
  }

  std::deque<std::function<void()>> ready_;
  bool stopping_ = false;
};

void say(std::string text) { std::cout << text << "\n"; }

EventLoop loop;

void first() {
  say("first: schedules third, and stops the loop");
  loop.call_soon(say, "third: in the next iteration, for it was not there when the last one began");
  loop.stop();
}

int main() {
  loop.call_soon(first);
  loop.call_soon(say, "second: stop() has been called, but an iteration runs to its end");
  say("main: first and second are scheduled, and nothing has run");
  loop.run_forever();
  say("main: the loop has stopped, and third is still in the queue");
  loop.stop();
  loop.run_forever();
}
