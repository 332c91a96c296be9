// Readers, writers and signals on a loop; numbers of descriptors that are used again.
// Upstream counterpart: Lib/test/test_asyncio/test_selector_events.py, and the signals of test_events.py.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/net.hpp"

using asyncio::EventLoop, asyncio::ExceptionContext, asyncio::Handle, asyncio::TimerHandle;
using asyncio::KeyboardInterrupt, asyncio::OSError, asyncio::RuntimeError, asyncio::ValueError;
using selectors::EVENT_READ, selectors::EVENT_WRITE;
using selectors::PollSelector;
using test::action_of, test::Append, test::AtEnd, test::CLOSED, test::Fd, test::Instance, test::Numbers, test::Pipe;
using test::reopen_as, test::run_once, test::SocketPair, test::TestLoop, test::thrown_in_thread;

namespace {

constexpr int FD = 100;  // on a TestLoop descriptors need not be open

/// The events for which the loop has registered the descriptor; 0 if it has not.
unsigned registered(const TestLoop& loop, int fd = FD) {
  try {
    return loop.selector.get_key(fd).events;
  } catch (const selectors::KeyError&) {
    return 0;
  }
}

/// Sends SIGALRM after that many microseconds, and every so many from then on.
void start_alarms(long first, long interval = 0) {
  const itimerval value{{0, interval}, {0, first}};
  REQUIRE(::setitimer(ITIMER_REAL, &value, nullptr) == 0);
}
void stop_alarms() {
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
}

}  // namespace

#if defined(ASYNCIO_NO_EPOLL)
#define BOTH selectors::PollSelector
#else
#define BOTH selectors::EpollSelector, selectors::PollSelector
#endif

// ---- add_reader, add_writer, remove_reader, remove_writer

TEST_CASE("add_reader waits for readable, add_writer for writable",
          "[test_selector_events.test_add_reader][test_selector_events.test_add_writer]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, Append{&order, 1});
  loop.add_writer(FD + 1, Append{&order, 2});
  CHECK(registered(loop, FD) == EVENT_READ);
  CHECK(registered(loop, FD + 1) == EVENT_WRITE);
  loop.selector.make_ready(FD, EVENT_READ);
  loop.selector.make_ready(FD + 1, EVENT_WRITE);
  run_once(loop);
  CHECK(order == Numbers{1, 2});
}

TEST_CASE("a second reader replaces the first, which is cancelled and freed at once",
          "[test_selector_events.test_add_reader_existing]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, [&, captured = Instance()] { order.push_back(1); });
  CHECK(Instance::alive() == 1);
  loop.add_reader(FD, Append{&order, 2});
  CHECK(Instance::alive() == 0);
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(order == Numbers{2});
}

TEST_CASE("a second writer replaces the first, which is cancelled and freed at once",
          "[test_selector_events.test_add_writer_existing]") {
  TestLoop loop;
  Numbers order;
  loop.add_writer(FD, [&, captured = Instance()] { order.push_back(1); });
  CHECK(Instance::alive() == 1);
  loop.add_writer(FD, Append{&order, 2});
  CHECK(Instance::alive() == 0);
  loop.selector.make_ready(FD, EVENT_WRITE);
  run_once(loop);
  CHECK(order == Numbers{2});
}

TEST_CASE("a reader joins the writer of its descriptor, and the other way round",
          "[test_selector_events.test_add_reader_existing_writer]") {
  TestLoop loop;
  Numbers order;
  SECTION("writer first") {
    loop.add_writer(FD, Append{&order, 2});
    loop.add_reader(FD, Append{&order, 1});
  }
  SECTION("reader first") {
    loop.add_reader(FD, Append{&order, 1});
    loop.add_writer(FD, Append{&order, 2});
  }
  CHECK(registered(loop) == (EVENT_READ | EVENT_WRITE));
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(order == Numbers{1});
  loop.selector.make_ready(FD, EVENT_WRITE);
  run_once(loop);
  CHECK(order == Numbers{1, 2});
}

TEST_CASE("of one descriptor the reader is called before the writer",
          "[test_selector_events.test_process_events_read][test_selector_events.test_process_events_write]") {
  TestLoop loop;
  Numbers order;
  loop.add_writer(FD, Append{&order, 2});
  loop.add_reader(FD, Append{&order, 1});
  loop.selector.make_ready(FD, EVENT_READ | EVENT_WRITE);
  run_once(loop);
  CHECK(order == Numbers{1, 2});
}

