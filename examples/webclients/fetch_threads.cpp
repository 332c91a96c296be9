// A thread for each page: fetch() and get() are those of fetch_sync, and the pages are on their way together.
// Look at main: that is all it takes. What it costs is a stack for each, and that nobody can tell any more who runs
// when.
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <thread>
#include <vector>

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

void fetch(int port, std::string path, std::string& report) {
  web::Journey journey(path);
  while (!journey.arrive(get(port, journey.path()))) continue;
  report = journey.report();
}

int main() {
  web::Site site;
  std::vector<std::string> reports(web::URLS.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < reports.size(); ++i)
    threads.emplace_back(fetch, site.port(), web::URLS[i], std::ref(reports[i]));
  for (std::thread& thread : threads) thread.join();
  for (const std::string& report : reports) std::cout << report << "\n";
  std::cout << "slow pages at once: " << site.most_at_once() << "\n";
}
