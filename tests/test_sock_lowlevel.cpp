// Sockets in coroutines: what is tried at once, what waits, what is lost when a task is cancelled, and whom an
// event reaches when numbers of descriptors are used again.
// Upstream counterpart: Lib/test/test_asyncio/test_sock_lowlevel.py, and test_sendfile.py.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <array>
#include <random>

#include "tests/net.hpp"

using asyncio::Coroutine, asyncio::describe, asyncio::holds, asyncio::SocketAddress, asyncio::Task;
using asyncio::create_task, asyncio::getsockname, asyncio::sleep, asyncio::wait_for;
using asyncio::OSError, asyncio::RuntimeError, asyncio::TimeoutError, asyncio::ValueError;
using test::bound_socket, test::code_of, test::digits, test::Fd, test::fill, test::listening_socket;
using test::make_socket, test::MEGABYTE, test::NetLoop, test::raised, test::receive_all, test::Recorder, test::run_once;
using test::send_all, test::socket_pair, test::tcp_pair, test::until, test::unused_address;

namespace {

/// Bytes until the end of file.
Coroutine<std::string> receive_until_end(asyncio::EventLoop& loop, int fd) {
  std::string all;
  for (;;) {
    const std::string data = co_await loop.sock_recv(fd, 1 << 16);
    if (data.empty()) co_return all;
    all += data;
  }
}

/// Sends back what comes, until the end of file, and then says so.
Coroutine<void> echo(asyncio::EventLoop& loop, int fd) {
  for (;;) {
    const std::string data = co_await loop.sock_recv(fd, 1 << 16);
    if (data.empty()) break;
    co_await loop.sock_sendall(fd, data);
  }
  ::shutdown(fd, SHUT_WR);
}

Coroutine<void> accept_and_echo(asyncio::EventLoop& loop, int listener) {
  const auto [fd, address] = co_await loop.sock_accept(listener);
  const Fd connection(fd);
  co_await echo(loop, connection);
}

/// Sends every datagram back to where it came from.
Coroutine<void> echo_datagrams(asyncio::EventLoop& loop, int fd) {
  for (;;) {
    const auto [data, address] = co_await loop.sock_recvfrom(fd, 1 << 16);
    co_await loop.sock_sendto(fd, data, address);
  }
}

/// A file in memory.
Fd make_file(const std::string& content) {
  Fd file(::memfd_create("test", MFD_CLOEXEC));
  REQUIRE(file >= 0);
  send_all(file, content);
  return file;
}

/// Runs f in a child process, in which SIGPIPE has its default action; the status it ends with.
template <class F> int status_of_child(F f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    int status = 99;
    try {
      status = f();
    } catch (...) {}
    ::_exit(status);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("A client connects, sends, receives and hears the end, over TCP", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket(), client = make_socket();
    const Task<void> server = create_task(accept_and_echo(loop, listener));
    co_await loop.sock_connect(client, getsockname(listener));
    co_await loop.sock_sendall(client, "GET / HTTP/1.0\r\n\r\n");
    const std::string reply = co_await loop.sock_recv(client, 1024);
    CHECK(reply == "GET / HTTP/1.0\r\n\r\n");
    ::shutdown(client, SHUT_WR);
    const std::string rest = co_await loop.sock_recv(client, 1024);
    CHECK(rest == "");
    co_await server;
  });
}

TEST_CASE("A client does the same over a UNIX socket", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = make_socket(SOCK_STREAM, AF_UNIX), client = make_socket(SOCK_STREAM, AF_UNIX);
    const SocketAddress address =
        SocketAddress::unix_path(std::string("\0asyncio-test-", 14) + std::to_string(getpid()));
    REQUIRE(::bind(listener, address.data(), address.size()) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    const Task<void> server = create_task(accept_and_echo(loop, listener));
    co_await loop.sock_connect(client, address);
    co_await loop.sock_sendall(client, "hello");
    ::shutdown(client, SHUT_WR);
    const std::string reply = co_await receive_until_end(loop, client);
    CHECK(reply == "hello");
    co_await server;
  });
}

TEST_CASE("sock_recv_into fills the caller's buffer and says how far", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    std::array<char, 10> buffer;
    buffer.fill('-');
    const Task<std::size_t> task = create_task(loop.sock_recv_into(a, buffer));
    co_await sleep(0);
    CHECK(!task.done());
    send_all(b, "hello");
    const std::size_t n = co_await task;
    CHECK(n == 5);
    CHECK(std::string(buffer.data(), buffer.size()) == "hello-----");
    send_all(b, digits(20));
    const std::size_t full = co_await loop.sock_recv_into(a, buffer);
    CHECK(full == 10);
    CHECK(receive_all(a) == digits(10));
  });
}

TEST_CASE("What can be done at once does not suspend", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    bool other_ran = false;
    loop.call_soon([&] { other_ran = true; });
    co_await loop.sock_sendall(a, "hello");
    const std::string data = co_await loop.sock_recv(b, 100);
    CHECK(data == "hello");
    co_await loop.sock_sendall(a, "");
    CHECK(!other_ran);
    co_await sleep(0);
    CHECK(other_ran);
  });
}

