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

void EventLoop::ensure_fd_no_transport(int fd) const {
  if (transports_.empty() || !transports_.contains(fd)) return;
  throw RuntimeError("File descriptor " + std::to_string(fd) + " is used by a transport");
}

std::span<char> EventLoop::read_buffer(std::size_t size) {
  if (read_buffer_.size() < size) read_buffer_.resize(size);
  return read_buffer_;
}

ThreadsafeCalls::ThreadsafeCalls() {
  int ends[2];
  check_call(::pipe2(ends, O_NONBLOCK | O_CLOEXEC), "pipe2");
  read_end_ = FileDescriptor(ends[0]);
  write_end_ = FileDescriptor(ends[1]);
}

bool ThreadsafeCalls::add(HandleState* handle) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  handles_.push_back(Ref<HandleState>::adopt(handle));
  if (!waiting.exchange(true)) write_to_self();
  return true;
}

void ThreadsafeCalls::write_to_self() noexcept {
  // A full pipe wakes the loop as well as one more byte would.
  while (::write(write_end_.get(), "", 1) < 0 && errno == EINTR) {}
}

// asyncio: selector_events.BaseSelectorEventLoop._make_self_pipe
void EventLoop::make_self_pipe() {
  threadsafe_ = std::make_shared<ThreadsafeCalls>();
  add_callback(threadsafe_->read_end_.get(), EVENT_READ, make_handle([this] { read_from_self(); }));
}

// asyncio: selector_events.BaseSelectorEventLoop._close_self_pipe
void EventLoop::close_self_pipe() noexcept {
  HandleQueue dropped;  // after the lock is released: a destructor may call us
  const std::lock_guard lock(threadsafe_->mutex_);
  threadsafe_->closed_ = true;
  dropped = std::move(threadsafe_->handles_);
  threadsafe_->read_end_ = FileDescriptor();
  threadsafe_->write_end_ = FileDescriptor();
}

// asyncio: selector_events.BaseSelectorEventLoop._read_from_self
void EventLoop::read_from_self() {
  char bytes[4096];
  while (::read(threadsafe_->read_end_.get(), bytes, sizeof bytes) > 0 || errno == EINTR) {}
  handle_signals();
}

void EventLoop::add_threadsafe(Ref<HandleState> handle) {
  if (thread_id_.load() == std::this_thread::get_id()) return call_soon_handle(std::move(handle));
  if (!threadsafe_->add(handle.get())) throw_closed();
  handle.detach();
}

void EventLoop::accept_threadsafe() {
  HandleQueue accepted;
  {
    const std::lock_guard lock(threadsafe_->mutex_);
    threadsafe_->waiting = false;
    accepted = std::move(threadsafe_->handles_);
  }
  while (!accepted.empty()) {
    Ref<HandleState> handle = accepted.pop_front();
    if (watched()) tell_scheduled(handle);
    ready_.push_back(std::move(handle));
  }
}

}  // namespace asyncio
