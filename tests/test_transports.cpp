// Transports and their protocols over real sockets: in which order a protocol is called, what is buffered, what closes and
// what that loses.
// Upstream counterpart: Lib/test/test_asyncio/test_transports.py, and SelectorSocketTransportTests of
// test_selector_events.py.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>

#include <functional>

#include "tests/net.hpp"

using asyncio::Coroutine, asyncio::describe, asyncio::getsockname, asyncio::holds, asyncio::sleep;
using asyncio::SocketAddress, asyncio::Transport;
using asyncio::ValueError;
using test::Calls, test::CaptureCerr, test::code_of, test::connected, test::Connected;
using test::digits, test::endpoint, test::Endpoint, test::Fd, test::fill, test::Instance, test::is_open;
using test::MEGABYTE, test::NetLoop, test::raised, test::receive, test::receive_all, test::Recorder, test::send_all;
using test::socket_pair, test::tcp_pair, test::TO_THE_END, test::until;

namespace {

/// A recorder with hooks.
struct Scripted : Recorder {
  void connection_made(std::shared_ptr<Transport> made) override {
    Recorder::connection_made(std::move(made));
    if (on_made) on_made(*this);
  }
  void data_received(std::string_view bytes) override {
    Recorder::data_received(bytes);
    if (on_data) on_data(*this);
  }
  bool eof_received() override {
    const bool answer = Recorder::eof_received();
    if (on_eof) on_eof(*this);
    return answer;
  }
  void connection_lost(std::exception_ptr exception) override {
    const auto last = transport;
    Recorder::connection_lost(std::move(exception));
    transport = last;
    if (on_lost) on_lost(*this);
    transport = nullptr;
  }
  void pause_writing() override {
    Recorder::pause_writing();
    if (on_pause) on_pause(*this);
  }
  void resume_writing() override {
    Recorder::resume_writing();
    if (on_resume) on_resume(*this);
  }
  using Hook = std::function<void(Scripted&)>;
  Hook on_made, on_data, on_eof, on_lost, on_pause, on_resume;
};

std::string joined(const Calls& calls) {
  std::string text;
  for (const std::string& call : calls) text += (text.empty() ? "" : " ") + call;
  return text;
}

}  // namespace

// ---- Reading

TEST_CASE("connection_made comes before any data, even when the data was there first", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto pair = tcp_pair();
    send_all(pair.second, "early");
    auto c = co_await connected(loop, std::make_shared<Recorder>(), std::move(pair));
    CHECK(c.protocol->calls.front() == "made");
    co_await until([&] { return c.protocol->data == "early"; });
    CHECK(c.protocol->calls == Calls{"made", "data"});
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("create_connection returns when connection_made was called, with what it was called with", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    CHECK(c.protocol->calls == Calls{"made"});
    CHECK(c.protocol->transport == c.transport);
    CHECK(c.transport->get_protocol() == c.protocol);
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A connection's life is made, data, eof, lost", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    send_all(c.peer, "hello");
    c.peer.close();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->calls == Calls{"made", "data", "eof", "lost"});
    CHECK(c.protocol->data == "hello");
    CHECK(c.protocol->error == nullptr);
    CHECK(c.transport->is_closing());
  });
}

TEST_CASE("A protocol that pauses reading in connection_made gets no data until it resumes", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto pair = tcp_pair();
    send_all(pair.second, "early");
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_made = [](Scripted& self) { self.transport->pause_reading(); };
    auto c = co_await connected<Scripted>(loop, protocol, std::move(pair));
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(protocol->calls == Calls{"made"});
    CHECK(!c.transport->is_reading());
    c.transport->resume_reading();
    co_await until([&] { return protocol->data == "early"; });
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
  });
}

TEST_CASE("connection_lost runs in a copy of the context in which the transport was closed",
          "[transports][test_selector_events.test_close]") {
  NetLoop loop;
  loop.run([&]() -> Coroutine<> {
    asyncio::ContextVar<int> variable("variable", 1);
    struct Sees : Recorder {
      explicit Sees(asyncio::ContextVar<int>& one) : variable(one) {}
      void connection_lost(std::exception_ptr exception) override {
        seen = variable.get();
        variable.set(3);
        Recorder::connection_lost(std::move(exception));
      }
      asyncio::ContextVar<int>& variable;
      int seen = 0;
    };
    for (const bool aborted : {false, true}) {
      const auto c = co_await connected(loop, std::make_shared<Sees>(variable), socket_pair());
      const asyncio::Token token = variable.set(2);
      aborted ? c.transport->abort() : c.transport->close();
      variable.reset(token);
      co_await until([&] { return c.protocol->lost == 1; });
      CHECK(c.protocol->seen == 2);
      CHECK(variable.get() == 1);
    }
  });
}

