// Transports of datagrams and their protocols, over real sockets.
// Upstream counterpart: Lib/test/test_asyncio/test_selector_events.py, SelectorDatagramTransportTests.
#include <signal.h>

#include "tests/net.hpp"

using asyncio::Coroutine, asyncio::getsockname, asyncio::holds;
using asyncio::SocketAddress;
using asyncio::ValueError;
using test::Calls, test::code_of, test::DatagramRecorder;
using test::endpoint, test::Endpoint, test::Fd, test::is_open;
using test::NetLoop, test::raised, test::receive;
using test::until, test::unused_address;

TEST_CASE("An endpoint without a remote address receives from anybody and answers the sender",
          "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Endpoint e = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    e.protocol->on_datagram = [](DatagramRecorder& self) { self.transport->sendto("pong", self.sender); };
    const SocketAddress address = e.transport->get_extra_info("sockname").value();
    CHECK(address.port() != 0);
    CHECK(e.transport->get_extra_info("peername") == std::nullopt);
    const Fd one = test::bound_socket(SOCK_DGRAM), two = test::bound_socket(SOCK_DGRAM);
    for (const Fd* client : {&one, &two}) {
      co_await loop.sock_sendto(*client, "ping", address);
      const auto [data, from] = co_await loop.sock_recvfrom(*client, 100);
      CHECK(data == "pong");
      CHECK(from == address);
      CHECK(e.protocol->sender == getsockname(*client));
    }
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
    CHECK(e.protocol->calls == Calls{"made", "datagram ping", "datagram ping", "lost"});
  });
}

TEST_CASE("An endpoint with a remote address sends to it, and to no other", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd server = test::bound_socket(SOCK_DGRAM), stranger = test::bound_socket(SOCK_DGRAM);
    const SocketAddress address = getsockname(server);
    const Endpoint e = co_await endpoint(loop, std::nullopt, address);
    CHECK(e.transport->get_extra_info("peername") == address);
    e.transport->sendto("one");
    e.transport->sendto("two", address);
    const auto [one, from] = co_await loop.sock_recvfrom(server, 100);
    const auto [two, again] = co_await loop.sock_recvfrom(server, 100);
    CHECK(one == "one");
    CHECK(two == "two");
    CHECK(from == e.transport->get_extra_info("sockname"));
    CHECK(test::thrown([&] { return e.transport->sendto("x", getsockname(stranger)), 0; }) ==
          "std::invalid_argument: Invalid address: must be None or " + address.str());
    // Nor does it hear of any other.
    co_await loop.sock_sendto(stranger, "from a stranger", from);
    co_await loop.sock_sendto(server, "from the server", from);
    co_await until([&] { return e.protocol->calls.size() == 2; });
    CHECK(e.protocol->calls == Calls{"made", "datagram from the server"});
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
  });
}

TEST_CASE("An endpoint needs an address of its own or one to send to", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const std::exception_ptr error = co_await raised(endpoint(loop, std::nullopt));
    CHECK(holds<ValueError>(error));
    const Endpoint e = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    CHECK(test::thrown([&] { return e.transport->sendto("x"), 0; }).starts_with("std::invalid_argument"));
    const std::exception_ptr in_use = co_await raised(endpoint(loop, e.transport->get_extra_info("sockname")));
    CHECK(code_of(in_use) == EADDRINUSE);
    e.transport->abort();
    co_await until([&] { return e.protocol->lost == 1; });
  });
}

TEST_CASE("A datagram that nobody hears is error_received with ECONNREFUSED, and the endpoint goes on",
          "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const SocketAddress nobody = unused_address(SOCK_DGRAM);
    const Endpoint e = co_await endpoint(loop, std::nullopt, nobody);
    e.transport->sendto("hello?");
    co_await until([&] { return e.protocol->calls.size() == 2; });
    CHECK(e.protocol->calls[1] == "error " + std::to_string(ECONNREFUSED));
    CHECK(!e.transport->is_closing());
    const Fd somebody = test::make_socket(SOCK_DGRAM);
    REQUIRE(::bind(somebody, nobody.data(), nobody.size()) == 0);
    e.transport->sendto("now?");
    const auto [data, from] = co_await loop.sock_recvfrom(somebody, 100);
    CHECK(data == "now?");
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
    CHECK(e.protocol->error == nullptr);
  });
}

