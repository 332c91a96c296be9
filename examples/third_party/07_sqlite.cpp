// A library that blocks: SQLite, in a thread of its own, through sqlite.hpp.
// Look at Database::in_thread: a thread cannot be cancelled, but what it does can be interrupted.
#include <iostream>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/sqlite.hpp"

using asyncio::Coroutine;
using sqlite::Database;
using sqlite::Rows;

// Counts to a thousand million: about a minute.
const std::string SLOW =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n";

Coroutine<> show_statements(Database& database) {
  co_await database.execute("CREATE TABLE people (name TEXT PRIMARY KEY, born INTEGER)");
  for (const char* name : {"Ada", "Grace", "Barbara"}) {
    const std::vector<std::string> parameters(1, name);
    co_await database.execute("INSERT INTO people VALUES (?, 1900 + length(?1))", parameters);
  }
  const Rows rows = co_await database.execute("SELECT name, born, NULL FROM people ORDER BY name");
  for (const sqlite::Row& row : rows) {
    std::cout << row[0].value_or("None") << " " << row[1].value_or("None") << " " << row[2].value_or("None") << "\n";
  }
}

Coroutine<> show_errors(Database& database) {
  for (const char* sql : {"SELEKT 1", "SELECT * FROM nowhere", "INSERT INTO people VALUES ('Ada', 1815)"}) {
    std::string answer;
    try {
      co_await database.execute(sql);
    } catch (const sqlite::IntegrityError& error) {
      answer = std::string("IntegrityError: ") + error.what();
    } catch (const sqlite::OperationalError& error) {
      answer = std::string("OperationalError: ") + error.what();
    }
    std::cout << sql << ": " << answer << "\n";
  }
}

Coroutine<> tick(int& ticks) {
  for (;;) {
    co_await asyncio::sleep(0.01);
    ++ticks;
  }
}

// The loop goes on while the thread computes; and when nobody waits any more, the thread stops.
Coroutine<> show_interrupt(Database& database) {
  int ticks = 0;
  const auto ticking = asyncio::create_task(tick(ticks));
  const std::string error = co_await common::error_of(asyncio::wait_for(database.execute(SLOW), 0.2));
  ticking.cancel();
  const double start = asyncio::get_running_loop().time();
  const Rows rows = co_await database.execute("SELECT count(*) FROM people");
  const bool at_once = asyncio::get_running_loop().time() - start < 1;
  std::cout << "a slow statement: " << error << "; the loop went on: " << (ticks > 2)
            << "; people, at once: " << rows[0][0].value_or("None") << " " << at_once << "\n";
}

Coroutine<> demonstrate() {
  const auto database = co_await Database::open(":memory:");
  co_await show_statements(*database);
  co_await show_errors(*database);
  co_await show_interrupt(*database);
  const std::string error = co_await common::error_of(Database::open("/nowhere/at/all"));
  std::cout << "a file that cannot be: " << error << "\n";
}

Coroutine<> measure() {
  const auto database = co_await Database::open(":memory:");
  co_await database->execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT)");
  const common::Stopwatch inserting;
  for (int i = 0; i < 3000; ++i) {
    const std::vector<std::string> parameters(2, std::to_string(i));
    co_await database->execute("INSERT INTO numbers VALUES (?, ?)", parameters);
  }
  inserting.report("INSERT", 3000);
  const common::Stopwatch selecting;
  for (int i = 0; i < 3000; ++i) {
    const std::vector<std::string> parameters(1, std::to_string(i));
    co_await database->execute("SELECT text FROM numbers WHERE n = ?", parameters);
  }
  selecting.report("SELECT", 3000);
}

// Cancels at every moment: each statement gets its own rows, and the thread is free soon.
Coroutine<> cancel_at_random() {
  const auto database = co_await Database::open(":memory:");
  const double start = asyncio::get_running_loop().time();
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 100; ++i) {
    const auto task = asyncio::create_task(database->execute(i % 2 ? SLOW : "SELECT -1"));
    for (int yields = i % 7; yields > 0; --yields) co_await asyncio::sleep(yields % 3 * 0.001);
    task.cancel();
    if (i % 3 == 0) task.cancel();
    const Rows rows = co_await database->execute("SELECT " + std::to_string(i));
    wrong += rows.at(0).at(0) != std::to_string(i);
    cancelled += task.cancelled();
  }
  const bool soon = asyncio::get_running_loop().time() - start < 20;
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << ", soon: " << soon << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure());
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random());
  } else {
    asyncio::run(demonstrate());
  }
}
