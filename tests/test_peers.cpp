// Peers that misbehave at random, against a protocol and against streams; and a server that has no descriptors left.
// The first test takes 3 seconds; the environment's ASYNCIO_STRESS_SECONDS makes it longer.
#include <poll.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "tests/net.hpp"

using asyncio::Coroutine, asyncio::SocketAddress, asyncio::Transport, asyncio::sleep;
using asyncio::Server, asyncio::StreamReader, asyncio::StreamWriter;
using test::Calls, test::Fd, test::Instance, test::NetLoop, test::open_fds, test::until;

namespace {

using Random = std::mt19937;

double stress_seconds() {
  const char* value = std::getenv("ASYNCIO_STRESS_SECONDS");
  return value && std::atof(value) > 0 ? std::atof(value) : 3;
}

// ---- Peers: threads with sockets that block, for a few milliseconds at most.

class Peer {
 public:
  Peer(SocketAddress address, unsigned seed) : address_(std::move(address)), random_(seed) {}

  void run(const std::atomic<bool>& stop) {
    while (!stop) {
      if (!connect()) {
        std::this_thread::yield();
        continue;
      }
      ++connections;
      for (unsigned i = random_() % 6; i > 0 && fd_ >= 0 && !stop; --i) act();
      end();
    }
  }
  std::size_t connections = 0;

 private:
  bool connect() {
    fd_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{0, 5000};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return ::connect(fd_, address_.data(), address_.size()) == 0;
  }
  void act() {
    switch (random_() % 7) {
      case 0:
        return dribble();
      case 1:
        return flood();
      case 2:
      case 3:
        return listen();
      case 4:
        ::shutdown(fd_, SHUT_WR);
        return;
      case 5:
        ::shutdown(fd_, SHUT_RD);
        return;
      default:
        ::poll(nullptr, 0, static_cast<int>(random_() % 3));
    }
  }
  void dribble() {
    for (unsigned i = random_() % 20; i > 0; --i) ::send(fd_, random_() % 4 == 0 ? "\n" : "x", 1, MSG_NOSIGNAL);
  }
  void flood() {
    const std::string data(1 << (random_() % 18), 'f');
    for (int i = 0; i < 8; ++i) {
      if (::send(fd_, data.data(), data.size(), MSG_NOSIGNAL) <= 0) return;
    }
  }
  void listen() {
    std::string bytes(1 << 16, '\0');
    for (unsigned i = random_() % 8; i > 0; --i) {
      if (::recv(fd_, bytes.data(), bytes.size(), 0) <= 0) return;
    }
  }
  void end() {
    const linger reset{1, 0};
    if (random_() % 3 == 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (random_() % 3 == 0) ::shutdown(fd_, SHUT_WR);
    fd_.close();
  }

  const SocketAddress address_;
  Random random_;
  Fd fd_;
};

/// Some peers, until the end of the scope.
class Peers {
 public:
  Peers(const std::vector<SocketAddress>& addresses, unsigned seed) {
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      peers_.push_back(std::make_unique<Peer>(addresses[i], seed + static_cast<unsigned>(i)));
    }
    for (const auto& peer : peers_) threads_.emplace_back([this, peer = peer.get()] { peer->run(stop_); });
  }
  ~Peers() { join(); }
  /// How many connections they have made.
  std::size_t join() {
    stop_ = true;
    for (std::thread& thread : std::exchange(threads_, {})) thread.join();
    std::size_t connections = 0;
    for (const auto& peer : peers_) connections += peer->connections;
    return connections;
  }

 private:
  std::atomic<bool> stop_ = false;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::thread> threads_;
};

// ---- A protocol that is as moody, and keeps count

struct Counts {
  std::size_t made = 0, lost = 0, wrong = 0;
};

class Moody : public asyncio::Protocol {
 public:
  Moody(asyncio::EventLoop& loop, Counts& counts, Random& random) : loop_(loop), counts_(counts), random_(random) {}
  ~Moody() override { counts_.wrong += state_ == State::connected; }  // it was never lost

