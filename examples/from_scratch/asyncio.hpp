// asyncio's core on a few pages: where the nine programs beside this file lead, with the names, the structure and the
// behaviour of CPython's. Read it from the top: descriptors, the loop, futures, coroutines, tasks, run.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <any>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <coroutine>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace selectors {

constexpr unsigned EVENT_READ = EPOLLIN, EVENT_WRITE = EPOLLOUT;

struct SelectorEvent {
  int fd;
  unsigned events;
};

/// Waits until a registered descriptor is ready. asyncio: selectors.EpollSelector
struct EpollSelector {
  virtual ~EpollSelector() { ::close(epfd_); }

  /// What fd is registered for; 0 for nothing. asyncio: selectors.BaseSelector.get_map
  unsigned get_events(int fd) const { return events_.contains(fd) ? events_.at(fd) : 0; }

  /// Registers fd, or modifies its registration; without events unregisters it. asyncio: selectors.EpollSelector
  void modify(int fd, unsigned events) {
    const int operation = !get_events(fd) ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    epoll_event event{events, {.fd = fd}};
    const int result = ::epoll_ctl(epfd_, operation, fd, &event);
    if (operation != EPOLL_CTL_DEL) check(result);  // if fd was closed, the kernel has unregistered it already
    events_[fd] = events;
  }

  /// Waits for at most `timeout` seconds, without one for ever. asyncio: selectors.EpollSelector.select
  virtual std::span<const SelectorEvent> select(std::optional<double> timeout) {
    std::vector<epoll_event> ready(std::max<std::size_t>(events_.size(), 1));
    const int milliseconds = timeout ? static_cast<int>(std::ceil(*timeout * 1e3)) : -1;  // rounded up: never early
    const int n = ::epoll_wait(epfd_, ready.data(), static_cast<int>(ready.size()), milliseconds);
    if (n < 0 && errno != EINTR) check(n);
    ready_.clear();
    for (const epoll_event& event : std::span(ready).first(std::max(n, 0))) {
      const bool end = event.events & (EPOLLHUP | EPOLLERR);  // of which reader and writer must hear
      ready_.push_back({event.data.fd, (end ? EVENT_READ | EVENT_WRITE : event.events) & get_events(event.data.fd)});
    }
    return ready_;
  }

  static int check(int result) {
    return result < 0 ? throw std::system_error(errno, std::generic_category(), "epoll") : result;
  }

  int epfd_ = check(::epoll_create1(EPOLL_CLOEXEC));
  std::map<int, unsigned> events_;
  std::vector<SelectorEvent> ready_;
};

using DefaultSelector = EpollSelector;

}  // namespace selectors

namespace asyncio {

using Selector = selectors::DefaultSelector;
using RuntimeError = std::runtime_error;
using ValueError = std::invalid_argument;

struct InvalidStateError : RuntimeError {
  using RuntimeError::RuntimeError;
};

/// Not an error: `catch (const std::exception&)` lets it pass. asyncio: exceptions.CancelledError
struct CancelledError {
  const char* what() const noexcept { return message.c_str(); }
  std::string message;
};

/// Python's `finally`.
template <class F> struct Finally {
  explicit Finally(F f) : f(f) {}
  ~Finally() { f(); }
  F f;
};

/// A callback that is scheduled. A reference, as Future and Task are: a copy is the same handle. asyncio: events.Handle
struct Handle {
  explicit Handle(std::function<void()> callback, double when = 0) : state_(new State{callback, when, false}) {}
  void cancel() const { state_->cancelled = true; }
  bool cancelled() const { return state_->cancelled; }
  void run() const {
    try {
      state_->callback();
    } catch (const std::exception& error) {
      std::cerr << "Exception in callback: " << error.what() << "\n";
    } catch (...) {
      std::cerr << "Exception in callback\n";
    }
  }

