#include "task/io/servers.hpp"

#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace asyncio {
namespace {

constexpr double ACCEPT_RETRY_DELAY = 1;  // seconds: upstream's number

std::string service_of(int port) {
  SocketAddress("", port);  // ValueError if there is no such port
  return std::to_string(port);
}

std::vector<SocketAddress> without_duplicates(const std::vector<SocketAddress>& addresses) {
  std::vector<SocketAddress> unique;
  for (const SocketAddress& address : addresses) {
    if (std::find(unique.begin(), unique.end(), address) == unique.end()) unique.push_back(address);
  }
  return unique;
}

// asyncio: base_events.BaseEventLoop._connect_sock
Coroutine<FileDescriptor> connect_sock(EventLoop& loop, SocketAddress address, std::optional<SocketAddress> local) {
  FileDescriptor socket = make_socket(address.family(), SOCK_STREAM);
  if (local) check_call(::bind(socket.get(), local->data(), local->size()), "bind");
  co_await loop.sock_connect(socket.get(), address);
  co_return socket;
}

// Raises the first error if all have the same text, else an error that contains all texts.
[[noreturn]] void raise_all(const std::vector<std::exception_ptr>& errors) {
  bool same = true;
  std::string texts;
  for (const std::exception_ptr& error : errors) {
    same &= describe(error) == describe(errors.front());
    texts += (texts.empty() ? "" : ", ") + describe(error);
  }
  if (same) std::rethrow_exception(errors.front());
  throw_os_error(ECONNREFUSED, "Multiple exceptions: " + texts);
}

FileDescriptor bind_socket(const SocketAddress& address, const ServerOptions& options) {
  FileDescriptor socket = make_socket(address.family(), SOCK_STREAM);
  if (address.family() != AF_UNIX) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.family() == AF_INET6) set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (::bind(socket.get(), address.data(), address.size()) < 0) {
    throw_os_error(errno, "error while attempting to bind on address " + address.str());
  }
  return socket;
}

// A socket for every address whose family the machine supports.
std::vector<FileDescriptor> bind_sockets(const std::vector<SocketAddress>& addresses, const ServerOptions& options) {
  std::vector<FileDescriptor> sockets;
  for (const SocketAddress& address : without_duplicates(addresses)) {
    try {
      sockets.push_back(bind_socket(address, options));
    } catch (const OSError& error) {
      if (error.code().value() != EADDRNOTAVAIL && error.code().value() != EAFNOSUPPORT) throw;
    }
  }
  if (sockets.empty()) throw_os_error(EADDRNOTAVAIL, "could not bind on any address: " + addresses.front().str());
  return sockets;
}

Coroutine<Server> start(EventLoop& loop, std::vector<FileDescriptor> sockets, ProtocolFactory factory,
                        ServerOptions options) {
  const Server server(std::make_shared<ServerState>(loop, std::move(sockets), std::move(factory), options.backlog));
  try {
    if (options.start_serving) co_await server.start_serving();
  } catch (...) {
    server.close();
    throw;
  }
  co_return server;
}

FileDescriptor own_socket(const EventLoop& loop, int fd) {
  World::of(loop).ensure_fd_no_transport(fd);
  set_blocking(fd, false);
  return FileDescriptor(fd);
}

