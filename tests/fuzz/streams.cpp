// StreamReader: whatever arrives in whatever pieces, every read gives what a plain string would give.
#include <optional>

#include "tests/fuzz/targets.hpp"
#include "tests/utils.hpp"

namespace fuzz {
namespace {

using asyncio::Coroutine;

// Knows only whether the reader has paused it.
struct PausedTransport : asyncio::Transport {
  void close() override {}
  void abort() override {}
  bool is_closing() const override { return false; }
  std::optional<asyncio::SocketAddress> get_extra_info(std::string_view) const override { return std::nullopt; }
  int fd() const override { return -1; }
  void set_write_buffer_limits(asyncio::WriteBufferLimits) override {}
  std::size_t get_write_buffer_size() const override { return 0; }
  void write(std::string_view) override {}
  void write_eof() override {}
  void pause_reading() override { paused = true; }
  void resume_reading() override { paused = false; }
  bool is_reading() const override { return !paused; }
  std::shared_ptr<asyncio::Protocol> get_protocol() const override { return nullptr; }
  void set_protocol(std::shared_ptr<asyncio::Protocol>) override {}
  bool paused = false;
};

enum class Read { some, all, exactly, until, line };
struct Operation {
  Read read;
  std::size_t n;
  std::vector<std::string> separators;
};

// The bytes that are there, as a string: what each read gives at once, nullopt if it has to wait.
struct Model {
  std::size_t limit;
  std::string bytes{};
  bool eof = false;

  std::string take(std::size_t n) {
    std::string taken = bytes.substr(0, n);
    bytes.erase(0, n);
    return taken;
  }
  std::string incomplete() { return "incomplete " + take(bytes.size()); }

  std::optional<std::string> result(const Operation& operation) {
    if (operation.read == Read::some) return some(operation.n);
    if (operation.read == Read::all) return eof ? std::optional(take(bytes.size())) : std::nullopt;
    if (operation.read == Read::exactly) return exactly(operation.n);
    if (operation.read == Read::line) return line();
    return until(operation.separators);
  }
  std::optional<std::string> some(std::size_t n) {
    if (n > 0 && bytes.empty() && !eof) return std::nullopt;
    return take(n);
  }
  std::optional<std::string> exactly(std::size_t n) {
    if (bytes.size() >= n) return take(n);
    if (eof) return incomplete();
    return std::nullopt;
  }

  // Where the separator that ends first starts and ends.
  std::optional<std::pair<std::size_t, std::size_t>> find(const std::vector<std::string>& separators) const {
    for (std::size_t end = 0; end <= bytes.size(); ++end) {
      for (std::size_t start = end; start-- > 0;) {  // the shortest first
        for (const std::string& separator : separators) {
          if (bytes.substr(start, end - start) == separator) return std::pair(start, end);
        }
      }
    }
    return std::nullopt;
  }
  std::optional<std::string> until(const std::vector<std::string>& separators) {
    std::size_t longest = 0;
    for (const std::string& separator : separators) longest = std::max(longest, separator.size());
    if (const auto found = find(separators)) {
      return found->first > limit ? "overrun " + std::to_string(found->first) : take(found->second);
    }
    if (bytes.size() + 1 > longest + limit) return "overrun " + std::to_string(bytes.size() + 1 - longest);
    if (eof) return incomplete();
    return std::nullopt;
  }
  std::optional<std::string> line() {
    const std::size_t end = bytes.find('\n');
    if (end != bytes.npos && end <= limit) return take(end + 1);
    if (end == bytes.npos && bytes.size() <= limit) return eof ? std::optional(take(bytes.size())) : std::nullopt;
    take(end == bytes.npos ? bytes.size() : end + 1);
    return "too long";
  }
};

Coroutine<std::string> bytes_of(asyncio::StreamReader reader, Operation operation) {
  if (operation.read == Read::some) co_return co_await reader.read(static_cast<std::ptrdiff_t>(operation.n));
  if (operation.read == Read::all) co_return co_await reader.read();
  if (operation.read == Read::exactly) co_return co_await reader.readexactly(operation.n);
  if (operation.read == Read::line) co_return co_await reader.readline();
  co_return co_await reader.readuntil(operation.separators);
}

// The bytes, or the error.
Coroutine<std::string> outcome_of(asyncio::StreamReader reader, Operation operation) {
  try {
    co_return co_await bytes_of(reader, operation);
  } catch (const asyncio::IncompleteReadError& error) {
    co_return "incomplete " + error.partial();
  } catch (const asyncio::LimitOverrunError& error) {
    co_return "overrun " + std::to_string(error.consumed());
  } catch (const asyncio::ValueError&) {
    co_return "too long";
  }
}

class Run {
 public:
  explicit Run(std::size_t limit) : model_{limit}, reader_(limit, loop_) { reader_.set_transport(transport_); }

