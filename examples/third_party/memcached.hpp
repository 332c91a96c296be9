// A client for memcached's text protocol, over streams.
//
// The contract. The streams own the descriptor. One command is under way at a time: a second one waits for the lock. A
// command that does not get to the end of its reply (cancelled, timed out, cut off) closes the connection, because the
// rest of the reply would be taken for the answer to the next command. After that every command raises NotConnected.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "asyncio.hpp"

namespace memcached {

/// memcached refused: CLIENT_ERROR (the command was wrong), SERVER_ERROR (it failed), ERROR (there is no such command).
struct Refused : asyncio::Error {
  using asyncio::Error::Error;
};

/// The connection was closed by close(), or by a command that did not end.
struct NotConnected : asyncio::Error {
  NotConnected() : asyncio::Error("not connected") {}
};

class Client {
 public:
  /// Of what open_connection has returned.
  explicit Client(std::pair<asyncio::StreamReader, asyncio::StreamWriter> streams)
      : reader_(std::move(streams.first)), writer_(std::move(streams.second)) {}

  /// The value, or nullopt if there is none under this key.
  asyncio::Coroutine<std::optional<std::string>> get(std::string key) {
    const std::string command = "get " + checked(key) + "\r\n";
    co_return co_await asyncio::async_with(lock_, [&] { return whole(command, &Client::read_value); });
  }

  /// Without a lifetime, as all values here.
  asyncio::Coroutine<void> set(std::string key, std::string value) {
    const std::string command =
        "set " + checked(key) + " 0 0 " + std::to_string(value.size()) + "\r\n" + value + "\r\n";
    const std::string reply = co_await line_of(command);
    if (reply != "STORED") throw Refused(reply);
  }

  /// The sum; nullopt if there is nothing under this key.
  asyncio::Coroutine<std::optional<std::uint64_t>> incr(std::string key, std::uint64_t by) {
    const std::string command = "incr " + checked(key) + " " + std::to_string(by) + "\r\n";
    const std::string reply = co_await line_of(command);
    std::uint64_t sum = 0;
    if (reply == "NOT_FOUND") co_return std::nullopt;
    if (std::from_chars(reply.data(), reply.data() + reply.size(), sum).ec != std::errc()) throw Refused(reply);
    co_return sum;
  }

  /// Whether there was something under this key.
  asyncio::Coroutine<bool> delete_(std::string key) {
    const std::string command = "delete " + checked(key) + "\r\n";
    const std::string reply = co_await line_of(command);
    co_return reply == "DELETED";
  }

  void close() { writer_.close(); }
  bool is_closing() const { return writer_.is_closing(); }

 private:
  // A key with a space or a line end in it would be more than one word of the command.
  static std::string checked(std::string key) {
    const bool word = std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > ' ' && c != 127; });
    if (!word || key.empty() || key.size() > 250) throw asyncio::ValueError("not a key");
    return key;
  }

  asyncio::Coroutine<std::string> line_of(const std::string& command) {
    return asyncio::async_with(lock_, [&] { return whole(command, &Client::read_line); });
  }

  // Either all of the reply is read, or the connection ends here.
  template <class T>
  asyncio::Coroutine<T> whole(const std::string& command, asyncio::Coroutine<T> (Client::*read_reply)()) {
    if (writer_.is_closing()) throw NotConnected();
    bool in_step = false;
    const asyncio::Finally end([&] {
      if (!in_step) writer_.transport()->abort();
    });
    writer_.write(command);
    co_await writer_.drain();
    try {
      T reply = co_await (this->*read_reply)();
      in_step = true;
      co_return reply;
    } catch (const Refused&) {
      in_step = true;  // this was the whole reply, too
      throw;
    }
  }

  asyncio::Coroutine<std::string> read_line() {
    std::string line = co_await reader_.readuntil("\r\n");
    line.resize(line.size() - 2);
    if (line == "ERROR" || line.starts_with("CLIENT_ERROR") || line.starts_with("SERVER_ERROR")) throw Refused(line);
    co_return line;
  }

  // VALUE <key> <flags> <bytes>\r\n<data>\r\nEND\r\n, or only END\r\n.
  asyncio::Coroutine<std::optional<std::string>> read_value() {
    const std::string head = co_await read_line();
    if (head == "END") co_return std::nullopt;
    std::size_t size = 0;
    const char* const digits = head.data() + head.rfind(' ') + 1;
    const bool is_number = std::from_chars(digits, head.data() + head.size(), size).ec == std::errc();
    if (!head.starts_with("VALUE ") || !is_number) throw asyncio::ValueError("no reply of memcached's: " + head);
    std::string value = co_await reader_.readexactly(size + 2);
    value.resize(size);
    co_await read_line();
    co_return value;
  }

  asyncio::StreamReader reader_;
  asyncio::StreamWriter writer_;
  asyncio::Lock lock_;
};

}  // namespace memcached
