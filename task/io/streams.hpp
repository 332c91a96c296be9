// Streams over a transport. Upstream counterpart: Lib/asyncio/streams.py.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "task/io/servers.hpp"

namespace asyncio {

/// Bytes that a reader holds before it makes the transport pause, at twice as many.
inline constexpr std::size_t DEFAULT_LIMIT = 64 * 1024;

/// A stream's reading end, the object. asyncio: streams.StreamReader
class StreamReaderState : public Counted {
 public:
  StreamReaderState(EventLoop& loop, std::size_t limit);

  void set_transport(std::shared_ptr<Transport> transport) { transport_ = std::move(transport); }
  void feed_data(std::string_view data);
  void feed_eof();
  void set_exception(std::exception_ptr exception);
  std::exception_ptr exception() const { return exception_; }
  bool at_eof() const noexcept { return eof_ && size() == 0; }
  EventLoop& loop() const noexcept { return loop_; }

  // Each keeps the reader while it runs.
  static Coroutine<std::string> read(Ref<StreamReaderState> self, std::ptrdiff_t n);
  static Coroutine<std::string> readline(Ref<StreamReaderState> self);
  static Coroutine<std::string> readexactly(Ref<StreamReaderState> self, std::size_t n);
  static Coroutine<std::string> readuntil(Ref<StreamReaderState> self, std::vector<std::string> separators);

 private:
  std::size_t size() const noexcept { return buffer_.size() - start_; }
  std::string_view data() const noexcept { return std::string_view(buffer_).substr(start_); }
  std::string take(std::size_t n);
  void maybe_resume_transport();
  void resume_transport();
  void wakeup_waiter();
  Coroutine<void> wait_for_data(const char* caller);
  std::optional<std::size_t> find_end(const std::vector<std::string>& separators, std::size_t& offset) const;

  EventLoop& loop_;
  const std::size_t limit_;
  std::string buffer_;
  std::size_t start_ = 0;  // what was taken from the buffer
  std::optional<Future<void>> waiter_;
  std::exception_ptr exception_;
  std::shared_ptr<Transport> transport_;
  bool eof_ = false;
  bool paused_ = false;
};

/// A reference to the reading end of a stream. One coroutine reads at a time: RuntimeError for the second. What the
/// connection died of is raised by all. asyncio: streams.StreamReader
class StreamReader {
 public:
  /// ValueError for a limit of 0.
  explicit StreamReader(std::size_t limit = DEFAULT_LIMIT) : StreamReader(limit, get_event_loop()) {}
  StreamReader(std::size_t limit, EventLoop& loop) : state_(make_ref<StreamReaderState>(loop, limit)) {}

  /// At most n bytes, at least one, "" at the end; n < 0: all until the end. asyncio: streams.StreamReader.read
  Coroutine<std::string> read(std::ptrdiff_t n = -1) const { return StreamReaderState::read(state_, n); }
  /// With its newline; without one at the end; "" after it. ValueError for a line above the limit.
  /// asyncio: streams.StreamReader.readline
  Coroutine<std::string> readline() const { return StreamReaderState::readline(state_); }
  /// IncompleteReadError if the stream ends before. asyncio: streams.StreamReader.readexactly
  Coroutine<std::string> readexactly(std::size_t n) const { return StreamReaderState::readexactly(state_, n); }
  /// With the separator, of several the one that ends first. IncompleteReadError at the end; LimitOverrunError, and
  /// nothing is taken, when it would be longer than the limit. asyncio: streams.StreamReader.readuntil
  Coroutine<std::string> readuntil(std::string separator = "\n") const {
    return readuntil(std::vector<std::string>(1, std::move(separator)));
  }
  Coroutine<std::string> readuntil(std::vector<std::string> separators) const {
    return StreamReaderState::readuntil(state_, std::move(separators));
  }
  /// A line, or nullopt at the end: `while (auto line = co_await reader.anext())`. asyncio: streams.StreamReader.__anext__
  Coroutine<std::optional<std::string>> anext() const { return anext(state_); }
  /// The end was reached and all was read. asyncio: streams.StreamReader.at_eof
  bool at_eof() const noexcept { return state_->at_eof(); }

  // For who feeds it: a protocol.
  /// asyncio: streams.StreamReader.feed_data
  void feed_data(std::string_view data) const { state_->feed_data(data); }
  /// asyncio: streams.StreamReader.feed_eof
  void feed_eof() const { state_->feed_eof(); }
  /// asyncio: streams.StreamReader.set_exception
  void set_exception(std::exception_ptr exception) const { state_->set_exception(std::move(exception)); }
  /// asyncio: streams.StreamReader.exception
  std::exception_ptr exception() const { return state_->exception(); }
  /// asyncio: streams.StreamReader.set_transport
  void set_transport(std::shared_ptr<Transport> transport) const { state_->set_transport(std::move(transport)); }
  EventLoop& get_loop() const noexcept { return state_->loop(); }

 private:
  static Coroutine<std::optional<std::string>> anext(Ref<StreamReaderState> state);

  Ref<StreamReaderState> state_;
};

class StreamWriter;

/// Starts what serves a client; null if there is nothing to wait for.
using ClientConnected = std::function<AnyFuture(StreamReader, StreamWriter)>;

/// Between a transport and a StreamReader; lets drain() wait. asyncio: streams.StreamReaderProtocol
class StreamReaderProtocol : public Protocol, public std::enable_shared_from_this<StreamReaderProtocol> {
 public:
  explicit StreamReaderProtocol(StreamReader reader, ClientConnected client_connected_cb = nullptr);
  ~StreamReaderProtocol() override;
  void connection_made(std::shared_ptr<Transport> transport) override;
  void data_received(std::string_view data) override { reader_.feed_data(data); }
  bool eof_received() override;
  void connection_lost(std::exception_ptr exception) override;
  /// asyncio: streams.FlowControlMixin.pause_writing
  void pause_writing() override { paused_ = true; }
  /// asyncio: streams.FlowControlMixin.resume_writing
  void resume_writing() override;

