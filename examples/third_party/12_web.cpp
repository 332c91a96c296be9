// What all this is for: a web service in a framework of web.hpp, JSON by nlohmann-json, and for each request a query of
// SQLite's, by the adapter of 07. `12_web 8000 serve` serves until Ctrl-C; without `serve` it asks itself.
// Look at the middleware, three coroutines that know nothing of each other, and at what a slow client costs the others.
#include <csignal>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/sqlite.hpp"
#include "examples/third_party/web.hpp"

using asyncio::Coroutine;
using sqlite::Database;
using web::Json;
using web::Request;
using web::Response;

constexpr double TIME_LIMIT = 1;  // seconds for a handler
const std::string COUNT =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST(? AS INTEGER)) SELECT count(*) FROM "
    "n";

Response error_response(const std::string& status) {
  Json json;
  json["error"] = status;
  return Response(json, status);
}

Coroutine<Response> errors_as_json(Request& request, web::Handler next) {
  try {
    co_return co_await next(request);
  } catch (const web::Error& error) {
    co_return error_response(error.what());
  } catch (const sqlite::OperationalError&) {
    co_return error_response("500 Internal Server Error");
  }
}

Coroutine<Response> time_limit(Request& request, web::Handler next) {
  try {
    co_return co_await asyncio::wait_for(next(request), TIME_LIMIT);
  } catch (const asyncio::TimeoutError&) {
    throw web::Error("503 Service Unavailable");
  }
}

Coroutine<Response> only_friends_delete(Request& request, web::Handler next) {
  if (request.method == "DELETE" && request.headers["authorization"] != "Bearer sesame") {
    throw web::Error("401 Unauthorized");
  }
  co_return co_await next(request);
}

Json person(const sqlite::Row& row) {
  Json json;
  json["name"] = row.at(0).value_or("");
  json["born"] = std::stoi(row.at(1).value_or("0"));
  return json;
}

Coroutine<Response> hello(Request&) {
  Json json;
  json["message"] = "hello";
  co_return Response(json);
}

/// The handlers of the people's routes; each awaits a query.
struct People {
  Database& database;

  Coroutine<sqlite::Rows> query(std::string sql, std::string parameter) const {
    return database.execute(std::move(sql), std::vector<std::string>(1, std::move(parameter)));
  }

  Coroutine<Response> list(Request&) const {
    const sqlite::Rows rows = co_await database.execute("SELECT name, born FROM people ORDER BY name");
    Json people = Json::array();
    for (const sqlite::Row& row : rows) people.push_back(person(row));
    co_return Response(people);
  }

  Coroutine<Response> get(Request& request) const {
    const sqlite::Rows rows =
        co_await query("SELECT name, born FROM people WHERE name = ?", request.parameters["name"]);
    if (rows.empty()) throw web::Error("404 Not Found");
    co_return Response(person(rows[0]));
  }

  Coroutine<Response> add(Request& request) const {
    const Json json = request.json();
    const Json name = json.is_object() ? json.value("name", Json()) : Json();
    const Json born = json.is_object() ? json.value("born", Json()) : Json();
    const bool right = name.is_string() && born.is_number_integer() && std::abs(born.get<double>()) < 10000;
    if (!right) throw web::Error("422 Unprocessable Entity");
    const std::vector<std::string> parameters{name.get<std::string>(), born.dump()};
    try {
      co_await database.execute("INSERT INTO people VALUES (?, ?)", parameters);
    } catch (const sqlite::IntegrityError&) {
      throw web::Error("409 Conflict");
    }
    co_return Response(json, "201 Created");
  }

  Coroutine<Response> remove(Request& request) const {
    const sqlite::Rows rows =
        co_await query("DELETE FROM people WHERE name = ? RETURNING name", request.parameters["name"]);
    if (rows.empty()) throw web::Error("404 Not Found");
    Json json;
    json["removed"] = *rows[0][0];
    co_return Response(json);
  }

  Coroutine<Response> count(Request& request) const {
    const std::string limit = request.parameters["limit"];
    if (limit.size() > 18 || limit.find_first_not_of("0123456789") != limit.npos) throw http::BAD_REQUEST;
    const sqlite::Rows rows = co_await query(COUNT, limit);
    Json json;
    json["count"] = std::stoll(*rows[0][0]);
    co_return Response(json);
  }

  Coroutine<Response> broken(Request&) const {
    co_await database.execute("SELECT * FROM nowhere");
    co_return Response(Json());
  }
};

