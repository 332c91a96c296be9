#include "examples/study/recorder.hpp"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>

#include "examples/study/virtual_clock.hpp"
#include "examples/study/watch.hpp"

namespace study {
namespace {

// In front of the buffer of std::cout or std::cerr.
class Tee : public std::streambuf {
 public:
  Tee(std::ostream& stream, int fd) : stream_(stream), original_(stream.rdbuf(this)), fd_(fd) {}
  ~Tee() override { stream_.rdbuf(original_); }

 protected:
  int_type overflow(int_type c) override {
    const char text = traits_type::to_char_type(c);
    if (!traits_type::eq_int_type(c, traits_type::eof())) xsputn(&text, 1);
    return traits_type::not_eof(c);
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    const bool pass = recorder().printed(fd_, {text, static_cast<std::size_t>(size)});
    return pass ? original_->sputn(text, size) : size;
  }
  int sync() override { return original_->pubsync(); }

 private:
  std::ostream& stream_;
  std::streambuf* original_;
  int fd_;
};

FILE* stdout_before = nullptr;

// The same for printf and its kin.
void tee_stdout() {
  const auto write = [](void*, const char* text, std::size_t size) -> ssize_t {
    const bool pass = recorder().printed(STDOUT_FILENO, {text, size});
    return static_cast<ssize_t>(pass ? ::fwrite(text, 1, size, stdout_before) : size);
  };
  FILE* file = ::fopencookie(nullptr, "w", {nullptr, write, nullptr, nullptr});
  if (!file) return;
  ::setvbuf(file, nullptr, _IONBF, 0);
  stdout_before = std::exchange(stdout, file);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::terminate_handler terminate_before = nullptr;

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

void print_tasks(asyncio::EventLoop& loop) {
  std::string tree;
  try {
    tree = asyncio::pstree(loop);
  } catch (const asyncio::RuntimeError& error) {
    tree = error.what() + std::string("\n");  // tasks await one another in a cycle
  }
  std::cerr << asyncio::ps(loop) << "\n" << tree << std::flush;
}

}  // namespace

Recorder::Recorder()
    : path_(variable("ASYNCIO_STUDY")),
      debug_by_user_(asyncio::debug_by_environment()),
      start_(now()),
      process_(::getpid()) {
  mode_ = path_.empty() ? Mode::off : path_ == "-" ? Mode::text : path_ == "step" ? Mode::step : Mode::file;
  if (mode_ == Mode::off) return;
  ::unsetenv("ASYNCIO_STUDY");  // a child would write to the same file
  ::setenv("ASYNCIO_DEBUG", "1", 0);
  tees_.push_back(std::make_unique<Tee>(std::cout, STDOUT_FILENO));
  tees_.push_back(std::make_unique<Tee>(std::cerr, STDERR_FILENO));
  tee_stdout();
  terminate_before = std::set_terminate([] {
    recorder().finish();
    terminate_before();
  });
}

Recorder::~Recorder() {
  if (stdout_before) std::exchange(stdout, stdout_before);
  finish();
  mode_ = Mode::off;
}

double Recorder::microseconds() const noexcept { return 1e6 * (now() - start_); }

bool Recorder::records() const noexcept { return mode_ != Mode::off && !finished_ && ::getpid() == process_; }

void Recorder::watch(asyncio::EventLoop& loop) {
  if (debug_by_user_ && asyncio::in_main_thread()) {
    loop.add_signal_handler(SIGUSR1, [&loop] { print_tasks(loop); });
  }
  if (!records()) return;
  const std::lock_guard lock(mutex);
  const int id = record.add("loops", "{\"thread\":" + std::to_string(::gettid() - process_) + "}");
  watches_.push_back(std::make_unique<Watch>(*this, loop, id));
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
      print_ = {fd, -1, 0, record.place(), microseconds(), {}};
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

[[maybe_unused]] static const Recorder& started_before_main = recorder();

}  // namespace study

void asyncio::loop_created(EventLoop& loop) { study::recorder().watch(loop); }
