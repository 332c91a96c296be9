// The methods of a loop beyond the kernel. Upstream counterpart: the abstract class of Lib/asyncio/events.py.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "loop/events.hpp"
#include "loop/python/sockets.hpp"

namespace asyncio {

class Server;             // task/io/servers.hpp
class Executor;           // loop/python/executors.hpp
class Transport;          // loop/io/transports.hpp
class DatagramTransport;  // loop/io/transports.hpp
struct Instrument;        // loop/debug/instruments.hpp

/// A transport and its protocol. The protocol has the type that the factory returns.
template <class T, class Factory> using Connected = std::pair<std::shared_ptr<T>, std::invoke_result_t<Factory&>>;

/// The methods of a loop beyond the kernel, as upstream's abstract class lists them. Each is defined in the directory
/// that has its types, so a program that links only the kernel has none of them. Programs call them on an EventLoop,
/// which is the only subclass. asyncio: events.AbstractEventLoop
class AbstractEventLoop {
 public:
  // Sockets, defined in task/io/sock.cpp. Each makes the system call at once; if it would block, a reader or writer
  // makes it again. What a cancellation may lose: NOTES [sock-wait]. In debug mode ValueError for a blocking descriptor.
  // RuntimeError if it has to wait for a descriptor that a transport owns. OSError from the kernel.

  /// Receives at most n bytes; an empty string at the end of the stream.
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recv
  Coroutine<std::string> sock_recv(int fd, std::size_t n);
  /// Receives into the buffer, which must outlive the await. Returns the number of bytes; 0 at the end.
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recv_into
  Coroutine<std::size_t> sock_recv_into(int fd, std::span<char> buffer);
  /// Sends all bytes, which must outlive the await. asyncio: selector_events.BaseSelectorEventLoop.sock_sendall
  Coroutine<void> sock_sendall(int fd, std::string_view data);
  /// Accepts a connection. The new descriptor is non-blocking, and the caller must close it.
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_accept
  Coroutine<std::pair<int, SocketAddress>> sock_accept(int fd);
  /// Connects the socket to the address. asyncio: selector_events.BaseSelectorEventLoop.sock_connect
  Coroutine<void> sock_connect(int fd, SocketAddress address);
  /// Receives one datagram of at most n bytes, and its sender.
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recvfrom
  Coroutine<std::pair<std::string, SocketAddress>> sock_recvfrom(int fd, std::size_t n);
  /// The same into a buffer, which must outlive the await. Returns the number of bytes and the sender.
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recvfrom_into
  Coroutine<std::pair<std::size_t, SocketAddress>> sock_recvfrom_into(int fd, std::span<char> buffer);
  /// Sends one datagram, whose bytes must outlive the await. asyncio: selector_events.BaseSelectorEventLoop.sock_sendto
  Coroutine<std::size_t> sock_sendto(int fd, std::string_view data, SocketAddress address);
  /// Sends a regular file from `offset` (in bytes) to its end, but at most `count` bytes. Returns how many were sent.
  /// ValueError for a count of 0.
  /// asyncio: base_events.BaseEventLoop.sock_sendfile
  Coroutine<std::size_t> sock_sendfile(int fd, int file, std::size_t offset = 0, std::optional<std::size_t> count = {});

  // Connections, defined in task/io/servers.hpp. A factory, () -> std::shared_ptr<P>, is called once per connection.

