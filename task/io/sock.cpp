// Sockets in coroutines: each method makes the system call at once. If that would block, a reader or writer makes it
// again, and the task goes on when it has succeeded.
// Upstream counterpart: the sock_ methods of Lib/asyncio/selector_events.py.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <cerrno>

#include "loop/io/world.hpp"
#include "task/tasks.hpp"

namespace asyncio {

using selectors::EVENT_READ, selectors::EVENT_WRITE;

namespace {

// The reader or writer that a task waits for. The attempt is the system call; it says whether the task has now got what
// it waits for. This callback is destroyed when another one replaces it, or when the descriptor was closed and its number
// reused. Its destructor then gives the waiting task an error, which would else wait for ever.
template <class Attempt> class SockCallback {
 public:
  SockCallback(Future<void> future, int fd, const Attempt& attempt)
      : future_(std::move(future)), fd_(fd), attempt_(attempt) {}
  SockCallback(SockCallback&&) = default;
  ~SockCallback() {
    if (!future_ || future_.done()) return;
    raised_by([this] {  // a RuntimeError if the loop is gone: then nobody waits, as on one that is closed
      if (future_.get_loop().is_closed()) return;
      future_.set_exception(raised_by([this] {
        throw RuntimeError("fd " + std::to_string(fd_) + " was taken over or closed while a task waited for it");
      }));
    });
  }
  // asyncio: selector_events.BaseSelectorEventLoop._sock_recv
  void operator()() const {
    try {  // not if it is done: then nobody waits any more, and the frame may be gone
      if (!future_.done() && attempt_()) future_.set_result();
    } catch (...) {
      future_.set_exception(caught_exception());
    }
  }

 private:
  Future<void> future_;
  int fd_;
  const Attempt& attempt_;
};

}  // namespace

// Whether the call did what it is for; false if it would block. OSError for another error.
static bool done(ssize_t result, const char* call) {
  if (result < 0 && !would_block()) throw_os_error(errno, call);
  return result >= 0;
}

static int checked(const EventLoop& loop, int fd) {
  if (!loop.get_debug() || check_call(::fcntl(fd, F_GETFL), "fcntl") & O_NONBLOCK) return fd;
  throw ValueError("the socket must be non-blocking");
}

// Makes the attempt whenever the descriptor is ready, until it succeeds or raises. It may refer to the frame that
// awaits this one: when that frame ends, this one has ended before, and the callback has been removed.
// asyncio: selector_events.BaseSelectorEventLoop._sock_read_done
static Coroutine<void> attempt_when_ready(EventLoop& loop, int fd, unsigned event, const auto& attempt) {
  World::of(loop).ensure_fd_no_transport(fd);
  const Future<void> future(loop);
  const Handle handle = loop.add_io_handle(fd, event, make_handle(SockCallback(future, fd, attempt)));
  const Finally remove([&] {
    if (!handle.cancelled()) loop.remove_io_handle(fd, event, true);
  });
  co_await future;
}

Coroutine<std::size_t> AbstractEventLoop::sock_recv_into(int fd, std::span<char> buffer) {
  ssize_t n = 0;
  const auto attempt = [&] { return done(n = ::recv(checked(self(), fd), buffer.data(), buffer.size(), 0), "recv"); };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_READ, attempt);
  co_return n;
}

Coroutine<std::string> AbstractEventLoop::sock_recv(int fd, std::size_t n) {
  std::string data;
  const auto attempt = [&] {  // into the loop's buffer, because a new string would be filled with zeros first
    const ssize_t size = ::recv(checked(self(), fd), World::of(self()).read_buffer(n).data(), n, 0);
    if (done(size, "recv")) data.assign(World::of(self()).read_buffer(n).data(), static_cast<std::size_t>(size));
    return size >= 0;
  };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_READ, attempt);
  co_return data;
}

Coroutine<std::pair<std::size_t, SocketAddress>> AbstractEventLoop::sock_recvfrom_into(int fd, std::span<char> buffer) {
  SocketAddress from;
  ssize_t n = 0;
  const auto attempt = [&] {
    n = ::recvfrom(checked(self(), fd), buffer.data(), buffer.size(), 0, from.room(), from.room_size());
    return done(n, "recvfrom");
  };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_READ, attempt);
  co_return std::pair(n, from);
}

Coroutine<std::pair<std::string, SocketAddress>> AbstractEventLoop::sock_recvfrom(int fd, std::size_t n) {
  std::string data(n, '\0');
  const std::pair<std::size_t, SocketAddress> received = co_await sock_recvfrom_into(fd, data);
  data.resize(received.first);
  co_return std::pair(std::move(data), received.second);
}

Coroutine<void> AbstractEventLoop::sock_sendall(int fd, std::string_view data) {
  const auto attempt = [&] {
    const ssize_t n = ::send(checked(self(), fd), data.data(), data.size(), MSG_NOSIGNAL);
    if (done(n, "send")) data.remove_prefix(static_cast<std::size_t>(n));
    return data.empty();
  };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_WRITE, attempt);
}

Coroutine<std::size_t> AbstractEventLoop::sock_sendto(int fd, std::string_view data, SocketAddress address) {
  ssize_t n = 0;
  const auto attempt = [&] {
    n = ::sendto(checked(self(), fd), data.data(), data.size(), MSG_NOSIGNAL, address.data(), address.size());
    return done(n, "sendto");
  };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_WRITE, attempt);
  co_return n;
}

Coroutine<std::pair<int, SocketAddress>> AbstractEventLoop::sock_accept(int fd) {
  SocketAddress from;
  FileDescriptor connection;  // closed with the frame, if the task is cancelled before it goes on
  const auto attempt = [&] {
    connection =
        FileDescriptor(::accept4(checked(self(), fd), from.room(), from.room_size(), SOCK_NONBLOCK | SOCK_CLOEXEC));
    return (connection || errno != ECONNABORTED) && done(connection.get(), "accept");
  };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_READ, attempt);
  co_return std::pair(connection.release(), from);
}

Coroutine<void> AbstractEventLoop::sock_connect(int fd, SocketAddress address) {
  int error = ::connect(checked(self(), fd), address.data(), address.size()) == 0 ? 0 : errno;
  const auto attempt = [&] {
    socklen_t size = sizeof error;
    return check_call(::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), "getsockopt") == 0;
  };
  if (error == EINPROGRESS || error == EINTR) co_await attempt_when_ready(self(), fd, EVENT_WRITE, attempt);
  if (error != 0) throw_os_error(error, "Connect call failed " + address.str());
}

Coroutine<std::size_t> AbstractEventLoop::sock_sendfile(int fd, int file, std::size_t offset,
                                                        std::optional<std::size_t> count) {
  if (count == 0) throw ValueError("count must be a positive integer (got 0)");
  ignore_sigpipe();
  off_t position = static_cast<off_t>(offset);  // moved on by the call
  const auto attempt = [&] {                    // a mebibyte at most, so that others have their turn
    const std::size_t left = count.value_or(SIZE_MAX) - (static_cast<std::size_t>(position) - offset);
    const ssize_t n = ::sendfile(checked(self(), fd), file, &position, std::min<std::size_t>(left, 1 << 20));
    return done(n, "sendfile") && n == 0;
  };
  if (!attempt()) co_await attempt_when_ready(self(), fd, EVENT_WRITE, attempt);
  co_return static_cast<std::size_t>(position) - offset;
}

}  // namespace asyncio
