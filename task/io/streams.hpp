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

/// The object behind a StreamReader. asyncio: streams.StreamReader
class StreamReaderState : public Counted {
 public:
  StreamReaderState(EventLoop& loop, std::size_t limit);

  void set_transport(std::shared_ptr<Transport> transport) { transport_ = std::move(transport); }
  void feed_data(std::string_view data);
  void feed_eof();
  void set_exception(std::exception_ptr exception);
  std::exception_ptr exception() const { return exception_; }
  bool at_eof() const noexcept { return eof_ && size() == 0; }
  EventLoop& loop() const { return anchor_->get_loop(); }

  // Static, so that the coroutine holds a reference to the reader while it runs.
  static Coroutine<std::string> read(Ref<StreamReaderState> self, std::ptrdiff_t n);
  static Coroutine<std::string> readline(Ref<StreamReaderState> self);
  static Coroutine<std::string> readexactly(Ref<StreamReaderState> self, std::size_t n);
  static Coroutine<std::string> readuntil(Ref<StreamReaderState> self, std::vector<std::string> separators);

 private:
  std::size_t size() const noexcept { return buffer_.size() - start_; }
  std::string_view data() const noexcept { return std::string_view(buffer_).substr(start_); }
  std::string take(std::size_t n);
  void maybe_resume_transport(std::size_t left);
  void wakeup_waiter();
  Coroutine<void> wait_for_data(const char* caller);
  std::optional<std::size_t> find_end(const std::vector<std::string>& ends, std::size_t& from) const;

  Ref<LoopAnchor> anchor_;
  const std::size_t limit_;
  std::string buffer_;
  std::size_t start_ = 0;  // bytes at the start of the buffer that were already read
  std::optional<Future<void>> waiter_;
  std::exception_ptr exception_;
  std::shared_ptr<Transport> transport_;
  bool eof_ = false;
  bool paused_ = false;
};

/// A reference to the reading end of a stream. Only one coroutine may wait for data at a time; RuntimeError for a
/// second. If the connection was lost with an error, every read raises it. asyncio: streams.StreamReader
class StreamReader {
 public:
  /// `limit` is the longest line or separated part, in bytes. ValueError if it is 0.
  explicit StreamReader(std::size_t limit = DEFAULT_LIMIT) : StreamReader(limit, get_event_loop()) {}
  StreamReader(std::size_t limit, EventLoop& loop) : state_(make_ref<StreamReaderState>(loop, limit)) {}

  /// Reads at least one byte and at most n; "" at the end. With n < 0, reads everything until the end.
  /// asyncio: streams.StreamReader.read
  Coroutine<std::string> read(std::ptrdiff_t n = -1) const { return StreamReaderState::read(state_, n); }
  /// Reads a line with its newline. The last line may have none; "" at the end. ValueError if it exceeds the limit.
  /// asyncio: streams.StreamReader.readline
  Coroutine<std::string> readline() const { return StreamReaderState::readline(state_); }
  /// Reads n bytes. IncompleteReadError if the stream ends before. asyncio: streams.StreamReader.readexactly
  Coroutine<std::string> readexactly(std::size_t n) const { return StreamReaderState::readexactly(state_, n); }
  /// Reads up to and including the separator; of several, the one that ends first. IncompleteReadError if the stream
  /// ends before. LimitOverrunError, and nothing is read, if the part before the separator exceeds the limit.
  /// ValueError for an empty separator. asyncio: streams.StreamReader.readuntil
  Coroutine<std::string> readuntil(std::string separator = "\n") const {
    return readuntil(std::vector<std::string>(1, std::move(separator)));
  }
  Coroutine<std::string> readuntil(std::vector<std::string> separators) const {
    return StreamReaderState::readuntil(state_, std::move(separators));
  }
  /// Reads a line; nullopt at the end: `while (auto line = co_await reader.anext())`.
  /// asyncio: streams.StreamReader.__anext__
  Coroutine<std::optional<std::string>> anext() const { return anext(state_); }
  /// Whether the stream has ended and everything was read. asyncio: streams.StreamReader.at_eof
  bool at_eof() const noexcept { return state_->at_eof(); }

