// A web site of three pages, for the programs that download them: an asyncio server in a thread of its own, with a loop of
// its own. Every page takes three tenths of a second.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <iostream>
#include <string>
#include <thread>

#include "asyncio.hpp"

class TinySite {
 public:
  TinySite() : thread_([this] { asyncio::run(serve(*this)); }) { port = port_.get_future().get(); }
  ~TinySite() {
    loop_->call_soon_threadsafe([this] { closing_->set(); });
    thread_.join();
  }
  int port;

 private:
  static asyncio::Coroutine<> serve(TinySite& site) {
    asyncio::Event closing;
    site.loop_ = &asyncio::get_running_loop();
    site.closing_ = &closing;
    asyncio::Server server = co_await asyncio::start_server(answer, "127.0.0.1", 0);
    site.port_.set_value(server.sockets()[0].port());
    co_await closing.wait();
    server.close();
  }
  static asyncio::Coroutine<> answer(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    std::string request = co_await reader.readuntil("\r\n\r\n");  // GET /page HTTP/1.0
    std::string path = request.substr(4, request.find(' ', 4) - 4);
    co_await asyncio::sleep(0.3);
    writer.write("HTTP/1.0 200 OK\r\n\r\nThis is " + path + ".\n");
    writer.close();
  }

  asyncio::EventLoop* loop_ = nullptr;
  asyncio::Event* closing_ = nullptr;
  std::promise<int> port_;
  std::thread thread_;
};

/// Downloads a page, and blocks meanwhile.
inline std::string download(int port, std::string path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const asyncio::SocketAddress address("127.0.0.1", port);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  std::string response;
  char data[4096];
  if (::connect(fd, address.data(), address.size()) < 0) throw std::runtime_error("cannot connect");
  ::send(fd, request.data(), request.size(), 0);
  for (ssize_t n = 1; n > 0;) {
    n = ::recv(fd, data, sizeof data, 0);
    response.append(data, std::max<ssize_t>(n, 0));
  }
  ::close(fd);
  return response.substr(response.find("\r\n\r\n") + 4);
}

/// Prints how long it takes to call f(): as long as three pages, or less.
template <class F> void measure(F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::cout << (elapsed.count() < 0.9 ? "took less than 0.9 s\n" : "took 0.9 s or more\n");
}
