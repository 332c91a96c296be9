// A transport over a transport: OpenSSL between two memory BIOs, as Lib/asyncio/sslproto.py does it.
//
// The contract. OpenSSL never sees a descriptor: what the lower transport receives goes into one BIO, what comes out of
// the other is written to the lower transport, which owns the descriptor. The lower transport keeps the SSLProtocol,
// and the application keeps an SSLTransport, which does nothing once the protocol has ended. Interest is the lower
// transport's affair; pause_reading and pause_writing pass through. A cancelled or failed handshake closes the
// connection. A peer that ends without close_notify was cut off: the stream raises SSLEOFError, it does not just end.
// Both end with the loop.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "asyncio.hpp"

namespace tls {

struct SSLError : asyncio::Error {
  using asyncio::Error::Error;
};
/// The peer's certificate does not prove that it is who we asked for.
struct SSLCertVerificationError : SSLError {
  using SSLError::SSLError;
};
/// The connection ended in the middle: without the peer's word that this was all.
struct SSLEOFError : SSLError {
  SSLEOFError() : SSLError("EOF occurred in violation of protocol") {}
};

using Context = std::shared_ptr<SSL_CTX>;

inline SSLError last_error() {
  const char* const reason = ERR_reason_error_string(ERR_get_error());
  return SSLError(reason ? reason : "unknown error");
}

/// For clients: trusts what is signed by the certificates in this file.
inline Context client_context(const std::string& ca_file) {
  const Context context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr)) throw last_error();
  return context;
}

/// For servers: shows this certificate.
inline Context server_context(const std::string& certificate_file, const std::string& key_file) {
  const Context context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) ||
      !SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM)) {
    throw last_error();
  }
  return context;
}

