// Descriptors: readers, writers, and the pipe by which other threads wake the loop.
// Upstream counterpart: Lib/asyncio/selector_events.py.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "loop/base_events.hpp"

namespace asyncio {

using selectors::EVENT_READ, selectors::EVENT_WRITE;

// asyncio: selector_events.BaseSelectorEventLoop._process_events
void EventLoop::process_events(std::span<const selectors::SelectorEvent> events) {
  for (const auto& [key, mask] : events) {
    const IoHandles& handles = *static_cast<IoHandles*>(key.data);
    for (const unsigned event : {EVENT_READ, EVENT_WRITE}) {
      const Ref<HandleState> handle = event == EVENT_READ ? handles.reader : handles.writer;
      if (!(mask & event) || !handle) continue;
      if (handle->cancelled()) {
        remove_io_handle(key.fd, event);
      } else {
        add_callback(handle);
      }
    }
  }
}

// What another thread called before stands before it in the queue.
// asyncio: selector_events.BaseSelectorEventLoop._add_callback
void EventLoop::add_callback(Ref<HandleState> handle) {
  make_room();
  wake(std::move(handle));
}

void EventLoop::wake(Ref<HandleState> handle) noexcept {
  take_threadsafe_calls();
  if (observer_) observer_->handle_scheduled(Handle(handle), Handle(Ref<HandleState>(running_)));
  ready_.push_back(std::move(handle));
}

// Both _add_reader and _add_writer of upstream.
Handle EventLoop::add_io_handle(int fd, unsigned event, Ref<HandleState> handle) {
  check_closed();
  IoHandles& handles = io_handles_[fd];
  if (handles.events() != 0) {
    try {
      selector_->modify(fd, handles.events() | event, &handles);
    } catch (const OSError&) {
      cancel_io_handles(handles);  // NOTES [stale-fd] the file they waited for is closed, and another has its number
    }
  }
  if (handles.events() == 0) selector_->register_(fd, event, &handles);
  handle->set_repeats();
  const Ref<HandleState> replaced = std::exchange(handles.of(event), handle);
  if (replaced) replaced->cancel_callback();  // last: what it captured may call us when it dies
  return Handle(std::move(handle));
}

// Both _remove_reader and _remove_writer of upstream.
bool EventLoop::remove_io_handle(int fd, unsigned event) {
  const auto position = io_handles_.find(fd);
  if (position == io_handles_.end() || !position->second.of(event)) return false;
  IoHandles& handles = position->second;
  const Ref<HandleState> removed = std::exchange(handles.of(event), nullptr);
  try {
    if (const unsigned left = handles.events()) {
      selector_->modify(fd, left, &handles);
    } else {
      selector_->unregister(fd);
    }
  } catch (const OSError&) {
    cancel_io_handles(handles);  // the file was closed: what waited for the other event waits in vain
  }
  removed->cancel_callback();
  return true;
}

void EventLoop::cancel_io_handles(IoHandles& handles) noexcept {
  for (const Ref<HandleState>& handle :
       {std::exchange(handles.reader, nullptr), std::exchange(handles.writer, nullptr)}) {
    if (handle) handle->cancel_callback();
  }
}

ThreadsafeCalls::ThreadsafeCalls() {
  int ends[2];
  check_call(::pipe2(ends, O_NONBLOCK | O_CLOEXEC), "pipe2");
  read_end_ = FileDescriptor(ends[0]);
  write_end_ = FileDescriptor(ends[1]);
}

bool ThreadsafeCalls::add(HandleState* handle) {
  const std::lock_guard lock(mutex_);
  make_room();
  return push(handle);
}

bool ThreadsafeCalls::add_announced(HandleState* handle) noexcept {
  const std::lock_guard lock(mutex_);
  --announced_;
  return push(handle);
}

bool ThreadsafeCalls::push(HandleState* handle) noexcept {
  if (closed_) return false;
  handles_.push_back(Ref<HandleState>::adopt(handle));
  if (!waiting.exchange(true)) write_to_self();
  return true;
}

void ThreadsafeCalls::announce() {
  const std::lock_guard lock(mutex_);
  make_room();
  ++announced_;
}

void ThreadsafeCalls::make_room() {
  const std::size_t needed = handles_.size() + announced_ + 1;
  if (handles_.capacity() < needed) handles_.reserve(2 * needed);
}

void ThreadsafeCalls::write_to_self() noexcept {
  // A full pipe wakes the loop as well as one more byte would.
  while (::write(write_end_.get(), "", 1) < 0 && errno == EINTR) {}
}

// asyncio: selector_events.BaseSelectorEventLoop._make_self_pipe
void EventLoop::make_self_pipe() {
  threadsafe_ = std::make_shared<ThreadsafeCalls>();
  add_io_handle(threadsafe_->read_end_.get(), EVENT_READ, make_handle([this] { read_from_self(); }));
}

// asyncio: selector_events.BaseSelectorEventLoop._close_self_pipe
void EventLoop::close_self_pipe() noexcept {
  std::vector<Ref<HandleState>> dropped;  // destroyed after the lock is released: a destructor may call us
  const std::lock_guard lock(threadsafe_->mutex_);
  threadsafe_->closed_ = true;
  dropped.swap(threadsafe_->handles_);
  threadsafe_->read_end_ = FileDescriptor();
  threadsafe_->write_end_ = FileDescriptor();
}

// asyncio: selector_events.BaseSelectorEventLoop._read_from_self
void EventLoop::read_from_self() {
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::read(threadsafe_->read_end_.get(), bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (world_) world_->process_self_data({bytes, static_cast<std::size_t>(n)});
  }
}

void EventLoop::add_threadsafe(Ref<HandleState> handle) {
  if (thread_id_.load() == std::this_thread::get_id()) {
    call_soon_handle(std::move(handle));
  } else if (threadsafe_->add(handle.get())) {
    handle.detach();
  } else {
    throw_closed();
  }
}

// NOTES [threadsafe-inbox] Where memory is short they stay until the next iteration.
void EventLoop::take_threadsafe_calls() noexcept {
  if (!threadsafe_->waiting.load(std::memory_order_relaxed)) return;
  const std::size_t first = ready_.size();
  try {
    const std::lock_guard lock(threadsafe_->mutex_);
    std::vector<Ref<HandleState>>& handles = threadsafe_->handles_;
    make_room(handles.size());
    ready_.insert(ready_.end(), std::move_iterator(handles.begin()), std::move_iterator(handles.end()));
    handles.clear();
    threadsafe_->waiting = false;
  } catch (const std::bad_alloc&) {
    return;
  }
  for (std::size_t i = first; observer_ && i < ready_.size(); ++i)
    observer_->handle_scheduled(Handle(ready_[i]), Handle());
}

void LoopWorld::check_usable() const { loop_.check_usable(); }
Handle LoopWorld::add_io_handle(int fd, unsigned event, Ref<HandleState> handle) {
  return loop_.add_io_handle(fd, event, std::move(handle));
}
bool LoopWorld::remove_io_handle(int fd, unsigned event) { return loop_.remove_io_handle(fd, event); }
void LoopWorld::add_callback(Ref<HandleState> handle) { loop_.add_callback(std::move(handle)); }
void LoopWorld::add_pending(PendingHandle& handle) { loop_.add_pending(loop_.pending_callbacks_, handle); }
const LinkedList<PendingHandle>& LoopWorld::pending_tasks() const noexcept { return loop_.pending_tasks_; }
const std::shared_ptr<ThreadsafeCalls>& LoopWorld::threadsafe_calls() const noexcept { return loop_.threadsafe_; }

}  // namespace asyncio