TEST_CASE("a reader is passed its arguments, as lvalues, each time", "[selector_events]") {
  TestLoop loop;
  int seen = 0;
  loop.add_reader(
      FD, [&](int& value) { seen = ++value; }, 10);
  for (int i = 0; i < 3; ++i) {
    loop.selector.make_ready(FD, EVENT_READ);
    run_once(loop);
  }
  CHECK(seen == 13);
}

TEST_CASE("remove_reader ends the wait and frees the callback at once", "[test_selector_events.test_remove_reader]") {
  TestLoop loop;
  loop.add_reader(FD, [captured = Instance()] {});
  CHECK(loop.remove_reader(FD));
  CHECK(registered(loop) == 0);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_reader(FD));
}

TEST_CASE("remove_writer ends the wait and frees the callback at once", "[test_selector_events.test_remove_writer]") {
  TestLoop loop;
  loop.add_writer(FD, [captured = Instance()] {});
  CHECK(loop.remove_writer(FD));
  CHECK(registered(loop) == 0);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_writer(FD));
}

TEST_CASE("remove_reader leaves the writer of its descriptor", "[test_selector_events.test_remove_reader_read_write]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, Append{&order, 1});
  loop.add_writer(FD, Append{&order, 2});
  CHECK(loop.remove_reader(FD));
  CHECK(registered(loop) == EVENT_WRITE);
  CHECK_FALSE(loop.remove_reader(FD));
  loop.selector.make_ready(FD, EVENT_READ | EVENT_WRITE);
  run_once(loop);
  CHECK(order == Numbers{2});
}

TEST_CASE("remove_writer leaves the reader of its descriptor", "[test_selector_events.test_remove_writer_read_write]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, Append{&order, 1});
  loop.add_writer(FD, Append{&order, 2});
  CHECK(loop.remove_writer(FD));
  CHECK(registered(loop) == EVENT_READ);
  CHECK_FALSE(loop.remove_writer(FD));
  loop.selector.make_ready(FD, EVENT_READ | EVENT_WRITE);
  run_once(loop);
  CHECK(order == Numbers{1});
}

TEST_CASE("removing a reader or writer that is not there is false",
          "[test_selector_events.test_remove_reader_unknown][test_selector_events.test_remove_writer_unknown]") {
  TestLoop loop;
  CHECK_FALSE(loop.remove_reader(FD));
  CHECK_FALSE(loop.remove_writer(FD));
  CHECK_FALSE(loop.remove_reader(-1));
  loop.add_writer(FD, [] {});
  CHECK_FALSE(loop.remove_reader(FD));
  CHECK(registered(loop) == EVENT_WRITE);
}

TEST_CASE("a reader can be removed and added again", "[selector_events]") {
  TestLoop loop;
  Numbers order;
  for (int i = 0; i < 3; ++i) {
    loop.add_reader(FD, Append{&order, i});
    loop.selector.make_ready(FD, EVENT_READ);
    run_once(loop);
    CHECK(loop.remove_reader(FD));
  }
  CHECK(order == Numbers{0, 1, 2});
}

// ---- readers and writers that change while their event is on its way

TEST_CASE("a reader removed by an earlier callback of the batch is not called",
          "[test_selector_events.test_process_events_read_cancelled][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.call_soon([&] { loop.remove_reader(FD); });
  loop.add_reader(FD, Append{&order, 1});
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop, 2);
  CHECK(order.empty());
}

TEST_CASE("a writer removed by the reader of the same event is not called",
          "[test_selector_events.test_process_events_write_cancelled][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, [&] { loop.remove_writer(FD); });
  loop.add_writer(FD, Append{&order, 1});
  loop.selector.make_ready(FD, EVENT_READ | EVENT_WRITE);
  run_once(loop, 2);
  CHECK(order.empty());
  CHECK(registered(loop) == EVENT_READ);
}

TEST_CASE("a reader replaced by an earlier callback of the batch: neither gets this event",
          "[selector_events][rule-2]") {
  TestLoop loop;
  Numbers order;
  loop.call_soon([&] { loop.add_reader(FD, Append{&order, 2}); });
  loop.add_reader(FD, Append{&order, 1});
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(order.empty());
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(order == Numbers{2});
}

TEST_CASE("a reader whose handle was cancelled is not called, and is removed when its event comes; the writer stays",
          "[test_selector_events.test_process_events_read_cancelled]") {
  TestLoop loop;
  Numbers order;
  const Handle reader = loop.add_reader(FD, Append{&order, 1});
  loop.add_writer(FD, Append{&order, 2});
  reader.cancel();
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(order.empty());
  CHECK(registered(loop) == EVENT_WRITE);
}

