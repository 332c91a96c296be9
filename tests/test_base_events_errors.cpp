// What a loop does about errors and interrupts, its debug mode, and its end.
// Upstream counterpart: Lib/test/test_asyncio/test_base_events.py, BaseEventLoopTests.
#include "loop/base_events.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

using asyncio::Coroutine, asyncio::EventLoop, asyncio::ExceptionContext, asyncio::Future, asyncio::Handle,
    asyncio::Task, asyncio::TimerHandle;
using asyncio::KeyboardInterrupt, asyncio::RuntimeError, asyncio::SystemExit, asyncio::ValueError;
using test::Append, test::AtEnd, test::CaptureCerr, test::CLOSED, test::contains, test::Instance, test::nothing;
using test::Numbers, test::open_fds, test::run_once, test::TestLoop, test::thrown_in_thread;
using namespace std::chrono_literals;

namespace {

/// Runs f in a child process: false if it crashes, exits or hangs.
template <class F> bool survives(F f) {
  const int status = test::status_of_child([&] {
    ::dup2(::open("/dev/null", O_WRONLY), STDERR_FILENO);
    f();
  });
  REQUIRE(status != -1);
  return status == 0;
}
Coroutine<void> interrupted() {
  throw KeyboardInterrupt();
  co_return;
}

}  // namespace

// ---- exceptions

TEST_CASE("an exception in a callback goes to the exception handler, and the loop goes on",
          "[test_base_events.test_set_exc_handler_custom][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  bool called = false;
  const Handle failing = loop.call_soon([] { throw ValueError("division by zero"); });
  loop.call_soon([&] { called = true; });
  run_once(loop);
  CHECK(called);
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message.starts_with("Exception in callback"));
  CHECK(caught[0].handle == failing);
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: division by zero");
}

TEST_CASE("the exception handler is given the loop", "[test_base_events.test_set_exc_handler_custom]") {
  TestLoop loop;
  EventLoop* told = nullptr;
  loop.set_exception_handler([&](EventLoop& failing, const ExceptionContext&) { told = &failing; });
  loop.call_soon([] { throw ValueError(""); });
  run_once(loop);
  CHECK(told == &loop);
}

TEST_CASE("the default exception handler writes to std::cerr",
          "[test_base_events.test_default_exc_handler_callback][rule-6]") {
  TestLoop loop;
  const CaptureCerr errors;
  SECTION("of a callback") {
    loop.call_soon([] { throw ValueError("division by zero"); });
  }
  SECTION("of a timer") {
    loop.call_later(0, [] { throw ValueError("division by zero"); });
  }
  run_once(loop);
  CHECK(contains(errors.text(), "Exception in callback"));
  CHECK(contains(errors.text(), "std::invalid_argument: division by zero"));
}

TEST_CASE("setting no exception handler brings the default one back",
          "[test_base_events.test_set_exc_handler_custom]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  loop.set_exception_handler(nullptr);
  const CaptureCerr errors;
  loop.call_soon([] { throw ValueError("division by zero"); });
  run_once(loop);
  CHECK(caught.empty());
  CHECK(contains(errors.text(), "division by zero"));
}

TEST_CASE("a task's exception that nobody retrieved is reported when the task goes",
          "[test_base_events.test_default_exc_handler_coro][rule-6]") {
  TestLoop loop;
  const CaptureCerr errors;
  const auto failing = []() -> Coroutine<void> {
    co_await asyncio::sleep(0.01);
    throw ValueError("division by zero");
  };
  {
    const Task<void> task = loop.create_task(failing());
    task.add_done_callback([&](const Future<void>&) { loop.stop(); });
    loop.run_forever();
    CHECK(errors.text().empty());
  }
  run_once(loop);
  CHECK(contains(errors.text(), "exception was never retrieved"));
  CHECK(contains(errors.text(), "division by zero"));
}

TEST_CASE("an exception handler that throws is reported, and so is what it was to report",
          "[test_base_events.test_set_exc_handler_broken][rule-6]") {
  TestLoop loop;
  loop.set_exception_handler([](EventLoop&, const ExceptionContext&) { throw RuntimeError("spam"); });
  const CaptureCerr errors;
  bool called = false;
  loop.call_soon([] { throw ValueError("division by zero"); });
  loop.call_soon([&] { called = true; });
  run_once(loop);
  CHECK(called);
  CHECK(contains(errors.text(), "Unhandled error in exception handler"));
  CHECK(contains(errors.text(), "std::runtime_error: spam"));
  CHECK(contains(errors.text(), "division by zero"));
}

