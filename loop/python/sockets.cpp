#include "loop/python/sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

namespace asyncio {
namespace {

struct ResolverCategory : std::error_category {
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int code) const override { return ::gai_strerror(code); }
};

}  // namespace

SocketAddress::SocketAddress(const std::string& host, int port) {
  if (port < 0 || port > 65535) throw ValueError("port " + std::to_string(port) + " is not in 0-65535");
  sockaddr_in v4{AF_INET, htons(static_cast<std::uint16_t>(port)), {}, {}};
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = v4.sin_port;
  const std::string numeric = host == "localhost" ? "127.0.0.1" : host.empty() ? "0.0.0.0" : host;
  if (::inet_pton(AF_INET, numeric.c_str(), &v4.sin_addr) == 1) {
    *this = SocketAddress(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  } else if (::inet_pton(AF_INET6, numeric.c_str(), &v6.sin6_addr) == 1) {
    *this = SocketAddress(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  } else {
    throw ValueError("'" + host + "' is not a numeric address: look the name up with loop.getaddrinfo()");
  }
}

SocketAddress::SocketAddress(const sockaddr* address, socklen_t size) noexcept
    : size_(std::min<socklen_t>(size, sizeof storage_)) {
  std::memcpy(&storage_, address, size_);
}

SocketAddress SocketAddress::unix_path(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw ValueError("AF_UNIX path too long: " + path);
  path.copy(address.sun_path, path.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const bool is_abstract = path.empty() || path[0] == '\0';
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), is_abstract ? size : size + 1);
}

std::string SocketAddress::host() const {
  char text[INET6_ADDRSTRLEN] = "";  // stays empty for other families
  const void* v4 = &reinterpret_cast<const sockaddr_in&>(storage_).sin_addr;
  const void* v6 = &reinterpret_cast<const sockaddr_in6&>(storage_).sin6_addr;
  ::inet_ntop(family(), family() == AF_INET ? v4 : v6, text, sizeof text);
  return text;
}

int SocketAddress::port() const noexcept {  // IPv4 and IPv6 addresses have it at the same offset
  const bool has_port = family() == AF_INET || family() == AF_INET6;
  return has_port ? ntohs(reinterpret_cast<const sockaddr_in&>(storage_).sin_port) : 0;
}

std::string SocketAddress::path() const {
  const std::size_t start = offsetof(sockaddr_un, sun_path);
  if (family() != AF_UNIX || size_ <= start) return "";
  const char* path = reinterpret_cast<const sockaddr_un&>(storage_).sun_path;
  return path[0] == '\0' ? std::string(path, size_ - start) : std::string(path, ::strnlen(path, size_ - start));
}

std::string SocketAddress::str() const {
  if (family() == AF_INET) return host() + ":" + std::to_string(port());
  if (family() == AF_INET6) return '[' + host() + "]:" + std::to_string(port());
  return path();
}

bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept {
  return a.size_ == b.size_ && std::memcmp(&a.storage_, &b.storage_, a.size_) == 0;
}

FileDescriptor make_socket(int family, int type) {
  return FileDescriptor(check_call(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
}

void set_option(int fd, int level, int option, int value) {
  check_call(::setsockopt(fd, level, option, &value, sizeof value), "setsockopt");
}

void set_blocking(int fd, bool blocking) {
  const int flags = check_call(::fcntl(fd, F_GETFL), "fcntl");
  check_call(::fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), "fcntl");
}

bool has_default_action(int signum) noexcept {
  struct sigaction action;
  return ::sigaction(signum, nullptr, &action) == 0 && action.sa_handler == SIG_DFL;
}

void ignore_sigpipe() noexcept {
  if (has_default_action(SIGPIPE)) ::signal(SIGPIPE, SIG_IGN);
}

SocketAddress getsockname(int fd) {
  SocketAddress address;
  check_call(::getsockname(fd, address.room(), address.room_size()), "getsockname");
  return address;
}

std::optional<SocketAddress> getpeername(int fd) noexcept {
  SocketAddress address;
  if (::getpeername(fd, address.room(), address.room_size()) < 0) return std::nullopt;
  return address;
}

// Adds the addresses to `found`; returns the resolver's error code.
static int resolve(const std::string& host, const std::string& service, int flags, std::vector<SocketAddress>& found) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | flags;
  addrinfo* first = nullptr;
  const int code = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &first);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(first, ::freeaddrinfo);
  for (const addrinfo* info = first; info; info = info->ai_next) found.emplace_back(info->ai_addr, info->ai_addrlen);
  return code;
}

std::vector<SocketAddress> numeric_addresses(const std::string& host, const std::string& service) {
  std::vector<SocketAddress> addresses;
  resolve(host, service, AI_NUMERICHOST | AI_NUMERICSERV, addresses);
  return addresses;
}

std::vector<SocketAddress> blocking_getaddrinfo(const std::string& host, const std::string& service) {
  static const ResolverCategory category;
  std::vector<SocketAddress> addresses;
  const int code = resolve(host, service, 0, addresses);
  if (code == EAI_SYSTEM) throw_os_error(errno, "getaddrinfo " + host);
  if (code != 0) throw OSError(code, category, "'" + host + "'");
  return addresses;
}

}  // namespace asyncio