  // For the protocol that feeds the reader.
  /// Appends received bytes. RuntimeError after feed_eof(). asyncio: streams.StreamReader.feed_data
  void feed_data(std::string_view data) const { state_->feed_data(data); }
  /// The stream has ended. asyncio: streams.StreamReader.feed_eof
  void feed_eof() const { state_->feed_eof(); }
  /// From now on every read raises the exception. asyncio: streams.StreamReader.set_exception
  void set_exception(std::exception_ptr exception) const { state_->set_exception(std::move(exception)); }
  /// The exception that was set, or null. asyncio: streams.StreamReader.exception
  std::exception_ptr exception() const { return state_->exception(); }
  /// The transport to pause when the buffer is full. asyncio: streams.StreamReader.set_transport
  void set_transport(std::shared_ptr<Transport> transport) const { state_->set_transport(std::move(transport)); }
  /// RuntimeError "Event loop is closed" if it was destroyed.
  EventLoop& get_loop() const { return state_->loop(); }

 private:
  static Coroutine<std::optional<std::string>> anext(Ref<StreamReaderState> state);

  Ref<StreamReaderState> state_;
};

class StreamWriter;

/// Called for each new client. Returns the task that serves the client, or null.
using ClientConnected = std::function<AnyFuture(StreamReader, StreamWriter)>;

/// Passes what a transport receives to a StreamReader, and lets drain() wait. asyncio: streams.StreamReaderProtocol
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

  /// Waits while writing is paused. OSError if the connection is lost. asyncio: streams.FlowControlMixin._drain_helper
  Coroutine<void> drain_helper();
  /// Done when the connection is lost. asyncio: streams.StreamReaderProtocol._get_close_waiter
  Future<void> get_close_waiter() const { return closed_; }
  const StreamReader& reader() const noexcept { return reader_; }

 private:
  StreamReader reader_;
  ClientConnected client_connected_cb_;
  std::vector<Future<void>> drain_waiters_;
  Future<void> closed_;
  bool paused_ = false, connection_lost_ = false;
};

/// A reference to the writing end of a stream. When the last reference is gone, the stream is closed, unless another
/// protocol has got the transport; then wait_closed() does not wait either. NOTES [detached-writer]
/// asyncio: streams.StreamWriter
class StreamWriter {
 public:
  StreamWriter(std::shared_ptr<Transport> transport, std::shared_ptr<StreamReaderProtocol> protocol,
               std::optional<StreamReader> reader);

  /// Sends or buffers the bytes; never blocks. Await drain() afterwards, to limit the buffer. RuntimeError after
  /// write_eof(). asyncio: streams.StreamWriter.write
  void write(std::string_view data) const { transport()->write(data); }
  /// asyncio: streams.StreamWriter.writelines
  void writelines(const std::vector<std::string>& data) const { transport()->writelines(data); }
  /// Closes the sending direction once the buffer is empty. asyncio: streams.StreamWriter.write_eof
  void write_eof() const { transport()->write_eof(); }
  /// asyncio: streams.StreamWriter.can_write_eof
  bool can_write_eof() const { return transport()->can_write_eof(); }
  /// If the buffer is above its high-water mark, waits until it is down to the low-water mark. Raises the error with
  /// which the connection was lost; OSError if it was lost without one. asyncio: streams.StreamWriter.drain
  Coroutine<void> drain() const { return drain(state_); }
  /// Sends what is buffered, then closes the stream. asyncio: streams.StreamWriter.close
  void close() const { transport()->close(); }
  /// asyncio: streams.StreamWriter.is_closing
  bool is_closing() const { return transport()->is_closing(); }
  /// Waits until the connection is closed. Raises the error with which it was lost.
  /// asyncio: streams.StreamWriter.wait_closed
  Coroutine<void> wait_closed() const { return wait_closed(state_); }
  /// asyncio: streams.StreamWriter.get_extra_info
  std::optional<SocketAddress> get_extra_info(std::string_view name) const { return transport()->get_extra_info(name); }
  /// asyncio: streams.StreamWriter.transport
  const std::shared_ptr<Transport>& transport() const noexcept { return state_->transport; }
  /// From now on the stream goes through another transport, such as one that encrypts, which lies over the old one and
  /// passes on what it receives to the old one's protocol; so wait_closed() still ends when the connection does.
  /// asyncio: streams.StreamWriter.start_tls, without the TLS
  void replace_transport(std::shared_ptr<Transport> transport) const {
    if (state_->reader) state_->reader->set_transport(transport);
    state_->transport = std::move(transport);
  }

