// Binary framing, and one reader for many askers: MongoDB's wire protocol, by mongo.hpp.
// Look at Connection::read_message: what happens to everybody when one frame is wrong.
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/mongo.hpp"

using asyncio::Coroutine;
using mongo::Client;

constexpr const char* PEOPLE =
    R"({"insert": "people", "$db": "test", "documents": [{"name": "Ada"}, {"name": "Grace"}, {"name": "Barbara"}]})";
constexpr const char* SORTED = R"({"find": "people", "$db": "test", "sort": {"name": 1}})";

Coroutine<> show_documents(Client& client) {
  co_await client.command(R"({"delete": "people", "$db": "test", "deletes": [{"q": {}, "limit": 0}]})");
  const auto inserted = co_await client.command(PEOPLE);
  std::cout << "inserted " << inserted->get("n").value_or("?") << ":";
  const auto found = co_await client.command(SORTED);
  for (const char* place : {"0", "1", "2"}) {
    std::cout << " " << found->get(std::string("cursor.firstBatch.") + place + ".name").value_or("?");
  }
  std::cout << "\n";
}

Coroutine<std::string> echo(Client& client, std::string text) {
  const auto answer = co_await client.command(R"({"echo": ")" + text + R"(", "$db": "test"})");
  co_return answer->get("echo").value_or("?");
}

// The stand-in answers in an order of its own.
Coroutine<> show_many(Client& client) {
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 100; ++i) askers.push_back(echo(client, std::to_string(i)));
  const std::vector<std::string> answers = co_await asyncio::gather(std::move(askers));
  int right = 0;
  for (int i = 0; i < 100; ++i) right += answers[i] == std::to_string(i);
  std::cout << "100 askers at once: " << right << " get their own answer\n";
}

Coroutine<> show_failures(Client& client) {
  try {
    co_await client.command(R"({"fail": 1, "$db": "test"})");
  } catch (const mongo::OperationFailure& error) {
    std::cout << "ok: 0: " << error.code() << " " << error.what() << "\n";
  }
  const std::string error =
      co_await common::error_of(asyncio::wait_for(client.command(R"({"sleep": 200, "$db": "test"})"), 0.05));
  const std::string next = co_await echo(client, "mine");
  std::cout << "a slow command: " << error << "; the next one: " << next << "\n";
  const std::string poisoned = co_await common::error_of(client.command(R"({"frame": 7, "$db": "test"})"));
  std::cout << "wrong length: " << poisoned << "\n";
}

Coroutine<> demonstrate(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  co_await show_documents(client);
  co_await show_many(client);
  co_await show_failures(client);
}

// MONGODB=host:port.
Coroutine<> show_real() {
  const std::string where = std::getenv("MONGODB");
  const std::size_t colon = where.find(':');
  Client client(co_await asyncio::open_connection(where.substr(0, colon), std::stoi(where.substr(colon + 1))));
  co_await show_documents(client);
}

// Every frame that is wrong: who asked for it gets the error, and so does who waits for something else.
Coroutine<> show_poisoned(int port) {
  for (const char* frame : {"7", "2000000000", "-1", "\"opcode\"", "\"document\"", "\"section\"", "\"cut\""}) {
    Client client(co_await asyncio::open_connection("127.0.0.1", port));
    const auto other = asyncio::create_task(common::error_of(client.command(R"({"sleep": 5000, "$db": "test"})")));
    const std::string command = std::string(R"({"frame": )") + frame + R"(, "$db": "test"})";
    const std::string error = co_await common::error_of(asyncio::wait_for(client.command(command), 2.0));
    const std::string others = co_await other;
    const std::string next = co_await common::error_of(echo(client, "me"));
    std::cout << frame << ": " << error << " " << others << " " << next << "\n";
  }
}

Coroutine<> echo_many(Client& client, int count) {
  for (int i = 0; i < count; ++i) co_await client.command(R"({"ping": 1, "$db": "test"})");
}

Coroutine<> measure(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  const common::Stopwatch one_by_one;
  co_await echo_many(client, 1000);
  one_by_one.report("ping", 1000);
  const common::Stopwatch together;
  std::vector<Coroutine<>> askers;
  for (int i = 0; i < 20; ++i) askers.push_back(echo_many(client, 100));
  co_await asyncio::gather(std::move(askers));
  together.report("ping by 20 askers", 2000);
}

Coroutine<> ask_for_ever(Client& client) {
  for (;;) co_await asyncio::wait_for(client.command(R"({"ping": 1, "$db": "test"})"), 1.0);
}

Coroutine<> ask_until_killed(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 20; ++i) askers.push_back(common::error_of(ask_for_ever(client)));
  std::cout << "asking" << std::endl;
  const std::vector<std::string> errors = co_await asyncio::gather(std::move(askers));
  const std::set<std::string> different(errors.begin(), errors.end());
  for (const std::string& error : different) std::cout << error << "\n";
}

// Cancels at every moment of a command: the next answer must be the next one's.
Coroutine<> cancel_at_random(int port) {
  Client client(co_await asyncio::open_connection("127.0.0.1", port));
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    const auto task = asyncio::create_task(echo(client, "nobody's"));
    for (int yields = i % 9; yields > 0; --yields) co_await asyncio::sleep(yields % 3 * 0.0005);
    task.cancel();
    const std::string answer = co_await echo(client, std::to_string(i));
    wrong += answer != std::to_string(i);
    cancelled += task.cancelled();
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "real") {
    asyncio::run(show_real());
  } else if (arguments.mode == "poisoned") {
    asyncio::run(show_poisoned(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
