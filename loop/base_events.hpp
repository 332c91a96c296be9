// The event loop: it runs ready callbacks and due timers, and waits for descriptors in the selector.
// Upstream counterpart: Lib/asyncio/base_events.py and the first half of selector_events.py.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loop/abstract_events.hpp"
#include "loop/python/deque.hpp"
#include "loop/python/heapq.hpp"
#include "loop/python/inbox.hpp"
#include "selectors/selectors.hpp"

namespace asyncio {

class AnyTask;    // task/tasks.hpp
class TaskState;  // task/tasks.hpp

/// Futures and tasks may outlive their loop. They refer to it through this object, in which `loop` becomes null when
/// the loop is destroyed.
struct LoopAnchor : Counted {
  explicit LoopAnchor(EventLoop* running) noexcept : loop(running) {}
  /// RuntimeError "Event loop is closed" if it is gone.
  EventLoop& get_loop() const;

  EventLoop* loop;
};

/// Is told what a loop does, at once and in the loop's thread. It may keep the handles, tasks and futures. A loop has
/// at most one observer, so that without one each event costs only the test of a pointer. Programs derive from
/// Instrument instead. `by` is null where no callback or task is running.
struct LoopObserver {
  virtual ~LoopObserver() = default;
  /// The loop is about to wait for at most `timeout` seconds; nullopt: until something happens.
  virtual void before_select(std::optional<double> /*timeout*/) {}
  /// What the selector reported; the span is valid during the call.
  virtual void after_select(std::span<const selectors::SelectorEvent> /*events*/) {}

  /// A callback or task step was queued, or a timer was set, while `by` was running. `by` is null for a descriptor that
  /// is ready and for another thread.
  virtual void handle_scheduled(const Handle& /*handle*/, const Handle& /*by*/) {}
  /// A callback or task step is about to run.
  virtual void before_run(const Handle& /*handle*/) {}
  /// It has returned or thrown.
  virtual void after_run(const Handle& /*handle*/) {}

  /// A task was created, while the task `by` was running.
  virtual void task_created(const AnyTask& /*task*/, const AnyTask& /*by*/) {}
  /// The task's coroutine is about to run, until it waits or ends.
  virtual void task_step(const AnyTask& /*task*/) {}
  /// The task waits for the future `on`, which is null for a bare yield as in sleep(0).
  virtual void task_waits(const AnyTask& /*task*/, const AnyFuture& /*on*/) {}
  /// The future `by`, for which the task waited, is done, and the next step of the task is scheduled.
  virtual void task_woken(const AnyTask& /*task*/, const AnyFuture& /*by*/) {}
  /// The task has returned or raised, was cancelled, or ended because its loop was closed.
  virtual void task_done(const AnyTask& /*task*/) {}
};

/// What the rest of the library attaches to a loop: transports, signal handlers, executors (loop/io/world.hpp). It ends
/// with the loop. These methods are all that the kernel knows of it. A loop of the kernel alone has none.
class LoopWorld {
 public:
  explicit LoopWorld(EventLoop& loop) noexcept : loop_(loop) {}
  virtual ~LoopWorld() = default;
  /// RuntimeError if a transport owns the descriptor.
  /// asyncio: selector_events.BaseSelectorEventLoop._ensure_fd_no_transport
  virtual void ensure_fd_no_transport(int fd) const = 0;
  /// Bytes were read from the self-pipe: 0 from another thread, else the number of a signal.
  /// asyncio: selector_events.BaseSelectorEventLoop._process_self_data
  virtual void process_self_data(std::string_view data) = 0;
  /// Called in debug mode when the loop is about to wait without a timeout. NOTES [deadlock]
  virtual void check_can_be_woken() const = 0;
  /// From now on SIGINT calls the handle. Returns false, and does nothing, if the program has its own SIGINT handler,
  /// or outside the main thread.
  virtual bool add_interrupt_handler(const Ref<HandleState>& handle) = 0;
  /// Returns how often SIGINT has arrived since then; 0 if the program has replaced the handler meanwhile.
  virtual int remove_interrupt_handler(const Ref<HandleState>& handle) noexcept = 0;
  /// Run before the runner closes the loop. asyncio: base_events.BaseEventLoop.shutdown_default_executor
  virtual Coroutine<void> shutdown() = 0;
  /// The loop is being closed: everything that is attached ends.
  virtual void close() noexcept = 0;