TEST_CASE("A datagram that is too long is error_received, not an exception of sendto", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd server = test::bound_socket(SOCK_DGRAM);
    const Endpoint e = co_await endpoint(loop, std::nullopt, getsockname(server));
    e.transport->sendto(std::string(100'000, 'x'));
    CHECK(e.protocol->calls == Calls{"made", "error " + std::to_string(EMSGSIZE)});
    e.transport->sendto("short");
    const auto [data, from] = co_await loop.sock_recvfrom(server, 100);
    CHECK(data == "short");
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
  });
}

TEST_CASE("An empty datagram is sent and received", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Endpoint server = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    const Endpoint client = co_await endpoint(loop, std::nullopt, server.transport->get_extra_info("sockname"));
    client.transport->sendto("");
    co_await until([&] { return server.protocol->calls.size() == 2; });
    CHECK(server.protocol->calls == Calls{"made", "datagram "});
    server.transport->close();
    client.transport->close();
    co_await until([&] { return server.protocol->lost + client.protocol->lost == 2; });
  });
}

namespace {

/// A UNIX datagram socket whose queue is full: who sends to it has to wait.
class FullReceiver {
 public:
  FullReceiver() : fd_(test::make_socket(SOCK_DGRAM, AF_UNIX)) {
    static int number = 0;
    std::string name = "asyncio-full-" + std::to_string(getpid()) + "-" + std::to_string(++number);
    name.insert(0, 1, '\0');
    address = SocketAddress::unix_path(name);
    REQUIRE(::bind(fd_, address.data(), address.size()) == 0);
    const Fd filler = test::make_socket(SOCK_DGRAM, AF_UNIX);
    REQUIRE(::connect(filler, address.data(), address.size()) == 0);
    while (::send(filler, "filler", 6, 0) == 6) ++fillers_;
    REQUIRE(errno == EAGAIN);
  }
  /// All that is in the queue but the fillers.
  Calls receive() {
    Calls all;
    char bytes[100];
    for (ssize_t n; (n = ::recv(fd_, bytes, sizeof bytes, 0)) >= 0;) {
      if (fillers_ == 0) all.emplace_back(bytes, static_cast<std::size_t>(n));
      if (fillers_ > 0) --fillers_;
    }
    return all;
  }
  SocketAddress address;

 private:
  Fd fd_;
  int fillers_ = 0;
};

}  // namespace

TEST_CASE("Datagrams that cannot be sent are buffered and sent later, in order, before the endpoint closes",
          "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    FullReceiver receiver;
    const Endpoint e = co_await endpoint(loop, std::nullopt, receiver.address);
    e.transport->sendto("one");
    e.transport->sendto("");
    e.transport->sendto("three");
    CHECK(e.transport->get_write_buffer_size() == 3 + 5 + 3 * 8);  // each has a header of 8 bytes
    e.transport->close();
    CHECK(e.transport->is_closing());
    Calls received = receiver.receive();
    co_await until([&] { return e.protocol->lost == 1; });
    for (const std::string& data : receiver.receive()) received.push_back(data);
    CHECK(received == Calls{"one", "", "three"});
    CHECK(e.transport->get_write_buffer_size() == 0);
    CHECK(e.protocol->calls == Calls{"made", "lost"});
  });
}

TEST_CASE("An endpoint that is aborted drops its buffer", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    FullReceiver receiver;
    const Endpoint e = co_await endpoint(loop, std::nullopt, receiver.address);
    e.transport->sendto("one");
    e.transport->abort();
    CHECK(e.transport->get_write_buffer_size() == 0);
    receiver.receive();
    co_await until([&] { return e.protocol->lost == 1; });
    CHECK(receiver.receive() == Calls());
    e.transport->sendto("two");
    CHECK(receiver.receive() == Calls());
  });
}

TEST_CASE("An endpoint pauses its protocol above the high-water mark, too", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    FullReceiver receiver;
    const Endpoint e = co_await endpoint(loop, std::nullopt, receiver.address);
    e.transport->set_write_buffer_limits({.high = 20, .low = 0});
    e.transport->sendto("one");
    CHECK(e.protocol->calls == Calls{"made"});
    e.transport->sendto("two");
    CHECK(e.protocol->calls == Calls{"made", "pause"});
    receiver.receive();
    co_await until([&] { return e.protocol->calls.size() == 3; });
    CHECK(e.protocol->calls == Calls{"made", "pause", "resume"});
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
  });
}

