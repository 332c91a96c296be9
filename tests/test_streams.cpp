// StreamReader fed by hand, StreamWriter, and both over real sockets and pipes.
// Upstream counterpart: Lib/test/test_asyncio/test_streams.py.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::IncompleteReadError;
using asyncio::LimitOverrunError;
using asyncio::OSError;
using asyncio::Server;
using asyncio::StreamReader;
using asyncio::StreamReaderProtocol;
using asyncio::StreamWriter;
using asyncio::Task;
using asyncio::Transport;
using test::Contexts;
using test::Instance;
using test::iterations;
using test::open_socket;
using test::raw_socket_pair;
using test::run_io;
using test::run_once;
using test::Streams;
using test::TestLoop;
using test::thrown;
using test::thrown_by;
using Separators = std::vector<std::string>;

const std::string DATA = "line1\nline2\nline3\n";

/// A transport that notes what is asked of it.
class MockTransport : public Transport {
 public:
  void close() override { note("close"), closing = true; }
  void abort() override { note("abort"), closing = true; }
  bool is_closing() const override { return closing; }
  std::optional<asyncio::SocketAddress> get_extra_info(std::string_view) const override { return std::nullopt; }
  int fd() const override { return -1; }
  void set_write_buffer_limits(asyncio::WriteBufferLimits) override {}
  std::size_t get_write_buffer_size() const override { return 0; }
  void write(std::string_view data) override { written += data; }
  void write_eof() override { note("write_eof"); }
  void pause_reading() override { note("pause"); }
  void resume_reading() override { note("resume"); }
  bool is_reading() const override { return true; }
  std::shared_ptr<asyncio::Protocol> get_protocol() const override { return nullptr; }
  void set_protocol(std::shared_ptr<asyncio::Protocol>) override {}

  std::string log, written;
  bool closing = false;

 private:
  void note(const char* call) { log += (log.empty() ? "" : " ") + std::string(call); }
};

/// A reader on a virtual clock: what would wait for ever is an error there.
struct ByHand {
  explicit ByHand(std::size_t limit = asyncio::DEFAULT_LIMIT) : reader(limit, loop) {}
  template <class T> T run(Coroutine<T> coroutine) { return loop.run_until_complete(std::move(coroutine)); }
  /// What is left in the buffer; the stream has ended then.
  std::string rest() {
    reader.feed_eof();
    return run(reader.read());
  }

  TestLoop loop;
  StreamReader reader;
};

std::exception_ptr value_error() { return std::make_exception_ptr(asyncio::ValueError("spam")); }

Coroutine<void> echo(StreamReader reader, StreamWriter writer) {
  for (std::string data; data = co_await reader.read(65536), !data.empty();) {
    writer.write(data);
    co_await writer.drain();
  }
  writer.close();
}

/// Sends one line back in upper case, and closes.
Coroutine<void> shout_once(StreamReader reader, StreamWriter writer) {
  std::string line = co_await reader.readline();
  std::transform(line.begin(), line.end(), line.begin(), [](unsigned char c) { return std::toupper(c); });
  writer.write(line);
  co_await writer.drain();
  writer.close();
  co_await writer.wait_closed();
}

int port_of(const Server& server) { return server.sockets().at(0).port(); }

/// A port on which nobody listens.
int unused_port() {
  const asyncio::FileDescriptor socket = asyncio::make_socket(AF_INET, SOCK_STREAM);
  const asyncio::SocketAddress any("127.0.0.1", 0);
  asyncio::check_call(::bind(socket.get(), any.data(), any.size()), "bind");
  return asyncio::getsockname(socket.get()).port();
}

}  // namespace

// ---- StreamReader fed by hand ------------------------------------------------------------------------

TEST_CASE("feeding no data leaves the buffer empty", "[streams][test_streams.test_feed_empty_data]") {
  ByHand stream;
  stream.reader.feed_data("");
  CHECK(stream.rest() == "");
}

TEST_CASE("what is fed is what is read", "[streams][test_streams.test_feed_nonempty_data]") {
  ByHand stream;
  stream.reader.feed_data(DATA);
  CHECK(stream.rest() == DATA);
}

TEST_CASE("bytes of any value pass unchanged", "[streams][test_streams.test_feed_nonempty_data]") {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  ByHand stream;
  stream.reader.feed_data(all);
  CHECK(stream.rest() == all);
}

TEST_CASE("feed_data after feed_eof is an error", "[streams][test_streams.test_feed_nonempty_data]") {
  ByHand stream;
  stream.reader.feed_eof();
  CHECK_THROWS_AS(stream.reader.feed_data("late"), asyncio::RuntimeError);
}

TEST_CASE("read(0) gives nothing at once, and takes nothing", "[streams][test_streams.test_read_zero]") {
  ByHand stream;
  CHECK(stream.run(stream.reader.read(0)) == "");
  stream.reader.feed_data(DATA);
  CHECK(stream.run(stream.reader.read(0)) == "");
  CHECK(stream.rest() == DATA);
}

TEST_CASE("read waits for data, and gives what there is", "[streams][test_streams.test_read]") {
  ByHand stream;
  const Task<std::string> reading = stream.loop.create_task(stream.reader.read(30));
  stream.loop.call_soon([&] { stream.reader.feed_data(DATA); });
  CHECK(stream.loop.run_until_complete(reading) == DATA);
  CHECK(stream.rest() == "");
}

TEST_CASE("read does not wait while there is data", "[streams][test_streams.test_read]") {
  ByHand stream;
  stream.reader.feed_data("x");
  const Task<std::string> reading = stream.loop.create_task(stream.reader.read(30));
  run_once(stream.loop);
  REQUIRE(reading.done());
  CHECK(reading.result() == "x");
}

TEST_CASE("read gives no more than was asked for", "[streams][test_streams.test_read_line_breaks]") {
  ByHand stream;
  stream.reader.feed_data("line1");
  stream.reader.feed_data("line2");
  CHECK(stream.run(stream.reader.read(5)) == "line1");
  CHECK(stream.rest() == "line2");
}

TEST_CASE("read at the end of the stream gives nothing", "[streams][test_streams.test_read_eof]") {
  ByHand stream;
  const Task<std::string> reading = stream.loop.create_task(stream.reader.read(1024));
  stream.loop.call_soon([&] { stream.reader.feed_eof(); });
  CHECK(stream.loop.run_until_complete(reading) == "");
  CHECK(stream.run(stream.reader.read(1024)) == "");
}

TEST_CASE("read(-1) gives everything until the end", "[streams][test_streams.test_read_until_eof]") {
  ByHand stream;
  const Task<std::string> reading = stream.loop.create_task(stream.reader.read(-1));
  stream.loop.call_soon([&] {
    stream.reader.feed_data("chunk1\n");
    stream.reader.feed_data("chunk2");
    stream.reader.feed_eof();
  });
  CHECK(stream.loop.run_until_complete(reading) == "chunk1\nchunk2");
}

TEST_CASE("read() without a number is read(-1), and more than the limit",
          "[streams][test_streams.test_read_until_eof]") {
  ByHand stream(3);
  stream.reader.feed_data(DATA);
  CHECK(stream.rest() == DATA);
}

TEST_CASE("read raises what the connection died of", "[streams][test_streams.test_read_exception]") {
  ByHand stream;
  stream.reader.feed_data("line\n");
  CHECK(stream.run(stream.reader.read(2)) == "li");
  stream.reader.set_exception(value_error());
  CHECK_THROWS_AS(stream.run(stream.reader.read(2)), asyncio::ValueError);
}

TEST_CASE("every way to read raises the exception, though there is data",
          "[streams][test_streams.test_readexactly_exception][test_streams.test_readline_exception]") {
  ByHand stream;
  stream.reader.feed_data(DATA);
  stream.reader.set_exception(value_error());
  const StreamReader& reader = stream.reader;
  const std::string spam = "std::invalid_argument: spam";
  CHECK(thrown([&] { return stream.run(reader.read(0)); }) == spam);
  CHECK(thrown([&] { return stream.run(reader.read(-1)); }) == spam);
  CHECK(thrown([&] { return stream.run(reader.readline()); }) == spam);
  CHECK(thrown([&] { return stream.run(reader.readexactly(2)); }) == spam);
  CHECK(thrown([&] { return stream.run(reader.readuntil("\n")); }) == spam);
  CHECK(thrown([&] { return stream.run(reader.anext()); }) == spam);
}

