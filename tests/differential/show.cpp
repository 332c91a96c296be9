#include "tests/differential/show.hpp"

#include <cstring>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "asyncio.hpp"

namespace differential {
namespace {

std::string type_name(std::string name) {
  static const std::map<std::string, std::string> SPELLED_HERE = {{"std::runtime_error", "RuntimeError"},
                                                                  {"std::invalid_argument", "ValueError"},
                                                                  {"std::out_of_range", "KeyError"}};
  const auto found = SPELLED_HERE.find(name);
  if (found != SPELLED_HERE.end()) return found->second;
  const std::size_t colons = name.rfind("::");
  return colons == std::string::npos ? name : name.substr(colons + 2);
}

bool is_word(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

template <class E> void throw_if(bool yes, const std::string& message) {
  if (yes) throw E(message);
}

}  // namespace

std::string number(double value) {
  char buffer[64];
  char* end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);
  const int exponent = std::stoi(text.substr(text.find('e') + 1));
  if (std::isfinite(value) && value != 0 && (exponent < -4 || exponent >= 16)) return text;
  end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  return std::string(buffer, end);
}

std::string describe(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const asyncio::ExceptionGroup& group) {
    std::string text;
    for (const std::exception_ptr& each : group.exceptions()) text += (text.empty() ? "" : ",") + describe(each);
    return "ExceptionGroup(" + text + ")";
  } catch (const asyncio::OSError& error) {
    const char* name = ::strerrorname_np(error.code().value());
    return std::string("OSError ") + (name ? name : "unknown");
  } catch (...) {}
  const std::string text = asyncio::describe(exception);
  const std::size_t colon = text.find(": ");
  if (colon == std::string::npos) return type_name(text);
  const std::string message = text.substr(colon + 2);
  return type_name(text.substr(0, colon)) + (is_word(message) ? " " + message : "");
}

std::string show(const std::exception_ptr& error) { return error ? describe(error) : "None"; }

bool is_a(const std::exception_ptr& exception, const std::string& kind) {
  if (kind == "BaseException") return true;
  if (kind == "Exception") return asyncio::holds<std::exception>(exception);
  const std::string text = describe(exception);
  const std::string name = text.substr(0, text.find_first_of(" ("));
  return name == kind || (kind == "RuntimeError" && name == "BrokenBarrierError");
}

void raise(const std::string& kind, const std::string& message) {
  throw_if<asyncio::RuntimeError>(kind == "RuntimeError", message);
  throw_if<asyncio::TimeoutError>(kind == "TimeoutError", message);
  throw_if<asyncio::KeyError>(kind == "KeyError", message);
  throw_if<asyncio::CancelledError>(kind == "CancelledError", message);
  if (kind == "KeyboardInterrupt") throw asyncio::KeyboardInterrupt();
  if (kind == "SystemExit") throw asyncio::SystemExit(3);
  throw asyncio::ValueError(message);
}

}  // namespace differential
