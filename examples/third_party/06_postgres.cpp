// A library that is polled: libpq says whether it wants to read or write, and is called again when that is possible.
// Look at Connection::in_step: a query that nobody waits for any more is stopped in the server, too.
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/postgres.hpp"

using asyncio::Coroutine;
using postgres::Connection;
using postgres::Query;
using postgres::Rows;

std::string words(int port) {
  return "host=127.0.0.1 user=postgres dbname=postgres sslmode=disable port=" + std::to_string(port);
}

Coroutine<std::string> value_of(Connection& connection, std::string sql) {
  const Rows rows = co_await connection.fetch(sql);
  co_return rows.at(0).at(0).value_or("null");
}

/// The SQLSTATE with which it ends; "none".
template <class A> Coroutine<std::string> sqlstate_of(A awaitable) {
  try {
    co_await std::move(awaitable);
    co_return "none";
  } catch (const postgres::PostgresError& error) {
    co_return error.sqlstate();
  }
}

Coroutine<> show_queries(Connection& connection) {
  co_await connection.fetch(Query("CREATE TEMPORARY TABLE people (name text PRIMARY KEY, born integer)"));
  for (const char* name : {"Ada", "Grace", "Barbara"}) {
    const Query insert("INSERT INTO people VALUES ($1, length($1) + 1900)", std::vector<std::string>(1, name));
    co_await connection.fetch(insert);
  }
  const Rows rows = co_await connection.fetch(Query("SELECT name, born, NULL FROM people ORDER BY name"));
  for (const postgres::Row& row : rows) {
    std::cout << row[0].value_or("null") << " " << row[1].value_or("null") << " " << row[2].value_or("null") << "\n";
  }
}

// An error is the end of a query, not of the connection.
Coroutine<> show_errors(Connection& connection) {
  for (const char* sql : {"SELEKT 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO people VALUES ('Ada')"}) {
    const std::string sqlstate = co_await sqlstate_of(connection.fetch(Query(sql)));
    std::cout << sql << ": " << sqlstate << "\n";
  }
}

Coroutine<> show_timeout(Connection& connection, Connection& observer) {
  const std::string before = co_await value_of(connection, "SELECT pg_backend_pid()");
  const std::string error =
      co_await common::error_of(asyncio::wait_for(connection.fetch(Query("SELECT pg_sleep(60)")), 0.1));
  const std::string working = co_await value_of(
      observer, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'");
  const std::string after = co_await value_of(connection, "SELECT pg_backend_pid()");
  std::cout << "pg_sleep(60): " << error << "; servers that sleep on: " << working
            << "; the same connection: " << (before == after) << "\n";
}

Coroutine<> terminate_later(Connection& observer, std::string pid) {
  co_await asyncio::sleep(0.1);
  co_await observer.fetch(Query("SELECT pg_terminate_backend($1)", std::vector<std::string>(1, pid)));
}

Coroutine<> show_terminated(Connection& connection, Connection& observer) {
  const std::string pid = co_await value_of(connection, "SELECT pg_backend_pid()");
  const auto terminator = asyncio::create_task(terminate_later(observer, pid));
  const std::string sqlstate = co_await sqlstate_of(connection.fetch(Query("SELECT pg_sleep(60)")));
  co_await terminator;
  std::cout << "terminated: " << (sqlstate == "57P01" ? "yes" : sqlstate) << "; closed: " << connection.is_closed()
            << "\n";
}

Coroutine<> demonstrate(int port) {
  const auto connection = co_await Connection::connect(words(port)),
             observer = co_await Connection::connect(words(port));
  co_await show_queries(*connection);
  co_await show_errors(*connection);
  co_await show_timeout(*connection, *observer);
  co_await show_terminated(*connection, *observer);
  const std::string error = co_await common::error_of(Connection::connect(words(1)));
  std::cout << "nobody listens: " << (error == "none" ? "connected" : "refused") << "\n";
}

std::vector<Query> numbers(int count) {
  std::vector<Query> queries;
  for (int i = 0; i < count; ++i)
    queries.emplace_back("SELECT $1::integer + 1", std::vector<std::string>(1, std::to_string(i)));
  return queries;
}

Coroutine<> measure(int port) {
  const auto connection = co_await Connection::connect(words(port));
  constexpr int COUNT = 3000;
  const std::vector<Query> queries = numbers(COUNT);
  const common::Stopwatch one_by_one;
  for (const Query& query : queries) co_await connection->fetch(query);
  one_by_one.report("SELECT one by one", COUNT);
  const common::Stopwatch pipelined;
  co_await connection->pipeline(queries);
  pipelined.report("SELECT pipelined", COUNT);
}

// Results of 20 MB in all: the server cannot write them before we read.
Coroutine<> show_pipeline(int port) {
  const auto connection = co_await Connection::connect(words(port));
  std::vector<Query> queries = numbers(3);
  const auto results = co_await connection->pipeline(queries);
  for (const Rows& rows : results) std::cout << *rows.at(0).at(0) << " ";
  std::vector<Query> large(200, Query("SELECT repeat($1, 100)", std::vector<std::string>(1, std::string(1000, 'x'))));
  const auto texts = co_await connection->pipeline(large);
  std::cout << texts.size() << " of " << texts.back().at(0).at(0)->size() << "\n";
  queries.insert(queries.begin() + 1, Query("SELECT 1/0"));
  const std::string sqlstate = co_await sqlstate_of(connection->pipeline(queries));
  std::vector<Query> slow(50, Query("SELECT pg_sleep(1)"));
  const std::string error = co_await common::error_of(asyncio::wait_for(connection->pipeline(slow), 0.1));
  const std::string next = co_await value_of(*connection, "SELECT 7");
  std::cout << sqlstate << " " << error << " " << next << "\n";
}

Coroutine<> fetch_for_ever(std::string words) {
  const auto connection = co_await Connection::connect(words);
  for (;;) co_await asyncio::wait_for(connection->fetch(Query("SELECT pg_sleep(0.01)")), 1.0);
}

Coroutine<> ask_until_killed(int port) {
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 5; ++i) askers.push_back(common::error_of(fetch_for_ever(words(port))));
  asyncio::Future<std::vector<std::string>> asking = asyncio::gather(std::move(askers));
  co_await asyncio::sleep(0.2);
  std::cout << "asking" << std::endl;
  const std::vector<std::string> errors = co_await asking;
  const std::set<std::string> different(errors.begin(), errors.end());
  for (const std::string& error : different) std::cout << error << "\n";
}

// Cancels at every moment of a query: what the next one gets must be its own.
Coroutine<> cancel_at_random(int port) {
  const auto connection = co_await Connection::connect(words(port));
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 150; ++i) {
    const auto task = asyncio::create_task(value_of(*connection, "SELECT pg_sleep(0.0005)"));
    for (int yields = i % 9; yields > 0; --yields) co_await asyncio::sleep(yields % 3 * 0.0002);
    task.cancel();
    const std::string number = co_await value_of(*connection, "SELECT " + std::to_string(i));
    wrong += number != std::to_string(i);
    cancelled += task.cancelled();
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "pipeline") {
    asyncio::run(show_pipeline(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
