// The same echo server on a loop of 80 lines: myloop.hpp.
// Look at the difference to aecho.cpp: there is none. The interface is worth that: who writes a handler need not know what
// runs it. And what a loop has beyond this, cancellation, timeouts, results, is what asyncio is for.
#include <unistd.h>

#include "examples/echo/echo.hpp"
#include "examples/echo/myloop.hpp"

myloop::Coroutine echo(int client) {
  try {
    for (;;) {
      std::string data = co_await myloop::sock_recv(client, 10000);
      if (data.empty()) break;
      co_await myloop::sock_sendall(client, data);
    }
  } catch (const std::system_error&) {  // the client has gone without a word
  }
  ::close(client);
}

myloop::Coroutine serve(int server) {
  for (;;) {
    int client = co_await myloop::sock_accept(server);
    echo(client);
  }
}

int main(int argc, char** argv) {
  serve(create_server(port_of(argc, argv)));
  myloop::run_forever();
}
