// A library that calls back: hiredis says when it wants to read or write, and redis.hpp passes that on to the loop.
// Look at Connection::on_reply: why a command that nobody waits for any more leaves the connection in step.
#include <iostream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/redis.hpp"

using asyncio::Coroutine;
using redis::Connection;
using redis::Reply;
using Words = std::vector<std::string>;

Words split(const std::string& line) {
  std::istringstream stream(line);
  return Words(std::istream_iterator<std::string>(stream), {});
}

Coroutine<Reply> ask(Connection& connection, std::string line) {
  const Words words = split(line);
  co_return co_await connection.command(words);
}

Coroutine<> print(Connection& connection, std::string line) {
  std::string answer;
  try {
    const Reply reply = co_await ask(connection, line);
    answer = reply.text.empty() ? std::to_string(reply.integer) : reply.text;
    if (reply.is_nil) answer = "nil";
    if (!reply.elements.empty()) answer.clear();
    for (const Reply& element : reply.elements) answer += (answer.empty() ? "" : " ") + element.text;
  } catch (const redis::ResponseError& error) {
    answer = error.what();
  }
  std::cout << line << ": " << answer << "\n";
}

Coroutine<> show_commands(int port) {
  Connection connection(port);
  co_await connection.connected();
  for (const char* line : {"SET name Ada", "GET name", "GET missing", "DEL list count", "RPUSH list a b c",
                           "LRANGE list 0 -1", "INCR name", "LPUSH name x", "INCRBY count 42"}) {
    co_await print(connection, line);
  }
}

// BLPOP waits in the server. Its own limit ends it there; ours only ends our waiting, and its reply still comes before
// that of PING.
Coroutine<> show_timeouts(int port) {
  Connection connection(port);
  co_await connection.connected();
  co_await print(connection, "BLPOP nothing 0.1");
  const std::string error = co_await common::error_of(asyncio::wait_for(ask(connection, "BLPOP nothing 0.3"), 0.05));
  std::cout << "BLPOP, and nobody waits so long: " << error << "\n";
  co_await print(connection, "PING");
}

Coroutine<> show_refused() {
  std::string error;
  {
    Connection connection(1);  // nobody listens there
    error = co_await common::error_of(connection.connected());
  }
  std::cout << "refused: " << error << "\n";
}

Coroutine<> demonstrate(int port) {
  co_await show_commands(port);
  co_await show_timeouts(port);
  co_await show_refused();
}

constexpr int COMMANDS = 10000;

// Pipelining: all commands are sent before the first reply is there. It is nothing but gather.
Coroutine<> measure(int port) {
  Connection connection(port);
  co_await connection.connected();
  co_await ask(connection, "SET key " + std::string(100, 'x'));
  const Words get = split("GET key");
  const common::Stopwatch one_by_one;
  for (int i = 0; i < COMMANDS; ++i) co_await connection.command(get);
  one_by_one.report("GET one by one", COMMANDS);
  const common::Stopwatch pipelined;
  std::vector<asyncio::Future<Reply>> replies;
  for (int i = 0; i < COMMANDS; ++i) replies.push_back(connection.command(get));
  co_await asyncio::gather(std::move(replies));
  pipelined.report("GET pipelined", COMMANDS);
}

Coroutine<> ask_for_ever(Connection& connection) {
  for (;;) co_await asyncio::wait_for(ask(connection, "INCR n"), 1.0);
}

// Many commands are under way when the server dies: each of them must end.
Coroutine<> ask_until_killed(int port) {
  Connection connection(port);
  co_await connection.connected();
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 100; ++i) askers.push_back(common::error_of(ask_for_ever(connection)));
  std::cout << "asking" << std::endl;
  const std::vector<std::string> errors = co_await asyncio::gather(std::move(askers));
  const std::set<std::string> different(errors.begin(), errors.end());
  for (const std::string& error : different) std::cout << error << "\n";
}

// Cancels at every moment of many commands: each reply must still be the one that belongs to its command.
Coroutine<> cancel_at_random(int port) {
  Connection connection(port);
  co_await connection.connected();
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string word = std::to_string(i);
    const auto task = asyncio::create_task(ask(connection, "ECHO " + word));
    for (int yields = i % 7; yields > 0; --yields) co_await asyncio::sleep(0);
    if (i % 3) task.cancel();
    const std::string other = word + "!";
    const Reply reply = co_await ask(connection, "ECHO " + other);
    const std::vector<asyncio::Task<Reply>> tasks(1, task);
    co_await asyncio::wait(tasks);
    wrong += reply.text != other;
    cancelled += task.cancelled();
    if (!task.cancelled()) wrong += task.result().text != word;
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
