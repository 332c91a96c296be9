// What the tests share: a loop on a virtual clock, with a selector that a test feeds by hand; small coroutines, which
// test_utils.cpp defines; what is written to std::cerr.
// Upstream counterpart: Lib/test/test_asyncio/utils.py.
#pragma once

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "asyncio.hpp"
#include "tests/catch.hpp"

namespace test {

/// What happened, in this order.
using Log = std::vector<std::string>;
using Numbers = std::vector<int>;

/// What a call that needs a closed loop throws, as thrown() spells it.
inline constexpr const char* CLOSED = "std::runtime_error: Event loop is closed";

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

/// Makes a loop this thread's loop, until the end of the scope.
struct SetEventLoop {
  explicit SetEventLoop(asyncio::EventLoop& loop) { asyncio::set_event_loop(&loop); }
  ~SetEventLoop() { asyncio::set_event_loop(nullptr); }
  SetEventLoop(const SetEventLoop&) = delete;
  SetEventLoop& operator=(const SetEventLoop&) = delete;
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

/// The same, of an f that runs in a new thread.
template <class F> std::string thrown_in_thread(F f) {
  std::string text;
  std::thread([&] { text = thrown(f); }).join();
  return text;
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Keeps what is written to std::cerr.
class CaptureCerr {
 public:
  CaptureCerr() : before_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~CaptureCerr() { std::cerr.rdbuf(before_); }
  CaptureCerr(const CaptureCerr&) = delete;
  CaptureCerr& operator=(const CaptureCerr&) = delete;
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

/// A callback that appends its number to a list.
struct Append {
  Numbers* list;
  int number;
  void operator()() const { list->push_back(number); }
};

/// A callback that does nothing when it is called, and calls f when it dies, unless it was moved from.
template <class F> class AtEnd {
 public:
  explicit AtEnd(F f) : f_(std::move(f)) {}
  AtEnd(AtEnd&& other) noexcept : f_(std::exchange(other.f_, std::nullopt)) {}
  ~AtEnd() {
    if (f_) (*f_)();
  }
  void operator()() const {}

 private:
  std::optional<F> f_;
};

/// Has no default constructor.
struct Unnumbered {
  explicit Unnumbered(int n) : number(n) {}
  int number;
};

asyncio::Coroutine<void> nothing();
asyncio::Coroutine<int> returns(int value);
asyncio::Coroutine<std::string> says(std::string text);
asyncio::Coroutine<int> fails(std::string text = "spam");
asyncio::Coroutine<void> sleeps(double seconds);
asyncio::Coroutine<int> later(double seconds, int value);
asyncio::Coroutine<int> fails_later(double seconds, std::string text = "spam");
template <class T> asyncio::Coroutine<T> waits_for(asyncio::Future<T> future) { co_return co_await future; }
/// A value that can only be moved.
asyncio::Coroutine<std::unique_ptr<int>> makes_unique(int value);
asyncio::Coroutine<std::unique_ptr<int>> makes_unique(double seconds, int value);

/// Keeps an Instance until the future is done.
asyncio::Coroutine<void> holds(Instance, asyncio::Future<void> future);

/// Cancels the task that runs.
inline void cancel_myself(std::string message = {}) { asyncio::current_task().cancel(std::move(message)); }

/// Notes its end.
struct NotesEnd {
  Log& log;
  std::string name;
  ~NotesEnd() { log.push_back(name); }
};

asyncio::Coroutine<int> yields_then_returns(int times, int value);

/// A loop that is this thread's loop as long as it lives.
struct CurrentLoop : TestLoop {
  CurrentLoop() { asyncio::set_event_loop(this); }
  ~CurrentLoop() override { asyncio::set_event_loop(nullptr); }
};

/// A done callback that appends a word.
inline auto appends(Log& log, std::string word) {
  return [&log, word = std::move(word)](const auto&) { log.push_back(word); };
}

/// Awaits the future and notes how it ended.
asyncio::Coroutine<void> await_and_log(asyncio::Future<int> future, Log& log, std::string name);

/// A cancellation ends it, `seconds` later.
asyncio::Coroutine<void> dies_slowly(double seconds, bool* died = nullptr);

/// "TimeoutError", "CancelledError", what() of any other error, "returned" if there is none.
asyncio::Coroutine<std::string> outcome_of(asyncio::Coroutine<void> coroutine);

/// How many iterations body() takes from its first line to its last.
template <class Body> int iterations_of(TestLoop& loop, Body body) {
  int taken = -1;
  auto measured = [&]() -> asyncio::Coroutine<void> {
    const int start = loop.iterations();
    co_await body();
    taken = loop.iterations() - start;
  };
  loop.run_until_complete(measured());
  return taken;
}

/// Lets the tasks wait, cancels them in random order, and checks that they are all cancelled and hold nothing any more.
void cancel_in_random_order(TestLoop& loop, std::vector<asyncio::Task<void>>& tasks);

/// Checks that what takes seconds_for(n) takes about ten times as long for ten times as many.
template <class F> void check_linear(const char* name, std::size_t n, F seconds_for, bool print) {
  double few = 1e9, many = 1e9;  // the best of three each: other programs run, too
  for (int i = 0; i < 3; ++i) few = std::min(few, seconds_for(n));
  for (int i = 0; i < 3 && (i == 0 || many >= 40 * few); ++i) many = seconds_for(10 * n);
  if (print) std::cout << name << ": " << n << " waiters " << few << " s, " << 10 * n << " waiters " << many << " s\n";
  CHECK(many < 40 * std::max(few, 1e-4));
}

}  // namespace test
