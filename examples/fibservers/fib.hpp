// What these servers and clients share: the protocol, a line with a number in and a line with fib(number) out, and the
// few socket calls that do not differ between them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "examples/program.hpp"
#include "loop/python/sockets.hpp"

inline constexpr int PORT = 25000, MAX_NUMBER = 45;
inline constexpr std::size_t MAX_LINE = 100;

/// As slow as can be: that is what it is for.
inline long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

inline int parse(std::string line) {
  if (line.size() > MAX_LINE) throw std::invalid_argument("the line is too long");
  line.erase(line.find_last_not_of(" \t\r") + 1);
  const bool negative = line.starts_with('-');
  const std::string digits = line.substr(negative);
  if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos)
    throw std::invalid_argument("not a number");
  if (negative) throw std::invalid_argument("negative");
  if (digits.size() > 9 || std::stoi(digits) > MAX_NUMBER) throw std::invalid_argument("too large");
  return std::stoi(digits);
}

/// The line that answers a line; a bad one is told so, and may try again.
inline std::string answer(std::string line) {
  try {
    return std::to_string(fib(parse(line))) + "\n";
  } catch (const std::invalid_argument& error) {
    return "error: " + std::string(error.what()) + "\n";
  }
}

/// Feed it what arrives, and take lines out. Of one that is too long it keeps only so much that parse() can tell.
class Lines {
 public:
  void feed(std::string_view data) { buffer_ += data; }

  std::optional<std::string> next() {
    const std::size_t end = buffer_.find('\n');
    if (end == buffer_.npos) {
      if (buffer_.size() > MAX_LINE) buffer_.resize(MAX_LINE + 1);
      return std::nullopt;
    }
    const std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return line;
  }

 private:
  std::string buffer_;
};

/// A socket that listens, and says so. `flags`: SOCK_NONBLOCK or 0.
inline int create_server(int port, int flags) {
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  const int on = 1;
  ::setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const asyncio::SocketAddress address("127.0.0.1", port);
  asyncio::check_call(::bind(server, address.data(), address.size()), "bind");
  asyncio::check_call(::listen(server, 100), "listen");
  std::cout << "serving: nc 127.0.0.1 " << asyncio::getsockname(server).port() << std::endl;
  return server;
}

/// -1 if there is nobody, or no descriptor for him: errno tells.
inline int accept_now(int server) { return ::accept4(server, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }

/// Waits for a client.
inline int accept(int server) {
  for (;;) {
    const int client = ::accept4(server, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) return client;
    if (program::out_of_descriptors(errno)) ::sleep(1);
  }
}

inline int connect(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const asyncio::SocketAddress address("127.0.0.1", port);
  asyncio::check_call(::connect(fd, address.data(), address.size()), "connect");
  return fd;
}

inline ssize_t send(int fd, std::string_view text) { return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL); }

/// A client's question, on a socket that blocks. False if the server has gone.
inline bool ask(int fd, std::string line) {
  char data[100];
  ssize_t n = send(fd, line + "\n");
  while (n > 0) {
    n = ::recv(fd, data, sizeof data, 0);
    if (n > 0 && data[n - 1] == '\n') return true;
  }
  return false;
}
