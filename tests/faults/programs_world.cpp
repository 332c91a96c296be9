// Sockets, transports, servers, streams, pipes, children.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "tests/faults/faults.hpp"

using namespace asyncio;

namespace faults {
namespace {

constexpr std::size_t MUCH = 300'000;  // more than the kernel and a transport's low-water mark take at once

struct Descriptors {
  FileDescriptor a, b;
};
Descriptors connected_pair() {
  const Pause pause;
  int ends[2];
  expect(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0, "no socketpair");
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}
Descriptors pipe_pair() {
  const Pause pause;
  int ends[2];
  expect(::pipe2(ends, O_CLOEXEC) == 0, "no pipe");
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

void shut_down(const FileDescriptor& socket) {
  const Pause pause;
  ::shutdown(socket.get(), SHUT_RDWR);
}

// A name in Linux's abstract namespace, which leaves no file.
std::string abstract_path() { return std::string(1, '\0') + "asyncio-faults-" + std::to_string(::getpid()); }

// Both run in a group: if one fails, the other is cancelled.
template <class A, class B> Coroutine<void> together(A a, B b) {
  TaskGroup group;
  const auto body = [&]() -> Coroutine<void> {
    group.create_task(a);
    group.create_task(b);
    co_return;
  };
  co_await async_with(group, body);
}

void sockets_of_streams() {
  const Descriptors ends = connected_pair();
  std::size_t received = 0;
  run_on_new_loop([&]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    const auto sender = [&]() -> Coroutine<void> {
      const std::string much(MUCH, 'x');
      const Finally closed([&] { shut_down(ends.a); });
      co_await loop.sock_sendall(ends.a.get(), much);
    };
    const auto receiver = [&]() -> Coroutine<void> {
      for (;;) {
        const std::string data = co_await loop.sock_recv(ends.b.get(), 100'000);
        if (data.empty()) break;
        received += data.size();
      }
    };
    co_await together(sender, receiver);
    expect(received == MUCH, "bytes were lost");
  });
}

void sockets_of_servers() {
  FileDescriptor listening;
  SocketAddress address;
  run_on_new_loop([&]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    listening = make_socket(AF_INET, SOCK_STREAM);
    const SocketAddress any("127.0.0.1", 0);
    check_call(::bind(listening.get(), any.data(), any.size()), "bind");
    check_call(::listen(listening.get(), 5), "listen");
    address = getsockname(listening.get());
    const auto server = [&]() -> Coroutine<void> {
      const auto accepted = co_await loop.sock_accept(listening.get());
      const FileDescriptor connection(accepted.first);
      co_await loop.sock_sendall(connection.get(), "hello");
    };
    const auto client = [&]() -> Coroutine<void> {
      const FileDescriptor socket = make_socket(AF_INET, SOCK_STREAM);
      co_await loop.sock_connect(socket.get(), address);
      const std::string data = co_await loop.sock_recv(socket.get(), 100);
      expect(data == "hello" || (happened() && data.empty()), "other bytes");
    };
    co_await together(server, client);
  });
}

void sockets_of_datagrams() {
  FileDescriptor a, b;
  run_on_new_loop([&]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    a = datagram_socket(SocketAddress("127.0.0.1", 0), std::nullopt);
    b = datagram_socket(SocketAddress("127.0.0.1", 0), std::nullopt);
    const auto sender = [&]() -> Coroutine<void> {
      co_await sleep(0);
      co_await loop.sock_sendto(a.get(), "datagram", getsockname(b.get()));
    };
    const auto receiver = [&]() -> Coroutine<void> {
      const auto received = co_await loop.sock_recvfrom(b.get(), 100);
      expect(received.first == "datagram", "another datagram");
    };
    co_await together(sender, receiver);
  });
}

void files_through_sockets() {
  const Descriptors ends = connected_pair();
  FileDescriptor file;
  std::size_t received = 0;
  run_on_new_loop([&]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    file = FileDescriptor(check_call(::memfd_create("faults", MFD_CLOEXEC), "memfd_create"));
    const std::string much(MUCH, 'x');
    for (std::size_t written = 0; written < much.size();) {
      const ssize_t n = ::write(file.get(), much.data(), much.size() - written);
      if (n < 0 && !would_block()) throw_os_error(errno, "write");
      if (n > 0) written += static_cast<std::size_t>(n);
    }
    const auto sender = [&]() -> Coroutine<void> {
      const Finally closed([&] { shut_down(ends.a); });
      expect(co_await loop.sock_sendfile(ends.a.get(), file.get()) == MUCH, "not all of the file was sent");
    };
    const auto receiver = [&]() -> Coroutine<void> {
      std::vector<char> buffer(100'000);
      for (;;) {
        const std::size_t n = co_await loop.sock_recv_into(ends.b.get(), buffer);
        if (n == 0) break;
        received += n;
      }
    };
    co_await together(sender, receiver);
    expect(received == MUCH, "bytes were lost");
  });
}

/// Sends back what it receives.
struct Echo : Protocol {
  void connection_made(std::shared_ptr<Transport> made) override { transport = std::move(made); }
  void data_received(std::string_view data) override { transport->write(data); }
  bool eof_received() override {
    transport->write_eof();
    return false;
  }
  void connection_lost(std::exception_ptr) override { transport = nullptr; }
  std::shared_ptr<Transport> transport;
};

/// Sends much, and is done when it has come back or the connection is lost.
struct Client : Protocol {
  explicit Client(EventLoop& loop) : done(loop) {}
  void connection_made(std::shared_ptr<Transport> made) override {
    transport = std::move(made);
    transport->set_write_buffer_limits({.high = 1000});
    transport->write(std::string(MUCH, 'x'));
    transport->write_eof();
  }
  void data_received(std::string_view data) override {
    received += data.size();
    if (received == MUCH / 2) transport->pause_reading(), transport->resume_reading();
  }
  void pause_writing() override { paused = true; }
  void connection_lost(std::exception_ptr exception) override {
    if (!done.done()) exception ? done.set_exception(exception) : done.set_result();
    transport = nullptr;
  }
  const Future<void> done;
  std::shared_ptr<Transport> transport;
  std::size_t received = 0;
  bool paused = false;
};

// Awaits the client, then closes everything, also after an error.
Coroutine<void> echo_and_close(Server server, std::shared_ptr<Transport> transport, std::shared_ptr<Client> client) {
  std::exception_ptr error;
  try {
    co_await client->done;
  } catch (...) {
    error = std::current_exception();
  }
  transport->abort();
  server.close();
  server.abort_clients();
  co_await server.wait_closed();
  if (error) std::rethrow_exception(error);
  expect(client->received == MUCH || happened(), "the echo is short");
}

void transports() {
  run_on_new_loop([]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    const Server server = co_await loop.create_server([] { return std::make_shared<Echo>(); }, "127.0.0.1", 0);
    const int port = server.sockets()[0].port();
    const auto connected =
        co_await loop.create_connection([&] { return std::make_shared<Client>(loop); }, "127.0.0.1", port);
    co_await echo_and_close(server, connected.first, connected.second);
  });
}