/// asyncio: sslproto.SSLProtocol
class SSLProtocol : public asyncio::Protocol, public std::enable_shared_from_this<SSLProtocol> {
 public:
  /// With a server_hostname it is the client's side, and the certificate must be for that name. connection_made() of
  /// `app` is called after the handshake, unless that was called before (STARTTLS).
  SSLProtocol(const Context& context, std::shared_ptr<asyncio::Protocol> app, std::string server_hostname,
              bool call_connection_made, double handshake_timeout)
      : app_(std::move(app)),
        ssl_(SSL_new(context.get()), SSL_free),
        handshake_timeout_(handshake_timeout),
        call_connection_made_(call_connection_made) {
    SSL_set_bio(ssl_.get(), incoming_, outgoing_);  // which own them now
    if (server_hostname.empty()) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
      SSL_set_tlsext_host_name(ssl_.get(), server_hostname.c_str());
      SSL_set1_host(ssl_.get(), server_hostname.c_str());
    }
    SSL_set_options(ssl_.get(), SSL_OP_NO_RENEGOTIATION);
  }
  ~SSLProtocol() override {
    timer_.cancel();
    if (handshake_.done() && !handshake_.cancelled())
      static_cast<void>(handshake_.exception());  // a server asks nobody
  }

  /// Done after the handshake; its error otherwise.
  asyncio::Future<> handshake() const { return handshake_; }
  const std::shared_ptr<asyncio::Transport>& app_transport() const { return app_transport_; }

  // What the lower transport calls.
  void connection_made(std::shared_ptr<asyncio::Transport> transport) override;
  void data_received(std::string_view data) override {
    BIO_write(incoming_, data.data(), static_cast<int>(data.size()));
    proceed();
  }
  bool eof_received() override {
    if (state_ == State::handshake) fail(os_error(ECONNRESET, "the peer closed during the handshake"));
    if (state_ == State::wrapped) fail(std::make_exception_ptr(SSLEOFError()));
    return false;
  }
  void connection_lost(std::exception_ptr error) override {
    timer_.cancel();
    const bool app_knows_us = state_ != State::handshake || !call_connection_made_;
    state_ = State::closed;
    if (!handshake_.done()) handshake_.set_exception(error_ ? error_ : error ? error : os_error(ECONNRESET, "lost"));
    if (const auto app = std::exchange(app_, nullptr); app && app_knows_us)
      app->connection_lost(error_ ? error_ : error);
  }
  void pause_writing() override { app_->pause_writing(); }
  void resume_writing() override { app_->resume_writing(); }

  // What the SSLTransport calls.
  void write(std::string_view data) {
    if (state_ != State::wrapped || data.empty()) return;
    ERR_clear_error();
    if (SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size())) <= 0) return fail(error_of_openssl());
    flush();
  }
  /// Says close_notify, and waits for the peer's: who closes a socket with unread bytes in it destroys what he has sent.
  void close() {
    if (state_ == State::shutdown || state_ == State::closed) return;
    if (state_ == State::handshake) return transport_->abort();
    state_ = State::shutdown;
    const bool both = SSL_shutdown(ssl_.get()) == 1;
    flush();
    if (both) return transport_->close();
    timer_ = loop_.call_later(SHUTDOWN_TIMEOUT, [this] { transport_->abort(); });
  }
  void abort() { transport_->abort(); }
  bool is_closing() const { return state_ == State::shutdown || state_ == State::closed || transport_->is_closing(); }
  void pause_reading() { paused_ = true, transport_->pause_reading(); }
  void resume_reading() {
    paused_ = false;
    transport_->resume_reading();
    loop_.call_soon([self = shared_from_this()] { self->proceed(); });  // what is decrypted is no news to the socket
  }
  bool is_reading() const { return !paused_ && !is_closing(); }
  asyncio::Transport& lower() const { return *transport_; }
  std::shared_ptr<asyncio::Protocol> app() const { return app_; }
  void set_app(std::shared_ptr<asyncio::Protocol> app) { app_ = std::move(app); }

 private:
  enum class State { handshake, wrapped, shutdown, closed };
  static constexpr double SHUTDOWN_TIMEOUT = 5;

  static std::exception_ptr os_error(int code, const char* what) {
    return std::make_exception_ptr(asyncio::OSError(code, std::generic_category(), what));
  }
  std::exception_ptr error_of_openssl() const {
    const long verified = SSL_get_verify_result(ssl_.get());
    if (verified == X509_V_OK) return std::make_exception_ptr(last_error());
    return std::make_exception_ptr(SSLCertVerificationError(X509_verify_cert_error_string(verified)));
  }

  // The first error is the one that everybody hears of.
  void fail(std::exception_ptr error) {
    if (!error_) error_ = std::move(error);
    flush();  // the alert that tells the peer why
    transport_->abort();
  }

  void flush() {
    char* bytes = nullptr;
    if (const long size = BIO_get_mem_data(outgoing_, &bytes); size > 0) {
      transport_->write({bytes, static_cast<std::size_t>(size)});
      static_cast<void>(BIO_reset(outgoing_));
    }
  }

  void proceed() {
    ERR_clear_error();  // the queue belongs to the thread, not to this connection
    if (state_ == State::handshake) do_handshake();
    if (state_ == State::wrapped || state_ == State::shutdown) do_read();
  }

  void do_handshake();

  // Until OpenSSL has no more, or the application wants no more. After our close_notify what comes is for nobody.
  void do_read() {
    std::array<char, 16 * 1024> plain;
    int size = 0;
    while (state_ == State::shutdown || (state_ == State::wrapped && !paused_)) {
      ERR_clear_error();
      size = SSL_read(ssl_.get(), plain.data(), plain.size());
      if (size <= 0) break;
      const auto app = app_;  // the call may replace it
      if (state_ == State::wrapped) app->data_received({plain.data(), static_cast<std::size_t>(size)});
    }
    if (size > 0 || state_ == State::closed) return;
    const int why = SSL_get_error(ssl_.get(), size);
    if (why == SSL_ERROR_ZERO_RETURN) return peer_has_closed();
    if (why != SSL_ERROR_WANT_READ && size < 0) return fail(error_of_openssl());
    flush();  // the answer to what the protocol itself has sent
  }

  void peer_has_closed() {
    if (state_ == State::shutdown) return transport_->close();
    app_->eof_received();  // TLS knows no half-closed connections: whatever the answer, this is the end
    close();
  }

  asyncio::EventLoop& loop_ = asyncio::get_running_loop();
  std::shared_ptr<asyncio::Protocol> app_;
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  BIO* const incoming_ = BIO_new(BIO_s_mem());
  BIO* const outgoing_ = BIO_new(BIO_s_mem());
  const double handshake_timeout_;  // seconds
  const bool call_connection_made_;
  std::shared_ptr<asyncio::Transport> transport_, app_transport_;
  asyncio::Future<> handshake_{loop_};
  asyncio::TimerHandle timer_;
  std::exception_ptr error_;
  State state_ = State::handshake;
  bool paused_ = false;
};

/// The application's end. asyncio: sslproto._SSLProtocolTransport
class SSLTransport final : public asyncio::Transport {
 public:
  explicit SSLTransport(const std::shared_ptr<SSLProtocol>& protocol) : protocol_(protocol) {}
  void write(std::string_view data) override {
    call([&](SSLProtocol& p) { p.write(data); });
  }
  void write_eof() override { throw asyncio::RuntimeError("TLS knows no half-closed connections"); }
  bool can_write_eof() const override { return false; }
  void close() override {
    call([](SSLProtocol& p) { p.close(); });
  }
  void abort() override {
    call([](SSLProtocol& p) { p.abort(); });
  }
  bool is_closing() const override {
    return ask(true, [](SSLProtocol& p) { return p.is_closing(); });
  }
  void pause_reading() override {
    call([](SSLProtocol& p) { p.pause_reading(); });
  }
  void resume_reading() override {
    call([](SSLProtocol& p) { p.resume_reading(); });
  }
  bool is_reading() const override {
    return ask(false, [](SSLProtocol& p) { return p.is_reading(); });
  }
  std::optional<asyncio::SocketAddress> get_extra_info(std::string_view name) const override {
    return ask(std::optional<asyncio::SocketAddress>(), [&](SSLProtocol& p) { return p.lower().get_extra_info(name); });
  }
  int fd() const override {
    return ask(-1, [](SSLProtocol& p) { return p.lower().fd(); });
  }
  void set_write_buffer_limits(asyncio::WriteBufferLimits limits) override {
    call([&](SSLProtocol& p) { p.lower().set_write_buffer_limits(limits); });
  }
  std::size_t get_write_buffer_size() const override {
    return ask(std::size_t(0), [](SSLProtocol& p) { return p.lower().get_write_buffer_size(); });
  }
  std::shared_ptr<asyncio::Protocol> get_protocol() const override {
    return ask(std::shared_ptr<asyncio::Protocol>(), [](SSLProtocol& p) { return p.app(); });
  }
  void set_protocol(std::shared_ptr<asyncio::Protocol> app) override {
    call([&](SSLProtocol& p) { p.set_app(app); });
  }

