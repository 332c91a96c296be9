// What the tests of sockets and transports share: loops over both selectors, descriptors, protocols that keep a record.
// Upstream counterpart: Lib/test/test_asyncio/utils.py.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/io_utils.hpp"

namespace test {

inline constexpr std::size_t MEGABYTE = 1 << 20;

enum class Selector { epoll, poll };

/// The test case runs once for each.
#if defined(ASYNCIO_NO_EPOLL)
#define EVERY_SELECTOR GENERATE(test::Selector::poll)
inline constexpr Selector DEFAULT_SELECTOR = Selector::poll;
#else
#define EVERY_SELECTOR GENERATE(test::Selector::epoll, test::Selector::poll)
inline constexpr Selector DEFAULT_SELECTOR = Selector::epoll;
#endif

/// A loop over a real selector. What goes to the exception handler is kept; what was not asked for fails the test.
class NetLoop : public asyncio::EventLoop {
 public:
  static constexpr double LIMIT = 60;  // seconds: no test comes near it unless it hangs

  explicit NetLoop(Selector selector = DEFAULT_SELECTOR)
      : asyncio::EventLoop(make(selector)), name_(selector == Selector::epoll ? "epoll" : "poll") {
    set_exception_handler([this](asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
      reports_.push_back(context.message + " | " + asyncio::describe(context.exception));
    });
  }
  ~NetLoop() override {
    close();
    INFO("with " << name_);
    CHECK(reports_ == std::vector<std::string>());
  }

  /// Runs an awaitable, or a callable that returns one; TimeoutError if it hangs.
  template <class A> auto run(A awaitable) {
    return run_until_complete(asyncio::wait_for(std::move(awaitable), LIMIT));
  }
  /// What was reported so far, which is then expected.
  std::vector<std::string> reports() { return std::exchange(reports_, {}); }

 private:
  static std::unique_ptr<selectors::BaseSelector> make(Selector selector) {
    if (selector == DEFAULT_SELECTOR) return std::make_unique<selectors::DefaultSelector>();
    return std::make_unique<selectors::PollSelector>();
  }

  std::string name_;
  std::vector<std::string> reports_;
};

/// A descriptor that is closed in time.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int release() { return std::exchange(fd_, -1); }
  operator int() const { return fd_; }  // NOLINT: it is used as one

 private:
  int fd_ = -1;
};

bool is_open(int fd);

std::pair<Fd, Fd> socket_pair(int type = SOCK_STREAM);

/// (the end to read from, the end to write to)
std::pair<Fd, Fd> make_pipe();

