// Servers and the connections to them: which addresses, who may connect, what closes when.
// Upstream counterpart: Lib/test/test_asyncio/test_server.py, create_connection and create_server of test_base_events.py
// and test_events.py, and the UNIX servers of test_unix_events.py.
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "tests/net.hpp"

using asyncio::CancelledError, asyncio::OSError, asyncio::RuntimeError, asyncio::ValueError;
using asyncio::Coroutine, asyncio::create_task, asyncio::describe, asyncio::getsockname, asyncio::holds;
using asyncio::Server, asyncio::sleep, asyncio::SocketAddress, asyncio::Task, asyncio::Transport;
using test::Calls, test::code_of, test::digits, test::Fd, test::Instance, test::is_open, test::MEGABYTE, test::NetLoop;
using test::raised, test::Recorder, test::send_all, test::until, test::unused_address;

namespace {

/// Makes recorders, and keeps them.
struct Factory {
  std::shared_ptr<Recorder> operator()() const {
    made->push_back(std::make_shared<Recorder>());
    return made->back();
  }
  Recorder& operator[](std::size_t i) const { return *made->at(i); }
  std::size_t size() const { return made->size(); }
  std::size_t lost() const {
    return static_cast<std::size_t>(std::ranges::count_if(*made, [](const auto& p) { return p->lost == 1; }));
  }
  std::shared_ptr<std::vector<std::shared_ptr<Recorder>>> made =
      std::make_shared<std::vector<std::shared_ptr<Recorder>>>();
};

/// Sends back what it hears.
struct Echo : asyncio::Protocol {
  void connection_made(std::shared_ptr<Transport> made) override { transport = std::move(made); }
  void data_received(std::string_view data) override { transport->write(data); }
  void connection_lost(std::exception_ptr) override { transport = nullptr; }
  std::shared_ptr<Transport> transport;
  Instance instance;
};
const auto make_echo = [] { return std::make_shared<Echo>(); };
const auto make_recorder = [] { return std::make_shared<Recorder>(); };

/// A client that blocks: the kernel connects it before anybody accepts.
Fd connect_to(const SocketAddress& address) {
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd >= 0);
  REQUIRE(::connect(fd, address.data(), address.size()) == 0);
  asyncio::set_blocking(fd, false);
  return fd;
}

int connect_error(const SocketAddress& address) {
  const Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(fd, address.data(), address.size()) == 0 ? 0 : errno;
}

/// Says "hello" and hears the answer.
Coroutine<std::string> ask(asyncio::EventLoop& loop, SocketAddress address) {
  const Fd fd = connect_to(address);
  co_await loop.sock_sendall(fd, "hello");
  co_return co_await loop.sock_recv(fd, 100);
}

/// The other end has closed.
bool at_end(int fd) {
  char byte;
  return ::recv(fd, &byte, 1, MSG_PEEK) == 0;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

/// A directory for the files of UNIX sockets.
struct SocketDirectory : test::TemporaryDirectory {
  SocketDirectory() { REQUIRE(exists(*this / "")); }
};

bool has_ipv6() {
  const Fd fd(::socket(AF_INET6, SOCK_STREAM, 0));
  const SocketAddress address("::1", 0);
  return fd >= 0 && ::bind(fd, address.data(), address.size()) == 0;
}

}  // namespace

// ---- Addresses

TEST_CASE("Port 0 is a free port of the kernel's choice, which sockets() tells", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server one = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    const Server two = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    REQUIRE(one.sockets().size() == 1);
    CHECK(one.sockets()[0].host() == "127.0.0.1");
    CHECK(one.sockets()[0].port() > 0);
    CHECK(one.sockets()[0].port() != two.sockets()[0].port());
    CHECK(one.is_serving());
    const std::string answer = co_await ask(loop, one.sockets()[0]);
    CHECK(answer == "hello");
    one.close();
    two.close();
    CHECK(one.sockets().empty());
    CHECK(!one.is_serving());
  });
}