 private:
  template <class F> void call(F f) const {
    if (const auto protocol = protocol_.lock()) f(*protocol);
  }
  template <class T, class F> T ask(T otherwise, F f) const {
    const auto protocol = protocol_.lock();
    return protocol ? f(*protocol) : otherwise;
  }
  std::weak_ptr<SSLProtocol> protocol_;
};

inline void SSLProtocol::connection_made(std::shared_ptr<asyncio::Transport> transport) {
  transport_ = std::move(transport);
  app_transport_ = std::make_shared<SSLTransport>(shared_from_this());
  timer_ =
      loop_.call_later(handshake_timeout_, [this] { fail(os_error(ECONNABORTED, "SSL handshake takes too long")); });
  proceed();
}

inline void SSLProtocol::do_handshake() {
  const int done = SSL_do_handshake(ssl_.get());
  if (done != 1 && SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) return fail(error_of_openssl());
  flush();
  if (done != 1) return;
  timer_.cancel();
  state_ = State::wrapped;
  if (!handshake_.done()) handshake_.set_result();
  if (call_connection_made_) app_->connection_made(app_transport_);
}

/// Waits for the handshake. If that fails or is cancelled, the connection ends.
inline asyncio::Coroutine<> finish_handshake(std::shared_ptr<SSLProtocol> protocol) {
  bool done = false;
  const asyncio::Finally or_abort([&] {
    if (!done) protocol->lower().abort();
  });
  co_await protocol->handshake();
  done = true;
}

using Streams = std::pair<asyncio::StreamReader, asyncio::StreamWriter>;

/// asyncio: streams.open_connection with ssl=context. OSError, SSLError.
inline asyncio::Coroutine<Streams> open_connection(std::string host, int port, Context context,
                                                   std::string server_hostname, double handshake_timeout = 60) {
  auto& loop = asyncio::get_running_loop();
  const asyncio::StreamReader reader(asyncio::DEFAULT_LIMIT, loop);
  const auto app = std::make_shared<asyncio::StreamReaderProtocol>(reader);
  const auto protocol = std::make_shared<SSLProtocol>(context, app, server_hostname, true, handshake_timeout);
  const auto factory = [&] { return protocol; };
  co_await loop.create_connection(factory, std::move(host), port);
  co_await finish_handshake(protocol);
  co_return Streams(reader, asyncio::StreamWriter(protocol->app_transport(), app, reader));
}

/// asyncio: streams.start_server with ssl=context.
template <class F> asyncio::Coroutine<asyncio::Server> start_server(F client_connected, std::string host, int port,
                                                                    Context context, double handshake_timeout = 60) {
  const auto connected = asyncio::client_connected(std::move(client_connected));
  const auto factory = [connected, context, handshake_timeout, &loop = asyncio::get_running_loop()] {
    const asyncio::StreamReader reader(asyncio::DEFAULT_LIMIT, loop);
    const auto app = std::make_shared<asyncio::StreamReaderProtocol>(reader, connected);
    return std::make_shared<SSLProtocol>(context, app, "", true, handshake_timeout);
  };
  co_return co_await asyncio::get_running_loop().create_server(factory, std::move(host), port);
}

/// From here on the stream is encrypted. What the peer has sent in plain must have been read before.
/// asyncio: streams.StreamWriter.start_tls
inline asyncio::Coroutine<> start_tls(asyncio::StreamWriter writer, Context context, std::string server_hostname,
                                      double handshake_timeout = 60) {
  co_await writer.drain();
  const std::shared_ptr<asyncio::Transport> lower = writer.transport();
  const auto protocol =
      std::make_shared<SSLProtocol>(context, lower->get_protocol(), server_hostname, false, handshake_timeout);
  lower->set_protocol(protocol);
  protocol->connection_made(lower);
  co_await finish_handshake(protocol);
  writer.replace_transport(protocol->app_transport());
}

}  // namespace tls