TEST_CASE("What connection_made sets in its context the reader does not see, as on CPython", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto pair = tcp_pair();
    send_all(pair.second, "early");
    asyncio::ContextVar<int> variable("variable", 1);
    int seen = 0;
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_made = [&](Scripted&) { variable.set(2); };
    protocol->on_data = [&](Scripted&) { seen = variable.get(); };
    auto c = co_await connected<Scripted>(loop, protocol, std::move(pair));
    co_await until([&] { return protocol->data == "early"; });
    CHECK(seen == 1);
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
  });
}

TEST_CASE("resume_reading does not make a transport read that is closing", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    fill(c.transport->fd());
    c.transport->write("x");  // so that it stays open for a while
    c.transport->pause_reading();
    c.transport->close();
    c.transport->resume_reading();
    send_all(c.peer, "nobody hears this");
    for (int i = 0; i < 3; ++i) co_await sleep(0);
    CHECK(c.protocol->calls == Calls{"made"});
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A transport that was aborted is freed when its connection is lost", "[transports][rule-7]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    const std::weak_ptr<Transport> watched = c.transport;
    c.transport->abort();
    c.transport.reset();
    co_await until([&] { return c.protocol->lost == 1; });
    co_await sleep(0);
    CHECK(watched.expired());
  });
}

TEST_CASE("pause_reading and resume_reading may be called again and again", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    CHECK(c.transport->is_reading());
    c.transport->resume_reading();
    CHECK(c.transport->is_reading());
    c.transport->pause_reading();
    c.transport->pause_reading();
    CHECK(!c.transport->is_reading());
    send_all(c.peer, "x");
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(c.protocol->data == "");
    c.transport->resume_reading();
    c.transport->resume_reading();
    CHECK(c.transport->is_reading());
    co_await until([&] { return c.protocol->data == "x"; });
    c.transport->close();
    CHECK(!c.transport->is_reading());
    c.transport->pause_reading();
    c.transport->resume_reading();
    CHECK(!c.transport->is_reading());
    co_await until([&] { return c.protocol->lost == 1; });
    c.transport->pause_reading();
    c.transport->resume_reading();
    CHECK(!c.transport->is_reading());
  });
}

TEST_CASE("A paused transport does not notice that the other end has closed until it reads again", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->pause_reading();
    send_all(c.peer, "last words");
    c.peer.close();
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(c.protocol->calls == Calls{"made"});
    c.transport->resume_reading();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->data == "last words");
  });
}

TEST_CASE("A protocol that closes inside data_received hears no more data", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_data = [](Scripted& self) {
      self.transport->close();
      CHECK(self.transport->is_closing());
      CHECK(self.lost == 0);  // not from inside close()
    };
    auto c = co_await connected<Scripted>(loop, protocol);
    send_all(c.peer, digits(1000));
    co_await until([&] { return protocol->data.size() > 0; });
    ::send(c.peer, "more", 4, MSG_NOSIGNAL);
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "data", "lost"});
    CHECK(protocol->data == digits(1000));
  });
}

TEST_CASE("A protocol that aborts inside data_received hears no more data", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_data = [](Scripted& self) {
      self.transport->write(digits(20 * MEGABYTE));
      self.transport->abort();
      CHECK(self.transport->get_write_buffer_size() == 0);
      CHECK(self.lost == 0);
    };
    auto c = co_await connected<Scripted>(loop, protocol);
    send_all(c.peer, "x");
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->error == nullptr);
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received.size() < 20 * MEGABYTE);
  });
}

TEST_CASE("A protocol that is replaced inside data_received gets what is received next", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto first = std::make_shared<Scripted>();
    const auto second = std::make_shared<Recorder>();
    first->on_data = [&](Scripted& self) {
      self.transport->set_protocol(second);
      CHECK(self.transport->get_protocol() == second);
    };
    auto c = co_await connected<Scripted>(loop, first);
    send_all(c.peer, "one");
    co_await until([&] { return first->data == "one"; });
    send_all(c.peer, "two");
    c.peer.close();
    co_await until([&] { return second->lost == 1; });
    CHECK(first->calls == Calls{"made", "data"});
    CHECK(second->calls == Calls{"data", "eof", "lost"});
    CHECK(second->data == "two");
    first->transport = nullptr;
  });
}

TEST_CASE("The transport owns its protocol: one that is replaced while it runs lives until its call returns",
          "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    struct Once : asyncio::Protocol {
      explicit Once(std::shared_ptr<Recorder> next) : next(std::move(next)) {}
      void connection_made(std::shared_ptr<Transport> made) override { transport = std::move(made); }
      void data_received(std::string_view) override {
        const auto kept = transport;
        kept->set_protocol(next);
        next->calls.push_back("after " + text);  // `this` is used
      }
      std::shared_ptr<Recorder> next;
      std::shared_ptr<Transport> transport;
      std::string text = "set_protocol";
      Instance instance;
    };
    const auto next = std::make_shared<Recorder>();
    const int before = Instance::alive();
    auto pair = tcp_pair();
    const Fd peer = std::move(pair.second);
    const auto factory = [&] { return std::make_shared<Once>(next); };
    const asyncio::ConnectionOptions options{.sock = pair.first.release()};
    co_await loop.create_connection(factory, "", 0, options);
    send_all(peer, "x");
    co_await until([&] { return next->calls == Calls{"after set_protocol"}; });
    co_await until([&] { return Instance::alive() == before; });
    send_all(peer, "y");
    co_await until([&] { return next->data == "y"; });
  });
}

