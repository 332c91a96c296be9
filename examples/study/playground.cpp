// The playground: a page on 127.0.0.1 with an editor for the little language of tests/differential. "Run" executes the
// program here and on CPython, each in a process of its own that is bounded in time and memory.
//   playground DIFFERENTIAL RECORDED PYTHON [PORT]   RECORDED is DIFFERENTIAL with the recorder; PYTHON may be "-": only here
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>

#include "asyncio.hpp"
#include "examples/http/http.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::StreamReader;
using asyncio::StreamWriter;

constexpr std::size_t MAX_PROGRAM = 16 * 1024, MAX_OUTPUT = 8 * 1024 * 1024;
constexpr int AT_ONCE = 2, MAX_WAITING = 16, MAX_CLIENTS = 64;
constexpr double MAX_SECONDS = 10, MAX_REQUEST_SECONDS = 15;
// CPU seconds, and KiB of address space: what a program gets that never ends, or asks for everything.
constexpr const char* BOUNDED = "ulimit -t 8; ulimit -v 2000000; exec \"$@\"";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("there is no file " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A JSON string. `<` is escaped, because the text may stand inside a script element.
std::string json_string(std::string_view text) {
  static constexpr char HEX[] = "0123456789abcdef";
  std::string result = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || c == '"' || c == '\\' || c == '<') {
      result += std::string("\\u00") + HEX[code >> 4] + HEX[code & 15];
    } else {
      result += c;
    }
  }
  return result + "\"";
}

/// The ready programs, in the order of their names.
std::string programs_as_json(const std::filesystem::path& folder) {
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.insert(entry.path());
  std::string list;
  for (const auto& file : files) {
    list += (list.empty() ? "" : ",") +
            ("{\"name\":" + json_string(file.stem().string()) + ",\"text\":" + json_string(read_file(file)) + "}");
  }
  return "[" + list + "]";
}

struct Request {
  std::string method, target, host, origin, body;
};

class Playground {
 public:
  Playground(std::string differential, std::string recorded, std::string python)
      : compare_{std::move(differential), "traces", std::move(python)},
        record_{"examples/study/step_view", std::move(recorded)},
        slots_(AT_ONCE) {
    const std::filesystem::path folder = "examples/study";
    page_ = read_file(folder / "playground.html");
    const std::string mark = "/*DATA*/";
    page_.replace(page_.find(mark), mark.size(), programs_as_json(folder / "playground"));
  }

  Coroutine<> serve(int port) {
    asyncio::Event stop;
    for (int signum : {SIGINT, SIGTERM}) asyncio::get_running_loop().add_signal_handler(signum, [&] { stop.set(); });
    const auto client_connected = [this](StreamReader reader, StreamWriter writer) {
      return serve_client(std::move(reader), std::move(writer));
    };
    const asyncio::Server server = co_await asyncio::start_server(client_connected, "127.0.0.1", port);
    port_ = std::to_string(server.sockets()[0].port());
    std::cout << "playground: open http://127.0.0.1:" << port_ << "/ in a browser; Ctrl-C ends it\n" << std::flush;
    co_await stop.wait();
    server.close();
    std::cout << "\nplayground: closed\n";
  }

 private:
  Coroutine<> serve_client(StreamReader reader, StreamWriter writer) {
    ++clients_;
    const asyncio::Finally gone([this] { --clients_; });
    std::string answer;
    try {
      if (clients_ > MAX_CLIENTS) throw http::Error("503 Service Unavailable");
      const Request request = co_await asyncio::wait_for(read_request(reader), MAX_REQUEST_SECONDS);
      answer = co_await respond(request);
    } catch (const http::Error& error) {
      answer = http::response(error);
    } catch (const std::exception&) {  // the client has gone, or is too slow
    }
    if (!answer.empty()) co_await send(writer, std::move(answer));
    writer.close();
  }

  static Coroutine<> send(StreamWriter writer, std::string answer) {
    try {
      writer.write(answer);
      co_await asyncio::wait_for(writer.drain(), MAX_REQUEST_SECONDS);
    } catch (const std::exception&) {  // the client has gone
    }
  }

  static Coroutine<Request> read_request(StreamReader reader) {
    const std::string head = co_await reader.readuntil("\r\n\r\n");
    if (head.size() > http::MAX_HEAD) throw http::Error("431 Request Header Fields Too Large");
    const std::size_t length = http::parse_head(head).content_length;
    if (length > MAX_PROGRAM) throw http::Error("413 Content Too Large");
    Request request = parse(head);
    request.body = co_await reader.readexactly(length);
    co_return request;
  }

  static Request parse(std::string_view head) {
    Request request;
    std::string_view line = http::cut_line(head);
    request.method = http::cut(line, ' ');
    request.target = http::cut(line, ' ');
    for (line = http::cut_line(head); !line.empty(); line = http::cut_line(head)) {
      const std::string name = http::lower(http::cut(line, ':'));
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      if (name == "host") request.host = line;
      if (name == "origin") request.origin = line;
    }
    return request;
  }