TEST_CASE("an interrupt out of an exception handler leaves run_forever", "[base_events][rule-6]") {
  TestLoop loop;
  loop.set_exception_handler([](EventLoop&, const ExceptionContext&) { throw SystemExit(3); });
  loop.call_soon([] { throw ValueError("division by zero"); });
  REQUIRE_THROWS_AS(loop.run_forever(), SystemExit);
}

TEST_CASE("an exception handler may replace itself while it runs", "[base_events]") {
  TestLoop loop;
  Numbers order;
  loop.set_exception_handler([&, captured = Instance()](EventLoop& failing, const ExceptionContext&) {
    failing.set_exception_handler([&](EventLoop&, const ExceptionContext&) { order.push_back(2); });
    order.push_back(Instance::alive() > 0 ? 1 : -1);
  });
  for (int i = 0; i < 2; ++i) loop.call_soon([] { throw ValueError(""); });
  run_once(loop);
  CHECK(order == Numbers{1, 2});
  CHECK(Instance::alive() == 0);
}

TEST_CASE("what is thrown need not be a std::exception", "[base_events][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  loop.call_soon([] { throw 42; });
  loop.call_soon([] { throw asyncio::CancelledError("stray"); });
  run_once(loop);
  REQUIRE(caught.size() == 2);
  CHECK(asyncio::describe(caught[0].exception) == "int");
  CHECK(asyncio::describe(caught[1].exception) == "asyncio::CancelledError: stray");
}

TEST_CASE("call_exception_handler passes on any context", "[base_events]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  loop.call_exception_handler({"something is odd", nullptr, {}, {}});
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "something is odd");
  CHECK_FALSE(caught[0].exception);
  CHECK_FALSE(caught[0].handle);
}

TEST_CASE("an exception handler may ask for the default one", "[base_events]") {
  TestLoop loop;
  loop.set_exception_handler(
      [](EventLoop& failing, const ExceptionContext& context) { failing.default_exception_handler(context); });
  const CaptureCerr errors;
  loop.call_exception_handler({"something is odd", nullptr, {}, {}});
  CHECK(contains(errors.text(), "something is odd"));
}

TEST_CASE("a context without a message is reported all the same", "[base_events]") {
  TestLoop loop;
  const CaptureCerr errors;
  loop.call_exception_handler({"", nullptr, {}, {}});
  CHECK(contains(errors.text(), "Unhandled exception in event loop"));
}

// ---- KeyboardInterrupt and SystemExit

