// Transport and Protocol: callbacks under the streams. The transport owns the socket and calls the protocol.
// Look at who calls whom: a protocol never waits. The transport says what happened; the protocol may write and close.
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "asyncio.hpp"

struct Server : asyncio::Protocol {
  void connection_made(std::shared_ptr<asyncio::Transport> transport) override {
    std::cout << "  server: connection_made; greets\n";
    this->transport = transport;
    transport->write("who is there?");
  }
  void data_received(std::string_view data) override {
    std::cout << "  server: data_received \"" << data << "\"\n";
    name += data;
  }
  bool eof_received() override {
    std::cout << "  server: eof_received; answers, and closes\n";
    transport->write("welcome, " + name);
    transport->close();
    return true;  // do not close at once: what was written is to be sent
  }
  void connection_lost(std::exception_ptr exception) override {
    std::cout << "  server: connection_lost(" << (exception ? asyncio::describe(exception) : "None") << ")\n";
    transport = nullptr;
  }

  std::shared_ptr<asyncio::Transport> transport;
  std::string name;
};

struct Client : asyncio::Protocol {
  void connection_made(std::shared_ptr<asyncio::Transport> transport) override { this->transport = transport; }
  void data_received(std::string_view data) override {
    std::cout << "client: data_received \"" << data << "\"\n";
    if (data != "who is there?") return;
    transport->write("a client");
    transport->write_eof();
  }
  bool eof_received() override {
    std::cout << "client: eof_received\n";
    return false;  // the transport closes itself
  }
  void connection_lost(std::exception_ptr exception) override {
    std::cout << "client: connection_lost(" << (exception ? asyncio::describe(exception) : "None") << ")\n";
    transport = nullptr;
    lost.set_result();
  }

  std::shared_ptr<asyncio::Transport> transport;
  asyncio::Future<> lost;  // the way from callbacks back to coroutines: a future
};

asyncio::Coroutine<> tour() {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  asyncio::Server server = co_await loop.create_server(std::make_shared<Server>, "127.0.0.1", 0);
  const int port = server.sockets()[0].port();
  auto [transport, client] = co_await loop.create_connection(std::make_shared<Client>, "127.0.0.1", port);
  co_await client->lost;
  std::cout << "main: the transport is closing: " << std::boolalpha << transport->is_closing() << "\n";
  server.close();
}

int main() { asyncio::run(tour()); }
