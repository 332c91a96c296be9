// The adapter between libpq and the loop: a library that is called again and again until it says that it is done.
//
// The contract. libpq owns the descriptor, and may change it while it connects. Nothing is registered between two waits:
// each wait says for what, and takes that back. One query is under way at a time; a second one waits for the lock. An
// await that is cancelled or times out stops the server's work, too: a cancel request on a connection of its own, in a
// thread, because libpq's call for it blocks; then the rest of the results is read, so that the connection is in step
// again. If that takes too long, or is cancelled itself, the connection is closed. It must end before its loop.
#pragma once

#include <libpq-fe.h>
#include <sys/eventfd.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "asyncio.hpp"

namespace postgres {

/// The server refused; the five characters of SQLSTATE say why.
class PostgresError : public asyncio::Error {
 public:
  PostgresError(const std::string& message, std::string sqlstate) : Error(message), sqlstate_(std::move(sqlstate)) {}
  const std::string& sqlstate() const { return sqlstate_; }

 private:
  std::string sqlstate_;
};
/// There is no connection, or it was lost.
struct ConnectionError : asyncio::Error {
  using asyncio::Error::Error;
};

using Row = std::vector<std::optional<std::string>>;
using Rows = std::vector<Row>;
using Result = std::unique_ptr<PGresult, void (*)(PGresult*)>;

struct Query {
  Query(std::string text, std::vector<std::string> values = {}) : sql(std::move(text)), parameters(std::move(values)) {}
  std::string sql;
  std::vector<std::string> parameters;  // $1, $2, …
};

class Connection {
 public:
  /// ConnectionError, or TimeoutError after `patience` seconds. libpq's words, "host=… port=… user=… dbname=…".
  static asyncio::Coroutine<std::unique_ptr<Connection>> connect(std::string words, double patience = 5) {
    std::unique_ptr<Connection> connection(new Connection(PQconnectStart(words.c_str())));
    co_await asyncio::wait_for(connection->poll(), patience);
    co_return connection;
  }

  /// PostgresError, ConnectionError.
  asyncio::Coroutine<Rows> fetch(Query query) {
    const std::vector<Query> queries(1, std::move(query));
    auto results = co_await asyncio::async_with(lock_, [&] { return in_step(queries, false); });
    co_return std::move(results[0]);
  }

  /// All queries in one go: the next is sent before the result of the last is there. The first that fails ends it.
  asyncio::Coroutine<std::vector<Rows>> pipeline(std::vector<Query> queries) {
    co_return co_await asyncio::async_with(lock_, [&] { return in_step(queries, true); });
  }

  bool is_closed() const { return !pg_; }

 private:
  explicit Connection(PGconn* pg) : pg_(pg, PQfinish) {
    PQsetNoticeProcessor(
        pg, [](void*, const char*) {}, nullptr);
  }

  [[noreturn]] void lost() {
    const std::string why = PQerrorMessage(pg_.get());
    pg_.reset();
    throw ConnectionError(why);
  }

  asyncio::Coroutine<> ready(unsigned events) {
    const int fd = PQsocket(pg_.get());
    if (fd < 0) lost();
    const asyncio::Future<> is_ready(loop_);
    const auto wake = [is_ready] {
      if (!is_ready.done()) is_ready.set_result();
    };
    const asyncio::Finally forget([&] { loop_.remove_reader(fd), loop_.remove_writer(fd); });
    if (events & selectors::EVENT_READ) loop_.add_reader(fd, wake);
    if (events & selectors::EVENT_WRITE) loop_.add_writer(fd, wake);
    co_await is_ready;
  }

  asyncio::Coroutine<> poll() {
    if (PQstatus(pg_.get()) == CONNECTION_BAD) lost();
    for (auto state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK; state = PQconnectPoll(pg_.get())) {
      if (state == PGRES_POLLING_FAILED) lost();
      co_await ready(state == PGRES_POLLING_WRITING ? selectors::EVENT_WRITE : selectors::EVENT_READ);
    }
    PQsetnonblocking(pg_.get(), 1);
  }

