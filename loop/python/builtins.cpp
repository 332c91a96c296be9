#include "loop/python/builtins.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

namespace asyncio {

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

std::string describe(const std::exception_ptr& exception) {
  if (!exception) return "";
  std::string what;
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    what = error.what();
  } catch (const BaseException& error) {
    what = error.what();
  } catch (...) {}
  const std::string type = demangle(exception.__cxa_exception_type()->name());
  return what.empty() ? type : type + ": " + what;
}

}  // namespace asyncio
