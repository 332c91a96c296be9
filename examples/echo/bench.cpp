// A client that counts messages per second, against any echo server.
//     bench [PORT [SECONDS [CONNECTIONS]]]      by default 50000, 3 and 10
// Look at the counter: one thread, so nobody has to lock it. And at bench(): clients never end, so who counts ends them.
#include <iostream>

#include "asyncio.hpp"
#include "examples/program.hpp"

constexpr std::size_t SIZE = 1000;
long messages = 0;

asyncio::Coroutine<> client(int port) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  std::string message(SIZE, 'x');
  for (;;) {
    writer.write(message);
    std::string answer = co_await reader.readexactly(SIZE);
    if (answer != message) throw asyncio::RuntimeError("this is no echo");
    ++messages;
  }
}

asyncio::Coroutine<> count(int seconds) {
  for (int second = 1; second <= seconds; ++second) {
    const long before = messages;
    co_await asyncio::sleep(1);
    std::cout << messages - before << " messages/s" << std::endl;
  }
  std::cout << "total: " << messages << " messages in " << seconds << " s" << std::endl;
}

asyncio::Coroutine<> bench(int port, int seconds, int connections) {
  std::vector<asyncio::Coroutine<>> clients;
  for (int i = 0; i < connections; ++i) clients.push_back(client(port));
  auto all = asyncio::gather(std::move(clients));
  asyncio::create_task(count(seconds)).add_done_callback([all](asyncio::Future<>) { all.cancel(); });
  try {
    co_await all;
  } catch (const asyncio::CancelledError&) {  // all is counted
  }
}

int main(int argc, char** argv) {
  return program::run(argc, argv, "[PORT [SECONDS [CONNECTIONS]]]", [](const program::Arguments& arguments) {
    asyncio::run(bench(arguments.port(50000), arguments.number(1, 3, 1, 3600), arguments.number(2, 10, 1, 10000)));
  });
}