TEST_CASE("a reader that removes itself keeps its captures until it returned, not longer",
          "[selector_events][rule-7]") {
  TestLoop loop;
  int calls = 0, alive_after_removal = -1;
  bool removed = false;
  loop.add_reader(FD, [&, captured = Instance()] {
    ++calls;
    removed = loop.remove_reader(FD);
    alive_after_removal = Instance::alive();
  });
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(removed);
  CHECK(alive_after_removal == 1);
  CHECK(Instance::alive() == 0);
  CHECK(registered(loop) == 0);
  run_once(loop);
  CHECK(calls == 1);
}

TEST_CASE("a reader that replaces itself keeps its captures until it returned, not longer",
          "[selector_events][rule-7]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, [&, captured = Instance()] {
    loop.add_reader(FD, Append{&order, 2});
    order.push_back(Instance::alive());
  });
  for (int i = 0; i < 2; ++i) {
    loop.selector.make_ready(FD, EVENT_READ);
    run_once(loop);
    CHECK(Instance::alive() == 0);
  }
  CHECK(order == Numbers{1, 2});
}

TEST_CASE("a writer that removes itself leaves the reader", "[selector_events][rule-7]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, Append{&order, 1});
  loop.add_writer(FD, [&, captured = Instance()] {
    order.push_back(2);
    loop.remove_writer(FD);
  });
  for (int i = 0; i < 2; ++i) {
    loop.selector.make_ready(FD, EVENT_READ | EVENT_WRITE);
    run_once(loop);
  }
  CHECK(order == Numbers{1, 2, 1});
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a reader that throws is reported, and stays", "[selector_events][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  loop.add_reader(FD, [] { throw ValueError("wrong"); });
  for (int i = 0; i < 2; ++i) {
    loop.selector.make_ready(FD, EVENT_READ);
    run_once(loop);
  }
  REQUIRE(caught.size() == 2);
  CHECK(caught[0].message.compare(0, 21, "Exception in callback") == 0);
  CHECK(caught[0].handle == caught[1].handle);
}

TEST_CASE("a reader left over by an interrupted batch is queued again when it is still ready, as upstream queues it",
          "[selector_events][rule-6]") {
  TestLoop loop;
  Numbers order;
  loop.call_soon([] { throw KeyboardInterrupt(); });
  loop.add_reader(FD, Append{&order, 1});
  loop.selector.make_ready(FD, EVENT_READ);
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  CHECK(order.empty());
  loop.selector.make_ready(FD, EVENT_READ);  // nobody has read: it is still readable
  run_once(loop);
  CHECK(order == Numbers{1, 1});
}

TEST_CASE("a reader keeps what it captured from call to call", "[selector_events][rule-7]") {
  TestLoop loop;
  int calls = 0;
  loop.add_reader(FD, [&calls, captured = Instance()] { ++calls; });
  for (int call = 1; call <= 3; ++call) {
    loop.selector.make_ready(FD, EVENT_READ);
    run_once(loop);
    CHECK(calls == call);
    CHECK(Instance::alive() == 1);
  }
}

TEST_CASE("a reader that an interrupted batch left, and that is told again, loses nobody behind it",
          "[selector_events][rule-6]") {
  TestLoop loop;
  std::string log;
  loop.add_reader(FD, [&] { log += "r"; });
  loop.add_writer(FD, [&] { log += "w"; });
  loop.call_soon([] { throw KeyboardInterrupt(); });
  loop.selector.make_ready(FD, EVENT_READ | EVENT_WRITE);
  CHECK_THROWS_AS(run_once(loop), KeyboardInterrupt);
  CHECK(log.empty());
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(log == "rwr");
}

TEST_CASE("an interrupt out of a reader leaves run_forever, and the reader stays", "[selector_events][rule-6]") {
  TestLoop loop;
  int calls = 0;
  loop.add_reader(FD, [&] {
    ++calls;
    throw KeyboardInterrupt();
  });
  for (int i = 0; i < 2; ++i) {
    loop.selector.make_ready(FD, EVENT_READ);
    REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
  }
  CHECK(calls == 2);
}

TEST_CASE("what a removed reader captured may use the loop when it dies", "[selector_events][rule-7]") {
  TestLoop loop;
  bool called = false;
  loop.add_reader(FD, AtEnd([&] { loop.call_soon([&] { called = true; }); }));
  CHECK(loop.remove_reader(FD));
  run_once(loop);
  CHECK(called);
}

TEST_CASE("what a removed reader captured may remove the writer of its descriptor when it dies",
          "[selector_events][rule-7]") {
  TestLoop loop;
  bool removed = false;
  loop.add_reader(FD, AtEnd([&] { removed = loop.remove_writer(FD); }));
  loop.add_writer(FD, [captured = Instance()] {});
  CHECK(loop.remove_reader(FD));
  CHECK(removed);
  CHECK(Instance::alive() == 0);
  CHECK(registered(loop) == 0);
  CHECK_FALSE(loop.remove_reader(FD));
  CHECK_FALSE(loop.remove_writer(FD));
}

TEST_CASE("what a replaced reader captured may remove the reader of its descriptor when it dies",
          "[selector_events][rule-7]") {
  TestLoop loop;
  loop.add_reader(FD, AtEnd([&] { loop.remove_reader(FD); }));
  loop.add_reader(FD, [captured = Instance()] {});
  loop.remove_reader(FD);
  CHECK(Instance::alive() == 0);
  CHECK(registered(loop) == 0);
  CHECK_FALSE(loop.remove_reader(FD));
}

TEST_CASE("what a removed reader captured may add another reader when it dies", "[selector_events][rule-7]") {
  TestLoop loop;
  Numbers order;
  loop.add_reader(FD, AtEnd([&] { loop.add_reader(FD, Append{&order, 1}); }));
  loop.remove_reader(FD);
  if (registered(loop) == 0) {  // then nothing of the new one may be left
    CHECK_FALSE(loop.remove_reader(FD));
    loop.add_reader(FD, Append{&order, 1});
  }
  loop.selector.make_ready(FD, EVENT_READ);
  run_once(loop);
  CHECK(order == Numbers{1});
}

TEST_CASE("a removed reader's captures may close the descriptor and then remove its writer",
          "[selector_events][rule-7]") {
  EventLoop loop;
  SocketPair sockets;
  const int fd = sockets.a;
  loop.add_writer(fd, [captured = Instance()] {});
  loop.add_reader(fd, AtEnd([&] {
                    sockets.a.close();
                    loop.remove_writer(fd);
                  }));
  CHECK(test::thrown([&] { loop.remove_reader(fd); }) == "");
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_reader(fd));
  CHECK_FALSE(loop.remove_writer(fd));
}