TEST_CASE("A transport that reads lives on when nobody refers to it", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.protocol->transport = nullptr;
    c.transport = nullptr;
    send_all(c.peer, "hello");
    c.peer.close();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->data == "hello");
  });
}

TEST_CASE("A paused transport that nobody refers to closes its descriptor", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    const int fd = c.transport->fd();
    c.transport->pause_reading();
    c.protocol->transport = nullptr;
    c.protocol = nullptr;
    c.transport = nullptr;
    co_await until([&] { return Instance::alive() == 0; });
    CHECK(!is_open(fd));
    const std::string rest = co_await receive(c.peer, TO_THE_END);
    CHECK(rest == "");
  });
}

TEST_CASE("Two megabytes are received whole, in pieces of at most 256 KiB", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    struct Pieces : Recorder {
      void data_received(std::string_view bytes) override {
        largest = std::max(largest, bytes.size());
        Recorder::data_received(bytes);
      }
      std::size_t largest = 0;
    };
    auto c = co_await connected<Pieces>(loop, std::make_shared<Pieces>());
    co_await loop.sock_sendall(c.peer, digits(2 * MEGABYTE));
    c.peer.close();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->data == digits(2 * MEGABYTE));
    CHECK(c.protocol->largest <= 256 * 1024);
  });
}

// ---- The end of the stream

TEST_CASE("When eof_received returns true the protocol may write on, and closes when it likes", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Recorder>();
    protocol->keep_open = true;
    auto c = co_await connected(loop, protocol);
    send_all(c.peer, "question");
    ::shutdown(c.peer, SHUT_WR);
    co_await until([&] { return protocol->calls.back() == "eof"; });
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(protocol->calls == Calls{"made", "data", "eof"});
    CHECK(!c.transport->is_closing());
    c.transport->write("answer");
    c.transport->close();
    const std::string answer = co_await receive(c.peer, TO_THE_END);
    CHECK(answer == "answer");
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "data", "eof", "lost"});
  });
}

TEST_CASE("When eof_received returns false what it has written is sent before the connection closes", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_eof = [](Scripted& self) { self.transport->write(digits(4 * MEGABYTE)); };
    auto c = co_await connected<Scripted>(loop, protocol);
    ::shutdown(c.peer, SHUT_WR);
    const std::string answer = co_await receive(c.peer, TO_THE_END);
    CHECK(answer == digits(4 * MEGABYTE));
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->error == nullptr);
  });
}

TEST_CASE("eof_received comes once, also when reading is paused and resumed after it", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Recorder>();
    protocol->keep_open = true;
    auto c = co_await connected(loop, protocol);
    ::shutdown(c.peer, SHUT_WR);
    co_await until([&] { return protocol->calls.back() == "eof"; });
    c.transport->pause_reading();
    c.transport->resume_reading();
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(protocol->calls == Calls{"made", "eof"});
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
  });
}

TEST_CASE("After write_eof the other end hears the end, and its answer is still received", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    CHECK(c.transport->can_write_eof());
    c.transport->write("question");
    c.transport->write_eof();
    const std::string question = co_await receive(c.peer, TO_THE_END);
    CHECK(question == "question");
    CHECK(!c.transport->is_closing());
    send_all(c.peer, "answer");
    c.peer.close();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->calls == Calls{"made", "data", "eof", "lost"});
    CHECK(c.protocol->data == "answer");
  });
}

TEST_CASE("write_eof waits for what is buffered", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->write(digits(8 * MEGABYTE));
    CHECK(c.transport->get_write_buffer_size() > 0);
    c.transport->write_eof();
    c.transport->write_eof();
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received == digits(8 * MEGABYTE));
    c.peer.close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("Writing after write_eof is an error", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->write_eof();
    const std::string text = "std::runtime_error: Cannot call write() after write_eof()";
    CHECK(test::thrown([&] { return c.transport->write("x"), 0; }) == text);
    CHECK(test::thrown([&] { return c.transport->writelines({"x", "y"}), 0; }) == text);
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("write_eof on a transport that is closing has no effect", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->close();
    c.transport->write_eof();
    c.transport->write("nothing comes of it, and no error");
    co_await until([&] { return c.protocol->lost == 1; });
    c.transport->write_eof();
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received == "");
  });
}

TEST_CASE("Both ends may close their sending direction, in either order", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool peer_first = GENERATE(true, false);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Recorder>();
    protocol->keep_open = true;
    auto c = co_await connected(loop, protocol);
    if (peer_first) ::shutdown(c.peer, SHUT_WR);
    if (peer_first) co_await until([&] { return protocol->calls.back() == "eof"; });
    c.transport->write_eof();
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received == "");
    if (!peer_first) ::shutdown(c.peer, SHUT_WR);
    co_await until([&] { return protocol->calls.back() == "eof"; });
    CHECK(protocol->lost == 0);  // upstream, too, leaves it to the protocol to close
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
  });
}

