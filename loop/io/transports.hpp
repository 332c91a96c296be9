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

/// In bytes. Where only one is given the other follows, low being a quarter of high; by default high is 64 KiB.
struct WriteBufferLimits {
  std::optional<std::size_t> high{}, low{};
};

/// A connection, seen by its protocol. It may outlive its loop: its methods have no effect then.
/// asyncio: transports.BaseTransport
class BaseTransport {
 public:
  virtual ~BaseTransport() = default;
  /// Sends what is buffered, then the protocol's connection_lost(null) is called. asyncio: transports.BaseTransport.close
  virtual void close() = 0;
  /// The same at once, without what is buffered. asyncio: transports.WriteTransport.abort
  virtual void abort() = 0;
  /// asyncio: transports.BaseTransport.is_closing
  virtual bool is_closing() const = 0;
  /// "peername" or "sockname"; else nullopt. asyncio: transports.BaseTransport.get_extra_info
  virtual std::optional<SocketAddress> get_extra_info(std::string_view name) const = 0;
  /// The descriptor, -1 once it is closed.
  virtual int fd() const = 0;
  /// When to call the protocol's pause_writing and resume_writing. ValueError if low is above high.
  /// asyncio: transports._FlowControlMixin.set_write_buffer_limits
  virtual void set_write_buffer_limits(WriteBufferLimits limits) = 0;
  /// (low, high). RuntimeError from a transport of one's own that does not say.
  /// asyncio: transports._FlowControlMixin.get_write_buffer_limits
  virtual std::pair<std::size_t, std::size_t> get_write_buffer_limits() const { throw RuntimeError("not implemented"); }
  /// Bytes that wait to be sent. asyncio: transports.WriteTransport.get_write_buffer_size
  virtual std::size_t get_write_buffer_size() const = 0;
};

/// A stream of bytes in both directions. asyncio: transports.Transport
class Transport : public virtual BaseTransport {
 public:
  /// Never blocks: what cannot be sent now is buffered. RuntimeError after write_eof().
  /// asyncio: transports.WriteTransport.write
  virtual void write(std::string_view data) = 0;
  /// asyncio: transports.WriteTransport.writelines
  virtual void writelines(const std::vector<std::string>& list_of_data) {
    std::string joined;
    for (const std::string& data : list_of_data) joined += data;
    write(joined);
  }
  /// Closes the sending direction, after what is buffered. asyncio: transports.WriteTransport.write_eof
  virtual void write_eof() = 0;
  /// asyncio: transports.WriteTransport.can_write_eof
  virtual bool can_write_eof() const { return true; }
  /// No data_received until resume_reading(). asyncio: transports.ReadTransport.pause_reading
  virtual void pause_reading() = 0;
  /// asyncio: transports.ReadTransport.resume_reading
  virtual void resume_reading() = 0;
  /// asyncio: transports.ReadTransport.is_reading
  virtual bool is_reading() const = 0;
  /// Null once the connection is lost. asyncio: transports.BaseTransport.get_protocol
  virtual std::shared_ptr<Protocol> get_protocol() const = 0;
  /// asyncio: transports.BaseTransport.set_protocol
  virtual void set_protocol(std::shared_ptr<Protocol> protocol) = 0;
};

/// asyncio: transports.DatagramTransport
class DatagramTransport : public virtual BaseTransport {
 public:
  /// Without an address to the one that the endpoint is connected to. Never blocks. ValueError for another address than
  /// that one, or if there is none. asyncio: transports.DatagramTransport.sendto
  virtual void sendto(std::string_view data, std::optional<SocketAddress> address = {}) = 0;
};

}  // namespace asyncio