web::Application make_application(const People& people) {
  web::Application application;
  application.use(errors_as_json);
  application.use(time_limit);
  application.use(only_friends_delete);
  application.route("GET", "/", hello);
  application.route("GET", "/people", [&](Request& request) { return people.list(request); });
  application.route("GET", "/people/{name}", [&](Request& request) { return people.get(request); });
  application.route("POST", "/people", [&](Request& request) { return people.add(request); });
  application.route("DELETE", "/people/{name}", [&](Request& request) { return people.remove(request); });
  application.route("GET", "/count/{limit}", [&](Request& request) { return people.count(request); });
  application.route("GET", "/broken", [&](Request& request) { return people.broken(request); });
  return application;
}

/// Runs `body(server)` while the service is there.
template <class Body> Coroutine<> with_service(int port, double patience, Body body) {
  const auto database = co_await Database::open(":memory:");
  co_await database->execute("CREATE TABLE people (name TEXT PRIMARY KEY, born INTEGER)");
  const People people{*database};
  const web::Application application = make_application(people);
  web::Server server(application, port, patience);
  co_await asyncio::async_with(server, body);
}

/// Status and body of the answer to what the client says.
Coroutine<std::string> say(int port, std::string words) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  writer.write(words);
  const std::string answer = co_await asyncio::wait_for(reader.read(), 5.0);
  const std::size_t body = std::min(answer.find("\r\n\r\n") + 4, answer.size());
  co_return answer.substr(std::min<std::size_t>(answer.find(' ') + 1, answer.size()), 3) + " " + answer.substr(body);
}

