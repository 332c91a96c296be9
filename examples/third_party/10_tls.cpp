// A library without I/O of its own: OpenSSL encrypts between two buffers, and tls.hpp moves the bytes.
// Look at SSLProtocol: it is the protocol of one transport, and the transport of another protocol.
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/tls.hpp"

using asyncio::Coroutine;
using asyncio::StreamReader;
using asyncio::StreamWriter;

std::string file(const std::string& name) {
  const char* const folder = std::getenv("CERTIFICATES");
  if (!folder)
    throw asyncio::ValueError("CERTIFICATES names no folder: `examples/third_party/servers.py openssl` makes one");
  return folder + std::string("/") + name;
}
tls::Context trusting() { return tls::client_context(file("ca.pem")); }
tls::Context serving() { return tls::server_context(file("server.pem"), file("server.key")); }

Coroutine<std::string> ask(tls::Streams streams, std::string line) {
  streams.second.write(line + "\n");
  const std::string answer = co_await streams.first.readline();
  co_return answer.substr(0, answer.find('\n'));
}

Coroutine<> show_server(int port) {
  const tls::Streams streams = co_await tls::open_connection("127.0.0.1", port, trusting(), "localhost");
  const std::string answer = co_await ask(streams, "!olleh");
  std::cout << "openssl s_server says: " << answer << "\n";
  streams.second.close();
  co_await streams.second.wait_closed();
}

// The handshake fails: the certificate is for another name; or signed by somebody whom we do not trust.
Coroutine<> show_wrong_certificates(int port) {
  const std::string name = co_await common::error_of(tls::open_connection("127.0.0.1", port, trusting(), "elsewhere"));
  std::cout << "wrong name: " << name << "\n";
  const tls::Context other = tls::client_context(file("server.pem"));
  const std::string unknown = co_await common::error_of(tls::open_connection("127.0.0.1", port, other, "localhost"));
  std::cout << "unknown authority: " << unknown << "\n";
}

Coroutine<> say_in_plain(StreamReader reader, StreamWriter writer) {
  writer.write("220 mail.test at your service\r\n");
  co_await reader.read();
}
Coroutine<> say_nothing(StreamReader reader, StreamWriter) { co_await reader.read(); }
Coroutine<> hang_up(StreamReader reader, StreamWriter writer) {
  co_await reader.read(1);
  writer.close();
}

template <class F> Coroutine<std::string> error_against(F peer, double handshake_timeout) {
  asyncio::Server server = co_await asyncio::start_server(peer, "127.0.0.1", 0);
  const int port = server.sockets()[0].port();
  const std::string error =
      co_await common::error_of(tls::open_connection("127.0.0.1", port, trusting(), "localhost", handshake_timeout));
  server.close();
  co_return error;
}

Coroutine<> show_other_peers() {
  const std::string plain = co_await error_against(say_in_plain, 10);
  std::cout << "a peer that does not encrypt: " << plain << "\n";
  const std::string mute = co_await error_against(say_nothing, 0.1);
  std::cout << "a mute peer: " << mute << "\n";
  const std::string gone = co_await error_against(hang_up, 10);
  std::cout << "a peer that hangs up: " << gone << "\n";
}

Coroutine<> echo(StreamReader reader, StreamWriter writer) {
  for (std::string data; data = co_await reader.read(64 * 1024), !data.empty();) {
    writer.write(data);
    co_await writer.drain();
  }
  writer.close();
}

