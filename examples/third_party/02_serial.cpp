// A descriptor that is no socket: a serial line, as a read pipe and a write pipe. A pseudo-terminal stands in for the
// cable, and a coroutine for the device.
// Look at Instrument::answer_to: nobody can hang up a cable to be in step again, so every command has a number.
#include <pty.h>

#include <iostream>
#include <string>

#include "examples/third_party/common.hpp"
#include "examples/third_party/serial.hpp"

using asyncio::Coroutine;
using asyncio::FileDescriptor;
using serial::Instrument;
using serial::Streams;

Coroutine<> answer(asyncio::StreamWriter writer, std::string number, std::string command) {
  if (command == "SLOW?") co_await asyncio::sleep(0.15);
  if (command == "MUTE?") co_return;
  if (command == "NOISE?") writer.write("\x01\xff##\n");
  const std::string text = number + (command == "ID?" ? " thermometer, series 7" : " 21.5") + "\n";
  writer.write(text.substr(0, 4));  // in two pieces, as slow lines have it
  if (command == "ID?") co_await asyncio::sleep(0.01);
  writer.write(text.substr(4));
}

/// The device at the other end, until the program hangs up.
Coroutine<> serve(Streams streams) {
  try {
    for (std::string line; line = co_await streams.first.readline(), line.ends_with('\n');) {
      const std::size_t space = line.find(' ');
      co_await answer(streams.second, line.substr(0, space), line.substr(space + 1, line.size() - space - 2));
    }
  } catch (const asyncio::OSError&) {  // EIO: a terminal's word for an end
  }
}

/// A device, and the program's end of its cable. pull() takes the cable away.
class Cable {
 public:
  Coroutine<Streams> plug_in() {
    int device = -1, program = -1;
    asyncio::check_call(openpty(&device, &program, nullptr, nullptr, nullptr), "openpty");
    FileDescriptor device_end(device), program_end(program);
    const Streams streams = co_await serial::open_streams(std::move(device_end));
    writer_.emplace(streams.second);
    device_ = asyncio::create_task(serve(streams));
    co_return co_await serial::open_streams(std::move(program_end));
  }
  void pull() {
    device_->cancel();
    writer_->transport()->abort();
  }

 private:
  std::optional<asyncio::StreamWriter> writer_;
  std::optional<asyncio::Task<>> device_;
};

Coroutine<> print(Instrument& instrument, std::string command) {
  const std::string answer = co_await instrument.ask(command);
  std::cout << command << " " << answer << "\n";
}

Coroutine<> demonstrate() {
  Cable cable;
  Instrument instrument(co_await cable.plug_in());
  for (const char* command : {"ID?", "TEMP?", "NOISE?"}) co_await print(instrument, command);
  const std::string late = co_await common::error_of(asyncio::wait_for(instrument.ask("SLOW?"), 0.05));
  std::cout << "SLOW? and nobody waits so long: " << late << "\n";
  co_await print(instrument, "TEMP?");
  std::cout << "lines that nobody waited for: " << instrument.dropped() << "\n";
  const auto waiting = asyncio::create_task(common::error_of(asyncio::wait_for(instrument.ask("MUTE?"), 5.0)));
  co_await asyncio::sleep(0.05);
  cable.pull();
  const std::string pulled = co_await waiting;
  const std::string after = co_await common::error_of(asyncio::wait_for(instrument.ask("TEMP?"), 5.0));
  std::cout << "the cable is pulled: " << pulled << ", and then: " << after << "\n";
}

Coroutine<> measure() {
  Cable cable;
  Instrument instrument(co_await cable.plug_in());
  const common::Stopwatch stopwatch;
  for (int i = 0; i < 2000; ++i) co_await instrument.ask("TEMP?");
  stopwatch.report("commands", 2000);
}

// Cancels at every moment of a command: each answer must be to its own.
Coroutine<> cancel_at_random() {
  Cable cable;
  Instrument instrument(co_await cable.plug_in());
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 500; ++i) {
    const auto task = asyncio::create_task(instrument.ask("TEMP?"));
    for (int yields = i % 9; yields > 0; --yields) co_await asyncio::sleep(0);
    task.cancel();
    const std::string answer = co_await instrument.ask("ID?");
    wrong += answer != "thermometer, series 7";
    cancelled += task.cancelled();
  }
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure());
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random());
  } else {
    asyncio::run(demonstrate());
  }
}
