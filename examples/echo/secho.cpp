// An echo server on streams: the loop reads and writes, the handler sees a reader and a writer.
// Look at echo(): no descriptor, no waiting for the kernel. It is also the one that asks the kernel least: a transport stays
// registered with the selector, where sock_recv registers for each message anew. `make bench-echo` shows what that is worth.
#include "asyncio.hpp"
#include "examples/echo/echo.hpp"

asyncio::Coroutine<> echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  say("Connection from ", writer.get_extra_info("peername").value_or(asyncio::SocketAddress("0.0.0.0", 0)).str());
  try {
    for (;;) {
      std::string data = co_await reader.read(10000);
      if (data.empty()) break;
      say("Got: ", data);
      writer.write(data);
      co_await writer.drain();
    }
  } catch (const asyncio::OSError&) {  // the client has gone without a word
  }
  writer.close();
  say("Connection closed");
}

asyncio::Coroutine<> serve(int port) {
  asyncio::Event stop;
  asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", port, {.backlog = 1024});
  program::stop_on_signals(asyncio::get_running_loop(), [&] { stop.set(); });
  program::report_once(asyncio::get_running_loop());
  std::cout << "serving on " << server.sockets()[0].str() << std::endl;
  co_await stop.wait();
  server.close();
}

int main(int argc, char** argv) {
  return program::run(argc, argv, USAGE, [](const program::Arguments& arguments) {
    quiet = arguments.given(1);
    asyncio::run(serve(arguments.port(PORT)));
  });
}
