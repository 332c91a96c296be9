// The adapter between SQLite and the loop: a library that blocks, in one thread of its own.
//
// The contract. There is no descriptor, and nothing to be interested in: a call returns when it is done. All calls on
// the database are made in one thread, one after the other; only sqlite3_interrupt comes from the loop's thread, for
// which SQLite allows it. A cancelled await interrupts the statement, and ends only when the thread is free again, so
// that the next one does not wait for what nobody wants. The Database must end before its loop.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "asyncio.hpp"

namespace sqlite {

/// A wrong statement, a full disk, an interrupt.
class OperationalError : public asyncio::Error {
 public:
  using asyncio::Error::Error;
};
/// A constraint of a table forbids it.
struct IntegrityError : OperationalError {
  using OperationalError::OperationalError;
};

using Row = std::vector<std::optional<std::string>>;
using Rows = std::vector<Row>;

class Database {
 public:
  static asyncio::Coroutine<std::unique_ptr<Database>> open(std::string path) {
    std::unique_ptr<Database> database(new Database);
    const auto open = [&] { database->open_here(path); };
    co_await asyncio::get_running_loop().run_in_executor(&database->thread_, open);
    co_return database;
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    if (handle_) sqlite3_interrupt(handle_.get());
  }

  /// The rows of a statement; the parameters stand for its question marks. OperationalError, IntegrityError.
  asyncio::Coroutine<Rows> execute(std::string sql, std::vector<std::string> parameters = {}) {
    co_return co_await asyncio::async_with(lock_, [&] { return in_thread(sql, parameters); });
  }

 private:
  Database() = default;

  asyncio::Coroutine<Rows> in_thread(std::string sql, std::vector<std::string> parameters) {
    const auto call = [this, sql, parameters] { return execute_here(sql, parameters); };
    const asyncio::Future<Rows> rows = asyncio::get_running_loop().run_in_executor(&thread_, call);
    std::exception_ptr cancelled;
    try {
      co_return co_await asyncio::shield(rows);
    } catch (const asyncio::CancelledError&) {
      cancelled = std::current_exception();
    }
    while (!rows.done()) co_await interrupt(rows);
    static_cast<void>(rows.exception());
    std::rethrow_exception(cancelled);
  }

  // Again and again: a statement that begins after the call does not notice it. It is short, so nobody cancels it.
  asyncio::Coroutine<> interrupt(asyncio::Future<Rows> rows) {
    sqlite3_interrupt(handle_.get());
    const std::vector<asyncio::Future<Rows>> futures(1, rows);
    try {
      co_await asyncio::wait(futures, {.timeout = 0.01});
    } catch (const asyncio::CancelledError&) {}
  }

  // What follows runs in the thread.

  [[noreturn]] void fail() const {
    const std::string why = sqlite3_errmsg(handle_.get());
    if (sqlite3_errcode(handle_.get()) == SQLITE_CONSTRAINT) throw IntegrityError(why);
    throw OperationalError(why);
  }

  void open_here(const std::string& path) {
    sqlite3* handle = nullptr;
    const int code = sqlite3_open(path.c_str(), &handle);
    handle_.reset(handle);
    if (code != SQLITE_OK) fail();
  }

  Rows execute_here(const std::string& sql, const std::vector<std::string>& parameters) {
    sqlite3_stmt* prepared = nullptr;
    if (sqlite3_prepare_v2(handle_.get(), sql.c_str(), -1, &prepared, nullptr) != SQLITE_OK) fail();
    const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(prepared, sqlite3_finalize);
    int position = 0;
    for (const std::string& value : parameters) {
      if (sqlite3_bind_text(prepared, ++position, value.data(), value.size(), SQLITE_STATIC) != SQLITE_OK) fail();
    }
    Rows rows;
    int code = SQLITE_OK;
    while ((code = sqlite3_step(prepared)) == SQLITE_ROW) rows.push_back(row_of(prepared));
    if (code != SQLITE_DONE) fail();
    return rows;
  }

  static Row row_of(sqlite3_stmt* statement) {
    Row row(sqlite3_column_count(statement));
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
      if (text) row[i] = std::string(text, sqlite3_column_bytes(statement, i));
    }
    return row;
  }

  std::unique_ptr<sqlite3, int (*)(sqlite3*)> handle_{nullptr, sqlite3_close};
  asyncio::Lock lock_;
  asyncio::ThreadPoolExecutor thread_{1};  // last, so that it has ended before what it uses
};

}  // namespace sqlite
