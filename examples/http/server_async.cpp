// The loop of asyncio, and no better than the first: respond() is a coroutine, but what it calls blocks the thread.
// Look at sleep_for(): there is no co_await in that line, so nobody else runs meanwhile. `ab -c 2 -n 10` takes 1 s.
#include <chrono>
#include <string>
#include <thread>

#include "examples/http/http.hpp"

using namespace std::chrono_literals;

asyncio::Coroutine<std::string> respond(http::Request request) {
  if (request.target != "/quick") std::this_thread::sleep_for(100ms);  // the mistake
  co_return "hello\n";
}

int main(int argc, char** argv) { return http::serve_until_signal(argc, argv, respond); }