TEST_CASE("In debug mode a socket that blocks is refused", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.set_debug(true);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket(), socket = make_socket(), file = make_file("x");
    asyncio::set_blocking(socket, true);
    std::array<char, 10> buffer;
    std::vector<std::exception_ptr> errors;
    errors.push_back(co_await raised(loop.sock_connect(socket, getsockname(listener))));
    errors.push_back(co_await raised(loop.sock_sendall(socket, "GET")));
    errors.push_back(co_await raised(loop.sock_recv(socket, 1024)));
    errors.push_back(co_await raised(loop.sock_recv_into(socket, buffer)));
    errors.push_back(co_await raised(loop.sock_recvfrom(socket, 1024)));
    errors.push_back(co_await raised(loop.sock_recvfrom_into(socket, buffer)));
    errors.push_back(co_await raised(loop.sock_sendto(socket, "x", getsockname(listener))));
    errors.push_back(co_await raised(loop.sock_accept(socket)));
    errors.push_back(co_await raised(loop.sock_sendfile(socket, file)));
    for (const std::exception_ptr& error : errors) {
      CHECK(describe(error) == "std::invalid_argument: the socket must be non-blocking");
    }
  });
}

TEST_CASE("A sock_recv that is cancelled leaves the bytes to the next one", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = tcp_pair();
    Task<std::string> cancelled = create_task(loop.sock_recv(a, 1024));
    co_await sleep(0);
    cancelled.cancel();
    const Task<void> sender = create_task(loop.sock_sendall(b, "hello"));
    const std::string data = co_await loop.sock_recv(a, 1024);
    CHECK(data == "hello");
    co_await sender;
    CHECK(cancelled.cancelled());
  });
}

TEST_CASE("A sock_recv_into that is cancelled leaves buffer and bytes alone", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = tcp_pair();
    std::array<char, 8> first, second;
    first.fill('-');
    Task<std::size_t> cancelled = create_task(loop.sock_recv_into(a, first));
    co_await sleep(0);
    cancelled.cancel();
    const Task<void> sender = create_task(loop.sock_sendall(b, "hello"));
    const std::size_t n = co_await loop.sock_recv_into(a, second);
    CHECK(std::string(second.data(), n) == "hello");
    co_await sender;
    CHECK(cancelled.cancelled());
    CHECK(std::string(first.data(), first.size()) == "--------");
  });
}

namespace {

/// What is left in the socket when its sock_recv_into has been cancelled in this iteration; the event comes in the second.
Coroutine<std::string> left_after_cancel(asyncio::EventLoop& loop, int iteration, std::span<char> buffer) {
  const auto [a, b] = socket_pair();
  Task<std::size_t> task = create_task(loop.sock_recv_into(a, buffer));
  co_await sleep(0);
  send_all(b, "precious");
  for (int i = 1; i < iteration; ++i) co_await sleep(0);
  CHECK(!task.done());
  task.cancel();
  const std::exception_ptr error = co_await raised(std::move(task));
  CHECK(holds<asyncio::CancelledError>(error));
  co_return receive_all(a);
}

}  // namespace

TEST_CASE("A task that is cancelled before its reader is called has lost nothing, and its buffer is left alone",
          "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    for (const int iteration : {1, 2}) {
      std::string buffer = "--------";
      const std::string left = co_await left_after_cancel(loop, iteration, buffer);
      CHECK(left == "precious");
      CHECK(buffer == "--------");
    }
  });
}

TEST_CASE("The reader receives: a task that is cancelled between it and its own step has lost that, as on CPython",
          "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    std::string buffer = "--------";
    const std::string left = co_await left_after_cancel(loop, 3, buffer);
    CHECK(left == "");
    CHECK(buffer == "precious");
  });
}

TEST_CASE("A connection that was accepted for a task that is cancelled is closed", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket(), client = make_socket();
    Task<std::pair<int, SocketAddress>> task = create_task(loop.sock_accept(listener));
    co_await sleep(0);
    co_await loop.sock_connect(client, getsockname(listener));
    for (int i = 1; i < 3 && !task.done(); ++i) co_await sleep(0);
    task.cancel();
    const std::exception_ptr error = co_await raised(std::move(task));
    if (holds<asyncio::CancelledError>(error)) {
      const std::string end = co_await loop.sock_recv(client, 100);
      CHECK(end == "");
    }
  });
}

TEST_CASE("The writer of sock_sendall sends: of two iterations one brings bytes", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const std::string data = digits(4 * MEGABYTE);
    const Task<void> task = create_task(loop.sock_sendall(a, data));
    co_await sleep(0);
    std::string received = receive_all(b), part = received;
    while (received.size() < data.size()) {
      co_await sleep(0);
      const std::string next = receive_all(b);
      REQUIRE((part != "" || next != ""));
      part = next;
      received += next;
    }
    CHECK(received == data);
    co_await task;
  });
}

TEST_CASE("A sock_sendall that is cancelled before anything went sends nothing", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = tcp_pair();
    fill(a);
    Task<void> cancelled = create_task(loop.sock_sendall(a, "hello"));
    co_await sleep(0);
    cancelled.cancel();
    const Task<std::string> reader = create_task(receive_until_end(loop, b));
    co_await loop.sock_sendall(a, "world");
    ::shutdown(a, SHUT_WR);
    std::string received = co_await reader;
    received.erase(0, received.find_first_not_of(' '));
    CHECK(received == "world");
    CHECK(cancelled.cancelled());
  });
}

