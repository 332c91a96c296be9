// Runs random programs on CPython's asyncio and here, and compares the traces.
//   differential run PYTHON N SEED [KNOB=VALUE …]   compares N programs, or for N=400-500 the last hundred of 500; the knobs
//                                                   are in README.md
//   differential trace PYTHON FILE                  one program, both traces side by side
//   differential traces PYTHON                      the program in the standard input: its trace here, "%", CPython's.
//                                                   PYTHON may be "-": only here
//   differential golden PYTHON N SEED POOL FILE     programs that cover what N programs cover, and those of the file;
//                                                   with CPython's traces, for tests/test_differential.cpp
//   differential show SEED INDEX [KNOB=VALUE …]     one of the programs of run
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>

#include "tests/differential/generator.hpp"
#include "tests/differential/golden.hpp"
#include "tests/differential/interpreter.hpp"
#include "tests/differential/shrink.hpp"
#include "tests/differential/twin.hpp"

namespace {

using namespace differential;
using std::uint64_t;

constexpr int WORKERS = 2;
constexpr uint64_t BATCH = 250;
constexpr std::size_t MAX_PATTERNS = 320;
constexpr uint64_t MAX_SHOWN = 5;

/// What the workers and their parent share.
struct Shared {
  std::atomic<uint64_t> programs, divergences, operations, microseconds_here;
  std::atomic<uint64_t> current[WORKERS];  // the program that a worker runs now
  std::atomic<uint64_t> together[MAX_PATTERNS][MAX_PATTERNS];
};

struct Job {
  uint64_t from, count, seed;
  std::string python;
  Knobs knobs;
};

struct Batch {
  uint64_t start = 0;
  std::vector<std::string> programs, traces;
};

uint64_t events_in(const std::string& trace) {
  return static_cast<uint64_t>(std::count(trace.begin(), trace.end(), '\n')) + 1;
}

void count_patterns(Shared& shared, const std::set<std::size_t>& patterns) {
  for (const std::size_t a : patterns) {
    for (const std::size_t b : patterns) shared.together[a][b].fetch_add(1, std::memory_order_relaxed);
  }
}

class Worker {
 public:
  Worker(const Job& job, Shared& shared, uint64_t number)
      : job_(job), shared_(shared), number_(number), twin_(job.python) {}

  // While CPython works on one batch, the next one is run here.
  void run() {
    Batch sent = make_batch(job_.from + number_ * BATCH);
    if (!sent.programs.empty()) twin_.send(sent.programs);
    while (!sent.programs.empty()) {
      Batch next = make_batch(sent.start + WORKERS * BATCH);
      const std::vector<std::string> answers = twin_.receive();
      for (std::size_t i = 0; i < answers.size(); ++i) {
        if (answers[i] != sent.traces[i]) report(sent.start + i, sent.programs[i]);
      }
      shared_.programs += answers.size();
      if (!next.programs.empty()) twin_.send(next.programs);
      sent = std::move(next);
    }
  }

 private:
  Batch make_batch(uint64_t start) {
    Batch batch{start, {}, {}};
    for (uint64_t i = start; i < std::min(start + BATCH, job_.count); ++i) {
      Generated generated = generate(job_.seed, i, job_.knobs);
      count_patterns(shared_, generated.patterns);
      shared_.current[number_] = i;
      const auto before = std::chrono::steady_clock::now();
      batch.traces.push_back(trace(generated.text));
      shared_.microseconds_here += static_cast<uint64_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - before).count());
      shared_.operations += events_in(batch.traces.back());
      batch.programs.push_back(std::move(generated.text));
    }
    return batch;
  }

  bool diverges(const std::string& program) {
    try {
      const std::string here = trace(program), there = twin_.trace(program);
      return here != there && !there.starts_with("invalid");
    } catch (const std::invalid_argument&) {
      return false;  // not a program any more
    }
  }

  void report(uint64_t index, const std::string& program) {
    if (++shared_.divergences > MAX_SHOWN) return;
    const std::string small = shrink(program, [this](const std::string& text) { return diverges(text); });
    std::ostringstream text;
    text << "DIVERGENCE: program " << index << " of seed " << job_.seed << ", shrunk\n"
         << side_by_side(small, twin_.trace(small), trace(small)) << "\n";
    std::cout << text.str() << std::flush;
  }

  const Job& job_;
  Shared& shared_;
  uint64_t number_;
  Twin twin_;
};

void print_coverage(const Shared& shared) {
  const std::vector<std::string> texts = pattern_texts();
  std::size_t never = 0, pairs = 0, pairs_never = 0, rarest = 0;
  for (std::size_t a = 0; a < texts.size(); ++a) {
    if (shared.together[a][a] == 0) std::cout << "never occurred: " << texts[a] << "\n", ++never;
    if (shared.together[a][a] < shared.together[rarest][rarest]) rarest = a;
    for (std::size_t b = 0; b < a; ++b, ++pairs) pairs_never += shared.together[a][b] == 0;
  }
  std::cout << "kinds of operation: " << texts.size() << ", never: " << never << ", rarest: " << texts[rarest] << " in "
            << shared.together[rarest][rarest] << " programs; pairs of them in one program: " << pairs
            << ", never: " << pairs_never << "\n";
  if (!std::getenv("COVERAGE")) return;
  for (std::size_t a = 0; a < texts.size(); ++a) {
    std::printf("%10llu  %s\n", static_cast<unsigned long long>(shared.together[a][a]), texts[a].c_str());
    for (std::size_t b = 0; b < a; ++b) {
      if (shared.together[a][b] == 0) std::printf("            never with: %s\n", texts[b].c_str());
    }
  }
}

