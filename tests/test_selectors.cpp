// What a selector reports, and when. Both selectors keep the same promises, on real pipes and sockets.
// Upstream counterpart: Lib/test/test_selectors.py.
#include "selectors/selectors.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/net.hpp"

using selectors::PollSelector;
#if !defined(ASYNCIO_NO_EPOLL)
using selectors::EpollSelector;
#endif
using selectors::EVENT_READ, selectors::EVENT_WRITE;
using selectors::KeyError, selectors::RuntimeError, selectors::ValueError;

namespace {

#if !defined(ASYNCIO_NO_EPOLL)
/// How many descriptors the kernel watches for all epoll instances of this process.
int watched_by_epoll() {
  int watched = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream info(entry.path());
    for (std::string line; std::getline(info, line);) watched += line.compare(0, 4, "tfd:") == 0;
  }
  return watched;
}
#endif

double monotonic() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

using Reported = std::vector<std::pair<int, unsigned>>;
using test::Fd, test::open_fds, test::Pipe, test::reopen_as, test::SocketPair;

/// Descriptors and events of one select, by descriptor.
Reported select(selectors::BaseSelector& selector, std::optional<double> timeout) {
  Reported reported;
  for (const auto& [key, events] : selector.select(timeout)) reported.emplace_back(key.fd, events);
  std::sort(reported.begin(), reported.end());
  return reported;
}

bool same(const selectors::SelectorKey& a, const selectors::SelectorKey& b) {
  return a.fd == b.fd && a.events == b.events && a.data == b.data;
}

/// SIGALRM every millisecond, with a handler that does not ask for restarts, until the end of the scope.
class Alarms {
 public:
  explicit Alarms(int write_to = -1, int after = 0) {
    count = 0;
    fd = write_to;
    write_after = after;
    struct sigaction action = {};
    action.sa_handler = on_alarm;
    REQUIRE(::sigaction(SIGALRM, &action, &saved_) == 0);
    const itimerval every_millisecond{{0, 1000}, {0, 1000}};
    REQUIRE(::setitimer(ITIMER_REAL, &every_millisecond, nullptr) == 0);
  }
  ~Alarms() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::sigaction(SIGALRM, &saved_, nullptr);
  }
  static inline volatile sig_atomic_t count = 0;

 private:
  static void on_alarm(int) {
    count = count + 1;
    if (count != write_after) return;
    [[maybe_unused]] const auto written = ::write(fd, "x", 1);
  }
  static inline int fd = -1, write_after = 0;
  struct sigaction saved_;
};

}  // namespace

#if defined(ASYNCIO_NO_EPOLL)
#define BOTH selectors::PollSelector
#else
#define BOTH selectors::EpollSelector, selectors::PollSelector
#endif

// ---- register

TEMPLATE_TEST_CASE("register_ returns the registration: descriptor, events and data", "[test_selectors.test_register]",
                   BOTH) {
  TestType selector;
  const Pipe pipe;
  int data = 0;
  const selectors::SelectorKey key = selector.register_(pipe.reader, EVENT_READ, &data);
  CHECK(key.fd == pipe.reader);
  CHECK(key.events == EVENT_READ);
  CHECK(key.data == &data);
}

TEMPLATE_TEST_CASE("the data of a registration is null unless given", "[test_selectors.test_register]", BOTH) {
  TestType selector;
  const Pipe pipe;
  CHECK(selector.register_(pipe.reader, EVENT_READ).data == nullptr);
}

TEMPLATE_TEST_CASE("an empty or unknown event mask is a ValueError and registers nothing",
                   "[test_selectors.test_register][rule-8]", BOTH) {
  TestType selector;
  const Pipe pipe;
  REQUIRE_THROWS_AS(selector.register_(pipe.reader, 0), ValueError);
  REQUIRE_THROWS_AS(selector.register_(pipe.reader, 999999), ValueError);
  REQUIRE_THROWS_AS(selector.register_(pipe.reader, EVENT_READ | 4), ValueError);
  CHECK(selector.size() == 0);
}

TEMPLATE_TEST_CASE("a negative descriptor is a ValueError", "[test_selectors.test_register][rule-8]", BOTH) {
  TestType selector;
  REQUIRE_THROWS_AS(selector.register_(-10, EVENT_READ), ValueError);
  REQUIRE_THROWS_AS(selector.register_(-1, EVENT_READ), ValueError);
  CHECK(selector.size() == 0);
}