std::string request(const std::string& line, const std::string& body = "", const std::string& headers = "") {
  return line + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

Coroutine<> show(int port, std::string line, std::string body = "", std::string headers = "") {
  const std::string answer = co_await say(port, request(line, body, headers));
  std::cout << line << (body.empty() ? "" : " ") << body << ": " << answer;
}

Coroutine<> show_service(int port) {
  co_await show(port, "GET /");
  co_await show(port, "POST /people", R"({"born": 1906, "name": "Grace Hopper"})");
  co_await show(port, "POST /people", R"({"born": 1815, "name": "Ada"})");
  co_await show(port, "GET /people");
  co_await show(port, "GET /people/Grace%20Hopper");
  co_await show(port, "DELETE /people/Ada");
  co_await show(port, "DELETE /people/Ada", "", "Authorization: Bearer sesame\r\n");
}

Coroutine<> show_errors(int port) {
  co_await show(port, "POST /people", R"({"born": 1906, "name": "Grace Hopper"})");
  co_await show(port, "POST /people", R"({"born": 1906, "name)");
  co_await show(port, "POST /people", R"({"born": "long ago"})");
  co_await show(port, "GET /people/Nobody");
  co_await show(port, "GET /nowhere");
  co_await show(port, "PUT /people");
  co_await show(port, "GET /broken");
}

// A query that is too slow is given up, also by the thread that computes: the next one is answered at once.
Coroutine<> show_slow_query(int port) {
  co_await show(port, "GET /count/1000");
  co_await show(port, "GET /count/1000000000");
  const double start = asyncio::get_running_loop().time();
  co_await show(port, "GET /count/10");
  std::cout << "at once: " << (asyncio::get_running_loop().time() - start < TIME_LIMIT) << "\n";
}

/// The first line says it; a server may wait for the rest of the request before it ends the connection.
Coroutine<std::string> status_from(asyncio::StreamReader reader) {
  const std::string line = co_await asyncio::wait_for(reader.readline(), 5.0);
  co_return line.substr(std::min<std::size_t>(9, line.size()), 3);
}

// Whoever is slow has a task and a connection of their own, for a while; the others do not notice.
Coroutine<> show_slow_clients(int port) {
  const std::string whole = request("POST /people", R"({"born": 1912, "name": "Alan"})");
  auto [never_reader, never_writer] = co_await asyncio::open_connection("127.0.0.1", port);
  never_writer.write(whole.substr(0, whole.size() - 1));
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  for (char c : whole.substr(0, 100)) {
    writer.write(std::string(1, c));
    co_await asyncio::sleep(0.001);
  }
  co_await show(port, "GET /");
  writer.write(whole.substr(100));
  const std::string status = co_await status_from(reader);
  std::cout << "who sends byte by byte: " << status << "\n";
  const std::string other_status = co_await status_from(never_reader);
  std::cout << "who keeps back the last byte: " << other_status << "\n";
}

Coroutine<> demonstrate() {
  co_await with_service(0, 1, [](web::Server& server) -> Coroutine<> {
    co_await show_service(server.port());
    co_await show_errors(server.port());
    co_await show_slow_query(server.port());
    co_await show_slow_clients(server.port());
  });
}

Coroutine<> serve(int port) {
  co_await with_service(port, http::Options{}.patience, [](web::Server& server) -> Coroutine<> {
    asyncio::Event stop;
    for (int signum : {SIGINT, SIGTERM}) asyncio::get_running_loop().add_signal_handler(signum, [&] { stop.set(); });
    std::cout << "serving http://127.0.0.1:" << server.port() << "/" << std::endl;
    co_await stop.wait();
  });
}

/// Requests per second, as wrk counts them in a second with 20 connections.
Coroutine<> measure_url(std::string what, std::string url) {
  const std::vector<std::string> argv{"wrk", "-t1", "-c20", "-d1s", url};
  asyncio::Process wrk = co_await asyncio::create_subprocess_exec(argv, {.stdout_ = asyncio::PIPE});
  const auto [output, none] = co_await wrk.communicate();
  const std::string label = "Requests/sec:";
  const std::size_t found = output.find(label);
  if (found == output.npos || output.find("Non-2xx") != output.npos) throw asyncio::RuntimeError("wrk says " + output);
  std::cout << what << ": " << std::stol(output.substr(found + label.size())) << " operations/s" << std::endl;
}

Coroutine<> measure_service(int port) {
  const std::string url = "http://127.0.0.1:" + std::to_string(port);
  co_await say(port, request("POST /people", R"({"born": 1815, "name": "Ada"})"));
  co_await measure_url("GET /", url + "/");
  co_await measure_url("GET /people/Ada (a query)", url + "/people/Ada");
}

// The program of examples/http, one process of it: what the same loop does without framework and JSON.
Coroutine<> measure_json_server(std::string program) {
  const std::vector<std::string> argv{program, "0", "1"};
  asyncio::Process server = co_await asyncio::create_subprocess_exec(argv, {.stdout_ = asyncio::PIPE});
  const std::string line = co_await server.stdout_().readline();
  const std::size_t start = line.find("http:");
  const std::string url = line.substr(start, line.find(' ', start) - start);
  const std::string error = co_await common::error_of(measure_url("json_server", url));
  server.terminate();  // and wait: it must have the time to end its children
  co_await server.wait();
  if (error != "none") throw asyncio::RuntimeError("wrk: " + error);
}

Coroutine<> measure(std::string json_server) {
  co_await with_service(0, 5, [](web::Server& server) { return measure_service(server.port()); });
  co_await measure_json_server(json_server);
}

// How long clients that say nothing, stop within the head, or do not read what they asked for, are borne with.
Coroutine<> show_patience() {
  co_await with_service(0, 0.3, [](web::Server& server) -> Coroutine<> {
    for (const char* words : {"", "GET / HT", "GET / HTTP/1.1\r\nHost:"}) {
      const std::string answer = co_await say(server.port(), words);
      std::cout << "\"" << std::string(words).substr(0, 8) << "\": " << answer;
    }
    auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", server.port(), {.limit = 1});
    std::string many;
    for (int i = 0; i < 50000; ++i) many += "GET / HTTP/1.1\r\n\r\n";
    writer.write(many);
    const double start = asyncio::get_running_loop().time();
    while (server.connections() == 0) co_await asyncio::sleep(0.01);
    while (server.connections() > 0) co_await asyncio::sleep(0.01);
    const bool soon = asyncio::get_running_loop().time() - start < 10;
    std::cout << "who does not read is cut off: " << soon << "\n";
    co_await show(server.port(), "GET /");
  });
}

/// Asks, and leaves in the middle of something.
Coroutine<> leave_early(int port, int when) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  const std::string words = request(when % 2 ? "GET /people" : "GET /count/100000");
  writer.write(words.substr(0, when % 3 ? words.size() : when));
  for (int yields = when % 7; yields > 0; --yields) co_await asyncio::sleep(yields % 2 * 0.001);
  writer.transport()->abort();
}

Coroutine<> show_leaving() {
  co_await with_service(0, 5, [](web::Server& server) -> Coroutine<> {
    for (int i = 0; i < 200; ++i) co_await leave_early(server.port(), i);
    for (int i = 0; server.connections() > 0 && i < 500; ++i) co_await asyncio::sleep(0.01);
    std::cout << "still there: " << server.connections() << "\n";
    co_await show(server.port(), "GET /");
    for (int i = 0; i < 20; ++i)
      static_cast<void>(asyncio::create_task(say(server.port(), request("GET /count/100000000"))));
    co_await asyncio::sleep(0.05);
    std::cout << "now they are left: " << server.connections() << "\n";
  });
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(std::filesystem::path(argv[0]).parent_path() / "../http/json_server"));
  } else if (arguments.mode == "serve") {
    asyncio::run(serve(arguments.port));
  } else if (arguments.mode == "slow") {
    asyncio::run(show_patience());
  } else if (arguments.mode == "cancel") {
    asyncio::run(show_leaving());
  } else {
    asyncio::run(demonstrate());
  }
}
