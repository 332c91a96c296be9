// What Python has without an import: the names of its exceptions; and time in seconds.
#pragma once

#include <version>

#if !defined(__cpp_impl_coroutine) || !defined(__cpp_lib_source_location)
#error "asyncio.hpp needs C++20 coroutines: compile with g++ >= 12 or clang++ >= 16 and -std=c++20"
#include "the error above is the only one: stop here"
#endif
#if !defined(__cpp_exceptions)
#error "asyncio.hpp reports errors as exceptions: compile without -fno-exceptions"
#include "the error above is the only one: stop here"
#endif

#include <chrono>
#include <exception>
#include <iosfwd>
#include <new>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace asyncio {

using RuntimeError = std::runtime_error;
using ValueError = std::invalid_argument;
using KeyError = std::out_of_range;
using OSError = std::system_error;

/// Stands for the result of type void where a value is needed.
using NoneType = std::monostate;
inline constexpr NoneType None{};

/// An exception that is not an error. It does not derive from std::exception, so `catch (const std::exception&)` does
/// not catch it, just as `except Exception` does not.
class BaseException {
 public:
  explicit BaseException(std::string message = {}) : message_(std::move(message)) {}
  const char* what() const noexcept { return message_.c_str(); }

 private:
  std::string message_;
};

/// The program is to end. It is raised out of run_forever() instead of going to the exception handler.
struct Exit : BaseException {
  using BaseException::BaseException;
};

/// The user pressed Ctrl-C.
struct KeyboardInterrupt : Exit {};

/// The program is to end with this status.
class SystemExit : public Exit {
 public:
  explicit SystemExit(int code = 0) : Exit(std::to_string(code)), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/// A duration: a number of seconds, or any std::chrono::duration.
class Delay {
 public:
  constexpr Delay(double seconds) noexcept : seconds_(seconds) {}  // NOLINT: 0.5 and 500ms are both a Delay
  template <class Rep, class Period> constexpr Delay(std::chrono::duration<Rep, Period> d) noexcept  // NOLINT
      : seconds_(std::chrono::duration<double>(d).count()) {}
  constexpr double seconds() const noexcept { return seconds_; }

 private:
  double seconds_;
};

/// Calls f() when the scope is left: `finally`.
template <class F> class [[nodiscard]] Finally {
 public:
  explicit Finally(F f) : f_(std::move(f)) {}
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;
  ~Finally() { f_(); }

 private:
  F f_;
};

/// Whether the pointer holds an E: `except E` for a stored exception.
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

/// Several errors at once. asyncio: builtins.BaseExceptionGroup
class ExceptionGroup : public std::runtime_error {
 public:
  ExceptionGroup(const std::string& message, std::vector<std::exception_ptr> exceptions)
      : std::runtime_error(message + " (" + std::to_string(exceptions.size()) +
                           (exceptions.size() == 1 ? " sub-exception)" : " sub-exceptions)")),
        exceptions_(std::move(exceptions)) {}
  const std::vector<std::exception_ptr>& exceptions() const noexcept { return exceptions_; }

 private:
  std::vector<std::exception_ptr> exceptions_;
};

/// In a `catch (...)`: the exception. pthread_exit() and pthread_cancel() unwind the stack in a way that `catch (...)`
/// must not stop: that goes on.
inline std::exception_ptr caught_exception() {
  std::exception_ptr exception = std::current_exception();
  if (!exception) throw;
  return exception;
}

/// "TypeName: what()", like the last line of a Python traceback; "" for a null pointer.
std::string describe(const std::exception_ptr& exception);

/// A type's name as the source spells it. The argument is typeid(…).name().
std::string demangle(const char* name);

/// The name of the coroutine function that contains the location.
std::string function_name(const std::source_location& where);

/// std::cerr, so that headers need not include <iostream>.
std::ostream& standard_error() noexcept;

/// Writes the message to stderr without allocating memory.
void log_without_memory(const char* message) noexcept;

}  // namespace asyncio
