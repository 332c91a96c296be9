// Streams over real sockets and pipes, and the servers of streams.
// Upstream counterpart: Lib/test/test_asyncio/test_streams.py.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Server;
using asyncio::StreamReader;
using asyncio::StreamReaderProtocol;
using asyncio::StreamWriter;
using asyncio::Task;
using test::Contexts;
using test::Instance;
using test::iterations;
using test::open_socket;
using test::raw_socket_pair;
using test::run_io;
using test::Streams;
using test::thrown_by;

Coroutine<void> echo(StreamReader reader, StreamWriter writer) {
  for (std::string data; data = co_await reader.read(65536), !data.empty();) {
    writer.write(data);
    co_await writer.drain();
  }
  writer.close();
}

/// Sends one line back in upper case, and closes.
Coroutine<void> shout_once(StreamReader reader, StreamWriter writer) {
  std::string line = co_await reader.readline();
  std::transform(line.begin(), line.end(), line.begin(), [](unsigned char c) { return std::toupper(c); });
  writer.write(line);
  co_await writer.drain();
  writer.close();
  co_await writer.wait_closed();
}

int port_of(const Server& server) { return server.sockets().at(0).port(); }

/// A port on which nobody listens.
int unused_port() {
  const asyncio::FileDescriptor socket = asyncio::make_socket(AF_INET, SOCK_STREAM);
  const asyncio::SocketAddress any("127.0.0.1", 0);
  asyncio::check_call(::bind(socket.get(), any.data(), any.size()), "bind");
  return asyncio::getsockname(socket.get()).port();
}

}  // namespace

// ---- Over real sockets -------------------------------------------------------------------------------

TEST_CASE("open_connection talks to a server", "[streams][test_streams.test_open_connection]") {
  const auto main = []() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("hello world!\n");
    const std::string answer = co_await reader.read();
    writer.close();
    co_await writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    co_return answer;
  };
  CHECK(run_io(main) == "HELLO WORLD!\n");
}

TEST_CASE("open_connection finds localhost", "[streams][test_streams.test_open_connection]") {
  const auto main = []() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_server(shout_once, "localhost", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("localhost", port_of(server));
    writer.write("hi\n");
    const std::string answer = co_await reader.readline();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "HI\n");
}

TEST_CASE("open_unix_connection talks to a unix server",
          "[streams][test_streams.test_open_unix_connection][test_streams.test_start_unix_server]") {
  const test::TemporaryDirectory directory;
  const auto main = [&]() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_unix_server(shout_once, directory / "socket");
    const auto [reader, writer] = co_await asyncio::open_unix_connection(directory / "socket");
    writer.write("hello unix\n");
    const std::string answer = co_await reader.read();
    writer.close();
    co_await writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    co_return answer;
  };
  CHECK(run_io(main) == "HELLO UNIX\n");
  CHECK_FALSE(std::filesystem::exists(directory / "socket"));
}