void transports_of_unix_sockets() {
  run_on_new_loop([]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    const Server server = co_await loop.create_unix_server([] { return std::make_shared<Echo>(); }, abstract_path());
    const auto connected =
        co_await loop.create_unix_connection([&] { return std::make_shared<Client>(loop); }, abstract_path());
    co_await echo_and_close(server, connected.first, connected.second);
  });
}

void server_that_is_cancelled() {
  run_on_new_loop([]() -> Coroutine<void> {
    const std::string path = "/tmp/asyncio-faults-" + std::to_string(::getpid());
    const Finally removed([&] { ::unlink(path.c_str()); });
    const Server server = co_await get_running_loop().create_unix_server([] { return std::make_shared<Echo>(); }, path);
    const Task<void> serving = create_task(server.serve_forever());
    co_await sleep(0);
    serving.cancel();
    co_await wait(std::vector(1, serving));
    if (!serving.cancelled()) serving.result();
    expect(!server.is_serving(), "it still serves");
  });
}

struct Datagrams : DatagramProtocol {
  explicit Datagrams(EventLoop& loop) : received(loop) {}
  void datagram_received(std::string_view data, const SocketAddress&) override {
    if (!received.done()) received.set_result(std::string(data));
  }
  void error_received(std::exception_ptr error) override {
    if (!received.done()) received.set_exception(error);
  }
  void connection_lost(std::exception_ptr error) override {
    if (error) error_received(error);
  }
  const Future<std::string> received;
};

