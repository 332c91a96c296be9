// An echo server on asyncio's sockets: try, and wait for the loop when the kernel says "not now".
// Look at echo(): it could be the code of one client who has the machine for himself. Compare mecho.cpp.
#include <unistd.h>

#include "asyncio.hpp"
#include "examples/echo/echo.hpp"

asyncio::Coroutine<> echo(int client, asyncio::SocketAddress address) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  say("Connection from ", address.str());
  try {
    for (;;) {
      std::string data = co_await loop.sock_recv(client, 10000);
      if (data.empty()) break;
      say("Got: ", data);
      co_await loop.sock_sendall(client, data);
    }
  } catch (const asyncio::OSError&) {  // the client has gone without a word
  }
  ::close(client);
  say("Connection closed");
}

asyncio::Coroutine<> serve(int server) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  for (;;) {
    bool wait = false;
    try {
      auto [client, address] = co_await loop.sock_accept(server);
      loop.create_task(echo(client, address));
    } catch (const asyncio::OSError& error) {
      wait = program::out_of_descriptors(error.code().value());
    }
    if (wait) co_await asyncio::sleep(1);
  }
}

asyncio::Coroutine<> serve_until_signal(int port) {
  asyncio::Event stop;
  asyncio::create_task(serve(create_server(port)));
  program::stop_on_signals(asyncio::get_running_loop(), [&] { stop.set(); });
  co_await stop.wait();
}

int main(int argc, char** argv) {
  return program::run(argc, argv, USAGE, [](const program::Arguments& arguments) {
    quiet = arguments.given(1);
    asyncio::run(serve_until_signal(arguments.port(PORT)));
  });
}