TEST_CASE("open_connection to nobody is a ConnectionRefusedError",
          "[streams][test_streams.test_open_connection_error]") {
  const std::ptrdiff_t fds = test::open_fds();
  const int port = unused_port();
  const auto main = [&]() -> Coroutine<int> {
    co_return co_await test::errno_of(asyncio::open_connection("127.0.0.1", port));
  };
  CHECK(run_io(main) == ECONNREFUSED);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("open_unix_connection to no file is a FileNotFoundError",
          "[streams][test_streams.test_open_unix_connection_error]") {
  const std::ptrdiff_t fds = test::open_fds();
  const test::TemporaryDirectory directory;
  const auto main = [&]() -> Coroutine<int> {
    co_return co_await test::errno_of(asyncio::open_unix_connection(directory / "none"));
  };
  CHECK(run_io(main) == ENOENT);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("a server's callback may be a plain function", "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto on_client = [](StreamReader, StreamWriter writer) {
      writer.write("welcome\n");
      writer.close();
    };
    const Server server = co_await asyncio::start_server(on_client, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "welcome\n");
}

TEST_CASE("a server's callback is called before the task of its coroutine starts",
          "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    std::string called_in = "nobody";
    const auto on_client = [&](StreamReader reader, StreamWriter writer) {
      called_in = asyncio::current_task() ? "a task" : "no task";
      return shout_once(reader, writer);
    };
    const Server server = co_await asyncio::start_server(on_client, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("hi\n");
    const std::string answer = co_await reader.readline();
    server.close();
    co_return answer + called_in;
  };
  CHECK(run_io(main) == "HI\nno task");
}

TEST_CASE("a plain callback may start a task that goes on", "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    std::vector<Task<void>> tasks;
    const auto on_client = [&](StreamReader reader, StreamWriter writer) {
      tasks.push_back(asyncio::create_task(shout_once(reader, writer)));
    };
    const Server server = co_await asyncio::start_server(on_client, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("hello\n");
    const std::string answer = co_await reader.read();
    server.close();
    for (const Task<void>& task : tasks) co_await task;
    co_return answer;
  };
  CHECK(run_io(main) == "HELLO\n");
}

TEST_CASE("a server's callback may be an object's method", "[streams][test_streams.test_start_server]") {
  struct MyServer {
    Coroutine<void> handle(StreamReader reader, StreamWriter writer) {
      ++clients;
      co_await shout_once(reader, writer);
    }
    int clients = 0;
  };
  MyServer my;
  const auto main = [&]() -> Coroutine<std::string> {
    const auto handle = [&](StreamReader reader, StreamWriter writer) { return my.handle(reader, writer); };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    std::string answers;
    for (const char* line : {"one\n", "two\n"}) {
      const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
      writer.write(line);
      answers += co_await reader.read();
    }
    server.close();
    co_return answers;
  };
  CHECK(run_io(main) == "ONE\nTWO\n");
  CHECK(my.clients == 2);
}

TEST_CASE("what a server's callback captured lives until its last client is served",
          "[streams][test_streams.test_start_server]") {
  const int alive = Instance::alive();
  const auto main = [&]() -> Coroutine<std::string> {
    std::optional<Server> server;
    {
      const auto handle = [text = std::make_shared<std::string>("captured "), instance = Instance()](
                              StreamReader reader, StreamWriter writer) -> Coroutine<void> {
        const std::string line = co_await reader.readline();
        writer.write(*text + line);
        writer.close();
      };
      server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    }
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(*server));
    writer.write("");
    co_await iterations(20);  // the client is being served
    server->close();
    server.reset();
    co_await iterations(5);
    CHECK(Instance::alive() > alive);
    writer.write("line\n");
    co_return co_await reader.read();
  };
  CHECK(run_io(main) == "captured line\n");
  CHECK(Instance::alive() == alive);
}

namespace {

/// A client says something to a server with this callback: what was reported, and what the client heard.
template <class F> std::pair<Contexts, std::string> reported(F callback) {
  Contexts caught;
  const auto main = [&]() -> Coroutine<std::string> {
    test::catch_exceptions(caught);
    const Server server = co_await asyncio::start_server(callback, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string answer = co_await reader.read();  // ends only if the server closes
    writer.close();
    co_await writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    co_return answer;
  };
  const std::string answer = run_io(main);
  return {caught, answer};
}

}  // namespace

TEST_CASE("an exception in a client's coroutine is reported, and its connection closed",
          "[streams][test_streams.test_unhandled_exception]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter writer) -> Coroutine<void> {
    writer.write("so far");
    co_await iterations(2);
    throw asyncio::ValueError("test");
  });
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Unhandled exception in client_connected_cb");
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: test");
  CHECK(answer == "so far");
}

TEST_CASE("a client's coroutine that is cancelled is not reported, and its connection closed",
          "[streams][test_streams.test_unhandled_cancel]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter) -> Coroutine<void> {
    asyncio::current_task().cancel();
    co_await asyncio::sleep(60);
  });
  CHECK(caught.empty());
  CHECK(answer == "");
}

TEST_CASE("an exception in a plain callback is reported, and the connection closed",
          "[streams][test_streams.test_unhandled_exception]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter) -> void { throw asyncio::ValueError("test"); });
  REQUIRE(caught.size() == 1);
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: test");
  CHECK(answer == "");
}

TEST_CASE("a client's coroutine that forgets to close does so when it drops its writer",
          "[streams][test_streams.test_unclosed_server_resource_warnings]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter writer) -> Coroutine<void> {
    writer.write("bye");
    co_return;
  });
  CHECK(caught.empty());
  CHECK(answer == "bye");
}

