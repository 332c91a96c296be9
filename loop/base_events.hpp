// The event loop: what is ready, what is due, what the selector reports, in turn, for ever.
// Upstream counterpart: Lib/asyncio/base_events.py, with selector_events.py and the signals of
// unix_events.py.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "loop/events.hpp"
#include "loop/python/heapq.hpp"
#include "loop/python/sockets.hpp"
#include "selectors/selectors.hpp"

namespace asyncio {

class TaskState;  // task/tasks.hpp
class Server;     // task/io/servers.hpp
class Executor;   // loop/python/executors.hpp
class WorkItem;
class SelectorTransport;  // loop/io/selector_transports.hpp
class Transport;          // loop/io/transports.hpp
class DatagramTransport;
struct Protocol;    // loop/io/protocols.hpp
struct Instrument;  // loop/debug/instruments.hpp

/// What outlives the loop: futures and tasks refer to their loop through it, and find null when the loop is
/// gone.
struct LoopAnchor : Counted {
  explicit LoopAnchor(EventLoop* running) noexcept : loop(running) {}
  EventLoop* loop;
};

/// What other threads may touch of a loop, and may hold longer than it lives: they leave callbacks here, and the first
/// one wakes the loop through the pipe.
class ThreadsafeCalls {
 public:
  ThreadsafeCalls();
  /// Takes over a reference to the handle, whose count it does not touch. False: the loop is closed, and the reference
  /// still the caller's.
  bool add(HandleState* handle);
  /// asyncio: selector_events.BaseSelectorEventLoop._write_to_self
  void write_to_self() noexcept;

  std::atomic<bool> waiting = false;  // there are handles that the loop has not taken over