// ---- real descriptors

TEMPLATE_TEST_CASE("a reader is called when there is something to read, and at the end",
                   "[test_events.test_reader_callback]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  Pipe pipe;
  std::string received;
  bool removed = false;
  loop.add_reader(pipe.reader, [&] {
    const std::string data = pipe.receive();
    received += data;
    if (data.empty()) {
      removed = loop.remove_reader(pipe.reader);
      loop.stop();
    } else if (received == "abc") {
      pipe.send("def");
    } else {
      pipe.writer.close();
    }
  });
  loop.call_soon([&] { pipe.send("abc"); });
  loop.run_forever();
  CHECK(received == "abcdef");
  CHECK(removed);
}

TEMPLATE_TEST_CASE("a writer is called when there is room to write", "[test_events.test_writer_callback]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  const Pipe pipe;
  const auto write = [&](const std::string& data) {
    pipe.send(data);
    loop.stop();
  };
  loop.add_writer(pipe.writer, write, std::string(500, 'x'));
  loop.run_forever();
  CHECK(loop.remove_writer(pipe.writer));
  CHECK_FALSE(loop.remove_writer(pipe.writer));
  CHECK(pipe.receive() == std::string(500, 'x'));
}

TEMPLATE_TEST_CASE("a reader is called in each iteration until the data was read", "[selector_events]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  const Pipe pipe;
  int calls = 0;
  loop.add_reader(pipe.reader, [&] {
    if (++calls == 3) pipe.receive();
  });
  pipe.send();
  run_once(loop, 5);
  CHECK(calls == 3);
}

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("a regular file cannot be waited for under epoll: the error says so and leaves nothing behind",
          "[selector_events][rule-8]") {
  EventLoop loop;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  const int fd = ::fileno(file);
  try {
    loop.add_reader(fd, [captured = Instance()] {});
    FAIL("no exception");
  } catch (const OSError& error) {
    CHECK(error.code() == std::errc::operation_not_permitted);
    CHECK(std::string(error.what()).find("regular file") != std::string::npos);
  }
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_reader(fd));
  std::fclose(file);
}
#endif

