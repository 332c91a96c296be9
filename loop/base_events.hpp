// The event loop: what is ready, what is due, what the selector reports, in turn, for ever.
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
#include <unordered_map>
#include <utility>
#include <vector>

#include "loop/abstract_events.hpp"
#include "loop/python/heapq.hpp"
#include "loop/python/inbox.hpp"
#include "selectors/selectors.hpp"

namespace asyncio {

class AnyTask;    // task/tasks.hpp
class TaskState;  // task/tasks.hpp

/// What outlives the loop: futures and tasks refer to their loop through it, and find null when the loop is
/// gone.
struct LoopAnchor : Counted {
  explicit LoopAnchor(EventLoop* running) noexcept : loop(running) {}
  /// RuntimeError "Event loop is closed" if it is gone.
  EventLoop& get_loop() const;

  EventLoop* loop;
};

/// Who is told what a loop does, at once and in its thread; references may be kept. A loop has one at most, and asks for
/// it with one test of a pointer: Instrument is what programs derive from. `by` is null where no callback or task is at
/// work.
struct LoopObserver {
  virtual ~LoopObserver() = default;
  /// An iteration begins: how long the loop is willing to wait, in seconds; nullopt: until something happens.
  virtual void before_select(std::optional<double> /*timeout*/) {}
  /// What the selector reported; the span is valid during the call.
  virtual void after_select(std::span<const selectors::SelectorEvent> /*events*/) {}

  /// By call_soon, call_at, a future that is done, a task that goes on; by nothing: a descriptor, another thread.
  virtual void handle_scheduled(const Handle& /*handle*/, const Handle& /*by*/) {}
  virtual void before_run(const Handle& /*handle*/) {}
  /// Also when it threw.
  virtual void after_run(const Handle& /*handle*/) {}

  virtual void task_created(const AnyTask& /*task*/, const AnyTask& /*by*/) {}
  /// Its coroutine is about to run, until it waits or ends.
  virtual void task_step(const AnyTask& /*task*/) {}
  /// Null: for nothing, as sleep(0) does.
  virtual void task_waits(const AnyTask& /*task*/, const AnyFuture& /*on*/) {}
  /// What it waited for is done: its next step is scheduled.
  virtual void task_woken(const AnyTask& /*task*/, const AnyFuture& /*by*/) {}
  /// Returned, raised, was cancelled, or ended with its loop.
  virtual void task_done(const AnyTask& /*task*/) {}
};

/// What the rooms above the kernel attach to a loop: transports, signals, executors (loop/io/world.hpp). It ends with the
/// loop. The kernel asks it these things and no others; where the kernel stands alone there is none.
class LoopWorld {
 public:
  explicit LoopWorld(EventLoop& loop) noexcept : loop_(loop) {}
  LoopWorld(const LoopWorld&) = delete;
  LoopWorld& operator=(const LoopWorld&) = delete;
  virtual ~LoopWorld() = default;
  /// RuntimeError if a transport owns the descriptor.
  /// asyncio: selector_events.BaseSelectorEventLoop._ensure_fd_no_transport
  virtual void ensure_fd_no_transport(int fd) const = 0;
  /// Bytes came through the self-pipe: numbers of signals.
  /// asyncio: selector_events.BaseSelectorEventLoop._process_self_data
  virtual void process_self_data(std::string_view data) = 0;
  /// In debug mode, when the loop is about to wait for ever. NOTES [deadlock]
  virtual void check_can_be_woken() const = 0;
  /// From now on SIGINT calls the handle, if the program has no handler of its own; false if it has.
  virtual bool add_interrupt_handler(const Ref<HandleState>& handle) = 0;
  /// Returns how often SIGINT arrived meanwhile; 0 if the program put a handler of its own in its place.
  virtual int remove_interrupt_handler(const Ref<HandleState>& handle) noexcept = 0;
  /// Before the runner closes the loop. asyncio: base_events.BaseEventLoop.shutdown_default_executor
  virtual Coroutine<void> shutdown() = 0;
  /// The loop is closed: everything that is attached ends.
  virtual void close() noexcept = 0;

