// Streams: a line is something one can await, and nobody counts bytes any more.
// Look at serve(), the shortest of all. Only a line that is too long is left to deal with: read_line drops what is
// above the limit, and says so once.
#include <optional>

#include "asyncio.hpp"
#include "examples/fibservers/fib.hpp"

// Too long a line comes out as MAX_LINE + 1 bytes, as from Lines. nullopt at the end.
asyncio::Coroutine<std::optional<std::string>> read_line(asyncio::StreamReader reader) {
  for (bool too_long = false;;) {
    std::size_t consumed = 0;
    try {
      const std::string line = co_await reader.readuntil("\n");
      co_return too_long ? std::string(MAX_LINE + 1, '?') : line.substr(0, line.size() - 1);
    } catch (const asyncio::LimitOverrunError& error) {
      consumed = error.consumed();
    } catch (const asyncio::IncompleteReadError&) {
      co_return std::nullopt;
    }
    co_await reader.readexactly(consumed);
    too_long = true;
  }
}

asyncio::Coroutine<> serve(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  try {
    while (const auto line = co_await read_line(reader)) {
      const std::string text = co_await asyncio::get_running_loop().run_in_executor(nullptr, answer, *line);
      writer.write(text);
      co_await writer.drain();
    }
  } catch (const asyncio::OSError&) {  // the client broke the connection
  }
  writer.close();
}

asyncio::Coroutine<> serve_until_signal(int port) {
  asyncio::Event stop;
  const asyncio::StreamServerOptions options{.limit = MAX_LINE};
  const asyncio::Server server = co_await asyncio::start_server(serve, "127.0.0.1", port, options);
  program::stop_on_signals(asyncio::get_running_loop(), [&] { stop.set(); });
  program::report_once(asyncio::get_running_loop());
  std::cout << "serving: nc 127.0.0.1 " << server.sockets()[0].port() << std::endl;
  co_await stop.wait();
  server.close();
}

int main(int argc, char** argv) {
  return program::run(argc, argv, "[PORT]", [](const program::Arguments& arguments) {
    asyncio::run(serve_until_signal(arguments.port(PORT)));
  });
}