  struct State {
    std::function<void()> callback;
    double when;
    bool cancelled;
  };
  std::shared_ptr<State> state_;
};

/// asyncio: events.TimerHandle
struct TimerHandle : Handle {
  using Handle::Handle;
  double when() const { return state_->when; }
};

template <class T = void> struct Future;
template <class T = void> struct Task;
template <class T = void> struct Coroutine;
struct TaskState;
class EventLoop;

inline thread_local EventLoop* running_loop = nullptr;

/// Calls callbacks: soon, later, or when a descriptor is ready. asyncio: base_events.BaseEventLoop
class EventLoop {
 public:
  explicit EventLoop(std::unique_ptr<Selector> selector = std::make_unique<Selector>())
      : selector_(std::move(selector)) {}
  ~EventLoop() { close(); }

  virtual double time() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  template <class F, class... Args> Handle call_soon(F f, Args... args) {
    check_closed();
    return ready_.emplace_back(std::bind_front(f, args...));
  }
  template <class F, class... Args> TimerHandle call_later(double delay, F f, Args... args) {
    return call_at(time() + delay, f, args...);
  }
  template <class F, class... Args> TimerHandle call_at(double when, F f, Args... args) {
    check_closed();
    const TimerHandle timer = scheduled_.emplace_back(std::bind_front(f, args...), when);
    std::ranges::push_heap(scheduled_, std::greater(), &TimerHandle::when);  // lets equal ones out as heapq does
    return timer;
  }

  /// Calls f in every iteration in which fd can be read, or is at its end.
  template <class F, class... Args> void add_reader(int fd, F f, Args... args) {
    add_callback(fd, selectors::EVENT_READ, Handle(std::bind_front(f, args...)));
  }
  template <class F, class... Args> void add_writer(int fd, F f, Args... args) {
    add_callback(fd, selectors::EVENT_WRITE, Handle(std::bind_front(f, args...)));
  }
  bool remove_reader(int fd) { return remove_callback(fd, selectors::EVENT_READ); }
  bool remove_writer(int fd) { return remove_callback(fd, selectors::EVENT_WRITE); }

  void run_forever() {
    check_closed();
    if (running_loop) throw RuntimeError("Cannot run the event loop while another loop is running");
    running_loop = this;
    const Finally leave([this] { stopping_ = false, running_loop = nullptr; });
    do run_once();
    while (!stopping_);
  }
  /// Returns what the future or task ends with, or throws it.
  template <class T> T run_until_complete(Future<T> future) {
    const int callback = future.add_done_callback([this](const Future<T>&) { stop(); });
    const Finally remove([&] { future.remove_done_callback(callback); });
    run_forever();
    return future.done() ? future.result() : throw RuntimeError("Event loop stopped before Future completed.");
  }
  template <class T> T run_until_complete(Coroutine<T> main) {
    return run_until_complete(create_task(std::move(main)));
  }
  /// The iteration in which it is called is the last one.
  void stop() { stopping_ = true; }
  /// Forgets all that is scheduled, and destroys the frames of the tasks that are not done.
  void close();

  template <class T = void> Future<T> create_future() { return Future<T>(*this); }
  template <class T> Task<T> create_task(Coroutine<T> coroutine) { return Task<T>(std::move(coroutine), *this); }

  std::set<std::shared_ptr<TaskState>> tasks;  // those that are not done
  TaskState* current_task = nullptr;           // whose step is running

 private:
  // One iteration. asyncio: base_events.BaseEventLoop._run_once
  void run_once() {
    drop_cancelled_timers();
    process_events(selector_->select(select_timeout()));
    queue_due_timers();
    run_ready();
  }

  void drop_cancelled_timers() {
    while (!scheduled_.empty() && scheduled_.front().cancelled()) pop_timer();
  }

  std::optional<double> select_timeout() const {
    if (!ready_.empty() || stopping_) return 0;
    if (scheduled_.empty()) return std::nullopt;
    return std::clamp(scheduled_.front().when() - time(), 0.0, 24 * 3600.0);
  }