TEST_CASE("A server listens on every address of its host", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "localhost", 0);
    const auto addresses = co_await loop.getaddrinfo("localhost", "0");
    std::set<std::string> hosts, listening;
    for (const SocketAddress& address : addresses) hosts.insert(address.host());
    for (const SocketAddress& address : server.sockets()) listening.insert(address.host());
    CHECK(listening.contains("127.0.0.1"));
    CHECK(listening == hosts);
    CHECK(server.sockets().size() == listening.size());
    for (const SocketAddress& address : server.sockets()) {
      const std::string answer = co_await ask(loop, address);
      CHECK(answer == "hello");
    }
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("No host is every interface", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "", 0);
    for (const SocketAddress& address : server.sockets()) {
      const SocketAddress loopback(address.family() == AF_INET6 ? "::1" : "127.0.0.1", address.port());
      const std::string answer = co_await ask(loop, loopback);
      CHECK(answer == "hello");
    }
    CHECK(server.sockets().size() == (has_ipv6() ? 2 : 1));
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("A server on IPv6 serves IPv6 alone", "[server]") {
  if (!has_ipv6()) return;
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "::", 0);
    const int port = server.sockets()[0].port();
    const std::string answer = co_await ask(loop, SocketAddress("::1", port));
    CHECK(answer == "hello");
    CHECK(connect_error(SocketAddress("127.0.0.1", port)) == ECONNREFUSED);
    const auto [transport, protocol] = co_await loop.create_connection(make_recorder, "::1", port);
    CHECK(transport->get_extra_info("peername")->str() == "[::1]:" + std::to_string(port));
    transport->abort();
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("An address in use is an error that names it", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    const SocketAddress address = server.sockets()[0];
    const std::exception_ptr error = co_await raised(loop.create_server(make_echo, "127.0.0.1", address.port()));
    CHECK(code_of(error) == EADDRINUSE);
    CHECK(describe(error) == test::SYSTEM_ERROR + ": error while attempting to bind on address " + address.str() +
                                 ": Address already in use");
    server.close();
    const Server again = co_await loop.create_server(make_echo, "127.0.0.1", address.port());
    CHECK(again.sockets()[0] == address);
    again.close();
  });
}

TEST_CASE("An address that is not this machine's is an error", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const std::exception_ptr error = co_await raised(loop.create_server(make_echo, "192.0.2.1", 0));
    CHECK(code_of(error) == EADDRNOTAVAIL);
  });
}

TEST_CASE("A port that does not exist is a ValueError", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const std::exception_ptr too_high = co_await raised(loop.create_server(make_echo, "127.0.0.1", 70'000));
    CHECK(describe(too_high) == "std::invalid_argument: port 70000 is not in 0-65535");
    const std::exception_ptr negative = co_await raised(loop.create_connection(make_recorder, "127.0.0.1", -1));
    CHECK(describe(negative) == "std::invalid_argument: port -1 is not in 0-65535");
  });
}

TEST_CASE("With reuse_port several servers share a port", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const asyncio::ServerOptions shared{.reuse_port = true};
    const Server one = co_await loop.create_server(make_echo, "127.0.0.1", 0, shared);
    const Server two = co_await loop.create_server(make_echo, "127.0.0.1", one.sockets()[0].port(), shared);
    CHECK(one.sockets() == two.sockets());
    for (int i = 0; i < 10; ++i) {
      const std::string answer = co_await ask(loop, one.sockets()[0]);
      CHECK(answer == "hello");
    }
    one.close();
    two.close();
    co_await one.wait_closed();
    co_await two.wait_closed();
  });
}

TEST_CASE("A server takes over a bound socket", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Fd socket = test::bound_socket();
    const int fd = socket;
    const SocketAddress address = getsockname(socket);
    const asyncio::ServerOptions options{.sock = socket.release()};
    const Server server = co_await loop.create_server(make_echo, "", 0, options);
    CHECK(server.sockets() == std::vector<SocketAddress>{address});
    const std::string answer = co_await ask(loop, address);
    CHECK(answer == "hello");
    server.close();
    CHECK(!is_open(fd));
    co_await server.wait_closed();
  });
}

// ---- Serving

