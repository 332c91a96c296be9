// 05: a coroutine type by hand. co_await hands the future to whoever called send(), who sees to it that it goes on.
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <coroutine>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// A callback that is scheduled: whoever has a copy can cancel it.
struct Handle {
  void cancel() const { *cancelled = true; }

  std::function<void()> callback;
  double when = 0;
  std::shared_ptr<bool> cancelled = std::make_shared<bool>(false);
};

// poll(2) is told of all descriptors in every call, and says of each whether it can be read.
struct PollSelector {
  void register_(int fd) { fds_.push_back({fd, POLLIN, 0}); }
  std::vector<int> select(int milliseconds) {
    ::poll(fds_.data(), fds_.size(), milliseconds);
    std::vector<int> ready;
    for (const pollfd& p : fds_) {
      if (p.revents) ready.push_back(p.fd);
    }
    return ready;
  }
  std::vector<pollfd> fds_;
};

// epoll(7) is told of a descriptor once, and returns those that can be read.
struct EpollSelector {
  ~EpollSelector() { ::close(epfd_); }
  void register_(int fd) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    ::epoll_ctl(epfd_, EPOLL_CTL_ADD, fd, &event);
  }
  std::vector<int> select(int milliseconds) {
    epoll_event events[64];
    const int n = ::epoll_wait(epfd_, events, 64, milliseconds);
    std::vector<int> ready;
    for (int i = 0; i < n; ++i) ready.push_back(events[i].data.fd);
    return ready;
  }
  int epfd_ = ::epoll_create1(EPOLL_CLOEXEC);
};

using FutureRef = std::shared_ptr<class Future>;

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

  template <class F, class... Args> void add_reader(int fd, F f, Args... args) {
    selector_.register_(fd);
    callbacks_[fd] = {std::bind_front(f, args...)};
  }

  void run_forever() {
    do run_once();
    while (!stopping_);
    stopping_ = false;
  }
  void stop() { stopping_ = true; }
  int run_until_complete(FutureRef future);

 private:
  void run_once() {
    drop_cancelled_timers();
    process_events(selector_.select(select_timeout()));
    queue_due_timers();
    run_ready();
  }

  void drop_cancelled_timers() {
    while (!scheduled_.empty() && *scheduled_.front().cancelled) pop_timer();
  }

  // In milliseconds, rounded up, so that no timer is early; -1 is for ever.
  int select_timeout() const {
    if (!ready_.empty() || stopping_) return 0;
    if (scheduled_.empty()) return -1;
    return static_cast<int>(std::ceil(std::max(scheduled_.front().when - time(), 0.0) * 1e3));
  }

  void process_events(std::vector<int> ready) {
    for (int fd : ready) ready_.push_back(callbacks_.at(fd));
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

  EpollSelector selector_;  // a PollSelector would do as well
  std::deque<Handle> ready_;
  std::vector<Handle> scheduled_;    // a heap: the next one first
  std::map<int, Handle> callbacks_;  // of descriptors
  bool stopping_ = false;
};

struct InvalidStateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A result that is not there yet, or the exception that came instead. Here all results are numbers.
class Future : public std::enable_shared_from_this<Future> {
 public:
  explicit Future(EventLoop& loop) : loop(loop) {}

  bool done() const { return done_; }
  int result() const {
    if (!done()) throw InvalidStateError("Result is not ready.");
    if (exception_) std::rethrow_exception(exception_);
    return result_;
  }
  void set_result(int result) { finish(result, nullptr); }
  void set_exception(std::exception_ptr exception) { finish(0, exception); }
  void add_done_callback(std::function<void(FutureRef)> callback) {
    callbacks_.push_back(callback);
    if (done()) schedule_callbacks();
  }

  EventLoop& loop;

 private:
  void finish(int result, std::exception_ptr exception) {
    if (done()) throw InvalidStateError("invalid state");
    done_ = true;
    result_ = result;
    exception_ = exception;
    schedule_callbacks();
  }
  void schedule_callbacks() {
    for (const auto& callback : std::exchange(callbacks_, {})) loop.call_soon(callback, shared_from_this());
  }

  bool done_ = false;
  int result_ = 0;
  std::exception_ptr exception_;
  std::vector<std::function<void(FutureRef)>> callbacks_;
};

int EventLoop::run_until_complete(FutureRef future) {
  future->add_done_callback([this](FutureRef) { stop(); });
  run_forever();
  return future->result();
}

// What is known of a coroutine while it is suspended.
struct Frame {
  std::coroutine_handle<> handle;
  FutureRef yielded;             // the future that it awaits
  std::exception_ptr exception;  // what the body threw
  int result = 0;                // what the body returned
};

// co_await future: suspends, unless it is done already. Without a future it just suspends.
struct FutureAwaiter {
  FutureAwaiter(Frame& frame, FutureRef future) : frame_(frame), future_(future) {}
  bool await_ready() const { return future_ && future_->done(); }
  void await_suspend(std::coroutine_handle<> handle) const {
    frame_.handle = handle;
    frame_.yielded = future_;
  }
  int await_resume() const {
    if (!future_) return 0;
    return future_->result();
  }

  Frame& frame_;
  FutureRef future_;
};

struct Coroutine {
  struct promise_type : Frame {
    Frame* get_return_object() { return this; }
    FutureAwaiter initial_suspend() { return {*this, nullptr}; }  // nothing runs before somebody calls send()
    std::suspend_always final_suspend() noexcept { return {}; }
    void unhandled_exception() { exception = std::current_exception(); }
    void return_value(int value) { result = value; }
    FutureAwaiter await_transform(FutureRef future) { return {*this, future}; }
  };

  Coroutine(Frame* frame) : frame_(frame, destroy) {}
  static void destroy(Frame* frame) { frame->handle.destroy(); }
  bool done() const { return frame_->handle.done(); }

  // Runs to the next await that suspends, and returns the future that is awaited.
  FutureRef send() {
    frame_->handle.resume();
    if (!done()) return frame_->yielded;
    if (frame_->exception) std::rethrow_exception(frame_->exception);
    return nullptr;
  }

  std::unique_ptr<Frame, void (*)(Frame*)> frame_;
};

void say(std::string text) { std::cout << text << "\n"; }

Coroutine add(FutureRef a, FutureRef b) {
  say("  add: awaits a");
  const int x = co_await a;
  say("  add: awaits b, which is done: does not suspend");
  const int y = co_await b;
  co_return x + y;
}

int main() {
  EventLoop loop;
  const FutureRef a = std::make_shared<Future>(loop), b = std::make_shared<Future>(loop);
  Coroutine coroutine = add(a, b);
  say("main: add was called, and nothing has run; send()");
  if (coroutine.send() == a) say("main: send() has returned a, which add awaits; sets a and b; send()");
  a->set_result(40);
  b->set_result(2);
  coroutine.send();
  say("main: add has returned " + std::to_string(coroutine.frame_->result));
}