TEST_CASE("A sock_sendall that is cancelled has sent a beginning of its bytes", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const std::string data = digits(8 * MEGABYTE);
    Task<void> task = create_task(loop.sock_sendall(a, data));
    std::string received;
    while (received.size() < data.size() / 4) {
      co_await sleep(0);
      received += receive_all(b);
    }
    task.cancel();
    const std::exception_ptr error = co_await raised(std::move(task));
    CHECK(holds<asyncio::CancelledError>(error));
    received += receive_all(b);
    CHECK(received.size() < data.size());
    CHECK(data.starts_with(received));
    co_await loop.sock_sendall(a, "next");
    CHECK(receive_all(b) == "next");
  });
}

TEST_CASE("A connection attempt that is cancelled can be made again", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = bound_socket(), client = make_socket();
    const SocketAddress address = getsockname(listener);
    Task<void> first = create_task(loop.sock_connect(client, address));
    co_await sleep(0);
    first.cancel();
    REQUIRE(::listen(listener, 1) == 0);
    std::exception_ptr error;
    for (int attempts = 0; attempts < 100; ++attempts) {
      error = co_await raised(loop.sock_connect(client, address));
      if (code_of(error) != ECONNREFUSED) break;
    }
    CHECK(describe(error) == "");
    CHECK(asyncio::getpeername(client) == address);
    co_await raised(std::move(first));
  });
}

TEST_CASE("sock_connect that nobody answers ends with the caller's timeout, and the socket can be closed",
          "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    // The kernel answers for a listener until its queue is full; the next one hears nothing.
    const Fd listener = listening_socket(0);
    std::vector<Fd> clients;
    std::exception_ptr error;
    for (int i = 0; i < 20 && !error; ++i) {
      clients.push_back(make_socket());
      error = co_await raised(wait_for(loop.sock_connect(clients.back(), getsockname(listener)), 0.2));
    }
    if (!error) co_return;  // this kernel's queue has no end
    CHECK(holds<TimeoutError>(error));
    CHECK(!loop.remove_writer(clients.back()));
  });
}

TEST_CASE("A megabyte goes out and comes back while both ends only read when they have something to read",
          "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket(), client = make_socket();
    const Task<void> server = create_task(accept_and_echo(loop, listener));
    co_await loop.sock_connect(client, getsockname(listener));
    const std::string data = digits(MEGABYTE);
    const Task<void> sender = create_task([&]() -> Coroutine<> {
      co_await loop.sock_sendall(client, data);
      ::shutdown(client, SHUT_WR);
    });
    const std::string received = co_await receive_until_end(loop, client);
    CHECK(received == data);
    co_await sender;
    co_await server;
  });
}

TEST_CASE("A megabyte comes back the same through sock_recv_into", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = tcp_pair();
    const Task<void> server = create_task(echo(loop, b));
    const std::string data = digits(MEGABYTE);
    const Task<void> sender = create_task(loop.sock_sendall(a, data));
    std::string received(data.size(), '\0');
    std::size_t size = 0;
    while (size < data.size()) size += co_await loop.sock_recv_into(a, std::span(received).subspan(size));
    CHECK(received == data);
    co_await sender;
    ::shutdown(a, SHUT_WR);
    co_await server;
  });
}

TEST_CASE("Both directions of one socket are full at the same time", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const std::string forth = digits(2 * MEGABYTE), back = std::string(MEGABYTE, 'b') + "end";
    const auto send = [&](int fd, std::string_view data) -> Coroutine<> {
      co_await loop.sock_sendall(fd, data);
      ::shutdown(fd, SHUT_WR);
    };
    const Task<void> first = create_task(send(a, forth)), second = create_task(send(b, back));
    const Task<std::string> at_a = create_task(receive_until_end(loop, a)),
                            at_b = create_task(receive_until_end(loop, b));
    co_await first;
    co_await second;
    const std::string received_at_a = co_await at_a, received_at_b = co_await at_b;
    CHECK(received_at_a == back);
    CHECK(received_at_b == forth);
  });
}

TEST_CASE("A sender waits for a slow reader, and other tasks go on meanwhile", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const std::string data = digits(4 * MEGABYTE);
    const Task<void> sender = create_task(loop.sock_sendall(a, data));
    int others = 0;
    std::string received;
    std::string buffer(10'007, '\0');
    while (received.size() < data.size()) {
      co_await sleep(0);
      ++others;
      const std::size_t n = co_await loop.sock_recv_into(b, buffer);
      received.append(buffer, 0, n);
    }
    co_await sender;
    CHECK(received == data);
    CHECK(others > 100);
  });
}

TEST_CASE("sock_recvfrom gives a datagram and its sender", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd server = bound_socket(SOCK_DGRAM), client = make_socket(SOCK_DGRAM);
    Task<void> echoing = create_task(echo_datagrams(loop, server));
    const std::string data(4096, '\1');
    const std::size_t sent = co_await loop.sock_sendto(client, data, getsockname(server));
    CHECK(sent == 4096);
    const auto [received, from] = co_await loop.sock_recvfrom(client, 4096);
    CHECK(received == data);
    CHECK(from == getsockname(server));
    echoing.cancel();
  });
}