  void connection_made(std::shared_ptr<Transport> made) override {
    counts_.wrong += state_ != State::initial;
    state_ = State::connected;
    ++counts_.made;
    transport_ = std::move(made);
    if (random_() % 4 == 0) transport_->set_write_buffer_limits({.high = random_() % 4096});
    act();
  }
  void data_received(std::string_view data) override {
    counts_.wrong += state_ != State::connected || data.empty() || ended_;
    write(std::string(data));
    act();
  }
  bool eof_received() override {
    counts_.wrong += state_ != State::connected || ended_;
    ended_ = true;
    act();
    if (random_() % 2 == 0) return false;
    loop_.call_soon([transport = transport_] { transport->close(); });
    return true;
  }
  void pause_writing() override {
    counts_.wrong += state_ != State::connected || paused_;
    paused_ = true;
    if (random_() % 2 == 0) act();
  }
  void resume_writing() override {
    counts_.wrong += state_ != State::connected || !paused_;
    paused_ = false;
    if (random_() % 2 == 0) act();
  }
  void connection_lost(std::exception_ptr) override {
    counts_.wrong += state_ != State::connected;
    state_ = State::lost;
    ++counts_.lost;
    write("too late");
    transport_ = nullptr;
  }

 private:
  enum class State { initial, connected, lost };

  // Anything, also in the middle of a call of the transport's.
  void write_eof() {
    eof_written_ = true;
    try {
      transport_->write_eof();
    } catch (const asyncio::OSError&) {}  // the peer has reset the connection
  }
  void act() {
    const auto transport = transport_;
    switch (random_() % 24) {
      case 0:
        return transport->close();
      case 1:
        return transport->abort();
      case 2:
        return write_eof();
      case 3:
        return write(std::string(1 << (random_() % 20), 'm'));
      case 4:
        transport->pause_reading();
        loop_.call_later(0.0005, [transport] { transport->resume_reading(); });
        return;
      case 5:
        return transport->resume_reading();
      case 6:
        write("last words");
        return transport->close();
      case 7:
        transport->close();
        return transport->abort();
      default:
        return write("m");
    }
  }
  void write(const std::string& data) {
    if (!eof_written_) transport_->write(data);
  }

  asyncio::EventLoop& loop_;
  Counts& counts_;
  Random& random_;
  State state_ = State::initial;
  bool paused_ = false, ended_ = false, eof_written_ = false;
  std::shared_ptr<Transport> transport_;
  Instance instance_;
};

// ---- A handler of streams that is no better

Coroutine<void> act(StreamReader reader, StreamWriter writer, Random& random) {
  for (unsigned i = random() % 6; i > 0; --i) {
    switch (random() % 9) {
      case 0:
        co_await reader.readline();
        break;
      case 1:
        co_await reader.read(1 + static_cast<long>(random() % 5000));
        break;
      case 2:
        co_await reader.readexactly(1 + random() % 100);
        break;
      case 3:
        co_await reader.readuntil("\n");
        break;
      case 4:
        writer.write(std::string(1 << (random() % 20), 's'));
        break;
      case 5:
        co_await writer.drain();
        break;
      case 6:
        writer.write_eof();
        break;
      case 7:
        co_await sleep(0);
        break;
      default:
        writer.write("s\n");
    }
  }
}

Coroutine<void> handle(StreamReader reader, StreamWriter writer, Random& random, Counts& counts) {
  const Instance instance;
  ++counts.made;
  const asyncio::Finally done([&] { ++counts.lost; });
  try {
    co_await asyncio::wait_for(act(reader, writer, random), 0.05);
  } catch (const std::exception&) {  // whatever the peer has done
  }
  switch (random() % 4) {
    case 0:
      writer.transport()->abort();
      break;
    case 1:
      break;  // the last reference closes it
    default:
      writer.close();
  }
  if (random() % 2 == 0 && writer.is_closing()) {
    try {
      co_await asyncio::wait_for(writer.wait_closed(), 0.05);
    } catch (const std::exception&) {}
  }
}

}  // namespace

