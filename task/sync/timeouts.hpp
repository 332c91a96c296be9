// Time limits for a part of a task. Upstream counterpart: Lib/asyncio/timeouts.py.
#pragma once

#include <optional>

#include "task/sync/async_with.hpp"

namespace asyncio {

/// A deadline for the body of async_with. When it has passed, the task is cancelled, and async_with turns the
/// CancelledError into a TimeoutError, but not that of another cancel(). It must not be moved while it is entered.
/// asyncio: timeouts.Timeout
class Timeout {
 public:
  /// `when` is a time of loop.time(), in seconds; nullopt: no limit.
  explicit Timeout(std::optional<double> when) : when_(when) {}
  Timeout(Timeout&& other) noexcept : when_(other.when_) {}
  ~Timeout() { timeout_handler_.cancel(); }

  /// The deadline as a loop time; nullopt: no limit. asyncio: timeouts.Timeout.when
  std::optional<double> when() const noexcept { return when_; }
  /// Changes the deadline. RuntimeError unless it is entered. asyncio: timeouts.Timeout.reschedule
  void reschedule(std::optional<double> when);
  /// Whether the deadline has passed. asyncio: timeouts.Timeout.expired
  bool expired() const noexcept { return state_ == State::expiring || state_ == State::expired; }

  /// RuntimeError if it was already entered, or outside a task. asyncio: timeouts.Timeout.__aenter__
  Coroutine<void> aenter();
  /// asyncio: timeouts.Timeout.__aexit__
  Coroutine<bool> aexit(std::exception_ptr exception);

 private:
  enum class State { created, entered, expiring, expired, exited };
  void on_timeout();

  State state_ = State::created;
  std::optional<double> when_;
  Handle timeout_handler_;
  AnyTask task_;
  int cancelling_ = 0;
};

/// For async_with: TimeoutError when the body takes longer than `delay`; nullopt: no limit. asyncio: timeouts.timeout
Timeout timeout(std::optional<Delay> delay);
/// The same with a loop time in seconds. asyncio: timeouts.timeout_at
inline Timeout timeout_at(std::optional<double> when) { return Timeout(when); }

}  // namespace asyncio
