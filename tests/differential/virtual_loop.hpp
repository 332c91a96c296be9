// A loop on a virtual clock: waiting takes no time.
#pragma once

#include <poll.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "asyncio.hpp"

namespace differential {

inline constexpr int MAX_ITERATIONS = 400;

/// Comes out of select(): nothing can wake the loop, or it has run for too long.
struct Stuck {
  const char* why;
};

/// Descriptors with these numbers exist only here. A process that also has real ones keeps them off these numbers.
inline constexpr int FIRST_VIRTUAL = 200, LAST_VIRTUAL = 209;
inline bool is_virtual(int fd) { return fd >= FIRST_VIRTUAL && fd <= LAST_VIRTUAL; }

/// select() moves the clock on by its timeout, unless a real descriptor is ready now. Descriptors that exist only here
/// are ready when the program says.
class VirtualSelector : public selectors::BaseSelector {
 public:
  selectors::SelectorKey register_(int fd, unsigned events, void* data) override {
    if (!is_virtual(fd) && std::find(real_.begin(), real_.end(), fd) == real_.end()) real_.push_back(fd);
    return BaseSelector::register_(fd, events, data);
  }
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
    before_select();
    if (++iteration > MAX_ITERATIONS) throw Stuck{"limit"};
    poll_real_descriptors();
    if (!ready_.empty()) timeout = 0;
    const std::optional<double> end = timeout ? std::optional(now + std::max(*timeout, 0.0)) : std::nullopt;
    select_descriptors(end);
    if (!ready_.empty()) return ready_;
    if (!end) throw Stuck{"idle"};
    now = *end;
    return {};
  }
  /// One report of these events, at this time; lost if nobody waits for them then.
  void make_ready(int fd, unsigned events, double when) {
    const auto later = [](double time, const Coming& coming) { return time < coming.when; };
    coming_.insert(std::upper_bound(coming_.begin(), coming_.end(), when, later), {when, fd, events});
  }

  std::function<void()> before_select = [] {};
  /// For which events of a descriptor a callback waits. A sock_ method leaves its watch behind (NOTES [sock-wait]); an
  /// event that nobody waits for would cost an iteration that CPython does not have.
  std::function<unsigned(int)> waited_for;
  double now = 0;
  int iteration = 0;

 private:
  struct Coming {
    double when;
    int fd;
    unsigned events;
  };

  // In the order in which they were registered first, which is the same on CPython.
  void poll_real_descriptors() {
    ready_.clear();
    polled_.clear();
    for (const int fd : real_) {
      if (const selectors::SelectorKey* key = registered(fd)) {
        const bool read = key->events & selectors::EVENT_READ, write = key->events & selectors::EVENT_WRITE;
        polled_.push_back({fd, static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0)), 0});
      }
    }
    if (::poll(polled_.data(), polled_.size(), 0) <= 0) return;
    for (const pollfd& polled : polled_) {
      const selectors::SelectorKey* key = registered(polled.fd);
      const unsigned events = (polled.revents & ~POLLOUT ? selectors::EVENT_READ : 0) |
                              (polled.revents & ~POLLIN ? selectors::EVENT_WRITE : 0);
      if (events & key->events & waited_for(polled.fd)) ready_.push_back({*key, events & key->events});
    }
  }
  void select_descriptors(std::optional<double> end) {
    while (!coming_.empty() && (!end || coming_.front().when <= *end)) {
      const Coming next = coming_.front();
      if (!ready_.empty() && next.when > now) break;
      coming_.erase(coming_.begin());
      const selectors::SelectorKey* key = registered(next.fd);
      if (!key || !(key->events & next.events)) continue;
      now = std::max(now, next.when);
      report(*key, next.events & key->events);
    }
  }
  void report(const selectors::SelectorKey& key, unsigned events) {
    const auto same = [&](const selectors::SelectorEvent& event) { return event.key.fd == key.fd; };
    const auto found = std::find_if(ready_.begin(), ready_.end(), same);
    found == ready_.end() ? ready_.push_back({key, events}) : static_cast<void>(found->events |= events);
  }
  const selectors::SelectorKey* registered(int fd) {
    try {
      key_ = get_key(fd);
      return &key_;
    } catch (const asyncio::KeyError&) {
      return nullptr;
    }
  }

  std::vector<Coming> coming_;
  std::vector<int> real_;
  std::vector<pollfd> polled_;
  std::vector<selectors::SelectorEvent> ready_;
  selectors::SelectorKey key_{};
};

class VirtualLoop : public asyncio::EventLoop {
 public:
  VirtualLoop() : VirtualLoop(std::make_unique<VirtualSelector>()) {}
  double time() const override { return selector.now; }

  VirtualSelector& selector;

 private:
  explicit VirtualLoop(std::unique_ptr<VirtualSelector> own) : VirtualLoop(*own, own) {}
  VirtualLoop(VirtualSelector& reference, std::unique_ptr<VirtualSelector>& own)
      : asyncio::EventLoop(std::move(own)), selector(reference) {
    selector.waited_for = [this](int fd) {
      const auto& handles = std::get<2>(inspect());
      const auto found = handles.find(fd);
      return found == handles.end() ? 0 : found->second.events();
    };
  }
};

}  // namespace differential
