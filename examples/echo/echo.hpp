// What the echo servers share: a listening socket, and words about what happens.
#pragma once

#include <sys/socket.h>

#include <iostream>
#include <string_view>

#include "examples/program.hpp"
#include "loop/python/sockets.hpp"

inline constexpr const char* USAGE = "[PORT [quiet]]";
inline constexpr int PORT = 50000;

/// A listening socket, non-blocking; prints its address.
inline int create_server(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  const asyncio::SocketAddress address("127.0.0.1", port);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  asyncio::check_call(::bind(fd, address.data(), address.size()), "bind");
  asyncio::check_call(::listen(fd, 1024), "listen");
  std::cout << "serving on " << asyncio::getsockname(fd).str() << std::endl;
  return fd;
}

inline bool quiet = false;  // while messages are counted

inline void say(std::string_view what, std::string_view data = "") {
  if (!quiet) std::cout << what << data << (data.ends_with('\n') ? "" : "\n") << std::flush;
}