  // A page from elsewhere must not be able to run anything: its browser tells where it is from, and a name that was made
  // to resolve to 127.0.0.1 is not ours.
  void check_ours(const Request& request) const {
    const bool host = request.host == "127.0.0.1:" + port_ || request.host == "localhost:" + port_;
    if (!host) throw http::Error("421 Misdirected Request");
    if (!request.origin.empty() && request.origin != "http://" + request.host) throw http::Error("403 Forbidden");
    if (request.method == "POST" && request.origin.empty()) throw http::Error("403 Forbidden");
  }

  Coroutine<std::string> respond(const Request& request) {
    check_ours(request);
    if (request.method == "GET" && request.target == "/") {
      co_return http::response("200 OK", "text/html; charset=utf-8", page_, false);
    }
    const bool step = request.target == "/step";
    if (request.target != "/run" && !step) throw http::Error("404 Not Found");
    if (request.method != "POST") throw http::Error("405 Method Not Allowed");
    if (waiting_ >= MAX_WAITING) throw http::Error("503 Service Unavailable");
    ++waiting_;
    const asyncio::Finally done([this] { --waiting_; });
    const auto run_it = [&] { return run(step ? record_ : compare_, request.body); };
    const Output output = co_await asyncio::async_with(slots_, run_it);
    if (!output.error.empty()) {
      co_return http::response("200 OK", "application/json", "{\"error\":" + json_string(output.error) + "}", false);
    }
    if (step) co_return http::response("200 OK", "text/html; charset=utf-8", output.text, false);
    co_return http::response("200 OK", "application/json", traces_as_json(output.text), false);
  }

  struct Output {
    std::string text, error;  // the error says why there is no text
  };

  static std::string traces_as_json(const std::string& text) {
    const std::size_t separator = text.find("\n%\n");
    const bool compared = separator != text.npos;
    return "{\"here\":" + json_string(text.substr(0, separator)) +
           ",\"there\":" + (compared ? json_string(text.substr(separator + 3)) : "null") + "}";
  }

  Coroutine<Output> run(const std::vector<std::string>& command, std::string program) {
    std::vector<std::string> argv{"/bin/sh", "-c", BOUNDED, "sh"};
    argv.insert(argv.end(), command.begin(), command.end());
    asyncio::SubprocessOptions pipes{.stdin_ = asyncio::PIPE, .stdout_ = asyncio::PIPE, .stderr_ = asyncio::PIPE};
    const asyncio::Process process = co_await asyncio::create_subprocess_exec(std::move(argv), pipes);
    std::string error;
    try {
      co_return co_await asyncio::wait_for(output(process, std::move(program)), MAX_SECONDS);
    } catch (const asyncio::TimeoutError&) {
      error = "it took longer than " + std::to_string(static_cast<int>(MAX_SECONDS)) + " seconds";
    }
    if (!process.returncode()) process.kill();
    Output none;
    none.error = std::move(error);
    co_return none;
  }

  static Coroutine<Output> output(asyncio::Process process, std::string program) {
    process.stdin_().write(program);
    process.stdin_().close();
    Output output;
    try {
      output.text = co_await process.stdout_().readexactly(MAX_OUTPUT);
      process.kill();
      output.error = "its trace is too long";
    } catch (const asyncio::IncompleteReadError& all) {
      output.text = all.partial();
    }
    const std::string complaint = co_await process.stderr_().read(4096);
    const int status = co_await process.wait();
    if (output.error.empty() && status != 0) output.error = reason(complaint, status);
    co_return output;
  }

  static std::string reason(std::string_view complaint, int status) {
    const std::string_view name = "differential: ";
    if (status == -SIGXCPU || status == -SIGKILL) return "it never ends, or takes too long";
    if (complaint.starts_with(name)) complaint.remove_prefix(name.size());
    if (complaint.ends_with('\n')) complaint.remove_suffix(1);
    return complaint.empty() ? "it ended with status " + std::to_string(status) : std::string(complaint);
  }

  const std::vector<std::string> compare_, record_;
  std::string page_, port_;
  asyncio::Semaphore slots_;
  int waiting_ = 0, clients_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string port = argc > 4 ? argv[4] : "0";
  if (argc < 4 || argc > 5 || port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != port.npos ||
      std::stoi(port) > 65535) {
    std::cerr << "usage: playground DIFFERENTIAL RECORDED PYTHON [PORT]   (make playground PORT=8090 does it)\n";
    return 2;
  }
  try {
    Playground playground(argv[1], argv[2], argv[3]);
    asyncio::run(playground.serve(std::stoi(port)));
  } catch (const std::exception& error) {
    std::cerr << "playground: " << error.what() << "\n";
    return 2;
  }
}
