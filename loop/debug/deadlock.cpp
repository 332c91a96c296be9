// In debug mode only: where upstream would hang, this raises an error that says why. NOTES [deadlock]
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "loop/io/world.hpp"

namespace asyncio {

static std::ptrdiff_t number_of_threads() {
  std::error_code error;
  const std::filesystem::directory_iterator threads("/proc/self/task", error);
  return error ? 2 : std::distance(begin(threads), end(threads));  // if unknown, assume that there are others
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
