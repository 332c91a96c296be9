// The same echo server on a loop of 90 lines: myloop.hpp.
// Look at the difference to aecho.cpp: there is none. The interface is worth that: who writes a handler need not know what
// runs it. And what a loop has beyond this, cancellation, timeouts, results, is what asyncio is for.
#include <unistd.h>

#include "examples/echo/echo.hpp"
#include "examples/echo/myloop.hpp"

myloop::Coroutine echo(int client, asyncio::SocketAddress address) {
  say("Connection from ", address.str());
  try {
    for (;;) {
      std::string data = co_await myloop::sock_recv(client, 10000);
      if (data.empty()) break;
      say("Got: ", data);
      co_await myloop::sock_sendall(client, data);
    }
  } catch (const std::system_error&) {  // the client has gone without a word
  }
  ::close(client);
  say("Connection closed");
}

myloop::Coroutine serve(int server) {
  for (;;) {
    bool wait = false;
    try {
      auto [client, address] = co_await myloop::sock_accept(server);
      echo(client, address);
    } catch (const std::system_error& error) {
      wait = program::out_of_descriptors(error.code().value());
    }
    if (wait) co_await myloop::pause();
  }
}

void serve_until_signal(const program::Arguments& arguments) {
  program::end_on_signals();
  quiet = arguments.given(1);
  serve(create_server(arguments.port(PORT)));
  myloop::run_forever();
}

int main(int argc, char** argv) { return program::run(argc, argv, USAGE, serve_until_signal); }