TEST_CASE("Whatever peers do, every connection is lost exactly once and nothing is left over", "[peers][stress]") {
  const double seconds = stress_seconds() / 2;  // for each selector
  const std::ptrdiff_t descriptors = open_fds();
  Random random(1);
  Counts protocol_counts, stream_counts;
  std::size_t connections = 0;
  {
    NetLoop loop(EVERY_SELECTOR);
    const auto test = [&]() -> Coroutine<> {
      const auto factory = [&] { return std::make_shared<Moody>(loop, protocol_counts, random); };
      const auto handler = [&](StreamReader reader, StreamWriter writer) {
        return handle(std::move(reader), std::move(writer), random, stream_counts);
      };
      const Server protocols = co_await loop.create_server(factory, "127.0.0.1", 0);
      const Server streams = co_await asyncio::start_server(handler, "127.0.0.1", 0);
      const SocketAddress one = protocols.sockets()[0], two = streams.sockets()[0];
      const std::vector<SocketAddress> addresses{one, two, one, two};
      Peers peers(addresses, 100);
      const double end = loop.time() + seconds;
      while (loop.time() < end) {
        co_await sleep(0.02);
        if (random() % 20 == 0) protocols.abort_clients();
        if (random() % 20 == 0) streams.close_clients();
      }
      connections = peers.join();
      protocols.close();
      streams.close();
      co_await protocols.wait_closed();
      co_await streams.wait_closed();
      co_await until([&] { return Instance::alive() == 0; });
    };
    loop.run_until_complete(asyncio::wait_for(test, seconds + NetLoop::LIMIT));
  }
  if (seconds > 3) {
    std::cout << connections << " connections, " << protocol_counts.made << " protocols, " << stream_counts.made
              << " handlers of streams\n";
  }
  CHECK(connections > 50);
  CHECK(protocol_counts.made > 0);
  CHECK(protocol_counts.lost == protocol_counts.made);
  CHECK(protocol_counts.wrong == 0);
  CHECK(stream_counts.made > 0);
  CHECK(stream_counts.lost == stream_counts.made);
  CHECK(Instance::alive() == 0);
  CHECK(open_fds() == descriptors);
}

namespace {

// Without a descriptor UndefinedBehaviorSanitizer, which the tests combine with AddressSanitizer, reports nonsense: it
// probes memory through a pipe.
constexpr bool SANITIZER_NEEDS_DESCRIPTORS = test::ASAN;

/// No descriptor beyond the next few can be opened, until the end of the scope.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t few) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &old_) == 0);
    const Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit limit = old_;
    limit.rlim_cur = static_cast<rlim_t>(next) + few;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &old_); }

 private:
  rlimit old_;
};

double cpu_seconds() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Greeter : asyncio::Protocol {
  void connection_made(std::shared_ptr<Transport> made) override {
    transport = std::move(made);
    transport->write("hello");
  }
  void connection_lost(std::exception_ptr) override { transport = nullptr; }
  std::shared_ptr<Transport> transport;
  Instance instance;
};

/// The descriptor that listens at this address.
int listening_fd(const SocketAddress& address) {
  for (int fd = 0; fd < 1024; ++fd) {
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    if (asyncio::getsockname(fd) == address) return fd;
  }
  return -1;
}

const std::string OUT_OF_DESCRIPTORS =
    "socket.accept() out of system resource | " + test::SYSTEM_ERROR + ": accept: Too many open files";

/// Waits until the loop has something to report.
Coroutine<Calls> next_reports(NetLoop& loop) {
  Calls reports;
  co_await until([&] { return !(reports = loop.reports()).empty(); });
  co_return reports;
}

/// A server that has no descriptor for the client that has come, and tries again in a second.
Coroutine<Server> pausing_server(NetLoop& loop, Fd& client) {
  const auto factory = [] { return std::make_shared<Greeter>(); };
  const Server server = co_await loop.create_server(factory, "127.0.0.1", 0);
  const SocketAddress address = server.sockets()[0];
  client = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(client, address.data(), address.size()) == 0);
  const FewDescriptors none(0);
  const Calls reports = co_await next_reports(loop);
  CHECK(reports == Calls{OUT_OF_DESCRIPTORS});
  co_return server;
}

}  // namespace

