// StreamReader and StreamWriter without a network: fed by hand, and on a transport of the test's.
// Upstream counterpart: Lib/test/test_asyncio/test_streams.py.

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
using asyncio::IncompleteReadError;
using asyncio::LimitOverrunError;
using asyncio::OSError;
using asyncio::StreamReader;
using asyncio::StreamReaderProtocol;
using asyncio::StreamWriter;
using asyncio::Task;
using asyncio::Transport;
using test::Contexts;
using test::run_once;
using test::TestLoop;
using test::thrown;
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
  std::shared_ptr<asyncio::Protocol> get_protocol() const override { return protocol; }
  void set_protocol(std::shared_ptr<asyncio::Protocol> other) override { protocol = other; }

  std::string log, written;
  bool closing = false;
  std::shared_ptr<asyncio::Protocol> protocol;

 private:
  void note(const char* call) { log.append(log.empty() ? "" : " ").append(call); }
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

TEST_CASE("a reader that was full when its connection was lost gives what it has",
          "[streams][test_streams.test_feed_eof]") {
  ByHand stream(4);
  const auto protocol = std::make_shared<asyncio::StreamReaderProtocol>(stream.reader);
  const auto transport = std::make_shared<MockTransport>();
  protocol->connection_made(transport);
  protocol->data_received("123456789");
  CHECK(transport->log == "pause");
  protocol->connection_lost(nullptr);
  CHECK(stream.run(stream.reader.read(5)) == "12345");
  CHECK(stream.run(stream.reader.read(5)) == "6789");
  CHECK(stream.run(stream.reader.read(5)).empty());
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

TEST_CASE("after replace_transport the stream goes through the new transport",
          "[streams][test_streams.test_start_tls_server_1]") {
  WriterByHand stream;
  const auto upper = std::make_shared<MockTransport>();
  stream.writer->replace_transport(upper);
  stream.writer->write("hello");
  stream.reader.feed_data(std::string(2 * asyncio::DEFAULT_LIMIT + 1, 'x'));
  stream.writer.reset();
  CHECK(upper->written == "hello");
  CHECK(upper->log == "pause close");
  CHECK(stream.transport->written + stream.transport->log == "");
}

TEST_CASE("wait_closed ends with the connection also after replace_transport",
          "[streams][test_streams.test_start_tls_server_1]") {
  WriterByHand stream;
  const Task<void> before = stream.loop.create_task(stream.writer->wait_closed());
  stream.writer->replace_transport(std::make_shared<MockTransport>());
  stream.writer->close();
  stream.protocol->connection_lost(nullptr);
  stream.run(stream.writer->wait_closed());
  CHECK(before.done());
  CHECK(stream.transport->log == "");
}

TEST_CASE("a writer whose transport has got another protocol has no more to do with it", "[streams]") {
  WriterByHand stream;
  stream.transport->set_protocol(std::make_shared<asyncio::Protocol>());
  stream.run(stream.writer->wait_closed());
  stream.writer.reset();
  CHECK(stream.transport->log == "");
}

TEST_CASE("a writer that still has its transport's protocol closes it", "[streams]") {
  WriterByHand stream;
  stream.transport->set_protocol(stream.protocol);
  stream.writer.reset();
  CHECK(stream.transport->log == "close");
  stream.transport->set_protocol(nullptr);
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
