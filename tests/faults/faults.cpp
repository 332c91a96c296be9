// Runs every program with every fault, each run in a process of its own, and says what became of them:
//   faults [--sample N] [--only TEXT] [--fault KIND] [--verbose]
#include "tests/faults/faults.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <string>

using namespace asyncio;

namespace faults {

double patience = 5;
bool waited_in_vain = false;

void run_with_patience(EventLoop& loop, const Task<void>& task) {
  const TimerHandle too_long = loop.call_later(patience, [task] {
    waited_in_vain = true;
    task.cancel();
  });
  const Finally done([&] { too_long.cancel(); });
  loop.run_until_complete(task);
}

void expect_usable(EventLoop& loop) {
  const Pause pause;
  bool called = false;
  const auto use = [&]() -> Coroutine<int> {
    loop.call_soon_threadsafe([&] { called = true; });
    co_await sleep(0.0001);
    co_return 1;
  };
  try {
    // As upstream's, a run that an error ends may leave a stop() in the queue, which ends the next run.
    loop.call_soon([&] { loop.stop(); });
    loop.run_forever();
    expect(loop.run_until_complete(loop.create_task(use)) == 1 && called, "a callback was lost");
  } catch (...) {
    static std::string why;
    why = "the loop is not usable any more: " + describe(std::current_exception());
    throw Wrong{why.c_str()};
  }
}

const std::vector<Program>& programs() {
  static const std::vector<Program> all = [] {
    std::vector<Program> list = programs_of_the_kernel();
    for (const auto& more : {programs_of_tasks(), programs_of_the_world()}) {
      list.insert(list.end(), more.begin(), more.end());
    }
    return list;
  }();
  return all;
}

namespace {

constexpr int LIMIT = 15;  // seconds that a run may take

/// What a run leaves for its parent, in memory that both share.
struct Report {
  bool happened;
  bool good;
  bool incomplete;  // the result is not the right one: good only if an error was reported
  char outcome[100];
};
Report* report;

void write_report(bool good, const char* outcome) noexcept {
  report->good = good;
  std::strncpy(report->outcome, outcome, sizeof report->outcome - 1);
}

// Counted without allocating.
int open_descriptors() noexcept {
  int n = 0;
  for (int fd = 0; fd < 256; ++fd) n += ::fcntl(fd, F_GETFD) >= 0;
  return n;
}

void run_program(const Program& program) noexcept {
  try {
    program.run();
    write_report(true, "right result");
  } catch (const Wrong& wrong) {
    write_report(false, wrong.what);
    report->incomplete = true;
  } catch (const std::bad_alloc&) {
    write_report(true, "bad_alloc");
  } catch (const OSError&) {
    write_report(true, "OSError");
  } catch (const CancelledError&) {
    write_report(waited_in_vain && patience < 1, waited_in_vain ? "waited in vain" : "CancelledError");
    report->incomplete = waited_in_vain;
  } catch (const ExceptionGroup&) {
    write_report(true, "ExceptionGroup");
  } catch (const TimeoutError&) {
    write_report(patience < 1, "TimeoutError");
    report->incomplete = true;
  } catch (const std::exception& error) {
    const Pause pause;
    write_report(true, demangle(typeid(error).name()).c_str());
  } catch (const BaseException&) {
    write_report(false, "a BaseException");
  } catch (...) {
    write_report(false, "an exception without a name");
  }
}

void check_what_is_left(long blocks, int descriptors) noexcept {
  if (!report->good) return;
  const pid_t child = ::waitpid(-1, nullptr, WNOHANG);
  if (child >= 0) return write_report(false, child > 0 ? "a child was not reaped" : "a child still runs");
  if (open_descriptors() > descriptors) return write_report(false, "a descriptor is open");
  if (open_descriptors() < descriptors) return write_report(false, "a descriptor of others was closed");
  if (live_blocks() > blocks) return write_report(false, "memory is not freed");
}

[[noreturn]] void run_in_child(const Program& program, const Fault& fault, int log) {
  ::dup2(log, STDERR_FILENO);
  ::alarm(LIMIT);
  const long blocks = live_blocks();
  const int descriptors = open_descriptors();
  arm(fault);
  run_program(program);
  report->happened = happened();
  arm({});
  check_what_is_left(blocks, descriptors);
  ::_exit(0);
}

struct Outcome {
  bool happened, good;
  std::string text;
};

std::string ended_by(int status) {
  if (!WIFSIGNALED(status)) return "exit status " + std::to_string(WEXITSTATUS(status)) + ": a sanitizer's report";
  if (WTERMSIG(status) == SIGALRM) return "hangs";
  return WTERMSIG(status) == SIGABRT ? "aborts" : std::string("dies of ") + ::strsignal(WTERMSIG(status));
}

std::string log_text(int log) {
  std::string text(4000, '\0');
  const ssize_t n = ::pread(log, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

// A callback has met the fault, and the exception handler was told.
bool reported_an_error(int log) {
  const std::string text = log_text(log);
  return std::ranges::any_of(std::array{"bad_alloc", "out of memory", "system_error"},
                             [&](const char* name) { return text.find(name) != std::string::npos; });
}

Outcome run_with(const Program& program, const Fault& fault, int log) {
  *report = {};
  report->happened = true;
  static_cast<void>(::ftruncate(log, 0) + ::lseek(log, 0, SEEK_SET));
  const pid_t child = ::fork();
  if (child == 0) run_in_child(program, fault, log);
  int status = 0;
  ::waitpid(child, &status, 0);
  bool orphaned = false;
  while (const pid_t orphan = ::waitpid(-1, nullptr, WNOHANG)) {
    if (orphan < 0) break;
    orphaned = true;
  }
  const bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!ended) return {true, false, ended_by(status)};
  if (report->good && orphaned) return {report->happened, false, "a child was orphaned"};
  if (!report->good && report->incomplete && reported_an_error(log)) return {true, true, "an error was reported"};
  return {report->happened, report->good, report->outcome};
}

struct Matrix {
  int sample = 1;  // of how many faults one is tried
  std::string only, fault;
  bool verbose = false;

  int runs = 0, bad = 0;
  std::map<std::string, int> outcomes;
  int log = ::memfd_create("stderr of a run", MFD_CLOEXEC);

  void run() {
    int n = 0;
    for (const Program& program : programs()) {
      if (std::string(program.name).find(only) == std::string::npos) continue;
      ++n;
      run(program);
    }
    std::printf("programs=%d faults=%d bad=%d\n", n, runs, bad);
    for (const auto& [outcome, times] : outcomes) std::printf("  %6d  %s\n", times, outcome.c_str());
  }

 private:
  void run(const Program& program) {
    patience = 5;
    arm({});
    try {
      program.run();  // once without a fault: what is made once and kept is there, and the calls are counted
    } catch (const Wrong& wrong) {
      return tell(program, {}, {true, false, wrong.what});
    }
    const std::vector<int> made = calls();
    const int before = runs, bad_before = bad;
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t kind = 0; kind < kinds().size(); ++kind) {
      if (made[kind] == 0 || kinds()[kind].name.find(fault) == std::string::npos) continue;
      for (const int error : kinds()[kind].lasting) {
        for (const bool lasts : {false, true}) {
          if (lasts && program.promises && kinds()[kind].name == "allocation") continue;
          run(program, static_cast<int>(kind), error, lasts);
        }
      }
      for (const int error : kinds()[kind].passing) run(program, static_cast<int>(kind), error, false);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%-32s %6d faults, %d bad, %.1f s\n", program.name, runs - before, bad - bad_before, took.count());
    std::fflush(stdout);
  }

  // n from 1 to the first run that the fault does not reach.
  void run(const Program& program, int kind, int error, bool lasts) {
    // What the world refuses may leave others waiting: those who connect to a server that cannot accept.
    patience = may_wait_in_vain(kinds()[kind].name) ? 0.3 : 5;
    for (int n = 1 + (sample > 1 ? (kind + error + lasts) % sample : 0);; n += sample) {
      const Fault fault{kind, error, n, lasts};
      const Outcome outcome = run_with(program, fault, log);
      if (outcome.good && !outcome.happened) break;
      ++runs;
      ++outcomes[(outcome.good ? "" : "BAD ") + outcome.text];
      if (!outcome.good) tell(program, fault, outcome);
    }
  }

  static bool may_wait_in_vain(const std::string& name) { return name == "accept4"; }

  void tell(const Program& program, const Fault& fault, const Outcome& outcome) {
    ++bad;
    if (fault.n == 0) return static_cast<void>(std::printf("BAD %s: %s\n", program.name, outcome.text.c_str()));
    std::printf("BAD %s: %s no. %d%s fails with %s: %s\n", program.name, kinds()[fault.kind].name.c_str(), fault.n,
                fault.lasts ? " and all after it" : "", fault.error ? ::strerrorname_np(fault.error) : "no memory",
                outcome.text.c_str());
    if (verbose) std::printf("%s\n", log_text(log).c_str());
    std::fflush(stdout);
  }
};

}  // namespace
}  // namespace faults

int main(int argc, char** argv) {
  faults::Matrix matrix;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool more = i + 1 < argc;
    if (argument == "--verbose") {
      matrix.verbose = true;
    } else if (more && argument == "--sample") {
      matrix.sample = std::max(1, std::atoi(argv[++i]));
    } else if (more && argument == "--only") {
      matrix.only = argv[++i];
    } else if (more && argument == "--fault") {
      matrix.fault = argv[++i];
    } else {
      std::fprintf(stderr, "faults [--sample N] [--only TEXT] [--fault KIND] [--verbose]\n");
      return 2;
    }
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  void* shared = ::mmap(nullptr, sizeof *faults::report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  faults::report = static_cast<faults::Report*>(shared);
  matrix.run();
  return matrix.bad == 0 ? 0 : 1;
}
