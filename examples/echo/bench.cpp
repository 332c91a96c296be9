// A client that counts messages per second, against any echo server.
//     bench [PORT [SECONDS [CONNECTIONS]]]      by default 50000, 3 and 10
// Look at the counter: one thread, so nobody has to lock it.
#include <cstdlib>
#include <iostream>

#include "asyncio.hpp"

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
  std::vector<asyncio::AnyFuture> either(1, asyncio::create_task(count(seconds)));
  either.push_back(asyncio::gather(std::move(clients)));
  auto [done, pending] = co_await asyncio::wait(either, {.return_when = asyncio::FIRST_COMPLETED});
  if (done[0].exception()) std::rethrow_exception(done[0].exception());  // of a client: without it none ever ends
}

int main(int argc, char** argv) {
  const auto argument = [&](int i, int otherwise) { return argc > i ? std::atoi(argv[i]) : otherwise; };
  try {
    asyncio::run(bench(argument(1, 50000), argument(2, 3), argument(3, 10)));
  } catch (const std::exception& error) {
    std::cerr << "bench: " << error.what() << "\n";
    return 1;
  }
}