// ---- Writing

TEST_CASE("What the kernel takes at once is not buffered", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->write("");
    c.transport->writelines({});
    c.transport->write("hello ");
    c.transport->writelines({"wor", "", "ld"});
    CHECK(c.transport->get_write_buffer_size() == 0);
    CHECK(receive_all(c.peer) == "hello world");
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("writelines sends at once what waits in the buffer, too", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    std::string all = digits(10 * MEGABYTE);
    c.transport->write(all);
    const std::size_t waiting = c.transport->get_write_buffer_size();
    CHECK(waiting > 0);
    std::string got, part(MEGABYTE, '\0');
    for (ssize_t n; (n = ::recv(c.peer, part.data(), part.size(), MSG_DONTWAIT)) > 0;) {
      got.append(part, 0, static_cast<std::size_t>(n));
    }
    c.transport->writelines({"la", "st"});
    CHECK(c.transport->get_write_buffer_size() < waiting);
    all += "last";
    got += co_await receive(c.peer, all.size() - got.size());
    CHECK(got == all);
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("What the kernel does not take is buffered and sent later, in order", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    std::string all = digits(10 * MEGABYTE);
    c.transport->write(all);
    const std::size_t buffered = c.transport->get_write_buffer_size();
    CHECK(buffered > 0);
    CHECK(buffered < all.size());
    for (int i = 0; i < 100; ++i) {
      const std::string next = '<' + std::to_string(i) + '>';
      c.transport->write(next);
      all += next;
    }
    CHECK(c.transport->get_write_buffer_size() > buffered);
    const std::string received = co_await receive(c.peer, all.size());
    CHECK(received == all);
    co_await until([&] { return c.transport->get_write_buffer_size() == 0; });
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("pause_writing comes above the high-water mark, resume_writing at the low one, each once", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    const std::size_t filled = fill(c.transport->fd());
    c.transport->set_write_buffer_limits({.high = 1000, .low = 100});
    c.transport->write(std::string(1000, 'a'));
    CHECK(c.transport->get_write_buffer_size() == 1000);
    CHECK(c.protocol->calls == Calls{"made"});
    c.transport->write("b");
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    c.transport->write("c");
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    const std::string received = co_await receive(c.peer, filled + 1002);
    CHECK(received.size() == filled + 1002);
    co_await until([&] { return c.transport->get_write_buffer_size() == 0; });
    CHECK(c.protocol->calls == Calls{"made", "pause", "resume"});
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("By default the high-water mark is 64 KiB", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    fill(c.transport->fd());
    c.transport->write(std::string(64 * 1024, 'a'));
    CHECK(c.protocol->calls == Calls{"made"});
    c.transport->write("b");
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->calls == Calls{"made", "pause", "lost"});
  });
}

TEST_CASE("Where only high is given, low is a quarter of it", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    const auto drain_to = [&](std::size_t size) -> Coroutine<> {  // in steps that are small beside a megabyte
      while (c.transport->get_write_buffer_size() > size) {
        receive_all(c.peer);
        co_await sleep(0);
      }
    };
    c.transport->set_write_buffer_limits({.high = 4 * MEGABYTE});
    c.transport->write(std::string(6 * MEGABYTE, 'a'));
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    co_await drain_to(2 * MEGABYTE);
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    co_await drain_to(MEGABYTE);
    CHECK(c.protocol->calls == Calls{"made", "pause", "resume"});
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("Where one limit is given the other one follows", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    const std::size_t filled = fill(c.transport->fd());
    SECTION("high is four times low") {
      c.transport->set_write_buffer_limits({.low = 100});
      c.transport->write(std::string(400, 'a'));
      CHECK(c.protocol->calls == Calls{"made"});
      c.transport->write("b");
      CHECK(c.protocol->calls == Calls{"made", "pause"});
    }
    SECTION("a high of zero pauses whatever is buffered, and resumes when nothing is") {
      c.transport->set_write_buffer_limits({.high = 0});
      c.transport->write("b");
      CHECK(c.protocol->calls == Calls{"made", "pause"});
      const std::string received = co_await receive(c.peer, filled + 1);
      CHECK(received.size() == filled + 1);
      co_await until([&] { return c.protocol->calls.back() == "resume"; });
      CHECK(c.transport->get_write_buffer_size() == 0);
    }
    SECTION("no limit given is the default again") {
      c.transport->set_write_buffer_limits({.high = 1});
      c.transport->set_write_buffer_limits({});
      c.transport->write(std::string(64 * 1024, 'a'));
      CHECK(c.protocol->calls == Calls{"made"});
    }
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A low-water mark above the high one is a ValueError, and the limits stay", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    c.transport->set_write_buffer_limits({.high = 10, .low = 5});
    CHECK(test::thrown([&] { return c.transport->set_write_buffer_limits({.high = 1, .low = 2}), 0; }) ==
          "std::invalid_argument: high (1) must be >= low (2)");
    fill(c.transport->fd());
    c.transport->write(std::string(10, 'a'));
    CHECK(c.protocol->calls == Calls{"made"});
    c.transport->write("b");
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A limit that is below what is buffered already pauses at once", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    fill(c.transport->fd());
    c.transport->write(std::string(100, 'a'));
    CHECK(c.protocol->calls == Calls{"made"});
    c.transport->set_write_buffer_limits({.high = 99});
    CHECK(c.protocol->calls == Calls{"made", "pause"});
    c.transport->abort();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A protocol may write, close or abort inside resume_writing", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  const int what = GENERATE(0, 1, 2);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_resume = [what](Scripted& self) {
      if (what == 0) self.transport->write("more");
      if (what == 1) self.transport->close();
      if (what == 2) self.transport->abort();
    };
    auto c = co_await connected<Scripted>(loop, protocol, socket_pair());
    const std::size_t filled = fill(c.transport->fd());
    c.transport->set_write_buffer_limits({.high = 0});
    c.transport->write("x");
    const std::string received = co_await receive(c.peer, what == 0 ? filled + 5 : TO_THE_END);
    CHECK(received.substr(filled) == (what == 0 ? "xmore" : "x"));
    if (what == 0) c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "pause", "resume", "lost"});
  });
}

