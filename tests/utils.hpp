// What the tests share: a loop on a virtual clock, with a selector that a test feeds by hand.
// Upstream counterpart: Lib/test/test_asyncio/utils.py.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "asyncio.hpp"
#include "tests/catch.hpp"

namespace test {

/// Waits in no time: select() moves the virtual clock on by its timeout. Descriptors are numbers that need
/// not be open; make_ready() says which are reported by the next select(). A select() that could never return
/// is an error.
class VirtualSelector : public selectors::BaseSelector {
 public:
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
    timeouts.push_back(timeout);
    ready_.clear();
    for (const auto& [fd, events] : std::exchange(happened_, {})) {
      const selectors::SelectorKey key = get_key(fd);
      if (key.events & events) ready_.push_back({key, key.events & events});
    }
    if (!ready_.empty()) return ready_;
    if (!timeout) throw std::logic_error("nothing can ever wake this loop: the test would hang");
    now += std::max(*timeout, 0.0);
    return ready_;
  }
  void make_ready(int fd, unsigned events) { happened_[fd] |= events; }

  double now = 0;
  std::vector<std::optional<double>> timeouts;  // of every select() so far: one per iteration

 private:
  std::map<int, unsigned> happened_;
  std::vector<selectors::SelectorEvent> ready_;
};

/// A loop on a virtual clock that starts at 0.
class TestLoop : public asyncio::EventLoop {
 public:
  TestLoop() : TestLoop(std::make_unique<VirtualSelector>()) {}
  ~TestLoop() override { close(); }  // while `caught` can still hear of it
  double time() const override { return selector.now; }
  /// How many iterations the loop has run.
  int iterations() const { return static_cast<int>(selector.timeouts.size()); }
  void advance_time(double seconds) { selector.now += seconds; }
  /// Collects what goes to the exception handler instead of printing it.
  std::vector<asyncio::ExceptionContext>& catch_exceptions() {
    set_exception_handler(
        [this](asyncio::EventLoop&, const asyncio::ExceptionContext& context) { caught.push_back(context); });
    return caught;
  }

 private:
  explicit TestLoop(std::unique_ptr<VirtualSelector> own)
      : asyncio::EventLoop(nullptr_or(own)), selector(*selector_of_last_) {}
  static std::unique_ptr<selectors::BaseSelector> nullptr_or(std::unique_ptr<VirtualSelector>& own) {
    selector_of_last_ = own.get();
    return std::move(own);
  }
  static inline thread_local VirtualSelector* selector_of_last_ = nullptr;

 public:
  VirtualSelector& selector;
  std::vector<asyncio::ExceptionContext> caught;
};

/// Runs the loop for exactly `n` iterations.
inline void run_once(asyncio::EventLoop& loop, int n = 1) {
  for (; n > 0; --n) {
    loop.stop();
    loop.run_forever();
  }
}

/// Runs until nothing is ready or due any more, for at most `limit` iterations.
inline void run_briefly(asyncio::EventLoop& loop, int limit = 20) { run_once(loop, limit); }

/// Counts its living instances: a test that ends with alive() == 0 has freed them all.
class Instance {
 public:
  Instance() { ++alive_; }
  Instance(const Instance&) { ++alive_; }
  Instance(Instance&&) noexcept { ++alive_; }
  Instance& operator=(const Instance&) = default;
  ~Instance() { --alive_; }
  static int alive() { return alive_; }

 private:
  static inline int alive_ = 0;
};

/// The type and text of what `f` throws, as describe() spells it; "" if it throws nothing.
template <class F> std::string thrown(F&& f) {
  try {
    static_cast<void>(f());
  } catch (...) {
    return asyncio::describe(std::current_exception());
  }
  return "";
}

}  // namespace test
