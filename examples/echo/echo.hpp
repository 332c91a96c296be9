// What the echo servers share: a listening socket.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

/// The port that the arguments name, or 50000.
inline int port_of(int argc, char** argv) { return argc > 1 ? std::atoi(argv[1]) : 50000; }

/// A listening socket, non-blocking; prints its address. Port 0: the kernel chooses one.
inline int create_server(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<in_port_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) < 0 || ::listen(fd, 1024) < 0) {
    std::perror("cannot listen");
    std::exit(1);
  }
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::cout << "serving on 127.0.0.1:" << ntohs(address.sin_port) << std::endl;
  return fd;
}