 protected:
  EventLoop& loop_;
};

/// Made with every loop. Defined in loop/io/world.cpp; null in loop/alone.cpp, where the kernel stands alone.
std::unique_ptr<LoopWorld> make_world(EventLoop& loop);

/// Options of create_task.
struct TaskOptions {
  std::string_view name{};           // default: Task-N
  bool eager_start = false;          // take the first step at once, inside create_task, if the loop runs
  const Context* context = nullptr;  // in which it runs, needed during the call; default: a copy of the current one
};

/// ASYNCIO_DEBUG is set. asyncio: coroutines._is_debug_mode
bool debug_by_environment() noexcept;

/// One thread owns a loop and every object made with it: only call_soon_threadsafe may be called from
/// elsewhere. All times are double seconds of time(). Any call on a closed loop is RuntimeError "Event loop
/// is closed". asyncio: base_events.BaseEventLoop
class EventLoop : public AbstractEventLoop {
 public:
  EventLoop();
  /// With a selector of one's own. ValueError if it is null.
  explicit EventLoop(std::unique_ptr<selectors::BaseSelector> selector);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  /// Closes the loop.
  virtual ~EventLoop();

  /// Runs until stop(). RuntimeError if this or another loop runs in this thread.
  /// asyncio: base_events.BaseEventLoop.run_forever
  void run_forever();
  /// Runs until the awaitable is done; its result is moved out, its exception raised. RuntimeError if the
  /// loop was stopped before. Defined in task/tasks.hpp.
  /// asyncio: base_events.BaseEventLoop.run_until_complete
  template <class T> T run_until_complete(Coroutine<T> coroutine);
  template <class T> T run_until_complete(Future<T> future);
  /// run_forever returns after the present iteration. asyncio: base_events.BaseEventLoop.stop
  void stop() noexcept { stopping_ = true; }
  /// asyncio: base_events.BaseEventLoop.is_running
  bool is_running() const noexcept { return thread_id_.load(std::memory_order_relaxed) != std::thread::id(); }
  /// asyncio: base_events.BaseEventLoop.is_closed
  bool is_closed() const noexcept { return closed_; }
  /// Drops all callbacks and ends all pending tasks, reporting each: their frames are destroyed, their state
  /// is cancelled. RuntimeError while running; no effect the second time.
  /// asyncio: base_events.BaseEventLoop.close
  void close();
  /// The loop's clock, monotonic. Override it for a virtual clock. asyncio: base_events.BaseEventLoop.time
  virtual double time() const;