TEMPLATE_TEST_CASE("a descriptor that is not open is EBADF, a negative one a ValueError; neither leaves anything",
                   "[selector_events][rule-8]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  Pipe pipe;
  const Pipe other;
  const int number = pipe.reader;
  pipe.reader.close();
  try {
    loop.add_reader(number, [captured = Instance()] {});
    FAIL("no exception");
  } catch (const OSError& error) {
    CHECK(error.code() == std::errc::bad_file_descriptor);
  }
  REQUIRE_THROWS_AS(loop.add_writer(-1, [captured = Instance()] {}), ValueError);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_reader(number));
  const Fd reopened = reopen_as(number, other.reader);
  bool called = false;
  loop.add_reader(reopened, [&] { called = true; });
  other.send();
  run_once(loop);
  CHECK(called);
}

TEST_CASE("readers and writers of a closed loop are gone", "[test_events.test_remove_fds_after_closing]") {
  EventLoop loop;
  const SocketPair sockets;
  loop.add_reader(sockets.a, [captured = Instance()] {});
  loop.add_writer(sockets.b, [captured = Instance()] {});
  loop.close();
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_reader(sockets.a));
  CHECK_FALSE(loop.remove_writer(sockets.b));
}

TEST_CASE("a closed loop takes no readers and writers",
          "[test_events.test_add_fds_after_closing][test_selector_events.test_close][rule-8]") {
  EventLoop loop;
  const SocketPair sockets;
  loop.close();
  CHECK(test::thrown([&] { loop.add_reader(sockets.a, [] {}); }) == CLOSED);
  CHECK(test::thrown([&] { loop.add_writer(sockets.b, [] {}); }) == CLOSED);
}

TEST_CASE("closing a loop leaves the descriptors of its readers open", "[test_selector_events.test_close]") {
  const Pipe pipe;
  {
    EventLoop loop;
    loop.add_reader(pipe.reader, [] {});
  }
  CHECK(::fcntl(pipe.reader, F_GETFD) >= 0);
}

TEMPLATE_TEST_CASE("signals do not make timers early and are no error", "[selector_events][rule-4]", BOTH) {
  struct sigaction action = {}, saved;
  action.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGALRM, &action, &saved) == 0);
  EventLoop loop(std::make_unique<TestType>());
  const double when = loop.time() + 0.006;
  double called_at = 0;
  loop.call_at(when, [&] {
    called_at = loop.time();
    loop.stop();
  });
  start_alarms(1000, 1000);
  loop.run_forever();
  stop_alarms();
  ::sigaction(SIGALRM, &saved, nullptr);
  CHECK(called_at >= when - 1e-9);
}

// ---- numbers that are closed and used again

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("under epoll, the next owner of a closed descriptor's number is not taken for the old one",
          "[selector_events][rule-7]") {
  EventLoop loop;
  Pipe first;
  const Pipe second;
  Numbers order;
  const int number = first.reader;
  loop.add_reader(number, Append{&order, 1});
  first.reader.close();
  const Fd reused = reopen_as(number, second.reader);
  second.send();
  run_once(loop, 3);
  CHECK(order.empty());
}
#endif

TEMPLATE_TEST_CASE("add_reader on a number that was closed and used again is for the new file",
                   "[selector_events][rule-7]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  Pipe first;
  const Pipe second;
  Numbers order;
  const int number = first.reader;
  loop.add_reader(number, [&, captured = Instance()] { order.push_back(1); });
  first.reader.close();
  const Fd reused = reopen_as(number, second.reader);
  loop.add_reader(number, Append{&order, 2});
  CHECK(Instance::alive() == 0);
  run_once(loop);
  CHECK(order.empty());
  second.send();
  run_once(loop);
  CHECK(order == Numbers{2});
  CHECK(loop.remove_reader(number));
  run_once(loop);
  CHECK(order == Numbers{2});
}

