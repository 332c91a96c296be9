// UDP: datagrams, each for itself; there is no connection, and nobody promises that one arrives.
// Look at the server: it has one transport for all clients, and every datagram says who sent it. Then at the last one,
// sent to where nobody listens: the answer is an error, some time later.
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "asyncio.hpp"

using asyncio::SocketAddress;
using Transport = std::shared_ptr<asyncio::DatagramTransport>;

struct EchoServer : asyncio::DatagramProtocol {
  void connection_made(Transport transport) override { this->transport = transport; }
  void datagram_received(std::string_view data, const SocketAddress& sender) override {
    std::cout << "  server: received \"" << data << "\", sends it back\n";
    transport->sendto(data, sender);
  }
  void connection_lost(std::exception_ptr) override { transport = nullptr; }
  Transport transport;
};

struct Client : asyncio::DatagramProtocol {
  void datagram_received(std::string_view data, const SocketAddress&) override {
    answers.put_nowait(std::string(data));
  }
  void error_received(std::exception_ptr exception) override {
    answers.put_nowait(asyncio::holds<asyncio::OSError>(exception) ? "(OSError: the datagram was refused)" : "(?)");
  }
  asyncio::Queue<std::string> answers;
};

asyncio::Coroutine<> ask(std::shared_ptr<asyncio::DatagramTransport> transport, std::shared_ptr<Client> client,
                         std::string question) {
  std::cout << "client: sends \"" << question << "\"\n";
  transport->sendto(question);
  std::string answer = co_await client->answers.get();
  std::cout << "client: received \"" << answer << "\"\n";
}

asyncio::Coroutine<> tour() {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  const SocketAddress anywhere("127.0.0.1", 0);
  auto [server, server_protocol] = co_await loop.create_datagram_endpoint(std::make_shared<EchoServer>, anywhere);
  const SocketAddress address = *server->get_extra_info("sockname");
  auto [transport, client] = co_await loop.create_datagram_endpoint(std::make_shared<Client>, std::nullopt, address);

  co_await ask(transport, client, "hello");
  co_await ask(transport, client, std::string(20, 'x'));
  co_await ask(transport, client, "bye");
  server->close();
  co_await asyncio::sleep(0.01);  // now it is closed
  co_await ask(transport, client, "still there?");
  transport->close();
}

int main() { asyncio::run(tour()); }
