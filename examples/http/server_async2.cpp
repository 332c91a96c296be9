// The same with a wait that does not block: while one client waits, the others are served.
// Look at co_await: it is the only difference from server_async. `ab -c 2 -n 10` takes half a second, `-c 10` 0.1 s.
#include <string>

#include "examples/http/http.hpp"

asyncio::Coroutine<std::string> respond(http::Request request) {
  if (request.target != "/quick") co_await asyncio::sleep(0.1);  // the work, somewhere else: a database's, say
  co_return "hello\n";
}

int main(int argc, char** argv) { return http::serve_until_signal(argc, argv, respond); }
