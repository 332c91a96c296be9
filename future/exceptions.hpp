// Upstream counterpart: Lib/asyncio/exceptions.py.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "loop/builtins.hpp"

namespace asyncio {

/// The future or task was cancelled. Not an error: `catch (const std::exception&)` lets it pass. what() is
/// the message that was given to cancel(). asyncio: exceptions.CancelledError
struct CancelledError : BaseException {
  using BaseException::BaseException;
};

/// Does the pointer hold an E? `except E` for an exception that is kept.
template <class E> bool holds(const std::exception_ptr& exception) {
  if (!exception) return false;
  try {
    std::rethrow_exception(exception);
  } catch (const E&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// The base of this library's own errors.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The operation is not allowed in this state. asyncio: exceptions.InvalidStateError
struct InvalidStateError : Error {
  using Error::Error;
};

/// The time was over. asyncio: exceptions.TimeoutError
struct TimeoutError : Error {
  explicit TimeoutError(const std::string& message = "") : Error(message) {}
};

/// The barrier was reset or aborted. asyncio: exceptions.BrokenBarrierError
struct BrokenBarrierError : Error {
  using Error::Error;
};

/// Several errors at once. asyncio: builtins.BaseExceptionGroup
class ExceptionGroup : public Error {
 public:
  ExceptionGroup(const std::string& message, std::vector<std::exception_ptr> exceptions)
      : Error(message + " (" + std::to_string(exceptions.size()) +
              (exceptions.size() == 1 ? " sub-exception)" : " sub-exceptions)")),
        exceptions_(std::move(exceptions)) {}
  const std::vector<std::exception_ptr>& exceptions() const noexcept { return exceptions_; }

 private:
  std::vector<std::exception_ptr> exceptions_;
};

}  // namespace asyncio