TEST_CASE("A server that does not start serving accepts nobody until it does", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const asyncio::ServerOptions later{.start_serving = false};
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0, later);
    CHECK(!server.is_serving());
    const SocketAddress address = server.sockets()[0];
    CHECK(connect_error(address) == ECONNREFUSED);
    co_await server.start_serving();
    CHECK(server.is_serving());
    co_await server.start_serving();
    const Fd client = connect_to(address);
    co_await until([&] { return clients.size() == 1; });
    server.close();
    server.close_clients();
    co_await server.wait_closed();
  });
}

TEST_CASE("With a backlog of one a server serves one client after another", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const asyncio::ServerOptions options{.backlog = 1};
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0, options);
    for (int i = 0; i < 20; ++i) {
      const std::string answer = co_await ask(loop, server.sockets()[0]);
      CHECK(answer == "hello");
    }
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("Fifty clients that connect at the same time are all accepted", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    std::vector<Fd> queued;
    for (int i = 0; i < 50; ++i) queued.push_back(connect_to(server.sockets()[0]));
    co_await until([&] { return clients.size() == 50; });
    for (std::size_t i = 0; i < 50; ++i) send_all(queued[i], std::to_string(i));
    co_await until([&] { return std::ranges::none_of(*clients.made, [](const auto& p) { return p->data.empty(); }); });
    std::set<std::string> heard;
    for (std::size_t i = 0; i < 50; ++i) heard.insert(clients[i].data);
    CHECK(heard.size() == 50);
    queued.clear();
    co_await until([&] { return clients.lost() == 50; });
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("Clients that wait already are accepted in one iteration", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    std::vector<Fd> queued;
    for (int i = 0; i < 5; ++i) queued.push_back(connect_to(server.sockets()[0]));
    while (clients.size() == 0) co_await sleep(0);
    CHECK(clients.size() == 5);
    queued.clear();
    co_await until([&] { return clients.lost() == 5; });
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("Each connection has a protocol of its own", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    const Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    send_all(one, "one");
    send_all(two, "two");
    co_await until([&] { return clients.size() == 2 && clients[0].data + clients[1].data == "onetwo"; });
    CHECK(clients[0].transport->get_extra_info("peername") == getsockname(one));
    CHECK(clients[1].transport->get_extra_info("peername") == getsockname(two));
    CHECK(clients[0].transport->get_extra_info("sockname") == server.sockets()[0]);
    server.close();
    server.close_clients();
    co_await server.wait_closed();
  });
}

TEST_CASE("A factory that throws is reported in debug mode, its connection is closed, and the server goes on",
          "[server]") {
  const bool debug = GENERATE(false, true);
  NetLoop loop(EVERY_SELECTOR);
  loop.set_debug(debug);
  loop.run([&]() -> Coroutine<> {
    int calls = 0;
    const auto factory = [&]() -> std::shared_ptr<Echo> {
      if (++calls <= 2) throw ValueError("not today");
      return std::make_shared<Echo>();
    };
    const Server server = co_await loop.create_server(factory, "127.0.0.1", 0);
    const Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    co_await until([&] { return at_end(one) && at_end(two); });
    const std::string answer = co_await ask(loop, server.sockets()[0]);
    CHECK(answer == "hello");
    const Calls reports = loop.reports();
    CHECK(reports.size() == (debug ? 2 : 0));
    for (const std::string& report : reports) {
      CHECK(report == "Error on transport creation for incoming connection | std::invalid_argument: not today");
    }
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("A server that is closed from its factory drops that connection", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    std::optional<Server> server;
    const auto protocol = std::make_shared<Recorder>();
    const auto factory = [&] {
      server->close();
      return protocol;
    };
    server = co_await loop.create_server(factory, "127.0.0.1", 0);
    const Fd client = connect_to(server->sockets()[0]);
    co_await until([&] { return at_end(client); });
    CHECK(protocol->calls.empty());
    co_await server->wait_closed();
  });
}

TEST_CASE("Each connection is accepted by a task of its own", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    std::set<std::string> names;
    const auto factory = [&] {
      names.insert(asyncio::current_task().get_name());
      return std::make_shared<Echo>();
    };
    const Server server = co_await loop.create_server(factory, "127.0.0.1", 0);
    const Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    co_await until([&] { return Instance::alive() == 2; });
    CHECK(names.size() == 2);
    server.close();
    server.close_clients();
    co_await server.wait_closed();
  });
}

// ---- Closing

