// Transports over pipes.
// Upstream counterpart: Lib/test/test_asyncio/test_unix_events.py, UnixReadPipeTransportTests and
// UnixWritePipeTransportTests.
#include <signal.h>
#include <sys/mman.h>

#include "tests/net.hpp"

using asyncio::Coroutine, asyncio::describe, asyncio::sleep;
using asyncio::Transport;
using test::Calls, test::code_of;
using test::digits, test::Fd, test::is_open;
using test::make_pipe, test::MEGABYTE, test::NetLoop, test::raised, test::receive, test::Recorder, test::send_all;
using test::socket_pair, test::TO_THE_END, test::until;

namespace {

/// A transport and its protocol over the end of a pipe; the other end as a descriptor.
struct Piped {
  std::shared_ptr<Transport> transport;
  std::shared_ptr<Recorder> protocol;
  Fd peer;
};

Coroutine<Piped> read_pipe(asyncio::EventLoop& loop) {
  auto [reader, writer] = make_pipe();
  const auto factory = [] { return std::make_shared<Recorder>(); };
  const auto made = co_await loop.connect_read_pipe(factory, reader.release());
  co_return Piped{made.first, made.second, std::move(writer)};
}

Coroutine<Piped> write_pipe(asyncio::EventLoop& loop) {
  auto [reader, writer] = make_pipe();
  const auto factory = [] { return std::make_shared<Recorder>(); };
  const auto made = co_await loop.connect_write_pipe(factory, writer.release());
  co_return Piped{made.first, made.second, std::move(reader)};
}

}  // namespace

TEST_CASE("A read pipe hands on what comes; at the end eof_received and connection_lost follow", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await read_pipe(loop);
    const int fd = p.transport->fd();
    CHECK(p.transport->get_extra_info("peername") == std::nullopt);
    CHECK(p.transport->get_extra_info("sockname") == std::nullopt);
    send_all(p.peer, "hello");
    co_await until([&] { return p.protocol->data == "hello"; });
    p.protocol->keep_open = true;  // makes no difference: nothing can be written
    p.peer.close();
    co_await until([&] { return p.protocol->lost == 1; });
    CHECK(p.protocol->calls == Calls{"made", "data", "eof", "lost"});
    CHECK(p.protocol->error == nullptr);
    CHECK(p.transport->is_closing());
    CHECK(!is_open(fd));
  });
}

TEST_CASE("A read pipe can be paused", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await read_pipe(loop);
    p.transport->pause_reading();
    p.transport->pause_reading();
    CHECK(!p.transport->is_reading());
    send_all(p.peer, "hello");
    for (int i = 0; i < 10; ++i) co_await sleep(0);
    CHECK(p.protocol->data == "");
    p.transport->resume_reading();
    p.transport->resume_reading();
    co_await until([&] { return p.protocol->data == "hello"; });
    p.transport->close();
    p.transport->pause_reading();
    p.transport->resume_reading();
    co_await until([&] { return p.protocol->lost == 1; });
    CHECK(p.protocol->calls == Calls{"made", "data", "lost"});
  });
}

TEST_CASE("A read pipe cannot be written to", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await read_pipe(loop);
    CHECK(!p.transport->can_write_eof());
    CHECK(test::thrown([&] { return p.transport->write("x"), 0; }).starts_with("std::runtime_error"));
    CHECK(test::thrown([&] { return p.transport->write_eof(), 0; }).starts_with("std::runtime_error"));
    p.transport->close();
    p.transport->close();
    co_await until([&] { return p.protocol->lost == 1; });
  });
}

TEST_CASE("A read pipe's error is connection_lost with it", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    // The master of a terminal whose other side has closed gives EIO.
    Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) co_return;
    char name[100];
    REQUIRE(::ptsname_r(master, name, sizeof name) == 0);
    Fd slave(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(slave >= 0);
    send_all(slave, "hello");
    const auto factory = [] { return std::make_shared<Recorder>(); };
    const auto [transport, protocol] = co_await loop.connect_read_pipe(factory, master.release());
    Recorder& recorder = *protocol;
    co_await until([&] { return recorder.data == "hello"; });
    slave.close();
    co_await until([&] { return recorder.lost == 1; });
    CHECK(code_of(recorder.error) == EIO);
  });
}