TEST_CASE("A buffered datagram that fails is error_received, and the ones behind it are sent",
          "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool aborts = GENERATE(false, true);
  loop.run([&]() -> Coroutine<> {
    FullReceiver receiver;
    SocketAddress nobody = SocketAddress::unix_path(std::string("\0nobody-", 8) + std::to_string(getpid()));
    const SocketAddress own = SocketAddress::unix_path(std::string("\0sender-", 8) + std::to_string(getpid()));
    const Endpoint e = co_await endpoint(loop, own);
    e.protocol->on_error = [aborts](DatagramRecorder& self) {
      if (aborts) self.transport->abort();
    };
    e.transport->sendto("one", receiver.address);
    e.transport->sendto("two", nobody);
    e.transport->sendto("three", receiver.address);
    CHECK(e.protocol->calls == Calls{"made"});
    Calls received = receiver.receive();
    co_await until([&] { return e.protocol->calls.size() >= 2; });
    CHECK(e.protocol->calls[1] == "error " + std::to_string(ECONNREFUSED));
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
    for (const std::string& data : receiver.receive()) received.push_back(data);
    CHECK(received == (aborts ? Calls{"one"} : Calls{"one", "three"}));
  });
}

TEST_CASE("An exception in datagram_received is reported, and the endpoint goes on", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Endpoint e = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    e.protocol->on_datagram = [](DatagramRecorder& self) {
      if (self.calls.size() == 2) throw ValueError("bad datagram");
    };
    const Fd client = test::make_socket(SOCK_DGRAM);
    const SocketAddress address = e.transport->get_extra_info("sockname").value();
    co_await loop.sock_sendto(client, "one", address);
    co_await loop.sock_sendto(client, "two", address);
    co_await until([&] { return e.protocol->calls.size() == 3; });
    CHECK(e.protocol->calls == Calls{"made", "datagram one", "datagram two"});
    const auto reports = loop.reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].ends_with("| std::invalid_argument: bad datagram"));
    e.transport->close();
    co_await until([&] { return e.protocol->lost == 1; });
  });
}

TEST_CASE("An endpoint that is closed in datagram_received hears no more", "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Endpoint e = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    e.protocol->on_datagram = [](DatagramRecorder& self) { self.transport->close(); };
    const Fd client = test::make_socket(SOCK_DGRAM);
    const SocketAddress address = e.transport->get_extra_info("sockname").value();
    const int fd = e.transport->fd();
    co_await loop.sock_sendto(client, "one", address);
    co_await loop.sock_sendto(client, "two", address);
    co_await until([&] { return e.protocol->lost == 1; });
    CHECK(e.protocol->calls == Calls{"made", "datagram one", "lost"});
    CHECK(!is_open(fd));
  });
}

TEST_CASE("An endpoint without a remote address still sends after close(), until connection_lost",
          "[transports][datagram]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Endpoint e = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    const Fd receiver = test::bound_socket(SOCK_DGRAM);
    e.transport->close();
    e.transport->sendto("still there", getsockname(receiver));
    const auto [data, from] = co_await loop.sock_recvfrom(receiver, 100);
    CHECK(data == "still there");
    co_await until([&] { return e.protocol->lost == 1; });
    e.transport->sendto("too late", getsockname(receiver));
    CHECK(e.protocol->calls == Calls{"made", "lost"});
  });
}

TEST_CASE("a transport class that does not override get_write_buffer_limits has none",
          "[transports][test_transports.test_not_implemented]") {
  struct Sink final : asyncio::DatagramTransport {
    void close() override {}
    void abort() override {}
    bool is_closing() const override { return false; }
    std::optional<asyncio::SocketAddress> get_extra_info(std::string_view) const override { return {}; }
    int fd() const override { return -1; }
    void set_write_buffer_limits(asyncio::WriteBufferLimits) override {}
    std::size_t get_write_buffer_size() const override { return 0; }
    void sendto(std::string_view, std::optional<asyncio::SocketAddress>) override {}
  } sink;
  CHECK(test::thrown([&] { sink.get_write_buffer_limits(); }) == "std::runtime_error: not implemented");
}