TEMPLATE_TEST_CASE("registering a descriptor twice is a KeyError and leaves the first registration",
                   "[test_selectors.test_register][rule-8]", BOTH) {
  TestType selector;
  const Pipe pipe;
  int data = 0;
  const selectors::SelectorKey key = selector.register_(pipe.reader, EVENT_READ, &data);
  REQUIRE_THROWS_AS(selector.register_(pipe.reader, EVENT_READ), KeyError);
  REQUIRE_THROWS_AS(selector.register_(pipe.reader, EVENT_WRITE), KeyError);
  CHECK(selector.size() == 1);
  CHECK(same(selector.get_key(pipe.reader), key));
}

TEMPLATE_TEST_CASE("a descriptor that is not open is EBADF and stays unregistered",
                   "[test_selectors.test_register_bad_fd][rule-8]", BOTH) {
  TestType selector;
  Pipe pipe;
  const int closed = pipe.reader;
  pipe.reader.close();
  try {
    selector.register_(closed, EVENT_READ);
    FAIL("no exception");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::bad_file_descriptor);
  }
  CHECK(selector.size() == 0);
  REQUIRE_THROWS_AS(selector.get_key(closed), KeyError);
  const Fd reopened = reopen_as(closed, pipe.writer);
  CHECK(selector.register_(reopened, EVENT_WRITE).fd == closed);
}

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("epoll refuses a regular file with EPERM, says so, and leaves it unregistered",
          "[test_selectors.test_register_file][rule-8]") {
  EpollSelector selector;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  const int fd = ::fileno(file);
  try {
    selector.register_(fd, EVENT_READ);
    FAIL("no exception");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::operation_not_permitted);
    CHECK(std::string(error.what()).find("regular file") != std::string::npos);
  }
  CHECK(selector.size() == 0);
  REQUIRE_THROWS_AS(selector.get_key(fd), KeyError);
  std::fclose(file);
}
#endif

TEST_CASE("poll takes a regular file and finds it always ready", "[test_selectors.test_register_file]") {
  PollSelector selector;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  const int fd = ::fileno(file);
  selector.register_(fd, EVENT_READ | EVENT_WRITE);
  CHECK(select(selector, 0) == Reported{{fd, EVENT_READ | EVENT_WRITE}});
  std::fclose(file);
}

// ---- unregister

TEMPLATE_TEST_CASE("unregister returns the registration that ends", "[test_selectors.test_unregister]", BOTH) {
  TestType selector;
  const Pipe pipe;
  int data = 0;
  const selectors::SelectorKey key = selector.register_(pipe.reader, EVENT_READ, &data);
  CHECK(same(selector.unregister(pipe.reader), key));
  CHECK(selector.size() == 0);
}

TEMPLATE_TEST_CASE("unregistering what is not registered is a KeyError", "[test_selectors.test_unregister][rule-8]",
                   BOTH) {
  TestType selector;
  const Pipe pipe;
  REQUIRE_THROWS_AS(selector.unregister(999999), KeyError);
  REQUIRE_THROWS_AS(selector.unregister(-1), KeyError);
  REQUIRE_THROWS_AS(selector.unregister(pipe.reader), KeyError);
  selector.register_(pipe.reader, EVENT_READ);
  selector.unregister(pipe.reader);
  REQUIRE_THROWS_AS(selector.unregister(pipe.reader), KeyError);
}

TEMPLATE_TEST_CASE("an unregistered descriptor is not reported any more, and can be registered again",
                   "[test_selectors.test_unregister]", BOTH) {
  TestType selector;
  const Pipe pipe;
  pipe.send();
  selector.register_(pipe.reader, EVENT_READ);
  selector.unregister(pipe.reader);
  CHECK(select(selector, 0).empty());
  selector.register_(pipe.reader, EVENT_READ);
  CHECK(select(selector, 0) == Reported{{pipe.reader, EVENT_READ}});
}