TEST_CASE("the server goes on after a client's coroutine has failed",
          "[streams][test_streams.test_unhandled_exception]") {
  const auto main = []() -> Coroutine<std::string> {
    Contexts caught;
    test::catch_exceptions(caught);
    const auto handle = [n = 0](StreamReader reader, StreamWriter writer) mutable -> Coroutine<void> {
      if (++n == 1) throw asyncio::ValueError("the first");
      co_await shout_once(reader, writer);
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const Streams first = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    co_await first.first.read();
    const Streams second = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    second.second.write("the second\n");
    const std::string answer = co_await second.first.read();
    server.close();
    CHECK(caught.size() == 1);
    asyncio::get_running_loop().set_exception_handler(nullptr);
    co_return answer;
  };
  CHECK(run_io(main) == "THE SECOND\n");
}

TEST_CASE("the limit of open_connection is its reader's", "[streams][test_streams.test_readline_limit]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here, 10), b = co_await open_socket(there);
    b.second.write("12345678901\nshort\n");
    const std::string error = co_await thrown_by(a.first.readline());
    CHECK(error == "std::invalid_argument: Separator is found, but chunk is longer than limit");
    co_return co_await a.first.readline();
  };
  CHECK(run_io(main) == "short\n");
}

TEST_CASE("the limit of start_server is its readers'", "[streams][test_streams.test_readline_limit]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto handle = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      const std::string error = co_await thrown_by(reader.readline());
      writer.write(error);
      writer.close();
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0, {.limit = 10});
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("12345678901\n");
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "std::invalid_argument: Separator is found, but chunk is longer than limit");
}

TEST_CASE("a limit of 0 is refused by open_connection", "[streams][test_streams.test_invalid_limit]") {
  const auto main = []() -> Coroutine<std::string> {
    co_return co_await thrown_by(asyncio::open_connection("127.0.0.1", 1, {.limit = 0}));
  };
  CHECK(run_io(main) == "std::invalid_argument: Limit cannot be <= 0");
}

TEST_CASE("open_connection connects from the local address it is told",
          "[streams][test_streams.test_open_connection]") {
  const auto main = []() -> Coroutine<bool> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    const asyncio::SocketAddress local("127.0.0.2", 0);
    asyncio::StreamOptions options;
    options.local_addr = local;
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server), options);
    server.close();
    co_return writer.get_extra_info("sockname")->host() == "127.0.0.2";
  };
  CHECK(run_io(main));
}

TEST_CASE("get_extra_info knows both ends of a connection", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<void> {
    std::optional<asyncio::SocketAddress> peer, local;
    const auto handle = [&](StreamReader, StreamWriter writer) {
      peer = writer.get_extra_info("peername");
      local = writer.get_extra_info("sockname");
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    co_await reader.read();
    CHECK(peer == writer.get_extra_info("sockname"));
    CHECK(local == writer.get_extra_info("peername"));
    CHECK(writer.get_extra_info("peername")->port() == port_of(server));
    CHECK_FALSE(writer.get_extra_info("nothing"));
    server.close();
  };
  run_io(main);
}

TEST_CASE("start_server that is not to start yet serves from serve_forever on",
          "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0, {.start_serving = false});
    CHECK_FALSE(server.is_serving());
    const Task<void> serving = asyncio::create_task(server.serve_forever());
    co_await iterations(1);
    CHECK(server.is_serving());
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("served\n");
    const std::string answer = co_await reader.read();
    writer.close();
    serving.cancel();
    const std::string error = co_await thrown_by(asyncio::wait_for(serving, 10));
    CHECK(error == "asyncio::CancelledError");
    CHECK_FALSE(server.is_serving());
    co_return answer;
  };
  CHECK(run_io(main) == "SERVED\n");
}

TEST_CASE("wait_closed returns when the connection is closed", "[streams][test_streams.test_wait_closed_on_close]") {
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("x\n");
    co_await reader.read();
    CHECK_FALSE(writer.is_closing());
    writer.close();
    CHECK(writer.is_closing());
    co_await writer.wait_closed();
    CHECK(writer.transport()->fd() == -1);
    server.close();
  };
  run_io(main);
}