  void feed(Bytes& input) {
    if (model_.eof) return;
    std::string data;
    for (unsigned n = input.below(8); n > 0; --n) data += "\n\r01ab"[input.below(6)];
    reader_.feed_data(data);
    model_.bytes += data;
    settle();
    const bool full = model_.bytes.size() > 2 * model_.limit;
    require(!full || data.empty() || pending_ || transport_->paused, "a full reader does not pause its transport");
  }
  void feed_eof() {
    reader_.feed_eof();
    model_.eof = true;
    settle();
  }
  void read(Bytes& input) {
    if (pending_) return;
    Operation operation{static_cast<Read>(input.below(5)), input.below(12), {}};
    static const std::vector<std::string> SEPARATORS = {"\n", "\r\n", "ab", "01a", "aba", "a"};
    for (unsigned n = 1 + input.below(3); n > 0; --n) operation.separators.push_back(SEPARATORS[input.below(6)]);
    operation_ = operation;
    pending_ = loop_.create_task(outcome_of(reader_, operation));
    settle();
  }
  void cancel() {
    if (!pending_) return;
    pending_->cancel();
    test::run_briefly(loop_, 4);
    require(pending_->cancelled(), "a cancelled read goes on");
    if (operation_.read == Read::all) model_.bytes.clear();  // what it had read is lost with it
    pending_.reset();
  }
  void finish() {
    feed_eof();
    require(!pending_, "a read waits although the stream has ended");
    const std::string rest = loop_.run_until_complete(reader_.read());
    require(rest == model_.bytes, "at the end '" + rest + "' is left, not '" + model_.bytes + "'");
    require(reader_.at_eof(), "at_eof() is false at the end");
  }

 private:
  void settle() {
    test::run_briefly(loop_, 4);
    if (!pending_) return;
    const std::optional<std::string> expected = model_.result(operation_);
    require(pending_->done() == expected.has_value(), expected ? "a read waits for ever" : "a read returns too early");
    require(expected || !transport_->paused, "a read waits for a transport that is paused");
    if (!expected) return;
    const std::string result = pending_->result();
    require(result == *expected, "'" + result + "', not '" + *expected + "'");
    pending_.reset();
  }

  test::TestLoop loop_;
  Model model_;
  asyncio::StreamReader reader_;
  std::shared_ptr<PausedTransport> transport_ = std::make_shared<PausedTransport>();
  std::optional<asyncio::Task<std::string>> pending_;
  Operation operation_{};
};

}  // namespace

void streams(std::string_view input) {
  Bytes bytes(input);
  Run run(1 + bytes.below(12));
  while (!bytes.empty()) {
    switch (bytes.below(8)) {
      case 0:
        run.cancel();
        break;
      case 1:
        bytes.below(4) == 0 ? run.feed_eof() : run.feed(bytes);
        break;
      case 2:
      case 3:
      case 4:
        run.read(bytes);
        break;
      default:
        run.feed(bytes);
    }
  }
  run.finish();
}

}  // namespace fuzz