TEST_CASE("a limit of 0 is a ValueError", "[streams][test_streams.test_invalid_limit]") {
  TestLoop loop;
  CHECK(thrown([&] { return StreamReader(0, loop); }) == "std::invalid_argument: Limit cannot be <= 0");
}

TEST_CASE("read is not bound by the limit", "[streams][test_streams.test_read_limit]") {
  ByHand stream(3);
  stream.reader.feed_data("chunk");
  CHECK(stream.run(stream.reader.read(5)) == "chunk");
  CHECK(stream.rest() == "");
}

TEST_CASE("readline waits for the newline, and takes no more than the line", "[streams][test_streams.test_readline]") {
  ByHand stream;
  stream.reader.feed_data("chunk1 ");
  const Task<std::string> reading = stream.loop.create_task(stream.reader.readline());
  stream.loop.call_soon([&] {
    stream.reader.feed_data("chunk2 ");
    stream.reader.feed_data("chunk3 ");
    stream.reader.feed_data("\n chunk4");
  });
  CHECK(stream.loop.run_until_complete(reading) == "chunk1 chunk2 chunk3 \n");
  CHECK(stream.rest() == " chunk4");
}

TEST_CASE("readline above the limit is a ValueError, and takes the line away",
          "[streams][test_streams.test_readline_limit_with_existing_data]") {
  ByHand stream(3);
  stream.reader.feed_data("li");
  stream.reader.feed_data("ne1\nline2\n");
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
  CHECK(stream.rest() == "line2\n");
}

TEST_CASE("readline above the limit without a newline takes all that there is",
          "[streams][test_streams.test_readline_limit_with_existing_data]") {
  ByHand stream(3);
  stream.reader.feed_data("li");
  stream.reader.feed_data("ne1");
  stream.reader.feed_data("li");
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
  CHECK(stream.rest() == "");
}

TEST_CASE("readline that waits raises ValueError when the line grows above the limit",
          "[streams][test_streams.test_readline_limit]") {
  const auto read_after = [](const std::vector<std::string>& chunks) {
    ByHand stream(7);
    stream.loop.call_soon([&] {
      for (const std::string& chunk : chunks) stream.reader.feed_data(chunk);
      stream.reader.feed_eof();
    });
    CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
    return stream.run(stream.reader.read());
  };
  CHECK(read_after({"chunk1", "chunk2", "chunk3\n"}) == "");
  CHECK(read_after({"chunk1", "chunk2\n", "chunk3\n"}) == "chunk3\n");
}

TEST_CASE("a line of exactly the limit passes, the newline not counted",
          "[streams][test_streams.test_readline_limit]") {
  ByHand stream(7);
  stream.reader.feed_data("1234567\n");
  CHECK(stream.run(stream.reader.readline()) == "1234567\n");
  stream.reader.feed_data("12345678\n");
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
  stream.reader.feed_data("12345678");
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
  CHECK(stream.rest() == "");
}

TEST_CASE("readline gives the first of several lines", "[streams][test_streams.test_readline_nolimit_nowait]") {
  ByHand stream;
  stream.reader.feed_data(DATA.substr(0, 6));
  stream.reader.feed_data(DATA.substr(6));
  CHECK(stream.run(stream.reader.readline()) == "line1\n");
  CHECK(stream.rest() == "line2\nline3\n");
}

TEST_CASE("readline at the end gives what there is without a newline", "[streams][test_streams.test_readline_eof]") {
  ByHand stream;
  stream.reader.feed_data("some data");
  stream.reader.feed_eof();
  CHECK(stream.run(stream.reader.readline()) == "some data");
}

TEST_CASE("readline after the end gives nothing", "[streams][test_streams.test_readline_empty_eof]") {
  ByHand stream;
  stream.reader.feed_eof();
  CHECK(stream.run(stream.reader.readline()) == "");
}

TEST_CASE("read goes on where readline ended", "[streams][test_streams.test_readline_read_byte_count]") {
  ByHand stream;
  stream.reader.feed_data(DATA);
  CHECK(stream.run(stream.reader.readline()) == "line1\n");
  CHECK(stream.run(stream.reader.read(7)) == "line2\nl");
  CHECK(stream.rest() == "ine3\n");
}

TEST_CASE("readline raises what the connection died of", "[streams][test_streams.test_readline_exception]") {
  ByHand stream;
  stream.reader.feed_data("line\n");
  CHECK(stream.run(stream.reader.readline()) == "line\n");
  stream.reader.set_exception(value_error());
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
}

TEST_CASE("anext gives line after line, then nothing", "[streams][test_streams.test_readline]") {
  ByHand stream;
  stream.reader.feed_data("one\n\ntwo\nlast");
  stream.reader.feed_eof();
  const auto collect = [&]() -> Coroutine<std::vector<std::string>> {
    std::vector<std::string> lines;
    while (auto line = co_await stream.reader.anext()) lines.push_back(*line);
    co_return lines;
  };
  CHECK(stream.run(collect()) == std::vector<std::string>{"one\n", "\n", "two\n", "last"});
}

TEST_CASE("at_eof is true when the end came and all was read", "[streams][test_streams.test_at_eof]") {
  ByHand stream;
  CHECK_FALSE(stream.reader.at_eof());
  stream.reader.feed_data("some data\n");
  CHECK_FALSE(stream.reader.at_eof());
  stream.run(stream.reader.readline());
  CHECK_FALSE(stream.reader.at_eof());
  stream.reader.feed_data("some data\n");
  stream.reader.feed_eof();
  CHECK_FALSE(stream.reader.at_eof());
  stream.run(stream.reader.readline());
  CHECK(stream.reader.at_eof());
}

TEST_CASE("readuntil refuses an empty separator, and none", "[streams][test_streams.test_readuntil_separator]") {
  ByHand stream;
  const auto refuses = [&](Separators separators) {
    return thrown([&] { return stream.run(stream.reader.readuntil(std::move(separators))); });
  };
  CHECK(refuses({""}) == "std::invalid_argument: Separator should be at least one-byte string");
  CHECK(refuses({"a", ""}) == "std::invalid_argument: Separator should be at least one-byte string");
  CHECK(refuses({}) == "std::invalid_argument: Separator should contain at least one element");
  CHECK_THROWS_AS(stream.run(stream.reader.readuntil("")), asyncio::ValueError);
}

TEST_CASE("readuntil gives the data with its separator", "[streams][test_streams.test_readuntil_multi_chunks]") {
  ByHand stream;
  stream.reader.feed_data("lineAAA");
  CHECK(stream.run(stream.reader.readuntil("AAA")) == "lineAAA");
  stream.reader.feed_data("lineAAAxxx");
  CHECK(stream.run(stream.reader.readuntil("AAA")) == "lineAAA");
  CHECK(stream.rest() == "xxx");
}

TEST_CASE("readuntil finds a separator that came in pieces", "[streams][test_streams.test_readuntil_multi_chunks_1]") {
  ByHand stream;
  const auto until_aaa = [&](const std::vector<std::string>& chunks) {
    const Task<std::string> reading = stream.loop.create_task(stream.reader.readuntil("aaa"));
    for (const std::string& chunk : chunks) {
      run_once(stream.loop, 3);  // it looks at each chunk before the next one comes
      stream.reader.feed_data(chunk);
    }
    return stream.loop.run_until_complete(reading);
  };
  CHECK(until_aaa({"QWEaa", "XYaa", "a"}) == "QWEaaXYaaa");
  CHECK(until_aaa({"QWEaa", "XYa", "aa"}) == "QWEaaXYaaa");
  CHECK(until_aaa({"aaa"}) == "aaa");
  CHECK(until_aaa({"Xaaa"}) == "Xaaa");
  CHECK(until_aaa({"XXX", "a", "a", "a"}) == "XXXaaa");
  CHECK(stream.rest() == "");
}

