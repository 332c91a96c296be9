// Signals: the kernel's handler sets a flag and wakes the loop, which calls ours. Upstream counterpart:
// Lib/asyncio/unix_events.py.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "loop/base_events.hpp"

namespace asyncio {
namespace {

// NOTES [signals] What a signal handler may touch. The flag, not the byte in the pipe, is what says that the signal arrived:
// the pipe can be full, a flag cannot.
struct Arrival {
  std::atomic<bool> pending;
  std::atomic<int> wakeup_fd;
};
std::array<Arrival, NSIG> arrivals;

void on_signal(int signum) {
  const int saved_errno = errno;
  arrivals[signum].pending = true;
  [[maybe_unused]] const ssize_t written = ::write(arrivals[signum].wakeup_fd, "", 1);
  errno = saved_errno;
}

void set_action(int signum, void (*action)(int)) {
  struct sigaction act = {};
  act.sa_handler = action;
  act.sa_flags = SA_RESTART;
  if (::sigaction(signum, &act, nullptr) == 0) return;
  throw RuntimeError("signal " + std::to_string(signum) + " cannot be caught");
}

}  // namespace

void EventLoop::add_signal_handle(int signum, Ref<HandleState> handle) {
  if (signum < 1 || signum >= NSIG) throw ValueError("invalid signal number " + std::to_string(signum));
  check_closed();
  if (!in_main_thread()) throw RuntimeError("signal handlers can be added in the main thread only");
  arrivals[signum].wakeup_fd = threadsafe_->write_end_.get();
  set_action(signum, on_signal);
  handle->repeats_ = true;
  signal_handlers_[signum] = std::move(handle);
}

bool EventLoop::remove_signal_handler(int signum) {
  if (signum < 1 || signum >= NSIG) throw ValueError("invalid signal number " + std::to_string(signum));
  const auto node = signal_handlers_.extract(signum);
  if (node.empty()) return false;
  set_action(signum, SIG_DFL);
  arrivals[signum].pending = false;
  return true;
}

bool EventLoop::signal_is_pending(int signum) const noexcept {
  const auto handler = signal_handlers_.find(signum);
  return handler != signal_handlers_.end() && (arrivals[signum].pending || HandleQueue::queued(handler->second.get()));
}

// asyncio: unix_events._UnixSelectorEventLoop._handle_signal
void EventLoop::handle_signals() {
  for (const auto& [signum, handle] : signal_handlers_) {
    const bool arrived = arrivals[signum].pending.exchange(false);
    if (arrived && !HandleQueue::queued(handle.get())) add_ready(handle);
  }
}

}  // namespace asyncio
