// A small web framework: routes with parameters, middleware, JSON. It is no adapter: nlohmann-json has no I/O and knows
// nothing of time, it turns text into values and back. What is left of the adapters' questions:
//
// The contract. A server owns its connections; each is a task that reads a request, awaits the handler, and writes the
// answer, until the client leaves. No client is waited for longer than `patience`: who does not finish a request gets
// 408, who does not take the answer is cut off. What a handler awaits ends with the server: when async_with leaves it, every
// connection is cut and every handler cancelled, and the server ends when the last of them has. So a handler may refer
// to whatever lives around that async_with, a database for example.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "asyncio.hpp"
#include "examples/http/http.hpp"

namespace web {

using Json = nlohmann::json;
using Strings = std::map<std::string, std::string>;

/// Throw it out of a handler: http::Error("404 Not Found").
using http::Error;

/// "Grace%20Hopper" is "Grace Hopper".
inline std::string unquote(std::string_view text) {
  constexpr const char* HEX = "0123456789abcdefABCDEF";
  std::string result;
  while (!text.empty()) {
    const std::string digits(text.substr(1, 2));
    const bool quoted = text[0] == '%' && digits.size() == 2 && digits.find_first_not_of(HEX) == digits.npos;
    result += quoted ? static_cast<char>(std::stoi(digits, nullptr, 16)) : text[0];
    text.remove_prefix(quoted ? 3 : 1);
  }
  return result;
}

/// "/people/Ada" is "people" and "Ada". Still quoted: an escaped slash separates nothing.
inline std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> segments;
  for (path.remove_prefix(path.starts_with('/')); !path.empty();) segments.emplace_back(http::cut(path, '/'));
  return segments;
}

/// method, target, keep_alive and content_length are the base's.
struct Request : http::Request {
  explicit Request(std::string_view head) : http::Request(http::parse_head(head)) {
    http::cut_line(head);
    for (std::string_view line = http::cut_line(head); !line.empty(); line = http::cut_line(head)) {
      const std::string name = http::lower(http::cut(line, ':'));
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      headers[name] = line.substr(0, line.find_last_not_of(" \t") + 1);
    }
  }

  std::string path() const { return target.substr(0, target.find('?')); }

  /// The body. 400 if it is no JSON.
  Json json() const {
    try {
      return Json::parse(body);
    } catch (const Json::parse_error&) {
      throw http::BAD_REQUEST;
    }
  }

  Strings headers;     // by names in lower case
  Strings parameters;  // what stands in the path where the route has {name}
  std::string body;
};

struct Response {
  /// A string that is no UTF-8, which a client may have sent, must not become an error when it is sent back.
  explicit Response(const Json& json, std::string status_line = "200 OK")
      : status(std::move(status_line)), body(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n") {}
  std::string status, body;
};

/// The request lives until the coroutine is done.
using Handler = std::function<asyncio::Coroutine<Response>(Request&)>;
/// Does something before, after, or instead of `next`, which is the next middleware, or in the end the route's handler.
using Middleware = std::function<asyncio::Coroutine<Response>(Request&, Handler next)>;

class Application {
 public:
  /// The pattern is as "/people/{name}".
  void route(std::string method, std::string_view pattern, Handler handler) {
    routes_.push_back({std::move(method), split(pattern), std::move(handler)});
  }
  /// The first that is given is the outermost.
  void use(Middleware middleware) { middlewares_.push_back(std::move(middleware)); }

  /// What the middleware and the handler make of it. 404, 405, and whatever they throw.
  asyncio::Coroutine<Response> handle(Request& request, std::size_t depth = 0) const {
    if (depth == middlewares_.size()) return dispatch(request);
    return middlewares_[depth](request, [this, depth](Request& passed) { return handle(passed, depth + 1); });
  }

 private:
  struct Route {
    std::string method;
    std::vector<std::string> pattern;
    Handler handler;
  };

  asyncio::Coroutine<Response> dispatch(Request& request) const {
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    const std::vector<std::string> segments = split(request.path());
    bool known = false;
    for (const Route& route : routes_) {
      std::optional<Strings> parameters = match(route.pattern, segments);
      if (!parameters) continue;
      known = true;
      if (route.method != method) continue;
      request.parameters = std::move(*parameters);
      return route.handler(request);
    }
    throw Error(known ? "405 Method Not Allowed" : "404 Not Found");
  }