TEST_CASE("A protocol may abort inside pause_writing", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_pause = [](Scripted& self) { self.transport->abort(); };
    auto c = co_await connected<Scripted>(loop, protocol, socket_pair());
    fill(c.transport->fd());
    c.transport->set_write_buffer_limits({.high = 0});
    c.transport->write("x");
    CHECK(c.transport->is_closing());
    CHECK(c.transport->get_write_buffer_size() == 0);
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "pause", "lost"});
  });
}

TEST_CASE("Flow control carries twenty megabytes in a few kilobytes of memory", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    constexpr std::size_t TOTAL = 20 * MEGABYTE;
    struct Source : Recorder {
      void connection_made(std::shared_ptr<Transport> made) override {
        Recorder::connection_made(std::move(made));
        send();
      }
      void pause_writing() override { paused = true; }
      void resume_writing() override {
        paused = false;
        send();
      }
      void send() {
        while (!paused && sent < TOTAL) {
          transport->write(piece);
          sent += piece.size();
          largest = std::max(largest, transport->get_write_buffer_size());
        }
        if (sent == TOTAL) transport->close();
      }
      const std::string piece = std::string(16 * 1024, 'x');
      std::size_t sent = 0, largest = 0;
      bool paused = false;
    };
    auto c = co_await connected<Source>(loop, std::make_shared<Source>());
    std::size_t received = 0;
    std::string buffer(1 << 16, '\0');
    for (std::size_t n = 1; n > 0; received += n) n = co_await loop.sock_recv_into(c.peer, buffer);
    CHECK(received == TOTAL);
    CHECK(c.protocol->largest <= 64 * 1024 + c.protocol->piece.size());
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

// ---- Closing

TEST_CASE("close sends what is buffered, then connection_lost comes with null", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    const int fd = c.transport->fd();
    c.transport->write(digits(8 * MEGABYTE));
    c.transport->close();
    CHECK(c.transport->is_closing());
    CHECK(!c.transport->is_reading());
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(c.protocol->lost == 0);
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received == digits(8 * MEGABYTE));
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->error == nullptr);
    co_await sleep(0);
    CHECK(!is_open(fd));
    CHECK(c.transport->fd() == -1);
    CHECK(c.transport->get_protocol() == nullptr);
  });
}

TEST_CASE("What is received after close is not handed on", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->write(digits(8 * MEGABYTE));
    c.transport->close();
    send_all(c.peer, "too late");
    co_await receive(c.peer, TO_THE_END);  // or to the reset, by which the kernel says that it was not read
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->data == "");
  });
}

TEST_CASE("What is written after close, while the buffer is not empty, is sent as well", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->write(digits(8 * MEGABYTE));
    c.transport->close();
    c.transport->write("and this");
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received == digits(8 * MEGABYTE) + "and this");
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("abort drops what is buffered", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->write(digits(20 * MEGABYTE));
    c.transport->abort();
    CHECK(c.transport->is_closing());
    CHECK(c.transport->get_write_buffer_size() == 0);
    CHECK(c.protocol->lost == 0);
    co_await sleep(0);
    CHECK(c.protocol->lost == 1);
    CHECK(c.protocol->error == nullptr);
    const std::string received = co_await receive(c.peer, TO_THE_END);
    CHECK(received.size() < 20 * MEGABYTE);
  });
}

