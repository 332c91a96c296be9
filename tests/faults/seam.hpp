// Makes the n-th allocation or the n-th system call of one kind fail. The linker redirects the calls (rules.mk), so
// that the library itself knows nothing of it.
#pragma once

#include <string>
#include <vector>

namespace faults {

/// What can fail: the allocations, or a system call.
struct Kind {
  std::string name;
  std::vector<int> lasting;  // errors that may also last: the call then fails from the n-th on
  std::vector<int> passing;  // errors of one call only, such as EINTR
};
/// The first one is the allocations, whose error is 0.
const std::vector<Kind>& kinds();

struct Fault {
  int kind = -1;  // index into kinds(); -1: nothing fails
  int error = 0;
  int n = 0;           // which call, from 1 on
  bool lasts = false;  // those after it fail, too
};

/// From now on the fault happens.
void arm(const Fault& fault) noexcept;
/// Nothing fails, and no call is counted, while one lives.
struct Pause {
  Pause() noexcept;
  ~Pause();
};
/// Whether a call has failed since arm().
bool happened() noexcept;
/// How many calls of each kind there were since arm().
std::vector<int> calls();
/// How many blocks of memory there are that operator new has given out.
long live_blocks() noexcept;

}  // namespace faults