  void process_events(std::span<const selectors::SelectorEvent> ready) {
    for (const auto& [fd, events] : ready) {
      for (unsigned event : {selectors::EVENT_READ, selectors::EVENT_WRITE}) {
        if (events & event) ready_.push_back(callbacks_.at({fd, event}));
      }
    }
  }

  void queue_due_timers() {
    const double end_time = time() + 1e-9;  // the clock's resolution
    while (!scheduled_.empty() && scheduled_.front().when() < end_time) ready_.push_back(pop_timer());
  }

  // What is ready now is run. What that schedules is for the next iteration.
  void run_ready() {
    for (std::size_t ntodo = ready_.size(); ntodo > 0; --ntodo) {
      const Handle handle = ready_.front();
      ready_.pop_front();
      if (!handle.cancelled()) handle.run();
    }
  }

  TimerHandle pop_timer() {
    std::ranges::pop_heap(scheduled_, std::greater(), &TimerHandle::when);
    const TimerHandle timer = scheduled_.back();
    scheduled_.pop_back();
    return timer;
  }

  void add_callback(int fd, unsigned event, Handle handle) {
    check_closed();
    selector_->modify(fd, selector_->get_events(fd) | event);
    if (const auto old = callbacks_.extract({fd, event})) old.mapped().cancel();
    callbacks_.emplace(std::pair(fd, event), handle);
  }

  bool remove_callback(int fd, unsigned event) {
    const auto old = callbacks_.extract({fd, event});
    if (!old) return false;
    old.mapped().cancel();  // it may be in the queue already
    selector_->modify(fd, selector_->get_events(fd) & ~event);
    return true;
  }

  void check_closed() const {
    if (closed_) throw RuntimeError("Event loop is closed");
  }

  std::unique_ptr<Selector> selector_;
  std::deque<Handle> ready_;
  std::vector<TimerHandle> scheduled_;                    // a heap: the next one first
  std::map<std::pair<int, unsigned>, Handle> callbacks_;  // of a descriptor, for EVENT_READ or EVENT_WRITE
  bool stopping_ = false, closed_ = false;
};

/// asyncio: events.get_running_loop
inline EventLoop& get_running_loop() {
  return running_loop ? *running_loop : throw RuntimeError("no running event loop");
}

enum State { PENDING, CANCELLED, FINISHED };

/// What a Future refers to. Its result may be of any type: only the reference knows which. asyncio: futures.Future
struct FutureState : std::enable_shared_from_this<FutureState> {
  using Ref = std::shared_ptr<FutureState>;
  explicit FutureState(EventLoop& loop) : loop(loop) {}
  virtual ~FutureState() = default;

  bool done() const { return state_ != PENDING; }
  bool cancelled() const { return state_ == CANCELLED; }
  const std::any& result() const {
    if (!done()) throw InvalidStateError("Result is not ready.");
    if (exception_) std::rethrow_exception(exception_);
    return result_;
  }
  /// asyncio: futures.Future.set_result, set_exception
  void finish(State state, std::any result, std::exception_ptr exception) {
    if (done()) throw InvalidStateError("invalid state");
    state_ = state;
    result_ = std::move(result);
    exception_ = std::move(exception);
    schedule_callbacks();
  }
  virtual bool cancel(std::string message) {
    if (done()) return false;
    finish(CANCELLED, {}, std::make_exception_ptr(CancelledError{message}));
    return true;
  }
  int add_done_callback(std::function<void(Ref)> callback) {
    callbacks_[++callback_count_] = callback;
    if (done()) schedule_callbacks();
    return callback_count_;
  }
  std::size_t remove_done_callback(int id) { return callbacks_.erase(id); }

  // They are called in the next iteration, in the order in which they were added.
  void schedule_callbacks() {
    for (const auto& [id, callback] : std::exchange(callbacks_, {})) loop.call_soon(callback, shared_from_this());
  }

