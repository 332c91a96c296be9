// The programs that meet faults, and what they share.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "asyncio.hpp"
#include "tests/faults/seam.hpp"

namespace faults {

/// The program went wrong in a way that is no answer to a fault.
struct Wrong {
  const char* what;
};
inline void expect(bool condition, const char* what) {
  if (!condition) throw Wrong{what};
}

/// A program returns if its result is right, and throws if an error kept it from that.
struct Program {
  const char* name;
  void (*run)();
  bool promises = false;  // it has a std::promise, which ends the program if it is broken when there is no memory
};
const std::vector<Program>& programs();

/// Seconds after which a program is told that it waits in vain.
extern double patience;
/// Set when that has happened.
extern bool waited_in_vain;

/// Runs the task on the loop. If that takes longer than `patience`, cancels it.
void run_with_patience(asyncio::EventLoop& loop, const asyncio::Task<void>& task);
/// The loop still does all that a loop does; else Wrong.
void expect_usable(asyncio::EventLoop& loop);

/// Runs main() on the loop. Whatever has become of main, the loop is then usable, or closed.
template <class F> void run_on(asyncio::EventLoop& loop, F main) {
  std::exception_ptr error;
  try {
    run_with_patience(loop, loop.create_task(main));
  } catch (...) {
    error = std::current_exception();
  }
  if (!loop.is_closed()) expect_usable(loop);
  if (error) std::rethrow_exception(error);
}
template <class F> void run_on_new_loop(F main) {
  asyncio::EventLoop loop;
  run_on(loop, main);
}

// The programs of one file.
std::vector<Program> programs_of_the_kernel();
std::vector<Program> programs_of_tasks();
std::vector<Program> programs_of_the_world();

}  // namespace faults
