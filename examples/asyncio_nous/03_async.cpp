// Three pages in one thread: every co_await is a place where another download may go on.
// Look at fetch(): it reads as download() of tinysite.hpp does, and takes as long; but three take no longer than one.
#include "examples/asyncio_nous/tinysite.hpp"

asyncio::Coroutine<std::string> fetch(int port, std::string path) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  writer.write("GET " + path + " HTTP/1.0\r\n\r\n");
  std::string response = co_await reader.read();
  co_return response.substr(response.find("\r\n\r\n") + 4);
}

asyncio::Coroutine<> fetch_all(int port) {
  auto [one, two, three] = co_await asyncio::gather(fetch(port, "/one"), fetch(port, "/two"), fetch(port, "/three"));
  std::cout << one << two << three;
}

int main() {
  TinySite site;
  measure([&] { asyncio::run(fetch_all(site.port)); });
}
