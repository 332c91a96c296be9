#include "loop/python/builtins.hpp"

#include <cxxabi.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>

namespace asyncio {

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

std::string describe(const std::exception_ptr& exception) {
  if (!exception) return "";
  std::string what, type;
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    what = error.what(), type = demangle(abi::__cxa_current_exception_type()->name());
  } catch (const BaseException& error) {
    what = error.what(), type = demangle(abi::__cxa_current_exception_type()->name());
  } catch (...) {
    type = demangle(abi::__cxa_current_exception_type()->name());
  }
  return what.empty() ? type : type + ": " + what;
}

// Compilers call a coroutine "Coroutine<int> f(int)" or "void f(f(int)::_Z1fi.Frame*)"; both become "f".
std::string function_name(const std::source_location& where) {
  const std::string text = where.function_name();
  int depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    depth += (text[i] == '<') - (text[i] == '>');
    if (depth == 0 && text[i] == ' ') start = i + 1;
    if (depth == 0 && text[i] == '(' && i > start) return text.substr(start, i - start);
  }
  return text;
}

std::ostream& standard_error() noexcept { return std::cerr; }

void log_without_memory(const char* message) noexcept {
  for (const char* part : {message, " (out of memory)\n"}) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, part, std::strlen(part));
  }
}

}  // namespace asyncio