TEST_CASE("close refuses new clients, and the connections go on", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    const SocketAddress address = server.sockets()[0];
    const Fd client = connect_to(address);
    co_await until([&] { return Instance::alive() == 1; });
    server.close();
    server.close();
    CHECK(!server.is_serving());
    CHECK(connect_error(address) == ECONNREFUSED);
    send_all(client, "still there?");
    const std::string answer = co_await loop.sock_recv(client, 100);
    CHECK(answer == "still there?");
    Task<void> closed = create_task(server.wait_closed());
    co_await sleep(0);
    CHECK(!closed.done());
    ::shutdown(client, SHUT_WR);
    co_await closed;
    CHECK(at_end(client));
  });
}

TEST_CASE("wait_closed waits for close and for the last connection", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    const Task<void> without_clients = create_task(server.wait_closed());
    co_await sleep(0);
    CHECK(!without_clients.done());
    Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    co_await until([&] { return clients.size() == 2; });
    const Task<void> with_clients = create_task(server.wait_closed());
    server.close();
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    const Task<void> after_close = create_task(server.wait_closed());
    one.close();
    co_await until([&] { return clients.lost() == 1; });
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    CHECK(!without_clients.done());
    CHECK(!with_clients.done());
    CHECK(!after_close.done());
    two.close();
    co_await without_clients;
    co_await with_clients;
    co_await after_close;
    CHECK(clients.lost() == 2);
    co_await server.wait_closed();
  });
}

TEST_CASE("wait_closed returns when the server and its last client close at the same time", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    const Task<void> waiter = create_task(server.wait_closed());
    co_await sleep(0);
    const Fd client = connect_to(server.sockets()[0]);
    co_await until([&] { return clients.size() == 1 && clients[0].transport; });
    loop.call_soon([&] { server.close(); });
    loop.call_soon([&] { clients[0].transport->close(); });
    co_await server.wait_closed();
    co_await waiter;
  });
}

TEST_CASE("A waiter of wait_closed that is cancelled does not disturb the others", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    Task<void> one = create_task(server.wait_closed()), two = create_task(server.wait_closed());
    co_await sleep(0);
    one.cancel();
    co_await sleep(0);
    server.close();
    co_await two;
    const std::exception_ptr error = co_await raised(std::move(one));
    CHECK(holds<CancelledError>(error));
  });
}

TEST_CASE("close_clients closes every connection, after what it has to send", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    const Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    co_await until([&] { return clients.size() == 2 && clients[1].transport; });
    clients[0].transport->write(digits(4 * MEGABYTE));
    const Task<void> waiter = create_task(server.wait_closed());
    server.close();
    server.close_clients();
    server.close_clients();
    co_await until([&] { return clients[1].lost == 1; });
    CHECK(clients[0].lost == 0);
    CHECK(!waiter.done());
    std::string received;
    for (std::string data = "?"; !data.empty(); received += data) data = co_await loop.sock_recv(one, 1 << 16);
    CHECK(received == digits(4 * MEGABYTE));
    co_await waiter;
    CHECK(clients.lost() == 2);
  });
}

TEST_CASE("abort_clients drops every connection at once", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    const Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    co_await until([&] { return clients.size() == 2 && clients[1].transport; });
    clients[0].transport->write(digits(20 * MEGABYTE));
    CHECK(clients[0].transport->get_write_buffer_size() > 0);
    const Task<void> waiter = create_task(server.wait_closed());
    co_await sleep(0);
    server.close();
    server.abort_clients();
    co_await sleep(0);
    co_await sleep(0);
    CHECK(waiter.done());
    CHECK(clients.lost() == 2);
  });
}

