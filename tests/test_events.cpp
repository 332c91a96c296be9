// Handles, timer handles, and which loop is the running or the current one.
// Upstream counterpart: Lib/test/test_asyncio/test_events.py.
#include "loop/events.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "tests/utils.hpp"

using asyncio::EventLoop, asyncio::Handle, asyncio::TimerHandle;
using test::Instance, test::run_once, test::TestLoop, test::thrown_in_thread;
using namespace std::chrono_literals;

namespace {

/// Runs the hidden test with this tag in a process of its own, in whose main thread no loop was ever set;
/// true if it passed.
bool passes_in_fresh_process(const char* tag) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::setenv("FRESH_PROCESS", "1", 1);
    ::execl("/proc/self/exe", "tests", tag, static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Those hidden tests do nothing in any other process: it would remember that a loop was set.
bool in_fresh_process() { return std::getenv("FRESH_PROCESS") != nullptr; }

struct Noop {
  void operator()() const {}
};

}  // namespace

// ---- Handle: identity and cancel

TEST_CASE("a handle is cancelled when cancel was called, not before", "[test_events.HandleTests.test_handle]") {
  TestLoop loop;
  bool called = false;
  const Handle handle = loop.call_soon([&] { called = true; });
  CHECK_FALSE(handle.cancelled());
  handle.cancel();
  CHECK(handle.cancelled());
  run_once(loop);
  CHECK_FALSE(called);
}

TEST_CASE("cancelling a handle twice has no further effect", "[test_events.HandleTests.test_handle]") {
  TestLoop loop;
  const Handle handle = loop.call_soon([] {});
  handle.cancel();
  handle.cancel();
  CHECK(handle.cancelled());
  run_once(loop);
}

TEST_CASE("a null handle can be asked and cancelled", "[events][rule-8]") {
  const Handle handle;
  const TimerHandle timer;
  CHECK_FALSE(handle);
  CHECK_FALSE(timer);
  handle.cancel();
  timer.cancel();
  CHECK_FALSE(handle.cancelled());
  CHECK_FALSE(timer.cancelled());
  CHECK(timer.when() == 0);
  CHECK(handle.repr() == "<Handle null>");
}

TEST_CASE("a copied handle is the same handle", "[events]") {
  TestLoop loop;
  const Noop noop;
  const Handle handle = loop.call_soon(noop), copy = handle, other = loop.call_soon(noop);
  CHECK(handle);
  CHECK(copy == handle);
  CHECK(other != handle);
  CHECK(Handle() != handle);
  CHECK(Handle() == Handle());
  copy.cancel();
  CHECK(handle.cancelled());
  CHECK_FALSE(other.cancelled());
}

TEST_CASE("a timer handle kept as a plain handle still cancels the timer", "[events]") {
  TestLoop loop;
  bool called = false;
  Handle handle;
  {
    const TimerHandle timer = loop.call_later(1, [&] { called = true; });
    handle = timer;
    CHECK(handle == timer);
  }
  handle.cancel();
  loop.call_later(2, [&] { loop.stop(); });
  loop.run_forever();
  CHECK_FALSE(called);
}

TEST_CASE("a callback that was run is not cancelled, and cancelling it afterwards does no harm", "[events]") {
  TestLoop loop;
  int calls = 0;
  const Handle handle = loop.call_soon([&] { ++calls; });
  run_once(loop);
  CHECK_FALSE(handle.cancelled());
  handle.cancel();
  CHECK(handle.cancelled());
  run_once(loop);
  CHECK(calls == 1);
}

TEST_CASE("a callback cancelled by an earlier one of the same batch is not run", "[events][rule-2]") {
  TestLoop loop;
  bool called = false;
  Handle second;
  loop.call_soon([&] { second.cancel(); });
  second = loop.call_soon([&] { called = true; });
  run_once(loop, 2);
  CHECK_FALSE(called);
}

TEST_CASE("the text of a handle names its callable", "[test_events.HandleTests.test_handle_repr]") {
  TestLoop loop;
  const Handle handle = loop.call_soon(Noop());
  CHECK(handle.repr().starts_with("<Handle "));
  CHECK(handle.repr().find("Noop") != std::string::npos);
  handle.cancel();
  CHECK(handle.repr().starts_with("<Handle "));
  CHECK_FALSE(Handle().repr().empty());
}

TEST_CASE("what a callback throws goes to the exception handler, together with its handle",
          "[test_events.HandleTests.test_callback_with_exception][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  const Handle handle = loop.call_soon([] { throw asyncio::ValueError("wrong"); });
  run_once(loop);
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message.starts_with("Exception in callback"));
  CHECK(caught[0].handle == handle);
  CHECK_FALSE(caught[0].future);
  REQUIRE_THROWS_AS(std::rethrow_exception(caught[0].exception), asyncio::ValueError);
}

