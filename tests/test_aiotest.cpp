// What every event loop that calls itself compatible with asyncio has to do.
// Upstream counterpart: the cases of `aiotest`, the old validator of asyncio implementations.
#include <functional>
#include <thread>

#include "tests/net.hpp"

using asyncio::Coroutine, asyncio::getsockname, asyncio::SocketAddress;
using test::Calls, test::CLOSED, test::NetLoop, test::receive_all, test::run_once, test::send_all, test::socket_pair;

namespace {

/// Stops a loop that would run for ever.
void limit(NetLoop& loop) {
  loop.call_later(NetLoop::LIMIT, [&loop] { loop.stop(); });
}

}  // namespace

TEST_CASE("aiotest: a reader is called when there is something to read", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  limit(loop);
  const auto [a, b] = socket_pair();
  std::string received;
  loop.add_reader(a, [&] {
    received = receive_all(a);
    CHECK(loop.remove_reader(a));
    loop.stop();
  });
  loop.call_soon([&] { send_all(b, "abc"); });
  loop.run_forever();
  CHECK(received == "abc");
}

TEST_CASE("aiotest: a second add_reader replaces the first", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  limit(loop);
  const auto [a, b] = socket_pair();
  Calls calls;
  loop.add_reader(a, [&] { calls.push_back("first"); });
  loop.add_reader(a, [&] {
    calls.push_back("second " + receive_all(a));
    loop.remove_reader(a);
    loop.stop();
  });
  send_all(b, "abc");
  loop.run_forever();
  CHECK(calls == Calls{"second abc"});
}

TEST_CASE("aiotest: a writer is called when there is room to write", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  limit(loop);
  const auto [a, b] = socket_pair();
  loop.add_writer(a, [&] {
    send_all(a, "abc");
    CHECK(loop.remove_writer(a));
    loop.stop();
  });
  loop.run_forever();
  CHECK(receive_all(b) == "abc");
}

TEST_CASE("aiotest: a second add_writer replaces the first", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  limit(loop);
  const auto [a, b] = socket_pair();
  Calls calls;
  loop.add_writer(a, [&] { calls.push_back("first"); });
  loop.add_writer(a, [&] {
    calls.push_back("second");
    loop.remove_writer(a);
    loop.stop();
  });
  loop.run_forever();
  CHECK(calls == Calls{"second"});
}

TEST_CASE("aiotest: a callback says hello", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  Calls calls;
  const auto hello = [&](const std::string& name) {
    calls.push_back("Hello " + name);
    loop.stop();
  };
  loop.call_soon(hello, "World");
  loop.run_forever();
  CHECK(calls == Calls{"Hello World"});
}

TEST_CASE("aiotest: callbacks of call_soon are called in order", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  Calls calls;
  const auto note = [&](const std::string& name) { calls.push_back(name); };
  loop.call_soon(note, "one");
  loop.call_soon(note, "two");
  loop.call_soon([&] {
    note("three");
    loop.call_soon(note, "five");
    loop.call_soon([&] { loop.stop(); });
  });
  loop.call_soon(note, "four");
  loop.run_forever();
  CHECK(calls == Calls{"one", "two", "three", "four", "five"});
}

TEST_CASE("aiotest: soon, stop, soon: the one behind the stop is still called in this run", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  Calls calls;
  loop.call_soon([&] { calls.push_back("before"); });
  loop.call_soon([&] { loop.stop(); });
  loop.call_soon([&] {
    calls.push_back("after");
    loop.call_soon([&] { calls.push_back("next run"); });
  });
  loop.run_forever();
  CHECK(calls == Calls{"before", "after"});
  run_once(loop);
  CHECK(calls == Calls{"before", "after", "next run"});
}

TEST_CASE("aiotest: later, stop, later: a timer behind the stop is not called in this run", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  Calls calls;
  const double start = loop.time();
  loop.call_later(0.010, [&] { calls.push_back("before"); });
  loop.call_later(0.020, [&] { loop.stop(); });
  const asyncio::TimerHandle behind = loop.call_later(30, [&] { calls.push_back("after"); });
  loop.run_forever();
  CHECK(calls == Calls{"before"});
  CHECK(loop.time() - start >= 0.020);
  CHECK(!behind.cancelled());
}

