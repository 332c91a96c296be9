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

/// An IPv4, IPv6 or UNIX address; empty by default. asyncio: socketmodule.c makesockaddr
class SocketAddress {
 public:
  SocketAddress() = default;
  /// `host` is numeric, "localhost" (127.0.0.1) or "" (any); nothing is looked up. ValueError for another host, which
  /// is for EventLoop::getaddrinfo, and for a port that is not in 0-65535.
  SocketAddress(const std::string& host, int port);
  SocketAddress(const sockaddr* address, socklen_t size) noexcept;
  /// ValueError if the path is too long for the kernel. A path that begins with '\0' is in Linux's abstract namespace.
  static SocketAddress unix_path(const std::string& path);

  std::string host() const;
  int port() const noexcept;
  std::string path() const;
  int family() const noexcept { return storage_.ss_family; }
  /// "127.0.0.1:80", "[::1]:80" or the path.
  std::string str() const;
  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const noexcept { return size_; }
  /// Where a system call can store an address and its size.
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

/// A new non-blocking socket, which a program that is started does not inherit. OSError from the kernel.
FileDescriptor make_socket(int family, int type);
void set_option(int fd, int level, int option, int value);
void set_blocking(int fd, bool blocking);
/// Whether the program has left the signal to the kernel.
bool has_default_action(int signum) noexcept;
/// Ignores SIGPIPE unless the program handles it, so that writing to a closed pipe is an error of write() and does not
/// end the program. CPython does the same.
void ignore_sigpipe() noexcept;
SocketAddress getsockname(int fd);
/// The address of the other end; nullopt if it is not connected.
std::optional<SocketAddress> getpeername(int fd) noexcept;
/// The addresses of a numeric host and port; none if they are names. asyncio: base_events._ipaddr_info
std::vector<SocketAddress> numeric_addresses(const std::string& host, const std::string& service);
/// The addresses of a host; blocks, so call it in a thread. OSError with the resolver's message.
/// asyncio: socketmodule.c socket_getaddrinfo
std::vector<SocketAddress> blocking_getaddrinfo(const std::string& host, const std::string& service);

/// The default limit of a StreamReader, in bytes. The transport pauses when the buffer holds more than twice as many.
inline constexpr std::size_t DEFAULT_LIMIT = 64 * 1024;

/// Options of create_connection and open_connection.
struct ConnectionOptions {
  std::size_t limit = DEFAULT_LIMIT;          // of the StreamReader, if there is one
  std::optional<SocketAddress> local_addr{};  // the address to bind before connecting
  int sock = -1;  // a connected socket, which the transport will own, instead of host and port
};

/// Options of create_server and start_server.
struct ServerOptions {
  std::size_t limit = DEFAULT_LIMIT;  // of the StreamReaders, if there are any
  int backlog = 100;                  // how many connections the kernel queues until they are accepted
  bool reuse_port = false;            // let several processes serve one port
  bool start_serving = true;          // accept at once; false: from start_serving() or serve_forever() on
  int sock = -1;                      // a bound socket, which the server will own, instead of host and port
};

}  // namespace asyncio
