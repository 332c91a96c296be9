// A serial line, and a device at its other end that answers commands, over the loop's read and write pipes.
//
// The contract. Each of the two transports owns a descriptor of its own for the same line: the one that reads, and a
// duplicate that writes; when the writer ends, the reader does, too. A line cannot be closed and opened again to be in step: a command has a
// number, which the device repeats, so the late answer to an await that was cancelled is recognised, and dropped. When
// the cable is pulled, whoever waits hears of it.
#pragma once

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "asyncio.hpp"

namespace serial {

using Streams = std::pair<asyncio::StreamReader, asyncio::StreamWriter>;

/// The line is gone: the cable was pulled, or the device switched off.
struct Disconnected : asyncio::Error {
  Disconnected() : Error("the line is gone") {}
};

/// 115200 bits a second, 8 bits, no parity, and nothing between the program and the wire: no echo, no line editing.
inline void set_raw(int fd) {
  termios settings{};
  asyncio::check_call(tcgetattr(fd, &settings), "tcgetattr");
  cfmakeraw(&settings);
  cfsetspeed(&settings, B115200);
  settings.c_cflag |= CLOCAL | CREAD;
  asyncio::check_call(tcsetattr(fd, TCSANOW, &settings), "tcsetattr");
}

/// The writer's protocol: its end is that of the reading side.
class WriteProtocol : public asyncio::StreamReaderProtocol {
 public:
  explicit WriteProtocol(asyncio::EventLoop& loop) : StreamReaderProtocol(asyncio::StreamReader(1, loop)) {}
  void connection_lost(std::exception_ptr error) override {
    if (reading) reading->close();
    StreamReaderProtocol::connection_lost(error);
  }
  std::shared_ptr<asyncio::Transport> reading;
};

/// Streams over a terminal's descriptor, which they own from now on. asyncio: serial_asyncio.open_serial_connection
inline asyncio::Coroutine<Streams> open_streams(asyncio::FileDescriptor fd) {
  set_raw(fd.get());
  auto& loop = asyncio::get_running_loop();
  asyncio::FileDescriptor duplicate(asyncio::check_call(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0), "dup"));
  const asyncio::StreamReader reader(asyncio::DEFAULT_LIMIT, loop);
  const auto reading = std::make_shared<asyncio::StreamReaderProtocol>(reader);
  const auto writing = std::make_shared<WriteProtocol>(loop);
  const auto read_factory = [&] { return reading; };
  const auto write_factory = [&] { return writing; };
  const auto write_pipe = co_await loop.connect_write_pipe(write_factory, duplicate.release());
  const asyncio::StreamWriter writer(write_pipe.first, writing, std::nullopt);
  const auto read_pipe = co_await loop.connect_read_pipe(read_factory, fd.release());
  writing->reading = read_pipe.first;
  co_return Streams(reader, writer);
}

/// A device that answers each line "number command" with a line "number answer".
class Instrument {
 public:
  explicit Instrument(Streams streams) : reader_(std::move(streams.first)), writer_(std::move(streams.second)) {}

  /// Disconnected. A device need not answer: use wait_for.
  asyncio::Coroutine<std::string> ask(std::string command) {
    co_return co_await asyncio::async_with(lock_, [&] { return answer_to(command); });
  }
  /// How many lines came that nobody waited for.
  int dropped() const { return dropped_; }

 private:
  asyncio::Coroutine<std::string> answer_to(std::string command) {
    const std::string number = std::to_string(++last_) + " ";
    try {
      writer_.write(number + command + "\n");
      co_await writer_.drain();
      for (;;) {
        std::string line = co_await reader_.readline();
        if (!line.ends_with('\n')) throw Disconnected();
        line.pop_back();
        if (line.starts_with(number)) co_return line.substr(number.size());
        ++dropped_;
      }
    } catch (const asyncio::OSError&) {
      throw Disconnected();
    }
  }

  asyncio::StreamReader reader_;
  asyncio::StreamWriter writer_;
  asyncio::Lock lock_;
  unsigned last_ = 0;
  int dropped_ = 0;
};

}  // namespace serial