TEST_CASE("A write pipe sends, buffers and flushes before it closes", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool by_eof = GENERATE(false, true);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await write_pipe(loop);
    const int fd = p.transport->fd();
    CHECK(p.transport->can_write_eof());
    p.transport->write("");
    p.transport->write("hello");
    CHECK(p.transport->get_write_buffer_size() == 0);
    p.transport->write(digits(MEGABYTE));
    CHECK(p.transport->get_write_buffer_size() > 0);
    CHECK(p.protocol->calls == Calls{"made", "pause"});
    by_eof ? p.transport->write_eof() : p.transport->close();
    CHECK(p.transport->is_closing());
    const std::string received = co_await receive(p.peer, TO_THE_END);
    CHECK(received == "hello" + digits(MEGABYTE));
    co_await until([&] { return p.protocol->lost == 1; });
    CHECK(p.protocol->calls == Calls{"made", "pause", "resume", "lost"});
    CHECK(!is_open(fd));
  });
}

TEST_CASE("A write pipe that is aborted drops its buffer", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await write_pipe(loop);
    p.transport->write(digits(MEGABYTE));
    p.transport->abort();
    CHECK(p.transport->get_write_buffer_size() == 0);
    const std::string received = co_await receive(p.peer, TO_THE_END);
    CHECK(received.size() < MEGABYTE);
    co_await until([&] { return p.protocol->lost == 1; });
    CHECK(p.protocol->error == nullptr);
  });
}

TEST_CASE("A write pipe hears at once that its reader has gone: null if all was sent, else EPIPE",
          "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  const bool buffered = GENERATE(false, true);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await write_pipe(loop);
    p.transport->write("x");
    if (buffered) p.transport->write(digits(MEGABYTE));
    p.peer.close();
    co_await until([&] { return p.protocol->lost == 1; });
    CHECK(code_of(p.protocol->error) == (buffered ? EPIPE : -1));
    p.transport->write("y");
    for (int i = 0; i < 5; ++i) co_await sleep(0);
    CHECK(p.protocol->lost == 1);
  });
}

TEST_CASE("Writing to a pipe whose reader has just gone is connection_lost, and not a signal", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  const auto old = ::signal(SIGPIPE, SIG_DFL);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await write_pipe(loop);
    p.peer.close();
    p.transport->write("x");
    CHECK(p.transport->is_closing());
    co_await until([&] { return p.protocol->lost == 1; });
    CHECK(code_of(p.protocol->error) == EPIPE);
  });
  ::signal(SIGPIPE, old);
}

TEST_CASE("What is written to a pipe after close is dropped", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    Piped p = co_await write_pipe(loop);
    p.transport->write(digits(MEGABYTE));
    p.transport->close();
    p.transport->write("dropped");
    const std::string received = co_await receive(p.peer, TO_THE_END);
    CHECK(received == digits(MEGABYTE));
    co_await until([&] { return p.protocol->lost == 1; });
  });
}

TEST_CASE("A socket may stand for a pipe", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    auto [a, b] = socket_pair();
    const auto factory = [] { return std::make_shared<Recorder>(); };
    const auto read_end = co_await loop.connect_read_pipe(factory, a.release());
    const auto write_end = co_await loop.connect_write_pipe(factory, b.release());
    Recorder &reader = *read_end.second, &writer = *write_end.second;
    write_end.first->write("hello");
    co_await until([&] { return reader.data == "hello"; });
    read_end.first->close();
    co_await until([&] { return reader.lost + writer.lost == 2; });
    CHECK(writer.calls == Calls{"made", "lost"});
  });
}

TEST_CASE("A character device may be written to", "[transports][pipe]") {
  NetLoop loop(test::Selector::poll);
  loop.run([&]() -> Coroutine<> {
    Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    REQUIRE(null >= 0);
    const auto factory = [] { return std::make_shared<Recorder>(); };
    const auto [transport, protocol] = co_await loop.connect_write_pipe(factory, null.release());
    transport->write(digits(MEGABYTE));
    CHECK(transport->get_write_buffer_size() == 0);
    Recorder& recorder = *protocol;
    transport->close();
    co_await until([&] { return recorder.lost == 1; });
  });
}

TEST_CASE("A regular file is no pipe: ValueError, and the descriptor stays the caller's", "[transports][pipe]") {
  NetLoop loop(EVERY_SELECTOR);
  loop.run([&]() -> Coroutine<> {
    const Fd file(::memfd_create("test", MFD_CLOEXEC));
    REQUIRE(file >= 0);
    const auto factory = [] { return std::make_shared<Recorder>(); };
    const std::exception_ptr read_error = co_await raised(loop.connect_read_pipe(factory, file));
    const std::exception_ptr write_error = co_await raised(loop.connect_write_pipe(factory, file));
    const std::string text = "std::invalid_argument: Pipe transport is for pipes, sockets and character devices only";
    CHECK(describe(read_error) == text);
    CHECK(describe(write_error) == text);
    CHECK(is_open(file));
    CHECK((::fcntl(file, F_GETFL) & O_NONBLOCK) == 0);
  });
}
