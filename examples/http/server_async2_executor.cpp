// What blocks and cannot be changed goes to a thread: the loop awaits it as it awaits a timer.
// Look at run_in_executor: the blocking call is that of server_async, and /quick is answered meanwhile all the same.
// The pool has so many threads and no more: `ab -c 50` shows how many requests are worked on at once.
#include <chrono>
#include <string>
#include <thread>

#include "examples/http/http.hpp"

using namespace std::chrono_literals;

std::string work() {
  std::this_thread::sleep_for(100ms);
  return "hello\n";
}

asyncio::Coroutine<std::string> respond(http::Request request) {
  if (request.target == "/quick") co_return "hello\n";
  co_return co_await asyncio::get_running_loop().run_in_executor(nullptr, work);
}

int main(int argc, char** argv) { return http::serve_until_signal(argc, argv, respond); }
