// Work that computes goes to another process: the loop stays free, and every core has something to do.
// Look at busy(): it does not wait, it uses 0.1 s of a processor. Threads would do as well here, in Python they take
// turns: only processes have a lock each. What a process computes must be sent back as bytes, a closure goes by fork.
#include <ctime>
#include <string>

#include "examples/http/http.hpp"

std::string busy() {
  long rounds = 0;
  const std::clock_t end = std::clock() + CLOCKS_PER_SEC / 10;  // the processor's time, not the wall's
  while (std::clock() < end) ++rounds;
  return "hello, after so many rounds: " + std::to_string(rounds) + "\n";
}

asyncio::Coroutine<std::string> respond(asyncio::ProcessPoolExecutor& pool, http::Request request) {
  if (request.target == "/quick") co_return "hello\n";
  co_return co_await asyncio::get_running_loop().run_in_executor(&pool, busy);
}

int main(int argc, char** argv) {
  asyncio::ProcessPoolExecutor pool;
  const auto respond_with_pool = [&pool](http::Request request) { return respond(pool, request); };
  return http::serve_until_signal(argc, argv, respond_with_pool);
}