TEST_CASE("close_clients and abort_clients reach connections whose protocol does not keep the transport", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool aborts = GENERATE(false, true);
  loop.run([&]() -> Coroutine<> {
    struct Silent : asyncio::Protocol {
      explicit Silent(int& lost) : lost(lost) {}
      void connection_lost(std::exception_ptr) override { ++lost; }
      int& lost;
      Instance instance;
    };
    int lost = 0;
    const auto factory = [&] { return std::make_shared<Silent>(lost); };
    const Server server = co_await loop.create_server(factory, "127.0.0.1", 0);
    const Fd one = connect_to(server.sockets()[0]), two = connect_to(server.sockets()[0]);
    co_await until([&] { return Instance::alive() == 2; });
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    aborts ? server.abort_clients() : server.close_clients();
    co_await until([&] { return lost == 2; });
    CHECK(at_end(one));
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("A server that nobody refers to serves on", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    SocketAddress address;
    {
      const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
      address = server.sockets()[0];
    }
    const std::string answer = co_await ask(loop, address);
    CHECK(answer == "hello");
    co_await until([] { return Instance::alive() == 0; });
  });
}

TEST_CASE("A server may outlive its loop", "[server]") {
  std::optional<Server> server;
  {
    NetLoop loop(EVERY_SELECTOR);
    loop.run([&]() -> Coroutine<> {
      server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
      const std::string answer = co_await ask(loop, server->sockets()[0]);
      CHECK(answer == "hello");
    });
  }
  CHECK(Instance::alive() == 0);
  server->close();
  CHECK(server->sockets().empty());
  CHECK(!server->is_serving());
}

TEST_CASE("A server that outlives its loop has no clients any more", "[server]") {
  std::optional<Server> server;
  Fd client;
  {
    NetLoop loop(EVERY_SELECTOR);
    loop.run([&]() -> Coroutine<> {
      server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
      client = connect_to(server->sockets()[0]);
      co_await until([] { return Instance::alive() == 1; });
    });
  }
  server->close_clients();
  server->abort_clients();
  server->close();
  CHECK(at_end(client));
}

TEST_CASE("start_serving of a closed server is an error", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    server.close();
    const std::exception_ptr error = co_await raised(server.start_serving());
    CHECK(holds<RuntimeError>(error));
    CHECK(!server.is_serving());
  });
}

// ---- serve_forever

TEST_CASE("serve_forever serves until it is cancelled, which closes the server", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const asyncio::ServerOptions later{.start_serving = false};
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0, later);
    const SocketAddress address = server.sockets()[0];
    CHECK(!server.is_serving());
    Task<void> task = create_task(server.serve_forever());
    co_await until([&] { return server.is_serving(); });
    const std::string answer = co_await ask(loop, address);
    CHECK(answer == "hello");
    task.cancel();
    const std::exception_ptr error = co_await raised(std::move(task));
    CHECK(holds<CancelledError>(error));
    CHECK(!server.is_serving());
    CHECK(server.sockets().empty());
    CHECK(connect_error(address) == ECONNREFUSED);
  });
}

TEST_CASE("serve_forever that is cancelled waits for the connections", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    Task<void> task = create_task(server.serve_forever());
    Fd client = connect_to(server.sockets()[0]);
    co_await until([&] { return clients.size() == 1; });
    task.cancel();
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    CHECK(!server.is_serving());
    CHECK(!task.done());
    client.close();
    const std::exception_ptr error = co_await raised(std::move(task));
    CHECK(holds<CancelledError>(error));
  });
}

TEST_CASE("close ends serve_forever with CancelledError", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    const Task<void> task = create_task(server.serve_forever());
    co_await sleep(0);
    server.close();
    const std::exception_ptr error = co_await raised(task);
    CHECK(holds<CancelledError>(error));
  });
}

TEST_CASE("A second serve_forever is refused, and one on a closed server", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    Task<void> task = create_task(server.serve_forever());
    co_await sleep(0);
    const std::exception_ptr twice = co_await raised(server.serve_forever());
    CHECK(describe(twice).find("already being awaited on serve_forever()") != std::string::npos);
    CHECK(server.is_serving());
    server.close();
    co_await raised(std::move(task));
    const std::exception_ptr closed = co_await raised(server.serve_forever());
    CHECK(describe(closed).find("is closed") != std::string::npos);
    CHECK(holds<RuntimeError>(closed));
  });
}

// ---- Connections

