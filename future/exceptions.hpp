// The exceptions of the library. Upstream counterpart: Lib/asyncio/exceptions.py.
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "loop/python/builtins.hpp"

namespace asyncio {

/// The future or task was cancelled. It is not an error, so `catch (const std::exception&)` does not catch it. what()
/// is the message that was given to cancel(). asyncio: exceptions.CancelledError
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

/// A time limit has passed. asyncio: exceptions.TimeoutError
struct TimeoutError : Error {
  explicit TimeoutError(const std::string& message = "") : Error(message) {}
};

/// The barrier was reset or aborted. asyncio: exceptions.BrokenBarrierError
struct BrokenBarrierError : Error {
  using Error::Error;
};

/// The stream ended before everything that was asked for was read. asyncio: exceptions.IncompleteReadError
class IncompleteReadError : public Error {
 public:
  IncompleteReadError(std::string partial, std::optional<std::size_t> expected)
      : Error(std::to_string(partial.size()) + " bytes read on a total of " +
              (expected ? std::to_string(*expected) : "undefined") + " expected bytes"),
        partial_(std::move(partial)),
        expected_(expected) {}
  /// What was read before the end.
  const std::string& partial() const noexcept { return partial_; }
  /// How many bytes were asked for; nullopt if readuntil() was looking for a separator.
  std::optional<std::size_t> expected() const noexcept { return expected_; }

 private:
  std::string partial_;
  std::optional<std::size_t> expected_;
};

/// There is no separator within the stream's limit. asyncio: exceptions.LimitOverrunError
class LimitOverrunError : public Error {
 public:
  LimitOverrunError(const std::string& message, std::size_t consumed) : Error(message), consumed_(consumed) {}
  /// How many bytes to read from the buffer in order to skip what is too long.
  std::size_t consumed() const noexcept { return consumed_; }

 private:
  std::size_t consumed_;
};

}  // namespace asyncio
