// The victim: a server of lines over start_server, one over create_server, and one on a UNIX socket, in a child process,
// with the limits that any server on this library should have. A well-behaved client stays served, whatever others do.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "asyncio.hpp"

namespace hostile {

inline constexpr double PATIENCE = 2;           // seconds that a client may take for a line
inline constexpr std::size_t LIMIT = 4 * 1024;  // bytes of a line

inline asyncio::Coroutine<void> serve(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  try {
    for (;;) {
      const std::string line = co_await asyncio::wait_for(reader.readline(), PATIENCE);
      if (line.empty()) break;
      writer.write(line);
      co_await asyncio::wait_for(writer.drain(), PATIENCE);
      co_await asyncio::sleep(0);  // a client whose lines are all here already would keep the others waiting
    }
    writer.close();
  } catch (const std::exception&) {  // too slow, too long, or gone: what it has not read is dropped
    writer.transport()->abort();
  }
}

// Sends back what it gets, and reads only while the client does.
struct Echo : asyncio::Protocol {
  void connection_made(std::shared_ptr<asyncio::Transport> made) override {
    transport = made;
    wait();
  }
  void data_received(std::string_view data) override {
    transport->write(data);
    wait();
  }
  void pause_writing() override { transport->pause_reading(); }
  void resume_writing() override { transport->resume_reading(); }
  void connection_lost(std::exception_ptr) override {
    deadline.cancel();
    transport = nullptr;
  }
  void wait() {
    deadline.cancel();
    const auto give_up = [made = std::weak_ptr(transport)] {
      if (const auto late = made.lock()) late->abort();
    };
    deadline = asyncio::get_running_loop().call_later(PATIENCE, give_up);
  }

  std::shared_ptr<asyncio::Transport> transport;
  asyncio::Handle deadline;
};

struct Ports {
  int streams = 0, protocols = 0;
  long signals = 0;  // how many handler calls there were
};

inline asyncio::Coroutine<void> serve_until_term(Ports& shared, std::string path) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  const auto echo = [] { return std::make_shared<Echo>(); };
  const asyncio::StreamServerOptions options{.limit = LIMIT};
  const asyncio::Server streams = co_await asyncio::start_server(serve, "127.0.0.1", 0, options);
  const asyncio::Server protocols = co_await loop.create_server(echo, "127.0.0.1", 0);
  const asyncio::Server local = co_await asyncio::start_unix_server(serve, path, options);
  asyncio::Event ended;
  loop.add_signal_handler(SIGTERM, [&] { ended.set(); });
  loop.add_signal_handler(SIGUSR1, [&] { ++shared.signals; });
  loop.add_signal_handler(SIGUSR2, [&] { ++shared.signals; });
  shared.protocols = protocols.sockets().front().port();
  shared.streams = streams.sockets().front().port();  // last: it says that all are ready
  co_await ended.wait();
}

}  // namespace hostile