 private:
  friend class EventLoop;
  std::mutex mutex_;
  HandleQueue handles_;
  bool closed_ = false;
  FileDescriptor read_end_, write_end_;
};

/// Options of create_task.
struct TaskOptions {
  std::string_view name{};           // default: Task-N
  bool eager_start = false;          // take the first step at once, inside create_task, if the loop runs
  const Context* context = nullptr;  // in which the coroutine runs; default: a copy of the current one
};

/// ASYNCIO_DEBUG is set. asyncio: coroutines._is_debug_mode
bool debug_by_environment() noexcept;

/// One thread owns a loop and every object made with it: only call_soon_threadsafe may be called from
/// elsewhere. All times are double seconds of time(). Any call on a closed loop is RuntimeError "Event loop
/// is closed". asyncio: base_events.BaseEventLoop
class EventLoop {
 public:
  EventLoop();
  /// A selector of one's own, for tests. ValueError if it is null.
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
  template <class F, class... Args> Handle call_soon(F&& f, Args&&... args);
  /// The same from any thread: wakes the loop up. asyncio: base_events.BaseEventLoop.call_soon_threadsafe
  template <class F, class... Args> void call_soon_threadsafe(F&& f, Args&&... args);
  /// f(args...) is called after `delay`, never early. ValueError for NaN.
  /// asyncio: base_events.BaseEventLoop.call_later
  template <class F, class... Args> TimerHandle call_later(Delay delay, F&& f, Args&&... args) {
    return call_at(time() + delay.seconds(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// f(args...) is called when time() reaches `when`. Equal times come in the order of Python's heapq.
  /// asyncio: base_events.BaseEventLoop.call_at
  template <class F, class... Args> TimerHandle call_at(double when, F&& f, Args&&... args);

  /// Defined in future/futures.hpp. asyncio: base_events.BaseEventLoop.create_future
  template <class T = void> Future<T> create_future();
  /// Also before the loop runs. Defined in task/tasks.hpp. asyncio: base_events.BaseEventLoop.create_task
  template <class T> Task<T> create_task(Coroutine<T> coroutine, TaskOptions options = {});
  /// The same with f(), which returns a Coroutine; f is kept until the task is done.
  template <class F> auto create_task(F f, TaskOptions options = {})
      -> Task<typename std::invoke_result_t<F&>::value_type>;

  /// f(args...) is called in each iteration in which fd is readable, in place of the reader fd had.
  /// std::system_error as selectors::BaseSelector::register_.
  /// asyncio: selector_events.BaseSelectorEventLoop._add_reader
  template <class F, class... Args> void add_reader(int fd, F&& f, Args&&... args) {
    ensure_fd_no_transport(fd);
    add_callback(fd, selectors::EVENT_READ, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// The same for writable. asyncio: selector_events.BaseSelectorEventLoop._add_writer
  template <class F, class... Args> void add_writer(int fd, F&& f, Args&&... args) {
    ensure_fd_no_transport(fd);
    add_callback(fd, selectors::EVENT_WRITE, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// False if there was none. asyncio: selector_events.BaseSelectorEventLoop._remove_reader
  bool remove_reader(int fd) {
    ensure_fd_no_transport(fd);
    return remove_callback(fd, selectors::EVENT_READ);
  }
  /// asyncio: selector_events.BaseSelectorEventLoop._remove_writer
  bool remove_writer(int fd) {
    ensure_fd_no_transport(fd);
    return remove_callback(fd, selectors::EVENT_WRITE);
  }

  /// RuntimeError if a transport owns it. asyncio: selector_events.BaseSelectorEventLoop._ensure_fd_no_transport
  void ensure_fd_no_transport(int fd) const;

  // Sockets, defined in task/io/sock.cpp: each tries first, then waits; a cancelled one has lost nothing. In debug mode
  // ValueError for a descriptor that blocks; RuntimeError when it must wait for one that a transport owns. OSError from the kernel.

  /// At most n bytes; none at the end. asyncio: selector_events.BaseSelectorEventLoop.sock_recv
  Coroutine<std::string> sock_recv(int fd, std::size_t n);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recv_into
  Coroutine<std::size_t> sock_recv_into(int fd, std::span<char> buffer);
  /// The bytes must outlive the await. asyncio: selector_events.BaseSelectorEventLoop.sock_sendall
  Coroutine<void> sock_sendall(int fd, std::string_view data);
  /// The new descriptor does not block, and is the caller's. asyncio: selector_events.BaseSelectorEventLoop.sock_accept
  Coroutine<std::pair<int, SocketAddress>> sock_accept(int fd);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_connect
  Coroutine<void> sock_connect(int fd, SocketAddress address);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recvfrom
  Coroutine<std::pair<std::string, SocketAddress>> sock_recvfrom(int fd, std::size_t n);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recvfrom_into
  Coroutine<std::pair<std::size_t, SocketAddress>> sock_recvfrom_into(int fd, std::span<char> buffer);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_sendto
  Coroutine<std::size_t> sock_sendto(int fd, std::string_view data, SocketAddress address);
  /// Up to `count` bytes of a regular file from `offset` on, until its end; returns how many were sent.
  /// asyncio: base_events.BaseEventLoop.sock_sendfile
  Coroutine<std::size_t> sock_sendfile(int fd, int file, std::size_t offset = 0,
                                       std::optional<std::size_t> count = std::nullopt);

  // Connections, defined in task/io/servers.hpp. A factory is called once for each: () -> std::shared_ptr<P>.

  /// Connects to the first address of the host that answers, and gives (transport, protocol). OSError of the last one, or
  /// of all. asyncio: base_events.BaseEventLoop.create_connection
  template <class Factory>
  auto create_connection(Factory factory, std::string host, int port, ConnectionOptions options = {})
      -> Coroutine<std::pair<std::shared_ptr<Transport>, std::invoke_result_t<Factory&>>>;
  /// A listening socket for every address of the host, "" being all interfaces; port 0 lets the kernel choose one.
  /// asyncio: base_events.BaseEventLoop.create_server
  template <class Factory>
  Coroutine<Server> create_server(Factory factory, std::string host, int port, ServerOptions options = {});
  /// asyncio: base_events.BaseEventLoop.create_datagram_endpoint
  template <class Factory> auto create_datagram_endpoint(Factory factory, std::optional<SocketAddress> local_addr,
                                                         std::optional<SocketAddress> remote_addr = {})
      -> Coroutine<std::pair<std::shared_ptr<DatagramTransport>, std::invoke_result_t<Factory&>>>;
  /// asyncio: unix_events._UnixSelectorEventLoop.create_unix_connection
  template <class Factory> auto create_unix_connection(Factory factory, std::string path)
      -> Coroutine<std::pair<std::shared_ptr<Transport>, std::invoke_result_t<Factory&>>>;
  /// Replaces a socket file that is there, and removes its own when it closes.
  /// asyncio: unix_events._UnixSelectorEventLoop.create_unix_server
  template <class Factory>
  Coroutine<Server> create_unix_server(Factory factory, std::string path, ServerOptions options = {});
  /// The transport owns the descriptor of a pipe, socket or character device; ValueError for another, which stays the
  /// caller's. asyncio: base_events.BaseEventLoop.connect_read_pipe
  template <class Factory> auto connect_read_pipe(Factory factory, int fd)
      -> Coroutine<std::pair<std::shared_ptr<Transport>, std::invoke_result_t<Factory&>>>;
  /// asyncio: base_events.BaseEventLoop.connect_write_pipe
  template <class Factory> auto connect_write_pipe(Factory factory, int fd)
      -> Coroutine<std::pair<std::shared_ptr<Transport>, std::invoke_result_t<Factory&>>>;

  // Threads and processes, defined in task/io/threads.hpp.

  /// f(args...) is called in a thread of the executor, or in a process of it; nullptr: the loop's own thread pool. Who
  /// cancels the future keeps it from running, if it did not start. asyncio: base_events.BaseEventLoop.run_in_executor
  template <class F, class... Args> auto run_in_executor(Executor* executor, F&& f, Args&&... args)
      -> Future<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>>;
  /// What nullptr stands for from now on. asyncio: base_events.BaseEventLoop.set_default_executor
  void set_default_executor(std::unique_ptr<Executor> executor);
  /// Waits until its threads have ended; run() does so. asyncio: base_events.BaseEventLoop.shutdown_default_executor
  Coroutine<void> shutdown_default_executor();
  /// Numeric addresses at once, names in a thread. OSError in the resolver's words.
  /// asyncio: base_events.BaseEventLoop.getaddrinfo
  Coroutine<std::vector<SocketAddress>> getaddrinfo(std::string host, std::string service);

  /// f(args...) is called by the loop after the signal arrived, at least once however full the machine's
  /// queues are. ValueError for a number that is no signal, RuntimeError outside the main thread or if it
  /// cannot be caught. asyncio: unix_events._UnixSelectorEventLoop.add_signal_handler
  template <class F, class... Args> void add_signal_handler(int signum, F&& f, Args&&... args) {
    add_signal_handle(signum, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// Back to the default action; false if there was no handler.
  /// asyncio: unix_events._UnixSelectorEventLoop.remove_signal_handler
  bool remove_signal_handler(int signum);

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

  /// It is told what the loop does, from now on, until it is removed or destroyed. Twice is once; ValueError if it watches
  /// another loop. Like trio.lowlevel.add_instrument
  void add_instrument(Instrument& instrument);
  /// KeyError if it does not watch this loop. Like trio.lowlevel.remove_instrument
  void remove_instrument(Instrument& instrument);

 private:
  friend class TimerHandleState;
  friend class FutureState;
  friend class TaskState;
  friend class AnyTask;
  friend class Runner;
  friend class ServerState;
  friend class SelectorTransport;
  friend class SelectorSocketTransport;
  friend class SelectorDatagramTransport;

  // An entry of the timer heap: the time stands beside the pointer, so that sifting stays in the cache.
  struct Scheduled {
    double when;
    Ref<TimerHandleState> handle;
    friend bool operator<(const Scheduled& a, const Scheduled& b) noexcept { return a.when < b.when; }
  };
  // Who waits for a descriptor: the selector's `data`.
  struct Callbacks {
    Ref<HandleState> reader, writer;
  };

  // One iteration, in upstream's order.
  void run_once();
  void drop_cancelled_timers();
  std::span<const selectors::SelectorEvent> select();
  std::optional<double> select_timeout() const;
  void check_can_be_woken() const;
  void process_events(std::span<const selectors::SelectorEvent> events);
  void queue_due_timers();
  void run_ready();
  void run_watched(HandleState& handle);
  void run_and_time(HandleState& handle);

  void check_closed() const {
    if (closed_) throw_closed();
  }
  [[noreturn]] static void throw_closed();
  void check_running() const;
  void check_thread() const;
  // What another thread called before stands before it. NOTES [threadsafe-inbox]
  HandleQueue& ready() {
    if (threadsafe_->waiting.load(std::memory_order_relaxed)) accept_threadsafe();
    return ready_;
  }
  void add_ready(Ref<HandleState> handle) {
    HandleQueue& queue = ready();
    if (watched()) tell_scheduled(handle);
    queue.push_back(std::move(handle));
  }
  void call_soon_handle(Ref<HandleState> handle);
  void schedule(double when, const Ref<TimerHandleState>& handle);
  void add_threadsafe(Ref<HandleState> handle);
  void accept_threadsafe();
  void timer_handle_cancelled() noexcept { ++timer_cancelled_count_; }
  void run_until_done(const AnyFuture& future, bool new_task);

  void add_callback(int fd, unsigned event, Ref<HandleState> handle);
  bool remove_callback(int fd, unsigned event);
  void forget_callbacks(int fd) noexcept;
  std::span<char> read_buffer(std::size_t size);
  void make_self_pipe();
  void close_self_pipe() noexcept;
  void read_from_self();
  Coroutine<void> wait_until_ready(int fd, unsigned event);
  void check_socket(int fd) const;
  Executor& default_executor();
  void expect(WorkItem& item, Ref<PendingHandle> completion);
  void add_signal_handle(int signum, Ref<HandleState> handle);
  void handle_signals();
  bool signal_is_pending(int signum) const noexcept;
  void end_pending();

  bool watched() const noexcept { return !instruments_.empty(); }
  // event(instrument) for each instrument.
  template <class Event> void tell(const Event& event) noexcept {
    if (watched()) [[unlikely]]
      tell_each(event);
  }
  void tell_each(const std::function<void(Instrument&)>& event) noexcept;
  void tell_scheduled(const Ref<HandleState>& handle) noexcept;
  void remove_failed(Instrument& instrument, std::exception_ptr error) noexcept;

  std::unique_ptr<selectors::BaseSelector> selector_;
  Ref<LoopAnchor> anchor_;

  // What run_once works on.
  HandleQueue ready_;
  std::vector<Scheduled> scheduled_;  // a heap, as heapq makes it
  std::size_t timer_cancelled_count_ = 0;
  std::unordered_map<int, Callbacks> callbacks_;
  bool stopping_ = false;
  bool closed_ = false;
  bool debug_ = false;
  TaskState* current_task_ = nullptr;
  std::vector<Instrument*> instruments_;
  HandleState* running_ = nullptr;  // while there are instruments: what runs
  bool telling_ = false;            // an instrument is at work
  ExceptionHandler exception_handler_;
  std::map<int, Ref<HandleState>> signal_handlers_;

  // What must end with the loop: tasks that are not done, and callbacks of futures that are not done.
  LinkedList<PendingHandle> pending_tasks_, pending_callbacks_;

  std::unordered_map<int, SelectorTransport*> transports_;
  std::vector<char> read_buffer_;  // of all transports: what is read is handed on at once
  std::unique_ptr<Executor> default_executor_;
  bool executor_shutdown_called_ = false;

  std::shared_ptr<ThreadsafeCalls> threadsafe_;
  std::atomic<std::thread::id> thread_id_{};  // who runs the loop
};

template <class F, class... Args> Handle EventLoop::call_soon(F&& f, Args&&... args) {
  check_closed();
  if (debug_) check_thread();
  Ref<HandleState> handle = make_handle(std::forward<F>(f), std::forward<Args>(args)...);
  add_ready(handle);
  return Handle(std::move(handle));
}

template <class F, class... Args> TimerHandle EventLoop::call_at(double when, F&& f, Args&&... args) {
  check_closed();
  if (debug_) check_thread();
  if (std::isnan(when)) throw ValueError("Invalid delay: NaN (not a number)");
  Ref<TimerHandleState> handle = make_handle<TimerHandleState>(std::forward<F>(f), std::forward<Args>(args)...);
  schedule(when, handle);
  return TimerHandle(std::move(handle));
}

template <class F, class... Args> void EventLoop::call_soon_threadsafe(F&& f, Args&&... args) {
  add_threadsafe(make_handle(std::forward<F>(f), std::forward<Args>(args)...));
}

}  // namespace asyncio
