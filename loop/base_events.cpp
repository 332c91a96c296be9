#include "loop/base_events.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <iostream>

namespace asyncio {
namespace {

// When the timer heap is compacted, the longest wait in the selector, and the clock's resolution: upstream's numbers.
constexpr std::size_t MIN_SCHEDULED_TIMER_HANDLES = 100;
constexpr double MIN_CANCELLED_TIMER_HANDLES_FRACTION = 0.5;
constexpr double MAXIMUM_SELECT_TIMEOUT = 24 * 3600;
constexpr double CLOCK_RESOLUTION = 1e-9;

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
  world_ = make_world(*this);
  if (loop_created) loop_created(*this);
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

std::unique_ptr<EventLoop> new_event_loop() { return std::make_unique<EventLoop>(); }

EventLoop& loop_of_main_thread() {
  static const std::unique_ptr<EventLoop> kept = new_event_loop();
  return *kept;
}

void HandleState::report_exception(EventLoop& loop) {
  ExceptionContext context{{}, caught_exception(), {}, Handle(Ref<HandleState>(this))};
  raised_by([&] { context.message = "Exception in callback " + repr(); });  // without memory there is no message
  loop.call_exception_handler(context);
}

void TimerHandleState::cancel_callback() noexcept {
  if (scheduled_ && !cancelled()) loop_->timer_handle_cancelled();
  HandleState::cancel_callback();
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
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
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

// closed_ is set first. The callbacks and tasks that are destroyed below may have destructors that use this loop, and
// these must get a RuntimeError.
void EventLoop::close() {
  if (is_running()) throw RuntimeError("Cannot close a running event loop");
  if (std::exchange(closed_, true)) return;
  inbox_->close();
  if (world_) world_->close();
  end_pending();
  selector_->close();
}

// NOTES [pending-task] A callback may hold its own handle, so the callable inside each handle is destroyed.
void EventLoop::end_pending() noexcept {
  while (!ready_.empty()) ready_.popleft()->drop_callback();
  for (const Scheduled& timer : std::exchange(scheduled_, {})) {
    timer.handle->scheduled_ = false;
    timer.handle->drop_callback();
  }
  for (auto& [fd, handles] : io_handles_) cancel_io_handles(handles);
  while (!pending_tasks_.empty()) pending_tasks_.pop_front().end_with_loop();
  while (!pending_callbacks_.empty()) pending_callbacks_.pop_front().end_with_loop();
}

// Handles leave their lists without telling the loop, so listed_ is only an upper bound. It is counted again before the
// queue grows; the half on top makes this rare.
void EventLoop::grow_ready(std::size_t n) {
  listed_ = pending_tasks_.size() + pending_callbacks_.size();
  const std::size_t needed = ready_.size() + listed_ + n + 1;
  ready_.reserve(needed + needed / 2);
}

void EventLoop::tell_scheduled(const Ref<HandleState>& handle) {
  observer_->handle_scheduled(Handle(handle), Handle(Ref(running_)));
}

TimerHandle EventLoop::call_at_handle(Ref<TimerHandleState> timer) {
  check_usable();
  if (std::isnan(timer->when())) throw ValueError("Invalid delay: NaN (not a number)");
  if (observer_) tell_scheduled(timer);
  heappush(scheduled_, {timer->when(), timer});
  timer->scheduled_ = true;
  return TimerHandle(std::move(timer));
}

// One iteration: upstream's five steps, in its order. All are inline because each function return after the system call
// costs a cache miss.
// asyncio: base_events.BaseEventLoop._run_once
inline void EventLoop::run_once() {
  take_from_inbox();
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
  if (observer_) observer_->before_select(timeout);
  const std::span<const selectors::SelectorEvent> events = selector_->select(timeout);
  if (observer_) observer_->after_select(events);
  return events;
}

inline std::optional<double> EventLoop::select_timeout() const {
  if (!ready_.empty() || stopping_ || inbox_->waiting()) return 0.0;
  if (!scheduled_.empty()) return std::clamp(scheduled_.front().when - time(), 0.0, MAXIMUM_SELECT_TIMEOUT);
  if (debug_ && world_) world_->check_can_be_woken();
  return std::nullopt;
}

inline void EventLoop::queue_due_timers() {
  if (scheduled_.empty()) return;
  take_from_inbox();
  const double end_time = time() + CLOCK_RESOLUTION;
  while (!scheduled_.empty() && scheduled_.front().when < end_time) {
    make_room(1);
    Ref<TimerHandleState> timer = heappop(scheduled_).handle;
    timer->scheduled_ = false;
    ready_.append(std::move(timer));
  }
}

// The only place where callbacks are called. Only what is ready at the start is run; what these callbacks schedule is
// left to the next iteration.
inline void EventLoop::run_ready() {
  for (std::size_t ntodo = ready_.size(); ntodo > 0; --ntodo) {
    const Ref<HandleState> handle = ready_.popleft();
    if (handle->cancelled()) continue;
    debug_ || observer_ ? run_observed(*handle) : handle->run(*this);
  }
}

void EventLoop::run_observed(HandleState& handle) {
  const Handle running{Ref<HandleState>(&handle)};
  running_ = &handle;
  if (observer_) observer_->before_run(running);
  const Finally done([&] {
    running_ = nullptr;
    if (observer_) observer_->after_run(running);
  });
  debug_ ? run_and_time(handle) : handle.run(*this);
}

void EventLoop::run_and_time(HandleState& handle) {
  std::string name;  // before it runs, because a task that has ended has no coroutine any more
  raised_by([&] { name = handle.repr(); });
  const double start = time();
  handle.run(*this);
  if (const double took = time() - start; took >= slow_callback_duration)
    slow_callback(Handle(Ref<HandleState>(&handle)), name, took);
}

void EventLoop::slow_callback(const Handle&, const std::string& name, double took) {
  std::cerr << "Executing " << name << " took " << std::fixed << std::setprecision(3) << took << " seconds\n"
            << std::defaultfloat << std::setprecision(6);
}

void EventLoop::report(const char* message, ExceptionContext context) {
  raised_by([&] { context.message = message; });
  call_exception_handler(context);
}

void EventLoop::call_exception_handler(const ExceptionContext& context) {
  if (!exception_handler_) return default_exception_handler(context);
  const Ref<ContextState> context_of_task = context.future ? context.future.context() : nullptr;
  try {
    const ExceptionHandler handler = exception_handler_;  // it may replace itself
    const auto call = [&] { handler(*this, context); };
    context_of_task ? Context(context_of_task).run(call) : call();  // RuntimeError if it is entered already
  } catch (const Exit&) {
    throw;
  } catch (...) {
    log_error("Unhandled error in exception handler", {{}, caught_exception(), {}, {}});
    default_exception_handler(context);
  }
}

void EventLoop::default_exception_handler(const ExceptionContext& context) {
  log_error(context.message.empty() ? "Unhandled exception in event loop" : context.message.c_str(), context);
}

void log_error(const char* message, const ExceptionContext& context) noexcept {
  if (raised_by([&] {
        std::string text = message;
        if (context.future) text += "\nfuture: " + context.future.repr();
        if (context.handle) text += "\nhandle: " + context.handle.repr();
        if (context.exception) text += '\n' + describe(context.exception);
        std::cerr << text + "\n";
      }))
    log_without_memory(message);
}

}  // namespace asyncio