void datagrams() {
  run_on_new_loop([]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    const auto make = [&] { return std::make_shared<Datagrams>(loop); };
    const auto a = co_await loop.create_datagram_endpoint(make, SocketAddress("127.0.0.1", 0));
    const SocketAddress address = *a.first->get_extra_info("sockname");
    const auto b = co_await loop.create_datagram_endpoint(make, std::nullopt, address);
    b.first->sendto("a datagram that is too long to be small");
    std::vector<Future<std::string>> either{a.second->received, b.second->received};
    const auto first = co_await wait(either, {.return_when = FIRST_COMPLETED});
    const std::string data = co_await first.done.front();
    expect(data.starts_with("a datagram"), "another datagram");
    a.first->close();
    b.first->abort();
    co_await sleep(0);
  });
}

void pipes() {
  run_on_new_loop([]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    struct Reading : Protocol {
      explicit Reading(EventLoop& loop) : ended(loop) {}
      void data_received(std::string_view data) override { received += data.size(); }
      void connection_lost(std::exception_ptr exception) override {
        if (!ended.done()) exception ? ended.set_exception(exception) : ended.set_result();
      }
      std::size_t received = 0;
      const Future<void> ended;
    };
    // A pipe for which there never was a transport still belongs to the caller.
    struct Owned {
      int a = -1, b = -1;
      bool connected = false;
      ~Owned() {
        for (const int fd : {a, b}) {
          if (!connected) ::close(fd);
        }
      }
    } owned;
    Descriptors ends = pipe_pair();
    const auto make = [&] { return std::make_shared<Reading>(loop); };
    const auto reading = co_await loop.connect_read_pipe(make, owned.a = ends.a.release());
    const auto writing = co_await loop.connect_write_pipe(make, owned.b = ends.b.release());
    writing.first->write(std::string(MUCH, 'x'));
    writing.first->close();
    co_await reading.second->ended;
    co_await writing.second->ended;
    expect(reading.second->received == MUCH || happened(), "bytes were lost");
  });
}

Coroutine<void> serve_lines(StreamReader reader, StreamWriter writer) {
  for (;;) {
    const std::string line = co_await reader.readline();
    if (line.empty()) break;
    writer.write(line);
    co_await writer.drain();
  }
  writer.close();
  co_await writer.wait_closed();
}

Coroutine<void> talk(std::pair<StreamReader, StreamWriter> connection) {
  const StreamReader reader = connection.first;
  const StreamWriter writer = connection.second;
  writer.writelines({"one\n", "two\n", "three;four;"});
  co_await writer.drain();
  writer.write_eof();
  const std::string one = co_await reader.readuntil("\n");
  const std::string two = co_await reader.readexactly(4);
  const std::string rest = co_await reader.read();
  expect(happened() || (one == "one\n" && two == "two\n" && rest == "three;four;"), "another echo");
  writer.close();
  co_await writer.wait_closed();
}

void streams() {
  run_on_new_loop([]() -> Coroutine<void> {
    const Server server = co_await start_server(serve_lines, "127.0.0.1", 0);
    const Finally closed([&] {
      server.close();
      server.abort_clients();
    });
    co_await talk(co_await open_connection("127.0.0.1", server.sockets()[0].port()));
  });
}