pid_t start_worker(const Job& job, Shared& shared, uint64_t number) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  try {
    Worker(job, shared, number).run();
  } catch (const std::exception& error) {
    std::cout << "worker " << number << ": " << error.what() << "\n" << std::flush;
    _exit(1);
  }
  std::cout << std::flush;
  _exit(0);
}

int run(const Job& job) {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Shared& shared = *static_cast<Shared*>(memory);
  const auto start = std::chrono::steady_clock::now();
  std::cout << std::flush;
  pid_t workers[WORKERS];
  for (uint64_t i = 0; i < WORKERS; ++i) workers[i] = start_worker(job, shared, i);
  bool failed = false;
  for (uint64_t i = 0; i < WORKERS; ++i) {
    int status = 0;
    waitpid(workers[i], &status, 0);
    if (status == 0) continue;
    failed = true;
    if (WIFSIGNALED(status)) {
      std::cout << "CRASH: program " << shared.current[i] << " of seed " << job.seed << " ended with signal "
                << WTERMSIG(status) << "\n"
                << generate(job.seed, shared.current[i], job.knobs).text;
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto programs = static_cast<double>(shared.programs);
  print_coverage(shared);
  std::printf("%.1f s, %.0f programs/s; here alone %.0f programs/s on one core\n", seconds, programs / seconds,
              programs * 1e6 / static_cast<double>(shared.microseconds_here + 1));
  std::printf("programs=%llu divergences=%llu operations=%llu\n", static_cast<unsigned long long>(shared.programs),
              static_cast<unsigned long long>(shared.divergences), static_cast<unsigned long long>(shared.operations));
  return failed || shared.divergences != 0 || shared.programs != job.count - job.from;
}

int trace_of(const std::string& path, const std::string& python) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("there is no file " + path);
  std::ostringstream text;
  text << file.rdbuf();
  Twin twin(python);
  const std::string here = trace(text.str()), there = twin.trace(text.str());
  std::cout << side_by_side(text.str(), there, here) << (here == there ? "same\n" : "DIFFERENT\n");
  return here != there;
}

int traces_of(std::istream& input, const std::string& python) {
  std::ostringstream text;
  text << input.rdbuf();
  std::cout << trace(text.str()) << "\n" << std::flush;
  if (python == "-") return 0;
  Twin twin(python);
  std::cout << "%\n" << twin.trace(text.str()) << "\n";
  return 0;
}

// Each ends with a line "%".
std::vector<std::string> programs_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("there is no file " + path);
  std::vector<std::string> programs(1);
  for (std::string line; std::getline(file, line);) {
    line == "%" ? static_cast<void>(programs.emplace_back()) : static_cast<void>(programs.back() += line + "\n");
  }
  programs.pop_back();
  return programs;
}

int print_traces(const std::vector<std::string>& programs, const std::string& python) {
  Twin twin(python);
  for (const std::string& program : programs) std::cout << program << "%\n" << twin.trace(program) << "\n%\n";
  return 0;
}

Knobs knobs_of(int argc, char** argv, int from) {
  Knobs knobs{.world = 40, .races = 20, .runners = 10, .abandoned = 5};
  for (int i = from; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string name = argument.substr(0, argument.find('='));
    const std::string value = argument.substr(std::min(argument.size(), name.size() + 1));
    if (name == "only")
      knobs.only = value;
    else if (name == "without")
      knobs.without.push_back(value);
    else if (name == "operations")
      knobs.operations = std::stoi(value);
    else if (name == "coroutines")
      knobs.coroutines = std::stoi(value);
    else if (name == "functions")
      knobs.functions = std::stoi(value);
    else if (name == "subjects")
      knobs.subjects = std::stoi(value);
    else if (name == "world")
      knobs.world = std::stoi(value);
    else if (name == "races")
      knobs.races = std::stoi(value);
    else if (name == "runners")
      knobs.runners = std::stoi(value);
    else if (name == "abandoned")
      knobs.abandoned = std::stoi(value);
    else
      throw std::runtime_error("there is no knob " + name);
  }
  return knobs;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_DFL);  // a shell ignores it for what it starts with &: a Runner would leave it so
  for (int fd = FIRST_VIRTUAL; fd <= LAST_VIRTUAL; ++fd) dup2(STDERR_FILENO, fd);
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    if (mode == "run" && argc > 4) {
      const std::string range = argv[3];
      const std::size_t dash = range.find('-');
      const uint64_t from = dash == range.npos ? 0 : std::stoul(range);
      const uint64_t count = std::stoul(range.substr(dash == range.npos ? 0 : dash + 1));
      return run({from, count, std::stoul(argv[4]), argv[2], knobs_of(argc, argv, 5)});
    }
    if (mode == "trace" && argc > 3) return trace_of(argv[3], argv[2]);
    if (mode == "traces" && argc > 2) return traces_of(std::cin, argv[2]);
    if (mode == "golden" && argc > 6) {
      std::vector<std::string> programs = choose_golden(std::stoul(argv[3]), std::stoul(argv[4]), std::stoul(argv[5]));
      for (std::string& program : programs_of(argv[6])) programs.push_back(std::move(program));
      return print_traces(programs, argv[2]);
    }
    if (mode == "show" && argc > 3) {
      std::cout << generate(std::stoul(argv[2]), std::stoul(argv[3]), knobs_of(argc, argv, 4)).text;
      return 0;
    }
  } catch (const std::exception& error) {
    std::cerr << "differential: " << error.what() << "\n";
    return 2;
  }
  std::cerr << "usage: see tests/differential/README.md\n";
  return 2;
}