TEMPLATE_TEST_CASE("the same when the old file lives on as a duplicate: its events reach nobody",
                   "[selector_events][rule-7]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  Pipe first;
  const Pipe second;
  Numbers order;
  const int number = first.reader;
  const Fd duplicate(::dup(number));
  loop.add_reader(number, Append{&order, 1});
  first.reader.close();
  const Fd reused = reopen_as(number, second.reader);
  loop.add_reader(number, Append{&order, 2});
  first.send();
  run_once(loop, 3);
  CHECK(order.empty());
  second.send();
  run_once(loop);
  CHECK(order == Numbers{2});
}

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("under epoll, add_writer on a number that was used again forgets the old file's reader",
          "[selector_events][rule-7]") {
  EventLoop loop;
  SocketPair first;
  const SocketPair second;
  Numbers order;
  const int number = first.a;
  loop.add_reader(number, [&, captured = Instance()] { order.push_back(1); });
  first.a.close();
  const Fd reused = reopen_as(number, second.a);
  loop.add_writer(number, Append{&order, 2});
  CHECK(Instance::alive() == 0);
  REQUIRE(::write(second.b, "x", 1) == 1);
  run_once(loop);
  CHECK(order == Numbers{2});
  CHECK_FALSE(loop.remove_reader(number));
  CHECK(loop.remove_writer(number));
}
#endif

TEMPLATE_TEST_CASE("a reader removed after its descriptor was closed leaves the number to others",
                   "[selector_events][rule-7]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  Pipe first;
  const Pipe second;
  Numbers order;
  const int number = first.reader;
  const Fd duplicate(::dup(number));
  loop.add_reader(number, Append{&order, 1});
  first.reader.close();
  CHECK(loop.remove_reader(number));
  const Fd reused = reopen_as(number, second.reader);
  first.send();
  run_once(loop, 2);
  CHECK(order.empty());
  loop.add_reader(number, Append{&order, 2});
  run_once(loop, 2);
  CHECK(order.empty());
  second.send();
  run_once(loop);
  CHECK(order == Numbers{2});
}

TEMPLATE_TEST_CASE("remove_reader after the close frees both callbacks in the end", "[selector_events][rule-7]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  SocketPair sockets;
  const int number = sockets.a;
  loop.add_reader(number, [captured = Instance()] {});
  loop.add_writer(number, [captured = Instance()] {});
  sockets.a.close();
  CHECK(loop.remove_reader(number));
  loop.remove_writer(number);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_reader(number));
  CHECK_FALSE(loop.remove_writer(number));
}

TEMPLATE_TEST_CASE("a reader may close its own descriptor and remove itself in either order",
                   "[selector_events][rule-7]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  Pipe pipe;
  const int number = pipe.reader;
  const bool close_first = GENERATE(true, false);
  int calls = 0;
  loop.add_reader(number, [&, captured = Instance()] {
    ++calls;
    if (close_first) pipe.reader.close();
    loop.remove_reader(number);
    pipe.reader.close();
  });
  pipe.send();
  run_once(loop, 3);
  CHECK(calls == 1);
  CHECK(Instance::alive() == 0);
}

TEMPLATE_TEST_CASE("numbers used again and again by short-lived pipes never mix up their readers",
                   "[selector_events][rule-7]", BOTH) {
  EventLoop loop(std::make_unique<TestType>());
  int wrong = 0, right = 0;
  for (int i = 0; i < 100; ++i) {
    Pipe pipe;
    const int number = pipe.reader;
    const bool tidy = i % 3 != 0;  // every third pipe is closed behind the loop's back
    loop.add_reader(number, [&, i] {
      if (pipe.receive() == std::to_string(i)) {
        ++right;
      } else {
        ++wrong;
      }
    });
    pipe.send(std::to_string(i));
    run_once(loop);
    if (tidy) loop.remove_reader(number);
    pipe.reader.close();
    if (!tidy) loop.remove_reader(number);
  }
  CHECK(right == 100);
  CHECK(wrong == 0);
}

// ---- signals

TEST_CASE("the handler of a signal is called by the loop", "[test_events.test_add_signal_handler]") {
  EventLoop loop;
  EventLoop* running = nullptr;
  loop.add_signal_handler(SIGUSR1, [&] { running = asyncio::get_running_loop_or_null(); });
  ::raise(SIGUSR1);
  CHECK(running == nullptr);
  run_once(loop, 2);
  CHECK(running == &loop);
}

TEST_CASE("removing a signal handler brings the default action back", "[test_events.test_add_signal_handler]") {
  EventLoop loop;
  REQUIRE(action_of(SIGUSR1) == SIG_DFL);
  loop.add_signal_handler(SIGUSR1, [captured = Instance()] {});
  CHECK(action_of(SIGUSR1) != SIG_DFL);
  CHECK(loop.remove_signal_handler(SIGUSR1));
  CHECK(action_of(SIGUSR1) == SIG_DFL);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
}

