// fibservcb on our loop: add_reader and add_writer are register_ and modify, and the callback is kept by the loop.
// Look at what is gone, the loop in serve_clients, and at what is not: on_readable computes, and the loop stands still.
#include <functional>
#include <memory>

#include "asyncio.hpp"
#include "examples/fibservers/fib.hpp"

struct Client {
  explicit Client(int fd) : fd(fd) {}
  Client(const Client&) = delete;
  ~Client() { ::close(fd); }  // as soon as the loop calls it no more

  int fd;
  Lines lines;
  std::string out;  // what could not be sent yet: meanwhile nothing is read
};

using Reference = std::shared_ptr<Client>;

void on_readable(asyncio::EventLoop& loop, Reference client);

void on_writable(asyncio::EventLoop& loop, Reference client) {
  const ssize_t n = send(client->fd, client->out);
  if (n < 0 && asyncio::would_block()) return;
  client->out.erase(0, n < 0 ? client->out.size() : n);
  if (!client->out.empty()) return;
  loop.remove_writer(client->fd);
  if (n > 0) loop.add_reader(client->fd, on_readable, std::ref(loop), client);
}

void on_readable(asyncio::EventLoop& loop, Reference client) {
  char data[4096];
  const ssize_t n = ::recv(client->fd, data, sizeof data, 0);
  if (n > 0) {
    client->lines.feed(std::string_view(data, n));
    while (const auto line = client->lines.next()) client->out += answer(*line);
  }
  if (n > 0 && client->out.empty()) return;
  loop.remove_reader(client->fd);
  if (n > 0) loop.add_writer(client->fd, on_writable, std::ref(loop), client);
}

void on_connect(asyncio::EventLoop& loop, int server) {
  const int fd = accept_now(server);
  if (fd >= 0) loop.add_reader(fd, on_readable, std::ref(loop), std::make_shared<Client>(fd));
  if (fd >= 0 || !program::out_of_descriptors(errno)) return;
  loop.remove_reader(server);
  loop.call_later(1, [&loop, server] { loop.add_reader(server, on_connect, std::ref(loop), server); });
}

void serve_clients(const program::Arguments& arguments) {
  asyncio::EventLoop loop;
  const asyncio::FileDescriptor server(create_server(arguments.port(PORT), SOCK_NONBLOCK));
  program::stop_on_signals(loop, [&] { loop.stop(); });
  loop.add_reader(server.get(), on_connect, std::ref(loop), server.get());
  loop.run_forever();
  loop.close();
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve_clients); }