// No host is two addresses, 0.0.0.0 and ::, on every machine: who connects to them reaches the loopback interface.
TEST_CASE("create_connection tries one address after another", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  if (!has_ipv6()) return;
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "::1", 0);
    const int port = server.sockets()[0].port();
    const auto [transport, protocol] = co_await loop.create_connection(make_recorder, "", port);
    CHECK(transport->get_extra_info("peername")->host() == "::1");
    transport->close();
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("When one address refuses, the error says which", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const SocketAddress nobody = unused_address();
    int made = 0;
    const auto factory = [&] { return ++made, std::make_shared<Recorder>(); };
    const std::exception_ptr error = co_await raised(loop.create_connection(factory, "127.0.0.1", nobody.port()));
    CHECK(code_of(error) == ECONNREFUSED);
    CHECK(describe(error) == test::SYSTEM_ERROR + ": Connect call failed " + nobody.str() + ": Connection refused");
    CHECK(made == 0);
  });
}

TEST_CASE("When all addresses refuse, the error names them all", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const SocketAddress nobody = unused_address();
    const std::exception_ptr error = co_await raised(loop.create_connection(make_recorder, "", nobody.port()));
    CHECK(holds<OSError>(error));
    const std::string text = describe(error), port = std::to_string(nobody.port());
    CHECK(text.find("Multiple exceptions: ") != std::string::npos);
    CHECK(text.find("Connect call failed 0.0.0.0:" + port) != std::string::npos);
    if (has_ipv6()) CHECK(text.find("Connect call failed [::]:" + port) != std::string::npos);
  });
}

TEST_CASE("A name that does not exist is the resolver's error", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const std::exception_ptr error = co_await raised(loop.create_connection(make_recorder, "no such host!", 80));
    CHECK(holds<OSError>(error));
    CHECK(describe(error).find("'no such host!'") != std::string::npos);
  });
}

TEST_CASE("create_connection connects from the local address it is given", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Factory clients;
    const Server server = co_await loop.create_server(clients, "127.0.0.1", 0);
    const int port = server.sockets()[0].port();
    const SocketAddress local = unused_address();
    const asyncio::ConnectionOptions from{.local_addr = local};
    const auto [transport, protocol] = co_await loop.create_connection(make_recorder, "127.0.0.1", port, from);
    CHECK(transport->get_extra_info("sockname") == local);
    co_await until([&] { return clients.size() == 1 && clients[0].transport; });
    CHECK(clients[0].transport->get_extra_info("peername") == local);
    const asyncio::ConnectionOptions not_ours{.local_addr = SocketAddress("192.0.2.1", 0)};
    const std::exception_ptr error =
        co_await raised(loop.create_connection(make_recorder, "127.0.0.1", port, not_ours));
    CHECK(code_of(error) == EADDRNOTAVAIL);
    server.close_clients();
    server.close();
    co_await server.wait_closed();
    transport->abort();
  });
}

TEST_CASE("create_connection takes over a connected socket", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Server server = co_await loop.create_server(make_echo, "127.0.0.1", 0);
    Fd socket = connect_to(server.sockets()[0]);
    const asyncio::ConnectionOptions options{.sock = socket.release()};
    const auto [transport, protocol] = co_await loop.create_connection(make_recorder, "", 0, options);
    Recorder& recorder = *protocol;
    CHECK(transport->fd() == options.sock);
    transport->write("hello");
    co_await until([&] { return recorder.data == "hello"; });
    transport->close();
    server.close();
    co_await server.wait_closed();
    co_await until([&] { return recorder.lost == 1; });
    CHECK(!is_open(options.sock));
  });
}

TEST_CASE("A descriptor of create_connection that is not open is EBADF", "[server]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Fd socket = test::make_socket();
    const asyncio::ConnectionOptions options{.sock = socket};
    socket.close();
    const std::exception_ptr error = co_await raised(loop.create_connection(make_recorder, "", 0, options));
    CHECK(code_of(error) == EBADF);
  });
}

// ---- UNIX sockets

TEST_CASE("A UNIX server serves at its path, and close removes the file", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "socket";
    const Server server = co_await loop.create_unix_server(make_echo, path);
    REQUIRE(server.sockets().size() == 1);
    CHECK(server.sockets()[0].path() == path);
    CHECK(exists(path));
    const auto [transport, protocol] = co_await loop.create_unix_connection(make_recorder, path);
    Recorder& recorder = *protocol;
    CHECK(transport->get_extra_info("peername")->path() == path);
    transport->write("hello");
    co_await until([&] { return recorder.data == "hello"; });
    transport->close();
    server.close();
    CHECK(!exists(path));
    co_await server.wait_closed();
  });
}