TEST_CASE("readuntil takes a separator with a null byte in it", "[streams][test_streams.test_readuntil_bytearray]") {
  ByHand stream;
  stream.reader.feed_data(std::string_view("a\0b\0\0c", 6));
  const std::string zeros(2, '\0');
  CHECK(stream.run(stream.reader.readuntil(zeros)) == std::string("a\0b\0\0", 5));
  CHECK(stream.rest() == "c");
}

TEST_CASE("readuntil at the end raises IncompleteReadError with what there was",
          "[streams][test_streams.test_readuntil_eof]") {
  ByHand stream;
  stream.reader.feed_data("some dataAA");
  stream.reader.feed_eof();
  try {
    stream.run(stream.reader.readuntil("AAA"));
    FAIL("no exception");
  } catch (const IncompleteReadError& error) {
    CHECK(error.partial() == "some dataAA");
    CHECK_FALSE(error.expected());
    CHECK(std::string(error.what()) == "11 bytes read on a total of undefined expected bytes");
  }
  CHECK(stream.reader.at_eof());
}

TEST_CASE("readuntil above the limit raises LimitOverrunError, and takes nothing",
          "[streams][test_streams.test_readuntil_limit_found_sep]") {
  ByHand stream(3);
  const auto overrun = [&](const char* message) {
    try {
      stream.run(stream.reader.readuntil("AAA"));
    } catch (const LimitOverrunError& error) {
      CHECK(std::string(error.what()) == message);
      return error.consumed();
    }
    return std::size_t{0};
  };
  stream.reader.feed_data("some dataAA");
  CHECK(overrun("Separator is not found, and chunk exceed the limit") == 9);  // all but a possible begin of "AAA"
  stream.reader.feed_data("A");
  CHECK(overrun("Separator is found, but chunk is longer than limit") == 9);
  CHECK(stream.rest() == "some dataAAA");
}

TEST_CASE("readuntil goes on waiting while no more than the limit is there without the separator",
          "[streams][test_streams.test_readuntil_limit_found_sep]") {
  ByHand stream(3);
  stream.reader.feed_data("abc");
  const Task<std::string> line = stream.loop.create_task(stream.reader.readuntil("\n"));
  run_once(stream.loop, 2);
  REQUIRE_FALSE(line.done());
  stream.reader.feed_data("\n");
  run_once(stream.loop, 2);
  CHECK(line.result() == "abc\n");
}

TEST_CASE("of several separators readuntil takes the one that ends first",
          "[streams][test_streams.test_readuntil_multi_separator]") {
  ByHand stream;
  stream.reader.feed_data("line 1\nline 2\r");
  CHECK(stream.run(stream.reader.readuntil(Separators{"\r", "\n"})) == "line 1\n");
  CHECK(stream.run(stream.reader.readuntil(Separators{"\r", "\n"})) == "line 2\r");
  stream.reader.feed_data("ABCDEFG");
  CHECK(stream.run(stream.reader.readuntil(Separators{"DEF", "BCDE"})) == "ABCDE");
  CHECK(stream.rest() == "FG");
}

TEST_CASE("the limit holds for what stands before the shortest separator that ends first",
          "[streams][test_streams.test_readuntil_multi_separator_limit]") {
  ByHand stream(3);
  stream.reader.feed_data("some dataA");
  try {
    stream.run(stream.reader.readuntil(Separators{"A", "ome dataA"}));
    FAIL("no exception");
  } catch (const LimitOverrunError& error) {
    CHECK(std::string(error.what()) == "Separator is found, but chunk is longer than limit");
    CHECK(error.consumed() == 9);
  }
  CHECK(stream.rest() == "some dataA");
}

TEST_CASE("a separator longer than the buffer does no harm",
          "[streams][test_streams.test_readuntil_multi_separator_negative_offset]") {
  ByHand stream;
  stream.reader.feed_data("data");
  const Task<std::string> reading = stream.loop.create_task(stream.reader.readuntil(Separators{"A", "long sep"}));
  stream.loop.call_soon([&] { stream.reader.feed_data("Z"); });
  stream.loop.call_soon([&] { stream.reader.feed_data("Aaaa"); });
  CHECK(stream.loop.run_until_complete(reading) == "dataZA");
  CHECK(stream.rest() == "aaa");
}

TEST_CASE("readexactly(0) gives nothing and takes nothing", "[streams][test_streams.test_readexactly_zero_or_less]") {
  ByHand stream;
  CHECK(stream.run(stream.reader.readexactly(0)) == "");
  stream.reader.feed_data(DATA);
  CHECK(stream.run(stream.reader.readexactly(0)) == "");
  CHECK(stream.rest() == DATA);
}

TEST_CASE("readexactly waits until it has all", "[streams][test_streams.test_readexactly]") {
  ByHand stream;
  const Task<std::string> reading = stream.loop.create_task(stream.reader.readexactly(2 * DATA.size()));
  for (int i = 0; i < 3; ++i) stream.loop.call_soon([&] { stream.reader.feed_data(DATA); });
  CHECK(stream.loop.run_until_complete(reading) == DATA + DATA);
  CHECK(stream.rest() == DATA);
}

TEST_CASE("readexactly is not bound by the limit", "[streams][test_streams.test_readexactly_limit]") {
  ByHand stream(3);
  stream.reader.feed_data("chunk");
  CHECK(stream.run(stream.reader.readexactly(5)) == "chunk");
  CHECK(stream.rest() == "");
}

TEST_CASE("readexactly at the end raises IncompleteReadError, and the buffer is empty",
          "[streams][test_streams.test_readexactly_eof][test_streams.test_IncompleteReadError_pickleable]") {
  ByHand stream;
  stream.loop.call_soon([&] {
    stream.reader.feed_data(DATA);
    stream.reader.feed_eof();
  });
  try {
    stream.run(stream.reader.readexactly(36));
    FAIL("no exception");
  } catch (const IncompleteReadError& error) {
    CHECK(error.partial() == DATA);
    CHECK(error.expected() == 36);
    CHECK(std::string(error.what()) == "18 bytes read on a total of 36 expected bytes");
  }
  CHECK(stream.run(stream.reader.read()) == "");
}

TEST_CASE("a new stream has no exception, then the one that was set", "[streams][test_streams.test_exception]") {
  ByHand stream;
  CHECK_FALSE(stream.reader.exception());
  const std::exception_ptr error = value_error();
  stream.reader.set_exception(error);
  CHECK(stream.reader.exception() == error);
}

TEST_CASE("set_exception wakes who waits to read", "[streams][test_streams.test_exception_waiter]") {
  ByHand stream;
  const StreamReader& reader = stream.reader;
  const auto fails = [&](Coroutine<std::string> way) {
    const Task<std::string> reading = stream.loop.create_task(std::move(way));
    run_once(stream.loop, 3);
    CHECK_FALSE(reading.done());
    reader.set_exception(value_error());
    run_once(stream.loop, 3);
    CHECK_THROWS_AS(reading.result(), asyncio::ValueError);
    reader.set_exception(nullptr);
  };
  fails(reader.readline());
  fails(reader.read(1));
  fails(reader.read(-1));
  fails(reader.readexactly(1));
  fails(reader.readuntil("x"));
}

TEST_CASE("set_exception after the waiting reader was cancelled does no harm",
          "[streams][test_streams.test_exception_cancel]") {
  ByHand stream;
  const Task<std::string> reading = stream.loop.create_task(stream.reader.readline());
  run_once(stream.loop);
  reading.cancel();
  stream.reader.set_exception(value_error());
  run_once(stream.loop, 3);
  CHECK(reading.cancelled());
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
}

TEST_CASE("only one coroutine may wait to read", "[streams][test_streams.test_read]") {
  ByHand stream;
  const Task<std::string> first = stream.loop.create_task(stream.reader.readline());
  run_once(stream.loop);
  const auto refused = [&](Coroutine<std::string> second) {
    return thrown([&] { return stream.run(std::move(second)); });
  };
  const std::string text = "() called while another coroutine is already waiting for incoming data";
  CHECK(refused(stream.reader.read(1)) == "std::runtime_error: read" + text);
  CHECK(refused(stream.reader.readexactly(1)) == "std::runtime_error: readexactly" + text);
  CHECK(refused(stream.reader.readline()) == "std::runtime_error: readuntil" + text);
  stream.reader.feed_data("the first goes on\n");
  CHECK(stream.loop.run_until_complete(first) == "the first goes on\n");
}

