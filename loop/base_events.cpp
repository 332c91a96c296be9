#include "loop/base_events.hpp"

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iomanip>
#include <iostream>

#include "loop/debug/instruments.hpp"
#include "loop/io/selector_transports.hpp"
#include "loop/python/executors.hpp"

namespace asyncio {
namespace {

// Compaction of the timer heap, the longest time to wait in the selector, the clock's tick: upstream's
// numbers.
constexpr std::size_t MIN_SCHEDULED_TIMER_HANDLES = 100;
constexpr double MIN_CANCELLED_TIMER_HANDLES_FRACTION = 0.5;
constexpr double MAXIMUM_SELECT_TIMEOUT = 24 * 3600;
constexpr double CLOCK_RESOLUTION = 1e-9;

std::ptrdiff_t number_of_threads() {
  std::error_code error;
  const std::filesystem::directory_iterator threads("/proc/self/task", error);
  return error ? 2 : std::distance(begin(threads), end(threads));  // unknown: assume that there are others
}

}  // namespace

bool debug_by_environment() noexcept {
  const char* value = std::getenv("ASYNCIO_DEBUG");
  return value && *value;
}

EventLoop::EventLoop() : EventLoop(std::make_unique<selectors::DefaultSelector>()) {}

EventLoop::EventLoop(std::unique_ptr<selectors::BaseSelector> selector)
    : selector_(std::move(selector)), anchor_(make_ref<LoopAnchor>(this)), debug_(debug_by_environment()) {
  if (!selector_) throw ValueError("the selector is null");
  make_self_pipe();
}

EventLoop::~EventLoop() {
  if (is_running()) {
    std::cerr << "The event loop was destroyed while it was running\n";
    std::terminate();
  }
  close();
  unset_event_loop(this);
  anchor_->loop = nullptr;
}

void EventLoop::throw_closed() { throw RuntimeError("Event loop is closed"); }

void EventLoop::check_running() const {
  if (is_running()) throw RuntimeError("This event loop is already running");
  if (get_running_loop_or_null()) throw RuntimeError("Cannot run the event loop while another loop is running");
}

void EventLoop::check_thread() const {
  if (!is_running() || thread_id_.load() == std::this_thread::get_id()) return;
  throw RuntimeError(
      "Non-thread-safe operation invoked on an event loop other than the current one: use "
      "call_soon_threadsafe");
}

double EventLoop::time() const {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void EventLoop::run_forever() {
  check_closed();
  check_running();
  thread_id_ = std::this_thread::get_id();
  set_running_loop(this);
  const Finally cleanup([this] {
    stopping_ = false;
    thread_id_ = std::thread::id();
    set_running_loop(nullptr);
  });
  do run_once();
  while (!stopping_);
}

void EventLoop::close() {
  if (is_running()) throw RuntimeError("Cannot close a running event loop");
  if (closed_) return;
  while (!signal_handlers_.empty()) remove_signal_handler(signal_handlers_.begin()->first);
  closed_ = true;
  close_self_pipe();
  if (default_executor_) default_executor_->shutdown(false);
  end_pending();
  selector_->close();
}

// NOTES [pending-task] Destructors of what is dropped here may run any code: the loop is closed already and answers with an error.
void EventLoop::end_pending() {
  const auto drop = [](const Ref<HandleState>& handle) {  // also what refers to its own handle
    if (handle) handle->drop_callback();
  };
  for (const auto& [fd, transport] : transports_) transport->mark_lost();
  while (!ready_.empty()) drop(ready_.pop_front());
  for (const Scheduled& timer : std::exchange(scheduled_, {})) {
    timer.handle->scheduled_ = false;
    drop(timer.handle);
  }
  for (const auto& [fd, callbacks] : std::exchange(callbacks_, {})) {
    drop(callbacks.reader);
    drop(callbacks.writer);
  }
  while (!transports_.empty()) transports_.begin()->second->end_with_loop();
  while (!pending_tasks_.empty()) pending_tasks_.pop_front().end_with_loop();
  while (!pending_callbacks_.empty()) pending_callbacks_.pop_front().end_with_loop();
}

void EventLoop::call_soon_handle(Ref<HandleState> handle) {
  check_closed();
  if (debug_) check_thread();
  add_ready(std::move(handle));
}

void EventLoop::schedule(double when, const Ref<TimerHandleState>& handle) {
  if (watched()) tell_scheduled(handle);
  handle->when_ = when;
  handle->loop_ = this;
  heappush(scheduled_, {when, handle});
  handle->scheduled_ = true;
}

// The iteration: the five steps of upstream's _run_once, in its order. Inline, as its steps are, for they stand
// around a system call: see selectors/select.hpp.
// asyncio: base_events.BaseEventLoop._run_once
inline void EventLoop::run_once() {
  if (threadsafe_->waiting.load(std::memory_order_relaxed)) accept_threadsafe();
  drop_cancelled_timers();
  process_events(select());
  queue_due_timers();
  run_ready();
}

inline void EventLoop::drop_cancelled_timers() {
  if (timer_cancelled_count_ == 0) return;
  const double scheduled = static_cast<double>(scheduled_.size());
  if (scheduled_.size() > MIN_SCHEDULED_TIMER_HANDLES &&
      static_cast<double>(timer_cancelled_count_) / scheduled > MIN_CANCELLED_TIMER_HANDLES_FRACTION) {
    std::erase_if(scheduled_, [](const Scheduled& timer) {
      if (timer.handle->cancelled()) timer.handle->scheduled_ = false;
      return timer.handle->cancelled();
    });
    heapify(scheduled_);
    timer_cancelled_count_ = 0;
  }
  while (!scheduled_.empty() && scheduled_.front().handle->cancelled()) {
    --timer_cancelled_count_;
    heappop(scheduled_).handle->scheduled_ = false;
  }
}

inline std::span<const selectors::SelectorEvent> EventLoop::select() {
  const std::optional<double> timeout = select_timeout();
  tell([&](Instrument& instrument) { instrument.before_select(timeout); });
  const std::span<const selectors::SelectorEvent> events = selector_->select(timeout);
  tell([&](Instrument& instrument) { instrument.after_select(events); });
  return events;
}

inline std::optional<double> EventLoop::select_timeout() const {
  if (!ready_.empty() || stopping_) return 0.0;
  if (scheduled_.empty() && debug_) check_can_be_woken();
  if (scheduled_.empty()) return std::nullopt;
  return std::clamp(scheduled_.front().when - time(), 0.0, MAXIMUM_SELECT_TIMEOUT);
}

// NOTES [deadlock] Debug mode only: where upstream would hang, say why. Another thread or a signal may still wake the loop.
void EventLoop::check_can_be_woken() const {
  const bool by_signal = std::ranges::any_of(signal_handlers_, [](const auto& entry) { return entry.first != SIGINT; });
  if (pending_tasks_.empty() || callbacks_.size() > 1 || by_signal || number_of_threads() > 1) return;
  std::string message = "Deadlock: nothing can ever wake this loop. These tasks wait for ever:";
  for (const PendingHandle* task = pending_tasks_.next(); task; task = pending_tasks_.next(task)) {
    message += "\n  " + task->repr();
  }
  throw RuntimeError(message);
}

inline void EventLoop::queue_due_timers() {
  if (scheduled_.empty()) return;
  const double end_time = time() + CLOCK_RESOLUTION;
  while (!scheduled_.empty() && scheduled_.front().when < end_time) {
    Ref<TimerHandleState> timer = heappop(scheduled_).handle;
    timer->scheduled_ = false;
    ready().push_back(std::move(timer));
  }
}

// The only place where callbacks are called. What they schedule is run in the next iteration: this one ends
// with what is the last of the queue now. A cancelled handle is passed over.
inline void EventLoop::run_ready() {
  const HandleState* last = ready_.last();
  for (bool more = last != nullptr; more;) {
    const Ref<HandleState> handle = ready_.pop_front();
    more = handle.get() != last;
    if (handle->cancelled()) continue;
    if (debug_ || watched()) {
      run_watched(*handle);
    } else {
      handle->run(*this);
    }
  }
}

void EventLoop::run_watched(HandleState& handle) {
  const Handle running{Ref<HandleState>(&handle)};
  running_ = &handle;
  tell([&](Instrument& instrument) { instrument.before_run(running); });
  const Finally done([&] {
    running_ = nullptr;
    tell([&](Instrument& instrument) { instrument.after_run(running); });
  });
  debug_ ? run_and_time(handle) : handle.run(*this);
}

void EventLoop::run_and_time(HandleState& handle) {
  const std::string name = handle.repr();  // before: a task that ends has no coroutine any more
  const double start = time();
  handle.run(*this);
  const double took = time() - start;
  if (took < slow_callback_duration) return;
  std::cerr << "Executing " << name << " took " << std::fixed << std::setprecision(3) << took << " seconds\n"
            << std::defaultfloat << std::setprecision(6);
}

void EventLoop::call_exception_handler(const ExceptionContext& context) {
  const ExceptionHandler handler = exception_handler_;
  if (!handler) return default_exception_handler(context);
  const Ref<ContextState> context_of_task = context.future ? context.future.context() : nullptr;
  try {
    if (context_of_task) {
      Context(context_of_task).run([&] { handler(*this, context); });  // RuntimeError if it is entered already
    } else {
      handler(*this, context);
    }
  } catch (const Exit&) {
    throw;
  } catch (...) {
    default_exception_handler({"Unhandled error in exception handler", std::current_exception(), {}, {}});
    default_exception_handler(context);
  }
}

void EventLoop::default_exception_handler(const ExceptionContext& context) { log_error(context); }

void log_error(const ExceptionContext& context) {
  std::string text = context.message.empty() ? "Unhandled exception in event loop" : context.message;
  if (context.future) text += "\nfuture: " + context.future.repr();
  if (context.handle) text += "\nhandle: " + context.handle.repr();
  if (context.exception) text += "\n" + describe(context.exception);
  std::cerr << text + "\n";
}

}  // namespace asyncio
