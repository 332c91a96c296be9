// The adapter between wslay and the loop: a library without I/O of its own, over streams. Client and server.
//
// The contract. The streams own the descriptor. wslay is given what was read, and hands out what is to be written; a
// task reads all the time, so that pings are answered and a farewell is noticed while nobody waits. Messages wait in a
// queue, so a cancelled recv() loses none. When the connection ends, for whatever reason, everybody who waits hears
// why. The task has a reference to the connection; the end of the WebSocket cancels it, and closes the streams.
#pragma once

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <wslay/wslay.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "asyncio.hpp"

namespace websocket {

/// The connection has ended: 1000 and 1001 are farewells, 1002 a frame that must not be, 1006 an end without a word.
class ConnectionClosed : public asyncio::Error {
 public:
  explicit ConnectionClosed(int code) : Error("code " + std::to_string(code)), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};
struct ConnectionClosedOK : ConnectionClosed {
  using ConnectionClosed::ConnectionClosed;
};
struct ConnectionClosedError : ConnectionClosed {
  using ConnectionClosed::ConnectionClosed;
};

/// The server answered the handshake with this HTTP status instead of 101.
class InvalidStatusCode : public asyncio::Error {
 public:
  explicit InvalidStatusCode(int status) : Error("HTTP " + std::to_string(status)), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};
/// What the other end sent is no handshake of this protocol's.
struct InvalidHandshake : asyncio::Error {
  using asyncio::Error::Error;
};

using Streams = std::pair<asyncio::StreamReader, asyncio::StreamWriter>;
enum class Side { client, server };

class WebSocket {
 public:
  /// Streams over which the handshake was made.
  WebSocket(Streams streams, Side side) : connection_(std::make_shared<Connection>(std::move(streams), side)) {
    reading_.emplace(asyncio::create_task(Connection::read(connection_)));
  }
  WebSocket(WebSocket&&) = default;
  ~WebSocket() {
    if (!connection_) return;  // moved from
    reading_->cancel();
    connection_->writer.transport()->abort();
  }

  /// The next message. ConnectionClosed.
  asyncio::Coroutine<std::string> recv() {
    try {
      co_return co_await connection_->messages.get();
    } catch (const asyncio::QueueShutDown&) {
      connection_->throw_closed();
    }
  }
  /// ConnectionClosed.
  asyncio::Coroutine<> send(std::string message) { return connection_->send(connection_, WSLAY_TEXT_FRAME, message); }
  /// Waits until the other end has answered. ConnectionClosed.
  asyncio::Coroutine<> ping() {
    const asyncio::Future<> pong(asyncio::get_running_loop());
    connection_->pongs.push_back(pong);
    co_await connection_->send(connection_, WSLAY_PING, "");
    co_await pong;
  }
  /// Says farewell, and waits for that of the other end; after five seconds it ends anyway.
  asyncio::Coroutine<> close(int code = WSLAY_CODE_NORMAL_CLOSURE) {
    wslay_event_queue_close(connection_->context.get(), code, nullptr, 0);
    connection_->flush();
    const std::vector<asyncio::Task<>> ended(1, *reading_);
    co_await asyncio::wait(ended, {.timeout = 5.0});
    connection_->writer.close();
  }

 private:
  struct Connection {
    Connection(Streams streams, Side side)
        : reader(std::move(streams.first)),
          writer(std::move(streams.second)),
          context(nullptr, wslay_event_context_free) {
      static constexpr wslay_event_callbacks CALLBACKS = {on_read, on_write, on_mask,   nullptr,
                                                          nullptr, nullptr,  on_message};
      wslay_event_context_ptr made = nullptr;
      const int failed = side == Side::client ? wslay_event_context_client_init(&made, &CALLBACKS, this)
                                              : wslay_event_context_server_init(&made, &CALLBACKS, this);
      if (failed) throw std::bad_alloc();
      context.reset(made);
      wslay_event_config_set_max_recv_msg_length(made, 16 << 20);
    }

    static asyncio::Coroutine<> read(std::shared_ptr<Connection> self) {
      const asyncio::Finally end([&] { self->end(); });
      try {
        while (wslay_event_want_read(self->context.get())) {
          const std::string data = co_await self->reader.read(64 * 1024);
          if (data.empty()) break;
          self->input = data;
          if (wslay_event_recv(self->context.get()) != 0) break;
          self->flush();
        }
      } catch (const asyncio::OSError&) {  // the connection broke: end() says so
      }
    }