  /// asyncio: streams.FlowControlMixin._drain_helper
  Coroutine<void> drain_helper();
  /// asyncio: streams.StreamReaderProtocol._get_close_waiter
  Future<void> get_close_waiter() const { return closed_; }

 private:
  StreamReader reader_;
  ClientConnected client_connected_cb_;
  std::vector<Future<void>> drain_waiters_;
  Future<void> closed_;
  bool paused_ = false;
  bool connection_lost_ = false;
};

/// A reference to the writing end of a stream; the last one of an unclosed stream closes it. asyncio: streams.StreamWriter
class StreamWriter {
 public:
  StreamWriter(std::shared_ptr<Transport> transport, std::shared_ptr<StreamReaderProtocol> protocol,
               std::optional<StreamReader> reader);

  /// Never blocks: await drain() now and then. asyncio: streams.StreamWriter.write
  void write(std::string_view data) const { transport()->write(data); }
  /// asyncio: streams.StreamWriter.writelines
  void writelines(const std::vector<std::string>& data) const { transport()->writelines(data); }
  /// asyncio: streams.StreamWriter.write_eof
  void write_eof() const { transport()->write_eof(); }
  /// asyncio: streams.StreamWriter.can_write_eof
  bool can_write_eof() const { return transport()->can_write_eof(); }
  /// Waits while the buffer is above its high-water mark. Raises what the connection died of.
  /// asyncio: streams.StreamWriter.drain
  Coroutine<void> drain() const { return drain(state_); }
  /// asyncio: streams.StreamWriter.close
  void close() const { transport()->close(); }
  /// asyncio: streams.StreamWriter.is_closing
  bool is_closing() const { return transport()->is_closing(); }
  /// Raises what the connection died of. asyncio: streams.StreamWriter.wait_closed
  Coroutine<void> wait_closed() const { return wait_closed(state_); }
  /// asyncio: streams.StreamWriter.get_extra_info
  std::optional<SocketAddress> get_extra_info(std::string_view name) const { return transport()->get_extra_info(name); }
  /// asyncio: streams.StreamWriter.transport
  const std::shared_ptr<Transport>& transport() const noexcept { return state_->transport; }

 private:
  struct State : Counted {
    State(std::shared_ptr<Transport> t, std::shared_ptr<StreamReaderProtocol> p, std::optional<StreamReader> r)
        : transport(std::move(t)), protocol(std::move(p)), reader(std::move(r)) {}
    ~State() override;
    std::shared_ptr<Transport> transport;
    std::shared_ptr<StreamReaderProtocol> protocol;
    std::optional<StreamReader> reader;
  };
  static Coroutine<void> drain(Ref<State> state);
  static Coroutine<void> wait_closed(Ref<State> state);

  Ref<State> state_;
};

/// Options of open_connection.
struct StreamOptions {
  std::size_t limit = DEFAULT_LIMIT;
  std::optional<SocketAddress> local_addr{};
  int sock = -1;
};

/// Options of start_server.
struct StreamServerOptions {
  std::size_t limit = DEFAULT_LIMIT;
  int backlog = 100;
  bool reuse_port = false;
  bool start_serving = true;
  int sock = -1;
};

/// asyncio: streams.open_connection
Coroutine<std::pair<StreamReader, StreamWriter>> open_connection(std::string host, int port,
                                                                 StreamOptions options = {});
/// asyncio: streams.open_unix_connection
Coroutine<std::pair<StreamReader, StreamWriter>> open_unix_connection(std::string path, StreamOptions options = {});

Coroutine<Server> start_stream_server(ClientConnected client_connected, std::string host, int port,
                                      StreamServerOptions options);
Coroutine<Server> start_unix_stream_server(ClientConnected client_connected, std::string path,
                                           StreamServerOptions options);

/// The coroutine of a client holds the callable, which the server may have forgotten meanwhile.
template <class F>
Coroutine<void> serve_client_(std::shared_ptr<F> callback, StreamReader reader, StreamWriter writer) {
  co_await (*callback)(reader, writer);
}

/// A callable (StreamReader, StreamWriter) that returns a Coroutine or nothing.
template <class F> ClientConnected client_connected(F f) {
  return [callback = std::make_shared<F>(std::move(f))](StreamReader reader, StreamWriter writer) -> AnyFuture {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, StreamReader, StreamWriter>>) {
      (*callback)(reader, writer);
      return AnyFuture();
    } else {
      return get_running_loop().create_task(serve_client_(callback, reader, writer));
    }
  };
}

/// Calls client_connected_cb(reader, writer) for every connection; the coroutine that it returns runs as a task.
/// asyncio: streams.start_server
template <class F>
Coroutine<Server> start_server(F client_connected_cb, std::string host, int port, StreamServerOptions options = {}) {
  return start_stream_server(client_connected(std::move(client_connected_cb)), std::move(host), port, options);
}
/// asyncio: streams.start_unix_server
template <class F>
Coroutine<Server> start_unix_server(F client_connected_cb, std::string path, StreamServerOptions options = {}) {
  return start_unix_stream_server(client_connected(std::move(client_connected_cb)), std::move(path), options);
}

}  // namespace asyncio
