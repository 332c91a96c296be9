// An echo server out of callbacks: add_reader for who may speak, add_writer for who is slow to listen.
// Look at Connection: it reads or it writes, never both, so a client that does not listen fills no memory.
// Without an argument it talks to itself; `08_echo_server 50007` serves `nc 127.0.0.1 50007` until Ctrl-C.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "asyncio.hpp"
#include "examples/program.hpp"

struct Connection : std::enable_shared_from_this<Connection> {
  Connection(asyncio::EventLoop& loop, int fd) : loop(loop), fd(fd) {}
  Connection(const Connection&) = delete;
  ~Connection() { ::close(fd); }  // as soon as the loop waits for it no more

  void start_reading() { loop.add_reader(fd, &Connection::on_readable, shared_from_this()); }

  void on_readable() {
    char data[65536];
    const auto n = ::recv(fd, data, sizeof data, 0);
    if (n < 0 && errno == EAGAIN) return;
    loop.remove_reader(fd);
    if (n <= 0) return;  // the client says no more, and all it said was sent back
    buffer.assign(data, n);
    loop.add_writer(fd, &Connection::on_writable, shared_from_this());
  }

  void on_writable() {
    const auto n = ::send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) buffer.erase(0, n);
    if (n > 0 && !buffer.empty()) return;  // the kernel took a part: the rest when it has room again
    loop.remove_writer(fd);
    if (n > 0) start_reading();
  }

  asyncio::EventLoop& loop;
  int fd;
  std::string buffer;
};

void on_connect(asyncio::EventLoop& loop, int server) {
  const int fd = ::accept4(server, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    std::make_shared<Connection>(loop, fd)->start_reading();
  } else if (program::out_of_descriptors(errno)) {  // look again in a second, and do not spin till then
    loop.remove_reader(server);
    loop.call_later(1, [&loop, server] { loop.add_reader(server, on_connect, std::ref(loop), server); });
  }
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<in_port_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int create_server(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  asyncio::check_call(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  asyncio::check_call(::listen(fd, 1024), "listen");
  return fd;
}

int port_of(int server) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(server, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

// The client is an ordinary blocking program, as nc is, in a thread of its own.
int create_connection(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  asyncio::check_call(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  return fd;
}

std::string hear(int fd) {
  char bytes[100];
  return std::string(bytes, std::max<ssize_t>(::recv(fd, bytes, sizeof bytes, 0), 0));
}

void say(std::string name, int fd, std::string text) {
  ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  std::cout << name << " says \"" << text << "\" and hears \"" << hear(fd) << "\"\n";
}

void converse(asyncio::EventLoop& loop, int port) {
  const int first = create_connection(port), second = create_connection(port);
  say("first", first, "hello");
  say("second", second, "is anybody there?");
  say("first", first, "hello again");
  ::shutdown(first, SHUT_WR);
  std::cout << "first says no more, and hears the end: \"" << hear(first) << "\"\n";
  say("second", second, "so there are only two of us");
  ::close(first);
  ::close(second);
  loop.call_soon_threadsafe([&loop] { loop.stop(); });
}

void serve_clients(const program::Arguments& arguments) {
  asyncio::EventLoop loop;
  const int server = create_server(arguments.port(0));
  loop.add_reader(server, on_connect, std::ref(loop), server);
  program::stop_on_signals(loop, [&loop] { loop.stop(); });
  std::thread client;
  if (arguments.given(0)) {
    std::cout << "serving: nc 127.0.0.1 " << port_of(server) << std::endl;
  } else {
    client = std::thread(converse, std::ref(loop), port_of(server));
  }

  loop.run_forever();
  if (client.joinable()) client.join();
  loop.close();
  ::close(server);
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve_clients); }