void streams_of_unix_sockets() {
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await start_unix_server(serve_lines, abstract_path());
    const Finally closed([&] { server.close(); });
    co_await wait_for(talk(co_await open_unix_connection(abstract_path())), patience);
  };
  run(main());
}

void streams_that_are_slow() {
  run_on_new_loop([]() -> Coroutine<void> {
    const auto gives_much = [](StreamReader, StreamWriter writer) -> Coroutine<void> {
      for (int i = 0; i < 20; ++i) {
        writer.write(std::string(MUCH / 20, 'x'));
        co_await writer.drain();
      }
      writer.close();
    };
    const Server server = co_await start_server(gives_much, "127.0.0.1", 0, {.limit = 1000});
    const Finally closed([&] {
      server.close();
      server.abort_clients();
    });
    const auto [reader, writer] = co_await open_connection("127.0.0.1", server.sockets()[0].port(), {.limit = 1000});
    std::size_t received = 0;
    for (;;) {
      const std::string data = co_await reader.read(5000);
      if (data.empty()) break;
      received += data.size();
    }
    expect(received == MUCH || happened(), "bytes were lost");
    writer.close();
  });
}

void child_that_talks() {
  run_on_new_loop([]() -> Coroutine<void> {
    std::vector<std::string> cat(1, "cat");
    const Process process =
        co_await create_subprocess_exec(std::move(cat), {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    const auto [out, errors] = co_await process.communicate(std::string(MUCH, 'x'));
    // A child that does not read to the end, or that somebody else has reaped, is no error.
    const bool whole = out.size() == MUCH && process.returncode() == 0;
    expect(errors.empty() && (whole || happened()), "the output is short");
  });
}

void shell_with_errors() {
  run_on_new_loop([]() -> Coroutine<void> {
    const Process process = co_await create_subprocess_shell(
        "pwd; echo to stderr >&2; exit 3", {.stdin_ = DEVNULL, .stdout_ = PIPE, .stderr_ = STDOUT, .cwd = "/"});
    const std::string out = co_await process.stdout_().read();
    const int returncode = co_await process.wait();
    expect(out == "/\nto stderr\n", "another output");
    expect(returncode == 3 || returncode == 255, "another returncode");  // 255: somebody else has reaped it
  });
}

std::vector<std::string> sleeping() { return {"sleep", "5"}; }

void child_that_is_killed() {
  run_on_new_loop([]() -> Coroutine<void> {
    const Process process = co_await create_subprocess_exec(sleeping(), {.stdout_ = 2});
    process.terminate();
    const int returncode = co_await process.wait();
    expect(returncode == -SIGTERM || returncode == 255, "another returncode");
  });
}

void child_when_the_loop_closes() {
  const auto main = []() -> Coroutine<void> {
    co_await create_subprocess_exec(sleeping(), {.stdin_ = PIPE, .stdout_ = PIPE});
  };
  run(main());
}

}  // namespace

std::vector<Program> programs_of_the_world() {
  return {
      {"sockets: streams", sockets_of_streams},
      {"sockets: a server", sockets_of_servers},
      {"sockets: datagrams", sockets_of_datagrams},
      {"sockets: a file", files_through_sockets},
      {"transports", transports},
      {"transports of UNIX sockets", transports_of_unix_sockets},
      {"server that is cancelled", server_that_is_cancelled},
      {"datagrams", datagrams},
      {"pipes", pipes},
      {"streams", streams},
      {"streams of UNIX sockets", streams_of_unix_sockets},
      {"streams that are slow", streams_that_are_slow},
      {"child that talks", child_that_talks},
      {"shell with errors", shell_with_errors},
      {"child that is killed", child_that_is_killed},
      {"child when the loop closes", child_when_the_loop_closes},
  };
}

}  // namespace faults