  EventLoop& loop;
  State state_ = PENDING;
  std::any result_;
  std::exception_ptr exception_;  // an error, a CancelledError, or null
  std::map<int, std::function<void(Ref)>> callbacks_;
  int callback_count_ = 0;
};

/// The value in a std::any; nothing if T is void.
template <class T> T value_of(const std::any& value) {
  if constexpr (!std::is_void_v<T>) return std::any_cast<T>(value);
}

/// What there is of a coroutine while it is suspended: the beginning of its promise. asyncio: genobject.c PyCoroObject
struct Frame {
  std::coroutine_handle<> handle;
  Frame* awaited_by = nullptr;   // goes on when this one has returned
  Frame* cr_await = nullptr;     // the coroutine that this one awaits
  FutureState::Ref yielded;      // the future that it awaits; null: it has only given up its turn
  std::exception_ptr exception;  // what to throw at the await; at the end, what the body threw
  std::any result;
};

/// `co_await future`: suspends, unless it is done, and yields the future to whoever called send(). With no future
/// it is a bare yield. asyncio: futures.Future.__await__
template <class T> struct FutureAwaiter {
  FutureAwaiter(Frame& frame, FutureState::Ref future) : frame_(frame), future_(future) {}
  bool await_ready() const { return future_ && future_->done(); }
  void await_suspend(std::coroutine_handle<> handle) const { frame_.handle = handle, frame_.yielded = future_; }
  T await_resume() const {
    if (frame_.exception) std::rethrow_exception(std::exchange(frame_.exception, nullptr));
    return value_of<T>(future_ ? future_->result() : std::any());
  }

  Frame& frame_;
  FutureState::Ref future_;
};

/// What sleep(0) awaits: its turn in the next iteration. asyncio: tasks.__sleep0
struct BareYield {
  FutureAwaiter<void> await(Frame& frame) const { return {frame, nullptr}; }
};

/// A reference to a result that will be set later, once. asyncio: futures.Future
template <class T> struct Future {
  explicit Future(EventLoop& loop) : Future(std::make_shared<FutureState>(loop)) {}
  explicit Future(FutureState::Ref state) : state_(state) {}

  bool done() const { return state_->done(); }
  bool cancelled() const { return state_->cancelled(); }
  bool cancel(std::string message = "") const { return state_->cancel(message); }
  T result() const { return value_of<T>(state_->result()); }
  std::exception_ptr exception() const { return done() && !cancelled() ? state_->exception_ : (result(), nullptr); }
  void set_result() const requires std::is_void_v<T> { state_->finish(FINISHED, {}, nullptr); }
  template <class U = T> void set_result(U value) const { state_->finish(FINISHED, T(value), nullptr); }
  template <class E> void set_exception(E error) const { state_->finish(FINISHED, {}, std::make_exception_ptr(error)); }
  template <class F> int add_done_callback(F f) const {
    return state_->add_done_callback([f](const FutureState::Ref& state) { f(Future(state)); });
  }
  std::size_t remove_done_callback(int id) const { return state_->remove_done_callback(id); }
  FutureAwaiter<T> await(Frame& frame) const { return {frame, state_}; }

  FutureState::Ref state_;
};

/// A coroutine, but for the type of its result: owns the frame, which runs when somebody drives it.
struct CoroutineBase {
  CoroutineBase(Frame* frame = nullptr) : frame_(frame, destroy), innermost_(frame) {}

