#include "task/sync/timeouts.hpp"

namespace asyncio {

void Timeout::reschedule(std::optional<double> when) {
  static constexpr const char* NAMES[] = {"created", "active", "expiring", "expired", "finished"};
  if (state_ == State::created) throw RuntimeError("Timeout has not been entered");
  if (state_ != State::entered) {
    throw RuntimeError(std::string("Cannot change state of ") + NAMES[static_cast<int>(state_)] + " Timeout");
  }
  when_ = when;
  timeout_handler_.cancel();
  timeout_handler_ = Handle();
  if (!when) return;
  EventLoop& loop = get_running_loop();
  const auto on_timeout = [this] { this->on_timeout(); };
  timeout_handler_ = *when <= loop.time() ? loop.call_soon(on_timeout) : loop.call_at(*when, on_timeout);
}

Coroutine<void> Timeout::aenter() {
  if (state_ != State::created) throw RuntimeError("Timeout has already been entered");
  task_ = current_task();
  if (!task_) throw RuntimeError("Timeout should be used inside a task");
  state_ = State::entered;
  cancelling_ = task_.cancelling();
  reschedule(when_);
  co_return;
}

Coroutine<bool> Timeout::aexit(std::exception_ptr exception) {
  timeout_handler_.cancel();
  timeout_handler_ = Handle();
  if (state_ == State::entered) state_ = State::exited;
  if (state_ == State::expiring) {
    state_ = State::expired;
    // Only if there was no other cancellation meanwhile, this CancelledError is due to the timeout.
    if (task_.uncancel() <= cancelling_ && holds<CancelledError>(exception)) throw TimeoutError();
  }
  co_return false;
}

// asyncio: timeouts.Timeout._on_timeout
void Timeout::on_timeout() {
  task_.cancel();
  state_ = State::expiring;
  timeout_handler_ = Handle();
}

Timeout timeout(std::optional<Delay> delay) {
  if (!delay) return Timeout(std::nullopt);
  return Timeout(get_running_loop().time() + delay->seconds());
}

}  // namespace asyncio
