#include "future/futures.hpp"

#include <atomic>

namespace asyncio {

bool FutureState::cancel(std::string message) {
  log_traceback_ = false;
  if (done()) return false;
  state_ = State::cancelled;
  set_cancel_message(std::move(message));
  schedule_callbacks();
  return true;
}

void FutureState::set_cancel_message(std::string message) {
  cancel_message_ = message.empty() ? nullptr : std::make_unique<std::string>(std::move(message));
}

std::exception_ptr FutureState::cancelled_error() const {
  return raised_by([this] { throw CancelledError(cancel_message()); });
}

std::exception_ptr FutureState::make_cancelled_error() {
  return cancelled() && exception_ ? std::exchange(exception_, nullptr) : cancelled_error();
}

std::exception_ptr FutureState::outcome() {
  log_traceback_ = false;
  return cancelled() ? make_cancelled_error() : exception_;
}

std::exception_ptr FutureState::exception() {
  if (cancelled()) std::rethrow_exception(make_cancelled_error());
  if (!done()) throw InvalidStateError("Exception is not set.");
  return outcome();
}

void FutureState::check_result() {
  if (!done()) throw InvalidStateError("Result is not ready.");
  if (const std::exception_ptr exception = outcome()) std::rethrow_exception(exception);
}

void FutureState::check_settable(const char*) const {
  if (done()) throw InvalidStateError("invalid state: " + repr() + " is done already");
}

void FutureState::set_exception(std::exception_ptr exception) {
  if (!exception) throw ValueError("set_exception needs an exception: the pointer is null");
  exception_ = std::move(exception);
  log_traceback_ = true;
  state_ = State::finished;
  schedule_callbacks();
}

// asyncio: futures.Future.__schedule_callbacks
void FutureState::schedule_callbacks() {
  if (callbacks_.empty()) return;
  EventLoop& loop = get_loop();
  loop.check_usable();
  for (const AnyFuture self(this); !callbacks_.empty();) {
    Ref<PendingHandle> callback = callbacks_.popleft();
    callback->future_done(self);
    loop.wake(std::move(callback));
  }
}

void DoneCallback::future_done(const AnyFuture& future) noexcept {
  future_ = future;
  unlink();
}

void DoneCallback::end_with_loop() noexcept {
  const AnyFuture dropped = std::move(awaiter_);  // it may hold the future that holds this callback: a cycle
  PendingHandle::end_with_loop();
}

CallbackId FutureState::add_done_callback(const Ref<DoneCallback>& callback, AnyFuture awaiter) {
  static constinit std::atomic<std::uint64_t> last_id = 0;
  callback->id_ = CallbackId{++last_id};
  if (done()) {
    callback->future_done(AnyFuture(this));
    get_loop().call_soon_handle(callback);
  } else {
    EventLoop& loop = get_loop();
    loop.check_closed();  // a closed loop does not end its callbacks, so a cycle of references would leak
    loop.add_pending(loop.pending_callbacks_, *callback);
    callbacks_.append(callback);
    callback->awaiter_ = std::move(awaiter);
  }
  return callback->id_;
}

std::size_t FutureState::remove_done_callback(CallbackId id) {
  DoneCallbacks removed;  // destroyed last, because its destructor may call us
  for (DoneCallbacks callbacks = std::move(callbacks_); !callbacks.empty();) {
    Ref<PendingHandle> callback = callbacks.popleft();
    (callback->id() == id ? removed : callbacks_).append(std::move(callback));
  }
  if (removed.empty()) return 0;
  removed.next()->unlink();
  return 1;
}

void FutureState::end_with_loop() noexcept {
  state_ = State::cancelled;
  const DoneCallbacks dropped = std::move(callbacks_);  // destroyed last, because their destructors may call us
}

void FutureState::unreferenced() noexcept {
  if (!std::exchange(log_traceback_, false)) return destroy_in_turn(this);  // futures may form a long chain
  const Ref<FutureState> self(this);                                        // the handler may keep it
  report(as_task() ? "Task exception was never retrieved" : "Future exception was never retrieved", exception_);
}

void FutureState::report(const char* message, std::exception_ptr exception) noexcept {
  // A KeyboardInterrupt or SystemExit of the exception handler is dropped: a destructor cannot throw it.
  raised_by([&] {
    const ExceptionContext context{{}, std::move(exception), AnyFuture(this), {}};
    anchor_->loop ? anchor_->loop->report(message, context) : log_error(message, context);
  });
}

const char* FutureState::state_name() const noexcept {
  static constexpr const char* NAMES[] = {"pending", "cancelled", "finished"};
  return NAMES[static_cast<int>(state_)];
}

std::string FutureState::repr() const {
  std::string text = std::string("<") + class_name() + " " + state_name() + details();
  if (state_ == State::finished && exception_) text += " exception=" + describe(exception_);
  return text + ">";
}

void AnyFuture::throw_null() { throw RuntimeError("there is no future: this reference is null, or was moved from"); }

// asyncio: base_events._run_until_complete_cb
static void run_until_complete_cb(const AnyFuture& future) {
  const bool leaving = !future.cancelled() && holds<Exit>(future.exception());  // it is already ending run_forever()
  if (!leaving) future.get_loop().stop();
}

// asyncio: base_events.BaseEventLoop.run_until_complete
void EventLoop::run_until_done(const AnyFuture& future, bool new_task) {
  if (&future.get_loop() != this) {
    throw ValueError("The future belongs to a different loop than the one that is to run until it is done");
  }
  const CallbackId callback = future.add_done_callback(run_until_complete_cb);
  const Finally removed([&] { future.remove_done_callback(callback); });
  try {
    run_forever();
  } catch (...) {
    // The coroutine raised a KeyboardInterrupt or SystemExit, which is rethrown below. Asking for it here marks it as
    // retrieved, so that it is not reported a second time.
    if (new_task && future.done() && !future.cancelled()) static_cast<void>(future.exception());
    throw;
  }
  if (!future.done()) throw RuntimeError("Event loop stopped before Future completed.");
}

bool AnyFuture::cancel(std::string message) const { return checked().cancel(std::move(message)); }
std::exception_ptr AnyFuture::exception() const { return checked().exception(); }
Ref<ContextState> AnyFuture::context() const { return checked().context(); }
EventLoop& AnyFuture::get_loop() const { return checked().get_loop(); }
std::size_t AnyFuture::remove_done_callback(CallbackId id) const { return checked().remove_done_callback(id); }
std::string AnyFuture::repr() const { return state_ ? state()->repr() : "<Future null>"; }

}  // namespace asyncio