TEST_CASE("wait_closed returns though there is data that nobody read",
          "[streams][test_streams.test_wait_closed_on_close_with_unread_data]") {
  const auto main = []() -> Coroutine<void> {
    const auto handle = [](StreamReader, StreamWriter writer) { writer.write("first line\nsecond line\n"); };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string line = co_await reader.readline();
    CHECK(line == "first line\n");
    writer.close();
    co_await writer.wait_closed();
    server.close();
  };
  run_io(main);
}

TEST_CASE("close sends what was written before", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<std::size_t> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    const std::string data(4'000'000, 'x');
    a.second.write(data);
    a.second.close();
    CHECK(a.second.transport()->get_write_buffer_size() > 0);
    co_return (co_await b.first.read()).size();
  };
  CHECK(run_io(main) == 4'000'000);
}

TEST_CASE("a write after close goes nowhere, and drain is a ConnectionResetError",
          "[streams][test_streams.test_async_writer_api_exception_after_close]") {
  Contexts caught;
  const auto main = [&]() -> Coroutine<int> {
    test::catch_exceptions(caught);
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("x\n");
    co_await reader.read();
    writer.close();
    writer.write("data");
    const int code = co_await test::errno_of(writer.drain());
    server.close();
    co_return code;
  };
  CHECK(run_io(main) == ECONNRESET);
  CHECK(caught.empty());
}

TEST_CASE("closing the writer is the end of the reader, too",
          "[streams][test_streams.test_eof_feed_when_closing_writer]") {
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.close();
    co_await writer.wait_closed();
    CHECK(reader.at_eof());
    const std::string nothing = co_await reader.read();
    CHECK(nothing == "");
    server.close();
  };
  run_io(main);
}

TEST_CASE("closing the writer wakes a task that waits to read",
          "[streams][test_streams.test_eof_feed_when_closing_writer]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    const Task<std::string> reading = asyncio::create_task(a.first.readline());
    co_await iterations(3);
    a.second.close();
    co_return co_await reading;
  };
  CHECK(run_io(main) == "");
}

TEST_CASE("drain raises when the other end has closed, however fast one writes",
          "[streams][test_streams.test_drain_raises]") {
  Contexts caught;
  const auto main = [&]() -> Coroutine<int> {
    test::catch_exceptions(caught);
    const asyncio::FileDescriptor listening = asyncio::make_socket(AF_INET, SOCK_STREAM);
    asyncio::set_blocking(listening.get(), true);
    const asyncio::SocketAddress any("127.0.0.1", 0);
    asyncio::check_call(::bind(listening.get(), any.data(), any.size()), "bind");
    asyncio::check_call(::listen(listening.get(), 1), "listen");
    std::thread server([&] { ::close(::accept(listening.get(), nullptr, nullptr)); });
    const int port = asyncio::getsockname(listening.get()).port();
    const auto client = [&]() -> Coroutine<void> {
      const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
      for (;;) {
        writer.write("foo\n");
        co_await writer.drain();
      }
    };
    const int code = co_await test::errno_of(client());
    server.join();
    co_return code;
  };
  const int code = run_io(main);
  CHECK((code == ECONNRESET || code == EPIPE));
  CHECK(caught.empty());
}

TEST_CASE("a reset by the other end is raised by reading", "[streams][test_streams.test_read_exception]") {
  const auto main = []() -> Coroutine<int> {
    const auto handle = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      co_await reader.readline();
      const linger reset{1, 0};
      ::setsockopt(writer.transport()->fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      writer.transport()->abort();
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("go\n");
    const int code = co_await test::errno_of(reader.readline());
    const int again = co_await test::errno_of(reader.read(1));
    CHECK(again == code);
    const int closed = co_await test::errno_of(writer.wait_closed());
    CHECK(closed == code);
    server.close();
    co_return code;
  };
  CHECK(run_io(main) == ECONNRESET);
}

TEST_CASE("write_eof ends one direction, and the answer still comes", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto handle = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      const std::string all = co_await reader.read();
      writer.write(std::to_string(all.size()));
      writer.close();
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string data(3'000'000, 'x');
    writer.write(data);
    CHECK(writer.can_write_eof());
    writer.write_eof();
    CHECK_THROWS_AS(writer.write("more"), asyncio::RuntimeError);
    CHECK_FALSE(writer.is_closing());
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "3000000");
}

