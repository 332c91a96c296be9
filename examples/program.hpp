// What the programs share that take arguments or serve, so that each can be about its subject: how it is called, how it
// ends, and what it does when descriptors run out. The twins have program.py.
#pragma once

#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace program {

/// The arguments by number, from 0. The usage, such as "[PORT [quiet]]", names them: no more are taken than it has
/// words, and a word in small letters can only be given as it is. std::invalid_argument says what is wrong.
class Arguments {
 public:
  Arguments(int argc, char** argv, std::string usage) : given_(argv + 1, argv + argc) {
    std::erase_if(usage, [](char c) { return c == '[' || c == ']'; });
    std::istringstream words(usage);
    for (std::string word; words >> word;) names_.push_back(word);
    for (std::size_t i = 0; i < given_.size(); ++i) {
      const bool literal = i < names_.size() && names_[i] >= "a";
      if (i >= names_.size() || (literal && given_[i] != names_[i]))
        throw std::invalid_argument("unexpected argument \"" + given_[i] + "\"");
    }
  }

  bool given(std::size_t i) const { return i < given_.size(); }
  std::string text(std::size_t i, std::string otherwise) const { return given(i) ? given_[i] : otherwise; }

  int number(std::size_t i, int otherwise, int least, int most) const {
    if (!given(i)) return otherwise;
    const std::string& digits = given_[i];
    const bool number = !digits.empty() && digits.size() < 10 && digits.find_first_not_of("0123456789") == digits.npos;
    if (number && std::stoi(digits) >= least && std::stoi(digits) <= most) return std::stoi(digits);
    throw std::invalid_argument(names_[i] + " is a number from " + std::to_string(least) + " to " +
                                std::to_string(most) + ", not \"" + digits + "\"");
  }

  /// The first one. Port 0: the kernel takes a free one.
  int port(int otherwise) const { return number(0, otherwise, 0, 65535); }

 private:
  std::vector<std::string> given_, names_;
};

/// The main() of a program: calls body(arguments). --help prints the usage. An exception is a line after the usage, and
/// exit status 2.
template <class Body> int run(int argc, char** argv, std::string usage, Body body) {
  const std::string name = std::filesystem::path(argv[0]).filename();
  usage = usage.empty() ? usage : " " + usage;
  try {
    for (int i = 1; i < argc; ++i) {
      if (std::string_view(argv[i]) != "--help" && std::string_view(argv[i]) != "-h") continue;
      std::cout << "usage: " << name << usage << "\n";
      return 0;
    }
    body(Arguments(argc, argv, usage));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "usage: " << name << usage << "\n" << name << ": error: " << error.what() << "\n";
    return 2;
  } catch (...) {  // a KeyboardInterrupt of asyncio::run
    return 130;    // as a shell says it
  }
}

/// A signal handler may do little more than this.
inline void say_signal(int signum) {
  const std::string_view text = signum == SIGINT ? "SIGINT: ends\n" : "SIGTERM: ends\n";
  static_cast<void>(!::write(STDOUT_FILENO, text.data(), text.size()));
}

/// For programs without a loop, which have nothing to tidy up: SIGINT and SIGTERM end them.
inline void end_on_signals() {
  for (int signum : {SIGINT, SIGTERM}) {
    std::signal(signum, [](int signum) {
      say_signal(signum);
      ::_exit(0);
    });
  }
}

inline void (*loop_handler)(int);

inline void on_first_signal(int signum) {
  const int saved_errno = errno;
  say_signal(signum);
  for (int second : {SIGINT, SIGTERM}) std::signal(second, SIG_DFL);
  std::signal(SIGALRM, [](int) { ::_exit(0); });
  const itimerval half_a_second{{}, {0, 500000}};
  ::setitimer(ITIMER_REAL, &half_a_second, nullptr);
  loop_handler(signum);
  errno = saved_errno;
}

/// For programs on a loop: the first SIGINT or SIGTERM has the loop call stop(). Who is still busy half a second later is
/// ended, and so is, at once, who gets a second signal.
template <class Loop, class Stop> void stop_on_signals(Loop& loop, Stop stop) {
  for (int signum : {SIGINT, SIGTERM}) {
    loop.add_signal_handler(signum, stop);
    loop_handler = std::signal(signum, on_first_signal);
  }
}

/// Is this why accept() failed: no descriptor is left for a client? Says so once. The client stays in the queue, so the
/// server stays readable: who tries again at once spins. Wait a second.
inline bool out_of_descriptors(int error) {
  if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) return false;
  static bool said = false;
  if (!std::exchange(said, true))
    std::cerr << "cannot accept: " << std::generic_category().message(error) << "; tries again every second\n";
  return true;
}

/// Servers of the library's wait by themselves, and report every attempt to the loop's exception handler: once is enough.
template <class Loop> void report_once(Loop& loop) {
  loop.set_exception_handler([](Loop& loop, const auto& context) {
    try {
      if (context.exception) std::rethrow_exception(context.exception);
    } catch (const std::system_error& error) {
      if (out_of_descriptors(error.code().value())) return;
    } catch (...) {}
    loop.default_exception_handler(context);
  });
}

}  // namespace program
