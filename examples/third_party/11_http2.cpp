// Many requests on one connection: HTTP/2 by nghttp2, which does no I/O itself; http2.hpp moves its bytes.
// Look at Response::read: reading is what lets the server send more, of this stream and of no other.
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/http2.hpp"

using asyncio::Coroutine;
using http2::Client;
using http2::Response;

Coroutine<std::string> fetch(Client& client, std::string path) {
  Response response = co_await client.get(path);
  const std::string body = co_await response.read_all();
  co_return std::to_string(response.status()) + ", " + std::to_string(body.size()) + " bytes";
}

Coroutine<> print(Client& client, std::string path) {
  const std::string outcome = co_await fetch(client, path);
  std::cout << path << ": " << outcome << "\n";
}

Coroutine<> show_together(Client& client) {
  std::vector<Coroutine<std::string>> requests;
  for (int i = 0; i < 100; ++i) requests.push_back(fetch(client, "/hello.txt"));
  const std::vector<std::string> outcomes = co_await asyncio::gather(std::move(requests));
  const std::set<std::string> different(outcomes.begin(), outcomes.end());
  std::cout << "100 at once: " << different.size() << " outcome, " << *different.begin() << "\n";
}

// A large file that nobody reads stops at the end of its window. The others go on.
Coroutine<> show_flow_control(Client& client) {
  Response large = co_await client.get("/large.bin");
  co_await print(client, "/hello.txt");
  const std::string body = co_await large.read_all();
  std::cout << "and then the large one: " << body.size() << " bytes\n";
}

// Nobody waits for the large file any more: its stream is reset, and the connection goes on.
Coroutine<> show_cancelled(Client& client) {
  const std::string error = co_await common::error_of(asyncio::wait_for(
      [&]() -> Coroutine<> {
        Response large = co_await client.get("/large.bin");
        co_await large.read();
        co_await asyncio::sleep(60);
      },
      0.1));
  std::cout << "given up: " << error << "\n";
  co_await print(client, "/hello.txt");
}

Coroutine<> demonstrate(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  co_await print(client, "/hello.txt");
  const Response missing = co_await client.get("/missing");
  std::cout << "/missing: " << missing.status() << "\n";
  co_await show_together(client);
  co_await show_flow_control(client);
  co_await show_cancelled(client);
}

// How much of the large file arrives while nobody reads it.
Coroutine<> show_window(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  Response large = co_await client.get("/large.bin");
  std::size_t before = 0;
  do {
    before = large.buffered();
    co_await asyncio::sleep(0.1);
  } while (large.buffered() != before || before == 0);
  std::cout << "unread: " << large.buffered() << " bytes\n";
}

Coroutine<> get_and_wait(Client& client, std::string path) {
  Response response = co_await client.get(path);
  co_await response.read_all();
}

// Against a stand-in that misbehaves: one stream is reset, another one goes on; then the connection breaks.
Coroutine<> show_reset(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  const auto other = asyncio::create_task(fetch(client, "/slow"));
  const std::string error = co_await common::error_of(get_and_wait(client, "/reset"));
  const std::string slow = co_await other;
  std::cout << "reset: " << error << "; the other stream: " << slow << "\n";
  const auto waiting = asyncio::create_task(common::error_of(get_and_wait(client, "/slow")));
  const std::string cut = co_await common::error_of(get_and_wait(client, "/cut"));
  const std::string waited = co_await waiting;
  const std::string after = co_await common::error_of(get_and_wait(client, "/hello"));
  std::cout << "cut off: " << cut << " " << waited << " " << after << "\n";
}

Coroutine<> fetch_many(Client& client, int count) {
  for (int i = 0; i < count; ++i) co_await fetch(client, "/hello.txt");
}

Coroutine<> measure(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  const common::Stopwatch one_by_one;
  co_await fetch_many(client, 300);
  one_by_one.report("GET", 300);
  const common::Stopwatch together;
  std::vector<Coroutine<>> requests;
  for (int i = 0; i < 50; ++i) requests.push_back(fetch_many(client, 12));
  co_await asyncio::gather(std::move(requests));
  together.report("GET, 50 at a time", 600);
}

Coroutine<> fetch_for_ever(Client& client) {
  for (;;) co_await asyncio::wait_for(fetch(client, "/hello.txt"), 1.0);
}

Coroutine<> ask_until_killed(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 20; ++i) askers.push_back(common::error_of(fetch_for_ever(client)));
  std::cout << "asking" << std::endl;
  const std::vector<std::string> errors = co_await asyncio::gather(std::move(askers));
  const std::set<std::string> different(errors.begin(), errors.end());
  for (const std::string& error : different) std::cout << error << "\n";
}

// Cancels at every moment of a request; the connection goes on.
Coroutine<> cancel_at_random(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    const auto task = asyncio::create_task(fetch(client, i % 2 ? "/large.bin" : "/hello.txt"));
    for (int yields = i % 9; yields > 0; --yields) co_await asyncio::sleep(0);
    task.cancel();
    const std::string outcome = co_await fetch(client, "/hello.txt");
    wrong += outcome != "200, 6 bytes";
    cancelled += task.cancelled();
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "window") {
    asyncio::run(show_window(arguments.port));
  } else if (arguments.mode == "reset") {
    asyncio::run(show_reset(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
