// A library without I/O of its own: wslay makes frames of messages and messages of frames, and websocket.hpp moves them.
// Look at Connection::read: somebody must read all the time, or nobody answers the pings.
#include <iostream>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/websocket.hpp"

using asyncio::Coroutine;
using websocket::Streams;
using websocket::WebSocket;

/// How it ends: the error's name and its code.
template <class A> Coroutine<std::string> ending(A awaitable) {
  try {
    co_await std::move(awaitable);
    co_return "none";
  } catch (const websocket::ConnectionClosedOK& error) {
    co_return "ConnectionClosedOK " + std::to_string(error.code());
  } catch (const websocket::ConnectionClosed& error) {
    co_return "ConnectionClosedError " + std::to_string(error.code());
  } catch (const websocket::InvalidStatusCode& error) {
    co_return "InvalidStatusCode " + std::to_string(error.status());
  }
}

Coroutine<> show_messages(int port) {
  WebSocket socket = co_await websocket::connect(port, "/echo");
  co_await socket.send("hello");
  const std::string hello = co_await socket.recv();
  co_await socket.send(std::string(900'000, 'x'));
  const std::string large = co_await socket.recv();
  std::cout << hello << ", and " << large.size() << " bytes\n";
  const std::string nothing = co_await common::error_of(asyncio::wait_for(socket.recv(), 0.05));
  co_await socket.send("late");
  const std::string late = co_await socket.recv();
  std::cout << "no message: " << nothing << "; then: " << late << "\n";
  co_await socket.ping();
  std::cout << "pong\n";
  co_await socket.close();
  const std::string after = co_await ending(socket.recv());
  std::cout << "after close: " << after << "\n";
}

// Their ping is answered while we wait for something else.
Coroutine<> show_their_ping(int port) {
  WebSocket socket = co_await websocket::connect(port, "/ping");
  const std::string message = co_await socket.recv();
  std::cout << "pinged: " << message << "\n";
}

Coroutine<std::string> how_it_ends(int port, std::string path) {
  WebSocket socket = co_await websocket::connect(port, path);
  co_return co_await socket.recv();
}

Coroutine<> show_ends(int port) {
  for (const char* path : {"/farewell", "/cut", "/bad-frame", "/secret"}) {
    const std::string end = co_await ending(how_it_ends(port, path));
    std::cout << path << ": " << end << "\n";
  }
}

Coroutine<> demonstrate(int port) {
  co_await show_messages(port);
  co_await show_their_ping(port);
  co_await show_ends(port);
}

Coroutine<> measure(int port) {
  WebSocket socket = co_await websocket::connect(port, "/echo");
  const common::Stopwatch stopwatch;
  for (int i = 0; i < 2000; ++i) {
    co_await socket.send("a short message");
    co_await socket.recv();
  }
  stopwatch.report("messages", 2000);
}

// Our own server, for whoever comes: what it is sent, it sends back.
Coroutine<> serve_client(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  const Streams streams(reader, writer);
  try {
    WebSocket socket =
        co_await websocket::accept(streams, [](std::string path) { return path == "/echo" ? 101 : 403; });
    for (;;) {
      const std::string message = co_await socket.recv();
      co_await socket.send(message);
    }
  } catch (const websocket::ConnectionClosed&) {
  } catch (const websocket::InvalidStatusCode&) {
  } catch (const asyncio::IncompleteReadError&) {}
}

Coroutine<> serve() {
  asyncio::Server server = co_await asyncio::start_server(serve_client, "127.0.0.1", 0);
  std::cout << server.sockets()[0].port() << std::endl;
  co_await asyncio::sleep(30);
}

Coroutine<> ask_for_ever(WebSocket& socket) {
  for (;;) {
    co_await socket.send("a short message");
    co_await asyncio::wait_for(socket.recv(), 1.0);
  }
}

Coroutine<> ask_until_killed(int port) {
  WebSocket socket = co_await websocket::connect(port, "/echo");
  std::cout << "asking" << std::endl;
  const std::string error = co_await common::error_of(ask_for_ever(socket));
  std::cout << error << "\n";
}

// Cancels recv() at every moment: no message is lost, none comes twice.
Coroutine<> cancel_at_random(int port) {
  WebSocket socket = co_await websocket::connect(port, "/echo");
  int received = 0, wrong = 0, cancelled = 0;
  for (int i = 0; i < 1000; ++i) {
    co_await socket.send(std::to_string(i));
    const auto task = asyncio::create_task(socket.recv());
    for (int yields = i % 9; yields > 0; --yields) co_await asyncio::sleep(0);
    task.cancel();
    const std::vector<asyncio::Task<std::string>> tasks(1, task);
    co_await asyncio::wait(tasks);
    cancelled += task.cancelled();
    if (!task.cancelled()) wrong += task.result() != std::to_string(received++);
  }
  while (received < 1000) {
    const std::string message = co_await socket.recv();
    wrong += message != std::to_string(received++);
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "serve") {
    asyncio::run(serve());
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