  static std::optional<Strings> match(const std::vector<std::string>& pattern,
                                      const std::vector<std::string>& segments) {
    if (pattern.size() != segments.size()) return std::nullopt;
    Strings parameters;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      const std::string text = unquote(segments[i]);
      if (pattern[i].starts_with('{')) {
        parameters[pattern[i].substr(1, pattern[i].size() - 2)] = text;
      } else if (pattern[i] != text) {
        return std::nullopt;
      }
    }
    return parameters;
  }

  std::vector<Route> routes_;
  std::vector<Middleware> middlewares_;
};

/// Serves on the loopback while async_with is in it. The application must outlive it.
class Server {
 public:
  /// Port 0 is a free one. `patience` is in seconds.
  Server(const Application& application, int port, double patience)
      : application_(application), port_(port), patience_(patience) {}

  int port() const { return server_->sockets()[0].port(); }
  std::size_t connections() const { return connections_.size(); }

  asyncio::Coroutine<> aenter() {
    const auto connected = [this](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
      const asyncio::Task<> connection = asyncio::create_task(serve(reader, writer));
      connections_.push_back(connection);
      connection.add_done_callback([this](const asyncio::AnyFuture& done) { std::erase(connections_, done); });
    };
    const asyncio::StreamServerOptions options{.limit = http::MAX_HEAD};
    server_ = co_await asyncio::start_server(connected, "127.0.0.1", port_, options);
  }

  asyncio::Coroutine<bool> aexit(std::exception_ptr) {
    server_->close();
    server_->abort_clients();
    co_await server_->wait_closed();  // now nobody can come any more who has no task yet
    for (asyncio::AnyFuture connection : connections_) connection.cancel();
    if (!connections_.empty()) co_await asyncio::wait(connections_);
    co_return false;
  }

 private:
  asyncio::Coroutine<> serve(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    const asyncio::Finally cut_off([&] { writer.transport()->abort(); });
    try {
      for (bool keep_alive = true; keep_alive;) {
        keep_alive = co_await exchange(reader, writer);
        co_await asyncio::wait_for(writer.drain(), patience_);
      }
      writer.write_eof();
      co_await asyncio::wait_for(http::hear_out(reader), patience_);
    } catch (const asyncio::IncompleteReadError&) {  // the client has left,
    } catch (const asyncio::OSError&) {              // or broken the connection,
    } catch (const asyncio::TimeoutError&) {}        // or does not take what it asked for
  }

  /// One request and its answer. Whether the client may ask again.
  asyncio::Coroutine<bool> exchange(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    try {
      Request request = co_await read_in_time(reader, writer);
      const Response response = co_await answer(request);
      const bool keep_alive = request.keep_alive;
      std::string text = http::response(response.status, "application/json", response.body, keep_alive);
      if (request.method == "HEAD") text.resize(text.size() - response.body.size());
      writer.write(text);
      co_return keep_alive;
    } catch (const Error& error) {
      writer.write(http::response(error));
    }
    co_return false;
  }

  /// 408.
  asyncio::Coroutine<Request> read_in_time(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    try {
      co_return co_await asyncio::wait_for(read(reader, writer), patience_);
    } catch (const asyncio::TimeoutError&) {
      throw Error("408 Request Timeout");
    } catch (const asyncio::LimitOverrunError&) {
      throw Error("431 Request Header Fields Too Large");
    }
  }

  static asyncio::Coroutine<Request> read(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    const std::string head = co_await reader.readuntil("\r\n\r\n");
    Request request(head);
    const auto expected = request.headers.find("expect");
    if (expected != request.headers.end()) writer.write("HTTP/1.1 100 Continue\r\n\r\n");
    request.body = co_await reader.readexactly(request.content_length);
    co_return request;
  }

  /// An Error that no middleware has caught is an answer, too; what else is thrown is a fault of the handler's.
  asyncio::Coroutine<Response> answer(Request& request) {
    try {
      co_return co_await application_.handle(request);
    } catch (const Error& error) {
      co_return Response(Json(error.what()), error.what());
    } catch (const std::exception&) {
      const std::exception_ptr exception = std::current_exception();
      asyncio::get_running_loop().call_exception_handler({"Error handling " + request.target, exception, {}, {}});
      co_return Response(Json("500 Internal Server Error"), "500 Internal Server Error");
    }
  }

  const Application& application_;
  const int port_;
  const double patience_;
  std::optional<asyncio::Server> server_;
  std::vector<asyncio::AnyFuture> connections_;
};

}  // namespace web