ino_t inode_of(const std::string& path) noexcept {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

// asyncio: base_events.BaseEventLoop.create_connection
Coroutine<FileDescriptor> connect_socket(EventLoop& loop, std::string host, int port, ConnectionOptions options) {
  if (options.sock >= 0) co_return own_socket(loop, options.sock);
  const std::vector<SocketAddress> addresses = co_await loop.getaddrinfo(std::move(host), service_of(port));
  std::vector<std::exception_ptr> errors;
  for (const SocketAddress& address : without_duplicates(addresses)) {
    try {
      co_return co_await connect_sock(loop, address, options.local_addr);
    } catch (const OSError&) {
      errors.push_back(std::current_exception());
    }
  }
  raise_all(errors);
}

Coroutine<FileDescriptor> connect_unix_socket(EventLoop& loop, std::string path) {
  return connect_sock(loop, SocketAddress::unix_path(path), std::nullopt);
}

FileDescriptor datagram_socket(const std::optional<SocketAddress>& local, const std::optional<SocketAddress>& remote) {
  if (!local && !remote) throw ValueError("unexpected address family: give a local or a remote address");
  FileDescriptor socket = make_socket(local ? local->family() : remote->family(), SOCK_DGRAM);
  if (local) check_call(::bind(socket.get(), local->data(), local->size()), "bind");
  if (remote) check_call(::connect(socket.get(), remote->data(), remote->size()), "connect");
  return socket;
}

Coroutine<void> wait_connected(EventLoop& loop, std::shared_ptr<SelectorTransport> transport) {
  const Future<void> waiter(loop);
  transport->start();
  try {
    loop.call_soon([waiter] { set_result_unless_cancelled(waiter); });
    co_await waiter;
  } catch (...) {
    transport->close();
    throw;
  }
}

Coroutine<Server> serve(EventLoop& loop, std::string host, int port, ProtocolFactory factory, ServerOptions options) {
  std::vector<FileDescriptor> sockets(1);
  if (options.sock >= 0) sockets[0] = own_socket(loop, options.sock);
  if (options.sock < 0) sockets = bind_sockets(co_await loop.getaddrinfo(std::move(host), service_of(port)), options);
  co_return co_await start(loop, std::move(sockets), std::move(factory), options);
}

Coroutine<Server> serve_unix(EventLoop& loop, std::string path, ProtocolFactory factory, ServerOptions options) {
  struct stat status;
  if (options.sock < 0 && ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
  std::vector<FileDescriptor> sockets(1);
  sockets[0] = options.sock < 0 ? bind_socket(SocketAddress::unix_path(path), options) : own_socket(loop, options.sock);
  co_return co_await start(loop, std::move(sockets), std::move(factory), options);
}

ServerState::ServerState(EventLoop& loop, std::vector<FileDescriptor> sockets, ProtocolFactory factory, int backlog)
    : anchor_(loop.anchor()), sockets_(std::move(sockets)), factory_(std::move(factory)), backlog_(backlog) {
  const SocketAddress address = getsockname(sockets_.front().get());
  if (address.family() != AF_UNIX) return;
  path_ = address.path();
  inode_ = inode_of(path_);
}

void ServerState::start_serving() {
  if (closed_) throw RuntimeError("the server is closed");
  if (std::exchange(serving_, true)) return;
  for (const FileDescriptor& socket : sockets_) {
    check_call(::listen(socket.get(), backlog_), "listen");
    listen_for(socket.get());
  }
}

// asyncio: selector_events.BaseSelectorEventLoop._start_serving
void ServerState::listen_for(int fd) {
  loop().add_reader(fd, [self = shared_from_this(), fd] { self->accept_connection(fd); });
}

// Accepts all connections that are waiting, because a reader is called only once in an iteration.
// asyncio: selector_events.BaseSelectorEventLoop._accept_connection
void ServerState::accept_connection(int fd) {
  for (int i = 0; i < backlog_ && !closed_; ++i) {
    FileDescriptor connection(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection) {
      loop().create_task(accept_connection2(shared_from_this(), std::move(connection)));
      continue;
    }
    if (would_block() || errno == ECONNABORTED) return;
    const bool out_of_resources = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (!out_of_resources) throw_os_error(errno, "accept");
    const std::exception_ptr error = raised_by([] { throw_os_error(errno, "accept"); });
    loop().report("socket.accept() out of system resource", {{}, error, {}, {}});
    // The socket stays readable, so without a pause this would fail again in every iteration.
    loop().call_later(ACCEPT_RETRY_DELAY, [self = shared_from_this(), fd] {
      const auto failed = self->closed_ ? nullptr : raised_by([&] { self->listen_for(fd); });
      if (!failed) return;
      self->close();
      std::rethrow_exception(failed);
    });
    loop().remove_reader(fd);
    return;
  }
}

// Makes the protocol and its transport. In debug mode an error is reported; the connection is closed.
// asyncio: selector_events.BaseSelectorEventLoop._accept_connection2
Coroutine<void> ServerState::accept_connection2(std::shared_ptr<ServerState> self, FileDescriptor socket) {
  EventLoop& loop = self->loop();
  try {
    const std::shared_ptr<Protocol> protocol = self->factory_();
    if (self->closed_) co_return;
    co_await wait_connected(loop, std::make_shared<SelectorSocketTransport>(loop, std::move(socket), protocol, self));
  } catch (const Exit&) {
    throw;
  } catch (...) {
    const ExceptionContext context{"Error on transport creation for incoming connection", caught_exception(), {}, {}};
    if (loop.get_debug()) loop.call_exception_handler(context);
  }
}

void ServerState::detach(SelectorTransport& transport) {
  clients_.erase(&transport);
  if (clients_.empty() && closed_ && anchor_->loop && !anchor_->loop->is_closed()) wakeup();
}

// asyncio: base_events.Server._wakeup
void ServerState::wakeup() {
  for (const Future<void>& waiter : std::exchange(waiters_, {})) {
    if (!waiter.done()) waiter.set_result();
  }
}

void ServerState::close() {
  if (std::exchange(closed_, true)) return;
  const auto self = shared_from_this();
  for (const FileDescriptor& socket : std::exchange(sockets_, {})) {
    if (anchor_->loop && !anchor_->loop->is_closed()) anchor_->loop->remove_reader(socket.get());
  }
  // Removes the file of a UNIX socket, unless another server has replaced it.
  if (inode_ != 0 && inode_of(path_) == inode_) ::unlink(path_.c_str());
  serving_ = false;
  if (const AnyFuture serving = std::exchange(serving_forever_fut_, AnyFuture())) serving.cancel();
  if (clients_.empty()) wakeup();
}

Coroutine<void> ServerState::serve_forever(std::shared_ptr<ServerState> self) {
  if (self->serving_forever_fut_) throw RuntimeError("the server is already being awaited on serve_forever()");
  self->start_serving();
  const Future<void> serving(self->loop());
  self->serving_forever_fut_ = serving;
  std::exception_ptr cancelled;
  try {
    co_await serving;
  } catch (...) {
    cancelled = std::current_exception();
  }
  self->serving_forever_fut_ = AnyFuture();
  self->close();
  co_await wait_closed(self);
  std::rethrow_exception(cancelled);
}

Coroutine<void> ServerState::wait_closed(std::shared_ptr<ServerState> self) {
  if (self->closed_ && self->clients_.empty()) co_return;
  const Future<void> waiter(self->loop());
  self->waiters_.push_back(waiter);
  co_await waiter;
}

std::vector<SocketAddress> Server::sockets() const {
  std::vector<SocketAddress> addresses;
  for (const FileDescriptor& socket : state_->sockets_) addresses.push_back(getsockname(socket.get()));
  return addresses;
}

Coroutine<void> Server::start_serving(std::shared_ptr<ServerState> state) {
  state->start_serving();
  co_await sleep(0);
}

}  // namespace asyncio