// Our own server: 5 MB there and back, more than any buffer holds, and a farewell in order.
Coroutine<> show_own_server() {
  asyncio::Server server = co_await tls::start_server(echo, "127.0.0.1", 0, serving());
  const tls::Streams streams =
      co_await tls::open_connection("127.0.0.1", server.sockets()[0].port(), trusting(), "localhost");
  const std::string sent(5'000'000, 'x');
  const StreamWriter writer = streams.second;
  const auto sending = asyncio::create_task([&]() -> Coroutine<> {
    for (std::size_t at = 0; at < sent.size(); at += 50'000) {
      writer.write(std::string_view(sent).substr(at, 50'000));
      co_await writer.drain();
    }
  });
  const std::string received = co_await streams.first.readexactly(sent.size());
  co_await sending;
  std::cout << "our server echoes 5 MB: " << (received == sent) << "\n";
  writer.close();
  co_await writer.wait_closed();
  const std::string rest = co_await streams.first.read();
  std::cout << "after close: " << rest.size() << " bytes, and no error\n";
  server.close();
}

// Begins in plain, and agrees to encrypt, as mail servers do. Both ends go on with the same reader and writer.
Coroutine<> mail_server(StreamReader reader, StreamWriter writer) {
  co_await reader.readline();
  writer.write("220 go ahead\n");
  co_await tls::start_tls(writer, serving(), "");
  co_await echo(reader, writer);
}

Coroutine<> show_starttls() {
  asyncio::Server server = co_await asyncio::start_server(mail_server, "127.0.0.1", 0);
  const tls::Streams streams = co_await asyncio::open_connection("127.0.0.1", server.sockets()[0].port());
  const std::string plain = co_await ask(streams, "STARTTLS");
  co_await tls::start_tls(streams.second, trusting(), "localhost");
  const std::string secret = co_await ask(streams, "a secret");
  std::cout << plain << ", then encrypted: " << secret << "\n";
  streams.second.close();
  co_await streams.second.wait_closed();
  server.close();
}

// Closes the socket under the TLS connection: no close_notify.
Coroutine<> cut(StreamReader reader, StreamWriter writer) {
  co_await reader.readline();
  writer.write("half of it");
  const int lower = writer.transport()->fd();
  ::shutdown(lower, SHUT_RDWR);
}

Coroutine<> show_cut() {
  asyncio::Server server = co_await tls::start_server(cut, "127.0.0.1", 0, serving());
  const tls::Streams streams =
      co_await tls::open_connection("127.0.0.1", server.sockets()[0].port(), trusting(), "localhost");
  const std::string error = co_await common::error_of(ask(streams, "send me all of it"));
  std::cout << error << "\n";
  server.close();
}

// Cancels handshakes at every moment: the server must see each end, and go on.
Coroutine<> cancel_at_random() {
  const auto serve = [](StreamReader reader, StreamWriter writer) -> Coroutine<> {
    co_await common::error_of(echo(reader, writer));
  };
  asyncio::Server server = co_await tls::start_server(serve, "127.0.0.1", 0, serving());
  const int port = server.sockets()[0].port();
  int cancelled = 0;
  for (int i = 0; i < 100; ++i) {
    const auto task = asyncio::create_task(tls::open_connection("127.0.0.1", port, trusting(), "localhost"));
    for (int yields = i % 20; yields > 0; --yields) co_await asyncio::sleep(0);
    task.cancel();
    const std::vector<asyncio::Task<tls::Streams>> tasks(1, task);
    co_await asyncio::wait(tasks);
    cancelled += task.cancelled();
  }
  const tls::Streams streams = co_await tls::open_connection("127.0.0.1", port, trusting(), "localhost");
  const std::string answer = co_await ask(streams, "still there");
  std::cout << "cancelled some: " << (cancelled > 0) << ", " << answer << "\n";
  server.close();
}

Coroutine<> demonstrate(int port) {
  co_await show_server(port);
  co_await show_wrong_certificates(port);
  co_await show_other_peers();
  co_await show_own_server();
  co_await show_starttls();
}

Coroutine<> measure() {
  asyncio::Server server = co_await tls::start_server(echo, "127.0.0.1", 0, serving());
  const int port = server.sockets()[0].port();
  const tls::Context context = trusting();
  const common::Stopwatch handshakes;
  for (int i = 0; i < 200; ++i) {
    const tls::Streams streams = co_await tls::open_connection("127.0.0.1", port, context, "localhost");
    streams.second.close();
    co_await streams.second.wait_closed();
  }
  handshakes.report("connections", 200);
  const tls::Streams streams = co_await tls::open_connection("127.0.0.1", port, context, "localhost");
  const common::Stopwatch messages;
  for (int i = 0; i < 5000; ++i)
    co_await ask(streams, "sixty-four bytes or so, there and back again, as fast as it goes");
  messages.report("messages of 64 bytes", 5000);
  server.close();
}

Coroutine<> ask_for_ever(int port) {
  const tls::Streams streams = co_await tls::open_connection("127.0.0.1", port, trusting(), "localhost");
  std::cout << "asking" << std::endl;
  for (;;) {
    const std::string answer = co_await asyncio::wait_for(ask(streams, "abc"), 1.0);
    if (answer != "cba") throw asyncio::RuntimeError("not what we asked for");
  }
}

Coroutine<> ask_until_killed(int port) {
  const std::string error = co_await common::error_of(ask_for_ever(port));
  std::cout << error << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure());
  } else if (arguments.mode == "cut") {
    asyncio::run(show_cut());
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random());
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
