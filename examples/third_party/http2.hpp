// The adapter between nghttp2 and the loop: many requests on one connection, by a library without I/O of its own.
//
// The contract. The streams own the descriptor. A task reads and feeds nghttp2; whatever it then wants to send is written
// at once. A Response is one HTTP/2 stream: the peer may send as much of it as the window allows, and the window grows
// when the program reads; the window of the connection grows at once, so that a stream that nobody reads does not stop
// the others. A Response that ends early, by a cancelled await or otherwise, resets its stream, and the connection goes
// on. The end of the Client cancels the task and closes the connection; Responses that are left raise ConnectionError.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "asyncio.hpp"

namespace http2 {

/// The peer has ended this stream, and no other, with this error code (RFC 9113, 7).
class StreamReset : public asyncio::Error {
 public:
  explicit StreamReset(std::uint32_t code) : Error(nghttp2_http2_strerror(code)), code_(code) {}
  std::uint32_t code() const { return code_; }

 private:
  std::uint32_t code_;
};
/// There is no connection, or it was lost.
struct ConnectionError : asyncio::Error {
  ConnectionError() : asyncio::Error("the connection is lost") {}
};

/// A stream, as the library's callbacks fill it and a Response empties it.
struct Stream {
  int id = 0, status = 0;
  std::string body;
  bool ended = false, lost = false;
  std::uint32_t error = NGHTTP2_NO_ERROR;
  asyncio::Event changed;
};

struct Connection {
  explicit Connection(std::pair<asyncio::StreamReader, asyncio::StreamWriter> both)
      : reader(std::move(both.first)), writer(std::move(both.second)), session(nullptr, nghttp2_session_del) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* options = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&options)) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_session* made = nullptr;
    const int failed = nghttp2_session_client_new2(&made, callbacks, this, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    if (failed) throw std::bad_alloc();
    session.reset(made);
    const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, &no_push, 1);
    flush();
  }

  static asyncio::Coroutine<> read(std::shared_ptr<Connection> self) {
    const asyncio::Finally end([&] { self->end(); });
    try {
      for (;;) {
        const std::string data = co_await self->reader.read(64 * 1024);
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(data.data());
        if (data.empty() || nghttp2_session_mem_recv(self->session.get(), bytes, data.size()) < 0) break;
        self->flush();
        if (!nghttp2_session_want_read(self->session.get())) break;
      }
    } catch (const asyncio::OSError&) {  // end() tells everybody
    }
  }

  void flush() {
    const std::uint8_t* bytes = nullptr;
    for (ssize_t size; (size = nghttp2_session_mem_send(session.get(), &bytes)) > 0;) {
      if (!writer.is_closing()) writer.write({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});
    }
  }

  void end() {
    writer.transport()->abort();
    for (const auto& [id, stream] : streams) stream->lost = !stream->ended, stream->changed.set();
    streams.clear();
  }

  std::shared_ptr<Stream> submit(std::string path, std::string authority) {
    if (writer.is_closing()) throw ConnectionError();
    std::array<std::pair<std::string, std::string>, 4> headers{
        {{":method", "GET"}, {":scheme", "http"}, {":authority", authority}, {":path", path}}};
    std::array<nghttp2_nv, 4> fields{};
    for (std::size_t i = 0; i < headers.size(); ++i) {
      auto& [name, value] = headers[i];
      fields[i] = {reinterpret_cast<std::uint8_t*>(name.data()), reinterpret_cast<std::uint8_t*>(value.data()),
                   name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
    }
    const auto stream = std::make_shared<Stream>();
    stream->id = nghttp2_submit_request(session.get(), nullptr, fields.data(), fields.size(), nullptr, nullptr);
    if (stream->id < 0) throw ConnectionError();
    streams.emplace(stream->id, stream);
    flush();
    return stream;
  }

  // What nghttp2 calls.
  static std::shared_ptr<Stream> find(void* data, std::int32_t id) {
    const auto& streams = static_cast<Connection*>(data)->streams;
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : found->second;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t, std::uint8_t, void* data) {
    const auto stream = find(data, frame->hd.stream_id);
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    if (stream && key == ":status") stream->status = std::atoi(reinterpret_cast<const char*>(value));
    return 0;
  }
  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void* data) {
    nghttp2_session_consume_connection(session, size);
    if (const auto stream = find(data, id)) {
      stream->body.append(reinterpret_cast<const char*>(bytes), size);
      stream->changed.set();
    }
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* data) {
    const auto stream = find(data, frame->hd.stream_id);
    if (stream && frame->hd.type == NGHTTP2_HEADERS) stream->changed.set();
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* data) {
    if (const auto stream = find(data, id)) {
      stream->ended = true;
      stream->error = error;
      stream->changed.set();
      static_cast<Connection*>(data)->streams.erase(id);
    }
    return 0;
  }

  asyncio::StreamReader reader;
  asyncio::StreamWriter writer;
  std::unique_ptr<nghttp2_session, void (*)(nghttp2_session*)> session;
  std::unordered_map<std::int32_t, std::shared_ptr<Stream>> streams;
};

