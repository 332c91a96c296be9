// Callbacks on `selectors` alone: the selector tells which descriptors are ready, and carries for each what to call.
// Look at serve_clients: that is all there is to an event loop, but for timers. Then at on_readable: it computes in
// the loop's thread, so a slow request stops everybody.
#include <utility>

#include "examples/fibservers/fib.hpp"
#include "selectors/selectors.hpp"

selectors::DefaultSelector selector;

struct Watched {
  int fd;
  void (*callback)(Watched*);
  Lines lines{};
  std::string out{};  // what could not be sent yet: meanwhile nothing is read
};

void watch(Watched* watched, unsigned events, void (*callback)(Watched*)) {
  watched->callback = callback;
  selector.modify(watched->fd, events, watched);
}

void close_client(Watched* client) {
  selector.unregister(client->fd);
  ::close(client->fd);
  delete client;
}

void on_readable(Watched* client);

void on_writable(Watched* client) {
  const ssize_t n = send(client->fd, client->out);
  if (n < 0 && !asyncio::would_block()) return close_client(client);
  if (n > 0) client->out.erase(0, n);
  if (client->out.empty()) watch(client, selectors::EVENT_READ, on_readable);
}

void on_readable(Watched* client) {
  char data[4096];
  const ssize_t n = ::recv(client->fd, data, sizeof data, 0);
  if (n <= 0) return close_client(client);
  client->lines.feed(std::string_view(data, n));
  while (const auto line = client->lines.next()) client->out += answer(*line);
  if (!client->out.empty()) watch(client, selectors::EVENT_WRITE, on_writable);
}

Watched* paused = nullptr;  // the server, while no descriptor is left for a client

void on_connect(Watched* server) {
  const int fd = accept_now(server->fd);
  if (fd >= 0) selector.register_(fd, selectors::EVENT_READ, new Watched{fd, on_readable});
  if (fd >= 0 || !program::out_of_descriptors(errno)) return;
  selector.unregister(server->fd);
  paused = server;
}

void serve_clients(const program::Arguments& arguments) {
  program::end_on_signals();
  Watched server{create_server(arguments.port(PORT), SOCK_NONBLOCK), on_connect};
  selector.register_(server.fd, selectors::EVENT_READ, &server);
  for (;;) {
    Watched* const resting = std::exchange(paused, nullptr);
    for (const auto& event : selector.select(resting ? std::optional(1.0) : std::nullopt)) {
      Watched* const watched = static_cast<Watched*>(event.key.data);
      watched->callback(watched);
    }
    if (resting) selector.register_(resting->fd, selectors::EVENT_READ, resting);
  }
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve_clients); }