TEST_CASE("drain holds a fast writer back until the reader has read", "[streams][test_streams.test_multiple_drain]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there, 1024);
    std::size_t written = 0, buffered = 0;
    const auto write_much = [&]() -> Coroutine<void> {
      const std::string block(16 * 1024, 'x');
      for (; written < 8'000'000; written += block.size()) {
        a.second.write(block);
        buffered = std::max(buffered, a.second.transport()->get_write_buffer_size());
        co_await a.second.drain();
      }
      a.second.close();
    };
    const Task<void> writing = asyncio::create_task(write_much());
    std::size_t before = 1;
    while (before != written) {  // until it is held back
      before = written;
      co_await iterations(50);
    }
    CHECK_FALSE(writing.done());
    CHECK(written < 4'000'000);
    std::size_t read = 0;
    for (std::string data; data = co_await b.first.read(100'000), !data.empty();) read += data.size();
    co_await writing;
    CHECK(read == written);
    CHECK(buffered <= 64 * 1024 + 16 * 1024);
  };
  run_io(main);
}

TEST_CASE("a reader that nobody reads from holds the other end back", "[streams][test_subprocess.test_pause_reading]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there, 1000);
    const std::string data(2'000'000, 'x');
    a.second.write(data);
    co_await iterations(100);
    CHECK_FALSE(b.second.transport()->is_reading());
    CHECK(a.second.transport()->get_write_buffer_size() > 0);
    const std::string all = co_await b.first.readexactly(data.size());
    CHECK(all == data);
    CHECK(b.second.transport()->is_reading());
  };
  run_io(main);
}

TEST_CASE("both ends may write much and read much at once", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    const auto exchange = [](Streams stream, char c) -> Coroutine<std::string> {
      const auto send = [&]() -> Coroutine<void> {
        for (int i = 0; i < 100; ++i) {
          stream.second.write(std::string(30'000, c));
          co_await stream.second.drain();
        }
        stream.second.write_eof();
      };
      const Task<void> sending = asyncio::create_task(send());
      const std::string all = co_await stream.first.read();
      co_await sending;
      co_return all;
    };
    const auto [got_a, got_b] = co_await asyncio::gather(exchange(a, 'a'), exchange(b, 'b'));
    CHECK((got_a == std::string(3'000'000, 'b')));
    CHECK((got_b == std::string(3'000'000, 'a')));
  };
  run_io(main);
}

TEST_CASE("the reader may be dropped while one writes, and the writer while one reads",
          "[streams][test_streams.test_unclosed_resource_warnings]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    std::optional<Streams> a = co_await open_socket(here);
    const Streams b = co_await open_socket(there);
    std::optional<StreamWriter> writer = a->second;
    a.reset();
    b.second.write("nobody reads this");
    co_await iterations(5);
    writer->write("still here\n");
    const std::string line = co_await b.first.readline();
    CHECK(line == "still here\n");
    const Task<std::string> reading = asyncio::create_task(b.first.read());
    writer.reset();  // the last reference closes
    const std::string rest = co_await reading;
    CHECK(rest == "");
  };
  run_io(main);
}

TEST_CASE("connections that are dropped anyhow leave no descriptor open",
          "[streams][test_streams.test_unclosed_resource_warnings]") {
  const std::ptrdiff_t fds = test::open_fds();
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    for (int i = 0; i < 20; ++i) {
      const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
      writer.write("hello\n");
      if (i % 2 == 0) co_await reader.readline();
      if (i % 3 == 0) writer.close();
    }
    const Streams left_open = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    static std::optional<Streams> outlives;  // its loop
    outlives = left_open;
  };
  run_io(main);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("streams may outlive their loop", "[streams][test_streams.test_loop_is_closed_resource_warnings]") {
  std::optional<Streams> streams;
  const auto main = [&]() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    streams = co_await asyncio::open_connection("127.0.0.1", port_of(server));
  };
  run_io(main);
  CHECK(streams->second.is_closing());
  streams->second.close();
  streams->second.write("nobody hears");
  CHECK_FALSE(streams->second.get_extra_info("nothing"));
}

