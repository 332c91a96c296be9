// Upstream counterpart: Lib/asyncio/exceptions.py.
#pragma once

#include <stdexcept>
#include <string>

#include "loop/builtins.hpp"

namespace asyncio {

/// The future or task was cancelled. Not an error: `catch (const std::exception&)` lets it pass. what() is
/// the message that was given to cancel(). asyncio: exceptions.CancelledError
struct CancelledError : BaseException {
  using BaseException::BaseException;
};

/// The base of this library's own errors.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The operation is not allowed in this state. asyncio: exceptions.InvalidStateError
struct InvalidStateError : Error {
  using Error::Error;
};

}  // namespace asyncio