TEMPLATE_TEST_CASE("unregister succeeds also when the descriptor was closed meanwhile",
                   "[test_selectors.test_unregister_after_fd_close]", BOTH) {
  TestType selector;
  Pipe pipe;
  const int reader = pipe.reader, writer = pipe.writer;
  selector.register_(reader, EVENT_READ);
  selector.register_(writer, EVENT_WRITE);
  pipe.reader.close();
  pipe.writer.close();
  CHECK(selector.unregister(reader).fd == reader);
  CHECK(selector.unregister(writer).fd == writer);
  CHECK(selector.size() == 0);
}

TEMPLATE_TEST_CASE("unregister succeeds also when another file has the number now",
                   "[test_selectors.test_unregister_after_fd_close_and_reuse]", BOTH) {
  TestType selector;
  SocketPair first;
  const SocketPair second;
  const int a = first.a, b = first.b;
  selector.register_(a, EVENT_READ);
  selector.register_(b, EVENT_WRITE);
  first.a.close();
  first.b.close();
  const Fd reused_a = reopen_as(a, second.a), reused_b = reopen_as(b, second.b);
  CHECK(selector.unregister(a).fd == a);
  CHECK(selector.unregister(b).fd == b);
  CHECK(select(selector, 0).empty());
}

TEMPLATE_TEST_CASE("unregister succeeds also when the socket was closed meanwhile",
                   "[test_selectors.test_unregister_after_socket_close]", BOTH) {
  TestType selector;
  SocketPair sockets;
  const int a = sockets.a, b = sockets.b;
  selector.register_(a, EVENT_READ);
  selector.register_(b, EVENT_WRITE);
  sockets.a.close();
  sockets.b.close();
  selector.unregister(a);
  selector.unregister(b);
  CHECK(selector.size() == 0);
}

// ---- modify

TEMPLATE_TEST_CASE("modify changes which events are waited for", "[test_selectors.test_modify]", BOTH) {
  TestType selector;
  const SocketPair sockets;
  selector.register_(sockets.a, EVENT_READ);
  CHECK(select(selector, 0).empty());
  const selectors::SelectorKey key = selector.modify(sockets.a, EVENT_WRITE);
  CHECK(key.events == EVENT_WRITE);
  CHECK(same(key, selector.get_key(sockets.a)));
  CHECK(select(selector, 0) == Reported{{sockets.a, EVENT_WRITE}});
  selector.modify(sockets.a, EVENT_READ);
  CHECK(select(selector, 0).empty());
}

TEMPLATE_TEST_CASE("modify changes the data, which the next select reports", "[test_selectors.test_modify]", BOTH) {
  TestType selector;
  const Pipe pipe;
  int first = 0, second = 0;
  selector.register_(pipe.writer, EVENT_WRITE, &first);
  const selectors::SelectorKey key = selector.modify(pipe.writer, EVENT_WRITE, &second);
  CHECK(key.events == EVENT_WRITE);
  CHECK(key.data == &second);
  CHECK(same(key, selector.get_key(pipe.writer)));
  CHECK(selector.select(0)[0].key.data == &second);
}

TEMPLATE_TEST_CASE("modifying what is not registered is a KeyError", "[test_selectors.test_modify][rule-8]", BOTH) {
  TestType selector;
  const Pipe pipe;
  REQUIRE_THROWS_AS(selector.modify(999999, EVENT_READ), KeyError);
  REQUIRE_THROWS_AS(selector.modify(pipe.reader, EVENT_READ), KeyError);
  CHECK(selector.size() == 0);
}

TEMPLATE_TEST_CASE("modifying to an empty or unknown mask is a ValueError and changes nothing",
                   "[test_selectors.test_modify][rule-8]", BOTH) {
  TestType selector;
  const Pipe pipe;
  const selectors::SelectorKey key = selector.register_(pipe.writer, EVENT_WRITE);
  REQUIRE_THROWS_AS(selector.modify(pipe.writer, 0), ValueError);
  REQUIRE_THROWS_AS(selector.modify(pipe.writer, 999999), ValueError);
  CHECK(same(selector.get_key(pipe.writer), key));
  CHECK(select(selector, 0) == Reported{{pipe.writer, EVENT_WRITE}});
}

