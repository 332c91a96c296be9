// The recorder of a process: it watches every loop, and takes along what the program prints. README.md says how to use it.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "examples/study/record.hpp"
#include "loop/base_events.hpp"

namespace study {

class Watch;
class Recorder;

// What differs between programs in C++ and in Python: program.cpp and python/program.cpp define it.

/// Is called before anything is recorded: members of the recording that say which program it is, as JSON.
std::string begin_program();
/// Where the program is now: an entry of the table "places".
std::string place_in_program();
/// The observer of a new loop.
std::unique_ptr<Watch> make_watch(Recorder& recorder, asyncio::EventLoop& loop, int id);

/// Every event holds it, because loops may run in several threads.
class Mutex : public std::recursive_mutex {
 public:
  void lock() {
    if (!try_lock()) wait();
  }

 private:
  void wait();  // differs, too: a thread of Python does not keep the GIL while it waits
};

/// There is one, recorder(). What it does is said by ASYNCIO_STUDY: unset, nothing; `out.json`, it writes a recording
/// at the end; `-`, it prints a line per event; `step`, it also shows the three boxes after each iteration, and waits
/// for Enter.
class Recorder {
 public:
  Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  /// Writes the recording.
  ~Recorder();

  void watch(asyncio::EventLoop& loop);
  /// Adds an event to the recording, or prints it: `arguments` are JSON, `text` is the same for people.
  void event(const char* kind, const Watch& watch, const std::string& arguments, const std::string& text,
             int place = -1);
  /// The program prints something. Returns whether it is to be passed on.
  bool printed(int fd, std::string_view text);
  /// An iteration has ended: in step mode, shows the boxes.
  void iteration_ended(const Watch& watch);
  /// Writes the recording, unless that has been done.
  void finish() noexcept;

  bool records() const noexcept;
  /// The index of where the program is now in "places".
  int place() { return record.intern("places", place_in_program()); }
  Watch& watch(int id) { return *watches_.at(static_cast<std::size_t>(id)); }

  Record record;
  Mutex mutex;

 private:
  enum class Mode { off, file, text, step };
  struct Print {
    int fd = 0, loop = -1, iteration = 0, place = -1;
    double time = 0;
    std::string text;
  };
  double microseconds() const noexcept;
  void add(const char* kind, double time, int loop, int iteration, int place, const std::string& arguments,
           const std::string& text);
  void end_print();

  Mode mode_;
  std::string path_;
  double start_;
  int process_;  // a child of fork() writes nothing
  bool finished_ = false;
  Print print_;  // a line that is not complete yet
  std::vector<std::unique_ptr<Watch>> watches_;
};

Recorder& recorder();

}  // namespace study