TEST_CASE("what is not a signal is a ValueError", "[test_events.test_add_signal_handler][rule-8]") {
  EventLoop loop;
  for (const int signum : {0, -1, NSIG, NSIG + 1}) {
    REQUIRE_THROWS_AS(loop.add_signal_handler(signum, [captured = Instance()] {}), ValueError);
    REQUIRE_THROWS_AS(loop.remove_signal_handler(signum), ValueError);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a signal that cannot be caught is a RuntimeError, and leaves nothing behind",
          "[test_events.test_add_signal_handler][rule-8]") {
  EventLoop loop;
  REQUIRE_THROWS_AS(loop.add_signal_handler(SIGKILL, [captured = Instance()] {}), RuntimeError);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_signal_handler(SIGKILL));
}

TEST_CASE("signal handlers are the main thread's business", "[test_events.test_add_signal_handler][rule-8]") {
  const std::string error = thrown_in_thread([] {
    EventLoop loop;
    loop.add_signal_handler(SIGUSR1, [] {});
  });
  CHECK(error.compare(0, 18, "std::runtime_error") == 0);
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a closed loop takes no signal handlers", "[test_events.test_close][rule-8]") {
  EventLoop loop;
  loop.close();
  CHECK(test::thrown([&] { loop.add_signal_handler(SIGUSR1, [] {}); }) == CLOSED);
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a signal that arrives while the loop sleeps wakes it",
          "[test_events.test_signal_handling_while_selecting]") {
  EventLoop loop;
  int caught = 0;
  loop.add_signal_handler(SIGALRM, [&] {
    ++caught;
    loop.stop();
  });
  loop.call_later(60, [&] { loop.stop(); });
  const double start = loop.time();
  start_alarms(2000);
  loop.run_forever();
  CHECK(caught == 1);
  CHECK(loop.time() - start < 30);
}

TEST_CASE("a signal handler is passed its arguments", "[test_events.test_signal_handling_args]") {
  EventLoop loop;
  int seen = 0;
  loop.add_signal_handler(
      SIGUSR1, [&](int value) { seen = value; }, 42);
  ::raise(SIGUSR1);
  run_once(loop, 2);
  CHECK(seen == 42);
}

TEST_CASE("a second handler of a signal replaces the first", "[selector_events]") {
  EventLoop loop;
  Numbers order;
  loop.add_signal_handler(SIGUSR1, [&, captured = Instance()] { order.push_back(1); });
  loop.add_signal_handler(SIGUSR1, Append{&order, 2});
  CHECK(Instance::alive() == 0);
  ::raise(SIGUSR1);
  run_once(loop, 2);
  CHECK(order == Numbers{2});
}

TEST_CASE("each signal has its own handler, called whenever the signal arrives", "[selector_events]") {
  EventLoop loop;
  int usr1 = 0, usr2 = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++usr1; });
  loop.add_signal_handler(SIGUSR2, [&] { ++usr2; });
  for (int i = 0; i < 3; ++i) {
    ::raise(SIGUSR1);
    run_once(loop, 2);
  }
  CHECK(usr1 == 3);
  CHECK(usr2 == 0);
  ::raise(SIGUSR2);
  run_once(loop, 2);
  CHECK(usr1 == 3);
  CHECK(usr2 == 1);
}

TEST_CASE("a signal is not lost when the pipe to the loop is full of others", "[selector_events]") {
  EventLoop loop;
  int usr1 = 0, usr2 = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++usr1; });
  loop.add_signal_handler(SIGUSR2, [&] { ++usr2; });
  for (int i = 0; i < 70'000; ++i) ::raise(SIGUSR1);  // a pipe holds 65,536 bytes
  ::raise(SIGUSR2);
  run_once(loop, 3);
  CHECK(usr1 >= 1);
  CHECK(usr2 == 1);
}

TEST_CASE("signals are handled in the order in which they arrived", "[selector_events]") {
  EventLoop loop;
  Numbers order;
  loop.add_signal_handler(SIGUSR1, Append{&order, 1});
  loop.add_signal_handler(SIGUSR2, Append{&order, 2});
  for (const int signum : {SIGUSR2, SIGUSR1, SIGUSR2}) ::raise(signum);
  run_once(loop, 3);
  CHECK(order == Numbers{2, 1, 2});
}