TEST_CASE("However often close and abort are called, connection_lost comes once", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool flood = GENERATE(false, true);
  const std::string order = GENERATE("cc", "ca", "ac", "aa", "caca", "acac");
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    if (flood) c.transport->write(digits(20 * MEGABYTE));
    for (const char call : order) call == 'c' ? c.transport->close() : c.transport->abort();
    if (order == "cc") c.peer.close();  // or what is buffered would keep it open
    co_await until([&] { return c.protocol->lost == 1; });
    for (int i = 0; i < 10; ++i) {
      c.transport->close();
      c.transport->abort();
      co_await sleep(0);
    }
    CHECK(c.protocol->lost == 1);
    CHECK(c.protocol->calls.back().starts_with("lost"));
  });
}

TEST_CASE("connection_lost comes one iteration after close", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->close();
    CHECK(joined(c.protocol->calls) == "made");
    co_await sleep(0);
    CHECK(joined(c.protocol->calls) == "made lost");
  });
}

TEST_CASE("A transport may be closed in connection_made: there is no data then", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto pair = tcp_pair();
    send_all(pair.second, "early");
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_made = [](Scripted& self) {
      self.transport->write("bye");
      self.transport->close();
    };
    auto c = co_await connected<Scripted>(loop, protocol, std::move(pair));
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "lost"});
    CHECK(receive_all(c.peer) == "bye");
  });
}

TEST_CASE("connection_lost may call the transport", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_lost = [](Scripted& self) {
      self.transport->write("x");
      self.transport->write_eof();
      self.transport->pause_reading();
      self.transport->resume_reading();
      self.transport->close();
      self.transport->abort();
      CHECK(self.transport->is_closing());
    };
    auto c = co_await connected<Scripted>(loop, protocol);
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    CHECK(protocol->calls == Calls{"made", "lost"});
  });
}

TEST_CASE("A reset by the other end is connection_lost with the error", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    test::reset(c.peer);
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.protocol->calls == Calls{"made", "lost by error"});
    CHECK(code_of(c.protocol->error) == ECONNRESET);
  });
}

TEST_CASE("Writing to who has gone is connection_lost with the error, once, and nothing is reported", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    c.transport->pause_reading();
    c.peer.close();
    c.transport->write("x");
    CHECK(c.transport->is_closing());
    CHECK(c.protocol->lost == 0);
    c.transport->write("y");
    co_await until([&] { return c.protocol->lost == 1; });
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    CHECK(c.protocol->calls == Calls{"made", "lost by error"});
    CHECK(code_of(c.protocol->error) == EPIPE);
  });
}

TEST_CASE("A peer that closes while the buffer is not empty is connection_lost with the error", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop, std::make_shared<Recorder>(), socket_pair());
    c.transport->write(digits(8 * MEGABYTE));
    CHECK(c.transport->get_write_buffer_size() > 0);
    c.transport->pause_reading();
    c.peer.close();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(code_of(c.protocol->error) == EPIPE);
    CHECK(c.transport->get_write_buffer_size() == 0);
  });
}

TEST_CASE("From the fifth write on a lost connection a warning is printed", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  const CaptureCerr captured;
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    c.transport->abort();
    for (int i = 0; i < 3; ++i) c.transport->write("x");
    CHECK(captured.text() == "");
    for (int i = 0; i < 5; ++i) c.transport->write("x");
    CHECK(captured.text().find("lost") != std::string::npos);
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

// ---- Errors of the protocol

TEST_CASE("An exception in data_received is reported and closes the connection", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_data = [](Scripted&) { throw ValueError("bad data"); };
    auto c = co_await connected<Scripted>(loop, protocol);
    send_all(c.peer, "x");
    co_await until([&] { return protocol->lost == 1; });
    CHECK(describe(protocol->error) == "std::invalid_argument: bad data");
    CHECK(loop.reports() ==
          Calls{"Fatal error: protocol.data_received() call failed. | std::invalid_argument: bad data"});
  });
}

TEST_CASE("An exception in eof_received is reported and closes the connection", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->keep_open = true;
    protocol->on_eof = [](Scripted&) { throw ValueError("bad end"); };
    auto c = co_await connected<Scripted>(loop, protocol);
    c.peer.close();
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "eof", "lost by error"});
    CHECK(loop.reports() ==
          Calls{"Fatal error: protocol.eof_received() call failed. | std::invalid_argument: bad end"});
  });
}

TEST_CASE("An exception in pause_writing or resume_writing is reported, and the connection goes on", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_pause = [](Scripted&) { throw ValueError("bad pause"); };
    protocol->on_resume = [](Scripted&) { throw ValueError("bad resume"); };
    auto c = co_await connected<Scripted>(loop, protocol, socket_pair());
    const std::size_t filled = fill(c.transport->fd());
    c.transport->set_write_buffer_limits({.high = 0});
    c.transport->write("x");
    const std::string received = co_await receive(c.peer, filled + 1);
    CHECK(received.size() == filled + 1);
    co_await until([&] { return protocol->calls == Calls{"made", "pause", "resume"}; });
    CHECK(loop.reports() == Calls{"protocol.pause_writing() failed | std::invalid_argument: bad pause",
                                  "protocol.resume_writing() failed | std::invalid_argument: bad resume"});
    CHECK(!c.transport->is_closing());
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
  });
}