TEMPLATE_TEST_CASE("a modify that the kernel refuses unregisters the descriptor",
                   "[test_selectors.test_modify_unregister]", BOTH) {
  TestType selector;
  Pipe pipe;
  const int reader = pipe.reader;
  selector.register_(reader, EVENT_READ);
  pipe.reader.close();
  REQUIRE_THROWS_AS(selector.modify(reader, EVENT_WRITE), std::system_error);
  CHECK(selector.size() == 0);
  REQUIRE_THROWS_AS(selector.get_key(reader), KeyError);
}

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("under epoll, modify notices that the number belongs to another file now",
          "[test_selectors.test_modify_unregister][rule-8]") {
  EpollSelector selector;
  Pipe first;
  const Pipe second;
  const int reader = first.reader;
  selector.register_(reader, EVENT_READ);
  first.reader.close();
  const Fd reused = reopen_as(reader, second.reader);
  try {
    selector.modify(reader, EVENT_READ | EVENT_WRITE);
    FAIL("no exception");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::no_such_file_or_directory);
  }
  CHECK(selector.size() == 0);
  selector.register_(reader, EVENT_READ);
  second.send();
  CHECK(select(selector, 0) == Reported{{reader, EVENT_READ}});
}
#endif

// ---- get_key, size, close

TEMPLATE_TEST_CASE("get_key finds a registration, and is a KeyError for anything else", "[test_selectors.test_get_key]",
                   BOTH) {
  TestType selector;
  const Pipe pipe;
  int data = 0;
  const selectors::SelectorKey key = selector.register_(pipe.reader, EVENT_READ, &data);
  CHECK(same(selector.get_key(pipe.reader), key));
  REQUIRE_THROWS_AS(selector.get_key(pipe.writer), KeyError);
  REQUIRE_THROWS_AS(selector.get_key(999999), KeyError);
  REQUIRE_THROWS_AS(selector.get_key(-1), KeyError);
}

TEMPLATE_TEST_CASE("size counts the registrations", "[test_selectors.test_get_map]", BOTH) {
  TestType selector;
  const Pipe pipe;
  CHECK(selector.size() == 0);
  selector.register_(pipe.reader, EVENT_READ);
  CHECK(selector.size() == 1);
  selector.register_(pipe.writer, EVENT_WRITE);
  CHECK(selector.size() == 2);
  selector.modify(pipe.writer, EVENT_WRITE);
  CHECK(selector.size() == 2);
  selector.unregister(pipe.reader);
  CHECK(selector.size() == 1);
}

TEMPLATE_TEST_CASE("a closed selector has no registrations, and using it is a RuntimeError",
                   "[test_selectors.test_close][rule-8]", BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  selector.register_(pipe.writer, EVENT_WRITE);
  selector.close();
  CHECK(selector.size() == 0);
  REQUIRE_THROWS_AS(selector.get_key(pipe.reader), RuntimeError);
  REQUIRE_THROWS_AS(selector.get_key(pipe.writer), RuntimeError);
  REQUIRE_THROWS_AS(selector.register_(pipe.reader, EVENT_READ), RuntimeError);
  REQUIRE_THROWS_AS(selector.unregister(pipe.reader), RuntimeError);
  REQUIRE_THROWS_AS(selector.modify(pipe.reader, EVENT_WRITE), RuntimeError);
  REQUIRE_THROWS_AS(selector.select(0), RuntimeError);
}

TEMPLATE_TEST_CASE("closing a selector twice has no effect", "[test_selectors.test_close]", BOTH) {
  TestType selector;
  selector.close();
  selector.close();
  REQUIRE_THROWS_AS(selector.select(0), RuntimeError);
}

TEMPLATE_TEST_CASE("a selector gives its own descriptor back when it is closed or destroyed",
                   "[test_selectors.test_context_manager][rule-7]", BOTH) {
  const Pipe pipe;
  const std::ptrdiff_t before = open_fds();
  {
    TestType closed, destroyed;
    closed.register_(pipe.reader, EVENT_READ);
    destroyed.register_(pipe.reader, EVENT_READ);
    closed.close();
  }
  CHECK(open_fds() == before);
}

TEMPLATE_TEST_CASE("closing a selector leaves the registered descriptors open", "[test_selectors.test_close]", BOTH) {
  const Pipe pipe;
  TestType selector;
  selector.register_(pipe.reader, EVENT_READ);
  selector.close();
  CHECK(::fcntl(pipe.reader, F_GETFD) >= 0);
}

