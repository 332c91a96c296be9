// What the programs of this folder share: their arguments, names of errors that Python prints too, and operations/s.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <typeinfo>

#include "asyncio.hpp"

namespace common {

/// The name of the error's class; for one of the system's also its number, "OSError 111". common.py has the same.
inline std::string name_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const asyncio::OSError& error) {
    return "OSError " + std::to_string(error.code().value());
  } catch (const asyncio::ValueError&) {
    return "ValueError";
  } catch (const std::exception& error) {
    const std::string name = asyncio::demangle(typeid(error).name());
    return name.substr(name.rfind(':') + 1);
  }
}

/// An error that nobody catches, in a line on stderr and in the exit status, and Ctrl-C, in the status only: instead of
/// abort() and a core dump.
[[noreturn]] inline void end_with_a_word() {
  std::cout.flush();
  try {
    if (std::current_exception()) std::rethrow_exception(std::current_exception());
  } catch (const asyncio::KeyboardInterrupt&) {
    std::_Exit(128 + SIGINT);
  } catch (const std::exception& error) {
    std::cerr << name_of(std::current_exception()) << ": " << error.what() << std::endl;
    std::_Exit(EXIT_FAILURE);
  } catch (...) {}
  std::abort();
}

/// NAME [PORT [MODE]]: `bench` measures, `killed` asks until the server is gone; without a mode it shows what it can.
/// --help is a line; what is wrong is a line after that, and exit status 2.
struct Arguments {
  Arguments(int argc, char** argv) : port(argc > 1 ? std::atoi(argv[1]) : 0), mode(argc > 2 ? argv[2] : "") {
    std::set_terminate(end_with_a_word);
    const std::string given = argc > 1 ? argv[1] : "0", path = argv[0], name = path.substr(path.rfind('/') + 1);
    const std::string usage = "usage: " + name + " [PORT [MODE]]\n";
    if (given == "--help" || given == "-h") {
      std::cout << usage;
      std::exit(0);
    }
    if (std::to_string(port) != given || port < 0 || port > 65535) {
      std::cerr << usage << name << ": error: PORT is a number from 0 to 65535, not \"" << given << "\"\n";
      std::exit(2);
    }
  }
  int port;
  std::string mode;
};

/// The name of the error with which it ends, or "none".
template <class A> asyncio::Coroutine<std::string> error_of(A awaitable) {
  std::exception_ptr error;
  try {
    co_await std::move(awaitable);
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  co_return error ? name_of(error) : "none";
}

/// Measures from its construction to report().
class Stopwatch {
 public:
  void report(const std::string& what, int operations) const {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
    std::cout << what << ": " << static_cast<long>(operations / passed.count()) << " operations/s" << std::endl;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace common