class Response {
 public:
  Response(std::shared_ptr<Connection> connection, std::shared_ptr<Stream> stream)
      : connection_(std::move(connection)), stream_(std::move(stream)) {}
  Response(Response&&) = default;
  ~Response() {
    if (!stream_ || !connection_->streams.erase(stream_->id)) return;
    nghttp2_submit_rst_stream(connection_->session.get(), NGHTTP2_FLAG_NONE, stream_->id, NGHTTP2_CANCEL);
    connection_->flush();
  }

  int status() const { return stream_->status; }
  /// What has arrived and was not read: at most one window, 65,535 bytes.
  std::size_t buffered() const { return stream_->body.size(); }

  /// The next part of the body; "" at its end. StreamReset, ConnectionError.
  asyncio::Coroutine<std::string> read() {
    co_await until([](const Stream& stream) { return !stream.body.empty(); });
    std::string part = std::exchange(stream_->body, "");
    if (!stream_->ended) nghttp2_session_consume_stream(connection_->session.get(), stream_->id, part.size());
    connection_->flush();
    co_return part;
  }
  /// All of it.
  asyncio::Coroutine<std::string> read_all() {
    std::string all;
    for (std::string part; part = co_await read(), !part.empty();) all += part;
    co_return all;
  }
  asyncio::Coroutine<> headers() {
    co_await until([](const Stream& stream) { return stream.status != 0; });
  }

 private:
  template <class Condition> asyncio::Coroutine<> until(Condition condition) {
    while (!condition(*stream_) && !stream_->ended && !stream_->lost) {
      stream_->changed.clear();
      co_await stream_->changed.wait();
    }
    if (condition(*stream_)) co_return;
    if (stream_->lost) throw ConnectionError();
    if (stream_->error != NGHTTP2_NO_ERROR) throw StreamReset(stream_->error);
  }

  std::shared_ptr<Connection> connection_;
  std::shared_ptr<Stream> stream_;
};

class Client {
 public:
  /// Of what open_connection has returned; HTTP/2 from the first byte, without TLS.
  explicit Client(std::pair<asyncio::StreamReader, asyncio::StreamWriter> streams)
      : connection_(std::make_shared<Connection>(std::move(streams))),
        reading_(asyncio::create_task(Connection::read(connection_))) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    connection_->end();
    reading_.cancel();
  }

  /// When the headers are there. StreamReset, ConnectionError.
  asyncio::Coroutine<Response> get(std::string path) {
    Response response(connection_, connection_->submit(path, "localhost"));
    co_await response.headers();
    co_return response;
  }

 private:
  const std::shared_ptr<Connection> connection_;
  asyncio::Task<> reading_;
};

}  // namespace http2
