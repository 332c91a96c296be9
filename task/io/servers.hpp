// Connections and servers. Upstream counterpart: create_connection, create_server and Server of
// Lib/asyncio/base_events.py, with the UNIX sockets and pipes of unix_events.py.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "loop/io/selector_transports.hpp"
#include "task/tasks.hpp"

namespace asyncio {

/// Makes the protocol of a new connection.
using ProtocolFactory = std::function<std::shared_ptr<Protocol>()>;

/// The object behind a Server. It owns the listening sockets and lists its connections. asyncio: base_events.Server
class ServerState final : public AbstractServer, public std::enable_shared_from_this<ServerState> {
 public:
  ServerState(EventLoop& loop, std::vector<FileDescriptor> sockets, ProtocolFactory factory, int backlog);
  void attach(SelectorTransport& transport) override { clients_.insert(&transport); }
  void detach(SelectorTransport& transport) override;

  void start_serving();
  void close();
  // Static, so that the coroutine holds a reference to the server.
  static Coroutine<void> serve_forever(std::shared_ptr<ServerState> self);
  static Coroutine<void> wait_closed(std::shared_ptr<ServerState> self);

 private:
  friend class Server;
  EventLoop& loop() const { return anchor_->get_loop(); }
  void listen_for(int fd);
  void accept_connection(int fd);
  static Coroutine<void> accept_connection2(std::shared_ptr<ServerState> self, FileDescriptor socket);
  void wakeup();

  Ref<LoopAnchor> anchor_;
  std::vector<FileDescriptor> sockets_;
  std::string path_;  // of a UNIX socket
  ino_t inode_ = 0;   // of its file
  const ProtocolFactory factory_;
  const int backlog_;
  std::unordered_set<SelectorTransport*> clients_;
  std::vector<Future<void>> waiters_;
  AnyFuture serving_forever_fut_;
  bool serving_ = false;
  bool closed_ = false;
};

/// A reference to a server. The server runs on without one. asyncio: base_events.Server
class Server {
 public:
  explicit Server(std::shared_ptr<ServerState> state) noexcept : state_(std::move(state)) {}
  /// The addresses on which it listens; none after close(). asyncio: base_events.Server.sockets
  std::vector<SocketAddress> sockets() const;
  /// Whether it accepts connections. asyncio: base_events.Server.is_serving
  bool is_serving() const noexcept { return state_->serving_; }
  /// Starts accepting. RuntimeError if it is closed. asyncio: base_events.Server.start_serving
  Coroutine<void> start_serving() const { return start_serving(state_); }
  /// Accepts connections until it is cancelled, then closes the server. RuntimeError if it is already being awaited, or
  /// if the server is closed. asyncio: base_events.Server.serve_forever
  Coroutine<void> serve_forever() const { return ServerState::serve_forever(state_); }
  /// Stops accepting; existing connections stay open. asyncio: base_events.Server.close
  void close() const { state_->close(); }
  /// Waits until the server and all its connections are closed. asyncio: base_events.Server.wait_closed
  Coroutine<void> wait_closed() const { return ServerState::wait_closed(state_); }
  /// Closes the transports of all connections. asyncio: base_events.Server.close_clients
  void close_clients() const {
    for (SelectorTransport* client : state_->clients_) client->close();
  }
  /// The same, but discards their buffered data. asyncio: base_events.Server.abort_clients
  void abort_clients() const {
    for (SelectorTransport* client : state_->clients_) client->abort();
  }

 private:
  static Coroutine<void> start_serving(std::shared_ptr<ServerState> state);

  std::shared_ptr<ServerState> state_;
};

// The part of each method that does not depend on the factory's type.
Coroutine<FileDescriptor> connect_socket(EventLoop& loop, std::string host, int port, ConnectionOptions options);
Coroutine<FileDescriptor> connect_unix_socket(EventLoop& loop, std::string path);
Coroutine<Server> serve(EventLoop& loop, std::string host, int port, ProtocolFactory factory, ServerOptions options);
Coroutine<Server> serve_unix(EventLoop& loop, std::string path, ProtocolFactory factory, ServerOptions options);
FileDescriptor datagram_socket(const std::optional<SocketAddress>& local, const std::optional<SocketAddress>& remote);
/// Starts the transport and waits until connection_made() was called.
/// asyncio: base_events.BaseEventLoop._create_connection_transport
Coroutine<void> wait_connected(EventLoop& loop, std::shared_ptr<SelectorTransport> transport);

/// Makes a protocol and its transport T(loop, args…, protocol); returns both after connection_made() was called.
template <class Interface, class T, class Factory, class... Args>
Coroutine<Connected<Interface, Factory>> connect_transport(EventLoop& loop, Factory& factory, Args... args) {
  auto protocol = factory();
  const auto transport = std::make_shared<T>(loop, std::move(args)..., protocol);
  co_await wait_connected(loop, transport);
  co_return Connected<Interface, Factory>(transport, std::move(protocol));
}

template <class Factory>
Coroutine<Connected<Transport, Factory>> AbstractEventLoop::create_connection(Factory factory, std::string host,
                                                                              int port, ConnectionOptions options) {
  FileDescriptor socket = co_await connect_socket(self(), std::move(host), port, options);
  co_return co_await connect_transport<Transport, SelectorSocketTransport>(self(), factory, std::move(socket));
}

template <class Factory>
Coroutine<Connected<Transport, Factory>> AbstractEventLoop::create_unix_connection(Factory factory, std::string path) {
  FileDescriptor socket = co_await connect_unix_socket(self(), std::move(path));
  co_return co_await connect_transport<Transport, SelectorSocketTransport>(self(), factory, std::move(socket));
}

template <class Factory>
Coroutine<Connected<Transport, Factory>> AbstractEventLoop::connect_read_pipe(Factory factory, int fd) {
  FileDescriptor pipe = own_pipe(fd);
  co_return co_await connect_transport<Transport, UnixReadPipeTransport>(self(), factory, std::move(pipe));
}

template <class Factory>
Coroutine<Connected<Transport, Factory>> AbstractEventLoop::connect_write_pipe(Factory factory, int fd) {
  FileDescriptor pipe = own_pipe(fd);
  co_return co_await connect_transport<Transport, UnixWritePipeTransport>(self(), factory, std::move(pipe));
}

template <class Factory> Coroutine<Connected<DatagramTransport, Factory>> AbstractEventLoop::create_datagram_endpoint(
    Factory factory, std::optional<SocketAddress> local_addr, std::optional<SocketAddress> remote_addr) {
  FileDescriptor socket = datagram_socket(local_addr, remote_addr);
  co_return co_await connect_transport<DatagramTransport, SelectorDatagramTransport>(self(), factory, std::move(socket),
                                                                                     remote_addr);
}

/// A std::function must be copied: the factory need not.
template <class Factory> ProtocolFactory shared_factory(Factory factory) {
  return [shared = std::make_shared<Factory>(std::move(factory))] { return (*shared)(); };
}

template <class Factory>
Coroutine<Server> AbstractEventLoop::create_server(Factory factory, std::string host, int port, ServerOptions options) {
  return serve(self(), std::move(host), port, shared_factory(std::move(factory)), options);
}

template <class Factory>
Coroutine<Server> AbstractEventLoop::create_unix_server(Factory factory, std::string path, ServerOptions options) {
  return serve_unix(self(), std::move(path), shared_factory(std::move(factory)), options);
}

}  // namespace asyncio