TEST_CASE("A UNIX server replaces the file that a dead server left", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "socket";
    {
      const Fd dead = test::make_socket(SOCK_STREAM, AF_UNIX);
      const SocketAddress address = SocketAddress::unix_path(path);
      REQUIRE(::bind(dead, address.data(), address.size()) == 0);
    }
    REQUIRE(exists(path));
    const Server server = co_await loop.create_unix_server(make_echo, path);
    const std::string answer = co_await ask(loop, SocketAddress::unix_path(path));
    CHECK(answer == "hello");
    server.close();
    CHECK(!exists(path));
    co_await server.wait_closed();
  });
}

TEST_CASE("A UNIX server does not replace a file that is no socket", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "diary";
    { const Fd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); }
    const auto create = [&]() -> Coroutine<> { co_await loop.create_unix_server(make_echo, path); };
    const std::exception_ptr error = co_await raised(create());
    CHECK(code_of(error) == EADDRINUSE);
    CHECK(describe(error).find(path) != std::string::npos);
    CHECK(exists(path));
  });
}

TEST_CASE("close leaves the file alone that another server put in its place", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "socket";
    const Server old = co_await loop.create_unix_server(make_echo, path);
    const Server replacement = co_await loop.create_unix_server(make_echo, path);
    old.close();
    CHECK(exists(path));
    const std::string answer = co_await ask(loop, SocketAddress::unix_path(path));
    CHECK(answer == "hello");
    replacement.close();
    CHECK(!exists(path));
    co_await replacement.wait_closed();
  });
}

TEST_CASE("close does not mind when the file is gone already", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "socket";
    const Server server = co_await loop.create_unix_server(make_echo, path);
    REQUIRE(::unlink(path.c_str()) == 0);
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("The file of a bound UNIX socket that a server took over goes, too", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool by_path = GENERATE(true, false);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "socket";
    Fd socket = test::make_socket(SOCK_STREAM, AF_UNIX);
    const SocketAddress address = SocketAddress::unix_path(path);
    REQUIRE(::bind(socket, address.data(), address.size()) == 0);
    const asyncio::ServerOptions options{.sock = socket.release()};
    Coroutine<Server> created =
        by_path ? loop.create_unix_server(make_echo, "", options) : loop.create_server(make_echo, "", 0, options);
    const Server server = co_await std::move(created);
    const std::string answer = co_await ask(loop, address);
    CHECK(answer == "hello");
    server.close();
    CHECK(!exists(path));
    co_await server.wait_closed();
  });
}

TEST_CASE("A UNIX server may be abstract: it has no file", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    std::string path = "asyncio-server-" + std::to_string(getpid());
    path.insert(0, 1, '\0');
    const Server server = co_await loop.create_unix_server(make_echo, path);
    CHECK(server.sockets()[0].path() == path);
    const auto [transport, protocol] = co_await loop.create_unix_connection(make_recorder, path);
    Recorder& recorder = *protocol;
    transport->write("hello");
    co_await until([&] { return recorder.data == "hello"; });
    transport->close();
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("A path where nobody listens, and one that is too long, are errors", "[server][unix]") {
  NetLoop loop(EVERY_SELECTOR);
  const SocketDirectory directory;
  loop.run([&]() -> Coroutine<> {
    const std::string path = directory / "nobody";
    const std::exception_ptr missing = co_await raised(loop.create_unix_connection(make_recorder, path));
    CHECK(code_of(missing) == ENOENT);
    const auto connect = [&]() -> Coroutine<> {
      co_await loop.create_unix_connection(make_recorder, std::string(200, 'x'));
    };
    const std::exception_ptr too_long = co_await raised(connect());
    CHECK(describe(too_long).starts_with("std::invalid_argument: AF_UNIX path too long"));
  });
}

TEST_CASE("create_unix_server does nothing until it is awaited", "[server][unix]") {
  NetLoop loop;
  const SocketDirectory directory;
  const std::string path = directory / "socket";
  { const auto never_awaited = loop.create_unix_server(make_echo, path); }
  CHECK(!exists(path));
}