TEST_CASE("each arrival of a signal is a call, also of those for which the pipe had no room", "[selector_events]") {
  EventLoop loop;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
  for (int i = 0; i < 70'000; ++i) ::raise(SIGUSR1);  // a pipe holds 65,536 bytes
  run_once(loop, 3);
  CHECK(calls == 70'000);
}

TEST_CASE("a signal handler whose handle was cancelled is removed when its signal comes",
          "[test_unix_events.test_handle_signal_cancelled_handler]") {
  struct Cancels : asyncio::Instrument {
    void before_run(const Handle& handle) override { running = handle; }
    Handle running;
  };
  EventLoop loop;
  Cancels instrument;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&] {
    ++calls;
    instrument.running.cancel();
  });
  loop.add_instrument(instrument);
  ::raise(SIGUSR1);
  run_once(loop, 2);
  ::raise(SIGUSR1);
  run_once(loop, 2);
  CHECK(calls == 1);
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a signal handler may remove itself", "[selector_events][rule-7]") {
  EventLoop loop;
  int calls = 0;
  bool removed = false;
  loop.add_signal_handler(SIGUSR1, [&, captured = Instance()] {
    ++calls;
    removed = loop.remove_signal_handler(SIGUSR1);
  });
  ::raise(SIGUSR1);
  run_once(loop, 2);
  CHECK(calls == 1);
  CHECK(removed);
  CHECK(Instance::alive() == 0);
  CHECK(action_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a signal handler that was removed is not called for a signal that arrived before", "[selector_events]") {
  EventLoop loop;
  bool called = false;
  loop.add_signal_handler(SIGUSR1, [&] { called = true; });
  ::raise(SIGUSR1);
  loop.remove_signal_handler(SIGUSR1);
  run_once(loop, 2);
  loop.add_signal_handler(SIGUSR1, [&] { called = true; });
  run_once(loop, 2);
  CHECK_FALSE(called);
}

TEST_CASE("a signal that nobody handled any more is not given to a later handler", "[selector_events]") {
  EventLoop loop;
  bool called = false;
  loop.add_signal_handler(SIGUSR1, [&] { called = true; });
  ::raise(SIGUSR1);
  loop.remove_signal_handler(SIGUSR1);
  run_once(loop);
  loop.add_signal_handler(SIGUSR1, [&] { called = true; });
  std::thread([&] { loop.call_soon_threadsafe([] {}); }).join();  // the loop looks for signals when it is woken
  run_once(loop);
  CHECK_FALSE(called);
}

TEST_CASE("a signal leaves the errno of what it interrupts, also when the pipe to the loop is full",
          "[selector_events]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  for (int i = 0; i < 70'000; ++i) ::raise(SIGUSR1);  // the pipe holds 65,536 bytes
  errno = 0;
  ::raise(SIGUSR1);
  CHECK(errno == 0);
}

TEST_CASE("system calls that a signal interrupts are restarted", "[selector_events]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  struct sigaction action;
  REQUIRE(::sigaction(SIGUSR1, nullptr, &action) == 0);
  CHECK((action.sa_flags & SA_RESTART) != 0);
}

TEST_CASE("a signal handler that throws is reported, and stays", "[selector_events][rule-6]") {
  EventLoop loop;
  std::vector<std::string> caught;
  loop.set_exception_handler(
      [&](EventLoop&, const ExceptionContext& context) { caught.push_back(asyncio::describe(context.exception)); });
  loop.add_signal_handler(SIGUSR1, [] { throw ValueError("wrong"); });
  for (int i = 0; i < 2; ++i) {
    ::raise(SIGUSR1);
    run_once(loop, 2);
  }
  CHECK(caught == std::vector<std::string>(2, "std::invalid_argument: wrong"));
}

TEST_CASE("an interrupt out of a signal handler leaves run_forever", "[selector_events][rule-6]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [] { throw KeyboardInterrupt(); });
  loop.call_soon([] { ::raise(SIGUSR1); });
  REQUIRE_THROWS_AS(loop.run_forever(), KeyboardInterrupt);
}

TEST_CASE("closing a loop brings the default actions of its signals back", "[selector_events][rule-7]") {
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [captured = Instance()] {});
  loop.add_signal_handler(SIGUSR2, [captured = Instance()] {});
  loop.close();
  CHECK(action_of(SIGUSR1) == SIG_DFL);
  CHECK(action_of(SIGUSR2) == SIG_DFL);
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
}

TEST_CASE("a loop that is destroyed brings the default actions of its signals back", "[selector_events][rule-7]") {
  {
    EventLoop loop;
    loop.add_signal_handler(SIGUSR1, [captured = Instance()] {});
  }
  CHECK(action_of(SIGUSR1) == SIG_DFL);
  CHECK(Instance::alive() == 0);
}