  /// Tries the addresses of the host in order and returns (transport, protocol) of the first that accepts. OSError,
  /// with the errors of all, if none does. asyncio: base_events.BaseEventLoop.create_connection
  template <class Factory> Coroutine<Connected<Transport, Factory>> create_connection(Factory factory, std::string host,
                                                                                      int port,
                                                                                      ConnectionOptions options = {});
  /// Listens on every address of the host. "" means all interfaces; with port 0 the kernel chooses a port. OSError if
  /// an address cannot be bound. asyncio: base_events.BaseEventLoop.create_server
  template <class Factory>
  Coroutine<Server> create_server(Factory factory, std::string host, int port, ServerOptions options = {});
  /// A datagram socket, bound to local_addr and connected to remote_addr where these are given. ValueError if neither
  /// is. asyncio: base_events.BaseEventLoop.create_datagram_endpoint
  template <class Factory> Coroutine<Connected<DatagramTransport, Factory>> create_datagram_endpoint(
      Factory factory, std::optional<SocketAddress> local_addr, std::optional<SocketAddress> remote_addr = {});
  /// As create_connection, to a UNIX socket. asyncio: unix_events._UnixSelectorEventLoop.create_unix_connection
  template <class Factory>
  Coroutine<Connected<Transport, Factory>> create_unix_connection(Factory factory, std::string path);
  /// As create_server, on a UNIX socket. Replaces an existing socket file, and removes its own when it closes.
  /// asyncio: unix_events._UnixSelectorEventLoop.create_unix_server
  template <class Factory>
  Coroutine<Server> create_unix_server(Factory factory, std::string path, ServerOptions options = {});
  /// Reads from a pipe, socket or character device; the transport then owns the descriptor. ValueError for any other
  /// file, which the caller still owns. asyncio: base_events.BaseEventLoop.connect_read_pipe
  template <class Factory> Coroutine<Connected<Transport, Factory>> connect_read_pipe(Factory factory, int fd);
  /// The same for writing. asyncio: base_events.BaseEventLoop.connect_write_pipe
  template <class Factory> Coroutine<Connected<Transport, Factory>> connect_write_pipe(Factory factory, int fd);

  // Threads and processes, defined in task/io/threads.hpp.

  /// Calls f(args...) in a thread or process of the executor; nullptr means the loop's default executor. The executor
  /// must live until the call has returned. Cancelling the future prevents a call that has not started yet.
  /// asyncio: base_events.BaseEventLoop.run_in_executor
  template <class F, class... Args> auto run_in_executor(Executor* executor, F&& f, Args&&... args)
      -> Future<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>>;
  /// Sets the executor that run_in_executor(nullptr, …) uses. With nullptr, a new thread pool is made when it is next
  /// needed. Destroys the one before, which may block until its threads have ended.
  /// asyncio: base_events.BaseEventLoop.set_default_executor
  void set_default_executor(std::unique_ptr<Executor> executor);
  /// Waits until the threads of the default executor have ended; it cannot be used afterwards. run() calls this.
  /// asyncio: base_events.BaseEventLoop.shutdown_default_executor
  Coroutine<void> shutdown_default_executor();
  /// Converts numeric addresses at once, and looks names up in a thread. OSError with the resolver's message.
  /// asyncio: base_events.BaseEventLoop.getaddrinfo
  Coroutine<std::vector<SocketAddress>> getaddrinfo(std::string host, std::string service);

  // Signals, defined in loop/io/unix_events.cpp.

  /// The loop calls f(args...) after the signal has arrived, also when the self-pipe was full at that moment.
  /// ValueError if signum is not a signal. RuntimeError outside the main thread, or if the signal cannot be caught.
  /// asyncio: unix_events._UnixSelectorEventLoop.add_signal_handler
  template <class F, class... Args> void add_signal_handler(int signum, F&& f, Args&&... args) {
    add_signal_handle(signum, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// Restores the signal's default action. Returns false if there was no handler.
  /// asyncio: unix_events._UnixSelectorEventLoop.remove_signal_handler
  bool remove_signal_handler(int signum);

  // Instruments, defined in loop/debug/instruments.cpp.

  /// From now on the instrument is told what the loop does, until it is removed or destroyed. No effect if it was
  /// already added. ValueError if it watches another loop. Like trio.lowlevel.add_instrument
  void add_instrument(Instrument& instrument);
  /// Removes an instrument. KeyError if it does not watch this loop. Like trio.lowlevel.remove_instrument
  void remove_instrument(Instrument& instrument);

 protected:
  AbstractEventLoop() = default;
  ~AbstractEventLoop() = default;

 private:
  EventLoop& self() noexcept;
  void add_signal_handle(int signum, Ref<HandleState> handle);
};

}  // namespace asyncio
