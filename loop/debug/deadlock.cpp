// In debug mode only: where upstream would hang, this raises an error that says why. NOTES [deadlock]
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>

#include "loop/io/world.hpp"

namespace asyncio {

// In /proc each thread is a directory, and so a link to the one above. If unknown, there may be others.
static std::size_t number_of_threads() {
  struct stat threads;
  return ::stat("/proc/self/task", &threads) == 0 ? threads.st_nlink - 2 : 2;
}

// Another thread, a descriptor or a signal may still wake the loop.
void World::check_can_be_woken() const {
  const bool by_signal = std::ranges::any_of(signal_handlers_, [](const auto& entry) { return entry.first != SIGINT; });
  const bool by_itself = loop_.pending_tasks().empty() || loop_.selector().size() > 1;  // the self-pipe is one
  if (by_itself || by_signal || number_of_threads() > 1) return;
  std::string message = "Deadlock: nothing can ever wake this loop. These tasks wait for ever:";
  for (const PendingHandle* task = loop_.pending_tasks().next(); task; task = loop_.pending_tasks().next(task)) {
    message += "\n  " + task->repr();
  }
  throw RuntimeError(message);
}

}  // namespace asyncio
