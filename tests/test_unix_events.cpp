// Signals that the loop handles.
// Upstream counterpart: the signals of Lib/test/test_asyncio/test_unix_events.py.
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Task;
using test::action_of;
using test::Instance;
using test::iterations;
using test::run_io;
using test::run_once;
using test::thrown;

void nothing() {}

}  // namespace

TEST_CASE("a signal's handler is called by the loop, not by the signal",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&] {
    ++calls;
    CHECK(asyncio::get_running_loop_or_null() == &loop);
  });
  ::raise(SIGUSR1);
  CHECK(calls == 0);
  run_once(loop, 3);
  CHECK(calls == 1);
  run_once(loop, 3);
  CHECK(calls == 1);
}

TEST_CASE("a signal's handler is called with its arguments",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  std::string got;
  loop.add_signal_handler(
      SIGUSR1, [&](const std::string& text, int n) { got = text + std::to_string(n); }, "spam", 7);
  ::raise(SIGUSR1);
  run_once(loop, 3);
  CHECK(got == "spam7");
}

TEST_CASE("a signal wakes a loop that sleeps in select", "[unix_events][test_unix_events.test_add_signal_handler]") {
  const auto main = []() -> Coroutine<void> {
    const asyncio::Future<void> arrived;
    asyncio::get_running_loop().add_signal_handler(SIGUSR1, [arrived] { arrived.set_result(); });
    const pthread_t self = ::pthread_self();
    std::thread other([self] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ::pthread_kill(self, SIGUSR1);
    });
    co_await arrived;
    other.join();
    asyncio::get_running_loop().remove_signal_handler(SIGUSR1);
  };
  run_io(main);
}

TEST_CASE("a signal that another thread takes reaches the loop, too",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  const auto main = []() -> Coroutine<void> {
    const asyncio::Future<void> arrived;
    asyncio::get_running_loop().add_signal_handler(SIGUSR1, [arrived] { arrived.set_result(); });
    std::thread other([] { ::raise(SIGUSR1); });
    co_await arrived;
    other.join();
  };
  run_io(main);
}

TEST_CASE("a number that is no signal is a ValueError", "[unix_events][test_unix_events.test_check_signal]") {
  EventLoop loop;
  for (const int signum : {0, -1, NSIG, NSIG + 1, 100000}) {
    const std::string text = "std::invalid_argument: invalid signal number " + std::to_string(signum);
    CHECK(thrown([&] {
            loop.add_signal_handler(signum, nothing);
            return 0;
          }) == text);
    CHECK(thrown([&] { return loop.remove_signal_handler(signum); }) == text);
  }
}

TEST_CASE("SIGKILL and SIGSTOP cannot be caught",
          "[unix_events][test_unix_events.test_add_signal_handler_install_error3]") {
  EventLoop loop;
  for (const int signum : {SIGKILL, SIGSTOP}) {
    CHECK(thrown([&] {
            loop.add_signal_handler(signum, nothing);
            return 0;
          }) == "std::runtime_error: sig " + std::to_string(signum) + " cannot be caught");
    CHECK_FALSE(loop.remove_signal_handler(signum));
  }
}

TEST_CASE("what a refused handler captured is freed",
          "[unix_events][test_unix_events.test_add_signal_handler_install_error]") {
  const int alive = Instance::alive();
  EventLoop loop;
  CHECK_THROWS_AS(loop.add_signal_handler(SIGKILL, [instance = Instance()] {}), asyncio::RuntimeError);
  CHECK(Instance::alive() == alive);
}

TEST_CASE("a handler can be added in the main thread only",
          "[unix_events][test_unix_events.test_add_signal_handler_setup_error]") {
  std::string error;
  std::thread([&] {
    EventLoop loop;
    error = thrown([&] {
      loop.add_signal_handler(SIGUSR1, nothing);
      return 0;
    });
  }).join();
  CHECK(error == "std::runtime_error: signal handlers can be added in the main thread only");
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a closed loop takes no handler", "[unix_events][test_unix_events.test_add_signal_handler_setup_error]") {
  EventLoop loop;
  loop.close();
  CHECK(thrown([&] {
          loop.add_signal_handler(SIGUSR1, nothing);
          return 0;
        }) == "std::runtime_error: Event loop is closed");
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a new handler replaces the old one", "[unix_events][test_unix_events.test_add_signal_handler]") {
  const int alive = Instance::alive();
  EventLoop loop;
  std::string calls;
  loop.add_signal_handler(SIGUSR1, [&, instance = Instance()] { calls += "old "; });
  loop.add_signal_handler(SIGUSR1, [&] { calls += "new "; });
  CHECK(Instance::alive() == alive);
  ::raise(SIGUSR1);
  run_once(loop, 3);
  CHECK(calls == "new ");
}

