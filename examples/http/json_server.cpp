// A service: a small JSON document at GET /. One loop uses one core; more cores take more processes, a loop in each.
// Look at reuse_port: every process listens on the same port with a socket of its own, and the kernel deals the clients
// out. `json_server 8000 4` runs four; ask `curl localhost:8000` a few times, and see which process answers. To a second
// json_server on that port it would deal some, too: that takes the word `share`.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "examples/http/http.hpp"

asyncio::Coroutine<std::string> respond(http::Request request) {
  static int requests = 0;
  if (request.target != "/") throw http::Error("404 Not Found");
  co_return "{\"message\": \"hello\", \"process\": " + std::to_string(::getpid()) +
      ", \"requests\": " + std::to_string(++requests) + "}\n";
}

asyncio::FileDescriptor bind_socket(int port, int option) {
  asyncio::FileDescriptor sock(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(sock.get(), SOL_SOCKET, option, &on, sizeof on);
  const asyncio::SocketAddress address("127.0.0.1", port);
  asyncio::check_call(::bind(sock.get(), address.data(), address.size()), "bind");
  return sock;
}

// Without SO_REUSEPORT a port has one listener.
void check_that_nobody_listens(int port) {
  const asyncio::FileDescriptor probe = bind_socket(port, SO_REUSEADDR);
  asyncio::check_call(::listen(probe.get(), 1), "listen");
}

void serve(const program::Arguments& arguments) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int processes = arguments.number(1, cores, 1, 1000);
  if (!arguments.given(2)) check_that_nobody_listens(arguments.port(http::PORT));
  // Holds the port for all processes, and does not listen itself.
  const asyncio::FileDescriptor reserved = bind_socket(arguments.port(http::PORT), SO_REUSEPORT);
  const int port = asyncio::getsockname(reserved.get()).port();

  sigset_t ends;
  ::sigemptyset(&ends);
  for (int signum : {SIGINT, SIGTERM}) ::sigaddset(&ends, signum);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);  // kept for sigwait(), however early they come

  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::sigprocmask(SIG_UNBLOCK, &ends, nullptr);
    return asyncio::run(http::serve(respond, port, {.type = "application/json", .reuse_port = true}));
  }
  int signum;
  ::sigwait(&ends, &signum);
  program::say_signal(signum);
  ::sigprocmask(SIG_UNBLOCK, &ends, nullptr);  // a second one ends this process at once
  for (pid_t child : children) ::kill(child, SIGTERM);
  for (pid_t child : children) ::waitpid(child, nullptr, 0);
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT [PROCESSES [share]]]", serve); }
