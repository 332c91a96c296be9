#include "loop/python/inbox.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace asyncio {

Inbox::Inbox() {
  int ends[2];
  check_call(::pipe2(ends, O_NONBLOCK | O_CLOEXEC), "pipe2");
  read_end_ = FileDescriptor(ends[0]);
  write_end_ = FileDescriptor(ends[1]);
}

bool Inbox::add(Counted* object) {
  const std::lock_guard lock(mutex_);
  make_room();
  return push(object);
}

void Inbox::announce() {
  const std::lock_guard lock(mutex_);
  make_room();
  ++announced_;
}

bool Inbox::add_announced(Counted* object) noexcept {
  const std::lock_guard lock(mutex_);
  --announced_;
  return push(object);
}

void Inbox::make_room() {
  const std::size_t needed = objects_.size() + announced_ + 1;
  if (objects_.capacity() < needed) objects_.reserve(2 * needed);
}

bool Inbox::push(Counted* object) noexcept {
  if (closed_) return false;
  objects_.push_back(object);
  if (!waiting_.exchange(true)) write_to_self();
  return true;
}

void Inbox::write_to_self() noexcept {
  // A full pipe wakes the loop, too, so that error can be ignored.
  while (::write(write_end_.get(), "", 1) < 0 && errno == EINTR) {}
}

// asyncio: selector_events.BaseSelectorEventLoop._close_self_pipe
void Inbox::close() noexcept {
  std::vector<Counted*> released;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    released.swap(objects_);
    waiting_ = false;
    read_end_ = FileDescriptor();
    write_end_ = FileDescriptor();
  }
  for (Counted* object : released) object->decref();  // a destructor may call us
}

}  // namespace asyncio
