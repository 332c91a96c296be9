// One client after the other. Look at serve_clients: who comes second is served when the first has left.
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

void serve_clients(const program::Arguments& arguments) {
  program::end_on_signals();
  const int server = create_server(arguments.port(PORT), 0);
  for (;;) serve(accept(server));
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", serve_clients); }
