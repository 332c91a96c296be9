// A library with many sockets and one timer: libcurl's multi interface, through curl.hpp.
// Look at Multi::get: a transfer that nobody waits for any more is taken out, and its connection ends.
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/curl.hpp"

using asyncio::Coroutine;
using curl::Multi;
using curl::Response;

std::string url(int port, const std::string& path) { return "http://127.0.0.1:" + std::to_string(port) + path; }

/// The same words as the twin has for aiohttp's classes.
template <class A> Coroutine<std::string> outcome(A transfer) {
  try {
    const Response response = co_await std::move(transfer);
    co_return std::to_string(response.status) + ", " + std::to_string(response.body.size()) + " bytes";
  } catch (const curl::CurlError& error) {
    switch (error.code()) {
      case CURLE_COULDNT_CONNECT:
        co_return "refused";
      case CURLE_PARTIAL_FILE:
        co_return "cut off";
      case CURLE_TOO_MANY_REDIRECTS:
        co_return "too many redirects";
      case CURLE_PEER_FAILED_VERIFICATION:
        co_return "bad certificate";
      default:
        co_return error.what();
    }
  } catch (const asyncio::TimeoutError&) {
    co_return "TimeoutError";
  }
}

Coroutine<> print(std::string what, Coroutine<Response> transfer) {
  const std::string text = co_await outcome(std::move(transfer));
  std::cout << what << ": " << text << "\n";
}

/// Sends the same answer to whatever is asked. `hang_up`: and closes; otherwise it counts who hangs up.
struct StandIn {
  std::string answer;
  bool hang_up;
  int ended = 0;

  Coroutine<> serve(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    co_await reader.readuntil("\r\n\r\n");
    writer.write(answer);
    if (hang_up) {
      writer.close();
    } else {
      co_await reader.read();
      ++ended;
    }
  }
  Coroutine<asyncio::Server> start() {
    const auto client = [this](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
      return serve(reader, writer);
    };
    co_return co_await asyncio::start_server(client, "127.0.0.1", 0);
  }
};

Coroutine<> show_together(Multi& multi, int port) {
  auto& loop = asyncio::get_running_loop();
  const double start = loop.time();
  std::vector<Coroutine<std::string>> pages;
  for (int i = 0; i < 50; ++i) pages.push_back(outcome(multi.get(url(port, "/"))));  // each takes 0.1 s
  const std::vector<std::string> outcomes = co_await asyncio::gather(std::move(pages));
  const std::set<std::string> different(outcomes.begin(), outcomes.end());
  const double passed = loop.time() - start;
  std::cout << "50 pages: " << different.size() << " outcome, " << *different.begin()
            << "; together: " << (passed < 2.5) << "\n";
}

Coroutine<> show_failures(Multi& multi) {
  co_await print("nobody listens", multi.get(url(1, "/")));
  StandIn cut{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", true};
  StandIn circle{"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", true};
  asyncio::Server cutting = co_await cut.start(), circling = co_await circle.start();
  co_await print("an answer that breaks off", multi.get(url(cutting.sockets()[0].port(), "/")));
  co_await print("a redirect to itself", multi.get(url(circling.sockets()[0].port(), "/")));
  cutting.close();
  circling.close();
}

// The answer never comes. The server sees the connection end when we give up, and others go on.
Coroutine<> show_cancelled(Multi& multi, int port) {
  StandIn silent{"", false};
  asyncio::Server server = co_await silent.start();
  const std::string target = url(server.sockets()[0].port(), "/");
  co_await print("no answer", asyncio::wait_for(multi.get(target), 0.1));
  for (int i = 0; i < 100 && silent.ended == 0; ++i) co_await asyncio::sleep(0.01);
  std::cout << "connections that the server saw end: " << silent.ended << "\n";
  server.close();
  co_await print("and another page", multi.get(url(port, "/quick")));
}

Coroutine<> demonstrate(int port) {
  Multi multi;
  co_await print("a page", multi.get(url(port, "/quick")));
  co_await show_together(multi, port);
  co_await show_failures(multi);
  co_await show_cancelled(multi, port);
}

Coroutine<> get_many(Multi& multi, int port, int count) {
  for (int i = 0; i < count; ++i) co_await multi.get(url(port, "/quick"));
}

Coroutine<> measure(int port) {
  Multi multi;
  const common::Stopwatch one_by_one;
  co_await get_many(multi, port, 1000);
  one_by_one.report("GET", 1000);
  const common::Stopwatch together;
  std::vector<Coroutine<>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(get_many(multi, port, 100));
  co_await asyncio::gather(std::move(clients));
  together.report("GET on 20 connections", 2000);
}

Coroutine<> print_certificate(int port) {
  Multi multi;
  co_await print("unknown authority", multi.get("https://localhost:" + std::to_string(port)));
}

Coroutine<> get_for_ever(Multi& multi, int port) {
  for (;;) co_await asyncio::wait_for(multi.get(url(port, "/quick")), 1.0);
}

Coroutine<> ask_until_killed(int port) {
  Multi multi;
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 20; ++i) askers.push_back(common::error_of(get_for_ever(multi, port)));
  std::cout << "asking" << std::endl;
  const std::vector<std::string> errors = co_await asyncio::gather(std::move(askers));
  const std::set<std::string> different(errors.begin(), errors.end());
  for (const std::string& error : different) std::cout << error << "\n";
}

// Cancels at every moment of a transfer; the Multi goes on with the others.
Coroutine<> cancel_at_random(int port) {
  Multi multi;
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    const auto task = asyncio::create_task(multi.get(url(port, "/quick")));
    const auto other = asyncio::create_task(multi.get(url(port, "/quick")));
    for (int yields = i % 12; yields > 0; --yields) co_await asyncio::sleep(0);
    task.cancel();
    const Response response = co_await other;
    wrong += response.status != 200 || response.body != "hello\n";
    cancelled += task.cancelled();
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  curl_global_init(CURL_GLOBAL_ALL);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "certificate") {
    asyncio::run(print_certificate(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
  curl_global_cleanup();
}