TEST_CASE("sock_recvfrom_into fills a buffer, and cuts a datagram that is longer", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd server = bound_socket(SOCK_DGRAM), client = make_socket(SOCK_DGRAM);
    Task<void> echoing = create_task(echo_datagrams(loop, server));
    const std::string data = digits(4096);
    std::string buffer(8192, '-');
    co_await loop.sock_sendto(client, data, getsockname(server));
    const auto [n, from] = co_await loop.sock_recvfrom_into(client, buffer);
    CHECK(n == 4096);
    CHECK(buffer == data + std::string(4096, '-'));
    CHECK(from == getsockname(server));
    co_await loop.sock_sendto(client, data, getsockname(server));
    const auto [cut, again] = co_await loop.sock_recvfrom_into(client, std::span(buffer).first(1000));
    CHECK(cut == 1000);
    CHECK(receive_all(client) == "");
    echoing.cancel();
  });
}

TEST_CASE("An empty datagram is a datagram", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd server = bound_socket(SOCK_DGRAM), client = bound_socket(SOCK_DGRAM);
    const std::size_t sent = co_await loop.sock_sendto(client, "", getsockname(server));
    CHECK(sent == 0);
    const auto [data, from] = co_await loop.sock_recvfrom(server, 100);
    CHECK(data == "");
    CHECK(from == getsockname(client));
  });
}

TEST_CASE("sock_sendto waits while the queue of the receiver is full", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    // UNIX datagrams are not thrown away: the sender has to wait.
    const Fd server = make_socket(SOCK_DGRAM, AF_UNIX), client = make_socket(SOCK_DGRAM, AF_UNIX);
    const SocketAddress address =
        SocketAddress::unix_path(std::string("\0asyncio-dgram-", 15) + std::to_string(getpid()));
    REQUIRE(::bind(server, address.data(), address.size()) == 0);
    int sent = 0, received = 0;
    const Task<void> sender = create_task([&]() -> Coroutine<> {
      for (; sent < 3000; ++sent) {
        const std::string number = std::to_string(sent);
        co_await loop.sock_sendto(client, number, address);
      }
    });
    co_await sleep(0);
    co_await sleep(0);
    CHECK(sent < 3000);
    for (; received < 3000; ++received) {
      const auto [data, from] = co_await loop.sock_recvfrom(server, 100);
      if (data != std::to_string(received)) break;
    }
    CHECK(received == 3000);
    co_await sender;
  });
}

TEST_CASE("A datagram to an address where nobody listens is ECONNREFUSED at the next receive", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd socket = make_socket(SOCK_DGRAM);
    const SocketAddress nobody = unused_address(SOCK_DGRAM);
    co_await loop.sock_connect(socket, nobody);
    co_await loop.sock_sendall(socket, "hello?");
    const std::exception_ptr error = co_await raised(loop.sock_recvfrom(socket, 100));
    CHECK(code_of(error) == ECONNREFUSED);
    co_await loop.sock_sendall(socket, "hello?");
    std::array<char, 10> buffer;
    const std::exception_ptr again = co_await raised(loop.sock_recvfrom_into(socket, buffer));
    CHECK(code_of(again) == ECONNREFUSED);
  });
}

TEST_CASE("Where nobody listens sock_connect is ECONNREFUSED, and says where", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const SocketAddress nobody = unused_address();
    const Fd client = make_socket();
    const std::exception_ptr error = co_await raised(loop.sock_connect(client, nobody));
    CHECK(code_of(error) == ECONNREFUSED);
    CHECK(describe(error) == test::SYSTEM_ERROR + ": Connect call failed " + nobody.str() + ": Connection refused");
  });
}

TEST_CASE("sock_accept gives a descriptor that does not block or leak into children, and the client's address",
          "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket(), client = make_socket();
    const Task<void> connecting = create_task(loop.sock_connect(client, getsockname(listener)));
    const auto [fd, address] = co_await loop.sock_accept(listener);
    const Fd connection(fd);
    co_await connecting;
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(address == getsockname(client));
    CHECK(asyncio::getpeername(client) == getsockname(listener));
  });
}

TEST_CASE("A sock_accept that timed out waits no more: its listener can be closed", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Fd listener = listening_socket();
    const SocketAddress address = getsockname(listener);
    const std::exception_ptr error = co_await raised(wait_for(loop.sock_accept(listener), 0.01));
    CHECK(holds<TimeoutError>(error));
    CHECK(!loop.remove_reader(listener));
    listener.close();
    const Fd client = make_socket();
    const std::exception_ptr refused = co_await raised(loop.sock_connect(client, address));
    CHECK(code_of(refused) == ECONNREFUSED);
  });
}

TEST_CASE("A sock_accept that is cancelled leaves the client to the next one", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket();
    for (int iterations = 0; iterations < 5; ++iterations) {
      Task<std::pair<int, SocketAddress>> task = create_task(loop.sock_accept(listener));
      co_await sleep(0);
      const Fd client = make_socket();
      co_await loop.sock_connect(client, getsockname(listener));
      for (int i = 0; i < iterations; ++i) co_await sleep(0);
      task.cancel();
      Fd connection;
      try {
        connection = Fd((co_await task).first);
      } catch (const asyncio::CancelledError&) {}
      if (connection < 0) connection = Fd((co_await loop.sock_accept(listener)).first);
      CHECK(asyncio::getpeername(connection) == getsockname(client));
    }
  });
}

