// How a trace shows values, times and exceptions: the twin of interpreter.py's show, number and describe.
#pragma once

#include <exception>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace differential {

/// As Python's repr(float), without a trailing ".0".
std::string number(double value);

/// "Type", "Type word" or "ExceptionGroup(…)": a message is shown if it is one word, for others are worded differently.
std::string describe(const std::exception_ptr& exception);
inline std::string describe_current() { return describe(std::current_exception()); }

/// Would `except kind` catch it?
bool is_a(const std::exception_ptr& exception, const std::string& kind);

/// Throws the exception that Python's name says.
[[noreturn]] void raise(const std::string& kind, const std::string& message);

inline std::string show(const std::string& value) { return value; }
std::string show(const std::exception_ptr& error);
inline std::string show(std::monostate) { return "ok"; }
template <class T>
requires std::is_arithmetic_v<T> std::string show(T value) {
  if constexpr (std::is_same_v<T, bool>) return value ? "True" : "False";
  if constexpr (std::is_same_v<T, double>) return number(value);
  return std::to_string(value);
}
template <class T> std::string show(const std::variant<T, std::exception_ptr>& outcome) {
  return std::visit([](const auto& value) { return show(value); }, outcome);
}
template <class T> std::string show(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text.append(text.empty() ? "" : ",").append(show(value));
  return "[" + text + "]";
}

/// What f() returns; "ok" if nothing.
template <class F> std::string shown(F&& f) {
  if constexpr (std::is_void_v<decltype(f())>) {
    f();
    return "ok";
  } else {
    return show(f());
  }
}

}  // namespace differential
