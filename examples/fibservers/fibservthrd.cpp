// A thread for each client. Look at the last line: it is the only one that differs from fibservsync.
#include <thread>

#include "examples/fibservers/fib.hpp"

void serve(int client) {
  Lines lines;
  char data[4096];
  for (ssize_t n; (n = ::recv(client, data, sizeof data, 0)) > 0;) {
    lines.feed(std::string_view(data, n));
    while (const auto line = lines.next()) send(client, answer(*line));
  }
  ::close(client);
}

int main(int argc, char** argv) {
  end_on_signals();
  const int server = create_server(port_argument(argc, argv), 0);
  for (;;) std::thread(serve, accept(server, 0)).detach();
}
