#include "tests/differential/world.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <csignal>

#include <thread>

#include "tests/differential/operations.hpp"
#include "tests/differential/show.hpp"

namespace differential {
namespace {

using P = Interpreter;
using asyncio::Coroutine;

constexpr int SEND_BUFFER = 4608;  // bytes: the smallest that Linux gives, so that a long write is a partial one
constexpr int PIPE_SIZE = 4096;    // bytes: the smallest of a pipe

struct Socket : WorldObject {
  explicit Socket(asyncio::FileDescriptor descriptor) : fd(std::move(descriptor)) {}
  asyncio::FileDescriptor fd;
  std::string path;       // of a listener
  bool pipe = false;      // an end of a pipe
  bool receives = false;  // a task waits for it: a second one would take its place
  bool sends = false;
};
struct Wire : WorldObject {
  std::shared_ptr<asyncio::Transport> transport;
};
struct Endpoint : WorldObject {
  std::shared_ptr<asyncio::DatagramTransport> transport;
};
struct Stream : WorldObject {
  Stream(asyncio::StreamReader r, asyncio::StreamWriter w) : reader(std::move(r)), writer(std::move(w)) {}
  asyncio::StreamReader reader;
  asyncio::StreamWriter writer;
};
struct Serving : WorldObject {
  Serving(asyncio::Server started, std::string where) : server(std::move(started)), path(std::move(where)) {}
  asyncio::Server server;
  std::string path;
};

template <class T> std::shared_ptr<T> find(P& p, const std::string& name) {
  auto found = std::dynamic_pointer_cast<T>(p.get<std::shared_ptr<WorldObject>>(name));
  if (!found) throw Unbound();
  return found;
}

std::shared_ptr<Socket> find_socket(P& p, const std::string& name) {
  auto found = find<Socket>(p, name);
  if (!found->fd) throw Unbound();  // closed, or a transport has it
  return found;
}

void name_it(P& p, const std::string& name, std::shared_ptr<WorldObject> object) {
  p.world.objects.push_back(object);
  p.names.insert_or_assign(name, std::move(object));
}

// "*3000" is that many bytes; ";" is a new line.
std::string data(const std::string& word) {
  if (word.starts_with('*')) return std::string(std::min(std::stoul('0' + word.substr(1)), 100'000ul), 'x');
  std::string text = word;
  std::replace(text.begin(), text.end(), ';', '\n');
  return text;
}

std::string show_bytes(std::string_view bytes) {
  std::string start(bytes.substr(0, 8));
  std::replace(start.begin(), start.end(), '\n', ';');
  return std::to_string(bytes.size()) + ":" + start;
}

// Sockets.

std::shared_ptr<Socket> own(int fd) {
  auto socket = std::make_shared<Socket>(asyncio::FileDescriptor(fd));
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &SEND_BUFFER, sizeof SEND_BUFFER);
  return socket;
}

std::string make_socketpair(P& p, Activation&, const Words& words) {
  int ends[2];
  asyncio::check_call(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), "socketpair");
  name_it(p, words[0], own(ends[0]));
  name_it(p, words[1], own(ends[1]));
  return "ok";
}

std::string make_pipe(P& p, Activation&, const Words& words) {
  int ends[2];
  asyncio::check_call(::pipe2(ends, O_NONBLOCK | O_CLOEXEC), "pipe2");
  asyncio::check_call(::fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE), "fcntl");
  for (std::size_t i : {0, 1}) {
    auto end = std::make_shared<Socket>(asyncio::FileDescriptor(ends[i]));
    end->pipe = true;
    name_it(p, words[i], std::move(end));
  }
  return "ok";
}

std::string new_path(P& p) {
  return "/tmp/differential-" + std::to_string(::getpid()) + "-" + std::to_string(++p.world.servers);
}

std::string make_listener(P& p, Activation&, const Words& words) {
  auto socket = std::make_shared<Socket>(asyncio::make_socket(AF_UNIX, SOCK_STREAM));
  socket->path = new_path(p);
  ::unlink(socket->path.c_str());
  const auto address = asyncio::SocketAddress::unix_path(socket->path);
  asyncio::check_call(::bind(socket->fd.get(), address.data(), address.size()), "bind");
  asyncio::check_call(::listen(socket->fd.get(), 100), "listen");
  name_it(p, words[0], socket);
  return "ok";
}

std::string make_socket(P& p, Activation&, const Words& words) {
  name_it(p, words[0], own(asyncio::make_socket(AF_UNIX, SOCK_STREAM).release()));
  return "ok";
}

std::string shut(P& p, Activation&, const Words& words) {
  asyncio::check_call(::shutdown(find_socket(p, words[0])->fd.get(), SHUT_WR), "shutdown");
  return "ok";
}

std::string read_now(P& p, Activation&, const Words& words) {
  std::string buffer(100'000, '\0');
  const ssize_t n = ::read(find_socket(p, words[0])->fd.get(), buffer.data(), buffer.size());
  asyncio::check_call(static_cast<int>(n), "recv");
  return show_bytes(std::string_view(buffer).substr(0, static_cast<std::size_t>(n)));
}

std::string write_now(P& p, Activation&, const Words& words) {
  const std::string bytes = data(words[1]);
  const auto socket = find_socket(p, words[0]);
  const ssize_t n = ::write(socket->fd.get(), bytes.data(), bytes.size());
  return std::to_string(asyncio::check_call(static_cast<int>(n), "send"));
}

// While it is true a task waits, and another one is told so.
struct Busy {
  explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { flag_ = false; }
  bool& flag_;
};

Coroutine<std::string> recv(P& p, Activation&, const Words& words) {
  const auto socket = find_socket(p, words[0]);
  if (socket->receives) co_return "busy";
  const Busy busy(socket->receives);
  const std::string bytes = co_await p.loop.sock_recv(socket->fd.get(), std::stoul(words[1]));
  co_return show_bytes(bytes);
}

Coroutine<std::string> sendall(P& p, Activation&, const Words& words) {
  const auto socket = find_socket(p, words[0]);
  if (socket->sends) co_return "busy";
  const Busy busy(socket->sends);
  const std::string bytes = data(words[1]);
  co_await p.loop.sock_sendall(socket->fd.get(), bytes);
  co_return "ok";
}

Coroutine<std::string> accept(P& p, Activation&, const Words& words) {
  const auto listener = find_socket(p, words[0]);
  if (listener->receives) co_return "busy";
  const Busy busy(listener->receives);
  const auto [fd, address] = co_await p.loop.sock_accept(listener->fd.get());
  name_it(p, words[1], own(fd));
  co_return "ok";
}

Coroutine<std::string> connect(P& p, Activation&, const Words& words) {
  const auto socket = find_socket(p, words[0]);
  const auto listener = find_socket(p, words[1]);
  if (socket->sends) co_return "busy";
  const Busy busy(socket->sends);
  co_await p.loop.sock_connect(socket->fd.get(), asyncio::SocketAddress::unix_path(listener->path));
  co_return "ok";
}

// Transports.

// Tells what it is told; then a function of the program is called, if one is named.
template <class Base> class Telling : public Base {
 public:
  Telling(P& p, std::string name, const Words& words)
      : p_(p), name_(std::move(name)), half_(std::find(words.begin(), words.end(), "half") != words.end()) {
    const auto on = std::find(words.begin(), words.end(), "on");
    if (on != words.end() && on + 1 != words.end()) function_ = on[1];
  }
  void connection_lost(std::exception_ptr exception) override { tell("connection_lost", show(exception)); }
  void pause_writing() override { tell("pause_writing"); }
  void resume_writing() override { tell("resume_writing"); }

 protected:
  void tell(const std::string& event, const std::string& what = "") {
    p_.log(name_, 0, event + (what.empty() ? "" : " " + what));
    if (!function_.empty()) p_.call(function_, function_ + "(" + event + ")");
  }

  P& p_;
  std::string name_, function_;
  bool half_;
};

struct TellingProtocol : Telling<asyncio::Protocol> {
  using Telling::Telling;
  void connection_made(std::shared_ptr<asyncio::Transport>) override { tell("connection_made"); }
  void data_received(std::string_view bytes) override { tell("data_received", show_bytes(bytes)); }
  bool eof_received() override {
    tell("eof_received");
    return half_;
  }
};

struct TellingDatagramProtocol : Telling<asyncio::DatagramProtocol> {
  using Telling::Telling;
  void connection_made(std::shared_ptr<asyncio::DatagramTransport>) override { tell("connection_made"); }
  void datagram_received(std::string_view bytes, const asyncio::SocketAddress&) override {
    tell("datagram_received", show_bytes(bytes));
  }
  void error_received(std::exception_ptr exception) override { tell("error_received", show(exception)); }
};

Coroutine<std::string> attach(P& p, Activation&, const Words& words) {
  const int fd = find_socket(p, words[1])->fd.release();
  const auto factory = [&p, words] { return std::make_shared<TellingProtocol>(p, words[0], words); };
  const asyncio::ConnectionOptions options{.sock = fd};
  const auto [transport, protocol] = co_await p.loop.create_connection(factory, "", 0, options);
  auto wire = std::make_shared<Wire>();
  wire->transport = transport;
  name_it(p, words[0], wire);
  co_return "ok";
}

template <class Connect> Coroutine<std::string> attach_pipe(P& p, Words words, Connect connect) {
  const auto end = find_socket(p, words[1]);
  if (!end->pipe) throw Unbound();
  const auto factory = [&p, words] { return std::make_shared<TellingProtocol>(p, words[0], words); };
  const auto [transport, protocol] = co_await connect(factory, end->fd.release());
  auto wire = std::make_shared<Wire>();
  wire->transport = transport;
  name_it(p, words[0], wire);
  co_return "ok";
}

Coroutine<std::string> read_pipe(P& p, Activation&, const Words& words) {
  return attach_pipe(p, words, [&p](auto factory, int fd) { return p.loop.connect_read_pipe(factory, fd); });
}

Coroutine<std::string> write_pipe(P& p, Activation&, const Words& words) {
  return attach_pipe(p, words, [&p](auto factory, int fd) { return p.loop.connect_write_pipe(factory, fd); });
}

Coroutine<std::string> datagram(P& p, Activation&, const Words& words) {
  const auto factory = [&p, words] { return std::make_shared<TellingDatagramProtocol>(p, words[0], words); };
  const asyncio::SocketAddress local("127.0.0.1", 0);
  const auto [transport, protocol] = co_await p.loop.create_datagram_endpoint(factory, local);
  auto endpoint = std::make_shared<Endpoint>();
  endpoint->transport = transport;
  name_it(p, words[0], endpoint);
  co_return "ok";
}

std::string sendto(P& p, Activation&, const Words& words) {
  const auto from = find<Endpoint>(p, words[0]), to = find<Endpoint>(p, words[1]);
  if (from->transport->fd() < 0) return "closed";
  const auto address = to->transport->get_extra_info("sockname");
  return shown([&] { from->transport->sendto(data(words[2]), address); });
}

std::string write(P& p, Activation&, const Words& words) {
  const auto object = p.get<std::shared_ptr<WorldObject>>(words[0]);
  if (const auto stream = std::dynamic_pointer_cast<Stream>(object)) {
    return shown([&] { stream->writer.write(data(words[1])); });
  }
  return shown([&] { find<Wire>(p, words[0])->transport->write(data(words[1])); });
}

asyncio::Transport& transport(P& p, const std::string& name) {
  const auto object = p.get<std::shared_ptr<WorldObject>>(name);
  if (const auto stream = std::dynamic_pointer_cast<Stream>(object)) return *stream->writer.transport();
  return *find<Wire>(p, name)->transport;
}

asyncio::BaseTransport& base_transport(P& p, const std::string& name) {
  const auto object = p.get<std::shared_ptr<WorldObject>>(name);
  if (const auto endpoint = std::dynamic_pointer_cast<Endpoint>(object)) return *endpoint->transport;
  return transport(p, name);
}

std::string close(P& p, Activation&, const Words& words) {
  const auto object = p.get<std::shared_ptr<WorldObject>>(words[0]);
  if (const auto serving = std::dynamic_pointer_cast<Serving>(object)) {
    serving->server.close();
  } else if (const auto socket = std::dynamic_pointer_cast<Socket>(object)) {
    if (!socket->fd) throw Unbound();
    if (p.loop.selector.waited_for(socket->fd.get()) != 0) return "watched";
    socket->fd = asyncio::FileDescriptor();
  } else {
    base_transport(p, words[0]).close();
  }
  return "ok";
}

std::string abort(P& p, Activation&, const Words& words) {
  asyncio::BaseTransport& found = base_transport(p, words[0]);
  const bool pipe = dynamic_cast<asyncio::UnixWritePipeTransport*>(&found);
  // Upstream tells the protocol twice that the connection is lost: NOTES [pipe-transport].
  if (pipe && found.is_closing() && found.get_write_buffer_size() == 0) return "closing";
  return shown([&] { found.abort(); });
}

std::string get_write_buffer_limits(P& p, Activation&, const Words& words) {
  const auto [low, high] = transport(p, words[0]).get_write_buffer_limits();
  return show(std::vector{low, high});
}

std::string set_write_buffer_limits(P& p, Activation&, const Words& words) {
  const asyncio::WriteBufferLimits limits{.high = std::stoul(words[1]), .low = std::stoul(words[2])};
  return shown([&] { transport(p, words[0]).set_write_buffer_limits(limits); });
}

std::string set_protocol(P& p, Activation&, const Words& words) {
  transport(p, words[0]).set_protocol(std::make_shared<TellingProtocol>(p, words[1], words));
  return "ok";
}

std::string writelines(P& p, Activation&, const Words& words) {
  std::vector<std::string> lines;
  for (std::size_t i = 1; i < words.size(); ++i) lines.push_back(data(words[i]));
  return shown([&] { transport(p, words[0]).writelines(lines); });
}

// Streams and servers.

Coroutine<std::string> open(P& p, Activation&, const Words& words) {
  const int fd = find_socket(p, words[1])->fd.release();
  const asyncio::StreamOptions options{.limit = words.size() > 2 ? std::stoul(words[2]) : 16, .sock = fd};
  const auto [reader, writer] = co_await asyncio::open_connection("", 0, options);
  name_it(p, words[0], std::make_shared<Stream>(reader, writer));
  co_return "ok";
}

// For each client, `accepted` is the stream, and the coroutine runs.
Coroutine<std::string> serve(P& p, Activation&, const Words& words) {
  const std::string function = words[1];
  p.function(function);
  const auto client_connected = [&p, function](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    name_it(p, "accepted", std::make_shared<Stream>(std::move(reader), std::move(writer)));
    ++p.world.clients;
    return p.anonymous(function);
  };
  const std::string path = new_path(p);
  const asyncio::StreamServerOptions options{.limit = 16};
  const asyncio::Server server = co_await asyncio::start_unix_server(client_connected, path, options);
  name_it(p, words[0], std::make_shared<Serving>(server, path));
  co_return "ok";
}

Coroutine<std::string> dial(P& p, Activation&, const Words& words) {
  const std::string path = find<Serving>(p, words[1])->path;
  const asyncio::StreamOptions options{.limit = 16};
  const auto [reader, writer] = co_await asyncio::open_unix_connection(path, options);
  name_it(p, words[0], std::make_shared<Stream>(reader, writer));
  co_return "ok";
}

Coroutine<std::string> read(P& p, Activation&, const Words& words) {
  const auto stream = find<Stream>(p, words[0]);
  const std::string bytes = co_await stream->reader.read(std::stoi(words[1]));
  co_return show_bytes(bytes);
}
Coroutine<std::string> readline(P& p, Activation&, const Words& words) {
  const auto stream = find<Stream>(p, words[0]);
  const std::string bytes = co_await stream->reader.readline();
  co_return show_bytes(bytes);
}
Coroutine<std::string> readexactly(P& p, Activation&, const Words& words) {
  const auto stream = find<Stream>(p, words[0]);
  const std::string bytes = co_await stream->reader.readexactly(std::stoul(words[1]));
  co_return show_bytes(bytes);
}
Coroutine<std::string> readuntil(P& p, Activation&, const Words& words) {
  const auto stream = find<Stream>(p, words[0]);
  const std::string separator = data(words[1]);
  const std::string bytes = co_await stream->reader.readuntil(separator);
  co_return show_bytes(bytes);
}
Coroutine<std::string> drain(P& p, Activation&, const Words& words) {
  const auto stream = find<Stream>(p, words[0]);
  co_await stream->writer.drain();
  co_return "ok";
}
Coroutine<std::string> wait_closed(P& p, Activation&, const Words& words) {
  const auto object = p.get<std::shared_ptr<WorldObject>>(words[0]);
  if (const auto serving = std::dynamic_pointer_cast<Serving>(object)) {
    co_await serving->server.wait_closed();
  } else {
    const auto stream = find<Stream>(p, words[0]);
    co_await stream->writer.wait_closed();
  }
  co_return "ok";
}
Coroutine<std::string> serve_forever(P& p, Activation&, const Words& words) {
  const auto serving = find<Serving>(p, words[0]);
  co_await serving->server.serve_forever();
  co_return "ok";
}

// Executors, threads, signals.

std::string make_call(P& p, Activation&, const Words& words) {
  auto outcome = std::make_shared<std::function<int()>>();
  auto future = p.loop.run_in_executor(&p.world.executor, [outcome] { return (*outcome)(); });
  // Upstream cancels the executor's future then, which tells the loop, through its self-pipe: a callback that does nothing.
  // NOTES [executor]
  future.add_done_callback([&p, outcome](const asyncio::Future<int>& done) {
    if (done.cancelled() && !*outcome) std::thread([&p] { p.loop.call_soon_threadsafe([] {}); }).join();
  });
  p.world.calls[words[0]] = {std::exchange(p.world.executor.submitted, nullptr), outcome};
  p.bind(words[0], future, future);
  return "ok";
}

std::string end_call(P& p, const std::string& name, std::function<int()> outcome) {
  const auto found = p.world.calls.find(name);
  if (found == p.world.calls.end()) throw Unbound();
  if (p.future(name).done()) return "late";
  ScriptedCall call = std::move(found->second);
  p.world.calls.erase(found);
  *call.outcome = std::move(outcome);
  call.item->run();
  call.item->finish();
  return "ok";
}

std::string complete(P& p, Activation&, const Words& words) {
  return end_call(p, words[0], [result = std::stoi(words[1])] { return result; });
}

std::string fail(P& p, Activation&, const Words& words) {
  return end_call(p, words[0], [words]() -> int { raise(words[1], words.size() > 2 ? words[2] : ""); });
}

std::string in_thread(P& p, Activation&, const Words& words) {
  std::thread([&] { p.loop.call_soon_threadsafe([&p, name = words[0]] { p.call(name, name); }); }).join();
  return "ok";
}

int signal_number(const std::string& name) {
  return name == "USR1" ? SIGUSR1 : name == "USR2" ? SIGUSR2 : throw Unbound();
}

std::string add_signal_handler(P& p, Activation&, const Words& words) {
  const int signum = signal_number(words[0]);
  const std::string label = words[1] + "(" + words[0] + ")";
  p.loop.add_signal_handler(signum, [&p, name = words[1], label] { p.call(name, label); });
  p.world.signals.insert(signum);
  return "ok";
}

std::string remove_signal_handler(P& p, Activation&, const Words& words) {
  const int signum = signal_number(words[0]);
  p.world.signals.erase(signum);
  return show(p.loop.remove_signal_handler(signum));
}

std::string kill(P& p, Activation&, const Words& words) {
  const int signum = signal_number(words[0]);
  if (!p.world.signals.contains(signum)) return "no handler";
  ::raise(signum);
  return "ok";
}

#define TRANSPORT(expression)                                                            \
  [](P& p, Activation&, const Words& words) {                                            \
    return shown([&]() -> decltype(auto) { return transport(p, words[0]).expression; }); \
  }

std::string is_serving(P& p, Activation&, const Words& words) {
  return show(find<Serving>(p, words[0])->server.is_serving());
}

// Of several clients a set decides which is closed first.
std::string close_clients(P& p, Activation&, const Words& words) {
  const asyncio::Server server = find<Serving>(p, words[0])->server;
  return p.world.clients > 1 ? "several" : shown([&] { server.close_clients(); });
}

std::string abort_clients(P& p, Activation&, const Words& words) {
  const asyncio::Server server = find<Serving>(p, words[0])->server;
  return p.world.clients > 1 ? "several" : shown([&] { server.abort_clients(); });
}

}  // namespace

int descriptor(P& p, const std::string& word) {
  return std::isdigit(static_cast<unsigned char>(word[0])) ? std::stoi(word) : find_socket(p, word)->fd.get();
}

const std::unordered_map<std::string, SyncOperation> WORLD_SYNC = {
    {"=socketpair", make_socketpair},
    {"=pipe", make_pipe},
    {"=listener", make_listener},
    {"=socket", make_socket},
    {".shut", shut},
    {".read_now", read_now},
    {".write_now", write_now},
    {".write", write},
    {".writelines", writelines},
    {".close", close},
    {".sendto", sendto},
    {".write_eof", TRANSPORT(write_eof())},
    {".can_write_eof", TRANSPORT(can_write_eof())},
    {".abort", abort},
    {".is_closing", [](P& p, Activation&,
                       const Words& words) { return shown([&] { return base_transport(p, words[0]).is_closing(); }); }},
    {".pause_reading", TRANSPORT(pause_reading())},
    {".resume_reading", TRANSPORT(resume_reading())},
    {".is_reading", TRANSPORT(is_reading())},
    {".get_write_buffer_size", TRANSPORT(get_write_buffer_size())},
    {".get_write_buffer_limits", get_write_buffer_limits},
    {".set_write_buffer_limits", set_write_buffer_limits},
    {".set_protocol", set_protocol},
    {".at_eof", [](P& p, Activation&, const Words& words) { return show(find<Stream>(p, words[0])->reader.at_eof()); }},
    {".is_serving", is_serving},
    {".close_clients", close_clients},
    {".abort_clients", abort_clients},
    {"=call", make_call},
    {"complete", complete},
    {"fail", fail},
    {"in_thread", in_thread},
    {"add_signal_handler", add_signal_handler},
    {"remove_signal_handler", remove_signal_handler},
    {"kill", kill},
};
#undef TRANSPORT

const std::unordered_map<std::string, AwaitOperation> WORLD_AWAIT = {
    {".recv", recv},
    {".sendall", sendall},
    {".accept", accept},
    {".connect", connect},
    {"attach", attach},
    {"read_pipe", read_pipe},
    {"write_pipe", write_pipe},
    {"datagram", datagram},
    {"open", open},
    {"serve", serve},
    {"dial", dial},
    {".read", read},
    {".readline", readline},
    {".readexactly", readexactly},
    {".readuntil", readuntil},
    {".drain", drain},
    {".wait_closed", wait_closed},
    {".serve_forever", serve_forever},
};

}  // namespace differential
