#include "selectors/selectors.hpp"

#include <string>
#include <utility>

namespace selectors {

bool BaseSelector::is_registered(int fd) const noexcept {
  return fd >= 0 && static_cast<std::size_t>(fd) < keys_.size() && keys_[fd].events != 0;
}

void BaseSelector::check_arguments(int fd, unsigned events) {
  if (fd < 0) throw ValueError("fd " + std::to_string(fd) + " is negative: not a file descriptor");
  if (events == 0 || (events & ~(EVENT_READ | EVENT_WRITE)) != 0) {
    throw ValueError("events " + std::to_string(events) + " is neither EVENT_READ, EVENT_WRITE nor both");
  }
}

SelectorKey BaseSelector::register_(int fd, unsigned events, void* data) {
  check_open();
  check_arguments(fd, events);
  if (is_registered(fd)) throw KeyError("fd " + std::to_string(fd) + " is already registered: use modify");
  if (keys_.size() <= static_cast<std::size_t>(fd)) keys_.resize(fd + 1);
  ++size_;
  return keys_[fd] = {fd, events, data};
}

SelectorKey BaseSelector::unregister(int fd) {
  const SelectorKey key = std::exchange(keys_[get_key(fd).fd], {});
  --size_;
  return key;
}

SelectorKey BaseSelector::modify(int fd, unsigned events, void* data) {
  check_arguments(fd, events);
  return keys_[get_key(fd).fd] = {fd, events, data};
}

SelectorKey BaseSelector::get_key(int fd) const {
  check_open();
  if (!is_registered(fd)) throw KeyError("fd " + std::to_string(fd) + " is not registered");
  return keys_[fd];
}

void BaseSelector::close() {
  keys_.clear();
  size_ = 0;
  closed_ = true;
}

template <class Poller> unsigned PollLikeSelector<Poller>::poll_mask(unsigned events) noexcept {
  return (events & EVENT_READ ? POLLIN : 0u) | (events & EVENT_WRITE ? POLLOUT : 0u);
}

template <class Poller> SelectorKey PollLikeSelector<Poller>::register_(int fd, unsigned events, void* data) {
  const SelectorKey key = BaseSelector::register_(fd, events, data);
  try {
    poller_.add(fd, poll_mask(events));
  } catch (...) {
    BaseSelector::unregister(fd);
    throw;
  }
  return key;
}

template <class Poller> SelectorKey PollLikeSelector<Poller>::unregister(int fd) {
  const SelectorKey key = BaseSelector::unregister(fd);
  poller_.remove(fd);
  return key;
}

template <class Poller> SelectorKey PollLikeSelector<Poller>::modify(int fd, unsigned events, void* data) {
  const SelectorKey key = BaseSelector::modify(fd, events, data);
  try {
    poller_.modify(fd, poll_mask(events));
  } catch (...) {
    unregister(fd);
    throw;
  }
  return key;
}

template <class Poller> std::span<const SelectorEvent> PollLikeSelector<Poller>::select(std::optional<double> timeout) {
  check_open();
  ready_.clear();
  for (const auto& [fd, mask] : poller_.wait(timeout)) {
    const SelectorKey& key = keys_[fd];
    const unsigned events = (mask & ~POLLIN ? EVENT_WRITE : 0u) | (mask & ~POLLOUT ? EVENT_READ : 0u);
    if ((events & key.events) != 0) ready_.push_back({key, events & key.events});
  }
  return ready_;
}

template <class Poller> void PollLikeSelector<Poller>::close() {
  BaseSelector::close();
  poller_.close();
}

template class PollLikeSelector<Poll>;
#if !defined(ASYNCIO_NO_EPOLL)
template class PollLikeSelector<Epoll>;
#endif

}  // namespace selectors
