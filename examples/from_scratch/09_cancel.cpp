// 09: cancel. It cancels the future that is awaited innermost: a CancelledError at that await, in the next iteration.
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
    running_loop = this;
    do run_once();
    while (!stopping_);
    stopping_ = false;
    running_loop = nullptr;
  }
  void stop() { stopping_ = true; }
  int run_until_complete(FutureRef future);

  static inline EventLoop* running_loop = nullptr;

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

struct CancelledError {};

// A result that is not there yet, or the exception that came instead. Here all results are numbers.
class Future : public std::enable_shared_from_this<Future> {
 public:
  explicit Future(EventLoop& loop) : loop(loop) {}
  virtual ~Future() = default;

  bool done() const { return done_; }
  int result() const {
    if (!done()) throw InvalidStateError("Result is not ready.");
    if (exception_) std::rethrow_exception(exception_);
    return result_;
  }
  void set_result(int result) { finish(result, nullptr); }
  void set_exception(std::exception_ptr exception) { finish(0, exception); }
  bool cancelled() const { return cancelled_; }
  virtual bool cancel() {
    if (done()) return false;
    cancelled_ = true;
    set_exception(std::make_exception_ptr(CancelledError()));
    return true;
  }
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
  bool cancelled_ = false;
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
  Frame* awaited_by = nullptr;   // goes on when this one has returned
  Frame* cr_await = nullptr;     // the coroutine that this one awaits
  FutureRef yielded;             // the future that it awaits
  std::exception_ptr exception;  // what to throw at the await; at the end, what the body threw
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
    if (frame_.exception) std::rethrow_exception(std::exchange(frame_.exception, nullptr));
    if (!future_) return 0;
    return future_->result();
  }

  Frame& frame_;
  FutureRef future_;
};

struct BareYield {};

struct Coroutine {
  struct promise_type : Frame {
    Frame* get_return_object() { return this; }
    FutureAwaiter initial_suspend() { return {*this, nullptr}; }  // nothing runs before somebody calls send()
    std::suspend_always final_suspend() noexcept { return {}; }
    void unhandled_exception() { exception = std::current_exception(); }
    void return_value(int value) { result = value; }
    FutureAwaiter await_transform(FutureRef future) { return {*this, future}; }
    FutureAwaiter await_transform(BareYield) { return {*this, nullptr}; }
    Coroutine await_transform(Coroutine child) {
      child.frame_->awaited_by = this;
      return child;
    }
  };

  Coroutine(Frame* frame) : frame_(frame, destroy), innermost_(frame) {}
  static void destroy(Frame* frame) { frame->handle.destroy(); }
  bool done() const { return frame_->handle.done(); }

  // Runs to the next await that suspends, and returns the future that is awaited.
  FutureRef send() {
    while (true) {
      innermost_->handle.resume();
      if (!innermost_->handle.done()) {
        if (!innermost_->cr_await) return innermost_->yielded;
        innermost_ = innermost_->cr_await;  // awaits a coroutine: that one is to run now
      } else if (innermost_ != frame_.get()) {
        innermost_ = innermost_->awaited_by;  // has returned: its awaiter goes on
        innermost_->cr_await = nullptr;
      } else {
        if (frame_->exception) std::rethrow_exception(frame_->exception);
        return nullptr;
      }
    }
  }
  // The same, with an exception that appears at the await.
  FutureRef throw_(std::exception_ptr exception) {
    innermost_->exception = exception;
    return send();
  }

  // co_await coroutine: only notes who awaits whom. The loop in send() does the rest.
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>) const { frame_->awaited_by->cr_await = frame_.get(); }
  int await_resume() const {
    if (frame_->exception) std::rethrow_exception(frame_->exception);
    return frame_->result;
  }

  std::unique_ptr<Frame, void (*)(Frame*)> frame_;
  Frame* innermost_;
};

// A future that drives a coroutine, whose result it is.
class Task : public Future {
 public:
  Task(EventLoop& loop, Coroutine coroutine) : Future(loop), coro_(std::move(coroutine)) {}

  bool cancel() override {
    if (done()) return false;
    if (fut_waiter_ && fut_waiter_->cancel()) return true;  // which wakes this task
    must_cancel_ = true;                                    // the next step is scheduled already: it will throw
    return true;
  }

  void step() {
    fut_waiter_ = nullptr;
    const bool throws = std::exchange(must_cancel_, false);
    try {
      const FutureRef future = throws ? coro_.throw_(std::make_exception_ptr(CancelledError())) : coro_.send();
      if (!coro_.done()) return handle_yield(future);
      if (must_cancel_) throw CancelledError();  // cancelled between its last await and its end
      set_result(coro_.frame_->result);
    } catch (const CancelledError&) {
      Future::cancel();
    } catch (...) {
      set_exception(std::current_exception());
    }
  }
  void step_soon() {
    loop.call_soon([self = shared_from_this(), this] { step(); });
  }

 private:
  void handle_yield(FutureRef future) {
    if (!future) return step_soon();  // a bare yield: its turn comes again in the next iteration
    future->add_done_callback([self = shared_from_this(), this](FutureRef done) { wakeup(done); });
    fut_waiter_ = future;
    if (must_cancel_ && fut_waiter_->cancel()) must_cancel_ = false;
  }
  void wakeup(FutureRef future) {
    if (future->cancelled()) must_cancel_ = false;  // this is its cancellation
    step();
  }

  Coroutine coro_;
  FutureRef fut_waiter_;  // what it awaits
  bool must_cancel_ = false;
};

using TaskRef = std::shared_ptr<Task>;

TaskRef create_task(EventLoop& loop, Coroutine coroutine) {
  const TaskRef task = std::make_shared<Task>(loop, std::move(coroutine));
  task->step_soon();
  return task;
}

EventLoop& get_running_loop() { return *EventLoop::running_loop; }
TaskRef create_task(Coroutine coroutine) { return create_task(get_running_loop(), std::move(coroutine)); }

Coroutine sleep(double delay) {
  if (delay <= 0) co_return co_await BareYield();
  const FutureRef future = std::make_shared<Future>(get_running_loop());
  get_running_loop().call_later(delay, [future] {
    if (!future->done()) future->set_result(0);
  });
  co_return co_await future;
}

int run(Coroutine main) {
  EventLoop loop;
  return loop.run_until_complete(create_task(loop, std::move(main)));
}

void say(std::string text) { std::cout << text << "\n"; }

Coroutine sleeper(bool stubborn) {
  try {
    co_await sleep(3600.0);
  } catch (const CancelledError&) {
    say("  sleeper: a CancelledError, at the await");
    if (!stubborn) throw;
  }
  co_return 42;
}

Coroutine cancel(TaskRef task) {
  task->cancel();
  say("  cancel() has returned, and nothing has happened yet");
  try {
    const int result = co_await task;
    say("  the task has returned " + std::to_string(result));
  } catch (const CancelledError&) {
    say("  the task is cancelled");
  }
  co_return 0;
}

Coroutine tour() {
  const TaskRef a = create_task(sleeper(false)), b = create_task(sleeper(true));
  co_await sleep(0.02);
  say("a task that lets it go on:");
  co_await cancel(a);
  say("a task that does not:");
  co_await cancel(b);
  say("a task that has not begun:");
  co_await cancel(create_task(sleeper(false)));
  co_return 0;
}

int main() { run(tour()); }
