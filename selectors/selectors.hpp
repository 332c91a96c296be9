// High-level I/O multiplexing: which descriptors to watch, and for whom.
// Upstream counterpart: Lib/selectors.py. Selectors know nothing of event loops: a registration carries opaque `data`.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "selectors/select.hpp"

namespace selectors {

using KeyError = std::out_of_range;
using ValueError = std::invalid_argument;
using RuntimeError = std::runtime_error;

/// The events to wait for; combine them with |.
inline constexpr unsigned EVENT_READ = 1, EVENT_WRITE = 2;

/// A registration: the descriptor, the events waited for, and what the user attached.
/// asyncio: selectors.SelectorKey
struct SelectorKey {
  int fd;
  unsigned events;
  void* data;
};

/// What select() reports: a registration and which of its events happened.
struct SelectorEvent {
  SelectorKey key;
  unsigned events;
};

/// Keeps the registrations; a subclass adds the system call. Every method is virtual so that a test can give a loop its
/// own selector, which needs to override only select(). RuntimeError after close(). asyncio: selectors.BaseSelector
class BaseSelector {
 public:
  BaseSelector() = default;
  BaseSelector(const BaseSelector&) = delete;
  BaseSelector& operator=(const BaseSelector&) = delete;
  virtual ~BaseSelector() = default;

  /// Starts watching fd. ValueError if fd is negative, or if `events` is empty or has unknown bits. KeyError if fd is
  /// already registered. std::system_error from the kernel; fd is then not registered.
  /// asyncio: selectors._BaseSelectorImpl.register
  virtual SelectorKey register_(int fd, unsigned events, void* data = nullptr);

  /// Stops watching fd, which may be closed already. KeyError if it is not registered.
  /// asyncio: selectors._BaseSelectorImpl.unregister
  virtual SelectorKey unregister(int fd);

  /// Changes events and data. Errors as register_, but KeyError if fd is not registered.
  /// asyncio: selectors._BaseSelectorImpl.modify
  virtual SelectorKey modify(int fd, unsigned events, void* data = nullptr);

  /// Waits until a registered descriptor is ready, for at most `timeout` seconds (nullopt: no limit; <= 0: not at all).
  /// The span is valid until the next call. asyncio: selectors.BaseSelector.select
  virtual std::span<const SelectorEvent> select(std::optional<double> timeout = std::nullopt) = 0;

  /// The registration of fd; KeyError if there is none. asyncio: selectors.BaseSelector.get_key
  virtual SelectorKey get_key(int fd) const;

  /// How many descriptors are registered.
  virtual std::size_t size() const { return size_; }

  /// Forgets all registrations. Any later use raises RuntimeError. asyncio: selectors._BaseSelectorImpl.close
  virtual void close();

 protected:
  void check_open() const {
    if (closed_) throw RuntimeError("the selector is closed");
  }
  static void check_arguments(int fd, unsigned events);

  // Indexed by descriptor, because the kernel gives out small numbers. No events: not registered.
  std::vector<SelectorKey> keys_;

 private:
  bool is_registered(int fd) const noexcept;

  std::size_t size_ = 0;
  bool closed_ = false;
};

/// What the poll and epoll selectors share. asyncio: selectors._PollLikeSelector
template <class Poller> class PollLikeSelector : public BaseSelector {
 public:
  SelectorKey register_(int fd, unsigned events, void* data = nullptr) override;
  SelectorKey unregister(int fd) override;
  /// Asks the kernel even when only `data` changes, because only the kernel knows whether fd was closed and its number
  /// reused. In that case std::system_error (ENOENT with epoll), and fd is no longer registered.
  /// asyncio: selectors._PollLikeSelector.modify
  SelectorKey modify(int fd, unsigned events, void* data = nullptr) override;
  /// POLLHUP and POLLERR are reported as those of EVENT_READ and EVENT_WRITE that were asked for.
  /// asyncio: selectors._PollLikeSelector.select
  std::span<const SelectorEvent> select(std::optional<double> timeout = std::nullopt) override;
  /// asyncio: selectors.EpollSelector.close
  void close() override;

 private:
  static unsigned poll_mask(unsigned events) noexcept;

  Poller poller_;
  std::vector<SelectorEvent> ready_;
};

extern template class PollLikeSelector<Poll>;
#if !defined(ASYNCIO_NO_EPOLL)
extern template class PollLikeSelector<Epoll>;
#endif

/// Watches with poll(2). Regular files are allowed and always ready. asyncio: selectors.PollSelector
class PollSelector : public PollLikeSelector<Poll> {};

#if defined(ASYNCIO_NO_EPOLL)
using DefaultSelector = PollSelector;
#else
/// Watches with epoll(7). asyncio: selectors.EpollSelector
class EpollSelector : public PollLikeSelector<Epoll> {};

/// The most efficient selector of this platform. asyncio: selectors.DefaultSelector
using DefaultSelector = EpollSelector;
#endif

}  // namespace selectors