TEST_CASE("KeyboardInterrupt leaves run_forever and is not reported", "[base_events][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  loop.call_soon([] { throw KeyboardInterrupt(); });
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  CHECK(caught.empty());
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("SystemExit leaves run_forever with its code", "[base_events][rule-6]") {
  TestLoop loop;
  loop.call_soon([] { throw SystemExit(42); });
  int code = -1;
  try {
    loop.run_forever();
  } catch (const SystemExit& exit) {
    code = exit.code();
  }
  CHECK(code == 42);
}

TEST_CASE("catch (const std::exception&) lets KeyboardInterrupt and SystemExit pass", "[base_events][rule-6]") {
  TestLoop loop;
  loop.call_soon([] {
    try {
      throw KeyboardInterrupt();
    } catch (const std::exception&) {}
  });
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
}

TEST_CASE("the rest of an interrupted batch runs in the next run, once and in order", "[base_events][rule-6]") {
  TestLoop loop;
  Numbers order;
  loop.call_soon(Append{&order, 1});
  loop.call_soon([] { throw KeyboardInterrupt(); });
  loop.call_soon(Append{&order, 2});
  loop.call_soon(Append{&order, 3});
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  CHECK(order == Numbers{1});
  loop.call_soon(Append{&order, 4});
  run_once(loop);
  CHECK(order == Numbers{1, 2, 3, 4});
}

TEST_CASE("an interrupt out of a timer leaves the other due timers for the next run", "[base_events][rule-6]") {
  TestLoop loop;
  Numbers order;
  loop.call_at(1, [] { throw KeyboardInterrupt(); });
  loop.call_at(1.5, Append{&order, 1});
  loop.advance_time(2);
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  CHECK(order.empty());
  run_once(loop);
  CHECK(order == Numbers{1});
}

TEST_CASE("an interrupted loop can be closed with its batch half run", "[base_events][rule-7]") {
  TestLoop loop;
  loop.call_soon([captured = Instance()] { throw KeyboardInterrupt(); });
  loop.call_soon([captured = Instance()] {});
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  loop.close();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("run_until_complete raises the coroutine's KeyboardInterrupt and reports nothing",
          "[test_base_events.test_run_forever_keyboard_interrupt]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  REQUIRE_THROWS_AS(loop.run_until_complete(interrupted()), KeyboardInterrupt);
  loop.close();
  CHECK(caught.empty());
}

TEST_CASE("a run_until_complete that is interrupted leaves no stop behind",
          "[test_base_events.test_run_until_complete_baseexception]") {
  TestLoop loop;
  REQUIRE_THROWS_AS(loop.run_until_complete(interrupted()), KeyboardInterrupt);
  bool called = false;
  loop.call_soon([&] {
    loop.call_soon([&] {
      called = true;
      loop.stop();
    });
  });
  loop.run_forever();
  CHECK(called);
}

TEST_CASE("a future whose run_until_complete was stopped does not stop the next run", "[base_events]") {
  TestLoop loop;
  const Future<void> future(loop);
  loop.call_soon([&] { loop.stop(); });
  CHECK(test::thrown([&] { loop.run_until_complete(future); }) ==
        "std::runtime_error: Event loop stopped before Future completed.");
  future.set_result();
  bool reached = false;
  loop.call_later(10, [&] {
    reached = true;
    loop.stop();
  });
  loop.run_forever();
  CHECK(reached);
}

TEST_CASE("an orphan of an interrupted run_until_complete does not stop the next one",
          "[test_base_events.test_run_until_complete_loop_orphan_future_close_loop]") {
  TestLoop loop;
  loop.call_soon([] { throw SystemExit(); });
  REQUIRE_THROWS_AS(loop.run_until_complete(asyncio::sleep(0.1)), SystemExit);
  loop.run_until_complete(asyncio::sleep(0.2));
  CHECK(loop.time() >= 0.2 - 1e-9);
}

// ---- debug mode

TEST_CASE("debug mode can be switched on and off", "[test_base_events.test_set_debug]") {
  TestLoop loop;
  loop.set_debug(true);
  CHECK(loop.get_debug());
  loop.set_debug(false);
  CHECK_FALSE(loop.get_debug());
}

TEST_CASE("the environment's ASYNCIO_DEBUG starts new loops in debug mode, unless it is empty",
          "[test_base_events.test_env_var_debug]") {
  const char* const before = std::getenv("ASYNCIO_DEBUG");
  const std::optional<std::string> saved = before ? std::optional<std::string>(before) : std::nullopt;
  ::unsetenv("ASYNCIO_DEBUG");
  CHECK_FALSE(TestLoop().get_debug());
  ::setenv("ASYNCIO_DEBUG", "", 1);
  CHECK_FALSE(TestLoop().get_debug());
  ::setenv("ASYNCIO_DEBUG", "1", 1);
  CHECK(TestLoop().get_debug());
  ::unsetenv("ASYNCIO_DEBUG");
  if (saved) ::setenv("ASYNCIO_DEBUG", saved->c_str(), 1);
}

TEST_CASE("in debug mode, scheduling on a running loop from a foreign thread is an error",
          "[test_base_events.test_check_thread][rule-8]") {
  TestLoop loop;
  loop.set_debug(true);
  std::vector<std::string> errors;
  bool own_thread_may = false;
  loop.call_soon([&] {
    std::thread([&] {
      errors.push_back(test::thrown([&] { loop.call_soon([captured = Instance()] {}); }));
      errors.push_back(test::thrown([&] { loop.call_later(60, [captured = Instance()] {}); }));
      errors.push_back(test::thrown([&] { loop.call_at(60, [captured = Instance()] {}); }));
    }).join();
    own_thread_may = test::thrown([&] { loop.call_soon([] {}); }) == "";
  });
  run_once(loop);
  REQUIRE(errors.size() == 3);
  for (const std::string& error : errors) {
    CHECK(
        error.starts_with("std::runtime_error: Non-thread-safe operation invoked on an event loop other than the "
                          "current one"));
  }
  CHECK(own_thread_may);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("in debug mode, a foreign thread that runs a loop of its own is still foreign",
          "[test_base_events.test_check_thread][rule-8]") {
  TestLoop loop;
  loop.set_debug(true);
  std::string error;
  loop.call_soon([&] {
    std::thread([&] {
      TestLoop own;
      own.call_soon([&] { error = test::thrown([&] { loop.call_soon([] {}); }); });
      run_once(own);
    }).join();
  });
  run_once(loop);
  CHECK(contains(error, "Non-thread-safe operation"));
}

TEST_CASE("in debug mode, a loop that does not run may be filled from any thread",
          "[test_base_events.test_check_thread]") {
  TestLoop loop;
  loop.set_debug(true);
  bool called = false;
  CHECK(thrown_in_thread([&] { loop.call_soon([&] { called = true; }); }) == "");
  run_once(loop);
  CHECK(called);
}

TEST_CASE("in debug mode, call_soon_threadsafe is allowed from foreign threads",
          "[test_base_events.test_check_thread]") {
  EventLoop loop;
  loop.set_debug(true);
  bool called = false;
  std::string error = "not called";
  loop.call_soon([&] { error = thrown_in_thread([&] { loop.call_soon_threadsafe([&] { called = true; }); }); });
  run_once(loop, 2);
  CHECK(error == "");
  CHECK(called);
}

TEST_CASE("debug mode reports slow callbacks", "[test_base_events.test_log_slow_callbacks]") {
  TestLoop loop;
  loop.set_debug(true);
  loop.slow_callback_duration = 0.5;
  const CaptureCerr errors;
  struct Slow {
    TestLoop& loop;
    double seconds;
    void operator()() const { loop.advance_time(seconds); }
  };
  loop.call_soon(Slow{loop, 0.25});
  run_once(loop);
  CHECK(errors.text().empty());
  loop.call_soon(Slow{loop, 0.75});
  run_once(loop);
  CHECK(errors.text().starts_with("Executing <Handle "));
  CHECK(contains(errors.text(), "Slow"));
  CHECK(contains(errors.text(), " took 0.75"));
  CHECK(contains(errors.text(), " seconds"));
}

TEST_CASE("a loop can report slow callbacks elsewhere than to std::cerr",
          "[test_base_events.test_log_slow_callbacks]") {
  struct Reporting : TestLoop {
    void slow_callback(const Handle& handle, const std::string& name, double seconds) override {
      reports.emplace_back(handle, name, seconds);
    }
    std::vector<std::tuple<Handle, std::string, double>> reports;
  } loop;
  loop.set_debug(true);
  const CaptureCerr errors;
  const Handle slow = loop.call_soon([&] { loop.advance_time(0.75); });
  run_once(loop);
  CHECK(loop.reports == std::vector{std::tuple(slow, slow.repr(), 0.75)});
  CHECK(errors.text().empty());
}

TEST_CASE("an exception handler finds the handle's own object again", "[test_base_events.test_exc_handler_custom]") {
  struct Failing : asyncio::HandleState {
    std::string repr() const override { return "<Failing>"; }
    void callback() override { throw RuntimeError("as ever"); }
  };
  TestLoop loop;
  std::string found;
  loop.set_exception_handler([&](EventLoop&, const ExceptionContext& context) {
    const auto* failing = dynamic_cast<Failing*>(context.handle.state());
    found = failing ? failing->repr() : "another";
  });
  loop.call_soon_handle(asyncio::make_ref<Failing>());
  run_once(loop);
  CHECK(found == "<Failing>");
}

TEST_CASE("debug mode reports slow steps of tasks", "[test_base_events.test_log_slow_callbacks]") {
  TestLoop loop;
  loop.set_debug(true);
  const CaptureCerr errors;
  const auto slow = [&]() -> Coroutine<void> {
    loop.advance_time(0.75);
    co_return;
  };
  const Task<void> task = loop.create_task(slow(), {.name = "laggard"});
  loop.run_until_complete(task);
  CHECK(errors.text().starts_with("Executing <Task "));
  CHECK(contains(errors.text(), "laggard"));
  CHECK(contains(errors.text(), " took 0.75"));
}

TEST_CASE("a callback that takes exactly slow_callback_duration is slow",
          "[test_base_events.test_log_slow_callbacks]") {
  const CaptureCerr errors;
  TestLoop loop;
  loop.set_debug(true);
  loop.slow_callback_duration = 0.5;
  loop.call_soon([&] { loop.advance_time(0.5); });
  run_once(loop);
  CHECK(contains(errors.text(), "took 0.500 seconds"));
}

TEST_CASE("without debug mode a slow callback is nobody's business", "[test_base_events.test_log_slow_callbacks]") {
  TestLoop loop;
  loop.set_debug(false);
  const CaptureCerr errors;
  loop.call_soon([&] { loop.advance_time(10); });
  run_once(loop);
  CHECK(errors.text().empty());
}

// ---- close and destruction

TEST_CASE("a closed loop is closed, and closing it again has no effect", "[test_base_events.test_close]") {
  TestLoop loop;
  CHECK_FALSE(loop.is_closed());
  loop.close();
  CHECK(loop.is_closed());
  loop.close();
  loop.close();
  CHECK(loop.is_closed());
}

TEST_CASE("every call that needs an open loop says that it is closed", "[test_events.test_close][rule-8]") {
  TestLoop loop;
  loop.close();
  const auto callback = [captured = Instance()] {};
  CHECK(test::thrown([&] { loop.run_forever(); }) == CLOSED);
  CHECK(test::thrown([&] { loop.call_soon(callback); }) == CLOSED);
  CHECK(test::thrown([&] { loop.call_soon_threadsafe(callback); }) == CLOSED);
  CHECK(test::thrown([&] { loop.call_later(1, callback); }) == CLOSED);
  CHECK(test::thrown([&] { loop.call_at(1, callback); }) == CLOSED);
  CHECK(test::thrown([&] { loop.create_task(nothing()); }) == CLOSED);
  CHECK(test::thrown([&] { loop.run_until_complete(nothing()); }) == CLOSED);
  CHECK(test::thrown([&] { loop.run_until_complete(loop.create_future<int>()); }) == CLOSED);
  CHECK(test::thrown([&] { loop.add_reader(0, callback); }) == CLOSED);
  CHECK(test::thrown([&] { loop.add_writer(0, callback); }) == CLOSED);
  CHECK(test::thrown([&] { loop.add_signal_handler(SIGTERM, callback); }) == CLOSED);
  CHECK(Instance::alive() == 1);
}

TEST_CASE("a running loop refuses to be closed, and goes on", "[test_events.test_close_running_event_loop][rule-8]") {
  TestLoop loop;
  std::string error;
  bool next = false;
  loop.call_soon([&] {
    error = test::thrown([&] { loop.close(); });
    loop.call_soon([&] { next = true; });
  });
  run_once(loop, 2);
  CHECK(error == "std::runtime_error: Cannot close a running event loop");
  CHECK_FALSE(loop.is_closed());
  CHECK(next);
}

TEST_CASE("close frees every callback without calling it", "[base_events][rule-7]") {
  TestLoop loop;
  bool called = false;
  const auto callback = [&called, captured = Instance()] { called = true; };
  loop.call_soon(callback);
  loop.call_later(1, callback);
  loop.call_later(2, callback).cancel();
  loop.call_soon_threadsafe(callback);
  loop.add_reader(100, callback);
  loop.add_writer(100, callback);
  CHECK(Instance::alive() > 1);
  SECTION("called") { loop.close(); }
  SECTION("by the destructor") {
    TestLoop other;
    other.call_soon(callback);
    other.call_later(1, callback);
    loop.close();
  }
  CHECK(Instance::alive() == 1);
  CHECK_FALSE(called);
}

TEST_CASE("close ends pending tasks: their frames are freed, their state is cancelled", "[base_events][rule-7]") {
  TestLoop loop;
  loop.catch_exceptions();
  const auto body = [](Instance) -> Coroutine<void> { co_await asyncio::sleep(1000); };
  const Task<void> task = loop.create_task(body(Instance()));
  run_once(loop);
  CHECK(Instance::alive() == 1);
  loop.close();
  CHECK(Instance::alive() == 0);
  CHECK(task.cancelled());
}

TEST_CASE("destructors that use the closing loop get an error, whatever they are captured in",
          "[base_events][rule-7]") {
  TestLoop loop;
  std::vector<std::string> errors;
  const auto use = [&] { errors.push_back(test::thrown([&] { loop.call_soon([] {}); })); };
  loop.call_soon(AtEnd(use));
  loop.call_later(1, AtEnd(use));
  loop.add_reader(100, AtEnd(use));
  loop.add_writer(100, AtEnd(use));
  loop.close();
  CHECK(errors == std::vector<std::string>(4, CLOSED));
}

TEST_CASE("destructors that cancel each other's handles while the loop closes do no harm", "[base_events][rule-7]") {
  TestLoop loop;
  Handle soon;
  TimerHandle near, far;
  const auto cancel_all = [&] {
    soon.cancel();
    near.cancel();
    far.cancel();
  };
  soon = loop.call_soon(AtEnd(cancel_all));
  near = loop.call_later(1, AtEnd(cancel_all));
  far = loop.call_later(2, AtEnd(cancel_all));
  soon = Handle();
  loop.close();
  CHECK(loop.is_closed());
}

TEST_CASE("destructors that remove readers while the loop closes do no harm", "[base_events][rule-7]") {
  TestLoop loop;
  const auto remove = [&] {
    loop.remove_reader(100);
    loop.remove_writer(101);
  };
  loop.call_soon(AtEnd(remove));
  loop.add_reader(100, AtEnd(remove));
  loop.add_writer(101, AtEnd(remove));
  loop.add_reader(102, AtEnd(remove));
  loop.close();
  CHECK_FALSE(loop.remove_reader(102));
}

TEST_CASE("a destructor that calls call_soon_threadsafe while the loop closes gets an error",
          "[base_events][threads][rule-7]") {
  CHECK(survives([] {
    EventLoop loop;
    std::string error;
    const auto use = [&] { error = test::thrown([&] { loop.call_soon_threadsafe([] {}); }); };
    loop.call_soon_threadsafe(AtEnd(use));
    loop.close();
    if (error != CLOSED) ::_exit(1);
  }));
}

TEST_CASE("loops may be destroyed in any order, handles in any other", "[base_events][rule-7]") {
  std::vector<Handle> handles;
  {
    auto first = std::make_unique<TestLoop>(), second = std::make_unique<TestLoop>();
    handles.push_back(first->call_soon([captured = Instance()] {}));
    handles.push_back(second->call_later(1, [captured = Instance()] {}));
    handles.push_back(first->call_later(1, [captured = Instance()] {}));
    first.reset();
    handles[0].cancel();
    second.reset();
  }
  for (const Handle& handle : handles) handle.cancel();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("the exception handler is freed with the loop", "[base_events][rule-7]") {
  {
    TestLoop loop;
    loop.set_exception_handler([captured = Instance()](EventLoop&, const ExceptionContext&) {});
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a loop gives its descriptors back when it is closed", "[test_events.test_internal_fds][rule-7]") {
  const std::ptrdiff_t before = open_fds();
  EventLoop loop;
  CHECK(open_fds() > before);
  loop.close();
  CHECK(open_fds() == before);
}

TEST_CASE("a loop that is destroyed unclosed closes itself", "[base_events][rule-7]") {
  const std::ptrdiff_t before = open_fds();
  {
    EventLoop loop;
    loop.call_soon([captured = Instance()] {});
    run_once(loop);
  }
  CHECK(open_fds() == before);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a null selector is a ValueError", "[base_events][rule-8]") {
  const std::ptrdiff_t before = open_fds();
  REQUIRE_THROWS_AS(EventLoop(std::unique_ptr<selectors::BaseSelector>()), ValueError);
  CHECK(open_fds() == before);
}

TEST_CASE("a selector that refuses the loop's own pipe leaks no descriptor", "[base_events][rule-7]") {
  struct Refusing : selectors::BaseSelector {
    selectors::SelectorKey register_(int, unsigned, void*) override { throw RuntimeError("refused"); }
    std::span<const selectors::SelectorEvent> select(std::optional<double>) override { return {}; }
  };
  const std::ptrdiff_t before = open_fds();
  CHECK(test::thrown([] { EventLoop loop(std::make_unique<Refusing>()); }) == "std::runtime_error: refused");
  CHECK(open_fds() == before);
}

TEST_CASE("a loop closes the selector it was given", "[test_selector_events.test_close]") {
  struct Closing : selectors::BaseSelector {
    explicit Closing(bool& closed_) : closed(closed_) {}
    std::span<const selectors::SelectorEvent> select(std::optional<double>) override { return {}; }
    void close() override { closed = true; }
    bool& closed;
  };
  bool closed = false;
  EventLoop loop(std::make_unique<Closing>(closed));
  CHECK_FALSE(closed);
  loop.close();
  CHECK(closed);
}
