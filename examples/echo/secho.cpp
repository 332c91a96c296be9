// An echo server on streams: the loop reads and writes, the handler sees a reader and a writer.
// Look at echo(): no descriptor, no waiting for the kernel. It is also the one that asks the kernel least: a transport stays
// registered with the selector, where sock_recv registers for each message anew. `make bench-echo` shows what that is worth.
#include "asyncio.hpp"
#include "examples/echo/echo.hpp"

asyncio::Coroutine<> echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  try {
    for (;;) {
      std::string data = co_await reader.read(10000);
      if (data.empty()) break;
      writer.write(data);
      co_await writer.drain();
    }
  } catch (const asyncio::OSError&) {  // the client has gone without a word
  }
  writer.close();
}

asyncio::Coroutine<> serve(int port) {
  asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", port, {.backlog = 1024});
  std::cout << "serving on " << server.sockets()[0].str() << std::endl;
  co_await server.serve_forever();
}

int main(int argc, char** argv) {
  asyncio::EventLoop loop;
  loop.run_until_complete(serve(port_of(argc, argv)));
}
