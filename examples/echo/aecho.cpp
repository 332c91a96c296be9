// An echo server on asyncio's sockets: try, and wait for the loop when the kernel says "not now".
// Look at echo(): it could be the code of one client who has the machine for himself. Compare mecho.cpp.
#include <unistd.h>

#include "asyncio.hpp"
#include "examples/echo/echo.hpp"

asyncio::EventLoop loop;

asyncio::Coroutine<> echo(int client) {
  try {
    for (;;) {
      std::string data = co_await loop.sock_recv(client, 10000);
      if (data.empty()) break;
      co_await loop.sock_sendall(client, data);
    }
  } catch (const asyncio::OSError&) {  // the client has gone without a word
  }
  ::close(client);
}

asyncio::Coroutine<> serve(int server) {
  for (;;) {
    auto [client, address] = co_await loop.sock_accept(server);
    loop.create_task(echo(client));
  }
}

int main(int argc, char** argv) { loop.run_until_complete(serve(create_server(port_of(argc, argv)))); }
