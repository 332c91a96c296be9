// What a transport calls. Upstream counterpart: Lib/asyncio/protocols.py.
#pragma once

#include <exception>
#include <memory>
#include <string_view>

#include "loop/python/sockets.hpp"

namespace asyncio {

class DatagramTransport;
class Transport;

/// Every method is called by the loop, in its thread. asyncio: protocols.BaseProtocol
struct BaseProtocol {
  virtual ~BaseProtocol() = default;
  /// The last call, made exactly once. The argument is null after close(), abort() or an end of file, else the error
  /// that ended the connection. asyncio: protocols.BaseProtocol.connection_lost
  virtual void connection_lost(std::exception_ptr) {}
  /// The transport's buffer is above its high-water mark: stop writing. asyncio: protocols.BaseProtocol.pause_writing
  virtual void pause_writing() {}
  /// The buffer is down to its low-water mark: writing may go on. asyncio: protocols.BaseProtocol.resume_writing
  virtual void resume_writing() {}
};

/// For a stream of bytes. The calls come in this order: connection_made, any number of data_received, at most one
/// eof_received, connection_lost. asyncio: protocols.Protocol
struct Protocol : BaseProtocol {
  /// The first call. asyncio: protocols.BaseProtocol.connection_made
  virtual void connection_made(std::shared_ptr<Transport>) {}
  /// Bytes have arrived; they are valid only during the call. asyncio: protocols.Protocol.data_received
  virtual void data_received(std::string_view) {}
  /// The other end will send no more. If this returns false, the transport closes itself.
  /// asyncio: protocols.Protocol.eof_received
  virtual bool eof_received() { return false; }
};

/// For datagrams. asyncio: protocols.DatagramProtocol
struct DatagramProtocol : BaseProtocol {
  /// The first call.
  virtual void connection_made(std::shared_ptr<DatagramTransport>) {}
  /// A datagram and its sender; the bytes are valid only during the call.
  /// asyncio: protocols.DatagramProtocol.datagram_received
  virtual void datagram_received(std::string_view, const SocketAddress&) {}
  /// A send or receive failed; the transport stays open. asyncio: protocols.DatagramProtocol.error_received
  virtual void error_received(std::exception_ptr) {}
};

}  // namespace asyncio
