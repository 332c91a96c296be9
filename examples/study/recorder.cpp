#include "examples/study/recorder.hpp"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "examples/study/virtual_clock.hpp"
#include "examples/study/watch.hpp"

namespace study {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void write_to_terminal(const std::string& text) {
  [[maybe_unused]] const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
}

// False at the end of the input.
bool wait_for_enter() {
  for (char c = 0; c != '\n';) {
    if (::read(STDIN_FILENO, &c, 1) != 1) return false;
  }
  return true;
}

}  // namespace

Recorder::Recorder() : path_(variable("ASYNCIO_STUDY")), start_(now()), process_(::getpid()) {
  mode_ = path_.empty() ? Mode::off : path_ == "-" ? Mode::text : path_ == "step" ? Mode::step : Mode::file;
  if (mode_ == Mode::off) return;
  ::unsetenv("ASYNCIO_STUDY");  // a child would write to the same file
  record.program = begin_program();
}

Recorder::~Recorder() {
  finish();
  mode_ = Mode::off;
}

double Recorder::microseconds() const noexcept { return 1e6 * (now() - start_); }

bool Recorder::records() const noexcept { return mode_ != Mode::off && !finished_ && ::getpid() == process_; }

void Recorder::watch(asyncio::EventLoop& loop) {
  if (!records()) return;
  const std::lock_guard lock(mutex);
  const int id = record.add("loops", "{\"thread\":" + std::to_string(::gettid() - process_) + "}");
  watches_.push_back(make_watch(*this, loop, id));
  loop.add_instrument(*watches_.back());
}

void Recorder::add(const char* kind, double time, int loop, int iteration, int place, const std::string& arguments,
                   const std::string& text) {
  if (mode_ == Mode::file) return record.event(kind, time, loop, place, arguments);
  char head[80];
  snprintf(head, sizeof head, "%-4s %10.6f  %-7s ", ("#" + std::to_string(iteration)).c_str(), 1e-6 * time, kind);
  write_to_terminal((watches_.size() > 1 ? "loop " + std::to_string(loop) + " " : "") + head + text + "\n");
}

void Recorder::event(const char* kind, const Watch& watch, const std::string& arguments, const std::string& text,
                     int place) {
  if (!records()) return;
  end_print();
  add(kind, microseconds(), watch.id(), watch.iteration(), place, arguments, text);
}

bool Recorder::printed(int fd, std::string_view text) {
  if (!records()) return true;
  const std::lock_guard lock(mutex);
  if (print_.fd != fd) end_print();
  while (!text.empty()) {
    if (print_.text.empty()) {
      print_ = {fd, -1, 0, place(), microseconds(), {}};
      for (const auto& watch : watches_) {
        if (watch->runs_here()) print_.loop = watch->id(), print_.iteration = watch->iteration();
      }
    }
    const std::string_view line = text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
    text.remove_prefix(line.size());
    print_.text += line;
    if (line.ends_with('\n')) end_print();
  }
  return mode_ == Mode::file;
}

void Recorder::end_print() {
  if (print_.text.empty()) return;
  const Print print = std::exchange(print_, {});
  const std::string text = quote(print.text);
  add("print", print.time, print.loop, print.iteration, print.place, array(print.fd, text), text);
}

void Recorder::iteration_ended(const Watch& watch) {
  if (mode_ != Mode::step || !records()) return;
  end_print();
  write_to_terminal(watch.boxes() + "Enter: the next iteration> ");
  if (!wait_for_enter()) mode_ = Mode::text;
}

void Recorder::finish() noexcept {
  if (!records()) return;
  const std::lock_guard lock(mutex);
  end_print();
  finished_ = true;
  if (mode_ != Mode::file) return;
  std::ofstream file(path_);
  record.write(file);
  if (!file.flush()) std::cerr << "the recording could not be written to " << path_ << "\n";
}

Recorder& recorder() {
  static Recorder the_recorder;
  return the_recorder;
}

}  // namespace study
