// What a program may do at the wrong moment: from inside the loop's own steps, while it closes, after a fork, or with an
// object of another loop. Where a fault of the system is needed to show it, see tests/faults.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/net.hpp"

using namespace asyncio;
using test::contains, test::NetLoop, test::Numbers, test::SocketPair, test::thrown;

TEST_CASE("An instrument may remove readers of which the selector has just reported an event") {
  struct Removing : Instrument {
    explicit Removing(EventLoop& loop) : loop(loop) {}
    void after_select(std::span<const selectors::SelectorEvent>) override { remove_all(); }
    void handle_scheduled(const Handle&, const Handle&) override { remove_all(); }
    void remove_all() {
      for (const int fd : std::exchange(fds, {})) loop.remove_reader(fd);
    }
    EventLoop& loop;
    std::vector<int> fds;
  };
  EventLoop loop;
  SocketPair first, second;
  int called = 0;
  for (SocketPair* pair : {&first, &second}) {
    REQUIRE(::write(pair->b, "x", 1) == 1);
    loop.add_reader(pair->a, [&called] { ++called; });
  }
  Removing removing(loop);
  removing.fds = {first.a, second.a};
  loop.add_instrument(removing);
  loop.run_until_complete(sleep(0.001));
  CHECK(called == 0);
}

TEST_CASE("What a signal handler has captured is destroyed when the loop is closed already") {
  struct Captured {
    EventLoop& loop;
    bool& was_closed;
    ~Captured() { was_closed = loop.is_closed(); }
  };
  bool was_closed = false;
  EventLoop loop;
  loop.add_signal_handler(SIGUSR1, [captured = std::make_shared<Captured>(loop, was_closed)] {});
  loop.close();
  CHECK(was_closed);
}

TEST_CASE("Signals are handled in the order in which they arrived, each arrival once") {
  EventLoop loop;
  Numbers arrived;
  loop.add_signal_handler(SIGUSR1, [&] { arrived.push_back(1); });
  loop.add_signal_handler(SIGUSR2, [&] { arrived.push_back(2); });
  loop.call_soon([] {
    for (const int signum : {SIGUSR2, SIGUSR1, SIGUSR1, SIGUSR1}) ::raise(signum);
  });
  loop.run_until_complete(sleep(0.001));
  CHECK(arrived == Numbers{2, 1, 1, 1});
}

TEST_CASE("The child of a fork in a callback can run a loop and add signal handlers") {
  const auto main = []() -> Coroutine<int> {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 1;
      try {
        EventLoop loop;
        loop.add_signal_handler(SIGUSR1, [&] { code = 0; });
        loop.call_soon([] { ::raise(SIGUSR1); });
        loop.run_until_complete(sleep(0.001));
      } catch (...) {
        code = 2;
      }
      ::_exit(code);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    co_return status;
  };
  CHECK(run(main()) == 0);
}

TEST_CASE("A StreamReader that waits in another loop than its own raises RuntimeError") {
  EventLoop own, other;
  const StreamReader reader(100, own);
  CHECK(contains(thrown([&] { other.run_until_complete(reader.read(1)); }), "attached to a different loop"));
}

TEST_CASE("A StreamReader whose loop is gone gives what it has, then raises RuntimeError") {
  auto own = std::make_unique<EventLoop>();
  const StreamReader reader(100, *own);
  reader.feed_data("abc");
  own.reset();
  EventLoop other;
  CHECK(other.run_until_complete(reader.read(3)) == "abc");
  CHECK(thrown([&] { other.run_until_complete(reader.read(1)); }) == test::CLOSED);
}

TEST_CASE("A Process that is awaited in another loop than its own raises RuntimeError") {
  EventLoop own, other;
  const Process process = own.run_until_complete(create_subprocess_exec(std::vector<std::string>{"sleep", "5"}));
  CHECK(contains(thrown([&] { other.run_until_complete(process.wait()); }), "different event loop"));
}

TEST_CASE("write_eof() on a connection that was reset raises the error of shutdown") {
  NetLoop loop;
  loop.run([&]() -> Coroutine<void> {
    auto ends = test::tcp_pair();
    const ConnectionOptions options{.sock = ends.first.release()};
    const auto make = [] { return std::make_shared<Protocol>(); };
    const auto connected = co_await loop.create_connection(make, "", 0, options);
    connected.first->pause_reading();
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(ends.second, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ends.second.close();
    CHECK(contains(thrown([&] { connected.first->write_eof(); }), "shutdown"));
    connected.first->abort();
  });
}