TEST_CASE("a signal that came before the handler was replaced goes to the new one",
          "[unix_events][test_unix_events.test_handle_signal_cancelled_handler]") {
  EventLoop loop;
  std::string calls;
  loop.add_signal_handler(SIGUSR1, [&] { calls += "old "; });
  ::raise(SIGUSR1);
  loop.add_signal_handler(SIGUSR1, [&] { calls += "new "; });
  run_once(loop, 3);
  CHECK(calls == "new ");
}

TEST_CASE("a handler may replace itself while it runs",
          "[unix_events][test_unix_events.test_handle_signal_cancelled_handler]") {
  EventLoop loop;
  std::string calls;
  loop.add_signal_handler(SIGUSR1, [&, text = std::string("a string on the heap, which must outlive the call")] {
    loop.add_signal_handler(SIGUSR1, [&] { calls += "second "; });
    calls += text.substr(0, 8) + " ";
  });
  ::raise(SIGUSR1);
  run_once(loop, 3);
  ::raise(SIGUSR1);
  run_once(loop, 3);
  CHECK(calls == "a string second ");
}

TEST_CASE("a handler may remove itself while it runs",
          "[unix_events][test_unix_events.test_handle_signal_cancelled_handler]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&, text = std::string("a string on the heap, which must outlive the call")] {
    CHECK(loop.remove_signal_handler(SIGUSR1));
    calls += text.size() > 0;
  });
  ::raise(SIGUSR1);
  run_once(loop, 3);
  CHECK(calls == 1);
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a handler that is removed before the loop runs is not called",
          "[unix_events][test_unix_events.test_handle_signal_cancelled_handler][test_unix_events.test_handle_signal_no_"
          "handler]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
  ::raise(SIGUSR1);
  loop.remove_signal_handler(SIGUSR1);
  run_once(loop, 3);
  CHECK(calls == 0);
  loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
  run_once(loop, 3);
  CHECK(calls == 0);  // the old signal is forgotten
}

TEST_CASE("a signal that one loop did not handle is not handled by the next loop", "[unix_events]") {
  const auto first = std::make_unique<EventLoop>();
  first->add_signal_handler(SIGUSR1, nothing);
  ::raise(SIGUSR1);
  first->close();
  EventLoop second;
  int stale = 0, fresh = 0;
  second.add_signal_handler(SIGUSR1, [&] { ++stale; });
  second.add_signal_handler(SIGUSR2, [&] { ++fresh; });
  ::raise(SIGUSR2);
  run_once(second, 3);
  CHECK(fresh == 1);
  CHECK(stale == 0);
}

TEST_CASE("a handler keeps what it captured from one signal to the next",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  const auto calls = std::make_shared<int>(0);
  loop.add_signal_handler(SIGUSR1, [calls, instance = Instance()] { ++*calls; });
  for (int i = 1; i <= 3; ++i) {
    ::raise(SIGUSR1);
    run_once(loop, 3);
    CHECK(*calls == i);
    CHECK(Instance::alive() == 1);
  }
}

TEST_CASE("a signal for which the self-pipe had no room is forgotten when its handler is removed", "[unix_events]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, nothing);
  for (int i = 0; i < 70'000; ++i) ::raise(SIGUSR1);  // the pipe holds 64 KiB
  loop.remove_signal_handler(SIGUSR1);
  run_once(loop, 3);
  int stale = 0, fresh = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++stale; });
  loop.add_signal_handler(SIGUSR2, [&] { ++fresh; });
  ::raise(SIGUSR2);
  run_once(loop, 3);
  CHECK(fresh == 1);
  CHECK(stale == 0);
}

TEST_CASE("of two signals that arrived together both are handled, though each handler removes the other",
          "[unix_events][test_unix_events.test_handle_signal_cancelled_handler]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&] {
    ++calls;
    loop.remove_signal_handler(SIGUSR2);
  });
  loop.add_signal_handler(SIGUSR2, [&] {
    ++calls;
    loop.remove_signal_handler(SIGUSR1);
  });
  ::raise(SIGUSR1);
  ::raise(SIGUSR2);
  run_once(loop, 3);
  CHECK(calls == 2);  // as upstream's: both were queued
}

