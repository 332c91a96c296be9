// Signals: the handler of the process writes the signal's number to the self-pipe; the loop then calls the program's
// handler. Upstream counterpart: Lib/asyncio/unix_events.py, with Modules/signalmodule.c.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "loop/io/world.hpp"
#include "loop/python/sockets.hpp"

namespace asyncio {
namespace {

// NOTES [signals] A signal handler may touch only this.
struct Arrivals {
  std::atomic<int> wakeup_fd{-1};
  std::atomic<int> count{0};
  std::atomic<int> not_written{0};  // the pipe was full
};
std::array<Arrivals, NSIG> arrivals;

// asyncio: signalmodule.c trip_signal
void on_signal(int signum) {
  const int saved_errno = errno;
  const auto byte = static_cast<unsigned char>(signum);
  ++arrivals[signum].count;
  if (::write(arrivals[signum].wakeup_fd, &byte, 1) != 1) ++arrivals[signum].not_written;
  errno = saved_errno;
}

// No loop runs in the child of a fork(), and it must not write into its parent's pipe. asyncio: events.on_fork
void on_fork() {
  for (Arrivals& arrival : arrivals) arrival.wakeup_fd = -1;
}
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, on_fork);

bool set_action(int signum, void (*action)(int)) noexcept {
  struct sigaction act = {};
  act.sa_handler = action;
  act.sa_flags = SA_RESTART;
  return ::sigaction(signum, &act, nullptr) == 0;
}

// asyncio: unix_events._UnixSelectorEventLoop._check_signal
void check_signal(int signum) {
  if (signum < 1 || signum >= NSIG) throw ValueError("invalid signal number " + std::to_string(signum));
}

}  // namespace

void World::add_signal_handle(int signum, Ref<HandleState> handle) {
  check_signal(signum);
  if (loop_.is_closed()) throw RuntimeError("Event loop is closed");
  if (!in_main_thread()) throw RuntimeError("signal handlers can be added in the main thread only");
  Ref<HandleState>& slot = signal_handlers_[signum];
  arrivals[signum].wakeup_fd = loop_.inbox()->write_end();
  if (!set_action(signum, on_signal)) {
    signal_handlers_.erase(signum);
    throw RuntimeError("sig " + std::to_string(signum) + " cannot be caught");
  }
  handle->set_repeats();
  slot = std::move(handle);
}

bool World::remove_signal_handler(int signum) {
  check_signal(signum);
  const auto node = signal_handlers_.extract(signum);
  if (node.empty()) return false;
  set_action(signum, SIG_DFL);
  arrivals[signum].wakeup_fd = -1;
  arrivals[signum].not_written = 0;
  return true;
}

// One call for each arrival, in the order of arrival; those for which the pipe had no room come last.
void World::process_self_data(std::string_view data) {
  for (const char byte : data) {
    if (byte != 0) handle_signal(static_cast<unsigned char>(byte));
  }
  for (auto entry = signal_handlers_.begin(); entry != signal_handlers_.end();) {
    const int signum = (entry++)->first;
    for (int left = arrivals[signum].not_written.exchange(0); left > 0; --left) handle_signal(signum);
  }
}

// asyncio: unix_events._UnixSelectorEventLoop._handle_signal
void World::handle_signal(int signum) {
  const auto found = signal_handlers_.find(signum);
  if (found == signal_handlers_.end()) return;
  found->second->cancelled() ? void(remove_signal_handler(signum)) : loop_.add_callback(found->second);
}

bool World::add_interrupt_handler(const Ref<HandleState>& handle) {
  if (!in_main_thread() || !has_default_action(SIGINT)) return false;
  arrivals[SIGINT].count = 0;
  add_signal_handle(SIGINT, handle);
  return true;
}

int World::remove_interrupt_handler(const Ref<HandleState>& handle) noexcept {
  const auto found = signal_handlers_.find(SIGINT);
  if (found == signal_handlers_.end() || found->second != handle) return 0;  // the program has replaced it
  remove_signal_handler(SIGINT);
  return arrivals[SIGINT].count;
}

void AbstractEventLoop::add_signal_handle(int signum, Ref<HandleState> handle) {
  World::of(self()).add_signal_handle(signum, std::move(handle));
}

bool AbstractEventLoop::remove_signal_handler(int signum) { return World::of(self()).remove_signal_handler(signum); }

}  // namespace asyncio
