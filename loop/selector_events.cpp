// Descriptors: readers, writers, and the pipe through which other threads wake the loop.
// Upstream counterpart: Lib/asyncio/selector_events.py.
#include <unistd.h>

#include <cerrno>

#include "loop/base_events.hpp"

namespace asyncio {

using selectors::EVENT_READ, selectors::EVENT_WRITE;

// asyncio: selector_events.BaseSelectorEventLoop._process_events
void EventLoop::process_events(std::span<const selectors::SelectorEvent> events) {
  if (events.empty()) return;  // at once, as in most iterations of a busy loop
  for (const auto& [key, mask] : events) {
    IoHandles& handles = *static_cast<IoHandles*>(key.data);
    for (const unsigned event : {EVENT_READ, EVENT_WRITE}) {
      if (!(mask & event & handles.watched)) continue;
      Ref<HandleState> handle = handles.of(event);
      if (!handle || handle->cancelled()) {
        remove_io_handle(key.fd, event);
      } else {
        add_callback(std::move(handle));
      }
    }
  }
}

// Both _add_reader and _add_writer of upstream.
Handle EventLoop::add_io_handle(int fd, unsigned event, Ref<HandleState> handle) {
  check_closed();
  IoHandles& handles = io_handles_[fd];
  if (handles.watched != 0) {
    try {
      selector_->modify(fd, handles.events() | event, &handles);
    } catch (const OSError&) {
      cancel_io_handles(handles);  // NOTES [stale-fd] their file was closed, and its number is now another file's
    }
  }
  if (handles.watched == 0) selector_->register_(fd, event, &handles);
  handles.watched = handles.events() | event;
  handle->set_repeats();
  const Ref<HandleState> replaced = std::exchange(handles.of(event), handle);
  if (replaced) replaced->cancel_callback();  // last, because the destructors of its captures may call us
  return Handle(std::move(handle));
}

// Both _remove_reader and _remove_writer of upstream.
bool EventLoop::remove_io_handle(int fd, unsigned event, bool keep_watching) {
  const auto position = io_handles_.find(fd);
  if (position == io_handles_.end() || !(position->second.watched & event)) return false;
  IoHandles& handles = position->second;
  const Ref<HandleState> removed = std::exchange(handles.of(event), nullptr);
  if (!keep_watching || debug_) try {  // the check for deadlocks counts what is watched
      handles.watched = handles.events();
      handles.watched ? selector_->modify(fd, handles.watched, &handles) : selector_->unregister(fd);
    } catch (const OSError&) {
      cancel_io_handles(handles);  // the file was closed, so the other event cannot happen either
    }
  if (removed) removed->cancel_callback();  // last, because the destructors of its captures may call us
  return static_cast<bool>(removed);
}

void EventLoop::cancel_io_handles(IoHandles& handles) noexcept {
  handles.watched = 0;
  for (const Ref<HandleState>& handle :
       {std::exchange(handles.reader, nullptr), std::exchange(handles.writer, nullptr)}) {
    if (handle) handle->cancel_callback();
  }
}

// asyncio: selector_events.BaseSelectorEventLoop._make_self_pipe
void EventLoop::make_self_pipe() {
  inbox_ = std::make_shared<Inbox>();
  add_io_handle(inbox_->read_end(), EVENT_READ, make_handle([this] { read_from_self(); }));
}

// asyncio: selector_events.BaseSelectorEventLoop._read_from_self
void EventLoop::read_from_self() {
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::read(inbox_->read_end(), bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (world_) world_->process_self_data({bytes, static_cast<std::size_t>(n)});
  }
}

void EventLoop::add_threadsafe(Ref<HandleState> handle) {
  if (thread_id_.load() == std::this_thread::get_id()) {
    call_soon_handle(std::move(handle));
    return;
  }
  // The values of this thread's context are counted without atomics: the loop's thread gets copies.
  if (handle->context_) handle->context_ = copy_context_for_thread().state();
  if (!inbox_->add(handle.get())) throw_closed();
  handle.detach();
}

// NOTES [threadsafe-inbox] If memory is exhausted, the handles stay in the inbox until the next iteration.
void EventLoop::empty_inbox() noexcept {
  std::size_t i = ready_.size();
  inbox_->take([this](std::span<Counted* const> handles) {
    make_room(handles.size());
    for (Counted* handle : handles) ready_.append(Ref<HandleState>::adopt(static_cast<HandleState*>(handle)));
  });
  for (const auto end = ready_.size(); observer_ && i < end; ++i) observer_->handle_scheduled(Handle(ready_[i]), {});
}

}  // namespace asyncio