TEST_CASE("A socket connected by sock_connect can become a transport", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd listener = listening_socket();
    const Task<void> server = create_task(accept_and_echo(loop, listener));
    Fd client = make_socket();
    co_await loop.sock_connect(client, getsockname(listener));
    const auto factory = [] { return std::make_shared<Recorder>(); };
    const asyncio::ConnectionOptions options{.sock = client.release()};
    const auto [transport, protocol] = co_await loop.create_connection(factory, "", 0, options);
    CHECK(transport->get_extra_info("peername") == getsockname(listener));
    transport->write("hello");
    transport->write_eof();
    Recorder& recorder = *protocol;
    co_await until([&] { return recorder.lost == 1; });
    CHECK(recorder.data == "hello");
    CHECK(recorder.calls == test::Calls{"made", "data", "eof", "lost"});
    co_await server;
  });
}

TEST_CASE("A descriptor that a transport owns is refused to who would have to wait for it", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto connection = co_await test::connected(loop);
    const int fd = connection.transport->fd();
    const std::string text = "std::runtime_error: File descriptor " + std::to_string(fd) + " is used by a transport";
    std::array<char, 10> buffer;
    std::vector<std::exception_ptr> errors;
    errors.push_back(co_await raised(loop.sock_recv(fd, 100)));
    errors.push_back(co_await raised(loop.sock_recv_into(fd, buffer)));
    errors.push_back(co_await raised(loop.sock_recvfrom(fd, 100)));
    fill(fd);
    errors.push_back(co_await raised(loop.sock_sendall(fd, "x")));
    for (const std::exception_ptr& error : errors) CHECK(describe(error) == text);
    CHECK(test::thrown([&] { return loop.add_reader(fd, [] {}), 0; }) == text);
    CHECK(test::thrown([&] { return loop.add_writer(fd, [] {}), 0; }) == text);
    CHECK(test::thrown([&] { return loop.remove_reader(fd); }) == text);
    CHECK(test::thrown([&] { return loop.remove_writer(fd); }) == text);
    receive_all(connection.peer);
    send_all(connection.peer, "still works");
    co_await until([&] { return connection.protocol->data == "still works"; });
    connection.transport->close();
    co_await until([&] { return connection.protocol->lost == 1; });
  });
}

TEST_CASE("A closed descriptor is EBADF in every call", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Fd socket = make_socket();
    const int fd = socket;
    socket.close();
    const SocketAddress address("127.0.0.1", 1);
    std::array<char, 10> buffer;
    std::vector<std::exception_ptr> errors;
    errors.push_back(co_await raised(loop.sock_connect(fd, address)));
    errors.push_back(co_await raised(loop.sock_sendall(fd, "x")));
    errors.push_back(co_await raised(loop.sock_recv(fd, 1)));
    errors.push_back(co_await raised(loop.sock_recv_into(fd, buffer)));
    errors.push_back(co_await raised(loop.sock_recvfrom(fd, 1)));
    errors.push_back(co_await raised(loop.sock_recvfrom_into(fd, buffer)));
    errors.push_back(co_await raised(loop.sock_sendto(fd, "x", address)));
    errors.push_back(co_await raised(loop.sock_accept(fd)));
    for (const std::exception_ptr& error : errors) CHECK(code_of(error) == EBADF);
  });
}

TEST_CASE("What is no socket is ENOTSOCK", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [reader, writer] = test::make_pipe();
    const std::exception_ptr received = co_await raised(loop.sock_recv(reader, 1));
    const std::exception_ptr sent = co_await raised(loop.sock_sendall(writer, "x"));
    CHECK(code_of(received) == ENOTSOCK);
    CHECK(code_of(sent) == ENOTSOCK);
  });
}

TEST_CASE("Sending to who has gone is EPIPE, an error and not a signal", "[sock_lowlevel]") {
  const int status = status_of_child([] {
    NetLoop loop;
    int errors = 0;
    loop.run([&]() -> Coroutine<> {
      auto [a, b] = socket_pair();
      b.close();
      errors += code_of(co_await raised(loop.sock_sendall(a, "x"))) == EPIPE;
      auto [c, d] = socket_pair(SOCK_SEQPACKET);
      d.close();
      errors += code_of(co_await raised(loop.sock_sendto(c, "x", SocketAddress()))) == EPIPE;
    });
    return errors == 2 ? 0 : 1;
  });
  CHECK(status == 0);
}

TEST_CASE("A reset by the other end is ECONNRESET for who waits to receive", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto [a, b] = tcp_pair();
    const Task<std::string> task = create_task(loop.sock_recv(a, 100));
    co_await sleep(0);
    test::reset(b);
    const std::exception_ptr error = co_await raised(task);
    CHECK(code_of(error) == ECONNRESET);
  });
}

TEST_CASE("A reset by the other end wakes who waits to send", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto [a, b] = tcp_pair();
    fill(a);
    const Task<void> task = create_task(loop.sock_sendall(a, "x"));
    co_await sleep(0);
    test::reset(b);
    const std::exception_ptr error = co_await raised(task);
    const int code = code_of(error);
    CHECK((code == ECONNRESET || code == EPIPE));
  });
}

