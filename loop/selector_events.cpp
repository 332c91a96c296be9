// Descriptors: readers, writers, and the pipe by which other threads wake the loop.
// Upstream counterpart: Lib/asyncio/selector_events.py.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "loop/base_events.hpp"

namespace asyncio {

using selectors::EVENT_READ, selectors::EVENT_WRITE;

// A handle that is queued still stays where it is, NOTES [queued-once].
// asyncio: selector_events.BaseSelectorEventLoop._process_events
void EventLoop::process_events(std::span<const selectors::SelectorEvent> events) {
  const auto queue = [this](const Ref<HandleState>& handle) {
    if (handle && !HandleQueue::queued(handle.get())) add_ready(handle);
  };
  for (const auto& [key, happened] : events) {
    if (!key.data) {
      read_from_self();
      continue;
    }
    const Callbacks& callbacks = *static_cast<Callbacks*>(key.data);
    if (happened & EVENT_READ) queue(callbacks.reader);
    if (happened & EVENT_WRITE) queue(callbacks.writer);
  }
}

void EventLoop::add_callback(int fd, unsigned event, Ref<HandleState> handle) {
  check_closed();
  const auto [position, is_new] = callbacks_.try_emplace(fd);
  Callbacks& callbacks = position->second;
  try {
    if (is_new) {
      selector_->register_(fd, event, &callbacks);
    } else {
      selector_->modify(fd, selector_->get_key(fd).events | event, &callbacks);
    }
  } catch (...) {
    forget_callbacks(fd);
    if (is_new) throw;
    // NOTES [stale-fd] The file that the callbacks waited for was closed, and another one has its number now.
    return add_callback(fd, event, std::move(handle));
  }
  Ref<HandleState>& slot = event == EVENT_READ ? callbacks.reader : callbacks.writer;
  handle->repeats_ = true;
  const Ref<HandleState> replaced = std::exchange(slot, std::move(handle));
  if (replaced) replaced->cancel_callback();  // last: what it captured may call us when it dies
}

bool EventLoop::remove_callback(int fd, unsigned event) {
  const auto position = callbacks_.find(fd);
  if (position == callbacks_.end()) return false;
  Callbacks& callbacks = position->second;
  const Ref<HandleState> removed = std::move(event == EVENT_READ ? callbacks.reader : callbacks.writer);
  if (!removed) return false;
  try {
    if (const unsigned left = selector_->get_key(fd).events & ~event) {
      selector_->modify(fd, left, &callbacks);
    } else {
      selector_->unregister(fd);
      callbacks_.erase(position);
    }
  } catch (const OSError&) {
    forget_callbacks(fd);  // closed without a word to us: what waited for the other event waits in vain
  }
  removed->cancel_callback();
  return true;
}

void EventLoop::forget_callbacks(int fd) noexcept {
  const auto node = callbacks_.extract(fd);
  if (node.mapped().reader) node.mapped().reader->cancel_callback();
  if (node.mapped().writer) node.mapped().writer->cancel_callback();
}

// asyncio: selector_events.BaseSelectorEventLoop._make_self_pipe
void EventLoop::make_self_pipe() {
  if (::pipe2(self_pipe_, O_NONBLOCK | O_CLOEXEC) < 0) selectors::throw_errno("pipe2");
  try {
    selector_->register_(self_pipe_[0], EVENT_READ, nullptr);
  } catch (...) {
    close_self_pipe();
    throw;
  }
}

// asyncio: selector_events.BaseSelectorEventLoop._close_self_pipe
void EventLoop::close_self_pipe() noexcept {
  HandleQueue dropped;  // after the lock is released: a destructor may call us
  const std::lock_guard lock(threadsafe_mutex_);
  threadsafe_closed_ = true;
  dropped = std::move(threadsafe_);
  ::close(self_pipe_[0]);
  ::close(self_pipe_[1]);
}

// asyncio: selector_events.BaseSelectorEventLoop._read_from_self
void EventLoop::read_from_self() {
  char bytes[4096];
  while (::read(self_pipe_[0], bytes, sizeof bytes) > 0 || errno == EINTR) {}
  handle_signals();
  accept_threadsafe();
}

// asyncio: selector_events.BaseSelectorEventLoop._write_to_self
void EventLoop::write_to_self() noexcept {
  // A full pipe wakes the loop as well as one more byte would.
  while (::write(self_pipe_[1], "", 1) < 0 && errno == EINTR) {}
}

// Another thread's callbacks wait here until the loop takes them over; the first one wakes it up.
void EventLoop::add_threadsafe(Ref<HandleState> handle) {
  if (thread_id_.load() == std::this_thread::get_id()) return call_soon_handle(std::move(handle));
  const std::lock_guard lock(threadsafe_mutex_);
  if (threadsafe_closed_) throw RuntimeError("Event loop is closed");
  threadsafe_.push_back(std::move(handle));
  if (!threadsafe_waiting_.exchange(true)) write_to_self();
}

void EventLoop::accept_threadsafe() {
  const std::lock_guard lock(threadsafe_mutex_);
  threadsafe_waiting_ = false;
  while (!threadsafe_.empty()) ready_.push_back(threadsafe_.pop_front());
}

}  // namespace asyncio