TEST_CASE("aiotest: a timer may repeat itself until its time is over", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  const double end = loop.time() + 0.05;
  int shown = 0;
  std::function<void()> display_date = [&] {
    ++shown;
    loop.time() + 0.01 < end ? static_cast<void>(loop.call_later(0.01, display_date)) : loop.stop();
  };
  loop.call_soon(display_date);
  loop.run_forever();
  CHECK(shown >= 2);
  CHECK(shown <= 5);
}

TEST_CASE("aiotest: a closed loop refuses every call", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  const auto [a, b] = socket_pair();
  loop.close();
  CHECK(loop.is_closed());
  const auto nothing = [] {};
  const auto hello = []() -> Coroutine<> { co_return; };
  CHECK(test::thrown([&] { return loop.call_soon(nothing); }) == CLOSED);
  CHECK(test::thrown([&] { return loop.call_soon_threadsafe(nothing), 0; }) == CLOSED);
  CHECK(test::thrown([&] { return loop.call_later(1, nothing); }) == CLOSED);
  CHECK(test::thrown([&] { return loop.call_at(loop.time() + 1, nothing); }) == CLOSED);
  CHECK(test::thrown([&] { return loop.add_reader(a, nothing), 0; }) == CLOSED);
  CHECK(test::thrown([&] { return loop.add_writer(a, nothing), 0; }) == CLOSED);
  CHECK(test::thrown([&] { return loop.run_forever(), 0; }) == CLOSED);
  CHECK(test::thrown([&] { return loop.run_until_complete(hello()), 0; }) == CLOSED);
  CHECK(test::thrown([&] { return loop.run_in_executor(nullptr, nothing); }) == CLOSED);
  loop.close();  // but this
}

TEST_CASE("aiotest: a loop runs twice", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  Calls calls;
  for (const std::string name : {"first", "second"}) {
    loop.call_soon([&] {
      calls.push_back(name);
      loop.stop();
    });
    loop.run_forever();
  }
  CHECK(calls == Calls{"first", "second"});
}

TEST_CASE("aiotest: a coroutine runs to its result", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  const auto hello = []() -> Coroutine<std::string> {
    co_await asyncio::sleep(0.001);
    co_return "Hello World";
  };
  CHECK(loop.run_until_complete(hello()) == "Hello World");
}

TEST_CASE("aiotest: a coroutine waits for a future", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  asyncio::Future<int> future = loop.create_future<int>();
  const auto waiter = [&]() -> Coroutine<int> { co_return co_await future * 2; };
  loop.call_later(0.001, [&] { future.set_result(21); });
  CHECK(loop.run(waiter()) == 42);
}

TEST_CASE("aiotest: a TCP client says hello, and a server answers", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  struct Server : asyncio::Protocol {
    void connection_made(std::shared_ptr<asyncio::Transport> made) override { transport = std::move(made); }
    void data_received(std::string_view data) override {
      transport->write("re: " + std::string(data));
      transport->close();
    }
    void connection_lost(std::exception_ptr) override { transport = nullptr; }
    std::shared_ptr<asyncio::Transport> transport;
  };
  const auto make_server = [] { return std::make_shared<Server>(); };
  const auto make_client = [] { return std::make_shared<test::Recorder>(); };
  loop.run([&]() -> Coroutine<> {
    const asyncio::Server server = co_await loop.create_server(make_server, "127.0.0.1", 0);
    const auto [transport, protocol] =
        co_await loop.create_connection(make_client, "127.0.0.1", server.sockets()[0].port());
    test::Recorder& client = *protocol;
    transport->write("hello");
    co_await test::until([&] { return client.lost == 1; });
    CHECK(client.calls == Calls{"made", "data", "eof", "lost"});
    CHECK(client.data == "re: hello");
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("aiotest: another thread calls into a loop that waits", "[aiotest]") {
  NetLoop loop(EVERY_SELECTOR);
  limit(loop);
  std::thread::id called_in;
  std::thread thread([&] {
    loop.call_soon_threadsafe([&] {
      called_in = std::this_thread::get_id();
      loop.stop();
    });
  });
  loop.run_forever();
  thread.join();
  CHECK(called_in == std::this_thread::get_id());
}
