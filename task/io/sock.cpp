// Sockets in coroutines: each method makes the system call first and waits only if it would block. Upstream
// counterpart: the sock_ methods of Lib/asyncio/selector_events.py.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <cerrno>

#include "loop/io/world.hpp"
#include "task/tasks.hpp"

namespace asyncio {

using selectors::EVENT_READ, selectors::EVENT_WRITE;

namespace {

// The callback that waits for a descriptor. It is destroyed when another callback replaces it, or when the descriptor
// was closed and its number reused. Its destructor then gives the waiting task an error, which would else wait for
// ever.
class SockWaiter {
 public:
  SockWaiter(Future<void> future, int fd) : future_(std::move(future)), fd_(fd) {}
  SockWaiter(SockWaiter&&) = default;
  ~SockWaiter() {
    if (!future_ || future_.done()) return;
    raised_by([this] {  // a RuntimeError if the loop is gone: then nobody waits, as on one that is closed
      if (future_.get_loop().is_closed()) return;
      future_.set_exception(raised_by([this] {
        throw RuntimeError("fd " + std::to_string(fd_) +
                           " was taken over by another reader or writer, or closed, while a task waited for it");
      }));
    });
  }
  void operator()() const {
    if (!future_.done()) future_.set_result();
  }

 private:
  Future<void> future_;
  int fd_;
};

}  // namespace

// Whether the call would block. OSError for another error.
static bool blocks(ssize_t result, const char* call) {
  if (result < 0 && !would_block()) throw_os_error(errno, call);
  return result < 0;
}

static int checked(const EventLoop& loop, int fd) {
  if (loop.get_debug() && !(check_call(::fcntl(fd, F_GETFL), "fcntl") & O_NONBLOCK)) {
    throw ValueError("the socket must be non-blocking");
  }
  return fd;
}

// Waits until the descriptor is ready. The caller then repeats the system call, so that a cancellation loses no data.
// asyncio: selector_events.BaseSelectorEventLoop._sock_read_done
Coroutine<void> AbstractEventLoop::wait_until_ready(int fd, unsigned event) {
  World::of(self()).ensure_fd_no_transport(fd);
  const Future<void> ready(self());
  const Handle handle = self().add_io_handle(fd, event, make_handle(SockWaiter(ready, fd)));
  const Finally remove([&] {
    if (!handle.cancelled()) self().remove_io_handle(fd, event, true);
  });
  co_await ready;
}

Coroutine<std::size_t> AbstractEventLoop::sock_recv_into(int fd, std::span<char> buffer) {
  ssize_t n;
  while (blocks(n = ::recv(checked(self(), fd), buffer.data(), buffer.size(), 0), "recv"))
    co_await wait_until_ready(fd, EVENT_READ);
  co_return n;
}

Coroutine<std::string> AbstractEventLoop::sock_recv(int fd, std::size_t n) {
  ssize_t size;  // into the loop's buffer, because a new string would be filled with zeros first
  while (blocks(size = ::recv(checked(self(), fd), World::of(self()).read_buffer(n).data(), n, 0), "recv")) {
    co_await wait_until_ready(fd, EVENT_READ);
  }
  co_return std::string(World::of(self()).read_buffer(n).data(), static_cast<std::size_t>(size));
}

Coroutine<std::pair<std::size_t, SocketAddress>> AbstractEventLoop::sock_recvfrom_into(int fd, std::span<char> buffer) {
  SocketAddress from;
  ssize_t n;
  while (blocks(n = ::recvfrom(checked(self(), fd), buffer.data(), buffer.size(), 0, from.room(), from.room_size()),
                "recvfrom")) {
    co_await wait_until_ready(fd, EVENT_READ);
  }
  co_return std::pair(n, from);
}

Coroutine<std::pair<std::string, SocketAddress>> AbstractEventLoop::sock_recvfrom(int fd, std::size_t n) {
  std::string data(n, '\0');
  const std::pair<std::size_t, SocketAddress> received = co_await sock_recvfrom_into(fd, data);
  data.resize(received.first);
  co_return std::pair(std::move(data), received.second);
}

Coroutine<void> AbstractEventLoop::sock_sendall(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(checked(self(), fd), data.data(), data.size(), MSG_NOSIGNAL);
    if (!blocks(n, "send")) data.remove_prefix(static_cast<std::size_t>(n));
    if (!data.empty()) co_await wait_until_ready(fd, EVENT_WRITE);
  }
}

Coroutine<std::size_t> AbstractEventLoop::sock_sendto(int fd, std::string_view data, SocketAddress address) {
  ssize_t n;
  while (
      blocks(n = ::sendto(checked(self(), fd), data.data(), data.size(), MSG_NOSIGNAL, address.data(), address.size()),
             "sendto")) {
    co_await wait_until_ready(fd, EVENT_WRITE);
  }
  co_return n;
}

Coroutine<std::pair<int, SocketAddress>> AbstractEventLoop::sock_accept(int fd) {
  for (;;) {
    SocketAddress from;
    const int connection = ::accept4(checked(self(), fd), from.room(), from.room_size(), SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) co_return std::pair(connection, from);
    if (!would_block() && errno != ECONNABORTED) throw_os_error(errno, "accept");
    co_await wait_until_ready(fd, EVENT_READ);
  }
}

Coroutine<void> AbstractEventLoop::sock_connect(int fd, SocketAddress address) {
  if (::connect(checked(self(), fd), address.data(), address.size()) == 0) co_return;
  int error = errno;
  if (error == EINPROGRESS || error == EINTR) {
    co_await wait_until_ready(fd, EVENT_WRITE);
    socklen_t size = sizeof error;
    check_call(::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), "getsockopt");
  }
  if (error != 0) throw_os_error(error, "Connect call failed " + address.str());
}

Coroutine<std::size_t> AbstractEventLoop::sock_sendfile(int fd, int file, std::size_t offset,
                                                        std::optional<std::size_t> count) {
  if (count == 0) throw ValueError("count must be a positive integer (got 0)");
  ignore_sigpipe();
  constexpr std::size_t BLOCK_SIZE = 1 << 20;
  std::size_t sent = 0;
  while (!count || sent < *count) {
    off_t position = static_cast<off_t>(offset + sent);
    const ssize_t n =
        ::sendfile(checked(self(), fd), file, &position, count ? std::min(BLOCK_SIZE, *count - sent) : BLOCK_SIZE);
    if (n == 0) break;
    if (!blocks(n, "sendfile")) sent += n;
    if (n < 0) co_await wait_until_ready(fd, EVENT_WRITE);
  }
  co_return sent;
}

}  // namespace asyncio
