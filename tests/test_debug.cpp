// Debug mode: what it reports, and how it is switched on.
// Upstream counterpart: the debug tests of Lib/test/test_asyncio/test_base_events.py, test_selector_events.py,
// test_streams.py and test_pep492.py.
#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <source_location>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using test::CaptureCerr;
using test::contains;
using test::open_socket;
using test::raw_socket_pair;
using test::run_io;
using test::run_once;
using test::SetEnvironment;
using test::Streams;
using test::thrown;

const std::source_location OUTSIDE = std::source_location::current();

/// Takes a while, without giving the loop a turn.
void blocks() { std::this_thread::sleep_for(std::chrono::milliseconds(3)); }

/// What a callback of this loop, in debug mode or not, makes it write.
template <class F> std::string written_by(bool debug, F callback) {
  EventLoop loop;
  loop.set_debug(debug);
  loop.slow_callback_duration = 0.001;
  const CaptureCerr captured;
  callback(loop);
  run_once(loop, 3);
  return captured.text();
}

Coroutine<int> never_awaited_coroutine() { co_return 1; }

}  // namespace

// ---- Switching it on ---------------------------------------------------------------------------------

TEST_CASE("debug mode is off, and set_debug switches it", "[debug][test_base_events.test_set_debug]") {
  const SetEnvironment none("ASYNCIO_DEBUG", nullptr);
  EventLoop loop;
  CHECK_FALSE(loop.get_debug());
  loop.set_debug(true);
  CHECK(loop.get_debug());
  loop.set_debug(false);
  CHECK_FALSE(loop.get_debug());
}

TEST_CASE("ASYNCIO_DEBUG=1 switches debug mode on for new loops", "[debug][test_base_events.test_env_var_debug]") {
  const auto tells = []() -> Coroutine<bool> { co_return asyncio::get_running_loop().get_debug(); };
  {
    const SetEnvironment one("ASYNCIO_DEBUG", "1");
    CHECK(EventLoop().get_debug());
    CHECK(asyncio::run(tells()));
    CHECK_FALSE(asyncio::run(tells(), {.debug = false}));
  }
  {
    const SetEnvironment empty("ASYNCIO_DEBUG", "");
    CHECK_FALSE(EventLoop().get_debug());
    CHECK(asyncio::run(tells(), {.debug = true}));
  }
}

// ---- Slow callbacks ----------------------------------------------------------------------------------

TEST_CASE("a slow callback is reported with its time", "[debug][test_base_events.test_log_slow_callbacks]") {
  const std::string text = written_by(true, [](EventLoop& loop) { loop.call_soon(blocks); });
  CHECK(text.starts_with("Executing <Handle "));
  CHECK(contains(text, " took 0.0"));
  CHECK(text.ends_with(" seconds\n"));
}

TEST_CASE("a slow step of a task is reported with the task's name and where it stands",
          "[debug][test_base_events.test_log_slow_callbacks]") {
  const unsigned line = std::source_location::current().line() + 2;
  const auto slow_coroutine = []() -> Coroutine<void> {
    co_await asyncio::sleep(0);
    blocks();
  };
  const std::string text =
      written_by(true, [&](EventLoop& loop) { loop.create_task(slow_coroutine(), {.name = "the slow one"}); });
  CHECK(contains(text, "name='the slow one'"));
  CHECK(contains(text, "test_debug.cpp:" + std::to_string(line)));
  CHECK(contains(text, " took 0.0"));
}

TEST_CASE("a slow first step is reported, too", "[debug][test_base_events.test_log_slow_callbacks]") {
  const auto slow_coroutine = []() -> Coroutine<void> {
    blocks();
    co_return;
  };
  const std::string text =
      written_by(true, [&](EventLoop& loop) { loop.create_task(slow_coroutine(), {.name = "first"}); });
  CHECK(contains(text, "name='first'"));
  CHECK(contains(text, " took 0.0"));
}

TEST_CASE("a slow timer, reader and signal handler are reported", "[debug][test_base_events.test_log_slow_callbacks]") {
  CHECK(contains(written_by(true, [](EventLoop& loop) { loop.call_later(0, blocks); }), " took 0.0"));
  const auto [a, b] = raw_socket_pair();
  const asyncio::FileDescriptor here(a), there(b);
  CHECK(contains(written_by(true,
                            [&, fd = a](EventLoop& loop) {
                              loop.add_reader(fd, [&loop, fd] {
                                blocks();
                                loop.remove_reader(fd);
                              });
                              static_cast<void>(!::write(there.get(), "x", 1));
                            }),
                 " took 0.0"));
  CHECK(contains(written_by(true,
                            [](EventLoop& loop) {
                              loop.add_signal_handler(SIGUSR1, blocks);
                              ::raise(SIGUSR1);
                            }),
                 " took 0.0"));
}

TEST_CASE("a slow callback that throws is reported twice", "[debug][test_base_events.test_log_slow_callbacks]") {
  const std::string text = written_by(true, [](EventLoop& loop) {
    loop.call_soon([] {
      blocks();
      throw asyncio::ValueError("spam");
    });
  });
  CHECK(contains(text, "std::invalid_argument: spam"));
  CHECK(contains(text, " took 0.0"));
}

TEST_CASE("a fast callback is not reported, nor a slow one without debug mode",
          "[debug][test_base_events.test_log_slow_callbacks]") {
  CHECK(written_by(false, [](EventLoop& loop) { loop.call_soon(blocks); }) == "");
  EventLoop loop;
  loop.set_debug(true);
  CHECK(loop.slow_callback_duration == 0.1);
  loop.slow_callback_duration = 60;
  const CaptureCerr captured;
  loop.call_soon(blocks);
  run_once(loop);
  CHECK(captured.text() == "");
}

