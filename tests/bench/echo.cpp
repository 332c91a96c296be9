// What an echoed message costs the server: over a bare epoll loop (the limit), a Protocol, streams, sock_* calls. Each
// server runs in a child of its own; the parent is all the clients, and knows no library. CPU time of the child, user and
// kernel, divided by the messages; system calls are not counted here, `strace -c` does that.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdlib>

#include "asyncio.hpp"
#include "tests/bench/bench.hpp"

namespace {

using asyncio::Coroutine, asyncio::StreamReader, asyncio::StreamWriter;

constexpr int MESSAGE_SIZE = 64, MESSAGES = 100'000;

int listen_anywhere() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const asyncio::SocketAddress address("127.0.0.1", 0);
  asyncio::check_call(::bind(fd, address.data(), address.size()), "bind");
  asyncio::check_call(::listen(fd, 1024), "listen");
  return fd;
}

// The limit: no buffers, no errors, no features.
void serve_bare(int listener) {
  const int epfd = ::epoll_create1(0);
  epoll_event events[1024], event{.events = EPOLLIN, .data = {.fd = listener}};
  ::epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &event);
  char buffer[1 << 16];
  for (;;) {
    const int n = ::epoll_wait(epfd, events, 1024, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        event.data.fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        ::epoll_ctl(epfd, EPOLL_CTL_ADD, event.data.fd, &event);
        continue;
      }
      const ssize_t size = ::recv(fd, buffer, sizeof buffer, 0);
      if (size <= 0) return;
      ::send(fd, buffer, size, MSG_NOSIGNAL);
    }
  }
}

struct Echo : asyncio::Protocol {
  std::shared_ptr<asyncio::Transport> transport;
  void connection_made(std::shared_ptr<asyncio::Transport> made) override { transport = std::move(made); }
  void data_received(std::string_view data) override { transport->write(data); }
  void connection_lost(std::exception_ptr) override { ::_exit(0); }
};

Coroutine<void> serve_protocol(int listener) {
  const auto factory = [] { return std::make_shared<Echo>(); };
  const asyncio::Server server = co_await asyncio::get_running_loop().create_server(factory, "", 0, {.sock = listener});
  co_await server.serve_forever();
}

Coroutine<void> echo_stream(StreamReader reader, StreamWriter writer) {
  for (std::string data = co_await reader.read(1 << 16); !data.empty(); data = co_await reader.read(1 << 16)) {
    writer.write(data);
    co_await writer.drain();
  }
  ::_exit(0);
}

Coroutine<void> serve_streams(int listener) {
  const asyncio::Server server = co_await asyncio::start_server(echo_stream, "", 0, {.sock = listener});
  co_await server.serve_forever();
}

Coroutine<void> echo_sock(int fd) {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  for (std::string data = co_await loop.sock_recv(fd, 4096); !data.empty(); data = co_await loop.sock_recv(fd, 4096)) {
    co_await loop.sock_sendall(fd, data);
  }
  ::_exit(0);
}

Coroutine<void> serve_sock(int listener) {
  for (;;) {
    const auto accepted = co_await asyncio::get_running_loop().sock_accept(listener);
    asyncio::create_task(echo_sock(accepted.first));
  }
}

// As many clients as connections, in one thread: each answer is followed by the next message.
void run_clients(const asyncio::SocketAddress& server, int connections) {
  const int epfd = ::epoll_create1(0);
  std::vector<int> fds;
  const std::string message(MESSAGE_SIZE, 'x');
  for (int i = 0; i < connections; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    asyncio::check_call(::connect(fd, server.data(), server.size()), "connect");
    asyncio::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    fds.push_back(fd);
  }
  for (const int fd : fds) ::send(fd, message.data(), message.size(), 0);
  int sent = connections;
  epoll_event events[1024];
  char buffer[MESSAGE_SIZE];
  for (int answers = 0; answers < MESSAGES;) {
    const int n = ::epoll_wait(epfd, events, 1024, -1);
    for (int i = 0; i < n; ++i, ++answers) {
      ::recv(events[i].data.fd, buffer, sizeof buffer, MSG_WAITALL);
      if (sent++ < MESSAGES) ::send(events[i].data.fd, message.data(), message.size(), 0);
    }
  }
  for (const int fd : fds) ::close(fd);
  ::close(epfd);
}

/// CPU microseconds of the server per message.
template <class Serve> double measure(int connections, Serve serve) {
  const int listener = listen_anywhere();
  const asyncio::SocketAddress address = asyncio::getsockname(listener);
  const pid_t server = ::fork();
  if (server == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve(listener);
    ::_exit(0);
  }
  run_clients(address, connections);
  ::close(listener);
  rusage usage{};
  while (::wait4(server, nullptr, 0, &usage) < 0) {}
  const auto microseconds = [](const timeval& t) {
    return 1e6 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec);
  };
  return (microseconds(usage.ru_utime) + microseconds(usage.ru_stime)) / MESSAGES;
}

void row(const char* name, int connections, double limit, double ours, double goal) {
  std::printf("echo, %-8s %3d connections (us)  %8.2f  %8.2f  %7.2f  <= %5.2gx  %s\n", name, connections, limit, ours,
              ours / limit, goal, ours <= goal * limit ? "  ok" : "over");
}

}  // namespace

int main() {
  std::printf("%-35s  %8s  %8s  %7s  %9s\n", "workload", "limit", "ours", "ratio", "goal");
  for (const int connections : {1, 100}) {
    std::vector<double> bare, protocol, streams, sock;
    for (int i = 0; i < 3; ++i) {
      bare.push_back(measure(connections, serve_bare));
      protocol.push_back(measure(connections, [](int fd) { asyncio::run(serve_protocol(fd)); }));
      streams.push_back(measure(connections, [](int fd) { asyncio::run(serve_streams(fd)); }));
      sock.push_back(measure(connections, [](int fd) { asyncio::run(serve_sock(fd)); }));
    }
    const double limit = bench::median(bare);
    row("Protocol", connections, limit, bench::median(protocol), 1.1);
    row("streams", connections, limit, bench::median(streams), 1.1);
    row("sock_*", connections, limit, bench::median(sock), 1.3);
  }
}