TEST_CASE("a cancelled reader loses nothing", "[streams][test_streams.test_exception_cancel]") {
  ByHand stream;
  stream.reader.feed_data("first half, ");
  const Task<std::string> cancelled = stream.loop.create_task(stream.reader.readline());
  run_once(stream.loop, 2);
  stream.reader.feed_data("second ");
  cancelled.cancel();
  run_once(stream.loop, 3);
  CHECK(cancelled.cancelled());
  stream.reader.feed_data("half\n");
  CHECK(stream.run(stream.reader.readline()) == "first half, second half\n");
}

TEST_CASE("a reader that was woken and is cancelled before it runs leaves the data",
          "[streams][test_streams.test_exception_cancel]") {
  ByHand stream;
  const Task<std::string> reading = stream.loop.create_task(stream.reader.read(10));
  run_once(stream.loop);
  stream.reader.feed_data("data");
  reading.cancel();
  run_once(stream.loop, 3);
  CHECK(reading.cancelled());
  CHECK(stream.rest() == "data");
}

TEST_CASE("many small reads from a large buffer take no quadratic time", "[streams][test_streams.test_read]") {
  ByHand stream(1 << 20);
  const std::string block(1 << 20, 'x');
  for (int i = 0; i < 4; ++i) stream.reader.feed_data(block);  // in quadratic time it would take hours
  const auto read_all = [&]() -> Coroutine<std::size_t> {
    std::size_t n = 0;
    for (int i = 0; i < 200000; ++i) n += (co_await stream.reader.readexactly(20)).size();
    co_return n;
  };
  CHECK(stream.run(read_all()) == 4000000);
  CHECK(stream.rest().size() == 4 * block.size() - 4000000);
}

// ---- StreamReader and its transport ------------------------------------------------------------------

TEST_CASE("the transport is paused above twice the limit, and resumed at the limit",
          "[streams][test_subprocess.test_pause_reading]") {
  ByHand stream(4);
  const auto transport = std::make_shared<MockTransport>();
  stream.reader.set_transport(transport);
  stream.reader.feed_data("12345678");
  CHECK(transport->log == "");
  stream.reader.feed_data("9");
  CHECK(transport->log == "pause");
  stream.reader.feed_data("more");
  CHECK(transport->log == "pause");
  stream.run(stream.reader.readexactly(8));
  CHECK(transport->log == "pause");
  stream.run(stream.reader.read(1));
  CHECK(transport->log == "pause resume");
  stream.reader.feed_data("56789");
  CHECK(transport->log == "pause resume pause");
  stream.run(stream.reader.read(100));
  CHECK(transport->log == "pause resume pause resume");
}

TEST_CASE("who waits for more than the limit resumes the transport", "[streams][test_subprocess.test_pause_reading]") {
  ByHand stream(4);
  const auto transport = std::make_shared<MockTransport>();
  stream.reader.set_transport(transport);
  stream.reader.feed_data("123456789");
  const Task<std::string> reading = stream.loop.create_task(stream.reader.readexactly(20));
  run_once(stream.loop);
  CHECK(transport->log == "pause resume");
  stream.reader.feed_data("0123456789");
  CHECK(transport->log == "pause resume pause");
  run_once(stream.loop, 3);
  CHECK(transport->log == "pause resume pause resume");
  stream.reader.feed_data("x");
  CHECK(stream.loop.run_until_complete(reading).size() == 20);
}

TEST_CASE("a line above the limit resumes the transport", "[streams][test_streams.test_readline_limit]") {
  ByHand stream(4);
  const auto transport = std::make_shared<MockTransport>();
  stream.reader.set_transport(transport);
  stream.reader.feed_data("123456789");
  CHECK_THROWS_AS(stream.run(stream.reader.readline()), asyncio::ValueError);
  CHECK(transport->log == "pause resume");
}

TEST_CASE("readuntil above the limit leaves the transport paused",
          "[streams][test_streams.test_readuntil_limit_found_sep]") {
  ByHand stream(4);
  const auto transport = std::make_shared<MockTransport>();
  stream.reader.set_transport(transport);
  stream.reader.feed_data("123456789");
  CHECK_THROWS_AS(stream.run(stream.reader.readuntil("\n")), LimitOverrunError);
  CHECK(transport->log == "pause");
}

// ---- Which loop --------------------------------------------------------------------------------------

TEST_CASE("a reader without a loop is an error in a thread that has none",
          "[streams][test_streams.test_streamreader_constructor_without_loop]") {
  std::string error;
  std::thread([&] { error = thrown([] { return StreamReader(); }); }).join();
  CHECK(error.find("There is no current event loop") != std::string::npos);
}

TEST_CASE("a reader belongs to the running loop",
          "[streams][test_streams.test_streamreader_constructor_use_running_loop]"
          "[test_streams.test_streamreaderprotocol_constructor_use_running_loop]") {
  TestLoop loop;
  const auto loop_of_new_reader = []() -> Coroutine<EventLoop*> { co_return &StreamReader().get_loop(); };
  CHECK(loop.run_until_complete(loop_of_new_reader()) == &loop);
}

TEST_CASE("a reader belongs to the loop that was set for the thread",
          "[streams][test_streams.test_streamreader_constructor_use_global_loop]"
          "[test_streams.test_streamreaderprotocol_constructor_use_global_loop]") {
  std::thread([] {
    TestLoop loop;
    asyncio::set_event_loop(&loop);
    const bool same = &StreamReader().get_loop() == &loop;
    CHECK(same);
  }).join();
}

// ---- StreamWriter on a transport of the test's -------------------------------------------------------

namespace {

/// A writer, its protocol and its transport, by hand.
struct WriterByHand : ByHand {
  WriterByHand()
      : transport(std::make_shared<MockTransport>()),
        protocol(std::make_shared<StreamReaderProtocol>(reader)),
        writer(StreamWriter(transport, protocol, reader)) {}

  std::shared_ptr<MockTransport> transport;
  std::shared_ptr<StreamReaderProtocol> protocol;
  std::optional<StreamWriter> writer;
};

std::exception_ptr broken_pipe() { return std::make_exception_ptr(OSError(EPIPE, std::generic_category(), "send")); }

}  // namespace

TEST_CASE("write, writelines and write_eof reach the transport", "[streams][test_streams.test_async_writer_api]") {
  WriterByHand stream;
  stream.writer->write("one ");
  stream.writer->writelines({"two ", "", "three"});
  stream.writer->write_eof();
  CHECK(stream.transport->written == "one two three");
  CHECK(stream.transport->log == "write_eof");
  CHECK(stream.writer->can_write_eof());
}

TEST_CASE("the last reference to an unclosed writer closes it",
          "[streams][test_streams.test_unclosed_resource_warnings]") {
  WriterByHand stream;
  std::optional<StreamWriter> other = stream.writer;
  stream.writer.reset();
  CHECK(stream.transport->log == "");
  other.reset();
  CHECK(stream.transport->log == "close");
}

TEST_CASE("the last reference to a closed writer does nothing",
          "[streams][test_streams.test_unclosed_resource_warnings]") {
  WriterByHand stream;
  stream.writer->close();
  CHECK(stream.writer->is_closing());
  stream.writer.reset();
  CHECK(stream.transport->log == "close");
}

TEST_CASE("drain returns at once while the protocol is not paused", "[streams][test_streams.test_multiple_drain]") {
  WriterByHand stream;
  const Task<void> draining = stream.loop.create_task(stream.writer->drain());
  run_once(stream.loop);
  CHECK(draining.done());
}