TEST_CASE("A second reader of a descriptor takes it over, and the first is told", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const Task<std::string> first = create_task(loop.sock_recv(a, 100));
    co_await sleep(0);
    const Task<std::string> second = create_task(loop.sock_recv(a, 100));
    const std::exception_ptr error = co_await raised(first);
    const std::string fd = std::to_string(a);
    CHECK(describe(error) == "std::runtime_error: fd " + fd + " was taken over or closed while a task waited for it");
    send_all(b, "for the second");
    const std::string data = co_await second;
    CHECK(data == "for the second");
  });
}

TEST_CASE("So it is when add_reader or remove_reader takes the descriptor from a waiting task", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const Task<std::string> first = create_task(loop.sock_recv(a, 100));
    co_await sleep(0);
    int called = 0;
    loop.add_reader(a, [&] { called += receive_all(a) == "x"; });
    const std::exception_ptr error = co_await raised(first);
    CHECK(holds<RuntimeError>(error));
    send_all(b, "x");
    co_await until([&] { return called == 1; });
    CHECK(loop.remove_reader(a));
    const Task<std::string> second = create_task(loop.sock_recv(a, 100));
    co_await sleep(0);
    CHECK(loop.remove_reader(a));
    const std::exception_ptr removed = co_await raised(second);
    CHECK(holds<RuntimeError>(removed));
  });
}

namespace {

/// Counts what a loop asks of its selector.
struct CountingSelector : selectors::DefaultSelector {
  selectors::SelectorKey register_(int fd, unsigned events, void* data) override {
    ++registered;
    return selectors::DefaultSelector::register_(fd, events, data);
  }
  selectors::SelectorKey modify(int fd, unsigned events, void* data) override {
    ++modified;
    return selectors::DefaultSelector::modify(fd, events, data);
  }
  selectors::SelectorKey unregister(int fd) override {
    ++unregistered;
    return selectors::DefaultSelector::unregister(fd);
  }
  int registered = 0, modified = 0, unregistered = 0;
};

}  // namespace

TEST_CASE("A task that waits for its socket again and again tells the kernel once for each wait", "[sock_lowlevel]") {
  auto owned = std::make_unique<CountingSelector>();
  CountingSelector& selector = *owned;
  asyncio::EventLoop loop(std::move(owned));
  const int before = selector.registered;
  auto [reader, writer] = socket_pair();
  for (int i = 0; i < 10; ++i) {
    const Task<std::string> task = loop.create_task(loop.sock_recv(reader, 100));
    run_once(loop);
    REQUIRE(!task.done());
    send_all(writer, "spam");
    CHECK(loop.run_until_complete(task) == "spam");
  }
  CHECK(selector.registered - before == 1);
  CHECK(selector.modified == 9);
  CHECK(selector.unregistered == 0);
}

TEST_CASE("A descriptor that nobody waits for any more is reported once", "[sock_lowlevel]") {
  auto owned = std::make_unique<CountingSelector>();
  CountingSelector& selector = *owned;
  asyncio::EventLoop loop(std::move(owned));
  auto [reader, writer] = socket_pair();
  const Task<std::string> task = loop.create_task(loop.sock_recv(reader, 100));
  run_once(loop);
  task.cancel();
  run_once(loop, 2);
  REQUIRE(task.cancelled());
  send_all(writer, "spam");
  run_once(loop, 2);
  CHECK(selector.unregistered == 1);
  CHECK(selector.size() == 1);  // the self-pipe
  CHECK(loop.run_until_complete(loop.sock_recv(reader, 100)) == "spam");
}

TEST_CASE("One task may receive and another one send on the same socket", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = socket_pair();
    const std::size_t filled = fill(a);
    const Task<std::string> receiver = create_task(loop.sock_recv(a, 100));
    const Task<void> sender = create_task(loop.sock_sendall(a, "end"));
    co_await sleep(0);
    send_all(b, "hello");
    const std::string data = co_await receiver;
    CHECK(data == "hello");
    CHECK(!sender.done());
    CHECK(receive_all(b) == std::string(filled, ' '));
    co_await sender;
    CHECK(receive_all(b) == "end");
  });
}

TEST_CASE("A loop that is closed under waiting tasks frees them", "[sock_lowlevel]") {
  const auto [a, b] = socket_pair();
  {
    NetLoop loop(EVERY_SELECTOR);
    fill(a);
    const auto receive = [&](test::Instance) -> Coroutine<> { co_await loop.sock_recv(a, 100); };
    const auto send = [&](test::Instance) -> Coroutine<> { co_await loop.sock_sendall(a, "x"); };
    loop.create_task(receive(test::Instance()));
    loop.create_task(send(test::Instance()));
    run_once(loop, 3);
    CHECK(test::Instance::alive() == 2);
    loop.close();
    CHECK(test::Instance::alive() == 0);
    const std::vector<std::string> reports = loop.reports();
    CAPTURE(reports);
    CHECK(reports.size() == 2);  // Task was destroyed but it is pending!
  }
  CHECK(test::is_open(a));
}

