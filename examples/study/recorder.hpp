// The recorder of a process: it watches every loop, and takes along what the program prints. README.md says how to use it.
#pragma once

#include <memory>
#include <mutex>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

#include "asyncio.hpp"
#include "examples/study/record.hpp"

namespace study {

class Watch;

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

  Record record;
  std::recursive_mutex mutex;  // every event holds it: loops may run in several threads

 private:
  enum class Mode { off, file, text, step };
  struct Print {
    int fd = 0, loop = -1, iteration = 0, place = -1;
    double time = 0;
    std::string text;
  };
  double microseconds() const noexcept;
  bool records() const noexcept;
  void add(const char* kind, double time, int loop, int iteration, int place, const std::string& arguments,
           const std::string& text);
  void end_print();

  Mode mode_;
  std::string path_;
  bool debug_by_user_;
  double start_;
  int process_;  // a child of fork() writes nothing
  bool finished_ = false;
  Print print_;  // a line that is not complete yet
  std::vector<std::unique_ptr<Watch>> watches_;
  std::vector<std::unique_ptr<std::streambuf>> tees_;
};

Recorder& recorder();

}  // namespace study