/// A pipe, to write to and to read from in a test.
struct Pipe {
  Pipe() { std::tie(reader, writer) = make_pipe(); }
  void send(std::string_view bytes = "x") const {
    REQUIRE(::write(writer, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  std::string receive() const {
    char bytes[1000];
    const ssize_t n = ::read(reader, bytes, sizeof bytes);
    return std::string(bytes, n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  Fd reader, writer;
};

struct SocketPair {
  SocketPair() { std::tie(a, b) = socket_pair(); }
  Fd a, b;
};

/// Puts a duplicate of `source` under the number `number`, which must be free.
Fd reopen_as(int number, int source);

Fd make_socket(int type = SOCK_STREAM, int family = AF_INET);

/// Bound to a free port of the loopback interface.
Fd bound_socket(int type = SOCK_STREAM);

Fd listening_socket(int backlog = 16);

/// A connected pair of TCP sockets: (client, server).
std::pair<Fd, Fd> tcp_pair();

/// An address at which nobody listens.
asyncio::SocketAddress unused_address(int type = SOCK_STREAM);

void send_all(int fd, std::string_view data);

/// All that can be read now.
std::string receive_all(int fd);

/// Writes until the kernel takes no more; how many bytes it took.
std::size_t fill(int fd);

/// The next byte that is lost when the other end is closed now: a reset, not an end of file.
void reset(Fd& fd);

/// 0123456789012…: n bytes that show where they belong.
std::string digits(std::size_t n);

/// The error's number, 0 if it is no OSError, -1 if it is null.
int code_of(const std::exception_ptr& exception);

/// Awaits, and gives the exception that came out, or null.
template <class A> asyncio::Coroutine<std::exception_ptr> raised(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (...) {
    co_return std::current_exception();
  }
  co_return nullptr;
}
asyncio::Coroutine<std::exception_ptr> raised(asyncio::Coroutine<void> awaitable);

using Calls = Log;

/// Writes down what is called. Data that comes in several calls is one entry.
struct Recorder : asyncio::Protocol {
  void connection_made(std::shared_ptr<asyncio::Transport> made) override {
    calls.push_back("made");
    transport = std::move(made);
  }
  void data_received(std::string_view bytes) override {
    if (calls.empty() || calls.back() != "data") calls.push_back("data");
    data += bytes;
  }
  bool eof_received() override {
    calls.push_back("eof");
    return keep_open;
  }
  void connection_lost(std::exception_ptr exception) override {
    calls.push_back(exception ? "lost by error" : "lost");
    error = exception;
    ++lost;
    transport = nullptr;
  }
  void pause_writing() override { calls.push_back("pause"); }
  void resume_writing() override { calls.push_back("resume"); }

  Instance instance;
  std::shared_ptr<asyncio::Transport> transport;  // until it is lost
  Calls calls;
  std::string data;
  std::exception_ptr error;
  int lost = 0;
  bool keep_open = false;
};

/// A transport with its protocol, and the other end as a bare socket.
template <class P = Recorder> struct Connected {
  std::shared_ptr<asyncio::Transport> transport;
  std::shared_ptr<P> protocol;
  Fd peer;
};

template <class P = Recorder> asyncio::Coroutine<Connected<P>> connected(asyncio::EventLoop& loop,
                                                                         std::shared_ptr<P> protocol,
                                                                         std::pair<Fd, Fd> pair = tcp_pair()) {
  const auto factory = [&] { return protocol; };
  const asyncio::ConnectionOptions options{.sock = pair.first.release()};
  auto made = co_await loop.create_connection(factory, "", 0, options);
  co_return Connected<P>{made.first, made.second, std::move(pair.second)};
}
template <class P = Recorder> asyncio::Coroutine<Connected<P>> connected(asyncio::EventLoop& loop) {
  return connected<P>(loop, std::make_shared<P>());
}

/// The same for datagrams; on_datagram and on_error are called after the note is made.
struct DatagramRecorder : asyncio::DatagramProtocol {
  void connection_made(std::shared_ptr<asyncio::DatagramTransport> made) override {
    calls.push_back("made");
    transport = std::move(made);
  }
  void datagram_received(std::string_view data, const asyncio::SocketAddress& from) override {
    calls.push_back("datagram " + std::string(data));
    sender = from;
    if (on_datagram) on_datagram(*this);
  }
  void error_received(std::exception_ptr exception) override {
    calls.push_back("error " + std::to_string(code_of(exception)));
    if (on_error) on_error(*this);
  }
  void connection_lost(std::exception_ptr exception) override {
    calls.push_back(exception ? "lost by error" : "lost");
    error = exception;
    ++lost;
    transport = nullptr;
  }
  void pause_writing() override { calls.push_back("pause"); }
  void resume_writing() override { calls.push_back("resume"); }

  std::function<void(DatagramRecorder&)> on_datagram, on_error;
  Instance instance;
  std::shared_ptr<asyncio::DatagramTransport> transport;
  Calls calls;
  asyncio::SocketAddress sender;
  std::exception_ptr error;
  int lost = 0;
};

/// A transport of datagrams with its protocol.
struct Endpoint {
  std::shared_ptr<asyncio::DatagramTransport> transport;
  std::shared_ptr<DatagramRecorder> protocol;
};

asyncio::Coroutine<Endpoint> endpoint(asyncio::EventLoop& loop, std::optional<asyncio::SocketAddress> local,
                                      std::optional<asyncio::SocketAddress> remote = {});

/// Reads from the bare end until n bytes are there or the end came, while the loop goes on.
asyncio::Coroutine<std::string> receive(int fd, std::size_t n);
inline constexpr std::size_t TO_THE_END = -1;

}  // namespace test