// ---- Handle: what is stored

TEST_CASE("arguments are stored by value: later changes are not seen", "[events]") {
  TestLoop loop;
  int argument = 1, seen = 0;
  loop.call_soon([&](int value) { seen = value; }, argument);
  argument = 2;
  run_once(loop);
  CHECK(seen == 1);
}

TEST_CASE("arguments are passed as lvalues", "[events]") {
  TestLoop loop;
  int seen = 0;
  loop.call_soon([&](int& value) { seen = ++value; }, 41);
  run_once(loop);
  CHECK(seen == 42);
}

TEST_CASE("arguments decay: an array becomes a pointer", "[events]") {
  TestLoop loop;
  std::string seen;
  const auto callback = [&](auto value) {
    STATIC_REQUIRE(std::is_same_v<decltype(value), const char*>);
    seen = value;
  };
  loop.call_soon(callback, "text");
  run_once(loop);
  CHECK(seen == "text");
}

TEST_CASE("callables and arguments may be move-only", "[events]") {
  TestLoop loop;
  int sum = 0;
  const auto add_to_sum = [&sum](const std::unique_ptr<int>& value) { sum += *value; };
  loop.call_soon(add_to_sum, std::make_unique<int>(1));
  loop.call_soon([add_to_sum, ten = std::make_unique<int>(10)] { add_to_sum(ten); });
  loop.call_later(0, add_to_sum, std::make_unique<int>(100));
  run_once(loop);
  CHECK(sum == 111);
}

TEST_CASE("std::ref passes an argument by reference", "[events]") {
  TestLoop loop;
  int counter = 0;
  loop.call_soon([](int& value) { ++value; }, std::ref(counter));
  run_once(loop);
  CHECK(counter == 1);
}

TEST_CASE("a member function is a callback, its object the first argument", "[events]") {
  struct Counter {
    void add(int n) { value += n; }
    int value = 0;
  } counter;
  TestLoop loop;
  loop.call_soon(&Counter::add, &counter, 5);
  loop.call_later(0, &Counter::add, std::ref(counter), 7);
  run_once(loop);
  CHECK(counter.value == 12);
}

TEST_CASE("a plain function is a callback, and what a callback returns is ignored", "[events]") {
  static int calls;
  calls = 0;
  struct Local {
    static int count() { return ++calls; }
  };
  TestLoop loop;
  loop.call_soon(Local::count);
  loop.call_soon(&Local::count);
  run_once(loop);
  CHECK(calls == 2);
}

TEST_CASE("a callback may be of any size", "[events]") {
  TestLoop loop;
  std::array<char, 5000> large;
  large.fill('x');
  char seen = 0;
  loop.call_soon([large, &seen] { seen = large.back(); });
  run_once(loop);
  CHECK(seen == 'x');
}

TEST_CASE("a callback that asks for a strict alignment gets it", "[events][rule-8]") {
  struct alignas(128) Aligned {
    void operator()(bool& aligned) const {
      aligned = aligned && reinterpret_cast<std::uintptr_t>(this) % alignof(Aligned) == 0;
    }
  };
  TestLoop loop;
  bool aligned = true;
  for (int i = 0; i < 8; ++i) loop.call_soon(Aligned(), std::ref(aligned));
  run_once(loop);
  CHECK(aligned);
}

// ---- Handle: when captures end