TEST_CASE(
    "remove_signal_handler restores the default action, and says whether there was a handler",
    "[unix_events][test_unix_events.test_remove_signal_handler][test_unix_events.test_remove_signal_handler_error]") {
  EventLoop loop;
  CHECK_FALSE(loop.remove_signal_handler(SIGHUP));
  loop.add_signal_handler(SIGHUP, nothing);
  CHECK(action_of(SIGHUP) != SIG_DFL);
  CHECK(loop.remove_signal_handler(SIGHUP));
  CHECK(action_of(SIGHUP) == SIG_DFL);
  CHECK_FALSE(loop.remove_signal_handler(SIGHUP));
}

TEST_CASE("removing one handler leaves the others", "[unix_events][test_unix_events.test_remove_signal_handler_2]") {
  EventLoop loop;
  std::string calls;
  loop.add_signal_handler(SIGUSR1, [&] { calls += "1 "; });
  loop.add_signal_handler(SIGUSR2, [&] { calls += "2 "; });
  CHECK(loop.remove_signal_handler(SIGUSR1));
  ::raise(SIGUSR2);
  run_once(loop, 3);
  CHECK(calls == "2 ");
}

TEST_CASE("what a handler captured is freed when it is removed",
          "[unix_events][test_unix_events.test_remove_signal_handler]") {
  const int alive = Instance::alive();
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [instance = Instance()] {});
  CHECK(Instance::alive() == alive + 1);
  loop.remove_signal_handler(SIGUSR1);
  CHECK(Instance::alive() == alive);
}

TEST_CASE("close removes all handlers and restores the default actions", "[unix_events][test_unix_events.test_close]") {
  const int alive = Instance::alive();
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [instance = Instance()] {});
  loop.add_signal_handler(SIGUSR2, [instance = Instance()] {});
  loop.close();
  CHECK(action_of(SIGUSR1) == SIG_DFL);
  CHECK(action_of(SIGUSR2) == SIG_DFL);
  CHECK(Instance::alive() == alive);
}

TEST_CASE("an exception in a handler is reported, and the loop goes on",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  test::TestLoop loop;
  test::Contexts& caught = loop.catch_exceptions();
  int calls = 0;
  EventLoop real;
  real.set_exception_handler([&](EventLoop&, const asyncio::ExceptionContext& context) { caught.push_back(context); });
  real.add_signal_handler(SIGUSR1, [&] {
    ++calls;
    throw asyncio::ValueError("spam");
  });
  for (int i = 0; i < 2; ++i) {
    ::raise(SIGUSR1);
    run_once(real, 3);
  }
  CHECK(calls == 2);
  REQUIRE(caught.size() == 2);
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: spam");
  CHECK(caught[0].message.starts_with("Exception in callback"));
}

TEST_CASE("a handler may stop the loop, or end it with SystemExit",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [&] { loop.stop(); });
  loop.call_soon([] { ::raise(SIGUSR1); });
  loop.run_forever();
  loop.add_signal_handler(SIGUSR2, [] { throw asyncio::SystemExit(3); });
  loop.call_soon([] { ::raise(SIGUSR2); });
  CHECK_THROWS_AS(loop.run_forever(), asyncio::SystemExit);
}

