// One client at a time, with sockets that block: the simplest server there is, and nobody else is heard meanwhile.
// Look at the two waits in it, recv() and work(): whoever stands in line waits for both. `ab -c 2 -n 10` takes 1 s.
// It closes after each answer, for it cannot wait for a client's next request while others stand in line.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <string>
#include <thread>

#include "examples/http/http.hpp"

using namespace std::chrono_literals;

std::string respond(http::Request request) {
  if (request.target != "/quick") std::this_thread::sleep_for(100ms);  // the work
  return "hello\n";
}

std::string answer(http::Requests& requests) {
  try {
    const std::optional<http::Request> request = requests.next();
    return request ? http::response("200 OK", "text/plain", respond(*request), false) : "";
  } catch (const http::Error& error) {
    return http::response(error);
  }
}

void serve_client(int client) {
  const timeval patience{.tv_sec = 1, .tv_usec = 0};  // with who says nothing
  ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  http::Requests requests;
  std::string text;
  char data[65536];
  while (text.empty()) {
    const auto n = ::recv(client, data, sizeof data, 0);
    if (n <= 0) return;
    requests.feed(std::string_view(data, n));
    text = answer(requests);
  }
  ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
  ::shutdown(client, SHUT_WR);
  for (int i = 0; i < 100 && ::recv(client, data, sizeof data, 0) > 0; ++i) continue;  // as http::hear_out
}

int create_server(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const asyncio::SocketAddress address("127.0.0.1", port);
  asyncio::check_call(::bind(fd, address.data(), address.size()), "bind");
  asyncio::check_call(::listen(fd, 100), "listen");
  return fd;
}

int main(int argc, char** argv) {
  for (int signum : {SIGINT, SIGTERM}) std::signal(signum, [](int) { ::_exit(0); });
  const int server = create_server(argc > 1 ? std::stoi(argv[1]) : 8000);
  std::cout << "serving http://" << asyncio::getsockname(server).str() << "/ (process " << ::getpid() << ")"
            << std::endl;
  for (;;) {
    const int client = ::accept(server, nullptr, nullptr);
    if (client < 0) continue;
    serve_client(client);
    ::close(client);
  }
}
