#include "loop/io/selector_transports.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iostream>

namespace asyncio {
namespace {

constexpr std::size_t MAX_SIZE = 256 * 1024;  // bytes of one read: upstream's number
constexpr std::size_t HEADER_SIZE = 8;        // added to a datagram's bytes in the size of the buffer

std::exception_ptr os_error(int code, const char* what) noexcept {
  return raised_by([=] { throw_os_error(code, what); });
}

// asyncio: base_events._set_nodelay
void set_nodelay(int fd, const std::optional<SocketAddress>& name) {
  if (name && name->family() != AF_UNIX) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

mode_t file_mode(int fd) {
  struct stat status;
  check_call(::fstat(fd, &status), "fstat");
  return status.st_mode;
}

}  // namespace

FileDescriptor own_pipe(int fd) {
  const mode_t mode = file_mode(fd);
  if (!S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISCHR(mode)) {
    throw ValueError("Pipe transport is for pipes, sockets and character devices only");
  }
  set_blocking(fd, false);
  return FileDescriptor(fd);
}

SelectorTransport::SelectorTransport(EventLoop& loop, FileDescriptor fd, std::shared_ptr<BaseProtocol> protocol,
                                     std::shared_ptr<AbstractServer> server)
    : loop_(&loop), fd_(std::move(fd)), protocol_(std::move(protocol)), server_(std::move(server)) {
  if (!protocol_) throw ValueError("the protocol is null");
  peername_ = getpeername(fd_.get());
  if (peername_ || errno != ENOTSOCK) sockname_ = getsockname(fd_.get());
  connection_lost_handle_ = make_handle<PendingHandle>([this] { call_connection_lost(); });
  loop.add_pending(*connection_lost_handle_);
  world().add_transport(fd_.get(), *this);
  try {
    if (server_) server_->attach(*this);
  } catch (...) {
    world().remove_transport(fd_.get());
    throw;
  }
}

SelectorTransport::~SelectorTransport() {
  if (!fd_) return;
  world().remove_transport(fd_.get());
  if (server_) server_->detach(*this);
}

void SelectorTransport::start() {
  loop_->call_soon([self = shared_from_this(), context = copy_context()]() mutable {  // not connection_made's
    const std::exception_ptr failed = raised_by([&] { self->call_connection_made(); });
    const auto read = [&] { context.run([&] { self->add_reader(); }); };
    if (self->starts_reading()) self->call_protocol("Fatal error: cannot read", true, read);
    if (holds<std::bad_alloc>(failed)) self->force_close(failed);  // nobody would serve it
    if (failed) std::rethrow_exception(failed);
  });
}

void SelectorTransport::add_reader() {
  loop_->add_io_handle(fd_.get(), selectors::EVENT_READ, make_handle([t = shared_from_this()] { t->read_ready(); }));
}

void SelectorTransport::add_writer() {
  loop_->add_io_handle(fd_.get(), selectors::EVENT_WRITE, make_handle([t = shared_from_this()] { t->write_ready(); }));
}

void SelectorTransport::remove_reader() { loop_->remove_io_handle(fd_.get(), selectors::EVENT_READ); }
void SelectorTransport::remove_writer() { loop_->remove_io_handle(fd_.get(), selectors::EVENT_WRITE); }

// asyncio: selector_events._SelectorTransport.close
void SelectorTransport::close() {
  if (closing_) return;
  const auto self = shared_from_this();  // the reader's callback may be our last owner
  closing_ = true;
  remove_reader();
  if (buffer_size_ > 0) return;
  remove_writer();
  connection_lost_soon(nullptr);
}

// asyncio: selector_events._SelectorTransport._force_close
void SelectorTransport::force_close(std::exception_ptr exception) {
  if (conn_lost_ > 0) return;
  const auto self = shared_from_this();
  if (buffer_size_ > 0) {
    clear_buffer();
    buffer_size_ = 0;
    remove_writer();
  }
  if (!std::exchange(closing_, true)) remove_reader();
  connection_lost_soon(std::move(exception));
}

void SelectorTransport::connection_lost_soon(std::exception_ptr exception) {
  ++conn_lost_;
  lost_with_ = std::move(exception);
  kept_ = shared_from_this();
  raised_by([this] { connection_lost_handle_->set_context(copy_current_context()); });  // without memory not
  loop_->wake(connection_lost_handle_);
}

// asyncio: selector_events._SelectorTransport._call_connection_lost
void SelectorTransport::call_connection_lost() {
  ++conn_lost_;
  const auto self = shared_from_this();  // the protocol may be our last owner
  kept_ = nullptr;
  const std::shared_ptr<BaseProtocol> protocol = protocol_;
  const Finally cleanup([this] {
    protocol_ = nullptr;
    world().remove_transport(fd_.get());
    fd_ = FileDescriptor();
    if (const auto server = std::exchange(server_, nullptr)) server->detach(*this);
  });
  protocol->connection_lost(std::exchange(lost_with_, nullptr));
}

void SelectorTransport::mark_closed() noexcept {
  if (loop_->get_debug()) std::cerr << "unclosed transport fd=" << fd_.get() << "\n";
  closing_ = true;
  ++conn_lost_;
}

void SelectorTransport::end_with_loop() noexcept {
  const auto self = weak_from_this().lock(), kept = std::move(kept_);
  world().remove_transport(fd_.get());
  fd_ = FileDescriptor();
  if (const auto server = std::exchange(server_, nullptr)) server->detach(*this);
  const auto protocol = std::exchange(protocol_, nullptr);
}

// Must be called in a handler or with a kept exception. asyncio: selector_events._SelectorTransport._fatal_error
void SelectorTransport::fatal_error(std::exception_ptr exception, const char* message) {
  // An OSError is the peer's, and connection_lost() gets it: nothing to report.
  if (!holds<OSError>(exception)) loop_->report(message, {{}, exception, {}, {}});
  force_close(std::move(exception));
}

void SelectorTransport::fatal_os_error(const char* what, const char* message) {
  fatal_error(os_error(errno, what), message);
}

template <class F> bool SelectorTransport::call_protocol(const char* failed, bool fatal, F f) {
  const std::shared_ptr<BaseProtocol> kept = protocol_;  // f may replace it
  const std::exception_ptr error = raised_by(f);
  if (!error) return true;
  if (holds<Exit>(error)) std::rethrow_exception(error);
  fatal ? fatal_error(error, failed) : loop_->report(failed, {{}, error, {}, {}});
  return false;
}

std::optional<SocketAddress> SelectorTransport::get_extra_info(std::string_view name) const {
  return name == "peername" ? peername_ : name == "sockname" ? sockname_ : std::nullopt;
}

// asyncio: transports._FlowControlMixin._set_write_buffer_limits
void SelectorTransport::set_write_buffer_limits(WriteBufferLimits limits) {
  const std::size_t high = limits.high ? *limits.high : limits.low ? 4 * *limits.low : 64 * 1024;
  const std::size_t low = limits.low ? *limits.low : high / 4;
  if (low > high) {
    throw ValueError("high (" + std::to_string(high) + ") must be >= low (" + std::to_string(low) + ")");
  }
  high_water_ = high;
  low_water_ = low;
  maybe_pause_protocol();
}

// asyncio: transports._FlowControlMixin._maybe_pause_protocol
void SelectorTransport::maybe_pause_protocol() {
  if (buffer_size_ <= high_water_ || protocol_paused_ || !protocol_) return;
  protocol_paused_ = true;
  call_protocol("protocol.pause_writing() failed", false, [&] { protocol_->pause_writing(); });
}

// asyncio: transports._FlowControlMixin._maybe_resume_protocol
void SelectorTransport::maybe_resume_protocol() {
  if (!protocol_paused_ || buffer_size_ > low_water_ || !protocol_) return;
  protocol_paused_ = false;
  call_protocol("protocol.resume_writing() failed", false, [&] { protocol_->resume_writing(); });
}

void SelectorTransport::all_written() {
  remove_writer();
  if (closing_) {
    call_connection_lost();
  } else if (eof_) {
    written_eof();
  }
}

// Whether the connection is already lost, so that what is written now is discarded.
bool SelectorTransport::lost_write() {
  constexpr int LOG_THRESHOLD_FOR_CONNLOST_WRITES = 5;
  if (conn_lost_ == 0) return false;
  if (conn_lost_++ >= LOG_THRESHOLD_FOR_CONNLOST_WRITES) std::cerr << "write() on a connection that is lost\n";
  return true;
}

SelectorSocketTransport::SelectorSocketTransport(EventLoop& loop, FileDescriptor fd, std::shared_ptr<Protocol> protocol,
                                                 std::shared_ptr<AbstractServer> server)
    : SelectorTransport(loop, std::move(fd), std::move(protocol), std::move(server)) {
  set_nodelay(this->fd(), get_extra_info("sockname"));
}

void SelectorSocketTransport::call_connection_made() {
  get_protocol()->connection_made(std::static_pointer_cast<SelectorSocketTransport>(shared_from_this()));
}

// asyncio: selector_events._SelectorTransport.pause_reading
void SelectorSocketTransport::pause_reading() {
  if (!is_reading()) return;
  paused_ = true;
  remove_reader();
}

// asyncio: selector_events._SelectorTransport.resume_reading
void SelectorSocketTransport::resume_reading() {
  if (closing_ || !paused_) return;
  if (!eof_received_) add_reader();
  paused_ = false;
}

// asyncio: selector_events._SelectorSocketTransport._read_ready__data_received
void SelectorSocketTransport::read_ready() {
  if (conn_lost_ > 0) return;
  const std::span<char> buffer = world().read_buffer(MAX_SIZE);
  const ssize_t n = receive(buffer);
  if (n > 0) {
    call_protocol("Fatal error: protocol.data_received() call failed.", true, [&] {
      static_cast<Protocol&>(*protocol_).data_received({buffer.data(), static_cast<std::size_t>(n)});
    });
  } else if (n == 0) {
    read_ready_on_eof();
  } else if (!would_block()) {
    fatal_os_error("recv", "Fatal read error on socket transport");
  }
}

// asyncio: selector_events._SelectorSocketTransport._read_ready__on_eof
void SelectorSocketTransport::read_ready_on_eof() {
  bool keep_open = false;
  eof_received_ = true;
  const bool called = call_protocol("Fatal error: protocol.eof_received() call failed.", true,
                                    [&] { keep_open = static_cast<Protocol&>(*protocol_).eof_received(); });
  if (called && keep_open) {
    remove_reader();  // the protocol may still write
  } else if (called) {
    close();
  }
}

ssize_t SelectorSocketTransport::receive(std::span<char> buffer) noexcept {
  return ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
}

ssize_t SelectorSocketTransport::send(std::string_view data) noexcept {
  return ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
}

// asyncio: selector_events._SelectorSocketTransport.write
void SelectorSocketTransport::write(std::string_view data) {
  if (eof_) throw RuntimeError("Cannot call write() after write_eof()");
  if (data.empty() || lost_write()) return;
  if (buffer_size_ == 0) {
    const ssize_t n = send(data);
    if (n < 0 && !would_block()) return fatal_os_error("send", "Fatal write error on socket transport");
    if (n > 0) data.remove_prefix(n);
    if (data.empty()) return;
  }
  const bool kept = call_protocol("Fatal write error on socket transport", true, [&] {
    buffer_.append(data);
    if (buffer_size_ == 0) add_writer();
    buffer_size_ += data.size();
  });
  if (kept) maybe_pause_protocol();
}

// Also sends what waits in the buffer. asyncio: selector_events._SelectorSocketTransport.writelines
void SelectorSocketTransport::writelines(const std::vector<std::string>& list_of_data) {
  if (buffer_size_ == 0 || eof_ || conn_lost_ > 0) return Transport::writelines(list_of_data);
  for (const std::string& data : list_of_data) buffer_ += data, buffer_size_ += data.size();
  write_ready();
  maybe_pause_protocol();
}

// asyncio: selector_events._SelectorSocketTransport._write_send
void SelectorSocketTransport::write_ready() {
  if (conn_lost_ > 0) return;
  const ssize_t n = send(std::string_view(buffer_).substr(sent_));
  if (n < 0 && would_block()) return;
  if (n < 0) return fatal_os_error("send", "Fatal write error on socket transport");
  sent_ += n;
  buffer_size_ -= n;
  if (sent_ >= buffer_.size() / 2) buffer_.erase(0, std::exchange(sent_, 0));  // each byte moves at most once
  maybe_resume_protocol();                                                     // the protocol may write more here
  if (buffer_size_ == 0 && conn_lost_ == 0) all_written();
}

void SelectorSocketTransport::clear_buffer() {
  buffer_ = std::string();
  sent_ = 0;
}

// asyncio: selector_events._SelectorSocketTransport.write_eof
void SelectorSocketTransport::write_eof() {
  if (closing_ || std::exchange(eof_, true)) return;
  if (buffer_size_ == 0) written_eof();
}

void SelectorSocketTransport::written_eof() { check_call(::shutdown(fd_.get(), SHUT_WR), "shutdown"); }

ssize_t UnixReadPipeTransport::receive(std::span<char> buffer) noexcept {
  return ::read(fd_.get(), buffer.data(), buffer.size());
}

// asyncio: unix_events._UnixReadPipeTransport._read_ready
void UnixReadPipeTransport::read_ready_on_eof() {
  closing_ = true;
  remove_reader();
  const Finally lost([this] { connection_lost_soon(nullptr); });
  loop_->call_soon([protocol = get_protocol()] { protocol->eof_received(); });
}

UnixWritePipeTransport::UnixWritePipeTransport(EventLoop& loop, FileDescriptor fd, std::shared_ptr<Protocol> protocol)
    : SelectorSocketTransport(loop, std::move(fd), std::move(protocol)), char_device_(S_ISCHR(file_mode(this->fd()))) {
  ignore_sigpipe();
}

// NOTES [pipe-transport]
ssize_t UnixWritePipeTransport::send(std::string_view data) noexcept {
  return ::write(fd_.get(), data.data(), data.size());
}

// The other end was closed. asyncio: unix_events._UnixWritePipeTransport._read_ready
void UnixWritePipeTransport::read_ready() { force_close(buffer_size_ > 0 ? os_error(EPIPE, "write") : nullptr); }

SelectorDatagramTransport::SelectorDatagramTransport(EventLoop& loop, FileDescriptor fd,
                                                     std::optional<SocketAddress> address,
                                                     std::shared_ptr<DatagramProtocol> protocol)
    : SelectorTransport(loop, std::move(fd), std::move(protocol), nullptr), address_(std::move(address)) {}

void SelectorDatagramTransport::call_connection_made() {
  protocol().connection_made(std::static_pointer_cast<SelectorDatagramTransport>(shared_from_this()));
}

void SelectorDatagramTransport::error_received(const char* what) {
  const std::shared_ptr<BaseProtocol> kept = protocol_;
  protocol().error_received(os_error(errno, what));
}

// asyncio: selector_events._SelectorDatagramTransport._read_ready
void SelectorDatagramTransport::read_ready() {
  if (conn_lost_ > 0) return;
  const std::span<char> buffer = world().read_buffer(MAX_SIZE);
  SocketAddress from;
  const ssize_t n = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0, from.room(), from.room_size());
  if (n < 0) return would_block() ? void() : error_received("recvfrom");
  const std::shared_ptr<BaseProtocol> kept = protocol_;
  protocol().datagram_received({buffer.data(), static_cast<std::size_t>(n)}, from);
}

// Returns false if the call would block. An error goes to the protocol.
bool SelectorDatagramTransport::send(std::string_view data, const std::optional<SocketAddress>& address) {
  const sockaddr* to = address_ || !address ? nullptr : address->data();
  const ssize_t n = ::sendto(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL, to, to ? address->size() : 0);
  if (n < 0 && would_block()) return false;
  if (n < 0) error_received("sendto");
  return true;
}

// asyncio: selector_events._SelectorDatagramTransport.sendto
void SelectorDatagramTransport::sendto(std::string_view data, std::optional<SocketAddress> address) {
  if (address_ && address && *address != *address_) {
    throw ValueError("Invalid address: must be None or " + address_->str());
  }
  if (!address_ && !address) throw ValueError("this endpoint is not connected: sendto needs an address");
  if ((address_ || !fd_ || loop_->is_closed()) && lost_write()) return;  // as upstream, others still send after close()
  if (buffer_.empty()) {
    if (send(data, address)) return;
    add_writer();
  }
  buffer_.push_back({std::string(data), address});
  buffer_size_ += data.size() + HEADER_SIZE;
  maybe_pause_protocol();
}

// asyncio: selector_events._SelectorDatagramTransport._sendto_ready
void SelectorDatagramTransport::write_ready() {
  while (!buffer_.empty() && send(buffer_.front().data, buffer_.front().address)) {
    if (buffer_.empty()) return;  // the protocol has called abort() in error_received()
    buffer_size_ -= buffer_.front().data.size() + HEADER_SIZE;
    buffer_.pop_front();
  }
  maybe_resume_protocol();
  if (buffer_.empty() && conn_lost_ == 0) all_written();
}

void SelectorDatagramTransport::clear_buffer() { buffer_.clear(); }

}  // namespace asyncio
