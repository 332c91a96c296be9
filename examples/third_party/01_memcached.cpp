// A text protocol over streams: memcached.hpp is the client, and no library is needed.
// Look at Client::whole: what becomes of the connection when somebody stops waiting for a reply.
#include "examples/third_party/memcached.hpp"

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "examples/third_party/common.hpp"

using asyncio::Coroutine;
using memcached::Client;

Coroutine<> show_commands(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  co_await client.set("greeting", "good morning");
  const auto greeting = co_await client.get("greeting");
  std::cout << "greeting: " << greeting.value_or("nothing") << "\n";
  const auto missing = co_await client.get("missing");
  std::cout << "missing: " << missing.value_or("nothing") << "\n";
  co_await client.set("count", "40");
  const auto sum = co_await client.incr("count", 2);
  std::cout << "count + 2: " << sum.value_or(0) << "\n";
  const bool deleted = co_await client.delete_("greeting");
  const bool again = co_await client.delete_("greeting");
  std::cout << "deleted: " << deleted << ", again: " << again << "\n";
}

// The server refuses, and the connection goes on. What would be two commands is not even sent.
Coroutine<> show_refused(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  co_await client.set("name", "Ada");
  try {
    co_await client.incr("name", 1);
  } catch (const memcached::Refused& error) {
    std::cout << "name + 1: " << error.what() << "\n";
  }
  const std::string injected = co_await common::error_of(client.get("name\r\nflush_all"));
  const auto name = co_await client.get("name");
  std::cout << "two commands in one key: " << injected << "; name: " << name.value_or("nothing") << "\n";
}

// Stands in for a server: sends `reply` to the first command, and closes the connection if `cut`.
Coroutine<asyncio::Server> stand_in(std::string reply, bool cut) {
  const auto serve = [reply, cut](asyncio::StreamReader reader, asyncio::StreamWriter writer) -> Coroutine<> {
    co_await reader.readline();
    writer.write(reply);
    if (!cut) co_await reader.read();
    writer.close();
  };
  co_return co_await asyncio::start_server(serve, "127.0.0.1", 0);
}

Coroutine<> show_cut_off(std::string reply) {
  asyncio::Server server = co_await stand_in(reply, true);
  Client client(co_await asyncio::open_connection("127.0.0.1", server.sockets()[0].port()));
  const std::string error = co_await common::error_of(client.get("key"));
  std::cout << "cut off after " << reply.size() << " bytes: " << error << "\n";
  server.close();
}

// Half of a reply, then nothing more: the other half must never be taken for the reply to another command.
Coroutine<> show_timeout() {
  asyncio::Server server = co_await stand_in("VALUE key 0 10\r\n01234", false);
  Client client(co_await asyncio::open_connection("127.0.0.1", server.sockets()[0].port()));
  const std::string error = co_await common::error_of(asyncio::wait_for(client.get("key"), 0.05));
  const std::string next = co_await common::error_of(client.get("key"));
  std::cout << "half a reply: " << error << ", and then: " << next << "\n";
  server.close();
}

Coroutine<> demonstrate(int port) {
  co_await show_commands(port);
  co_await show_refused(port);
  for (const char* reply : {"", "VALUE key 0 10", "VALUE key 0 10\r\n01234"}) co_await show_cut_off(reply);
  co_await show_timeout();
}

Coroutine<> get_many(int port, int count) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  for (int i = 0; i < count; ++i) co_await client.get("key");
}

Coroutine<> measure(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  co_await client.set("key", std::string(100, 'x'));
  const common::Stopwatch one_by_one;
  co_await get_many(port, 10000);
  one_by_one.report("get", 10000);
  const common::Stopwatch together;
  std::vector<Coroutine<>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(get_many(port, 1000));
  co_await asyncio::gather(std::move(clients));
  together.report("get on 20 connections", 20000);
}

Coroutine<> get_for_ever(Client& client) {
  for (;;) co_await asyncio::wait_for(client.get("key"), 1.0);
}

Coroutine<> ask_until_killed(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  co_await client.set("key", std::string(100'000, 'x'));
  std::cout << "asking" << std::endl;
  const std::string error = co_await common::error_of(get_for_ever(client));
  std::cout << error << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