  /// Runs to the next await that suspends, and returns what is awaited: a future, or null; nullopt when the body has
  /// returned. What the body throws comes out. asyncio: genobject.c gen_send
  std::optional<FutureState::Ref> send() {
    for (;;) {
      innermost_->handle.resume();
      if (!innermost_->handle.done()) {
        if (!innermost_->cr_await) return innermost_->yielded;
        innermost_ = innermost_->cr_await;  // awaits a coroutine: that one is to run now
      } else if (innermost_ != frame_.get()) {
        innermost_ = innermost_->awaited_by;  // has returned: its awaiter goes on
        innermost_->cr_await = nullptr;
      } else {
        if (frame_->exception) std::rethrow_exception(frame_->exception);
        return std::nullopt;
      }
    }
  }
  /// The same, with an exception that appears at the await. asyncio: genobject.c gen_throw
  std::optional<FutureState::Ref> throw_(std::exception_ptr exception) {
    innermost_->exception = exception;
    return send();
  }
  /// The frame, before it is given to who will drive it.
  Frame& checked() const { return frame_ ? *frame_ : throw RuntimeError("cannot reuse already awaited coroutine"); }
  static void destroy(Frame* frame) { frame->handle.destroy(); }

  std::unique_ptr<Frame, void (*)(Frame*)> frame_;
  Frame* innermost_;
};

/// What the compiler asks of a coroutine; no more than it must.
struct PromiseBase : Frame {
  Frame* get_return_object() { return this; }
  FutureAwaiter<void> initial_suspend() { return {*this, nullptr}; }  // lazy: nothing runs before somebody calls send()
  std::suspend_always final_suspend() noexcept { return {}; }
  void unhandled_exception() { exception = std::current_exception(); }
  auto await_transform(auto&& awaitable) { return awaitable.await(*this); }
};
template <class T> struct Promise : PromiseBase {
  template <class U = T> void return_value(U&& value) { result = T(std::forward<U>(value)); }
};
template <> struct Promise<void> : PromiseBase {
  void return_void() {}
};

/// What a coroutine function returns. `co_await coroutine` notes who awaits whom: the loop in send() does the rest.
template <class T> struct [[nodiscard]] Coroutine : CoroutineBase {
  using promise_type = Promise<T>;
  using CoroutineBase::CoroutineBase;
  Coroutine await(Frame& frame) {
    checked().awaited_by = &frame;
    return std::move(*this);
  }
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>) const { frame_->awaited_by->cr_await = frame_.get(); }
  T await_resume() const {
    if (frame_->exception) std::rethrow_exception(frame_->exception);
    return value_of<T>(frame_->result);
  }
};

/// What a Task refers to: a future that drives a coroutine, whose result it is. asyncio: tasks.Task
struct TaskState : FutureState {
  TaskState(EventLoop& loop, CoroutineBase coroutine) : FutureState(loop), coro_(std::move(coroutine)) {
    coro_.checked();
  }

  void start() {
    step_soon(nullptr);
    loop.tasks.insert(self());
  }
  /// asyncio: tasks.Task.cancel
  bool cancel(std::string message) override {
    if (done()) return false;
    if (fut_waiter_ && fut_waiter_->cancel(message)) return true;  // which wakes this task
    must_cancel_ = true;                                           // the next step is scheduled already: it will throw
    cancel_message_ = message;
    return true;
  }
  std::shared_ptr<TaskState> self() { return std::static_pointer_cast<TaskState>(shared_from_this()); }

  void step_soon(std::exception_ptr exception) { loop.call_soon(&TaskState::step, self(), exception); }

  // From one await to the next. asyncio: tasks.Task.__step
  void step(std::exception_ptr exception) {
    if (std::exchange(must_cancel_, false)) exception = std::make_exception_ptr(CancelledError{cancel_message_});
    fut_waiter_ = nullptr;
    const Finally leave([&, previous = std::exchange(loop.current_task, this)] { loop.current_task = previous; });
    step_run_and_handle_result(exception);
  }

