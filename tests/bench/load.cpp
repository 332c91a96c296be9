// The clients of the echo rows, in one thread, without a library: load PORT CONNECTIONS MESSAGES
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

// As many clients as connections: each answer is followed by the next message.
int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int connections = std::atoi(argv[2]), messages = std::atoi(argv[3]);
  const sockaddr_in server{.sin_family = AF_INET,
                           .sin_port = htons(static_cast<in_port_t>(std::atoi(argv[1]))),
                           .sin_addr = {htonl(INADDR_LOOPBACK)},
                           .sin_zero = {}};
  const int epfd = ::epoll_create1(0), on = 1;
  std::vector<int> fds;
  const std::string message(64, 'x');
  for (int i = 0; i < connections; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0) return 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    fds.push_back(fd);
  }
  for (const int fd : fds) ::send(fd, message.data(), message.size(), 0);
  int sent = connections;
  epoll_event events[1024];
  char buffer[64];
  for (int answers = 0; answers < messages;) {
    const int n = ::epoll_wait(epfd, events, 1024, -1);
    for (int i = 0; i < n; ++i, ++answers) {
      if (::recv(events[i].data.fd, buffer, sizeof buffer, MSG_WAITALL) <= 0) return 1;
      if (sent++ < messages) ::send(events[i].data.fd, message.data(), message.size(), 0);
    }
  }
}