// ---- select

TEMPLATE_TEST_CASE("select reports who is ready, and nobody else", "[test_selectors.test_select]", BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  const selectors::SelectorKey writer = selector.register_(pipe.writer, EVENT_WRITE);
  const auto ready = selector.select();
  REQUIRE(ready.size() == 1);
  CHECK(same(ready[0].key, writer));
  CHECK(ready[0].events == EVENT_WRITE);
}

TEMPLATE_TEST_CASE("readable and writable at once is reported by one select", "[test_selectors.test_select_read_write]",
                   BOTH) {
  TestType selector;
  const SocketPair sockets;
  REQUIRE(::write(sockets.b, "foo", 3) == 3);
  selector.register_(sockets.a, EVENT_READ | EVENT_WRITE);
  CHECK(select(selector, std::nullopt) == Reported{{sockets.a, EVENT_READ | EVENT_WRITE}});
}

TEMPLATE_TEST_CASE("of what happened, only the events asked for are reported", "[test_selectors.test_select]", BOTH) {
  TestType selector;
  const SocketPair sockets;
  REQUIRE(::write(sockets.b, "foo", 3) == 3);
  selector.register_(sockets.a, EVENT_WRITE);
  CHECK(select(selector, 0) == Reported{{sockets.a, EVENT_WRITE}});
  selector.modify(sockets.a, EVENT_READ);
  CHECK(select(selector, 0) == Reported{{sockets.a, EVENT_READ}});
}

TEMPLATE_TEST_CASE("a descriptor is reported again until its data has been read", "[test_selectors.test_select]",
                   BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  pipe.send();
  CHECK(select(selector, 0).size() == 1);
  CHECK(select(selector, 0).size() == 1);
  REQUIRE(pipe.receive() == "x");
  CHECK(select(selector, 0).empty());
}

TEMPLATE_TEST_CASE("a peer that hung up counts as readable and writable, cut to what was asked for",
                   "[test_selectors.test_select]", BOTH) {
  TestType selector;
  SocketPair sockets;
  sockets.b.close();
  selector.register_(sockets.a, EVENT_READ);
  CHECK(select(selector, 0) == Reported{{sockets.a, EVENT_READ}});
  selector.modify(sockets.a, EVENT_WRITE);
  CHECK(select(selector, 0) == Reported{{sockets.a, EVENT_WRITE}});
  selector.modify(sockets.a, EVENT_READ | EVENT_WRITE);
  CHECK(select(selector, 0) == Reported{{sockets.a, EVENT_READ | EVENT_WRITE}});
}

TEMPLATE_TEST_CASE("the end of a pipe whose writer has gone is readable", "[test_selectors.test_select]", BOTH) {
  TestType selector;
  Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  CHECK(select(selector, 0).empty());
  pipe.writer.close();
  CHECK(select(selector, std::nullopt) == Reported{{pipe.reader, EVENT_READ}});
}

TEMPLATE_TEST_CASE("a pipe that nobody reads any more is an error, reported as writable",
                   "[test_selectors.test_select]", BOTH) {
  TestType selector;
  Pipe pipe;
  selector.register_(pipe.writer, EVENT_WRITE);
  pipe.reader.close();
  CHECK(select(selector, 0) == Reported{{pipe.writer, EVENT_WRITE}});
}

TEMPLATE_TEST_CASE("a full pipe that nobody reads any more is writable: the write will say what is wrong",
                   "[test_selectors.test_select]", BOTH) {
  Pipe pipe;
  REQUIRE(::fcntl(pipe.writer, F_SETFL, O_NONBLOCK) == 0);
  const std::string bytes(65536, 'x');
  while (::write(pipe.writer, bytes.data(), bytes.size()) > 0) {}
  TestType selector;
  selector.register_(pipe.writer, EVENT_WRITE);
  CHECK(select(selector, 0).empty());
  pipe.reader.close();
  CHECK(select(selector, 0) == Reported{{pipe.writer, EVENT_WRITE}});
}

