// What a protocol calls. Upstream counterpart: Lib/asyncio/transports.py.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loop/io/protocols.hpp"

namespace asyncio {

/// In bytes. If only one is given, the other follows from it: low is a quarter of high. By default high is 64 KiB.
struct WriteBufferLimits {
  std::optional<std::size_t> high{}, low{};
};

/// A connection, as its protocol sees it. Only the thread of the loop may use it. It may outlive the loop; its methods
/// then have no effect.
/// asyncio: transports.BaseTransport
class BaseTransport {
 public:
  virtual ~BaseTransport() = default;
  /// Sends the buffered data, then closes and calls the protocol's connection_lost(nullptr).
  /// asyncio: transports.BaseTransport.close
  virtual void close() = 0;
  /// The same, but discards the buffered data. asyncio: transports.WriteTransport.abort
  virtual void abort() = 0;
  /// Whether it is closed or being closed. asyncio: transports.BaseTransport.is_closing
  virtual bool is_closing() const = 0;
  /// The address called "peername" or "sockname"; nullopt for other names, or if there is none.
  /// asyncio: transports.BaseTransport.get_extra_info
  virtual std::optional<SocketAddress> get_extra_info(std::string_view name) const = 0;
  /// The descriptor, -1 once it is closed.
  virtual int fd() const = 0;
  /// Sets the buffer sizes at which pause_writing() and resume_writing() are called. ValueError if low is above high.
  /// asyncio: transports._FlowControlMixin.set_write_buffer_limits
  virtual void set_write_buffer_limits(WriteBufferLimits limits) = 0;
  /// (low, high), in bytes. RuntimeError from a transport class that does not override it.
  /// asyncio: transports._FlowControlMixin.get_write_buffer_limits
  virtual std::pair<std::size_t, std::size_t> get_write_buffer_limits() const { throw RuntimeError("not implemented"); }
  /// Bytes that wait to be sent. asyncio: transports.WriteTransport.get_write_buffer_size
  virtual std::size_t get_write_buffer_size() const = 0;
};

/// A stream of bytes in both directions. asyncio: transports.Transport
class Transport : public virtual BaseTransport {
 public:
  /// Sends the data or buffers it; never blocks. RuntimeError after write_eof().
  /// asyncio: transports.WriteTransport.write
  virtual void write(std::string_view data) = 0;
  /// Writes the strings, one after the other. asyncio: transports.WriteTransport.writelines
  virtual void writelines(const std::vector<std::string>& list_of_data) {
    std::string joined;
    for (const std::string& data : list_of_data) joined += data;
    write(joined);
  }
  /// Closes the sending direction once the buffered data is sent. asyncio: transports.WriteTransport.write_eof
  virtual void write_eof() = 0;
  /// Whether write_eof() leaves the receiving direction open. asyncio: transports.WriteTransport.can_write_eof
  virtual bool can_write_eof() const { return true; }
  /// No data_received() is called until resume_reading(). asyncio: transports.ReadTransport.pause_reading
  virtual void pause_reading() = 0;
  /// No effect unless reading is paused. asyncio: transports.ReadTransport.resume_reading
  virtual void resume_reading() = 0;
  /// False if reading is paused or the transport is closing. asyncio: transports.ReadTransport.is_reading
  virtual bool is_reading() const = 0;
  /// Null once the connection is lost. asyncio: transports.BaseTransport.get_protocol
  virtual std::shared_ptr<Protocol> get_protocol() const = 0;
  /// Replaces the protocol, which must not be null. asyncio: transports.BaseTransport.set_protocol
  virtual void set_protocol(std::shared_ptr<Protocol> protocol) = 0;
};

/// An endpoint for datagrams. asyncio: transports.DatagramTransport
class DatagramTransport : public virtual BaseTransport {
 public:
  /// Sends a datagram or buffers it; never blocks. Without an address it goes to the one that the endpoint is connected
  /// to. ValueError for a different address, or if there is none at all. asyncio: transports.DatagramTransport.sendto
  virtual void sendto(std::string_view data, std::optional<SocketAddress> address = {}) = 0;
};

}  // namespace asyncio
