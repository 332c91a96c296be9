// Transports over a non-blocking descriptor and the selector. Upstream counterpart: the second half of
// Lib/asyncio/selector_events.py, and the pipes of unix_events.py.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "loop/io/transports.hpp"
#include "loop/io/world.hpp"

namespace asyncio {

class SelectorTransport;

/// A server, as its transports see it. asyncio: events.AbstractServer
class AbstractServer {
 public:
  virtual ~AbstractServer() = default;
  /// A connection of this server was opened. asyncio: base_events.Server._attach
  virtual void attach(SelectorTransport& transport) = 0;
  /// It was closed. asyncio: base_events.Server._detach
  virtual void detach(SelectorTransport& transport) = 0;
};

/// What all transports share: the descriptor, flow control, and how a connection ends. The loop has a list of its
/// transports and ends them when it closes. asyncio: selector_events._SelectorTransport
class SelectorTransport : public virtual BaseTransport, public std::enable_shared_from_this<SelectorTransport> {
 public:
  /// Owns the descriptor. ValueError if the protocol is null, RuntimeError if the loop is closed.
  SelectorTransport(EventLoop& loop, FileDescriptor fd, std::shared_ptr<BaseProtocol> protocol,
                    std::shared_ptr<AbstractServer> server);
  ~SelectorTransport() override;

  /// Schedules the call of connection_made(), and after it the start of reading.
  void start();
  void close() override;
  void abort() override { force_close(nullptr); }
  bool is_closing() const override { return closing_; }
  std::optional<SocketAddress> get_extra_info(std::string_view name) const override;
  int fd() const override { return fd_.get(); }
  void set_write_buffer_limits(WriteBufferLimits limits) override;
  std::pair<std::size_t, std::size_t> get_write_buffer_limits() const override { return {low_water_, high_water_}; }
  std::size_t get_write_buffer_size() const override { return buffer_size_; }
  /// The loop is being closed: from now on no method has an effect.
  void mark_closed() noexcept;
  /// Closes the descriptor and releases the protocol, without a call of connection_lost().
  void end_with_loop() noexcept;

 protected:
  World& world() const noexcept { return World::of(*loop_); }
  virtual void call_connection_made() = 0;
  virtual void read_ready() = 0;
  virtual void write_ready() = 0;
  virtual void clear_buffer() = 0;
  virtual bool starts_reading() const { return is_reading_now(); }

  bool is_reading_now() const { return !closing_ && !paused_; }
  void add_reader();
  void add_writer();
  void remove_reader();
  void remove_writer();
  void maybe_pause_protocol();
  void maybe_resume_protocol();
  /// The buffer is empty: stops waiting to write, and finishes a close() or write_eof() that waited for this.
  void all_written();
  void connection_lost_soon(std::exception_ptr exception);
  void call_connection_lost();
  void force_close(std::exception_ptr exception);
  void fatal_error(std::exception_ptr exception, const char* message);
  void fatal_os_error(const char* what, const char* message);
  bool lost_write();
  /// Calls f(), which calls a method of the protocol. If it throws, this returns false, and a fatal error closes the connection.
  template <class F> bool call_protocol(const char* failed, bool fatal, F f);

  EventLoop* loop_;
  FileDescriptor fd_;
  std::shared_ptr<BaseProtocol> protocol_;
  std::size_t buffer_size_ = 0;
  int conn_lost_ = 0;  // not 0 once connection_lost() is scheduled; then also counts the writes that are discarded
  bool closing_ = false;
  bool paused_ = false;
  bool eof_ = false;  // write_eof() was called

 private:
  virtual void written_eof() {}