TEMPLATE_TEST_CASE("twelve pairs: what is written to one is reported for its peer alone",
                   "[test_selectors.test_selector]", BOTH) {
  TestType selector;
  std::vector<SocketPair> pairs(12);
  for (const SocketPair& pair : pairs) {
    selector.register_(pair.a, EVENT_READ);
    selector.register_(pair.b, EVENT_WRITE);
  }
  for (std::size_t left = pairs.size(); left > 0; --left) {
    CHECK(select(selector, std::nullopt).size() == left);  // all writers
    const SocketPair& pair = pairs[left / 2];
    REQUIRE(::write(pair.b, "message", 7) == 7);
    const Reported ready = select(selector, std::nullopt);
    CHECK(std::count_if(ready.begin(), ready.end(), [](const auto& event) { return event.second & EVENT_READ; }) == 1);
    CHECK(std::count(ready.begin(), ready.end(), std::pair<int, unsigned>(pair.a, EVENT_READ)) == 1);
    selector.unregister(pair.a);
    selector.unregister(pair.b);
    pairs.erase(pairs.begin() + static_cast<long>(left / 2));
  }
  CHECK(selector.size() == 0);
}

TEMPLATE_TEST_CASE("a selector without registrations reports nothing", "[test_selectors.test_empty_select]", BOTH) {
  TestType selector;
  CHECK(selector.select(0).empty());
  CHECK(selector.select(-1).empty());
}

TEMPLATE_TEST_CASE("a selector without registrations waits for the timeout all the same",
                   "[test_selectors.test_empty_select_timeout]", BOTH) {
  TestType selector;
  const double start = monotonic();
  CHECK(selector.select(0.003).empty());
  CHECK(monotonic() - start >= 0.003);
}

TEMPLATE_TEST_CASE("a timeout of zero or less polls", "[test_selectors.test_timeout]", BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  const double start = monotonic();
  CHECK(selector.select(0).empty());
  CHECK(selector.select(-1).empty());
  CHECK(selector.select(-std::numeric_limits<double>::infinity()).empty());
  selector.register_(pipe.writer, EVENT_WRITE);
  CHECK(selector.select(0).size() == 1);
  CHECK(selector.select(-1).size() == 1);
  CHECK(monotonic() - start < 0.9);
}

TEMPLATE_TEST_CASE("select never returns empty early, however short the timeout", "[test_selectors.test_timeout]",
                   BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  for (const double timeout : {1e-9, 1e-6, 1e-5, 1.5e-4, 9.999e-4, 1.0001e-3, 2.5e-3}) {
    const double start = monotonic();
    CHECK(selector.select(timeout).empty());
    CHECK(monotonic() - start >= timeout);
  }
}

TEMPLATE_TEST_CASE("a wait of sub-millisecond length is not stretched to milliseconds",
                   "[test_selectors.test_timeout][nanoseconds]", BOTH) {
  TestType selector;
  double best = 1;  // the shortest of many: an idle moment of the machine is enough
  for (int i = 0; i < 50; ++i) {
    const double start = monotonic();
    selector.select(1e-5);
    best = std::min(best, monotonic() - start);
  }
  CHECK(best < 9e-4);
}

TEMPLATE_TEST_CASE("a blocked select returns when a descriptor gets ready", "[test_selectors.test_select]", BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  const bool limited = GENERATE(true, false);
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    [[maybe_unused]] const auto written = ::write(pipe.writer, "x", 1);
  });
  const Reported ready = select(selector, limited ? std::optional(60.0) : std::nullopt);
  writer.join();
  CHECK(ready == Reported{{pipe.reader, EVENT_READ}});
}

TEMPLATE_TEST_CASE("a signal does not shorten a wait: it goes on with the time that is left",
                   "[test_selectors.test_select_interrupt_noraise]", BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  const Alarms alarms;
  const double start = monotonic();
  CHECK(selector.select(0.006).empty());
  CHECK(monotonic() - start >= 0.006);
  CHECK(Alarms::count > 0);
}

TEMPLATE_TEST_CASE("a signal does not end a wait without timeout, data does",
                   "[test_selectors.test_select_interrupt_noraise]", BOTH) {
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  const Alarms alarms(pipe.writer, 3);  // the third signal writes a byte
  CHECK(select(selector, std::nullopt) == Reported{{pipe.reader, EVENT_READ}});
  CHECK(Alarms::count >= 3);
}