TEST_CASE("several loops one after the other each get their signals", "[unix_events][test_unix_events.test_close]") {
  for (int i = 0; i < 5; ++i) {
    EventLoop loop;
    int calls = 0;
    loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
    ::raise(SIGUSR1);
    run_once(loop, 3);
    CHECK(calls == 1);
    if (i % 2 == 0) ::raise(SIGUSR1);  // nobody hears this one
  }
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("real-time signals are handled, too", "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGRTMIN + 1, [&] { ++calls; });
  ::raise(SIGRTMIN + 1);
  run_once(loop, 3);
  CHECK(calls == 1);
}

TEST_CASE("errno is what it was when a signal interrupted", "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, nothing);
  for (int i = 0; i < 70'000; ++i) {  // until the pipe is full, and write() fails
    errno = EDOM;
    ::raise(SIGUSR1);
    if (errno != EDOM) break;
  }
  CHECK(errno == EDOM);
}

TEST_CASE("a signal handler does not see the context of whoever runs",
          "[unix_events][test_unix_events.test_add_signal_handler]") {
  asyncio::ContextVar<int> variable("variable", 0);
  EventLoop loop;
  int seen = -1;
  variable.set(1);
  loop.add_signal_handler(SIGUSR1, [&] { seen = variable.get(); });
  variable.set(2);
  ::raise(SIGUSR1);
  run_once(loop, 3);
  CHECK(seen == 1);
}

TEST_CASE("blocking calls are restarted after a signal", "[unix_events][test_unix_events.test_add_signal_handler]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGALRM, [&] { ++calls; });
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  itimerval in_10_ms{{0, 0}, {0, 10'000}};
  ::setitimer(ITIMER_REAL, &in_10_ms, nullptr);
  std::thread writer([&] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
    static_cast<void>(!::write(ends[1], "x", 1));
  });
  char byte;
  CHECK(::read(ends[0], &byte, 1) == 1);  // not EINTR
  writer.join();
  run_once(loop, 3);
  CHECK(calls == 1);
  ::close(ends[0]), ::close(ends[1]);
}

TEST_CASE("no signal is lost when the self-pipe is full", "[unix_events][stress]") {
  const int kinds[] = {SIGUSR1, SIGUSR2, SIGHUP};
  EventLoop loop;
  int calls[3] = {};
  for (int k = 0; k < 3; ++k) loop.add_signal_handler(kinds[k], [&, k] { ++calls[k]; });
  for (int i = 0; i < 70'000; ++i) ::raise(kinds[0]);  // the pipe, of 64 KiB, is full now
  ::raise(kinds[1]);
  for (int i = 0; i < 30'000; ++i) ::raise(kinds[0]);
  ::raise(kinds[2]);
  run_once(loop, 3);
  for (const int n : calls) CHECK(n >= 1);
  const int before[] = {calls[0], calls[1], calls[2]};
  for (const int kind : kinds) ::raise(kind);
  run_once(loop, 3);
  for (int k = 0; k < 3; ++k) CHECK(calls[k] == before[k] + 1);
}

TEST_CASE("other threads' calls arrive though signals have filled the self-pipe", "[unix_events][stress]") {
  EventLoop loop;
  int calls = 0, signals = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++signals; });
  for (int i = 0; i < 70'000; ++i) ::raise(SIGUSR1);
  std::thread([&] { loop.call_soon_threadsafe([&] { ++calls; }); }).join();
  run_once(loop, 3);
  CHECK(calls == 1);
  CHECK(signals >= 1);
}

TEST_CASE("ten thousand signals a second disturb nothing", "[unix_events][stress]") {
  const double seconds = test::stress() ? 10 : 1;
  long signals = 0, sleeps = 0, early = 0, echoes = 0, wrong = 0, turns = 0;
  const auto main = [&]() -> Coroutine<void> {
    EventLoop& loop = asyncio::get_running_loop();
    const double end = loop.time() + seconds;
    loop.add_signal_handler(SIGALRM, [&] { ++signals; });
    itimerval every_100_us{{0, 100}, {0, 100}};
    ::setitimer(ITIMER_REAL, &every_100_us, nullptr);
    const auto sleeping = [&](double delay) -> Coroutine<void> {
      for (double start; start = loop.time(), start < end; ++sleeps) {
        co_await asyncio::sleep(delay);
        early += loop.time() < start + delay;
      }
    };
    const auto echoing = [&]() -> Coroutine<void> {
      int ends[2];
      asyncio::check_call(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), "socketpair");
      const auto a = co_await asyncio::open_connection("", 0, {.sock = ends[0]});
      const auto b = co_await asyncio::open_connection("", 0, {.sock = ends[1]});
      for (; loop.time() < end; ++echoes) {
        const std::string line = std::to_string(echoes) + "\n";
        a.second.write(line);
        const std::string received = co_await b.first.readline();
        b.second.write(received);
        const std::string answer = co_await a.first.readline();
        wrong += answer != line;
      }
    };
    asyncio::Event mine, yours;
    const auto waiting = [&](asyncio::Event& wait, asyncio::Event& set) -> Coroutine<void> {
      while (loop.time() < end) {
        co_await wait.wait();
        wait.clear();
        ++turns;
        set.set();
      }
      set.set();
    };
    const auto sleeps_1 = asyncio::create_task(sleeping(0.0003)), sleeps_2 = asyncio::create_task(sleeping(0.05));
    const auto echo = asyncio::create_task(echoing());
    const auto ping = asyncio::create_task(waiting(mine, yours)), pong = asyncio::create_task(waiting(yours, mine));
    mine.set();
    co_await asyncio::gather(sleeps_1, sleeps_2, echo, ping, pong);
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    co_await iterations(3);  // what is still on its way
    loop.remove_signal_handler(SIGALRM);
  };
  run_io(main, 120);
  CHECK(early == 0);
  CHECK(wrong == 0);
  CHECK(sleeps > 10);
  CHECK(echoes > 10);
  CHECK(turns > 10);
  CHECK(signals > 10);
  std::printf(
      "10 kHz of SIGALRM for %.0f s: the handler was called %ld times, %ld sleeps, none early, %ld echoes, %ld turns\n",
      seconds, signals, sleeps, echoes, turns);
}