TEST_CASE("cancel frees captures and arguments at once", "[events][rule-7]") {
  TestLoop loop;
  const Handle soon = loop.call_soon([captured = Instance()](const Instance&) {}, Instance());
  const TimerHandle later = loop.call_later(
      1, [captured = Instance()](const Instance&) {}, Instance());
  const TimerHandle at = loop.call_at(
      1, [captured = Instance()](const Instance&) {}, Instance());
  CHECK(Instance::alive() == 6);
  soon.cancel();
  CHECK(Instance::alive() == 4);
  later.cancel();
  CHECK(Instance::alive() == 2);
  at.cancel();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("captures are freed after the callback ran, when nobody keeps the handle", "[events][rule-7]") {
  TestLoop loop;
  int alive_meanwhile = -1;
  loop.call_soon([captured = Instance(), &alive_meanwhile] { alive_meanwhile = Instance::alive(); });
  loop.call_later(0, [captured = Instance()] {});
  run_once(loop);
  CHECK(alive_meanwhile == 2);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a callback that cancels itself keeps its captures until it returned, not longer", "[events][rule-7]") {
  TestLoop loop;
  Handle handle;
  int alive_after_cancel = -1;
  handle = loop.call_soon([&, captured = Instance()] {
    handle.cancel();
    alive_after_cancel = Instance::alive();
  });
  run_once(loop);
  CHECK(alive_after_cancel == 1);
  CHECK(handle.cancelled());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a timer that cancels itself keeps its captures until it returned, not longer", "[events][rule-7]") {
  TestLoop loop;
  TimerHandle timer;
  int alive_after_cancel = -1;
  timer = loop.call_later(0, [&, captured = Instance()] {
    timer.cancel();
    alive_after_cancel = Instance::alive();
  });
  run_once(loop);
  CHECK(alive_after_cancel == 1);
  CHECK(timer.cancelled());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a callback that cancels itself and throws loses its captures, too", "[events][rule-7]") {
  TestLoop loop;
  loop.set_exception_handler([](EventLoop&, const asyncio::ExceptionContext&) {});
  Handle handle;
  handle = loop.call_soon([&, captured = Instance()] {
    handle.cancel();
    throw asyncio::ValueError("wrong");
  });
  run_once(loop);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a callback that cancels itself and leaves the loop with an interrupt loses its captures, too",
          "[events][rule-7]") {
  TestLoop loop;
  Handle handle;
  handle = loop.call_soon([&, captured = Instance()] {
    handle.cancel();
    throw asyncio::KeyboardInterrupt();
  });
  REQUIRE_THROWS_AS(loop.run_forever(), asyncio::KeyboardInterrupt);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("cancel frees captures also after the exception handler left the loop with an interrupt",
          "[events][rule-7]") {
  TestLoop loop;
  loop.set_exception_handler([](EventLoop&, const asyncio::ExceptionContext&) { throw asyncio::KeyboardInterrupt(); });
  const Handle handle = loop.call_soon([captured = Instance()] { throw asyncio::ValueError("wrong"); });
  REQUIRE_THROWS_AS(loop.run_forever(), asyncio::KeyboardInterrupt);
  handle.cancel();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a captured object may cancel its own handle from its destructor", "[events][rule-7]") {
  struct Guard {
    explicit Guard(Handle& handle) : own(&handle) {}
    Guard(Guard&& other) noexcept : own(std::exchange(other.own, nullptr)) {}
    ~Guard() {
      if (own) own->cancel();
    }
    Handle* own;
    Instance instance;
  };
  TestLoop loop;
  Handle handle;
  handle = loop.call_soon([guard = Guard(handle)] {});
  handle.cancel();
  CHECK(handle.cancelled());
  CHECK(Instance::alive() == 0);
  run_once(loop);
}

TEST_CASE("a captured object may cancel another handle of the same batch from its destructor", "[events][rule-7]") {
  struct Guard {
    explicit Guard(Handle& handle) : other(&handle) {}
    Guard(Guard&& moved) noexcept : other(std::exchange(moved.other, nullptr)) {}
    ~Guard() {
      if (other) other->cancel();
    }
    Handle* other;
  };
  TestLoop loop;
  Handle second;
  bool called = false;
  loop.call_soon([guard = Guard(second)] {});
  second = loop.call_soon([&, captured = Instance()] { called = true; });
  run_once(loop);
  CHECK_FALSE(called);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("handles outlive their loop and still answer", "[events][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  const Handle ready = loop->call_soon([captured = Instance()] {});
  const TimerHandle timer = loop->call_later(5, [captured = Instance()] {});
  const TimerHandle cancelled = loop->call_later(6, [captured = Instance()] {});
  cancelled.cancel();
  loop.reset();
  CHECK_FALSE(ready.cancelled());
  CHECK_FALSE(timer.cancelled());
  CHECK(cancelled.cancelled());
  CHECK(timer.when() == 5);
  CHECK(cancelled.when() == 6);
  ready.cancel();
  timer.cancel();
  cancelled.cancel();
  CHECK(ready.cancelled());
  CHECK(timer.cancelled());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a timer that has fired outlives its loop and can be cancelled", "[events][rule-7]") {
  auto loop = std::make_unique<TestLoop>();
  bool called = false;
  const TimerHandle fired = loop->call_later(0, [&] { called = true; });
  run_once(*loop);
  loop.reset();
  CHECK(called);
  fired.cancel();
  CHECK(fired.cancelled());
  CHECK(fired.when() == 0);
}

// ---- TimerHandle

TEST_CASE("a timer tells when it is due", "[test_events.TimerTests.test_when]") {
  TestLoop loop;
  loop.advance_time(10);
  CHECK(loop.call_at(12.5, [] {}).when() == 12.5);
  CHECK(loop.call_later(2.5, [] {}).when() == 12.5);
  CHECK(loop.call_later(250ms, [] {}).when() == 10.25);
  CHECK(loop.call_later(-1, [] {}).when() == 9);
}

TEST_CASE("a cancelled timer is not called, and still tells when it was due", "[test_events.TimerTests.test_timer]") {
  TestLoop loop;
  bool called = false;
  const TimerHandle timer = loop.call_later(1, [&] { called = true; });
  CHECK_FALSE(timer.cancelled());
  timer.cancel();
  CHECK(timer.cancelled());
  CHECK(timer.when() == 1);
  loop.call_later(2, [&] { loop.stop(); });
  loop.run_forever();
  CHECK_FALSE(called);
}

TEST_CASE("two timers of the same time and callback are two timers", "[test_events.TimerTests.test_timer_comparison]") {
  TestLoop loop;
  const Noop noop;
  const TimerHandle a = loop.call_at(1, noop), b = loop.call_at(1, noop), copy = a;
  CHECK(a == copy);
  CHECK(a != b);
}

// ---- the running loop

TEST_CASE("outside of a loop there is no running loop", "[test_events.test_get_event_loop_returns_running_loop]") {
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
  CHECK(test::thrown([] { asyncio::get_running_loop(); }) == "std::runtime_error: no running event loop");
}

TEST_CASE("inside a callback the loop that calls it is the running one",
          "[test_events.test_get_event_loop_returns_running_loop]") {
  TestLoop loop;
  EventLoop *running = nullptr, *or_null = nullptr;
  loop.call_soon([&] {
    running = &asyncio::get_running_loop();
    or_null = asyncio::get_running_loop_or_null();
  });
  run_once(loop);
  CHECK(running == &loop);
  CHECK(or_null == &loop);
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
}

TEST_CASE("a loop that is left by an interrupt is not the running loop any more", "[events][rule-6]") {
  TestLoop loop;
  loop.call_soon([] { throw asyncio::KeyboardInterrupt(); });
  REQUIRE_THROWS_AS(loop.run_forever(), asyncio::KeyboardInterrupt);
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("a running loop is one thread's: other threads see none", "[events]") {
  TestLoop loop;
  EventLoop* elsewhere = &loop;
  std::string error;
  loop.call_soon([&] {
    error = thrown_in_thread([&] {
      elsewhere = asyncio::get_running_loop_or_null();
      asyncio::get_running_loop();
    });
  });
  run_once(loop);
  CHECK(elsewhere == nullptr);
  CHECK(error == "std::runtime_error: no running event loop");
}

TEST_CASE("two threads run a loop each, at the same time", "[events]") {
  TestLoop outer;
  bool right = false;
  outer.call_soon([&] {
    std::thread([&] {
      TestLoop inner;
      inner.call_soon([&] { right = &asyncio::get_running_loop() == &inner; });
      run_once(inner);
    }).join();
    right = right && &asyncio::get_running_loop() == &outer;
  });
  run_once(outer);
  CHECK(right);
}

// ---- the current loop. Each test has a thread of its own, for what was set stays set.

TEST_CASE("the loop that was set is the current one", "[test_events.PolicyTests.test_set_event_loop]") {
  bool first_is_current = false, second_is_current = false;
  CHECK(thrown_in_thread([&] {
          TestLoop first, second;
          asyncio::set_event_loop(&first);
          first_is_current = &asyncio::get_event_loop() == &first;
          asyncio::set_event_loop(&second);
          second_is_current = &asyncio::get_event_loop() == &second;
        }) == "");
  CHECK(first_is_current);
  CHECK(second_is_current);
}

TEST_CASE("in the child of a fork the thread that forked is the main one", "[events]") {
  int status = -1;
  std::thread([&] {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(asyncio::in_main_thread() ? 0 : 1);
    ::waitpid(child, &status, 0);
  }).join();
  CHECK(status == 0);
}

TEST_CASE("outside the main thread no loop is made, and having none is an error",
          "[test_events.PolicyTests.test_get_event_loop_thread]") {
  const std::string text = thrown_in_thread([] { asyncio::get_event_loop(); });
  CHECK(text.starts_with("std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("set_event_loop(nullptr) leaves the thread without a loop",
          "[test_events.PolicyTests.test_get_event_loop_after_set_none]") {
  const std::string text = thrown_in_thread([] {
    TestLoop loop;
    asyncio::set_event_loop(&loop);
    asyncio::set_event_loop(nullptr);
    asyncio::get_event_loop();
  });
  CHECK(text.starts_with("std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("a loop that is destroyed is not the current one any more", "[events][rule-7]") {
  const std::string text = thrown_in_thread([] {
    {
      TestLoop loop;
      asyncio::set_event_loop(&loop);
    }
    asyncio::get_event_loop();
  });
  CHECK(text.starts_with("std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("a loop that is destroyed leaves another current one alone", "[events][rule-7]") {
  bool kept = false;
  CHECK(thrown_in_thread([&] {
          TestLoop current;
          {
            TestLoop other;
            asyncio::set_event_loop(&current);
          }
          kept = &asyncio::get_event_loop() == &current;
        }) == "");
  CHECK(kept);
}

TEST_CASE("a closed loop stays the current one until it is destroyed", "[events]") {
  bool kept = false;
  CHECK(thrown_in_thread([&] {
          TestLoop loop;
          asyncio::set_event_loop(&loop);
          loop.close();
          kept = &asyncio::get_event_loop() == &loop && asyncio::get_event_loop().is_closed();
        }) == "");
  CHECK(kept);
}

TEST_CASE("while a loop runs it is the current one, whatever was set",
          "[test_events.test_get_event_loop_returns_running_loop2]") {
  bool running_wins = false, set_wins_outside = false;
  CHECK(thrown_in_thread([&] {
          TestLoop running, set;
          asyncio::set_event_loop(&set);
          running.call_soon([&] {
            running_wins = &asyncio::get_event_loop() == &running;
            asyncio::set_event_loop(nullptr);
            running_wins = running_wins && &asyncio::get_event_loop() == &running;
            asyncio::set_event_loop(&set);
          });
          run_once(running);
          set_wins_outside = &asyncio::get_event_loop() == &set;
        }) == "");
  CHECK(running_wins);
  CHECK(set_wins_outside);
}

TEST_CASE("the current loop is one thread's", "[events]") {
  TestLoop loop;
  std::string text;
  CHECK(thrown_in_thread([&] {
          asyncio::set_event_loop(&loop);
          text = thrown_in_thread([] { asyncio::get_event_loop(); });
          asyncio::set_event_loop(nullptr);
        }) == "");
  CHECK(text.starts_with("std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("new_event_loop makes an open loop, which is neither running nor the current one",
          "[test_events.PolicyTests.test_new_event_loop]") {
  const std::string text = thrown_in_thread([] {
    const std::unique_ptr<EventLoop> loop = asyncio::new_event_loop();
    if (loop->is_closed() || loop->is_running()) throw asyncio::RuntimeError("not open and idle");
    asyncio::get_event_loop();
  });
  CHECK(text.starts_with("std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("[in a fresh process] the main thread's loop is made and kept", "[.fresh-process-kept]") {
  if (!in_fresh_process()) return;
  EventLoop& loop = asyncio::get_event_loop();
  CHECK_FALSE(loop.is_closed());
  CHECK_FALSE(loop.is_running());
  CHECK(&asyncio::get_event_loop() == &loop);
  run_once(loop);
  CHECK(&asyncio::get_event_loop() == &loop);
}

TEST_CASE("[in a fresh process] none is made after one was unset", "[.fresh-process-unset]") {
  if (!in_fresh_process()) return;
  asyncio::set_event_loop(nullptr);
  CHECK(test::thrown([] {
          asyncio::get_event_loop();
        }).starts_with("std::runtime_error: There is no current event loop in thread"));
}

TEST_CASE("in the main thread, get_event_loop makes a loop and keeps it",
          "[test_events.PolicyTests.test_get_event_loop]") {
  CHECK(passes_in_fresh_process("[fresh-process-kept]"));
}

TEST_CASE("in the main thread, get_event_loop makes none after set_event_loop(nullptr)",
          "[test_events.PolicyTests.test_get_event_loop_after_set_none]") {
  CHECK(passes_in_fresh_process("[fresh-process-unset]"));
}

TEST_CASE("what a callback captured is freed when it was called, also while its handle lives", "[events][rule-7]") {
  TestLoop loop;
  const Handle soon = loop.call_soon([captured = Instance()] {});
  const TimerHandle timer = loop.call_later(0, [captured = Instance()] {});
  CHECK(Instance::alive() == 2);
  run_once(loop);
  CHECK(Instance::alive() == 0);
}
