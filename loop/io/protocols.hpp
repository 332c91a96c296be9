// What a transport calls. Upstream counterpart: Lib/asyncio/protocols.py.
#pragma once

#include <exception>
#include <memory>
#include <string_view>

#include "loop/python/sockets.hpp"

namespace asyncio {

class DatagramTransport;
class Transport;

/// All are called by the loop, in its thread. asyncio: protocols.BaseProtocol
struct BaseProtocol {
  virtual ~BaseProtocol() = default;
  /// The last call, exactly once: null after close() or an end of file, else what broke the connection.
  /// asyncio: protocols.BaseProtocol.connection_lost
  virtual void connection_lost(std::exception_ptr) {}
  /// The transport's buffer is above its high-water mark: write no more. asyncio: protocols.BaseProtocol.pause_writing
  virtual void pause_writing() {}
  /// It is below its low-water mark again. asyncio: protocols.BaseProtocol.resume_writing
  virtual void resume_writing() {}
};

/// For a stream of bytes: connection_made, data_received as often as it may be, eof_received at most once,
/// connection_lost. asyncio: protocols.Protocol
struct Protocol : BaseProtocol {
  /// asyncio: protocols.BaseProtocol.connection_made
  virtual void connection_made(std::shared_ptr<Transport>) {}
  /// The bytes are valid during the call. asyncio: protocols.Protocol.data_received
  virtual void data_received(std::string_view) {}
  /// The other end will send no more. False: the transport closes itself. asyncio: protocols.Protocol.eof_received
  virtual bool eof_received() { return false; }
};

/// asyncio: protocols.DatagramProtocol
struct DatagramProtocol : BaseProtocol {
  virtual void connection_made(std::shared_ptr<DatagramTransport>) {}
  /// asyncio: protocols.DatagramProtocol.datagram_received
  virtual void datagram_received(std::string_view, const SocketAddress&) {}
  /// A send or receive failed; the transport goes on. asyncio: protocols.DatagramProtocol.error_received
  virtual void error_received(std::exception_ptr) {}
};

}  // namespace asyncio
