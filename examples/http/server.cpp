// One client at a time, with sockets that block: the simplest server there is, and nobody else is heard meanwhile.
// Look at the two waits in it, recv() and work(): whoever stands in line waits for both. `ab -c 2 -n 10` takes 1 s.
// It closes after each answer, for it cannot wait for a client's next request while others stand in line.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include "examples/http/http.hpp"

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::string respond(http::Request request) {
  if (request.target != "/quick") std::this_thread::sleep_for(100ms);  // the work
  return "hello\n";
}

std::string answer(http::Requests& requests) {
  std::optional<http::Request> request;
  try {
    request = requests.next();
    if (!request) return "";
    request->keep_alive = false;
    return http::response(request, "200 OK", "text/plain", respond(*request));
  } catch (const http::Error& error) {
    return http::response(request, error);
  }
}

void serve_client(int client) {
  const timeval patience{.tv_sec = 1, .tv_usec = 0};  // with who says nothing, or takes nothing in
  ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const Clock::time_point end = Clock::now() + 2s;  // and with who says a little now and then
  http::Requests requests;
  std::string text;
  char data[65536];
  while (text.empty() && Clock::now() < end) {
    const auto n = ::recv(client, data, sizeof data, 0);
    if (n <= 0) return;
    requests.feed(std::string_view(data, n));
    text = answer(requests);
  }
  ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
  ::shutdown(client, SHUT_WR);
  while (Clock::now() < end && ::recv(client, data, sizeof data, 0) > 0) continue;  // as http::hear_out
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

void serve(const program::Arguments& arguments) {
  program::end_on_signals();
  const int server = create_server(arguments.port(http::PORT));
  std::cout << "serving http://" << asyncio::getsockname(server).str() << "/ (process " << ::getpid() << ")"
            << std::endl;
  for (;;) {
    const int client = ::accept(server, nullptr, nullptr);
    if (client >= 0) {
      serve_client(client);
      ::close(client);
    } else if (program::out_of_descriptors(errno)) {
      ::sleep(1);
    }
  }
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve); }