TEST_CASE("many may wait in drain, and all are woken", "[streams][test_streams.test_multiple_drain]") {
  WriterByHand stream;
  stream.protocol->pause_writing();
  std::vector<Task<void>> draining;
  for (int i = 0; i < 10; ++i) draining.push_back(stream.loop.create_task(stream.writer->drain()));
  run_once(stream.loop, 5);
  for (const Task<void>& task : draining) CHECK_FALSE(task.done());
  draining[3].cancel();
  stream.protocol->resume_writing();
  run_once(stream.loop, 5);
  for (const Task<void>& task : draining) CHECK(task.done());
  CHECK(draining[3].cancelled());
  CHECK_FALSE(draining[4].cancelled());
}

TEST_CASE("who waits in drain hears what the connection died of", "[streams][test_streams.test_drain_raises]") {
  WriterByHand stream;
  stream.protocol->pause_writing();
  const Task<void> draining = stream.loop.create_task(stream.writer->drain());
  run_once(stream.loop);
  stream.protocol->connection_lost(broken_pipe());
  run_once(stream.loop, 3);
  REQUIRE(draining.done());
  CHECK_THROWS_AS(draining.result(), OSError);
}

TEST_CASE("who waits in drain is let go by a connection that ends well", "[streams][test_streams.test_drain_raises]") {
  WriterByHand stream;
  stream.protocol->pause_writing();
  const Task<void> draining = stream.loop.create_task(stream.writer->drain());
  run_once(stream.loop);
  stream.protocol->connection_lost(nullptr);
  run_once(stream.loop, 3);
  REQUIRE(draining.done());
  CHECK_FALSE(draining.exception());
}

TEST_CASE("drain after the end of the connection is a ConnectionResetError",
          "[streams][test_streams.test_async_writer_api_exception_after_close]") {
  WriterByHand stream;
  stream.protocol->connection_lost(nullptr);
  CHECK(stream.run(test::errno_of(stream.writer->drain())) == ECONNRESET);
}

TEST_CASE("drain raises what the reader died of", "[streams][test_streams.test_drain_raises]") {
  WriterByHand stream;
  stream.protocol->connection_lost(broken_pipe());
  CHECK(stream.run(test::errno_of(stream.writer->drain())) == EPIPE);
}

TEST_CASE("drain of a closing stream gives the loop one iteration", "[streams][test_streams.test_drain_raises]") {
  WriterByHand stream;
  stream.writer->close();
  const Task<void> draining = stream.loop.create_task(stream.writer->drain());
  run_once(stream.loop, 1);
  CHECK_FALSE(draining.done());
  run_once(stream.loop, 1);
  CHECK(draining.done());
}

TEST_CASE("wait_closed raises what the connection died of, and so does every other one",
          "[streams][test_streams.test_wait_closed_on_close]") {
  WriterByHand stream;
  const Task<void> waiting = stream.loop.create_task(stream.writer->wait_closed());
  run_once(stream.loop, 3);
  CHECK_FALSE(waiting.done());
  stream.protocol->connection_lost(broken_pipe());
  CHECK_THROWS_AS(stream.loop.run_until_complete(waiting), OSError);
  CHECK(stream.run(test::errno_of(stream.writer->wait_closed())) == EPIPE);
}

TEST_CASE("all who wait in wait_closed wait for the same future: who cancels one cancels all",
          "[streams][test_streams.test_wait_closed_on_close]") {
  WriterByHand stream;
  const Task<void> first = stream.loop.create_task(stream.writer->wait_closed());
  const Task<void> second = stream.loop.create_task(stream.writer->wait_closed());
  run_once(stream.loop, 2);
  first.cancel();
  run_once(stream.loop, 3);
  CHECK(first.cancelled());
  CHECK(second.cancelled());  // as upstream's does
  stream.protocol->connection_lost(nullptr);
}

TEST_CASE("what a connection died of need not be asked for", "[streams][test_streams.test_drain_raises]") {
  WriterByHand stream;
  Contexts& caught = stream.loop.catch_exceptions();
  stream.protocol->connection_lost(broken_pipe());
  stream.writer.reset();
  stream.protocol.reset();
  CHECK(caught.empty());
}

// ---- Over real sockets -------------------------------------------------------------------------------

TEST_CASE("open_connection talks to a server", "[streams][test_streams.test_open_connection]") {
  const auto main = []() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("hello world!\n");
    const std::string answer = co_await reader.read();
    writer.close();
    co_await writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    co_return answer;
  };
  CHECK(run_io(main) == "HELLO WORLD!\n");
}

TEST_CASE("open_connection finds localhost", "[streams][test_streams.test_open_connection]") {
  const auto main = []() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_server(shout_once, "localhost", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("localhost", port_of(server));
    writer.write("hi\n");
    const std::string answer = co_await reader.readline();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "HI\n");
}

TEST_CASE("open_unix_connection talks to a unix server",
          "[streams][test_streams.test_open_unix_connection][test_streams.test_start_unix_server]") {
  const test::TemporaryDirectory directory;
  const auto main = [&]() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_unix_server(shout_once, directory / "socket");
    const auto [reader, writer] = co_await asyncio::open_unix_connection(directory / "socket");
    writer.write("hello unix\n");
    const std::string answer = co_await reader.read();
    writer.close();
    co_await writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    co_return answer;
  };
  CHECK(run_io(main) == "HELLO UNIX\n");
  CHECK_FALSE(std::filesystem::exists(directory / "socket"));
}

TEST_CASE("open_connection to nobody is a ConnectionRefusedError",
          "[streams][test_streams.test_open_connection_error]") {
  const std::ptrdiff_t fds = test::open_fds();
  const int port = unused_port();
  const auto main = [&]() -> Coroutine<int> {
    co_return co_await test::errno_of(asyncio::open_connection("127.0.0.1", port));
  };
  CHECK(run_io(main) == ECONNREFUSED);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("open_unix_connection to no file is a FileNotFoundError",
          "[streams][test_streams.test_open_unix_connection_error]") {
  const std::ptrdiff_t fds = test::open_fds();
  const test::TemporaryDirectory directory;
  const auto main = [&]() -> Coroutine<int> {
    co_return co_await test::errno_of(asyncio::open_unix_connection(directory / "none"));
  };
  CHECK(run_io(main) == ENOENT);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("a server's callback may be a plain function", "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto on_client = [](StreamReader, StreamWriter writer) {
      writer.write("welcome\n");
      writer.close();
    };
    const Server server = co_await asyncio::start_server(on_client, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "welcome\n");
}

TEST_CASE("a plain callback may start a task that goes on", "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    std::vector<Task<void>> tasks;
    const auto on_client = [&](StreamReader reader, StreamWriter writer) {
      tasks.push_back(asyncio::create_task(shout_once(reader, writer)));
    };
    const Server server = co_await asyncio::start_server(on_client, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("hello\n");
    const std::string answer = co_await reader.read();
    server.close();
    for (const Task<void>& task : tasks) co_await task;
    co_return answer;
  };
  CHECK(run_io(main) == "HELLO\n");
}

TEST_CASE("a server's callback may be an object's method", "[streams][test_streams.test_start_server]") {
  struct MyServer {
    Coroutine<void> handle(StreamReader reader, StreamWriter writer) {
      ++clients;
      co_await shout_once(reader, writer);
    }
    int clients = 0;
  };
  MyServer my;
  const auto main = [&]() -> Coroutine<std::string> {
    const auto handle = [&](StreamReader reader, StreamWriter writer) { return my.handle(reader, writer); };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    std::string answers;
    for (const char* line : {"one\n", "two\n"}) {
      const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
      writer.write(line);
      answers += co_await reader.read();
    }
    server.close();
    co_return answers;
  };
  CHECK(run_io(main) == "ONE\nTWO\n");
  CHECK(my.clients == 2);
}

TEST_CASE("what a server's callback captured lives until its last client is served",
          "[streams][test_streams.test_start_server]") {
  const int alive = Instance::alive();
  const auto main = [&]() -> Coroutine<std::string> {
    std::optional<Server> server;
    {
      const auto handle = [text = std::make_shared<std::string>("captured "), instance = Instance()](
                              StreamReader reader, StreamWriter writer) -> Coroutine<void> {
        const std::string line = co_await reader.readline();
        writer.write(*text + line);
        writer.close();
      };
      server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    }
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(*server));
    writer.write("");
    co_await iterations(20);  // the client is being served
    server->close();
    server.reset();
    co_await iterations(5);
    CHECK(Instance::alive() > alive);
    writer.write("line\n");
    co_return co_await reader.read();
  };
  CHECK(run_io(main) == "captured line\n");
  CHECK(Instance::alive() == alive);
}