  /// f(args...) is called in the next iteration; in debug mode RuntimeError from a thread that does not run
  /// the loop. asyncio: base_events.BaseEventLoop.call_soon
  template <class F, class... Args> Handle call_soon(F&& f, Args&&... args) {
    return call_soon_handle(make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// The same from any thread: wakes the loop up. asyncio: base_events.BaseEventLoop.call_soon_threadsafe
  template <class F, class... Args> void call_soon_threadsafe(F&& f, Args&&... args) {
    add_threadsafe(make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// f(args...) is called after `delay`, never early. ValueError for NaN.
  /// asyncio: base_events.BaseEventLoop.call_later
  template <class F, class... Args> TimerHandle call_later(Delay delay, F&& f, Args&&... args) {
    return call_at(time() + delay.seconds(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// f(args...) is called when time() reaches `when`. Equal times come in the order of Python's heapq.
  /// asyncio: base_events.BaseEventLoop.call_at
  template <class F, class... Args> TimerHandle call_at(double when, F&& f, Args&&... args) {
    return call_at_handle(make_bound_handle<TimerHandleState>(
        std::forward_as_tuple(std::forward<F>(f), std::forward<Args>(args)...), when, *this));
  }

  /// Defined in future/futures.hpp. asyncio: base_events.BaseEventLoop.create_future
  template <class T = void> Future<T> create_future();
  /// Also before the loop runs. Defined in task/tasks.hpp. asyncio: base_events.BaseEventLoop.create_task
  template <class T> Task<T> create_task(Coroutine<T> coroutine, TaskOptions options = {});
  /// The same with f(), which returns a Coroutine; f is kept until the task is done.
  template <class F> auto create_task(F f, TaskOptions options = {})
      -> Task<typename std::invoke_result_t<F&>::value_type>;

  /// f(args...) is called in each iteration in which fd is readable, in place of the reader that fd had.
  /// std::system_error as selectors::BaseSelector::register_; RuntimeError if a transport owns fd.
  /// asyncio: selector_events.BaseSelectorEventLoop._add_reader
  template <class F, class... Args> Handle add_reader(int fd, F&& f, Args&&... args) {
    ensure_fd_no_transport(fd);
    return add_io_handle(fd, selectors::EVENT_READ, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// The same for writable. asyncio: selector_events.BaseSelectorEventLoop._add_writer
  template <class F, class... Args> Handle add_writer(int fd, F&& f, Args&&... args) {
    ensure_fd_no_transport(fd);
    return add_io_handle(fd, selectors::EVENT_WRITE, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// False if there was none. asyncio: selector_events.BaseSelectorEventLoop._remove_reader
  bool remove_reader(int fd) {
    ensure_fd_no_transport(fd);
    return remove_io_handle(fd, selectors::EVENT_READ);
  }
  /// asyncio: selector_events.BaseSelectorEventLoop._remove_writer
  bool remove_writer(int fd) {
    ensure_fd_no_transport(fd);
    return remove_io_handle(fd, selectors::EVENT_WRITE);
  }

  using ExceptionHandler = std::function<void(EventLoop&, const ExceptionContext&)>;
  /// Who is told what went wrong in a callback; nullptr: default_exception_handler again.
  /// asyncio: base_events.BaseEventLoop.set_exception_handler
  void set_exception_handler(ExceptionHandler handler) { exception_handler_ = std::move(handler); }
  /// Only KeyboardInterrupt and SystemExit come out of it.
  /// asyncio: base_events.BaseEventLoop.call_exception_handler
  void call_exception_handler(const ExceptionContext& context);
  /// Writes to std::cerr. asyncio: base_events.BaseEventLoop.default_exception_handler
  void default_exception_handler(const ExceptionContext& context);

  /// Debug mode checks the calling thread and reports slow callbacks; the environment's ASYNCIO_DEBUG=1
  /// starts with it. asyncio: base_events.BaseEventLoop.get_debug
  bool get_debug() const noexcept { return debug_; }
  /// asyncio: base_events.BaseEventLoop.set_debug
  void set_debug(bool enabled) noexcept { debug_ = enabled; }
  /// Seconds after which debug mode calls a callback slow.
  double slow_callback_duration = 0.1;

  // For the rooms above the kernel.

  /// RuntimeError if the loop is closed or, in debug mode, runs in another thread.
  void check_usable() const {
    check_closed();
    if (debug_) check_thread();
  }
  /// Upstream's _add_reader or _add_writer: a transport may own the descriptor.
  Handle add_io_handle(int fd, unsigned event, Ref<HandleState> handle);
  bool remove_io_handle(int fd, unsigned event);
  /// Queues a handle, behind what other threads have queued before.
  /// asyncio: selector_events.BaseSelectorEventLoop._add_callback
  void add_callback(Ref<HandleState> handle) {
    make_room(1);
    wake(std::move(handle));
  }
  /// The handle ends with the loop, if nothing ends it before.
  void add_pending(PendingHandle& handle) { add_pending(pending_callbacks_, handle); }
  const LinkedList<PendingHandle>& pending_tasks() const noexcept { return pending_tasks_; }
  const std::shared_ptr<Inbox>& inbox() const noexcept { return inbox_; }
  /// For what may outlive the loop.
  const Ref<LoopAnchor>& anchor() const noexcept { return anchor_; }
  /// The selector it waits in, until the loop is closed.
  selectors::BaseSelector& selector() const noexcept { return *selector_; }
  /// What the rooms above the kernel attached; null where the kernel stands alone.
  LoopWorld* world() const noexcept { return world_.get(); }
  LoopObserver* observer() const noexcept { return observer_.get(); }
  /// Who is told from now on; null: nobody.
  void set_observer(std::unique_ptr<LoopObserver> observer) noexcept { observer_ = std::move(observer); }

 private:
  friend struct LoopAnchor;
  friend class TimerHandleState;
  friend class FutureState;
  friend class TaskState;
  friend AnyTask current_task(EventLoop& loop);
  friend class Runner;

  // An entry of the timer heap: the time stands beside the pointer, so that sifting stays in the cache.
  struct Scheduled {
    double when;
    Ref<TimerHandleState> handle;
    friend bool operator<(const Scheduled& a, const Scheduled& b) noexcept { return a.when < b.when; }
  };
  // Who waits for a descriptor: the selector's `data`.
  struct IoHandles {
    Ref<HandleState> reader, writer;
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
  Handle call_soon_handle(Ref<HandleState> handle) {
    check_usable();
    add_callback(handle);
    return Handle(std::move(handle));
  }
  TimerHandle call_at_handle(Ref<TimerHandleState> timer);
  // Queues what has a place in the queue already.
  void wake(Ref<HandleState> handle) noexcept {
    take_from_inbox();
    if (observer_) [[unlikely]]
      observer_->handle_scheduled(Handle(handle), Handle(Ref<HandleState>(running_)));
    ready_.push_back(std::move(handle));
  }
  // Places in the queue for n more, and for everything that waits and may be woken: that must not fail for want of memory.
  // Two for each, because the place of what has run is free again only when the iteration ends.
  void make_room(std::size_t n) {
    if (ready_.size() + 2 * listed_ + n > ready_.capacity()) grow_ready(n);
  }
  void grow_ready(std::size_t n);
  void add_pending(LinkedList<PendingHandle>& list, PendingHandle& handle);
  void add_threadsafe(Ref<HandleState> handle);
  void timer_handle_cancelled() noexcept { ++timer_cancelled_count_; }
  void run_until_done(const AnyFuture& future, bool new_task);

  void cancel_io_handles(IoHandles& handles) noexcept;
  void make_self_pipe();
  void read_from_self();
  void end_pending() noexcept;

  std::unique_ptr<selectors::BaseSelector> selector_;
  Ref<LoopAnchor> anchor_;

  // What run_once works on.
  std::vector<Ref<HandleState>> ready_;
  std::size_t listed_ = 0;            // at least as many as can be woken: they have places in ready_, see make_room
  std::vector<Scheduled> scheduled_;  // a heap, as heapq makes it
  std::size_t timer_cancelled_count_ = 0;
  std::unordered_map<int, IoHandles> io_handles_;  // by descriptor; an entry stays, so that a selector's data is valid
  bool stopping_ = false;
  bool closed_ = false;
  bool debug_ = false;
  TaskState* current_task_ = nullptr;
  std::unique_ptr<LoopObserver> observer_;
  HandleState* running_ = nullptr;  // while there is an observer: what runs
  ExceptionHandler exception_handler_;

  // What must end with the loop: tasks that are not done, and callbacks of futures that are not done.
  LinkedList<PendingHandle> pending_tasks_, pending_callbacks_;

  std::shared_ptr<Inbox> inbox_;              // from other threads
  std::atomic<std::thread::id> thread_id_{};  // who runs the loop
  std::unique_ptr<LoopWorld> world_;
};

inline EventLoop& LoopAnchor::get_loop() const {
  if (!loop) EventLoop::throw_closed();
  return *loop;
}

inline EventLoop& AbstractEventLoop::self() noexcept { return static_cast<EventLoop&>(*this); }

}  // namespace asyncio
