// A service: a small JSON document at GET /. One loop uses one core; more cores take more processes, a loop in each.
// Look at reuse_port: every process listens on the same port with a socket of its own, and the kernel deals the clients
// out. `json_server 8000 4` runs four; ask `curl localhost:8000` a few times, and see which process answers.
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

// Holds the port for all processes, and does not listen itself.
int reserve(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  const asyncio::SocketAddress address("127.0.0.1", port);
  asyncio::check_call(::bind(fd, address.data(), address.size()), "bind");
  return fd;
}

int main(int argc, char** argv) {
  const int reserved = reserve(argc > 1 ? std::stoi(argv[1]) : 8000);
  const int port = asyncio::getsockname(reserved).port();
  const int processes = argc > 2 ? std::stoi(argv[2]) : static_cast<int>(std::thread::hardware_concurrency());

  sigset_t ends;
  ::sigemptyset(&ends);
  for (int signum : {SIGINT, SIGTERM}) ::sigaddset(&ends, signum);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);  // kept for sigwait(), however early they come

  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::sigprocmask(SIG_UNBLOCK, &ends, nullptr);
    asyncio::run(http::serve(respond, port, {.type = "application/json", .reuse_port = true}));
    return 0;
  }
  int signum;
  ::sigwait(&ends, &signum);
  for (pid_t child : children) ::kill(child, SIGTERM);
  for (pid_t child : children) ::waitpid(child, nullptr, 0);
  ::close(reserved);
}
