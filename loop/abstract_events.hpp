// What a loop offers beyond the kernel. Upstream counterpart: the abstract class of Lib/asyncio/events.py.
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

/// A transport and its protocol, which is what the factory returns.
template <class T, class Factory> using Connected = std::pair<std::shared_ptr<T>, std::invoke_result_t<Factory&>>;

/// What a loop offers beyond the kernel, as upstream's abstract class lists it: each method is defined in the room that
/// has the types, and is missing where the kernel stands alone. Programs call them on an EventLoop, which is the only
/// subclass. asyncio: events.AbstractEventLoop
class AbstractEventLoop {
 public:
  // Sockets, defined in task/io/sock.cpp: each tries first, then waits; a cancelled one has lost nothing. In debug mode
  // ValueError for a descriptor that blocks; RuntimeError when it must wait for one that a transport owns. OSError from the kernel.

  /// At most n bytes; none at the end. asyncio: selector_events.BaseSelectorEventLoop.sock_recv
  Coroutine<std::string> sock_recv(int fd, std::size_t n);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recv_into
  Coroutine<std::size_t> sock_recv_into(int fd, std::span<char> buffer);
  /// The bytes must outlive the await. asyncio: selector_events.BaseSelectorEventLoop.sock_sendall
  Coroutine<void> sock_sendall(int fd, std::string_view data);
  /// The new descriptor does not block, and is the caller's. asyncio: selector_events.BaseSelectorEventLoop.sock_accept
  Coroutine<std::pair<int, SocketAddress>> sock_accept(int fd);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_connect
  Coroutine<void> sock_connect(int fd, SocketAddress address);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recvfrom
  Coroutine<std::pair<std::string, SocketAddress>> sock_recvfrom(int fd, std::size_t n);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_recvfrom_into
  Coroutine<std::pair<std::size_t, SocketAddress>> sock_recvfrom_into(int fd, std::span<char> buffer);
  /// asyncio: selector_events.BaseSelectorEventLoop.sock_sendto
  Coroutine<std::size_t> sock_sendto(int fd, std::string_view data, SocketAddress address);
  /// Up to `count` bytes of a regular file from `offset` on, until its end; returns how many were sent.
  /// asyncio: base_events.BaseEventLoop.sock_sendfile
  Coroutine<std::size_t> sock_sendfile(int fd, int file, std::size_t offset = 0,
                                       std::optional<std::size_t> count = std::nullopt);

  // Connections, defined in task/io/servers.hpp. A factory is called once for each: () -> std::shared_ptr<P>.

  /// Connects to the first address of the host that answers, and gives (transport, protocol). OSError of the last one, or
  /// of all. asyncio: base_events.BaseEventLoop.create_connection
  template <class Factory> Coroutine<Connected<Transport, Factory>> create_connection(Factory factory, std::string host,
                                                                                      int port,
                                                                                      ConnectionOptions options = {});
  /// A listening socket for every address of the host, "" being all interfaces; port 0 lets the kernel choose one.
  /// asyncio: base_events.BaseEventLoop.create_server
  template <class Factory>
  Coroutine<Server> create_server(Factory factory, std::string host, int port, ServerOptions options = {});
  /// asyncio: base_events.BaseEventLoop.create_datagram_endpoint
  template <class Factory> Coroutine<Connected<DatagramTransport, Factory>> create_datagram_endpoint(
      Factory factory, std::optional<SocketAddress> local_addr, std::optional<SocketAddress> remote_addr = {});
  /// asyncio: unix_events._UnixSelectorEventLoop.create_unix_connection
  template <class Factory>
  Coroutine<Connected<Transport, Factory>> create_unix_connection(Factory factory, std::string path);
  /// Replaces a socket file that is there, and removes its own when it closes.
  /// asyncio: unix_events._UnixSelectorEventLoop.create_unix_server
  template <class Factory>
  Coroutine<Server> create_unix_server(Factory factory, std::string path, ServerOptions options = {});
  /// The transport owns the descriptor of a pipe, socket or character device; ValueError for another, which stays the
  /// caller's. asyncio: base_events.BaseEventLoop.connect_read_pipe
  template <class Factory> Coroutine<Connected<Transport, Factory>> connect_read_pipe(Factory factory, int fd);
  /// asyncio: base_events.BaseEventLoop.connect_write_pipe
  template <class Factory> Coroutine<Connected<Transport, Factory>> connect_write_pipe(Factory factory, int fd);

  // Threads and processes, defined in task/io/threads.hpp.

  /// f(args...) is called in a thread of the executor, or in a process of it; nullptr: the loop's own thread pool. Who
  /// cancels the future keeps it from running, if it did not start. asyncio: base_events.BaseEventLoop.run_in_executor
  template <class F, class... Args> auto run_in_executor(Executor* executor, F&& f, Args&&... args)
      -> Future<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>>;
  /// What nullptr stands for from now on. asyncio: base_events.BaseEventLoop.set_default_executor
  void set_default_executor(std::unique_ptr<Executor> executor);
  /// Waits until its threads have ended; run() does so. asyncio: base_events.BaseEventLoop.shutdown_default_executor
  Coroutine<void> shutdown_default_executor();
  /// Numeric addresses at once, names in a thread. OSError in the resolver's words.
  /// asyncio: base_events.BaseEventLoop.getaddrinfo
  Coroutine<std::vector<SocketAddress>> getaddrinfo(std::string host, std::string service);

  // Signals, defined in loop/io/unix_events.cpp.

  /// f(args...) is called by the loop after the signal arrived, at least once however full the machine's
  /// queues are. ValueError for a number that is no signal, RuntimeError outside the main thread or if it
  /// cannot be caught. asyncio: unix_events._UnixSelectorEventLoop.add_signal_handler
  template <class F, class... Args> void add_signal_handler(int signum, F&& f, Args&&... args) {
    add_signal_handle(signum, make_handle(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// Back to the default action; false if there was no handler.
  /// asyncio: unix_events._UnixSelectorEventLoop.remove_signal_handler
  bool remove_signal_handler(int signum);

  // Instruments, defined in loop/debug/instruments.cpp.

  /// It is told what the loop does, from now on, until it is removed or destroyed. No effect if it is added already;
  /// ValueError if it watches another loop. Like trio.lowlevel.add_instrument
  void add_instrument(Instrument& instrument);
  /// KeyError if it does not watch this loop. Like trio.lowlevel.remove_instrument
  void remove_instrument(Instrument& instrument);

 protected:
  AbstractEventLoop() = default;
  ~AbstractEventLoop() = default;

 private:
  EventLoop& self() noexcept;
  void add_signal_handle(int signum, Ref<HandleState> handle);
  Coroutine<void> wait_until_ready(int fd, unsigned event);
};

}  // namespace asyncio