TEST_CASE("An exception in connection_made is reported, and the connection goes on", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_made = [](Scripted&) { throw ValueError("bad start"); };
    auto c = co_await connected<Scripted>(loop, protocol);
    const auto reports = loop.reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].ends_with("| std::invalid_argument: bad start"));
    send_all(c.peer, "x");
    co_await until([&] { return protocol->data == "x"; });
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
  });
}

TEST_CASE("An exception in connection_lost is reported, and the descriptor is closed all the same", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto protocol = std::make_shared<Scripted>();
    protocol->on_lost = [](Scripted& self) {
      self.transport = nullptr;
      throw ValueError("bad end");
    };
    auto c = co_await connected<Scripted>(loop, protocol);
    const int fd = c.transport->fd();
    c.transport->close();
    co_await until([&] { return protocol->lost == 1; });
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    CHECK(protocol->lost == 1);
    const auto reports = loop.reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].ends_with("| std::invalid_argument: bad end"));
    CHECK(!is_open(fd));
  });
}

TEST_CASE("A SystemExit in a protocol leaves the loop, and the connection is as it was", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  const auto protocol = std::make_shared<Scripted>();
  protocol->on_data = [](Scripted& self) {
    if (self.data == "x") throw asyncio::SystemExit(3);
  };
  auto c = loop.run(connected<Scripted>(loop, protocol));
  send_all(c.peer, "x");
  int code = 0;
  try {
    loop.run_forever();
  } catch (const asyncio::SystemExit& exit) {
    code = exit.code();
  }
  CHECK(code == 3);
  send_all(c.peer, "y");
  loop.run(until([&] { return protocol->data == "xy"; }));
  c.transport->close();
  loop.run(until([&] { return protocol->lost == 1; }));
}

// ---- What it says of itself, and how it ends with its loop

TEST_CASE("A transport knows both addresses, and does not delay small packets", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    CHECK(c.transport->get_extra_info("sockname") == asyncio::getpeername(c.peer));
    CHECK(c.transport->get_extra_info("peername") == getsockname(c.peer));
    CHECK(c.transport->get_extra_info("weather") == std::nullopt);
    int nodelay = 0;
    socklen_t size = sizeof nodelay;
    REQUIRE(::getsockopt(c.transport->fd(), IPPROTO_TCP, TCP_NODELAY, &nodelay, &size) == 0);
    CHECK(nodelay != 0);
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
    CHECK(c.transport->get_extra_info("peername") == getsockname(c.peer));
  });
}

TEST_CASE("A socket that blocks is made non-blocking", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto pair = tcp_pair();
    asyncio::set_blocking(pair.first, true);
    auto c = co_await connected(loop, std::make_shared<Recorder>(), std::move(pair));
    CHECK((::fcntl(c.transport->fd(), F_GETFL) & O_NONBLOCK) != 0);
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A descriptor that a transport owns is refused to a second one", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto c = co_await connected(loop);
    const asyncio::ConnectionOptions options{.sock = c.transport->fd()};
    const auto factory = [] { return std::make_shared<Recorder>(); };
    const std::exception_ptr error = co_await raised(loop.create_connection(factory, "", 0, options));
    CHECK(describe(error) ==
          "std::runtime_error: File descriptor " + std::to_string(options.sock) + " is used by a transport");
    CHECK(is_open(options.sock));
    send_all(c.peer, "still works");
    co_await until([&] { return c.protocol->data == "still works"; });
    c.transport->close();
    co_await until([&] { return c.protocol->lost == 1; });
  });
}

TEST_CASE("A loop that is closed with open transports frees protocols and descriptors, and calls nobody",
          "[transports]") {
  std::vector<int> fds;
  Calls calls;
  {
    NetLoop loop(EVERY_SELECTOR);
    std::vector<Fd> peers;
    loop.run([&]() -> Coroutine<> {
      for (int i = 0; i < 4; ++i) {
        const auto protocol = std::make_shared<Scripted>();
        protocol->on_lost = [&](Scripted&) { calls.push_back("lost"); };
        auto c = co_await connected<Scripted>(loop, protocol);
        fds.push_back(c.transport->fd());
        if (i == 1) c.transport->pause_reading();
        if (i == 2) c.transport->write(digits(8 * MEGABYTE));
        if (i == 3) c.transport->close();  // connection_lost is on its way
        peers.push_back(std::move(c.peer));
      }
    });
    const int before = Instance::alive();
    CHECK(before >= 3);
    loop.close();
    CHECK(Instance::alive() == 0);
    for (const int fd : fds) CHECK(!is_open(fd));
  }
  CHECK(calls.size() <= 1);
}

