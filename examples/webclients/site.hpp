// A small web site to fetch from, and what its clients share: the list of URLs, a request, and the Journey of one URL
// through redirects to its end. Look at Site::answer for the traps: slow pages, endless redirects, broken answers, a
// huge one.
#pragma once

#include <algorithm>
#include <atomic>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "asyncio.hpp"

namespace web {

inline constexpr std::size_t MAX_ANSWER = 65536;
inline constexpr int MAX_REDIRECTS = 5;

inline const std::vector<std::string> URLS = {"/",       "/slow/1",  "/slow/2", "/slow/3", "/slow/4",
                                              "/slow/5", "/old",     "/round",  "/ever/1", "/missing",
                                              "/broken", "/garbage", "/silent", "/huge"};

inline std::string request(std::string path) { return "GET " + path + " HTTP/1.0\r\nHost: localhost\r\n\r\n"; }

/// What came back for one request.
struct Answer {
  std::string problem;  // if it is none
  std::string status, location, body;
};

/// The text between two others, "" if they are not there.
inline std::string between(std::string_view text, std::string_view before, std::string_view after) {
  const std::size_t start = text.find(before);
  if (start == text.npos) return "";
  text.remove_prefix(start + before.size());
  return std::string(text.substr(0, text.find(after)));
}

inline Answer parse(std::string_view raw) {
  Answer answer;
  const std::size_t end = raw.find("\r\n\r\n");
  if (raw.size() > MAX_ANSWER) {
    answer.problem = "too large";
  } else if (raw.empty()) {
    answer.problem = "no answer";
  } else if (!raw.starts_with("HTTP/1.") || end == raw.npos) {
    answer.problem = "not HTTP";
  } else {
    const std::string_view head = raw.substr(0, end + 2);
    answer.body = raw.substr(end + 4);
    answer.status = between(head, " ", " ");
    answer.location = between(head, "Location: ", "\r\n");
    const std::string length = between(head, "Content-Length: ", "\r\n");
    if (length != std::to_string(answer.body.size()))
      answer.problem = "broken off after " + std::to_string(answer.body.size()) + " of " + length + " bytes";
  }
  return answer;
}

/// From a URL along its redirects to the end. Nothing in here waits: the clients differ in how they do.
class Journey {
 public:
  explicit Journey(std::string path) : path_(path), report_(path) {}

  /// The page to ask for next.
  const std::string& path() const { return path_; }

  /// Takes in what came back; false: there is another page to ask for.
  bool arrive(std::string_view raw) {
    const Answer answer = parse(raw);
    if (!answer.problem.empty()) return end(answer.problem);
    if (answer.location.empty()) return end(answer.status + ", " + std::to_string(answer.body.size()) + " bytes");
    if (++redirects_ > MAX_REDIRECTS) return end("too many redirects");
    path_ = answer.location;
    report_ += " -> " + path_;
    return false;
  }

  const std::string& report() const { return report_; }

 private:
  bool end(std::string how) {
    report_ += ": " + how;
    return true;
  }

  std::string path_, report_;
  int redirects_ = 0;
};

/// The site, in a thread of its own from here to the end of the scope.
class Site {
 public:
  Site() : thread_([this] { asyncio::run(serve()); }), port_(started_.get_future().get()) {}
  ~Site() {
    loop_->call_soon_threadsafe([this] { stop_->set(); });
    thread_.join();
  }

  int port() const { return port_; }
  /// How many requests for slow pages there were at the same time.
  int most_at_once() const { return most_at_once_; }

 private:
  asyncio::Coroutine<> serve() {
    asyncio::Event stop;
    const auto client_connected = [this](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
      return serve_client(reader, writer);
    };
    const asyncio::Server server = co_await asyncio::start_server(client_connected, "127.0.0.1", 0);
    loop_ = &asyncio::get_running_loop();
    stop_ = &stop;
    started_.set_value(server.sockets()[0].port());
    co_await stop.wait();
    server.close();
  }

  asyncio::Coroutine<> serve_client(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    try {
      const std::string head = co_await reader.readuntil("\r\n\r\n");
      const std::string text = co_await answer(between(head, " ", " "));
      writer.write(text);
      co_await writer.drain();
    } catch (const std::exception&) {  // the client has left, or sent something else
    }
    writer.close();
  }

  asyncio::Coroutine<std::string> answer(std::string path) {
    if (path == "/")
      co_return page({"/about", "/slow/1", "/slow/2", "/slow/3", "/old", "/round", "/ever/1", "/missing", "/broken",
                      "/garbage", "/silent", "/huge", "http://elsewhere.example/", "/about"});
    if (path == "/about") co_return page({"/", "/about/us"});
    if (path == "/about/us") co_return page({"/about"});
    if (path.starts_with("/slow/")) {
      most_at_once_ = std::max(most_at_once_.load(), ++at_once_);
      co_await asyncio::sleep(0.5);
      --at_once_;
      co_return page({"/slow/" + std::to_string(std::min(std::stoi(path.substr(6)) + 1, 5))});
    }
    if (path == "/old") co_return redirect("/about");
    if (path == "/round") co_return redirect("/round/again");
    if (path == "/round/again") co_return redirect("/round");
    if (path.starts_with("/ever/")) co_return redirect("/ever/" + std::to_string(std::stoi(path.substr(6)) + 1));
    if (path == "/broken") co_return "HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nthat was all, s";
    if (path == "/garbage") co_return "I am not a web server\r\n\r\n";
    if (path == "/silent") co_return "";
    if (path == "/huge") co_return response("200 OK", std::string(1 << 20, 'x'));
    co_return response("404 Not Found", "there is no such page\n");
  }

  static std::string response(std::string status, std::string body, std::string header = "") {
    return "HTTP/1.0 " + status + "\r\n" + header + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }
  static std::string redirect(std::string path) { return response("302 Found", "", "Location: " + path + "\r\n"); }
  static std::string page(std::vector<std::string> links) {
    std::string body;
    for (const std::string& link : links) body += "<a href=\"" + link + "\">" + link + "</a>\n";
    return response("200 OK", body);
  }

  asyncio::EventLoop* loop_ = nullptr;
  asyncio::Event* stop_ = nullptr;
  int at_once_ = 0;
  std::atomic<int> most_at_once_ = 0;
  std::promise<int> started_;
  std::thread thread_;
  int port_;
};

}  // namespace web