 protected:
  EventLoop& loop_;
};

/// Called by the constructor of a loop. Defined in loop/io/world.cpp; for the kernel alone, loop/alone.cpp returns
/// null.
std::unique_ptr<LoopWorld> make_world(EventLoop& loop);

/// Called with every new loop, if the program defines it: a recorder does, to watch loops that others make. Called in the
/// constructor of EventLoop, when a subclass of it is not constructed yet.
[[gnu::weak]] void loop_created(EventLoop& loop);

/// Options of create_task.
struct TaskOptions {
  std::string_view name{};           // default: Task-N
  bool eager_start = false;          // take the first step at once, inside create_task, if the loop runs
  const Context* context = nullptr;  // in which it runs, needed during the call; default: a copy of the current one
};

/// Whether the environment variable ASYNCIO_DEBUG is set and not empty. asyncio: coroutines._is_debug_mode
bool debug_by_environment() noexcept;

/// One thread owns a loop and every object made with it: other threads may call only call_soon_threadsafe. All times
/// are in seconds, as double, on the clock of time(). What would schedule something on a closed loop raises
/// RuntimeError "Event loop is closed". asyncio: base_events.BaseEventLoop
class EventLoop : public AbstractEventLoop {
 public:
  /// With a DefaultSelector. std::system_error if the kernel gives no descriptors.
  EventLoop();
  /// With the given selector. ValueError if it is null.
  explicit EventLoop(std::unique_ptr<selectors::BaseSelector> selector);
  /// Closes the loop. Must not be called while the loop is running.
  virtual ~EventLoop();

  /// Runs until stop() is called. RuntimeError if this loop is running, or another one in this thread.
  /// asyncio: base_events.BaseEventLoop.run_forever
  void run_forever();
  /// Runs until the awaitable is done, then returns its result (moved out) or raises its exception. RuntimeError if the
  /// loop was stopped before that. Defined in task/tasks.hpp.
  /// asyncio: base_events.BaseEventLoop.run_until_complete
  template <class T> T run_until_complete(Coroutine<T> coroutine);
  template <class T> T run_until_complete(Future<T> future);
  /// run_forever() returns at the end of the current iteration. asyncio: base_events.BaseEventLoop.stop
  void stop() noexcept { stopping_ = true; }
  /// asyncio: base_events.BaseEventLoop.is_running
  bool is_running() const noexcept { return thread_id_.load(std::memory_order_relaxed) != std::thread::id(); }
  /// asyncio: base_events.BaseEventLoop.is_closed
  bool is_closed() const noexcept { return closed_; }
  /// Destroys all callbacks and ends all pending tasks: each is reported, its coroutine frame is destroyed, and it
  /// counts as cancelled. RuntimeError while the loop is running. No effect the second time.
  /// asyncio: base_events.BaseEventLoop.close
  void close();
  /// The loop's monotonic clock, in seconds. Override it for a virtual clock. asyncio: base_events.BaseEventLoop.time
  virtual double time() const;