TEST_CASE("a cancelled open_connection leaves nothing behind", "[streams][test_streams.test_open_connection]") {
  const std::ptrdiff_t fds = test::open_fds();
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    for (int n = 0; n < 6; ++n) {
      const auto connecting = asyncio::create_task(asyncio::open_connection("127.0.0.1", port_of(server)));
      co_await iterations(n);
      connecting.cancel();
      co_await asyncio::wait(std::vector(1, connecting));
    }
    server.close();
  };
  run_io(main);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("readline with a timeout may be tried again", "[streams][test_streams.test_readline]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    b.second.write("half a ");
    const std::string error = co_await thrown_by(asyncio::wait_for(a.first.readline(), 0.01));
    CHECK(error == "asyncio::TimeoutError");
    b.second.write("line\n");
    co_return co_await a.first.readline();
  };
  CHECK(run_io(main) == "half a line\n");
}

TEST_CASE("a StreamReader reads all of a pipe, however small its limit",
          "[streams][test_streams.test_read_all_from_pipe_reader]") {
  const auto main = []() -> Coroutine<std::string> {
    int ends[2];
    asyncio::check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
    const StreamReader reader(1);
    const auto protocol = std::make_shared<StreamReaderProtocol>(reader);
    co_await asyncio::get_running_loop().connect_read_pipe([&] { return protocol; }, ends[0]);
    asyncio::check_call(static_cast<int>(::write(ends[1], "data", 4)), "write");
    ::close(ends[1]);
    co_return co_await reader.read(-1);
  };
  CHECK(run_io(main) == "data");
}