TEMPLATE_TEST_CASE("a host's function is called when a signal interrupts a wait, and what it throws ends the wait",
                   "[test_selectors.test_select_interrupt_exc]", BOTH) {
  struct Interrupted {};
  struct Host {  // while it lives
    Host() {
      selectors::interrupted = [] {
        if (Alarms::count >= 2) throw Interrupted();
      };
    }
    ~Host() {
      selectors::interrupted = [] {};
    }
  } const host;
  TestType selector;
  const Pipe pipe;
  selector.register_(pipe.reader, EVENT_READ);
  {
    const Alarms alarms;
    REQUIRE_THROWS_AS(selector.select(), Interrupted);
    CHECK(Alarms::count >= 2);
  }
  pipe.send();
  CHECK(select(selector, 60.0) == Reported{{pipe.reader, EVENT_READ}});
}

TEMPLATE_TEST_CASE("more descriptors than FD_SETSIZE, all ready, are reported by one select",
                   "[test_selectors.test_above_fd_setsize]", BOTH) {
  rlimit saved;
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &saved) == 0);
  rlimit raised = saved;
  raised.rlim_cur = std::min<rlim_t>(saved.rlim_max, 4096);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &raised) == 0);
  {
    const std::size_t wanted = raised.rlim_cur > 2500 ? 1100 : raised.rlim_cur / 2 - 50;
    TestType selector;
    const std::vector<SocketPair> pairs(wanted);
    for (const SocketPair& pair : pairs) {
      selector.register_(pair.a, EVENT_READ);
      selector.register_(pair.b, EVENT_WRITE);
    }
    CHECK(selector.size() == 2 * wanted);
    CHECK(selector.select().size() == wanted);
  }
  ::setrlimit(RLIMIT_NOFILE, &saved);
}

// ---- numbers that are closed and used again

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("epoll forgets a file that is closed: the next owner of its number is not reported", "[selectors][rule-7]") {
  EpollSelector selector;
  Pipe first;
  const Pipe second;
  const int number = first.reader;
  selector.register_(number, EVENT_READ);
  first.reader.close();
  const Fd reused = reopen_as(number, second.reader);
  second.send();
  CHECK(select(selector, 0).empty());
  CHECK(selector.unregister(number).fd == number);
}
#endif

TEMPLATE_TEST_CASE("a number that is unregistered after the close and registered anew reports the new file",
                   "[selectors][rule-7]", BOTH) {
  TestType selector;
  Pipe first;
  const Pipe second;
  int old_data = 0, new_data = 0;
  const int number = first.reader;
  selector.register_(number, EVENT_READ, &old_data);
  first.reader.close();
  selector.unregister(number);
  const Fd reused = reopen_as(number, second.reader);
  selector.register_(number, EVENT_READ, &new_data);
  CHECK(select(selector, 0).empty());
  second.send();
  const auto ready = selector.select(0);
  REQUIRE(ready.size() == 1);
  CHECK(ready[0].key.data == &new_data);
}

TEMPLATE_TEST_CASE("an unregistered file that lives on as a duplicate is not reported", "[selectors][rule-7]", BOTH) {
  TestType selector;
  Pipe pipe;
  const int number = pipe.reader;
  const Fd duplicate(::dup(number));
  selector.register_(number, EVENT_READ);
  pipe.reader.close();
  selector.unregister(number);
  pipe.send();
  CHECK(select(selector, 0).empty());
  CHECK(select(selector, 0).empty());
}

TEMPLATE_TEST_CASE("select waits its time also when an unregistered file lives on as a duplicate",
                   "[selectors][rule-7]", BOTH) {
  TestType selector;
  Pipe pipe;
  const int number = pipe.reader;
  const Fd duplicate(::dup(number));
  selector.register_(number, EVENT_READ);
  pipe.reader.close();
  selector.unregister(number);
  pipe.send();
  const double start = monotonic();
  CHECK(selector.select(0.004).empty());
  CHECK(monotonic() - start >= 0.004);
}