namespace {

/// A client says something to a server with this callback: what was reported, and what the client heard.
template <class F> std::pair<Contexts, std::string> reported(F callback) {
  Contexts caught;
  const auto main = [&]() -> Coroutine<std::string> {
    test::catch_exceptions(caught);
    const Server server = co_await asyncio::start_server(callback, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string answer = co_await reader.read();  // ends only if the server closes
    writer.close();
    co_await writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    co_return answer;
  };
  const std::string answer = run_io(main);
  return {caught, answer};
}

}  // namespace

TEST_CASE("an exception in a client's coroutine is reported, and its connection closed",
          "[streams][test_streams.test_unhandled_exception]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter writer) -> Coroutine<void> {
    writer.write("so far");
    co_await iterations(2);
    throw asyncio::ValueError("test");
  });
  REQUIRE(caught.size() == 1);
  CHECK(caught[0].message == "Unhandled exception in client_connected_cb");
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: test");
  CHECK(answer == "so far");
}

TEST_CASE("a client's coroutine that is cancelled is not reported, and its connection closed",
          "[streams][test_streams.test_unhandled_cancel]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter) -> Coroutine<void> {
    asyncio::current_task().cancel();
    co_await asyncio::sleep(60);
  });
  CHECK(caught.empty());
  CHECK(answer == "");
}

TEST_CASE("an exception in a plain callback is reported, and the connection closed",
          "[streams][test_streams.test_unhandled_exception]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter) -> void { throw asyncio::ValueError("test"); });
  REQUIRE(caught.size() == 1);
  CHECK(asyncio::describe(caught[0].exception) == "std::invalid_argument: test");
  CHECK(answer == "");
}

TEST_CASE("a client's coroutine that forgets to close does so when it drops its writer",
          "[streams][test_streams.test_unclosed_server_resource_warnings]") {
  const auto [caught, answer] = reported([](StreamReader, StreamWriter writer) -> Coroutine<void> {
    writer.write("bye");
    co_return;
  });
  CHECK(caught.empty());
  CHECK(answer == "bye");
}

TEST_CASE("the server goes on after a client's coroutine has failed",
          "[streams][test_streams.test_unhandled_exception]") {
  const auto main = []() -> Coroutine<std::string> {
    Contexts caught;
    test::catch_exceptions(caught);
    const auto handle = [n = 0](StreamReader reader, StreamWriter writer) mutable -> Coroutine<void> {
      if (++n == 1) throw asyncio::ValueError("the first");
      co_await shout_once(reader, writer);
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const Streams first = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    co_await first.first.read();
    const Streams second = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    second.second.write("the second\n");
    const std::string answer = co_await second.first.read();
    server.close();
    CHECK(caught.size() == 1);
    asyncio::get_running_loop().set_exception_handler(nullptr);
    co_return answer;
  };
  CHECK(run_io(main) == "THE SECOND\n");
}

TEST_CASE("the limit of open_connection is its reader's", "[streams][test_streams.test_readline_limit]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here, 10), b = co_await open_socket(there);
    b.second.write("12345678901\nshort\n");
    const std::string error = co_await thrown_by(a.first.readline());
    CHECK(error == "std::invalid_argument: Separator is found, but chunk is longer than limit");
    co_return co_await a.first.readline();
  };
  CHECK(run_io(main) == "short\n");
}

TEST_CASE("the limit of start_server is its readers'", "[streams][test_streams.test_readline_limit]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto handle = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      const std::string error = co_await thrown_by(reader.readline());
      writer.write(error);
      writer.close();
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0, {.limit = 10});
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("12345678901\n");
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "std::invalid_argument: Separator is found, but chunk is longer than limit");
}

TEST_CASE("a limit of 0 is refused by open_connection", "[streams][test_streams.test_invalid_limit]") {
  const auto main = []() -> Coroutine<std::string> {
    co_return co_await thrown_by(asyncio::open_connection("127.0.0.1", 1, {.limit = 0}));
  };
  CHECK(run_io(main) == "std::invalid_argument: Limit cannot be <= 0");
}

TEST_CASE("open_connection connects from the local address it is told",
          "[streams][test_streams.test_open_connection]") {
  const auto main = []() -> Coroutine<bool> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    const asyncio::SocketAddress local("127.0.0.2", 0);
    asyncio::StreamOptions options;
    options.local_addr = local;
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server), options);
    server.close();
    co_return writer.get_extra_info("sockname")->host() == "127.0.0.2";
  };
  CHECK(run_io(main));
}

TEST_CASE("get_extra_info knows both ends of a connection", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<void> {
    std::optional<asyncio::SocketAddress> peer, local;
    const auto handle = [&](StreamReader, StreamWriter writer) {
      peer = writer.get_extra_info("peername");
      local = writer.get_extra_info("sockname");
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    co_await reader.read();
    CHECK(peer == writer.get_extra_info("sockname"));
    CHECK(local == writer.get_extra_info("peername"));
    CHECK(writer.get_extra_info("peername")->port() == port_of(server));
    CHECK_FALSE(writer.get_extra_info("nothing"));
    server.close();
  };
  run_io(main);
}

TEST_CASE("start_server that is not to start yet serves from serve_forever on",
          "[streams][test_streams.test_start_server]") {
  const auto main = []() -> Coroutine<std::string> {
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0, {.start_serving = false});
    CHECK_FALSE(server.is_serving());
    const Task<void> serving = asyncio::create_task(server.serve_forever());
    co_await iterations(1);
    CHECK(server.is_serving());
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("served\n");
    const std::string answer = co_await reader.read();
    writer.close();
    serving.cancel();
    const std::string error = co_await thrown_by(asyncio::wait_for(serving, 10));
    CHECK(error == "asyncio::CancelledError");
    CHECK_FALSE(server.is_serving());
    co_return answer;
  };
  CHECK(run_io(main) == "SERVED\n");
}

TEST_CASE("wait_closed returns when the connection is closed", "[streams][test_streams.test_wait_closed_on_close]") {
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("x\n");
    co_await reader.read();
    CHECK_FALSE(writer.is_closing());
    writer.close();
    CHECK(writer.is_closing());
    co_await writer.wait_closed();
    CHECK(writer.transport()->fd() == -1);
    server.close();
  };
  run_io(main);
}

TEST_CASE("wait_closed returns though there is data that nobody read",
          "[streams][test_streams.test_wait_closed_on_close_with_unread_data]") {
  const auto main = []() -> Coroutine<void> {
    const auto handle = [](StreamReader, StreamWriter writer) { writer.write("first line\nsecond line\n"); };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string line = co_await reader.readline();
    CHECK(line == "first line\n");
    writer.close();
    co_await writer.wait_closed();
    server.close();
  };
  run_io(main);
}

TEST_CASE("close sends what was written before", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<std::size_t> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    const std::string data(4'000'000, 'x');
    a.second.write(data);
    a.second.close();
    CHECK(a.second.transport()->get_write_buffer_size() > 0);
    co_return (co_await b.first.read()).size();
  };
  CHECK(run_io(main) == 4'000'000);
}

TEST_CASE("a write after close goes nowhere, and drain is a ConnectionResetError",
          "[streams][test_streams.test_async_writer_api_exception_after_close]") {
  Contexts caught;
  const auto main = [&]() -> Coroutine<int> {
    test::catch_exceptions(caught);
    const Server server = co_await asyncio::start_server(shout_once, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("x\n");
    co_await reader.read();
    writer.close();
    writer.write("data");
    const int code = co_await test::errno_of(writer.drain());
    server.close();
    co_return code;
  };
  CHECK(run_io(main) == ECONNRESET);
  CHECK(caught.empty());
}

TEST_CASE("closing the writer is the end of the reader, too",
          "[streams][test_streams.test_eof_feed_when_closing_writer]") {
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.close();
    co_await writer.wait_closed();
    CHECK(reader.at_eof());
    const std::string nothing = co_await reader.read();
    CHECK(nothing == "");
    server.close();
  };
  run_io(main);
}

