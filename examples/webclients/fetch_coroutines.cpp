// One thread, and coroutines: get() is that of fetch_sync again, line by line, with co_await where that one blocks.
// Look at create_task: it is what lets the pages be on their way together, as the threads were.
#include <iostream>
#include <string>
#include <vector>

#include "examples/webclients/site.hpp"

asyncio::Coroutine<std::string> get(int port, std::string path) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  const asyncio::FileDescriptor sock = asyncio::make_socket(AF_INET, SOCK_STREAM);  // closes it
  const asyncio::SocketAddress address("127.0.0.1", port);
  co_await loop.sock_connect(sock.get(), address);
  const std::string text = web::request(path);
  co_await loop.sock_sendall(sock.get(), text);
  std::string raw;
  for (std::string data = "?"; !data.empty() && raw.size() <= web::MAX_ANSWER;) {
    data = co_await loop.sock_recv(sock.get(), 4096);
    raw += data;
  }
  co_return raw;
}

asyncio::Coroutine<std::string> fetch(int port, std::string path) {
  web::Journey journey(path);
  for (bool arrived = false; !arrived;) {
    const std::string raw = co_await get(port, journey.path());
    arrived = journey.arrive(raw);
  }
  co_return journey.report();
}

asyncio::Coroutine<> fetch_all(int port) {
  std::vector<asyncio::Task<std::string>> tasks;
  for (const std::string& path : web::URLS) tasks.push_back(asyncio::create_task(fetch(port, path)));
  for (asyncio::Task<std::string> task : tasks) {
    const std::string report = co_await task;
    std::cout << report << "\n";
  }
}

int main() {
  web::Site site;
  asyncio::run(fetch_all(site.port()));
  std::cout << "slow pages at once: " << site.most_at_once() << "\n";
}
