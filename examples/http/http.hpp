// As much of HTTP as these servers need. The first half touches no socket: bytes in, requests out, answers as text.
// Look at Requests::next: whatever a stranger sends, there is a bound to it.
#pragma once

#include <algorithm>
#include <cctype>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "asyncio.hpp"
#include "examples/program.hpp"

namespace http {

inline constexpr std::size_t MAX_HEAD = 8 * 1024, MAX_BODY = 1024 * 1024;
inline constexpr int PORT = 8000;

struct Request {
  std::string method, target;
  bool keep_alive = false;
  std::size_t content_length = 0;
};

/// What the client gets in place of an answer; the connection ends with it.
struct Error : std::runtime_error {
  explicit Error(std::string status) : std::runtime_error(status) {}
};

inline const Error BAD_REQUEST("400 Bad Request");

/// What stands before the separator; `text` keeps what stands behind it.
inline std::string_view cut(std::string_view& text, char separator) {
  const std::size_t at = std::min(text.find(separator), text.size());
  const std::string_view before = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return before;
}

inline std::string_view cut_line(std::string_view& text) {
  std::string_view line = cut(text, '\n');
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

inline std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(text.begin(), text.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

/// A method or the name of a header.
inline bool is_token(std::string_view text) {
  const auto ok = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
  return !text.empty() && std::all_of(text.begin(), text.end(), ok);
}

inline std::size_t parse_length(std::string value) {
  if (value.empty() || value.find_first_not_of("0123456789") != value.npos) throw BAD_REQUEST;
  if (value.size() > 9 || std::stoul(value) > MAX_BODY) throw Error("413 Content Too Large");
  return std::stoul(value);
}

inline Request parse_head(std::string_view head) {
  std::string_view line = cut_line(head);
  Request request;
  request.method = cut(line, ' ');
  request.target = cut(line, ' ');
  if (!is_token(request.method) || request.target.empty()) throw BAD_REQUEST;
  if (line != "HTTP/1.0" && line != "HTTP/1.1") throw BAD_REQUEST;
  request.keep_alive = line == "HTTP/1.1";
  for (line = cut_line(head); !line.empty(); line = cut_line(head)) {
    if (line.find(':') == line.npos) throw BAD_REQUEST;
    const std::string name = lower(cut(line, ':'));
    if (!is_token(name)) throw BAD_REQUEST;
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const std::string value = lower(line.substr(0, line.find_last_not_of(" \t") + 1));
    if (name == "connection") request.keep_alive = value == "keep-alive" || (request.keep_alive && value != "close");
    if (name == "content-length") request.content_length = parse_length(value);
    if (name == "transfer-encoding") throw Error("501 Not Implemented");
  }
  return request;
}

/// Feed it what arrives, and take requests out.
class Requests {
 public:
  void feed(std::string_view data) { buffer_ += data; }

  /// The next one, once its head is complete; its body is dropped. Error if it is none, or too large.
  std::optional<Request> next() {
    const std::size_t dropped = std::min(body_, buffer_.size());
    buffer_.erase(0, dropped);
    body_ -= dropped;
    const std::size_t blank = std::min(buffer_.find("\n\n"), buffer_.find("\n\r\n"));
    const bool complete = blank != buffer_.npos;
    const std::size_t end = complete ? buffer_.find('\n', blank + 1) + 1 : buffer_.size();
    if (end > MAX_HEAD) throw Error("431 Request Header Fields Too Large");
    if (!complete) return std::nullopt;
    const Request request = parse_head(std::string_view(buffer_).substr(0, end));
    buffer_.erase(0, end);
    body_ = request.content_length;
    return request;
  }

 private:
  std::string buffer_;
  std::size_t body_ = 0;  // what is still to come of the last request's body
};

inline std::string response(std::string status, std::string_view type, std::string_view body, bool keep_alive) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + std::string(type) +
         "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: " + (keep_alive ? "keep-alive" : "close") + "\r\n\r\n" + std::string(body);
}

inline std::string response(const Error& error) {
  return response(error.what(), "text/plain", std::string(error.what()) + "\n", false);
}

/// The answer to a request; HEAD asks for the head of one only. What is no request, nullopt, is answered in full.
inline std::string response(const std::optional<Request>& request, std::string status, std::string_view type,
                            std::string_view body) {
  std::string text = response(std::move(status), type, body, request && request->keep_alive);
  if (request && request->method == "HEAD") text.resize(text.size() - body.size());
  return text;
}

/// Ends the connection.
inline std::string response(std::optional<Request>& request, const Error& error) {
  if (request) request->keep_alive = false;
  return response(request, error.what(), "text/plain", std::string(error.what()) + "\n");
}

// The second half: the same conversation for all servers that stand on the loop. `respond` is what they differ in: a
// coroutine that makes the body of the answer.

struct Options {
  const char* type = "text/plain";
  bool reuse_port = false;
  double patience = 15;  // seconds that a client may take to ask, and to take in the answer
};

/// The next request; nullopt: the client has left.
inline asyncio::Coroutine<std::optional<Request>> read_request(Requests& requests, asyncio::StreamReader reader) {
  std::optional<Request> request;
  while (!(request = requests.next())) {
    const std::string data = co_await reader.read(65536);
    if (data.empty()) break;
    requests.feed(data);
  }
  co_return request;
}

/// Who closes while the client still talks resets the connection, and the answer may be lost: let the client finish, for
/// a second.
inline asyncio::Coroutine<> hear_out(asyncio::StreamReader reader) {
  try {
    co_await asyncio::async_with(asyncio::timeout(1), [&]() -> asyncio::Coroutine<> {
      for (std::string data = "?"; !data.empty();) data = co_await reader.read(65536);
    });
  } catch (const asyncio::TimeoutError&) {  // he has had his time
  }
}

template <class Respond> asyncio::Coroutine<> serve_client(Respond respond, asyncio::StreamReader reader,
                                                           asyncio::StreamWriter writer, Options options) {
  try {
    Requests requests;
    for (bool keep_alive = true; keep_alive;) {
      std::optional<Request> request;
      try {
        request = co_await asyncio::wait_for(read_request(requests, reader), options.patience);
        if (!request) break;  // the client has left
        asyncio::Coroutine<std::string> answer = respond(*request);
        const std::string body = co_await answer;
        writer.write(response(request, "200 OK", options.type, body));
      } catch (const Error& error) {
        writer.write(response(request, error));
      }
      keep_alive = request && request->keep_alive;
      co_await asyncio::wait_for(writer.drain(), options.patience);
    }
    writer.write_eof();
    co_await hear_out(reader);
    writer.close();
    co_await asyncio::wait_for(writer.wait_closed(), options.patience);  // all is sent
  } catch (const asyncio::TimeoutError&) {
    writer.transport()->abort();
  } catch (const asyncio::OSError&) {  // the client broke the connection
  }
}

/// Serves until Ctrl-C.
template <class Respond> asyncio::Coroutine<> serve(Respond respond, int port, Options options = {}) {
  asyncio::Event stop;
  const auto client_connected = [=](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    return serve_client(respond, reader, writer, options);
  };
  const asyncio::StreamServerOptions server_options{.reuse_port = options.reuse_port};
  const asyncio::Server server = co_await asyncio::start_server(client_connected, "127.0.0.1", port, server_options);
  program::stop_on_signals(asyncio::get_running_loop(), [&] { stop.set(); });
  program::report_once(asyncio::get_running_loop());
  std::cout << "serving http://" << server.sockets()[0].str() << "/ (process " << ::getpid() << ")" << std::endl;
  co_await stop.wait();
  server.close();
}

/// The main() of a server that differs in nothing but `respond`.
template <class Respond> int serve_until_signal(int argc, char** argv, Respond respond) {
  return program::run(argc, argv, "[PORT [PATIENCE]]", [&](const program::Arguments& arguments) {
    asyncio::run(serve(respond, arguments.port(PORT), {.patience = 1.0 * arguments.number(1, 15, 1, 3600)}));
  });
}

}  // namespace http
