// Addresses and descriptors, as Python's module `socket` has them. Upstream counterpart: Modules/socketmodule.c.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "loop/python/builtins.hpp"
#include "loop/python/os.hpp"

namespace asyncio {

/// An IPv4, IPv6 or UNIX address; a default one is none. asyncio: socketmodule.c makesockaddr
class SocketAddress {
 public:
  SocketAddress() = default;
  /// `host` is numeric, "localhost" (IPv4) or "" (any): nothing is looked up, see EventLoop::getaddrinfo. ValueError.
  SocketAddress(const std::string& host, int port);
  SocketAddress(const sockaddr* address, socklen_t size) noexcept;
  /// ValueError if the path is too long for the kernel. One that begins with '\0' is Linux's abstract kind.
  static SocketAddress unix_path(const std::string& path);

  std::string host() const;
  int port() const noexcept;
  std::string path() const;
  int family() const noexcept { return storage_.ss_family; }
  /// "127.0.0.1:80", "[::1]:80" or the path.
  std::string str() const;
  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const noexcept { return size_; }
  /// Where a system call is to put an address, and its size.
  sockaddr* room() noexcept { return reinterpret_cast<sockaddr*>(&storage_); }
  socklen_t* room_size() noexcept {
    size_ = sizeof storage_;
    return &size_;
  }
  friend bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// A new non-blocking socket, which a child process does not inherit.
FileDescriptor make_socket(int family, int type);
void set_option(int fd, int level, int option, int value);
void set_blocking(int fd, bool blocking);
/// What has no reader any more is to be an error of write(), not the end of the program: CPython ignores SIGPIPE, too.
void ignore_sigpipe() noexcept;
SocketAddress getsockname(int fd);
/// nullopt if it is not connected.
std::optional<SocketAddress> getpeername(int fd) noexcept;
/// Of a numeric host and port, else none. asyncio: base_events._ipaddr_info
std::vector<SocketAddress> numeric_addresses(const std::string& host, const std::string& service);
/// Blocks: call it in a thread. OSError with the resolver's words. asyncio: socketmodule.c socket_getaddrinfo
std::vector<SocketAddress> blocking_getaddrinfo(const std::string& host, const std::string& service);

/// Options of create_connection.
struct ConnectionOptions {
  std::optional<SocketAddress> local_addr{};  // to connect from
  int sock = -1;  // a connected socket, which the transport will own, in place of host and port
};

/// Options of create_server.
struct ServerOptions {
  int backlog = 100;          // connections that the kernel accepts for us
  bool reuse_port = false;    // several processes may serve one port
  bool start_serving = true;  // else start_serving() or serve_forever() does
  int sock = -1;              // a bound socket, which the server will own, in place of host and port
};

}  // namespace asyncio