TEST_CASE("A transport may outlive its loop: nothing has an effect, and nothing is an error", "[transports]") {
  Connected<> c;
  Endpoint e;
  {
    NetLoop loop(EVERY_SELECTOR);
    loop.run([&]() -> Coroutine<> {
      c = co_await connected(loop);
      c.transport->write(digits(8 * MEGABYTE));
      e = co_await endpoint(loop, SocketAddress("127.0.0.1", 0));
    });
  }
  CHECK(c.transport->is_closing());
  CHECK(!c.transport->is_reading());
  CHECK(c.transport->fd() == -1);
  CHECK(c.transport->get_protocol() == nullptr);
  CHECK(c.transport->get_extra_info("peername") == getsockname(c.peer));
  c.transport->write("x");
  c.transport->writelines({"x"});
  c.transport->write_eof();
  c.transport->pause_reading();
  c.transport->resume_reading();
  c.transport->set_write_buffer_limits({.high = 0});
  c.transport->close();
  c.transport->abort();
  e.transport->sendto("x", getsockname(c.peer));
  e.transport->close();
  e.transport->abort();
  CHECK(e.transport->is_closing());
  CHECK(c.protocol->calls.back() != "lost");
}

TEST_CASE("Transports that own each other end with their loop", "[transports]") {
  struct Holder : asyncio::Protocol {
    ~Holder() override {
      if (other) other->close();
    }
    std::shared_ptr<Transport> other;
    Instance instance;
  };
  {
    NetLoop loop(EVERY_SELECTOR);
    std::vector<Fd> peers;
    loop.run([&]() -> Coroutine<> {
      std::shared_ptr<Transport> last;
      for (int i = 0; i < 10; ++i) {
        const auto holder = std::make_shared<Holder>();
        holder->other = last;
        auto c = co_await connected<Holder>(loop, holder);
        c.transport->pause_reading();
        last = c.transport;
        peers.push_back(std::move(c.peer));
      }
      last->resume_reading();
    });
    loop.close();
    CHECK(Instance::alive() == 0);
  }
}

TEST_CASE("create_connection that is cancelled closes the connection", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto pair = tcp_pair();
    const Fd peer = std::move(pair.second);
    const auto protocol = std::make_shared<Recorder>();
    const auto connect = [&]() -> Coroutine<> {
      const auto factory = [&] { return protocol; };
      const asyncio::ConnectionOptions options{.sock = pair.first.release()};
      co_await loop.create_connection(factory, "", 0, options);
    };
    asyncio::Task<void> task = asyncio::create_task(connect);
    co_await sleep(0);
    task.cancel();
    const std::exception_ptr error = co_await raised(std::move(task));
    CHECK(holds<asyncio::CancelledError>(error));
    const std::string rest = co_await receive(peer, TO_THE_END);
    CHECK(rest == "");
    co_await until([&] { return protocol->lost == 1; });
    CHECK(protocol->calls == Calls{"made", "lost"});
  });
}

TEST_CASE("When the factory throws, create_connection does, and the socket is closed", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto [a, b] = tcp_pair();
    const auto factory = []() -> std::shared_ptr<Recorder> { throw ValueError("no protocol today"); };
    const asyncio::ConnectionOptions options{.sock = a.release()};
    const std::exception_ptr error = co_await raised(loop.create_connection(factory, "", 0, options));
    CHECK(describe(error) == "std::invalid_argument: no protocol today");
    CHECK(!is_open(options.sock));
  });
}

// ---- Protocols

TEST_CASE("A protocol that overrides nothing lets all pass by", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto made = co_await connected<asyncio::Protocol>(loop);
    made.transport->write(digits(8 * MEGABYTE));  // pause_writing
    send_all(made.peer, "data");
    std::size_t received = 0;
    co_await until([&] { return (received += receive_all(made.peer).size()) == 8 * MEGABYTE; });  // resume_writing
    ::shutdown(made.peer, SHUT_WR);
    co_await until([&] { return made.transport->is_closing(); });
  });
}

TEST_CASE("A datagram protocol that overrides nothing lets all pass by", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const auto factory = [] { return std::make_shared<asyncio::DatagramProtocol>(); };
    const auto nobody = test::unused_address(SOCK_DGRAM);
    const auto made = co_await loop.create_datagram_endpoint(factory, SocketAddress("127.0.0.1", 0), nobody);
    made.first->sendto("to nobody");  // error_received
    co_await sleep(0.01);
    const auto open = co_await loop.create_datagram_endpoint(factory, SocketAddress("127.0.0.1", 0));
    open.first->sendto("to itself", open.first->get_extra_info("sockname"));  // datagram_received
    co_await sleep(0.01);
    CHECK_FALSE(open.first->is_closing());
    made.first->close();
    open.first->close();
  });
}

TEST_CASE("A factory that makes no protocol is an error, and the socket is closed", "[transports]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto [a, b] = tcp_pair();
    const int fd = a.release();
    const auto none = [] { return std::shared_ptr<asyncio::Protocol>(); };
    const asyncio::ConnectionOptions options{.sock = fd};
    const std::exception_ptr error = co_await raised(loop.create_connection(none, "", 0, options));
    CHECK(describe(error) == "std::invalid_argument: the protocol is null");
    CHECK_FALSE(is_open(fd));
  });
}