TEMPLATE_TEST_CASE("the new owner of a number never gets events of the old file, which lives on as a duplicate",
                   "[selectors][rule-7]", BOTH) {
  TestType selector;
  Pipe first;
  const Pipe second;
  int old_data = 0, new_data = 0;
  const int number = first.reader;
  const Fd duplicate(::dup(number));
  selector.register_(number, EVENT_READ, &old_data);
  first.reader.close();
  selector.unregister(number);
  const Fd reused = reopen_as(number, second.reader);
  selector.register_(number, EVENT_READ, &new_data);
  first.send();
  CHECK(select(selector, 0).empty());
  CHECK(select(selector, 0).empty());
  second.send();
  const auto ready = selector.select(0);
  REQUIRE(ready.size() == 1);
  CHECK(ready[0].key.fd == number);
  CHECK(ready[0].key.data == &new_data);
}

TEMPLATE_TEST_CASE("events of an old file that lives on as a duplicate do not cost others their registration",
                   "[selectors][rule-7]", BOTH) {
  TestType selector;
  Pipe old;
  const Pipe bystander;
  int data = 0;
  const int number = old.reader;
  const Fd duplicate(::dup(number));
  selector.register_(number, EVENT_READ);
  selector.register_(bystander.reader, EVENT_READ, &data);
  old.reader.close();
  selector.unregister(number);
  old.send();
  CHECK(select(selector, 0).empty());
  bystander.send();
  for (int i = 0; i < 2; ++i) {
    const auto ready = selector.select(0);
    REQUIRE(ready.size() == 1);
    CHECK(ready[0].key.data == &data);
  }
  selector.modify(bystander.reader, EVENT_READ);
  CHECK(selector.select(0).size() == 1);
  selector.unregister(bystander.reader);
  CHECK(selector.select(0).empty());
}

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("under epoll, an old file that lives on as a duplicate is reported once, then not watched any more",
          "[selectors][rule-7]") {
  const int watched_before = watched_by_epoll();
  EpollSelector selector;
  Pipe old;
  const int number = old.reader;
  const Fd duplicate(::dup(number));
  selector.register_(number, EVENT_READ);
  old.reader.close();
  selector.unregister(number);
  CHECK(watched_by_epoll() == watched_before + 1);
  old.send();
  CHECK(select(selector, 0).empty());
  CHECK(watched_by_epoll() == watched_before);
}

TEST_CASE("under epoll, a descriptor that was closed and not unregistered is forgotten when an old file is got rid of",
          "[selectors][rule-7]") {
  EpollSelector selector;
  Pipe old, closed;
  const Pipe bystander;
  int data = 0;
  const int number = old.reader;
  const Fd duplicate(::dup(number));
  selector.register_(number, EVENT_READ);
  selector.register_(closed.reader, EVENT_READ);
  selector.register_(bystander.reader, EVENT_READ, &data);
  old.reader.close();
  selector.unregister(number);
  closed.reader.close();
  old.send();
  CHECK(select(selector, 0).empty());
  bystander.send();
  const auto ready = selector.select(0);
  REQUIRE(ready.size() == 1);
  CHECK(ready[0].key.data == &data);
}
#endif

// ---- the class itself

#if !defined(ASYNCIO_NO_EPOLL)
TEST_CASE("the default selector of Linux is epoll", "[selectors]") {
  STATIC_REQUIRE(std::is_same_v<selectors::DefaultSelector, selectors::EpollSelector>);
}
#endif

TEST_CASE("a selector of one's own needs nothing but select", "[selectors]") {
  struct Never : selectors::BaseSelector {
    std::span<const selectors::SelectorEvent> select(std::optional<double>) override { return {}; }
  } selector;
  int data = 0;
  CHECK(selector.register_(7, EVENT_READ, &data).data == &data);
  REQUIRE_THROWS_AS(selector.register_(7, EVENT_READ), KeyError);
  REQUIRE_THROWS_AS(selector.register_(-1, EVENT_READ), ValueError);
  CHECK(selector.modify(7, EVENT_WRITE).events == EVENT_WRITE);
  CHECK(selector.get_key(7).events == EVENT_WRITE);
  CHECK(selector.size() == 1);
  CHECK(selector.unregister(7).fd == 7);
  REQUIRE_THROWS_AS(selector.get_key(7), KeyError);
  selector.close();
  REQUIRE_THROWS_AS(selector.register_(7, EVENT_READ), RuntimeError);
}
