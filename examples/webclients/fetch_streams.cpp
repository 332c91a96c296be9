// The same with what the library has for it: streams in place of sockets, gather in place of tasks.
// Look at gather: the reports come in the order of the URLs, whichever page was there first.
#include <iostream>
#include <string>
#include <vector>

#include "examples/webclients/site.hpp"

asyncio::Coroutine<std::string> get(int port, std::string path) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  writer.write(web::request(path));
  std::string raw;
  for (std::string data = "?"; !data.empty() && raw.size() <= web::MAX_ANSWER;) {
    data = co_await reader.read(4096);
    raw += data;
  }
  writer.close();
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
  std::vector<asyncio::Coroutine<std::string>> fetches;
  for (const std::string& path : web::URLS) fetches.push_back(fetch(port, path));
  const std::vector<std::string> reports = co_await asyncio::gather(std::move(fetches));
  for (const std::string& report : reports) std::cout << report << "\n";
}

int main() {
  web::Site site;
  asyncio::run(fetch_all(site.port()));
  std::cout << "slow pages at once: " << site.most_at_once() << "\n";
}