TEST_CASE("closing the writer wakes a task that waits to read",
          "[streams][test_streams.test_eof_feed_when_closing_writer]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    const Task<std::string> reading = asyncio::create_task(a.first.readline());
    co_await iterations(3);
    a.second.close();
    co_return co_await reading;
  };
  CHECK(run_io(main) == "");
}

TEST_CASE("drain raises when the other end has closed, however fast one writes",
          "[streams][test_streams.test_drain_raises]") {
  Contexts caught;
  const auto main = [&]() -> Coroutine<int> {
    test::catch_exceptions(caught);
    const asyncio::FileDescriptor listening = asyncio::make_socket(AF_INET, SOCK_STREAM);
    asyncio::set_blocking(listening.get(), true);
    const asyncio::SocketAddress any("127.0.0.1", 0);
    asyncio::check_call(::bind(listening.get(), any.data(), any.size()), "bind");
    asyncio::check_call(::listen(listening.get(), 1), "listen");
    std::thread server([&] { ::close(::accept(listening.get(), nullptr, nullptr)); });
    const int port = asyncio::getsockname(listening.get()).port();
    const auto client = [&]() -> Coroutine<void> {
      const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
      for (;;) {
        writer.write("foo\n");
        co_await writer.drain();
      }
    };
    const int code = co_await test::errno_of(client());
    server.join();
    co_return code;
  };
  const int code = run_io(main);
  CHECK((code == ECONNRESET || code == EPIPE));
  CHECK(caught.empty());
}

TEST_CASE("a reset by the other end is raised by reading", "[streams][test_streams.test_read_exception]") {
  const auto main = []() -> Coroutine<int> {
    const auto handle = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      co_await reader.readline();
      const linger reset{1, 0};
      ::setsockopt(writer.transport()->fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      writer.transport()->abort();
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    writer.write("go\n");
    const int code = co_await test::errno_of(reader.readline());
    const int again = co_await test::errno_of(reader.read(1));
    CHECK(again == code);
    const int closed = co_await test::errno_of(writer.wait_closed());
    CHECK(closed == code);
    server.close();
    co_return code;
  };
  CHECK(run_io(main) == ECONNRESET);
}

TEST_CASE("write_eof ends one direction, and the answer still comes", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto handle = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      const std::string all = co_await reader.read();
      writer.write(std::to_string(all.size()));
      writer.close();
    };
    const Server server = co_await asyncio::start_server(handle, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    const std::string data(3'000'000, 'x');
    writer.write(data);
    CHECK(writer.can_write_eof());
    writer.write_eof();
    CHECK_THROWS_AS(writer.write("more"), asyncio::RuntimeError);
    CHECK_FALSE(writer.is_closing());
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "3000000");
}

TEST_CASE("drain holds a fast writer back until the reader has read", "[streams][test_streams.test_multiple_drain]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there, 1024);
    std::size_t written = 0, buffered = 0;
    const auto write_much = [&]() -> Coroutine<void> {
      const std::string block(16 * 1024, 'x');
      for (; written < 8'000'000; written += block.size()) {
        a.second.write(block);
        buffered = std::max(buffered, a.second.transport()->get_write_buffer_size());
        co_await a.second.drain();
      }
      a.second.close();
    };
    const Task<void> writing = asyncio::create_task(write_much());
    std::size_t before = 1;
    while (before != written) {  // until it is held back
      before = written;
      co_await iterations(50);
    }
    CHECK_FALSE(writing.done());
    CHECK(written < 4'000'000);
    std::size_t read = 0;
    for (std::string data; data = co_await b.first.read(100'000), !data.empty();) read += data.size();
    co_await writing;
    CHECK(read == written);
    CHECK(buffered <= 64 * 1024 + 16 * 1024);
  };
  run_io(main);
}

TEST_CASE("a reader that nobody reads from holds the other end back", "[streams][test_subprocess.test_pause_reading]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there, 1000);
    const std::string data(2'000'000, 'x');
    a.second.write(data);
    co_await iterations(100);
    CHECK_FALSE(b.second.transport()->is_reading());
    CHECK(a.second.transport()->get_write_buffer_size() > 0);
    const std::string all = co_await b.first.readexactly(data.size());
    CHECK(all == data);
    CHECK(b.second.transport()->is_reading());
  };
  run_io(main);
}

TEST_CASE("both ends may write much and read much at once", "[streams][test_streams.test_async_writer_api]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    const auto exchange = [](Streams stream, char c) -> Coroutine<std::string> {
      const auto send = [&]() -> Coroutine<void> {
        for (int i = 0; i < 100; ++i) {
          stream.second.write(std::string(30'000, c));
          co_await stream.second.drain();
        }
        stream.second.write_eof();
      };
      const Task<void> sending = asyncio::create_task(send());
      const std::string all = co_await stream.first.read();
      co_await sending;
      co_return all;
    };
    const auto [got_a, got_b] = co_await asyncio::gather(exchange(a, 'a'), exchange(b, 'b'));
    CHECK((got_a == std::string(3'000'000, 'b')));
    CHECK((got_b == std::string(3'000'000, 'a')));
  };
  run_io(main);
}

TEST_CASE("the reader may be dropped while one writes, and the writer while one reads",
          "[streams][test_streams.test_unclosed_resource_warnings]") {
  const auto main = []() -> Coroutine<void> {
    const auto [here, there] = raw_socket_pair();
    std::optional<Streams> a = co_await open_socket(here);
    const Streams b = co_await open_socket(there);
    std::optional<StreamWriter> writer = a->second;
    a.reset();
    b.second.write("nobody reads this");
    co_await iterations(5);
    writer->write("still here\n");
    const std::string line = co_await b.first.readline();
    CHECK(line == "still here\n");
    const Task<std::string> reading = asyncio::create_task(b.first.read());
    writer.reset();  // the last reference closes
    const std::string rest = co_await reading;
    CHECK(rest == "");
  };
  run_io(main);
}

TEST_CASE("connections that are dropped anyhow leave no descriptor open",
          "[streams][test_streams.test_unclosed_resource_warnings]") {
  const std::ptrdiff_t fds = test::open_fds();
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    for (int i = 0; i < 20; ++i) {
      const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
      writer.write("hello\n");
      if (i % 2 == 0) co_await reader.readline();
      if (i % 3 == 0) writer.close();
    }
    const Streams left_open = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    static std::optional<Streams> outlives;  // its loop
    outlives = left_open;
  };
  run_io(main);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("streams may outlive their loop", "[streams][test_streams.test_loop_is_closed_resource_warnings]") {
  std::optional<Streams> streams;
  const auto main = [&]() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    streams = co_await asyncio::open_connection("127.0.0.1", port_of(server));
  };
  run_io(main);
  CHECK(streams->second.is_closing());
  streams->second.close();
  streams->second.write("nobody hears");
  CHECK_FALSE(streams->second.get_extra_info("nothing"));
  streams.reset();
}

TEST_CASE("a cancelled open_connection leaves nothing behind", "[streams][test_streams.test_open_connection]") {
  const std::ptrdiff_t fds = test::open_fds();
  const auto main = []() -> Coroutine<void> {
    const Server server = co_await asyncio::start_server(echo, "127.0.0.1", 0);
    for (int n = 0; n < 6; ++n) {
      const auto connecting = asyncio::create_task(asyncio::open_connection("127.0.0.1", port_of(server)));
      co_await iterations(n);
      connecting.cancel();
      co_await asyncio::wait(std::vector(1, connecting));
    }
    server.close();
  };
  run_io(main);
  CHECK(test::open_fds() == fds);
}

TEST_CASE("readline with a timeout may be tried again", "[streams][test_streams.test_readline]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto [here, there] = raw_socket_pair();
    const Streams a = co_await open_socket(here), b = co_await open_socket(there);
    b.second.write("half a ");
    const std::string error = co_await thrown_by(asyncio::wait_for(a.first.readline(), 0.01));
    CHECK(error == "asyncio::TimeoutError");
    b.second.write("line\n");
    co_return co_await a.first.readline();
  };
  CHECK(run_io(main) == "half a line\n");
}