TEST_CASE("sock_sendfile sends a whole file from an offset, or as much of it as is asked for", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = tcp_pair();
    const Fd file = make_file(digits(1000));
    const std::size_t all = co_await loop.sock_sendfile(a, file);
    CHECK(all == 1000);
    CHECK(receive_all(b) == digits(1000));
    const std::size_t rest = co_await loop.sock_sendfile(a, file, 990);
    CHECK(rest == 10);
    CHECK(receive_all(b) == digits(10));
    const std::size_t part = co_await loop.sock_sendfile(a, file, 5, 3);
    CHECK(part == 3);
    CHECK(receive_all(b) == "567");
    const std::size_t beyond = co_await loop.sock_sendfile(a, file, 2000);
    CHECK(beyond == 0);
    const std::size_t more_than_there_is = co_await loop.sock_sendfile(a, file, 995, 100);
    CHECK(more_than_there_is == 5);
    const std::exception_ptr nothing = co_await raised(loop.sock_sendfile(a, file, 0, 0));
    CHECK(describe(nothing) == "std::invalid_argument: count must be a positive integer (got 0)");
  });
}

TEST_CASE("sock_sendfile waits for a slow reader", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto [a, b] = tcp_pair();
    const std::string content = digits(8 * MEGABYTE);
    const Fd file = make_file(content);
    const Task<std::size_t> task = create_task(loop.sock_sendfile(a, file));
    co_await sleep(0);
    CHECK(!task.done());
    const Task<std::string> reader = create_task(receive_until_end(loop, b));
    const std::size_t sent = co_await task;
    CHECK(sent == content.size());
    a.close();
    const std::string received = co_await reader;
    CHECK(received == content);
  });
}

TEST_CASE("A sock_sendfile that is cancelled waits no more", "[sock_lowlevel]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto [a, b] = tcp_pair();
    const Fd file = make_file(digits(8 * MEGABYTE));
    Task<std::size_t> task = create_task(loop.sock_sendfile(a, file));
    co_await sleep(0);
    task.cancel();
    const std::exception_ptr error = co_await raised(std::move(task));
    CHECK(holds<asyncio::CancelledError>(error));
    CHECK(!loop.remove_writer(a));
    CHECK(digits(8 * MEGABYTE).starts_with(receive_all(b)));
  });
}

TEST_CASE("sock_sendfile to who has gone is an error and not a signal", "[sock_lowlevel]") {
  const int status = status_of_child([] {
    NetLoop loop;
    int code = 0;
    loop.run([&]() -> Coroutine<> {
      const Fd file = make_file(digits(100));
      auto [a, b] = socket_pair();
      b.close();
      code = code_of(co_await raised(loop.sock_sendfile(a, file)));
    });
    return code == EPIPE ? 0 : 1;
  });
  CHECK(status == 0);
}

namespace {

// A pool of pipes whose ends are closed and opened again without end, so that the same few numbers come back under
// another owner. Each pipe has a serial number; each owner's reader knows for which pipe it was made.
class Churn {
 public:
  Churn(asyncio::EventLoop& loop, bool forgetful, unsigned seed) : loop_(loop), forgetful_(forgetful), random_(seed) {}
  ~Churn() {
    for (Slot& slot : slots_) loop_.remove_reader(slot.reader);
  }

  void step() {
    const std::size_t index = random_() % slots_.size();
    Slot& slot = slots_[index];
    switch (random_() % 4) {
      case 0:
      case 1:
        reopen(slot, random_() % 2);
        break;
      case 2:
        send(slot);
        break;
      default:
        run_once(loop_);
    }
  }
  void finish() {
    for (Slot& slot : slots_) arrive(slot);
  }

  std::size_t reopened = 0, delivered = 0, wrong = 0, lost = 0, reused = 0;

 private:
  struct Slot {
    Fd reader, writer;
    std::size_t serial = 0;
    int owner = 0;
    int sent = 0, received = 0;
  };

  void reopen(Slot& slot, int owner) {
    const int old = slot.reader;
    arrive(slot);
    // An owner who forgets to take leave: allowed where the kernel forgets the descriptor, too.
    if (!forgetful_ || random_() % 2 == 0) loop_.remove_reader(slot.reader);
    slot.reader.close();
    slot.writer.close();
    auto [reader, writer] = test::make_pipe();
    reused += reader == old;
    slot = Slot{std::move(reader), std::move(writer), ++reopened, owner};
    loop_.add_reader(slot.reader, &Churn::on_readable, this, &slot, slot.serial, owner);
  }
  // Everything that was sent to the pipe: one byte in an iteration.
  void arrive(Slot& slot) {
    for (int i = slot.sent - slot.received; i > 0 && slot.received < slot.sent; --i) run_once(loop_);
    if (slot.received != slot.sent) ++lost;
  }
  void send(Slot& slot) {
    if (slot.reader < 0) return;
    const char byte = static_cast<char>(slot.serial);
    slot.sent += ::write(slot.writer, &byte, 1) == 1;
  }
  // Reads one byte: the selector has to say again that there is another one.
  void on_readable(Slot* slot, std::size_t serial, int owner) {
    char byte = 0;
    const ssize_t n = ::read(slot->reader, &byte, 1);
    if (slot->serial != serial || slot->owner != owner || n != 1 || byte != static_cast<char>(serial)) ++wrong;
    slot->received += n == 1;
    ++delivered;
    if (random_() % 8 == 0) reopen_from_callback(*slot);
  }
  // Also from inside the very callback that is running.
  void reopen_from_callback(Slot& slot) {
    if (slot.received != slot.sent) return;
    loop_.remove_reader(slot.reader);
    slot.reader.close();
    slot.writer.close();
    auto [reader, writer] = test::make_pipe();
    slot = Slot{std::move(reader), std::move(writer), ++reopened, 1 - slot.owner};
    loop_.add_reader(slot.reader, &Churn::on_readable, this, &slot, slot.serial, slot.owner);
  }