 private:
  struct State : Counted {
    State(std::shared_ptr<Transport> t, std::shared_ptr<StreamReaderProtocol> p, std::optional<StreamReader> r)
        : transport(std::move(t)), protocol(std::move(p)), reader(std::move(r)) {}
    ~State() override;
    bool detached() const { return transport->get_protocol() && transport->get_protocol() != protocol; }
    std::shared_ptr<Transport> transport;
    std::shared_ptr<StreamReaderProtocol> protocol;
    std::optional<StreamReader> reader;
  };
  static Coroutine<void> drain(Ref<State> state);
  static Coroutine<void> wait_closed(Ref<State> state);

  Ref<State> state_;
};

using StreamOptions = ConnectionOptions;
using StreamServerOptions = ServerOptions;
/// The two ends of a stream.
using StreamPair = std::pair<StreamReader, StreamWriter>;

/// A transport T over the descriptor, with a new StreamReaderProtocol.
template <class T>
Coroutine<std::pair<std::shared_ptr<Transport>, std::shared_ptr<StreamReaderProtocol>>> connect_stream(
    FileDescriptor fd, std::size_t limit) {
  EventLoop& loop = get_running_loop();
  const auto factory = [&] { return std::make_shared<StreamReaderProtocol>(StreamReader(limit, loop)); };
  co_return co_await connect_transport<Transport, T>(loop, factory, std::move(fd));
}

/// Connects to a server and returns the two ends of the stream. Errors as create_connection.
/// asyncio: streams.open_connection
Coroutine<StreamPair> open_connection(std::string host, int port, StreamOptions options = {});
/// The same to a UNIX socket. asyncio: streams.open_unix_connection
Coroutine<StreamPair> open_unix_connection(std::string path, StreamOptions options = {});

Coroutine<Server> start_stream_server(ClientConnected cb, std::string host, int port, StreamServerOptions options);
Coroutine<Server> start_unix_stream_server(ClientConnected cb, std::string path, StreamServerOptions options);

/// The coroutine of a client and its callable, which may outlive the server.
template <class F, class T> Coroutine<void> serve_client_(std::shared_ptr<F> /*callback*/, Coroutine<T> client) {
  co_await std::move(client);
}

/// Wraps a callable (StreamReader, StreamWriter) that returns a Coroutine, which becomes a task, or nothing.
template <class F> ClientConnected client_connected(F f) {
  return [callback = std::make_shared<F>(std::move(f))](StreamReader reader, StreamWriter writer) -> AnyFuture {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, StreamReader, StreamWriter>>) {
      (*callback)(reader, writer);
      return AnyFuture();
    } else {
      return get_running_loop().create_task(serve_client_(callback, (*callback)(reader, writer)));
    }
  };
}

/// Calls cb(reader, writer), upstream's client_connected_cb, for every connection and runs the coroutine that it returns as a task.
/// Errors as create_server. asyncio: streams.start_server
template <class F> Coroutine<Server> start_server(F cb, std::string host, int port, StreamServerOptions options = {}) {
  return start_stream_server(client_connected(std::move(cb)), std::move(host), port, options);
}
/// The same on a UNIX socket. asyncio: streams.start_unix_server
template <class F> Coroutine<Server> start_unix_server(F cb, std::string path, StreamServerOptions options = {}) {
  return start_unix_stream_server(client_connected(std::move(cb)), std::move(path), options);
}

}  // namespace asyncio
