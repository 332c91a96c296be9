#include "loop/io/world.hpp"

#include "loop/io/selector_transports.hpp"

namespace asyncio {

std::unique_ptr<LoopWorld> make_world(EventLoop& loop) { return std::make_unique<World>(loop); }

void World::ensure_fd_no_transport(int fd) const {
  if (transports_.empty() || !transports_.contains(fd)) return;
  throw RuntimeError("File descriptor " + std::to_string(fd) + " is used by a transport");
}

void World::add_transport(int fd, SelectorTransport& transport) {
  if (loop_.is_closed()) throw RuntimeError("Event loop is closed");
  transports_[fd] = &transport;
}

std::span<char> World::read_buffer(std::size_t size) {
  if (read_buffer_.size() < size) read_buffer_.resize(size);
  return read_buffer_;
}

// All transports are marked before the first one ends, because its protocol's destructor may use the others.
void World::close() noexcept {
  while (!signal_handlers_.empty()) remove_signal_handler(signal_handlers_.begin()->first);
  if (default_executor_) default_executor_->shutdown(false);
  for (const auto& [fd, transport] : transports_) transport->mark_closed();
  while (!transports_.empty()) transports_.begin()->second->end_with_loop();
}

}  // namespace asyncio