TEST_CASE("a StreamReader reads all of a pipe, however small its limit",
          "[streams][test_streams.test_read_all_from_pipe_reader]") {
  const auto main = []() -> Coroutine<std::string> {
    int ends[2];
    asyncio::check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
    const StreamReader reader(1);
    const auto protocol = std::make_shared<StreamReaderProtocol>(reader);
    co_await asyncio::get_running_loop().connect_read_pipe([&] { return protocol; }, ends[0]);
    asyncio::check_call(static_cast<int>(::write(ends[1], "data", 4)), "write");
    ::close(ends[1]);
    co_return co_await reader.read(-1);
  };
  CHECK(run_io(main) == "data");
}

TEST_CASE("a pipe may be written by a StreamWriter", "[streams][test_streams.test_read_all_from_pipe_reader]") {
  const auto main = []() -> Coroutine<std::size_t> {
    EventLoop& loop = asyncio::get_running_loop();
    int ends[2];
    asyncio::check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
    const StreamReader reader;
    const auto reading = std::make_shared<StreamReaderProtocol>(reader);
    co_await loop.connect_read_pipe([&] { return reading; }, ends[0]);
    const auto writing = std::make_shared<StreamReaderProtocol>(StreamReader());
    const auto connected = co_await loop.connect_write_pipe([&] { return writing; }, ends[1]);
    const StreamWriter writer(connected.first, writing, std::nullopt);
    const auto send = [&]() -> Coroutine<void> {
      const std::string data(500'000, 'x');
      writer.write(data);
      co_await writer.drain();
      writer.write_eof();
    };
    const Task<void> sending = asyncio::create_task(send());
    const std::string all = co_await reader.read();
    co_await sending;
    co_await writer.wait_closed();
    co_return all.size();
  };
  CHECK(run_io(main) == 500'000);
}

TEST_CASE("a unix socket's path may be in Linux's abstract space", "[streams][test_streams.test_start_unix_server]") {
  const auto main = []() -> Coroutine<std::string> {
    const std::string path = std::string(1, '\0') + "asyncio-test-" + std::to_string(::getpid());
    const Server server = co_await asyncio::start_unix_server(shout_once, path);
    const auto [reader, writer] = co_await asyncio::open_unix_connection(path);
    writer.write("abstract\n");
    const std::string answer = co_await reader.read();
    server.close();
    co_return answer;
  };
  CHECK(run_io(main) == "ABSTRACT\n");
}

// ---- Stress ------------------------------------------------------------------------------------------

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A sum that tells the order of the bytes, too (FNV-1a).
class Checksum {
 public:
  void add(std::string_view data) {
    for (const char c : data) value_ = (value_ ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037u;
};

/// As many descriptors as the system lets us have.
std::size_t raise_fd_limit() {
  rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace

TEST_CASE("a slow reader gets every byte of a long stream, and memory stays bounded", "[streams][stress]") {
  const std::size_t total = test::stress() ? std::size_t{1} << 30 : test::TSAN || test::ASAN ? 8 << 20 : 64 << 20;
  const std::size_t resident_before = test::resident();
  std::size_t most_buffered = 0, most_resident = 0;
  Checksum sent, received;
  const auto main = [&]() -> Coroutine<std::size_t> {
    const auto send = [&](StreamReader, StreamWriter writer) -> Coroutine<void> {
      std::uint64_t state = 88172645463325252u;
      std::string block(32 * 1024, '\0');
      for (std::size_t done = 0; done < total; done += block.size()) {
        for (char& c : block)
          c = static_cast<char>((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
        sent.add(block);
        writer.write(block);
        most_buffered = std::max(most_buffered, writer.transport()->get_write_buffer_size());
        co_await writer.drain();
      }
      writer.close();
      co_await writer.wait_closed();
    };
    const Server server = co_await asyncio::start_server(send, "127.0.0.1", 0);
    const auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port_of(server));
    std::size_t read = 0;
    int turns = 0;
    for (std::string data; data = co_await reader.read(20'000), !data.empty(); read += data.size()) {
      received.add(data);
      ++turns;
      co_await iterations(turns % 4);  // slower than the sender
      if (turns % 1024 == 0) most_resident = std::max(most_resident, test::resident());
    }
    server.close();
    co_return read;
  };
  const Clock::time_point start = Clock::now();
  CHECK(run_io(main, 600) == total);
  CHECK(sent.value() == received.value());
  CHECK(most_buffered <= 64 * 1024 + 32 * 1024);
  const std::size_t grown = most_resident > resident_before ? most_resident - resident_before : 0;
  if (!test::TSAN && !test::ASAN) CHECK(grown < 16u << 20);
  std::printf("stream of %zu MiB: %.2f s, %zu KiB buffered at most, memory grew by %zu KiB at most (peak %zu MiB)\n",
              total >> 20, seconds_since(start), most_buffered >> 10, grown >> 10, test::peak_resident() >> 20);
}

TEST_CASE("many connections at once echo many messages each, and nothing is lost", "[streams][stress]") {
  const std::size_t wanted = test::stress() ? 10'000 : 200, messages = test::stress() ? 100 : 20;
  const std::size_t descriptors = raise_fd_limit();
  const std::size_t possible = (descriptors - static_cast<std::size_t>(test::open_fds()) - 16) / 2;
  const std::size_t connections = std::min(wanted, possible);
  if (connections < wanted) {
    std::printf("RLIMIT_NOFILE is %zu: %zu connections in place of %zu, both ends being here\n", descriptors,
                connections, wanted);
  }
  std::size_t served = 0, per_connection = 0;
  double connecting = 0;
  const auto main = [&]() -> Coroutine<std::size_t> {
    const auto serve = [&](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
      ++served;
      while (auto line = co_await reader.anext()) {
        writer.write(*line);
        co_await writer.drain();
      }
    };
    const Server server = co_await asyncio::start_server(serve, "127.0.0.1", 0, {.backlog = 4096});
    const std::size_t before = test::resident();
    const Clock::time_point start = Clock::now();
    std::vector<Streams> clients;
    asyncio::Semaphore at_once(100);
    const auto connect = [&]() -> Coroutine<void> {
      co_await asyncio::async_with(at_once, [&]() -> Coroutine<void> {
        clients.push_back(co_await asyncio::open_connection("127.0.0.1", port_of(server)));
      });
    };
    {
      std::vector<Task<void>> tasks;
      for (std::size_t i = 0; i < connections; ++i) tasks.push_back(asyncio::create_task(connect()));
      for (const Task<void>& task : tasks) co_await task;
    }
    co_await test::until([&] { return served == connections; });
    per_connection = (test::resident() - before) / connections;
    connecting = seconds_since(start);
    const auto talk = [&](std::size_t i) -> Coroutine<std::size_t> {
      const auto [reader, writer] = clients[i];
      std::size_t right = 0;
      for (std::size_t n = 0; n < messages; ++n) {
        const std::string line = std::to_string(i) + " " + std::to_string(n) + "\n";
        writer.write(line);
        co_await writer.drain();
        right += co_await reader.readline() == line;
      }
      writer.close();
      co_await writer.wait_closed();
      co_return right;
    };
    std::vector<Task<std::size_t>> talking;
    for (std::size_t i = 0; i < connections; ++i) talking.push_back(asyncio::create_task(talk(i)));
    std::size_t right = 0;
    for (const Task<std::size_t>& task : talking) right += co_await task;
    server.close();
    co_await server.wait_closed();
    co_return right;
  };
  const std::ptrdiff_t fds = test::open_fds();
  const Clock::time_point start = Clock::now();
  CHECK(run_io(main, 600) == connections * messages);
  CHECK(test::open_fds() == fds);
  std::printf(
      "%zu connections x %zu messages: %.2f s (%.2f s to connect), %zu bytes a connection, both ends (peak %zu MiB)\n",
      connections, messages, seconds_since(start), connecting, per_connection, test::peak_resident() >> 20);
}
