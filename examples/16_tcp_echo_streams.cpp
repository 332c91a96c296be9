// Streams: a connection as a reader and a writer, and a conversation as straight-line code.
// Look at handle_echo: one coroutine for each client, which reads as if there were no other; drain() waits while the
// client is slow to listen. Without an argument it talks to itself; `16_tcp_echo_streams 8888` serves until Ctrl-C.
#include <iostream>
#include <string>

#include "asyncio.hpp"
#include "examples/program.hpp"

asyncio::Coroutine<> handle_echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  for (;;) {
    std::string line = co_await reader.readline();
    if (line.empty()) break;  // the end: the client says no more
    std::cout << "  server: received " << line << std::flush;
    writer.write(line);
    co_await writer.drain();
  }
  std::cout << "  server: the end of this client\n";
  writer.close();
}

asyncio::Coroutine<> say(asyncio::StreamReader reader, asyncio::StreamWriter writer, std::string line) {
  std::cout << "client: sends " << line;
  writer.write(line);
  std::string answer = co_await reader.readline();
  std::cout << "client: received " << answer;
}

asyncio::Coroutine<> end(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  writer.write_eof();
  std::string rest = co_await reader.read();
  std::cout << "client: until the end of the stream come " << rest.size() << " bytes\n";
  writer.close();
}

asyncio::Coroutine<> converse(int port) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  auto [second_reader, second_writer] = co_await asyncio::open_connection("127.0.0.1", port);
  co_await say(reader, writer, "hello\n");
  co_await say(second_reader, second_writer, "is anybody there?\n");
  co_await say(reader, writer, "hello again\n");
  co_await end(reader, writer);
  co_await end(second_reader, second_writer);
}

asyncio::Coroutine<> tour() {
  asyncio::Server server = co_await asyncio::start_server(handle_echo, "127.0.0.1", 0);
  co_await converse(server.sockets()[0].port());
  server.close();
}

asyncio::Coroutine<> serve_until_signal(int port) {
  asyncio::Event stop;
  asyncio::Server server = co_await asyncio::start_server(handle_echo, "127.0.0.1", port);
  program::stop_on_signals(asyncio::get_running_loop(), [&] { stop.set(); });
  program::report_once(asyncio::get_running_loop());
  std::cout << "serving on " << server.sockets()[0].str() << std::endl;
  co_await stop.wait();
  server.close();
}

int main(int argc, char** argv) {
  return program::run(argc, argv, "[PORT]", [](const program::Arguments& arguments) {
    asyncio::run(arguments.given(0) ? serve_until_signal(arguments.port(0)) : tour());
  });
}