  /// Calls f(args...) in the next iteration. In debug mode RuntimeError from a thread that does not run the loop.
  /// asyncio: base_events.BaseEventLoop.call_soon
  template <class F, class... Args> Handle call_soon(F&& f, Args&&... args) {
    return call_soon_handle(make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// The same from any thread; wakes the loop up. asyncio: base_events.BaseEventLoop.call_soon_threadsafe
  template <class F, class... Args> void call_soon_threadsafe(F&& f, Args&&... args) {
    add_threadsafe(make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// Calls f(args...) after `delay`, never earlier. ValueError for NaN.
  /// asyncio: base_events.BaseEventLoop.call_later
  template <class F, class... Args> TimerHandle call_later(Delay delay, F&& f, Args&&... args) {
    return call_at(time() + delay.seconds(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// Calls f(args...) when time() has reached `when`. Timers with equal times run in the order of Python's heapq.
  /// asyncio: base_events.BaseEventLoop.call_at
  template <class F, class... Args> TimerHandle call_at(double when, F&& f, Args&&... args) {
    return call_at_handle(make_bound_handle<TimerHandleState>(
        std::forward_as_tuple(std::forward<F>(f), std::forward<Args>(args)...), when, *this));
  }

  /// A pending future of this loop. Defined in future/futures.hpp. asyncio: base_events.BaseEventLoop.create_future
  template <class T = void> Future<T> create_future();
  /// Schedules the coroutine as a task; the loop need not be running yet. Defined in task/tasks.hpp.
  /// asyncio: base_events.BaseEventLoop.create_task
  template <class T> Task<T> create_task(Coroutine<T> coroutine, const TaskOptions& options = {});
  /// The same with the coroutine that f() returns; f is kept until the task is done.
  template <class F> auto create_task(F f, const TaskOptions& options = {})
      -> Task<typename std::invoke_result_t<F&>::value_type>;

  /// Calls f(args...) in each iteration in which fd is readable. Replaces the reader that fd had. Errors as
  /// selectors::BaseSelector::register_; RuntimeError if a transport owns fd.
  /// asyncio: selector_events.BaseSelectorEventLoop._add_reader
  template <class F, class... Args> Handle add_reader(int fd, F&& f, Args&&... args) {
    ensure_fd_no_transport(fd);
    return add_io_handle(fd, selectors::EVENT_READ, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// The same when fd is writable. asyncio: selector_events.BaseSelectorEventLoop._add_writer
  template <class F, class... Args> Handle add_writer(int fd, F&& f, Args&&... args) {
    ensure_fd_no_transport(fd);
    return add_io_handle(fd, selectors::EVENT_WRITE, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// Returns false if fd had no reader. RuntimeError if a transport owns fd.
  /// asyncio: selector_events.BaseSelectorEventLoop._remove_reader
  bool remove_reader(int fd) {
    ensure_fd_no_transport(fd);
    return remove_io_handle(fd, selectors::EVENT_READ);
  }
  /// The same for the writer. asyncio: selector_events.BaseSelectorEventLoop._remove_writer
  bool remove_writer(int fd) {
    ensure_fd_no_transport(fd);
    return remove_io_handle(fd, selectors::EVENT_WRITE);
  }

  using ExceptionHandler = std::function<void(EventLoop&, const ExceptionContext&)>;
  /// The function that is told of an error in a callback. nullptr restores default_exception_handler.
  /// asyncio: base_events.BaseEventLoop.set_exception_handler
  void set_exception_handler(ExceptionHandler handler) { exception_handler_ = std::move(handler); }
  /// Reports an error to the exception handler. If the handler throws, that is written to std::cerr; only
  /// KeyboardInterrupt and SystemExit are raised.
  /// asyncio: base_events.BaseEventLoop.call_exception_handler
  void call_exception_handler(const ExceptionContext& context);
  /// The same. If memory is exhausted, the context has no message.
  void report(const char* message, ExceptionContext context);
  /// Writes the error to std::cerr. asyncio: base_events.BaseEventLoop.default_exception_handler
  void default_exception_handler(const ExceptionContext& context);

  /// Debug mode checks the calling thread, reports slow callbacks and detects deadlocks. With ASYNCIO_DEBUG=1 in the
  /// environment a loop starts in it. asyncio: base_events.BaseEventLoop.get_debug
  bool get_debug() const noexcept { return debug_; }
  /// asyncio: base_events.BaseEventLoop.set_debug
  void set_debug(bool enabled) noexcept { debug_ = enabled; }
  /// In seconds: a callback that takes this long is reported as slow in debug mode.
  double slow_callback_duration = 0.1;
  /// Called for a slow callback: `name` is what its handle's repr() was before it ran. Writes a line to std::cerr;
  /// override it to report elsewhere. asyncio: the warning in base_events.BaseEventLoop._run_once
  virtual void slow_callback(const Handle& handle, const std::string& name, double seconds);

  // For the rest of the library, and for a program that has handles of its own.

  /// RuntimeError if the loop is closed or, in debug mode, is running in another thread.
  void check_usable() const {
    check_closed();
    if (debug_) check_thread();
  }
  /// As call_soon, call_at and call_soon_threadsafe, for a handle that exists already.
  Handle call_soon_handle(Ref<HandleState> handle) {
    check_usable();
    add_callback(handle);
    return Handle(std::move(handle));
  }
  TimerHandle call_at_handle(Ref<TimerHandleState> timer);
  void add_threadsafe(Ref<HandleState> handle);
  /// As add_reader or add_writer, but also for a descriptor that a transport owns.
  Handle add_io_handle(int fd, unsigned event, Ref<HandleState> handle);
  /// As remove_reader or remove_writer, but also for a descriptor that a transport owns. With `keep_watching`, the
  /// selector is told only when the event happens and nobody waits for it. NOTES [sock-wait]
  bool remove_io_handle(int fd, unsigned event, bool keep_watching = false);
  /// Queues a handle, after the handles that other threads have added.
  /// asyncio: selector_events.BaseSelectorEventLoop._add_callback
  void add_callback(Ref<HandleState> handle) {
    make_room(1);
    wake(std::move(handle));
  }
  /// When the loop closes, it ends the handle, unless the handle has left the loop's list before.
  void add_pending(PendingHandle& handle) { add_pending(pending_callbacks_, handle); }
  const LinkedList<PendingHandle>& pending_tasks() const noexcept { return pending_tasks_; }
  const std::shared_ptr<Inbox>& inbox() const noexcept { return inbox_; }
  /// For objects that may outlive the loop.
  const Ref<LoopAnchor>& anchor() const noexcept { return anchor_; }
  /// The loop's selector; it is closed with the loop.
  selectors::BaseSelector& selector() const noexcept { return *selector_; }
  /// What the rest of the library has attached; null in a program that links only the kernel.
  LoopWorld* world() const noexcept { return world_.get(); }
  LoopObserver* observer() const noexcept { return observer_.get(); }
  /// What an observer can see: the ready queue; the timers, as the heap they are; reader and writer of each descriptor.
  auto inspect() const noexcept { return std::tie(ready_, scheduled_, io_handles_); }
  /// Replaces and destroys the observer; null: the loop has none.
  void set_observer(std::unique_ptr<LoopObserver> observer) noexcept { observer_ = std::move(observer); }

 private:
  friend struct LoopAnchor;
  friend class TimerHandleState;
  friend class FutureState;
  friend class SelectorTransport;
  friend class TaskState;
  friend AnyTask current_task(EventLoop& loop);
  friend class Runner;

  // An entry of the timer heap. It has its own copy of the time, so that sifting does not have to follow the pointers.
  struct Scheduled {
    double when;
    Ref<TimerHandleState> handle;
    friend bool operator<(const Scheduled& a, const Scheduled& b) noexcept { return a.when < b.when; }
  };
  // The callbacks that wait for a descriptor: the `data` of its registration.
  struct IoHandles {
    Ref<HandleState> reader, writer;
    unsigned watched = 0;  // what the selector watches: all of events(), or more [sock-wait]
    unsigned events() const noexcept {
      return (reader ? selectors::EVENT_READ : 0) | (writer ? selectors::EVENT_WRITE : 0);
    }
    Ref<HandleState>& of(unsigned event) noexcept { return event == selectors::EVENT_READ ? reader : writer; }
  };

  // One iteration, in upstream's order.
  void run_once();
  void take_from_inbox() noexcept {
    if (inbox_->waiting()) empty_inbox();
  }
  void empty_inbox() noexcept;
  void drop_cancelled_timers();
  std::span<const selectors::SelectorEvent> select();
  std::optional<double> select_timeout() const;
  void process_events(std::span<const selectors::SelectorEvent> events);
  void queue_due_timers();
  void run_ready();
  void run_observed(HandleState& handle);
  void run_and_time(HandleState& handle);

  void check_closed() const {
    if (closed_) throw_closed();
  }
  [[noreturn]] static void throw_closed();
  void check_running() const;
  void check_thread() const;
  void ensure_fd_no_transport(int fd) const {
    if (world_) world_->ensure_fd_no_transport(fd);
  }
  // Queues a handle for which make_room() has already reserved a place.
  void wake(Ref<HandleState> handle) noexcept {
    take_from_inbox();
    if (observer_) tell_scheduled(handle);
    ready_.append(std::move(handle));
  }
  // Reserves places in the queue for n more handles and for every pending handle, because waking one must not fail when
  // memory is exhausted. One place more is for the handle that wake() holds while an observer, who may schedule, is told.
  void make_room(std::size_t n) {
    if (ready_.size() + listed_ + n >= ready_.capacity()) grow_ready(n);
  }
  void grow_ready(std::size_t n);
  void tell_scheduled(const Ref<HandleState>& handle);
  void add_pending(LinkedList<PendingHandle>& list, PendingHandle& handle) {
    make_room(1);
    ++listed_;
    list.push_back(handle);
  }
  void timer_handle_cancelled() noexcept { ++timer_cancelled_count_; }
  void run_until_done(const AnyFuture& future, bool new_task);

  void cancel_io_handles(IoHandles& handles) noexcept;
  void make_self_pipe();
  void read_from_self();
  void end_pending() noexcept;

  std::unique_ptr<selectors::BaseSelector> selector_;
  Ref<LoopAnchor> anchor_;

  // What run_once works on.
  Deque<Ref<HandleState>> ready_;
  std::size_t listed_ = 0;            // at least as many as can be woken: they have places in ready_, see make_room
  std::vector<Scheduled> scheduled_;  // a heap, as heapq makes it
  std::size_t timer_cancelled_count_ = 0;
  std::unordered_map<int, IoHandles> io_handles_;  // by descriptor; never erased, because the selector keeps pointers
  bool stopping_ = false;
  bool closed_ = false;
  bool debug_ = false;
  TaskState* current_task_ = nullptr;
  std::unique_ptr<LoopObserver> observer_;
  HandleState* running_ = nullptr;  // the handle that runs now, if there is an observer
  ExceptionHandler exception_handler_;

  // What must end with the loop: pending tasks, and callbacks of pending futures.
  LinkedList<PendingHandle> pending_tasks_, pending_callbacks_;

  std::shared_ptr<Inbox> inbox_;              // handles from other threads
  std::atomic<std::thread::id> thread_id_{};  // the thread that runs the loop
  std::unique_ptr<LoopWorld> world_;
};

inline EventLoop& LoopAnchor::get_loop() const {
  if (!loop) EventLoop::throw_closed();
  return *loop;
}

inline EventLoop& AbstractEventLoop::self() noexcept { return static_cast<EventLoop&>(*this); }

}  // namespace asyncio