TEST_CASE("waiting is not executing: a task that sleeps long is not slow",
          "[debug][test_base_events.test_log_slow_callbacks]") {
  const CaptureCerr captured;
  const auto main = []() -> Coroutine<void> {
    asyncio::get_running_loop().slow_callback_duration = 0.05;
    co_await asyncio::sleep(0.1);
  };
  run_io(main, 60, {.debug = true});
  CHECK(captured.text() == "");
}

// ---- The wrong thread --------------------------------------------------------------------------------

TEST_CASE("in debug mode a call from another thread than the loop's is an error, and call_soon_threadsafe is none",
          "[debug][test_base_events.test_call_soon_non_threadsafe_debug]") {
  std::vector<std::string> errors;
  bool called = false;
  const auto main = [&]() -> Coroutine<void> {
    EventLoop& loop = asyncio::get_running_loop();
    const auto nothing = [] {};
    std::thread([&] {
      errors.push_back(thrown([&] { return loop.call_soon(nothing); }));
      errors.push_back(thrown([&] { return loop.call_later(0, nothing); }));
      errors.push_back(thrown([&] { return loop.call_at(0, nothing); }));
      errors.push_back(thrown([&] { return loop.run_in_executor(nullptr, nothing); }));
      loop.call_soon_threadsafe([&] { called = true; });
    }).join();
    co_await test::iterations(2);
  };
  run_io(main, 60, {.debug = true});
  CHECK(called);
  REQUIRE(errors.size() == 4);
  for (const std::string& error : errors) {
    CHECK(
        error.starts_with("std::runtime_error: Non-thread-safe operation invoked on an event loop other than the "
                          "current one"));
  }
}

TEST_CASE("in debug mode a socket that blocks is a ValueError", "[debug][test_sock_lowlevel.test_sock_client_ops]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [a, b] = raw_socket_pair(SOCK_STREAM);
    const asyncio::FileDescriptor here(a), there(b);
    co_return co_await test::thrown_by(asyncio::get_running_loop().sock_recv(here.get(), 1));
  };
  CHECK(run_io(main, 60, {.debug = true}).starts_with("std::invalid_argument: "));
}

// ---- What was left open ------------------------------------------------------------------------------

TEST_CASE("in debug mode a StreamWriter that is dropped unclosed is reported",
          "[debug][test_streams.test_unclosed_resource_warnings]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [a, b] = raw_socket_pair();
    const Streams kept = co_await open_socket(a);
    std::string text;
    {
      std::optional<Streams> dropped = co_await open_socket(b);
      const CaptureCerr captured;
      dropped.reset();
      text = captured.text();
    }
    kept.second.close();
    co_await kept.second.wait_closed();
    co_return text;
  };
  CHECK(contains(run_io(main, 60, {.debug = true}), "unclosed StreamWriter"));
  CHECK(run_io(main, 60, {.debug = false}) == "");
}

TEST_CASE("in debug mode a StreamWriter that was closed is not reported",
          "[debug][test_streams.test_unclosed_resource_warnings]") {
  const CaptureCerr captured;
  const auto main = []() -> Coroutine<void> {
    const auto [a, b] = raw_socket_pair();
    const Streams one = co_await open_socket(a), other = co_await open_socket(b);
    one.second.close();
    other.second.close();
    co_await one.second.wait_closed();
    co_await other.second.wait_closed();
  };
  run_io(main, 60, {.debug = true});
  CHECK(captured.text() == "");
}

TEST_CASE("in debug mode a transport that is open when its loop closes is reported",
          "[debug][test_selector_events.test__del__]") {
  std::optional<Streams> outlives;
  const auto main = [&]() -> Coroutine<void> {
    const auto [a, b] = raw_socket_pair();
    ::close(b);
    outlives = co_await open_socket(a);
  };
  for (const bool debug : {true, false}) {
    const CaptureCerr captured;
    run_io(main, 60, {.debug = debug});
    CHECK(contains(captured.text(), "unclosed transport fd=") == debug);
    outlives.reset();
  }
}

// ---- Coroutines that nobody awaited ------------------------------------------------------------------

TEST_CASE("in debug mode a coroutine that was never awaited is reported with its name and where it was made",
          "[debug][test_pep492.test_async_def_coroutines]") {
  const auto main = []() -> Coroutine<void> {
    { const Coroutine<int> forgotten = never_awaited_coroutine(); }
    co_return;
  };
  for (const bool debug : {true, false}) {
    const CaptureCerr captured;
    run_io(main, 60, {.debug = debug});
    CHECK(contains(captured.text(), "never_awaited_coroutine' was never awaited (tests/test_debug.cpp:") == debug);
  }
}

TEST_CASE("a coroutine that was awaited, run, or moved from is not reported",
          "[debug][test_pep492.test_async_def_coroutines]") {
  const CaptureCerr captured;
  const auto main = []() -> Coroutine<int> {
    auto first = never_awaited_coroutine();
    auto second = std::move(first);
    const int a = co_await std::move(second);
    const int b = co_await asyncio::create_task(never_awaited_coroutine());
    co_return a + b;
  };
  CHECK(run_io(main) == 2);
  const Coroutine<int> null;
  auto by_hand = never_awaited_coroutine();
  by_hand.send();
  CHECK(captured.text() == "");
}

TEST_CASE("a place outside of all functions has the name that the compiler gives it", "[debug]") {
  CHECK(asyncio::function_name(OUTSIDE) == OUTSIDE.function_name());
  CHECK(asyncio::function_name(std::source_location::current()) != std::source_location::current().function_name());
}