TEST_CASE("a pipe may be written by a StreamWriter", "[streams][test_streams.test_read_all_from_pipe_reader]") {
  const auto main = []() -> Coroutine<std::size_t> {
    EventLoop& loop = asyncio::get_running_loop();
    int ends[2];
    asyncio::check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
    const StreamReader reader;
    const auto reading = std::make_shared<StreamReaderProtocol>(reader);
    co_await loop.connect_read_pipe([&] { return reading; }, ends[0]);
    const auto writing = std::make_shared<StreamReaderProtocol>(StreamReader());
    const auto connected = co_await loop.connect_write_pipe([&] { return writing; }, ends[1]);
    const StreamWriter writer(connected.first, writing, std::nullopt);
    const auto send = [&]() -> Coroutine<void> {
      const std::string data(500'000, 'x');
      writer.write(data);
      co_await writer.drain();
      writer.write_eof();
    };
    const Task<void> sending = asyncio::create_task(send());
    const std::string all = co_await reader.read();
    co_await sending;
    co_await writer.wait_closed();
    co_return all.size();
  };
  CHECK(run_io(main) == 500'000);
}

TEST_CASE("a unix socket's path may be in Linux's abstract space", "[streams][test_streams.test_start_unix_server]") {
  const auto main = []() -> Coroutine<std::string> {
    const std::string path = std::string(1, '\0') + "asyncio-test-" + std::to_string(::getpid());
    const Server server = co_await asyncio::start_unix_server(shout_once, path);
    const auto [reader, writer] = co_await asyncio::open_unix_connection(path);
    writer.write("abstract\n");
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "ABSTRACT\n");
}

// ---- Stress ------------------------------------------------------------------------------------------

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A sum that tells the order of the bytes, too (FNV-1a).
class Checksum {
 public:
  void add(std::string_view data) {
    for (const char c : data) value_ = (value_ ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037u;
};

/// As many descriptors as the system lets us have.
std::size_t raise_fd_limit() {
  rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace

TEST_CASE("a slow reader gets every byte of a long stream, and memory stays bounded", "[streams][stress]") {
  const std::size_t total = test::stress() ? std::size_t{1} << 30 : test::TSAN || test::ASAN ? 8 << 20 : 64 << 20;
  const std::size_t resident_before = test::resident();
  std::size_t most_buffered = 0, most_resident = 0;
  Checksum sent, received;
  const auto main = [&]() -> Coroutine<std::size_t> {
    const auto send = [&](StreamReader, StreamWriter writer) -> Coroutine<void> {
      std::uint64_t state = 88172645463325252u;
      std::string block(32 * 1024, '\0');
      for (std::size_t done = 0; done < total; done += block.size()) {
        for (char& c : block)
          c = static_cast<char>((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
        sent.add(block);
        writer.write(block);
        most_buffered = std::max(most_buffered, writer.transport()->get_write_buffer_size());
        co_await writer.drain();
      }
      writer.close();
      co_await writer.wait_closed();
    };
    const Server server = co_await asyncio::start_server(send, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    std::size_t read = 0;
    int turns = 0;
    for (std::string data; data = co_await reader.read(20'000), !data.empty(); read += data.size()) {
      received.add(data);
      ++turns;
      co_await iterations(turns % 4);  // slower than the sender
      if (turns % 1024 == 0) most_resident = std::max(most_resident, test::resident());
    }
    server.close();
    co_return read;
  };
  const Clock::time_point start = Clock::now();
  CHECK(run_io(main, 600) == total);
  CHECK(sent.value() == received.value());
  CHECK(most_buffered <= 64 * 1024 + 32 * 1024);
  const std::size_t grown = most_resident > resident_before ? most_resident - resident_before : 0;
  if (!test::TSAN && !test::ASAN) CHECK(grown < 16u << 20);
  std::printf("stream of %zu MiB: %.2f s, %zu KiB buffered at most, memory grew by %zu KiB at most (peak %zu MiB)\n",
              total >> 20, seconds_since(start), most_buffered >> 10, grown >> 10, test::peak_resident() >> 20);
}

TEST_CASE("many connections at once echo many messages each, and nothing is lost", "[streams][stress]") {
  const std::size_t wanted = test::stress() ? 10'000 : 200, messages = test::stress() ? 100 : 20;
  const std::size_t descriptors = raise_fd_limit();
  const std::size_t possible = (descriptors - static_cast<std::size_t>(test::open_fds()) - 16) / 2;
  const std::size_t connections = std::min(wanted, possible);
  if (connections < wanted) {
    std::printf("RLIMIT_NOFILE is %zu: %zu connections in place of %zu, both ends being here\n", descriptors,
                connections, wanted);
  }
  std::size_t served = 0, per_connection = 0;
  double connecting = 0;
  const auto main = [&]() -> Coroutine<std::size_t> {
    const auto serve = [&](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      ++served;
      while (auto line = co_await reader.anext()) {
        writer.write(*line);
        co_await writer.drain();
      }
    };
    const Server server = co_await asyncio::start_server(serve, "127.0.0.1", 0, {.backlog = 4096});
    const std::size_t before = test::resident();
    const Clock::time_point start = Clock::now();
    std::vector<Streams> clients;
    asyncio::Semaphore at_once(100);
    const auto connect = [&]() -> Coroutine<void> {
      co_await asyncio::async_with(at_once, [&]() -> Coroutine<void> {
        clients.push_back(co_await asyncio::open_connection("127.0.0.1", port_of(server)));
      });
    };
    {
      std::vector<Task<void>> tasks;
      for (std::size_t i = 0; i < connections; ++i) tasks.push_back(asyncio::create_task(connect()));
      for (const Task<void>& task : tasks) co_await task;
    }
    co_await test::until([&] { return served == connections; });
    per_connection = (test::resident() - before) / connections;
    connecting = seconds_since(start);
    const auto talk = [&](std::size_t i) -> Coroutine<std::size_t> {
      const auto [reader, writer] = clients[i];
      std::size_t right = 0;
      for (std::size_t n = 0; n < messages; ++n) {
        const std::string line = std::to_string(i) + " " + std::to_string(n) + "\n";
        writer.write(line);
        co_await writer.drain();
        right += co_await reader.readline() == line;
      }
      writer.close();
      co_await writer.wait_closed();
      co_return right;
    };
    std::vector<Task<std::size_t>> talking;
    for (std::size_t i = 0; i < connections; ++i) talking.push_back(asyncio::create_task(talk(i)));
    std::size_t right = 0;
    for (const Task<std::size_t>& task : talking) right += co_await task;
    server.close();
    co_await server.wait_closed();
    co_return right;
  };
  const std::ptrdiff_t fds = test::open_fds();
  const Clock::time_point start = Clock::now();
  CHECK(run_io(main, 600) == connections * messages);
  CHECK(test::open_fds() == fds);
  std::printf(
      "%zu connections x %zu messages: %.2f s (%.2f s to connect), %zu bytes a connection, both ends (peak %zu MiB)\n",
      connections, messages, seconds_since(start), connecting, per_connection, test::peak_resident() >> 20);
}
