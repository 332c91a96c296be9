// The adapter between c-ares and the loop: sockets that come and go, and a timer.
//
// The contract. c-ares owns the descriptors. It says which it wants to read or write, and before it closes one that it
// wants neither. Its own timeouts need a call, too: ares_timeout says when. A timer that comes too early does no harm,
// so one that is set stays. A query cannot be cancelled alone: a cancelled await leaves it running, and nobody takes the
// answer. The end of the Resolver ends every query. It must come before that of the loop.
#pragma once

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "asyncio.hpp"

namespace dns {

/// c-ares gave up: no such name, no answer in time, nobody listens there. what() is its text.
class DNSError : public asyncio::Error {
 public:
  explicit DNSError(int status) : Error(ares_strerror(status)), status_(status) {}
  /// ARES_ENOTFOUND, ARES_ETIMEOUT, …
  int status() const { return status_; }

 private:
  int status_;
};

class Resolver {
 public:
  /// Asks the server on this port of the loopback, at most `tries` times; the first time it waits `timeout_ms`.
  explicit Resolver(int port, int timeout_ms = 1000, int tries = 2) : loop_(asyncio::get_running_loop()) {
    ares_options options{};
    options.flags = ARES_FLAG_NOSEARCH;
    options.timeout = timeout_ms;
    options.tries = tries;
    options.sock_state_cb = on_socket_state;
    options.sock_state_cb_data = this;
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (const int status = ares_init_options(&channel_, &options, mask)) throw DNSError(status);
    ares_set_servers_ports_csv(channel_, ("127.0.0.1:" + std::to_string(port)).c_str());
  }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver() {
    ares_destroy(channel_);
    timer_.cancel();
  }

  using Addresses = std::vector<std::string>;

  /// The IPv4 addresses of a name. The query is sent at once; many can be under way. DNSError.
  asyncio::Future<Addresses> query(const std::string& name) {
    auto future = std::make_unique<asyncio::Future<Addresses>>(loop_);
    asyncio::Future<Addresses> result = *future;
    ares_query(channel_, name.c_str(), ns_c_in, ns_t_a, on_answer, future.release());  // on_answer takes it back
    set_timer();
    return result;
  }

 private:
  static void on_socket_state(void* data, ares_socket_t fd, int readable, int writable) {
    Resolver& self = *static_cast<Resolver*>(data);
    const Interest now{readable != 0, writable != 0}, before = std::exchange(self.interests_[fd], now);
    if (now.read && !before.read) self.loop_.add_reader(fd, [&self, fd] { self.process(fd, ARES_SOCKET_BAD); });
    if (now.write && !before.write) self.loop_.add_writer(fd, [&self, fd] { self.process(ARES_SOCKET_BAD, fd); });
    if (!now.read && before.read) self.loop_.remove_reader(fd);
    if (!now.write && before.write) self.loop_.remove_writer(fd);
  }

  void process(ares_socket_t readable, ares_socket_t writable) {
    ares_process_fd(channel_, readable, writable);
    set_timer();
  }

  void set_timer() {
    timeval left{};
    if (has_timer_ || !ares_timeout(channel_, nullptr, &left)) return;
    has_timer_ = true;
    timer_ = loop_.call_later(left.tv_sec + left.tv_usec / 1e6, [this] {
      has_timer_ = false;
      process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    });
  }

  static void on_answer(void* data, int status, int /*timeouts*/, unsigned char* answer, int length) {
    const std::unique_ptr<asyncio::Future<Addresses>> future(static_cast<asyncio::Future<Addresses>*>(data));
    std::array<ares_addrttl, 100> found;
    int count = found.size();
    if (!status) status = ares_parse_a_reply(answer, length, nullptr, found.data(), &count);
    if (future->done()) return;  // it was cancelled
    if (status) return future->set_exception(DNSError(status));
    Addresses addresses;
    for (int i = 0; i < count; ++i) {
      std::array<char, INET_ADDRSTRLEN> text{};
      addresses.emplace_back(inet_ntop(AF_INET, &found[i].ipaddr, text.data(), text.size()));
    }
    future->set_result(std::move(addresses));
  }

  struct Interest {
    bool read = false, write = false;
  };
  asyncio::EventLoop& loop_;
  ares_channel channel_ = nullptr;
  std::unordered_map<ares_socket_t, Interest> interests_;
  asyncio::TimerHandle timer_;
  bool has_timer_ = false;
};

}  // namespace dns