  std::shared_ptr<AbstractServer> server_;
  // Closing needs no memory: this handle is made, and has its place in the loop's queue, from the start.
  Ref<PendingHandle> connection_lost_handle_;
  std::exception_ptr lost_with_;
  std::shared_ptr<SelectorTransport> kept_;  // itself, while the handle is queued
  std::optional<SocketAddress> sockname_, peername_;
  std::size_t high_water_ = 64 * 1024, low_water_ = 16 * 1024;
  bool protocol_paused_ = false;
};

/// Takes ownership of the descriptor. ValueError if a pipe transport cannot use it; the caller then still owns it.
FileDescriptor own_pipe(int fd);

/// A connected stream socket. asyncio: selector_events._SelectorSocketTransport
class SelectorSocketTransport : public SelectorTransport, public Transport {
 public:
  SelectorSocketTransport(EventLoop& loop, FileDescriptor fd, std::shared_ptr<Protocol> protocol,
                          std::shared_ptr<AbstractServer> server = nullptr);
  void write(std::string_view data) override;
  void writelines(const std::vector<std::string>& list_of_data) override;
  void write_eof() override;
  void pause_reading() override;
  void resume_reading() override;
  bool is_reading() const override { return is_reading_now(); }
  std::shared_ptr<Protocol> get_protocol() const override { return std::static_pointer_cast<Protocol>(protocol_); }
  void set_protocol(std::shared_ptr<Protocol> protocol) override { protocol_ = std::move(protocol); }

 protected:
  void call_connection_made() override;
  void read_ready() override;
  void write_ready() override;
  void clear_buffer() override;
  void written_eof() override;
  virtual ssize_t receive(std::span<char> buffer) noexcept;
  virtual ssize_t send(std::string_view data) noexcept;
  virtual void read_ready_on_eof();

 private:
  bool eof_received_ = false;
  std::string buffer_;
  std::size_t sent_ = 0;  // bytes at the start of the buffer that were already sent
};

/// The reading end of a pipe. asyncio: unix_events._UnixReadPipeTransport
class UnixReadPipeTransport final : public SelectorSocketTransport {
 public:
  using SelectorSocketTransport::SelectorSocketTransport;
  bool can_write_eof() const override { return false; }
  void write(std::string_view) override { throw RuntimeError("this pipe is for reading"); }
  void write_eof() override { write({}); }

 private:
  ssize_t receive(std::span<char> buffer) noexcept override;
  void read_ready_on_eof() override;
};

/// The writing end of a pipe. It waits to read only to notice that the other end was closed. write_eof() closes it.
/// asyncio: unix_events._UnixWritePipeTransport
class UnixWritePipeTransport final : public SelectorSocketTransport {
 public:
  UnixWritePipeTransport(EventLoop& loop, FileDescriptor fd, std::shared_ptr<Protocol> protocol);
  void write(std::string_view data) override {
    if (!is_closing()) SelectorSocketTransport::write(data);
  }
  void write_eof() override { close(); }

 private:
  bool starts_reading() const override { return !char_device_ && is_reading_now(); }
  void read_ready() override;
  ssize_t send(std::string_view data) noexcept override;

  bool char_device_;
};

/// A datagram socket. asyncio: selector_events._SelectorDatagramTransport
class SelectorDatagramTransport final : public SelectorTransport, public DatagramTransport {
 public:
  SelectorDatagramTransport(EventLoop& loop, FileDescriptor fd, std::optional<SocketAddress> address,
                            std::shared_ptr<DatagramProtocol> protocol);
  void sendto(std::string_view data, std::optional<SocketAddress> address) override;

 private:
  struct Datagram {
    std::string data;
    std::optional<SocketAddress> address;
  };
  DatagramProtocol& protocol() const { return static_cast<DatagramProtocol&>(*protocol_); }
  void call_connection_made() override;
  void read_ready() override;
  void write_ready() override;
  void clear_buffer() override;
  bool send(std::string_view data, const std::optional<SocketAddress>& address);
  void error_received(const char* what);

  std::optional<SocketAddress> address_;  // the endpoint is connected to it
  std::deque<Datagram> buffer_;
};

}  // namespace asyncio
