// fibservcorothrd on our loop: sock_recv and sock_sendall wait as Ready does, run_in_executor as Answered does.
// Look at what is left of it: serve() and accept_clients(). The pipe, the threads and the tasks are the library's.
#include "asyncio.hpp"
#include "examples/fibservers/fib.hpp"

asyncio::Coroutine<> serve(int fd) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  const asyncio::FileDescriptor client(fd);  // closes it
  Lines lines;
  try {
    for (;;) {
      const std::string data = co_await loop.sock_recv(fd, 4096);
      if (data.empty()) break;
      lines.feed(data);
      while (const auto line = lines.next()) {
        const std::string text = co_await loop.run_in_executor(nullptr, answer, *line);
        co_await loop.sock_sendall(fd, text);
      }
    }
  } catch (const asyncio::OSError&) {  // the client broke the connection
  }
}

asyncio::Coroutine<> accept_clients(int server) {
  for (;;) {
    int client = -1;
    try {
      const auto accepted = co_await asyncio::get_running_loop().sock_accept(server);
      client = accepted.first;
    } catch (const asyncio::OSError& error) {
      program::out_of_descriptors(error.code().value());
    }
    if (client < 0) {
      co_await asyncio::sleep(1);
    } else {
      asyncio::create_task(serve(client));
    }
  }
}

asyncio::Coroutine<> serve_until_signal(int port) {
  asyncio::Event stop;
  const asyncio::FileDescriptor server(create_server(port, SOCK_NONBLOCK));
  program::stop_on_signals(asyncio::get_running_loop(), [&] { stop.set(); });
  const asyncio::Task<> accepting = asyncio::create_task(accept_clients(server.get()));
  co_await stop.wait();
  accepting.cancel();
  co_await asyncio::wait(std::vector<asyncio::Task<>>(1, accepting));
}

int main(int argc, char** argv) {
  return program::run(argc, argv, "[PORT]", [](const program::Arguments& arguments) {
    asyncio::run(serve_until_signal(arguments.port(PORT)));
  });
}
