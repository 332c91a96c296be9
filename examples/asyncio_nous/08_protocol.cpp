// A protocol and its transport: one class that says what to do when bytes come, and the loop that moves them.
// Look at data_received: it gets bytes, not messages. What a message is the protocol says: here, a line.
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "asyncio.hpp"

struct Shouter : asyncio::Protocol {
  void connection_made(std::shared_ptr<asyncio::Transport> transport) override { this->transport = transport; }
  void data_received(std::string_view data) override {
    std::cout << "  server: " << data.size() << " bytes\n";
    buffer += data;
    for (std::size_t end; (end = buffer.find('\n')) != std::string::npos; buffer.erase(0, end + 1)) {
      std::string line = buffer.substr(0, end);
      for (char& c : line) c = static_cast<char>(std::toupper(c));
      transport->write(line + "!\n");
    }
  }
  void connection_lost(std::exception_ptr) override {
    std::cout << "  server: the client has left, " << buffer.size() << " bytes of a line are lost\n";
    transport = nullptr;
  }

  std::shared_ptr<asyncio::Transport> transport;
  std::string buffer;
};

asyncio::Coroutine<> tour() {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  asyncio::Server server = co_await loop.create_server(std::make_shared<Shouter>, "127.0.0.1", 0);
  {
    auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", server.sockets()[0].port());
    for (std::string part : {"hel", "lo\nwor", "ld\nbye"}) {
      co_await asyncio::sleep(0.05);
      writer.write(part);
    }
    for (int line = 1; line <= 2; ++line) {
      std::string answer = co_await reader.readline();
      std::cout << "client: " << answer;
    }
    writer.close();
    co_await writer.wait_closed();
  }
  co_await asyncio::sleep(0.05);
  server.close();
}

int main() { asyncio::run(tour()); }
