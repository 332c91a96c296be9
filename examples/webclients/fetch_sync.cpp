// One page after the other: while one is on its way, nothing happens.
// Look at the last line: the site never sees two of us at once, and five slow pages take five times as long as one.
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "examples/webclients/site.hpp"

std::string get(int port, std::string path) {
  const asyncio::SocketAddress address("127.0.0.1", port);
  const asyncio::FileDescriptor sock(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // closes it
  asyncio::check_call(::connect(sock.get(), address.data(), address.size()), "connect");
  const std::string text = web::request(path);
  ::send(sock.get(), text.data(), text.size(), MSG_NOSIGNAL);
  std::string raw;
  char data[4096];
  for (ssize_t n = 1; n > 0 && raw.size() <= web::MAX_ANSWER;) {
    n = ::recv(sock.get(), data, sizeof data, 0);
    if (n > 0) raw.append(data, n);
  }
  return raw;
}

std::string fetch(int port, std::string path) {
  web::Journey journey(path);
  while (!journey.arrive(get(port, journey.path()))) continue;
  return journey.report();
}

int main() {
  web::Site site;
  for (const std::string& path : web::URLS) std::cout << fetch(site.port(), path) << "\n";
  std::cout << "slow pages at once: " << site.most_at_once() << "\n";
}