  // What comes of the queries; or, if the await is cancelled, a connection in step, or none.
  asyncio::Coroutine<std::vector<Rows>> in_step(const std::vector<Query>& queries, bool pipelined) {
    if (!pg_) throw ConnectionError("not connected");
    send(queries, pipelined);
    std::exception_ptr cancelled;
    try {
      co_return co_await collect(pipelined);
    } catch (const asyncio::CancelledError&) {
      cancelled = std::current_exception();
    }
    try {
      co_await asyncio::wait_for(stop_and_drain(pipelined), 2.0);
    } catch (const asyncio::CancelledError&) {
      pg_.reset();
    } catch (const PostgresError&) {  // this says that the query was stopped
    } catch (const std::exception&) {
      pg_.reset();
    }
    std::rethrow_exception(cancelled);
  }

  void send(const std::vector<Query>& queries, bool pipelined) {
    if (pipelined) PQenterPipelineMode(pg_.get());
    for (const Query& query : queries) {
      std::vector<const char*> values;
      for (const std::string& value : query.parameters) values.push_back(value.c_str());
      const int count = static_cast<int>(values.size());
      if (!PQsendQueryParams(pg_.get(), query.sql.c_str(), count, nullptr, values.data(), nullptr, nullptr, 0)) lost();
    }
    if (pipelined && !PQpipelineSync(pg_.get())) lost();
  }

  // Reads while it writes: a server that cannot send its results does not read either.
  asyncio::Coroutine<> flush() {
    for (int left = PQflush(pg_.get()); left != 0; left = PQflush(pg_.get())) {
      if (left < 0) lost();
      co_await ready(selectors::EVENT_READ | selectors::EVENT_WRITE);
      if (!PQconsumeInput(pg_.get())) lost();
    }
  }

  asyncio::Coroutine<Result> next_result() {
    while (PQisBusy(pg_.get())) {
      co_await ready(selectors::EVENT_READ);
      if (!PQconsumeInput(pg_.get())) break;  // the result says why: perhaps the server's last words
    }
    co_return Result(PQgetResult(pg_.get()), PQclear);
  }

  // Reads to the end, also after an error: what the server has sent must not be taken for the next query's.
  asyncio::Coroutine<std::vector<Rows>> collect(bool pipelined) {
    co_await flush();
    std::vector<Rows> all;
    std::optional<PostgresError> error;
    for (;;) {
      const Result result = co_await next_result();
      const ExecStatusType status = PQresultStatus(result.get());
      if (!result && !pipelined) break;
      if (status == PGRES_PIPELINE_SYNC) break;
      if (result && status == PGRES_FATAL_ERROR && !error) error = error_of(result.get());
      if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) all.push_back(rows_of(result.get()));
    }
    if (pipelined) PQexitPipelineMode(pg_.get());
    if (PQstatus(pg_.get()) == CONNECTION_BAD) pg_.reset();
    if (error) throw *error;
    co_return all;
  }

  PostgresError error_of(PGresult* result) {
    const char* const sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!sqlstate) lost();  // libpq's own words: the server says nothing any more
    return PostgresError(PQresultErrorMessage(result), sqlstate);
  }

  static Rows rows_of(PGresult* result) {
    Rows rows(PQntuples(result));
    for (int row = 0; row < PQntuples(result); ++row) {
      for (int column = 0; column < PQnfields(result); ++column) {
        rows[row].emplace_back();
        if (!PQgetisnull(result, row, column)) rows[row].back() = PQgetvalue(result, row, column);
      }
    }
    return rows;
  }

  // PQcancel blocks, without a limit. Its thread is waited for only while we have patience: it keeps what it needs.
  asyncio::Coroutine<> stop_and_drain(bool pipelined) {
    const std::shared_ptr<PGcancel> cancel(PQgetCancel(pg_.get()), PQfreeCancel);
    const auto done = std::make_shared<asyncio::FileDescriptor>(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    std::thread([cancel, done] {
      std::array<char, 256> error{};
      PQcancel(cancel.get(), error.data(), error.size());
      eventfd_write(done->get(), 1);
    }).detach();
    const asyncio::Future<> stopped(loop_);
    const asyncio::Finally forget([&] { loop_.remove_reader(done->get()); });
    loop_.add_reader(done->get(), [stopped] {
      if (!stopped.done()) stopped.set_result();
    });
    co_await stopped;
    co_await collect(pipelined);
  }

  asyncio::EventLoop& loop_ = asyncio::get_running_loop();
  std::unique_ptr<PGconn, void (*)(PGconn*)> pg_;  // null once it is lost
  asyncio::Lock lock_;
};

}  // namespace postgres