  // asyncio: tasks.Task.__step_run_and_handle_result
  void step_run_and_handle_result(std::exception_ptr exception) {
    try {
      const auto yielded = exception ? coro_.throw_(exception) : coro_.send();
      if (yielded) return handle_yield(*yielded);
      if (must_cancel_) throw CancelledError{cancel_message_};  // cancelled between its last await and its end
      finish(FINISHED, coro_.frame_->result, nullptr);
    } catch (const CancelledError&) {
      finish(CANCELLED, {}, std::current_exception());
    } catch (...) {
      finish(FINISHED, {}, std::current_exception());
    }
    coro_ = {};
    loop.tasks.erase(self());
  }

  void handle_yield(Ref future) {
    if (!future) return step_soon(nullptr);
    if (&future->loop != &loop) return step_soon(std::make_exception_ptr(RuntimeError("attached to a different loop")));
    if (future.get() == this) return step_soon(std::make_exception_ptr(RuntimeError("Task cannot await on itself")));
    future->add_done_callback([self = self()](const Ref& done) { self->wakeup(*done); });
    fut_waiter_ = future;
    if (must_cancel_ && fut_waiter_->cancel(cancel_message_)) must_cancel_ = false;
  }

  // What it waited for is done. asyncio: tasks.Task.__wakeup
  void wakeup(const FutureState& future) {
    if (future.cancelled()) must_cancel_ = false;  // this is its cancellation
    step(future.exception_);
  }

  CoroutineBase coro_;
  Ref fut_waiter_;  // what it awaits
  std::string cancel_message_;
  bool must_cancel_ = false;
};

/// A reference to a task. asyncio: tasks.Task
template <class T> struct Task : Future<T> {
  explicit Task(FutureState::Ref state) : Future<T>(state) {}
  Task(Coroutine<T> coroutine, EventLoop& loop) : Future<T>(std::make_shared<TaskState>(loop, std::move(coroutine))) {
    static_cast<TaskState&>(*this->state_).start();
  }
};

/// asyncio: tasks.create_task
template <class T> Task<T> create_task(Coroutine<T> coro) { return get_running_loop().create_task(std::move(coro)); }

/// asyncio: tasks.current_task
inline std::optional<Task<>> current_task(EventLoop& loop = get_running_loop()) {
  return loop.current_task ? std::optional<Task<>>(loop.current_task->self()) : std::nullopt;
}

/// Those that are not done. asyncio: tasks.all_tasks
inline std::vector<Task<>> all_tasks(EventLoop& loop = get_running_loop()) {
  return std::vector<Task<>>(loop.tasks.begin(), loop.tasks.end());
}

/// A future, and a timer that sets it. asyncio: tasks.sleep
inline Coroutine<> sleep(double delay) {
  if (delay <= 0) co_return co_await BareYield();
  const Future<> future = get_running_loop().create_future();
  const TimerHandle timer = get_running_loop().call_later(delay, [future] {
    if (!future.done()) future.set_result();
  });
  const Finally cancel([timer] { timer.cancel(); });
  co_await future;
}

/// asyncio: base_events.BaseEventLoop.close
inline void EventLoop::close() {
  if (running_loop == this) throw RuntimeError("Cannot close a running event loop");
  closed_ = true;
  for (const auto& task : std::exchange(tasks, {})) {
    task->coro_ = {};
    task->fut_waiter_ = nullptr;  // whose callback holds the task
  }
}

// asyncio: runners._cancel_all_tasks
inline Coroutine<> cancel_all_tasks(std::vector<Task<>> tasks) {
  for (const Task<>& task : tasks) task.cancel();
  for (const Task<>& task : tasks) {
    try {
      co_await task;
    } catch (...) {  // however it ends
    }
  }
}

/// Runs a coroutine on a loop of its own, and cancels what it left. asyncio: runners.run
template <class T> T run(Coroutine<T> main) {
  if (running_loop) throw RuntimeError("asyncio.run() cannot be called from a running event loop");
  EventLoop loop;
  const Finally cancel([&] { loop.run_until_complete(cancel_all_tasks(all_tasks(loop))); });
  return loop.run_until_complete(std::move(main));
}

}  // namespace asyncio
