#include "task/io/streams.hpp"

#include <algorithm>
#include <cerrno>
#include <iostream>

namespace asyncio {

StreamReaderState::StreamReaderState(EventLoop& loop, std::size_t limit) : anchor_(loop.anchor()), limit_(limit) {
  if (limit == 0) throw ValueError("Limit cannot be <= 0");
}

// Ends the wait, unless it was cancelled.
static void finish(const Future<void>& waiter, const std::exception_ptr& exception) {
  if (!waiter.done()) exception ? waiter.set_exception(exception) : waiter.set_result();
}

// asyncio: streams.StreamReader._wakeup_waiter
void StreamReaderState::wakeup_waiter() {
  if (const std::optional<Future<void>> waiter = std::exchange(waiter_, std::nullopt)) finish(*waiter, exception_);
}

void StreamReaderState::set_exception(std::exception_ptr exception) {
  exception_ = std::move(exception);
  wakeup_waiter();
}

void StreamReaderState::feed_eof() {
  eof_ = true;
  wakeup_waiter();
}

void StreamReaderState::feed_data(std::string_view data) {
  if (eof_) throw RuntimeError("feed_data after feed_eof");
  if (data.empty()) return;
  buffer_.append(data);
  wakeup_waiter();
  if (!transport_ || paused_ || size() <= 2 * limit_) return;
  transport_->pause_reading();
  paused_ = true;
}

// asyncio: streams.StreamReader._maybe_resume_transport
void StreamReaderState::maybe_resume_transport(std::size_t left) {
  if (!transport_ || !paused_ || left > limit_) return;  // none: the connection is lost
  transport_->resume_reading();
  paused_ = false;
}

std::string StreamReaderState::take(std::size_t n) {
  maybe_resume_transport(size() - std::min(n, size()));  // first, so that nothing is taken if it fails
  if (start_ == 0 && n >= buffer_.size()) return std::exchange(buffer_, std::string());
  std::string taken(data().substr(0, n));
  start_ += taken.size();
  if (start_ > buffer_.size() / 2) buffer_.erase(0, std::exchange(start_, 0));  // each byte moves at most once
  return taken;
}

// asyncio: streams.StreamReader._wait_for_data
Coroutine<void> StreamReaderState::wait_for_data(const char* caller) {
  if (waiter_) {
    throw RuntimeError(std::string(caller) + "() called while another coroutine is already waiting for incoming data");
  }
  maybe_resume_transport(0);
  waiter_ = Future<void>(loop());
  const Finally forget([this] { waiter_.reset(); });
  co_await Future<void>(*waiter_);
}

Coroutine<std::string> StreamReaderState::read(Ref<StreamReaderState> self, std::ptrdiff_t n) {
  if (self->exception_) std::rethrow_exception(self->exception_);
  if (n < 0) {
    std::string all;
    for (std::string block; block = co_await read(self, self->limit_), !block.empty();) all += block;
    co_return all;
  }
  if (n > 0 && self->size() == 0 && !self->eof_) co_await self->wait_for_data("read");
  co_return self->take(n);
}

Coroutine<std::string> StreamReaderState::readexactly(Ref<StreamReaderState> self, std::size_t n) {
  if (self->exception_) std::rethrow_exception(self->exception_);
  while (self->size() < n) {
    if (self->eof_) throw IncompleteReadError(self->take(n), n);
    co_await self->wait_for_data("readexactly");
  }
  co_return self->take(n);
}

// The end of the separator that ends first, searched from `from` on. If there is none, `from` becomes the position
// from which to search next time.
std::optional<std::size_t> StreamReaderState::find_end(const std::vector<std::string>& ends, std::size_t& from) const {
  std::optional<std::size_t> first_end;
  std::size_t longest = 0, length = 0;
  for (const std::string& separator : ends) {
    longest = std::max(longest, separator.size());
    const std::size_t start = data().find(separator, from);
    if (start == std::string::npos || (first_end && start + separator.size() >= *first_end)) continue;
    first_end = start + separator.size();
    length = separator.size();
  }
  if (first_end && *first_end - length > limit_) {
    throw LimitOverrunError("Separator is found, but chunk is longer than limit", *first_end - length);
  }
  if (first_end) return first_end;
  if (size() + 1 > longest) from = std::max(from, size() + 1 - longest);
  if (from > limit_) throw LimitOverrunError("Separator is not found, and chunk exceed the limit", from);
  return std::nullopt;
}

Coroutine<std::string> StreamReaderState::readuntil(Ref<StreamReaderState> self, std::vector<std::string> separators) {
  std::sort(separators.begin(), separators.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  if (separators.empty()) throw ValueError("Separator should contain at least one element");
  if (separators.front().empty()) throw ValueError("Separator should be at least one-byte string");
  if (self->exception_) std::rethrow_exception(self->exception_);
  for (std::size_t offset = 0;;) {
    if (const std::optional<std::size_t> end = self->find_end(separators, offset)) co_return self->take(*end);
    if (self->eof_) throw IncompleteReadError(self->take(self->size()), std::nullopt);
    co_await self->wait_for_data("readuntil");
  }
}

Coroutine<std::string> StreamReaderState::readline(Ref<StreamReaderState> self) {
  std::vector<std::string> newline(1, "\n");
  try {
    co_return co_await readuntil(self, std::move(newline));
  } catch (const IncompleteReadError& error) {
    co_return error.partial();
  } catch (const LimitOverrunError& error) {
    const bool found = self->data().substr(error.consumed()).starts_with('\n');
    self->take(found ? error.consumed() + 1 : self->size());
    throw ValueError(error.what());
  }
}

Coroutine<std::optional<std::string>> StreamReader::anext(Ref<StreamReaderState> state) {
  std::string line = co_await StreamReaderState::readline(std::move(state));
  if (line.empty()) co_return std::nullopt;
  co_return line;
}

StreamReaderProtocol::StreamReaderProtocol(StreamReader reader, ClientConnected client_connected_cb)
    : reader_(std::move(reader)), client_connected_cb_(std::move(client_connected_cb)), closed_(reader_.get_loop()) {}

// Marks the error of the connection as retrieved, because a program need not call wait_closed().
StreamReaderProtocol::~StreamReaderProtocol() {
  if (closed_.done() && !closed_.cancelled()) static_cast<void>(closed_.exception());
}

void StreamReaderProtocol::connection_made(std::shared_ptr<Transport> transport) {
  reader_.set_transport(transport);
  if (!client_connected_cb_) return;
  const AnyFuture task = client_connected_cb_(reader_, StreamWriter(transport, shared_from_this(), reader_));
  if (!task) return;
  task.add_done_callback([transport](const AnyFuture& done) {
    if (!done.cancelled() && !done.exception()) return;
    const Finally closed([&] { transport->close(); });
    if (done.cancelled()) return;
    done.get_loop().report("Unhandled exception in client_connected_cb", {{}, done.exception(), done, {}});
  });
}

bool StreamReaderProtocol::eof_received() {
  reader_.feed_eof();
  return true;
}

void StreamReaderProtocol::connection_lost(std::exception_ptr exception) {
  exception ? reader_.set_exception(exception) : reader_.feed_eof();
  finish(closed_, exception);
  connection_lost_ = true;
  reader_.set_transport(nullptr);
  for (const Future<void>& waiter : drain_waiters_) finish(waiter, exception);
}

void StreamReaderProtocol::resume_writing() {
  paused_ = false;
  for (const Future<void>& waiter : drain_waiters_) finish(waiter, nullptr);
}

Coroutine<void> StreamReaderProtocol::drain_helper() {
  if (connection_lost_) throw_os_error(ECONNRESET, "Connection lost");
  if (!paused_) co_return;
  const Future<void> waiter(reader_.get_loop());
  drain_waiters_.push_back(waiter);
  const Finally remove([&] { std::erase(drain_waiters_, waiter); });
  co_await waiter;
}

StreamWriter::StreamWriter(std::shared_ptr<Transport> transport, std::shared_ptr<StreamReaderProtocol> protocol,
                           std::optional<StreamReader> reader)
    : state_(make_ref<State>(std::move(transport), std::move(protocol), std::move(reader))) {}

StreamWriter::State::~State() {
  raised_by([this] {  // a destructor cannot raise what a transport of one's own may
    if (transport->is_closing() || detached()) return;
    if (protocol->get_close_waiter().get_loop().get_debug()) std::cerr << "unclosed StreamWriter\n";
    transport->close();
  });
}

Coroutine<void> StreamWriter::drain(Ref<State> state) {
  if (state->reader && state->reader->exception()) std::rethrow_exception(state->reader->exception());
  if (state->transport->is_closing()) co_await sleep(0);
  co_await state->protocol->drain_helper();
}

Coroutine<void> StreamWriter::wait_closed(Ref<State> state) {
  if (!state->detached()) co_await state->protocol->get_close_waiter();
}

static Coroutine<StreamPair> open_stream(FileDescriptor socket, std::size_t limit) {
  const auto [transport, protocol] = co_await connect_stream<SelectorSocketTransport>(std::move(socket), limit);
  co_return StreamPair(protocol->reader(), StreamWriter(transport, protocol, protocol->reader()));
}

Coroutine<StreamPair> open_connection(std::string host, int port, StreamOptions options) {
  static_cast<void>(StreamReader(options.limit));  // ValueError before anything is connected
  FileDescriptor socket = co_await connect_socket(get_running_loop(), std::move(host), port, options);
  co_return co_await open_stream(std::move(socket), options.limit);
}

Coroutine<StreamPair> open_unix_connection(std::string path, StreamOptions options) {
  static_cast<void>(StreamReader(options.limit));
  FileDescriptor socket = co_await connect_unix_socket(get_running_loop(), std::move(path));
  co_return co_await open_stream(std::move(socket), options.limit);
}

static ProtocolFactory stream_factory(ClientConnected cb, std::size_t limit) {
  return [&loop = get_running_loop(), cb, limit] {
    return std::make_shared<StreamReaderProtocol>(StreamReader(limit, loop), cb);
  };
}

Coroutine<Server> start_stream_server(ClientConnected cb, std::string host, int port, StreamServerOptions options) {
  ProtocolFactory factory = stream_factory(std::move(cb), options.limit);
  co_return co_await serve(get_running_loop(), std::move(host), port, std::move(factory), options);
}

Coroutine<Server> start_unix_stream_server(ClientConnected cb, std::string path, StreamServerOptions options) {
  ProtocolFactory factory = stream_factory(std::move(cb), options.limit);
  co_return co_await serve_unix(get_running_loop(), std::move(path), std::move(factory), options);
}

}  // namespace asyncio
