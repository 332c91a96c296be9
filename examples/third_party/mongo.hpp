// A client for MongoDB's wire protocol: libbson for the documents, the framing by hand (OP_MSG), over streams.
//
// The contract. The streams own the descriptor. One task reads; every message says which request it answers, so many can
// ask at once, and the answers may come in any order. An await that is cancelled leaves its request unanswered: the
// answer finds nobody, and is dropped. A message whose frame is wrong poisons the connection, because nobody knows where
// the next one begins: everybody who waits gets the error, and the connection is closed. The task has a reference to
// the connection; the end of the Client cancels it.
#pragma once

#include <bson/bson.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "asyncio.hpp"

namespace mongo {

/// The server answered "ok": 0.
class OperationFailure : public asyncio::Error {
 public:
  OperationFailure(const std::string& message, int code) : Error(message), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};
/// There is no connection, or it was lost before the answer.
struct ConnectionError : asyncio::Error {
  using asyncio::Error::Error;
};
/// What came is no message of this protocol's.
struct ProtocolError : ConnectionError {
  using ConnectionError::ConnectionError;
};

/// A BSON document, written as JSON, and read by paths.
class Document {
 public:
  /// ValueError if it is no JSON.
  explicit Document(const std::string& json) {
    bson_error_t error{};
    bson_t bson;
    if (!bson_init_from_json(&bson, json.data(), static_cast<ssize_t>(json.size()), &error)) {
      throw asyncio::ValueError(error.message);
    }
    const asyncio::Finally destroy([&] { bson_destroy(&bson); });
    bytes_.assign(reinterpret_cast<const char*>(bson_get_data(&bson)), bson.len);
  }
  /// ProtocolError if these bytes are no document.
  static Document of_bytes(std::string bytes) {
    Document document;
    document.bytes_ = std::move(bytes);
    bson_t view;
    if (!document.init(view) || !bson_validate(&view, BSON_VALIDATE_NONE, nullptr)) {
      throw ProtocolError("no BSON document");
    }
    return document;
  }
  const std::string& bytes() const { return bytes_; }
  /// A value by its path, "cursor.firstBatch.0.name"; nullopt if there is none, or it is neither text nor number.
  std::optional<std::string> get(const std::string& path) const {
    bson_t view;
    bson_iter_t top, found;
    if (!init(view) || !bson_iter_init(&top, &view)) return std::nullopt;
    if (!bson_iter_find_descendant(&top, path.c_str(), &found)) return std::nullopt;
    if (BSON_ITER_HOLDS_UTF8(&found)) return bson_iter_utf8(&found, nullptr);
    if (BSON_ITER_HOLDS_NUMBER(&found)) return std::to_string(bson_iter_as_int64(&found));
    return std::nullopt;
  }

 private:
  Document() = default;
  bool init(bson_t& view) const {
    return bson_init_static(&view, reinterpret_cast<const std::uint8_t*>(bytes_.data()), bytes_.size());
  }
  std::string bytes_;
};

class Client {
 public:
  /// Of what open_connection has returned.
  explicit Client(std::pair<asyncio::StreamReader, asyncio::StreamWriter> streams)
      : connection_(std::make_shared<Connection>(std::move(streams))),
        reading_(asyncio::create_task(Connection::read(connection_))) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    reading_.cancel();
    connection_->writer.transport()->abort();
  }

  /// Runs a command, such as {"ping": 1, "$db": "admin"}. OperationFailure, ConnectionError.
  asyncio::Coroutine<std::shared_ptr<const Document>> command(std::string json) {
    const Document request(json);
    Connection& connection = *connection_;
    if (connection.writer.is_closing()) throw ConnectionError("not connected");
    const std::int32_t id = ++connection.last_id;
    const asyncio::Future<Answer> answer(asyncio::get_running_loop());
    connection.waiting.emplace(id, answer);
    const asyncio::Finally forget([kept = connection_, id] { kept->waiting.erase(id); });
    connection.writer.write(framed(id, request.bytes()));
    const Answer document = co_await answer;
    if (document->get("ok").value_or("0") != "1") {
      throw OperationFailure(document->get("errmsg").value_or(""),
                             std::atoi(document->get("code").value_or("0").c_str()));
    }
    co_return document;
  }

 private:
  using Answer = std::shared_ptr<const Document>;
  struct Header {
    std::int32_t length, id, answers, opcode;
  };
  static constexpr std::int32_t OP_MSG = 2013, SMALLEST = 16 + 4 + 1 + 5, LARGEST = 48'000'000;
  static_assert(std::endian::native == std::endian::little, "the wire is little-endian, and so must we be");

  // Header, flags, the kind of the only section, the document.
  static std::string framed(std::int32_t id, std::string_view document) {
    const Header header{static_cast<std::int32_t>(sizeof(Header) + 4 + 1 + document.size()), id, 0, OP_MSG};
    std::string message(reinterpret_cast<const char*>(&header), sizeof header);
    return message.append(5, '\0').append(document);
  }

  struct Connection {
    explicit Connection(std::pair<asyncio::StreamReader, asyncio::StreamWriter> streams)
        : reader(std::move(streams.first)), writer(std::move(streams.second)) {}

    static asyncio::Coroutine<> read(std::shared_ptr<Connection> self) {
      std::exception_ptr why;
      try {
        for (;;) co_await self->read_message();
      } catch (const ProtocolError&) {
        why = std::current_exception();
      } catch (const std::exception& error) {
        why = std::make_exception_ptr(ConnectionError(error.what()));
      }
      self->end(why);
    }

    asyncio::Coroutine<> read_message() {
      const std::string bytes = co_await reader.readexactly(sizeof(Header));
      Header header{};
      std::memcpy(&header, bytes.data(), sizeof header);
      if (header.length < SMALLEST || header.length > LARGEST) throw ProtocolError("wrong length");
      if (header.opcode != OP_MSG) throw ProtocolError("wrong opcode");
      const std::string body = co_await reader.readexactly(header.length - sizeof(Header));
      std::uint32_t flags = 0;
      std::memcpy(&flags, body.data(), sizeof flags);
      if (flags != 0 || body[4] != 0) throw ProtocolError("flags or sections that nobody has asked for");
      const auto document = std::make_shared<const Document>(Document::of_bytes(body.substr(5)));
      const auto asker = waiting.find(header.answers);
      if (asker != waiting.end() && !asker->second.done()) asker->second.set_result(document);
    }

    void end(std::exception_ptr why) {
      writer.transport()->abort();
      for (const auto& [id, answer] : waiting) {
        if (!answer.done()) answer.set_exception(why);
      }
    }

    asyncio::StreamReader reader;
    asyncio::StreamWriter writer;
    std::unordered_map<std::int32_t, asyncio::Future<Answer>> waiting;
    std::int32_t last_id = 0;
  };

  const std::shared_ptr<Connection> connection_;
  asyncio::Task<> reading_;
};

}  // namespace mongo