    static asyncio::Coroutine<> send(std::shared_ptr<Connection> self, wslay_opcode opcode, std::string text) {
      if (self->closed) self->throw_closed();
      const wslay_event_msg message = {static_cast<std::uint8_t>(opcode),
                                       reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
      if (wslay_event_queue_msg(self->context.get(), &message) != 0) throw ConnectionClosedError(self->code());
      self->flush();
      try {
        co_await self->writer.drain();
      } catch (const asyncio::OSError&) {
        throw ConnectionClosedError(WSLAY_CODE_ABNORMAL_CLOSURE);
      }
    }

    void flush() { wslay_event_send(context.get()); }

    void end() {
      closed = true;
      writer.close();
      messages.shutdown();
      for (const asyncio::Future<>& pong : pongs) {
        if (!pong.done()) pong.set_exception(ConnectionClosedError(code()));
      }
    }

    // What they said, else what we said, else nothing was said.
    int code() const {
      if (wslay_event_get_close_received(context.get())) return wslay_event_get_status_code_received(context.get());
      if (wslay_event_get_close_sent(context.get())) return wslay_event_get_status_code_sent(context.get());
      return WSLAY_CODE_ABNORMAL_CLOSURE;
    }
    [[noreturn]] void throw_closed() const {
      if (code() == WSLAY_CODE_NORMAL_CLOSURE || code() == WSLAY_CODE_GOING_AWAY) throw ConnectionClosedOK(code());
      throw ConnectionClosedError(code());
    }

    // What wslay calls.
    static ssize_t on_read(wslay_event_context_ptr context, std::uint8_t* buffer, std::size_t size, int, void* data) {
      Connection& self = *static_cast<Connection*>(data);
      const std::size_t taken = std::min(size, self.input.size());
      std::copy_n(self.input.begin(), taken, buffer);
      self.input.remove_prefix(taken);
      if (taken > 0) return static_cast<ssize_t>(taken);
      wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
      return -1;
    }
    static ssize_t on_write(wslay_event_context_ptr, const std::uint8_t* bytes, std::size_t size, int, void* data) {
      static_cast<Connection*>(data)->writer.write({reinterpret_cast<const char*>(bytes), size});
      return static_cast<ssize_t>(size);
    }
    static int on_mask(wslay_event_context_ptr, std::uint8_t* mask, std::size_t size, void*) {
      return RAND_bytes(mask, static_cast<int>(size)) == 1 ? 0 : -1;
    }
    static void on_message(wslay_event_context_ptr, const wslay_event_on_msg_recv_arg* message, void* data) {
      Connection& self = *static_cast<Connection*>(data);
      if (message->opcode == WSLAY_TEXT_FRAME || message->opcode == WSLAY_BINARY_FRAME) {
        self.messages.put_nowait(std::string(reinterpret_cast<const char*>(message->msg), message->msg_length));
      } else if (message->opcode == WSLAY_PONG && !self.pongs.empty()) {
        if (!self.pongs.front().done()) self.pongs.front().set_result();
        self.pongs.pop_front();
      }
    }

    asyncio::StreamReader reader;
    asyncio::StreamWriter writer;
    std::unique_ptr<wslay_event_context, void (*)(wslay_event_context_ptr)> context;
    std::string_view input;
    asyncio::Queue<std::string> messages;
    std::deque<asyncio::Future<>> pongs;
    bool closed = false;
  };

  std::shared_ptr<Connection> connection_;
  std::optional<asyncio::Task<>> reading_;
};

inline std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  text.resize(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                              reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size())));
  return text;
}

/// What the server must answer to the client's key: it proves that it speaks this protocol (RFC 6455, 1.3).
inline std::string accept_key(const std::string& key) {
  const std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::string digest(20, '\0');
  EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr, EVP_sha1(), nullptr);
  return base64(digest);
}

/// The value of a header; "" if there is none.
inline std::string header(const std::string& head, const std::string& name) {
  const auto same = [](char a, char b) { return std::tolower(a & 0xff) == std::tolower(b & 0xff); };
  const std::string start = "\r\n" + name + ": ";
  const auto found = std::search(head.begin(), head.end(), start.begin(), start.end(), same);
  if (found == head.end()) return "";
  const auto value = found + static_cast<std::ptrdiff_t>(start.size());
  return std::string(value, std::find(value, head.end(), '\r'));
}

/// InvalidStatusCode, InvalidHandshake, OSError. asyncio's users: websockets.connect
inline asyncio::Coroutine<WebSocket> connect(int port, std::string path) {
  const Streams streams = co_await asyncio::open_connection("127.0.0.1", port);
  std::string nonce(16, '\0');
  RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), static_cast<int>(nonce.size()));
  const std::string key = base64(nonce);
  streams.second.write("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
                       "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key +
                       "\r\nSec-WebSocket-Version: 13\r\n\r\n");
  const std::string head = co_await streams.first.readuntil("\r\n\r\n");
  const int status = head.starts_with("HTTP/1.1 ") ? std::atoi(head.c_str() + 9) : 0;
  if (status == 0) throw InvalidHandshake("no HTTP");
  if (status != 101) throw InvalidStatusCode(status);
  if (header(head, "Sec-WebSocket-Accept") != accept_key(key)) throw InvalidHandshake("the wrong key");
  co_return WebSocket(streams, Side::client);
}

/// The server's side of a connection: (path) -> the status to answer with, 101 to accept.
template <class Choose> asyncio::Coroutine<WebSocket> accept(Streams streams, Choose choose) {
  const std::string head = co_await streams.first.readuntil("\r\n\r\n");
  const std::string key = header(head, "Sec-WebSocket-Key");
  const std::size_t end = head.find(' ', 4);
  int status = head.starts_with("GET /") && end != std::string::npos ? choose(head.substr(4, end - 4)) : 400;
  if (status == 101 && key.empty()) status = 400;
  if (status != 101) {
    streams.second.write("HTTP/1.1 " + std::to_string(status) + " Refused\r\nContent-Length: 0\r\n\r\n");
    streams.second.close();
    throw InvalidStatusCode(status);
  }
  streams.second.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: " +
      accept_key(key) + "\r\n\r\n");
  co_return WebSocket(streams, Side::server);
}

}  // namespace websocket
