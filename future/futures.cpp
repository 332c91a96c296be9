#include "future/futures.hpp"

#include <algorithm>
#include <iostream>

namespace asyncio {

bool FutureState::cancel(std::string message) {
  log_traceback_ = false;
  if (done()) return false;
  state_ = State::cancelled;
  if (!message.empty()) exception_ = std::make_exception_ptr(CancelledError(std::move(message)));
  schedule_callbacks();
  return true;
}

std::exception_ptr FutureState::cancelled_error() const {
  return cancelled() && exception_ ? exception_ : std::make_exception_ptr(CancelledError());
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

void FutureState::check_pending() const {
  if (done()) throw InvalidStateError("invalid state: " + repr() + " is done already");
}

void FutureState::check_settable(const char*) const { check_pending(); }

void FutureState::set_exception(std::exception_ptr exception) {
  if (!exception) throw ValueError("set_exception needs an exception: the pointer is null");
  exception_ = std::move(exception);
  log_traceback_ = true;
  state_ = State::finished;
  schedule_callbacks();
}

void FutureState::set_result() {
  exception_ = nullptr;
  state_ = State::finished;
  schedule_callbacks();
}

// asyncio: futures.Future.__schedule_callbacks
void FutureState::schedule_callbacks() {
  if (callbacks_.empty()) return;
  EventLoop& loop = get_loop();
  for (HandleQueue callbacks = std::move(callbacks_); !callbacks.empty();) {
    Ref<HandleState> handle = callbacks.pop_front();
    static_cast<PendingHandle&>(*handle).future_done(AnyFuture(this));
    loop.call_soon_handle(std::move(handle));
  }
}

void DoneCallback::future_done(const AnyFuture& future) noexcept {
  future_ = future;
  unlink();
}

void DoneCallback::end_with_loop() noexcept {
  const AnyFuture dropped = std::move(awaiter_);  // may be what holds the future that holds this
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
    loop.check_closed();  // a callback that nothing will ever end could be a cycle for ever
    loop.pending_callbacks_.push_back(*callback);
    callback->awaiter_ = std::move(awaiter);
    callbacks_.push_back(callback);
  }
  return callback->id_;
}

std::vector<AnyFuture> FutureState::awaited_by() const {
  std::vector<AnyFuture> tasks;
  const auto add = [&](const AnyFuture& task) {
    if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) tasks.push_back(task);
  };
  for (HandleState* handle = callbacks_.first(); handle; handle = callbacks_.next(handle)) {
    const AnyFuture waiter = static_cast<PendingHandle&>(*handle).awaiter();
    if (!waiter) continue;
    if (waiter.state()->as_task()) {
      add(waiter);
    } else {  // a gathering: who waits for that
      for (const AnyFuture& task : waiter.state()->awaited_by()) add(task);
    }
  }
  return tasks;
}

std::size_t FutureState::remove_done_callback(CallbackId id) {
  const HandleQueue removed = callbacks_.extract_if([id](HandleState& handle) {
    auto* callback = dynamic_cast<DoneCallback*>(&handle);
    if (!callback || callback->id() != id) return false;
    callback->unlink();
    return true;
  });
  return removed.size();
}

void FutureState::abandon() noexcept {
  state_ = State::cancelled;
  callbacks_.clear();
}

void FutureState::unreferenced() noexcept {
  if (!std::exchange(log_traceback_, false)) {
    delete this;
    return;
  }
  const Ref<FutureState> self(this);  // the handler may keep it
  report(std::string(class_name()) + " exception was never retrieved", exception_);
}

void FutureState::report(std::string message, std::exception_ptr exception) noexcept {
  const ExceptionContext context{std::move(message), std::move(exception), AnyFuture(this), {}};
  try {
    anchor_->loop ? anchor_->loop->call_exception_handler(context) : log_error(context);
  } catch (...) {
    // KeyboardInterrupt or SystemExit of a handler: a destructor has nobody to throw them to.
  }
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
  const bool leaving = !future.cancelled() && holds<Exit>(future.exception());  // run_forever is being left already
  if (!leaving) future.get_loop().stop();
}

// asyncio: base_events.BaseEventLoop.run_until_complete
void EventLoop::run_until_done(const AnyFuture& future, bool new_task) {
  if (&future.get_loop() != this) {
    throw ValueError("The future belongs to a different loop than the one that is to run until it is done");
  }
  const CallbackId callback = future.add_done_callback(run_until_complete_cb);
  try {
    run_forever();
  } catch (...) {
    // The coroutine raised a KeyboardInterrupt or SystemExit: it is on its way, and not to be reported a
    // second time.
    if (new_task && future.done() && !future.cancelled()) static_cast<void>(future.exception());
    future.remove_done_callback(callback);
    throw;
  }
  future.remove_done_callback(callback);
  if (!future.done()) throw RuntimeError("Event loop stopped before Future completed.");
}

bool AnyFuture::cancel(std::string message) const { return checked().cancel(std::move(message)); }
std::exception_ptr AnyFuture::exception() const { return checked().exception(); }
Ref<ContextState> AnyFuture::context() const { return checked().context(); }
EventLoop& AnyFuture::get_loop() const { return checked().get_loop(); }
std::size_t AnyFuture::remove_done_callback(CallbackId id) const { return checked().remove_done_callback(id); }
std::string AnyFuture::repr() const { return state_ ? state()->repr() : "<Future null>"; }

}  // namespace asyncio