TEST_CASE("A server without descriptors pauses for a second, reports once, burns no time, then serves all who waited",
          "[peers][stress]") {
  if (SANITIZER_NEEDS_DESCRIPTORS) return;
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto factory = [] { return std::make_shared<Greeter>(); };
    const Server server = co_await loop.create_server(factory, "127.0.0.1", 0);
    const SocketAddress address = server.sockets()[0];
    std::vector<Fd> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      REQUIRE(::connect(clients.back(), address.data(), address.size()) == 0);
      asyncio::set_blocking(clients.back(), false);
    }
    {
      const FewDescriptors few(3);
      const double start = loop.time(), cpu = cpu_seconds();
      Calls reports;
      std::vector<double> times;
      while (loop.time() < start + 1.6) {
        co_await sleep(0.02);
        for (const std::string& report : loop.reports()) {
          reports.push_back(report);
          times.push_back(loop.time());
        }
      }
      const double spent = cpu_seconds() - cpu;
      CHECK(reports == Calls{OUT_OF_DESCRIPTORS, OUT_OF_DESCRIPTORS});
      if (times.size() == 2) CHECK(times[1] - times[0] > 0.95);
      CHECK(Instance::alive() >= 1);
      CHECK(Instance::alive() <= 3);
      INFO("CPU seconds in 1.6 seconds: " << spent);
      CHECK(spent <= 0.02 * 1.6 + 0.02);
    }
    for (const Fd& client : clients) {
      const std::string greeting = co_await loop.sock_recv(client, 100);
      CHECK(greeting == "hello");
    }
    CHECK(loop.reports() == Calls());
    server.close();
    clients.clear();
    co_await server.wait_closed();
    co_await until([] { return Instance::alive() == 0; });
  });
}

TEST_CASE("A server that is closed while it pauses does not come back", "[peers][stress]") {
  if (SANITIZER_NEEDS_DESCRIPTORS) return;
  NetLoop loop;
  loop.run([&]() -> Coroutine<> {
    Fd client;
    const Server server = co_await pausing_server(loop, client);
    server.close();
    co_await server.wait_closed();
    // Its number belongs to somebody else when the second is over.
    const auto [a, b] = test::socket_pair();
    test::send_all(b, "not for the server");
    co_await sleep(1.1);
    CHECK(Instance::alive() == 0);
    CHECK(!loop.remove_reader(a));
  });
}

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("A server that cannot listen again after its pause closes, and says why", "[peers][stress]") {
  if (SANITIZER_NEEDS_DESCRIPTORS) return;
  NetLoop loop;
  loop.run([&]() -> Coroutine<> {
    Fd client;
    const Server server = co_await pausing_server(loop, client);
    const Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    // The number now stands for a file, which epoll does not watch.
    REQUIRE(::dup3(file, listening_fd(server.sockets()[0]), O_CLOEXEC) >= 0);
    const Calls reports = co_await next_reports(loop);
    REQUIRE(reports.size() == 1);
    CHECK(test::contains(reports[0], "Operation not permitted"));
    CHECK(!server.is_serving());
    co_await server.wait_closed();
  });
}
#endif

TEST_CASE("An error of accept() that is no lack of resources goes to the exception handler",
          "[peers][test_selector_events.test_accept_connection_other_errors]") {
  NetLoop loop;
  loop.run([&]() -> Coroutine<> {
    const auto factory = [] { return std::make_shared<Greeter>(); };
    const Server server = co_await loop.create_server(factory, "127.0.0.1", 0);
    REQUIRE(::shutdown(listening_fd(server.sockets()[0]), SHUT_RDWR) == 0);  // readable, and accept() is EINVAL
    const Calls reports = co_await next_reports(loop);
    CHECK(test::contains(reports[0], "accept: Invalid argument"));
    server.close();
    co_await server.wait_closed();
  });
}