  asyncio::EventLoop& loop_;
  const bool forgetful_;
  std::mt19937 random_;
  std::array<Slot, 16> slots_;
};

}  // namespace

TEST_CASE("Of 100,000 descriptors that are reopened at random no event reaches the wrong owner and none is lost",
          "[sock_lowlevel][stress]") {
  const auto selector = EVERY_SELECTOR;
  NetLoop loop(selector);
  // poll(2) has no memory of its own: there who closes a descriptor must say so.
  Churn churn(loop, selector == test::Selector::epoll, 2024);
  const std::size_t number = selector == test::Selector::epoll ? 100'000 : 20'000;
  while (churn.reopened < number) churn.step();
  churn.finish();
  CHECK(churn.wrong == 0);
  CHECK(churn.lost == 0);
  CHECK(churn.delivered > number / 10);
  CHECK(churn.reused > number / 10);
}

TEST_CASE("Tasks that wait for descriptors which are reopened at random get their own bytes or an error",
          "[sock_lowlevel][stress]") {
  const auto selector = EVERY_SELECTOR;
  NetLoop loop(selector);
  struct Slot {
    Fd reader, writer;
    std::optional<Task<std::string>> task;
    std::string expected;
  };
  std::array<Slot, 8> slots;
#if defined(ASYNCIO_NO_POOL)
  const int number = 5'000;  // sanitizers are slow
#else
  const int number = selector == test::Selector::epoll ? 100'000 : 5'000;
#endif
  int received = 0, wrong = 0, told = 0;
  const auto collect = [&](Task<std::string> task, std::string expected) -> Coroutine<> {
    try {
      const std::string data = co_await task;
      wrong += data != expected;
      ++received;
    } catch (const RuntimeError&) {
      ++told;
    } catch (const asyncio::CancelledError&) {}
  };
  loop.run([&]() -> Coroutine<> {
    std::mt19937 random(7);
    for (int serial = 1; serial <= number; ++serial) {
      Slot& slot = slots[random() % slots.size()];
      const unsigned what = random() % 3;
      // Either its bytes come, or it is cancelled, or it hears that the number was used again.
      if (slot.task && what == 0) send_all(slot.writer, slot.expected);
      if (slot.task && (what == 1 || (what == 2 && selector == test::Selector::poll))) slot.task->cancel();
      if (slot.task && (what != 2 || selector == test::Selector::poll)) co_await collect(*slot.task, slot.expected);
      slot.reader.close();
      slot.writer.close();
      auto [reader, writer] = socket_pair();
      slot.reader = std::move(reader);
      slot.writer = std::move(writer);
      const std::string expected = std::exchange(slot.expected, "for " + std::to_string(serial));
      const auto left = std::exchange(slot.task, create_task(loop.sock_recv(slot.reader, 100)));
      for (int i = 0; i < 3; ++i) co_await sleep(0);
      if (!left || (what != 2 || selector == test::Selector::poll)) continue;
      if (!left->done()) Task<std::string>(*left).cancel();  // its number was not used again
      co_await collect(*left, expected);
    }
    for (Slot& slot : slots) {
      send_all(slot.writer, slot.expected);
      co_await collect(*slot.task, slot.expected);
    }
  });
  CHECK(wrong == 0);
  CHECK(received > 1000);
  if (selector == test::Selector::epoll) CHECK(told > 100);
}

// ---- Addresses

TEST_CASE("A socket address says what it is made of", "[sock_lowlevel]") {
  CHECK(SocketAddress("localhost", 80).str() == "127.0.0.1:80");
  CHECK(SocketAddress("", 80).str() == "0.0.0.0:80");
  CHECK(SocketAddress("::1", 80).str() == "[::1]:80");
  CHECK(SocketAddress("::1", 80).port() == 80);
  CHECK(SocketAddress("::1", 80).path() == "");
  const SocketAddress path = SocketAddress::unix_path("/tmp/socket");
  CHECK(path.str() == "/tmp/socket");
  CHECK(path.host() == "");
  CHECK(path.port() == 0);
  const std::string abstract_name("\0name", 5);
  CHECK(SocketAddress::unix_path(abstract_name).path() == abstract_name);
  CHECK(SocketAddress::unix_path("").path() == "");
}

TEST_CASE("A socket address is numeric, and a path has an end", "[sock_lowlevel]") {
  CHECK(test::thrown([] { return SocketAddress("example", 80); }) ==
        "std::invalid_argument: 'example' is not a numeric address: look the name up with loop.getaddrinfo()");
  CHECK(test::thrown([] { return SocketAddress("::1", 65536); }) ==
        "std::invalid_argument: port 65536 is not in 0-65535");
  const std::string path(200, 'x');
  CHECK(test::thrown([&] { return SocketAddress::unix_path(path); }) ==
        "std::invalid_argument: AF_UNIX path too long: " + path);
}
