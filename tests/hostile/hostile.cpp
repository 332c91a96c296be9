// Strangers that mean no good, against servers on this library: silence, single bytes, resets, no descriptors left,
// signals, connections that come and go. Each attack has a server of its own. Meanwhile a well-behaved client must be
// served at once, and at the end the server must have no more memory and descriptors than it needs.
//     hostile          everything in full
//     hostile short    a small version of each
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <thread>
#include <vector>

#include "tests/hostile/server.hpp"
#include "tests/sanitizers.hpp"

// What was freed stays in AddressSanitizer's quarantine; here it is small.
extern "C" const char* __asan_default_options() { return "quarantine_size_mb=4"; }

namespace hostile {
namespace {

using Clock = std::chrono::steady_clock;
using asyncio::FileDescriptor;

// What a sanitizer itself adds to the server's memory: the quarantine, and the stack of each allocation that it has seen.
constexpr double SANITIZER_MEGABYTES = test::ASAN || test::TSAN ? 16 : 0;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
void pause(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

class Victim {
 public:
  explicit Victim(rlim_t descriptors = 0) : path_("/tmp/hostile-" + std::to_string(::getpid()) + ".sock") {
    void* memory = ::mmap(nullptr, sizeof(Ports), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
    ports_ = new (memory) Ports();
    pid_ = ::fork();
    if (pid_ == 0) {
      const rlimit limit{descriptors, descriptors};
      if (descriptors > 0) ::setrlimit(RLIMIT_NOFILE, &limit);
      std::freopen("/dev/null", "w", stderr);  // what it reports of its clients
      asyncio::run(serve_until_term(*ports_, path_));
      std::exit(0);  // and LeakSanitizer looks
    }
    const auto start = Clock::now();
    while (volatile_streams() == 0 && seconds_since(start) < 30) pause(0.01);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  ~Victim() {
    if (pid_ > 0) end();
    ::munmap(ports_, sizeof(Ports));
    ::unlink(path_.c_str());
  }
  // Whether it has ended by itself, in good order.
  bool end() {
    ::kill(pid_, SIGTERM);
    int status = -1;
    const auto start = Clock::now();
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (seconds_since(start) > 20) ::kill(pid_, SIGKILL);
      pause(0.01);
    }
    pid_ = -1;
    return status == 0;
  }

  FileDescriptor connect(int port) const {
    FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const asyncio::SocketAddress address("127.0.0.1", port);
    if (::connect(fd.get(), address.data(), address.size()) < 0) return FileDescriptor();
    return fd;
  }
  FileDescriptor connect_local() const {
    FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = asyncio::SocketAddress::unix_path(path_);
    if (::connect(fd.get(), address.data(), address.size()) < 0) return FileDescriptor();
    return fd;
  }
  int streams() const { return ports_->streams; }
  int protocols() const { return ports_->protocols; }
  long signals() const { return const_cast<volatile Ports*>(ports_)->signals; }
  pid_t pid() const { return pid_; }

  double megabytes() const {
    long pages = 0, resident = 0;
    std::ifstream("/proc/" + std::to_string(pid_) + "/statm") >> pages >> resident;
    return static_cast<double>(resident) * 4096 / 1e6;
  }
  long descriptors() const {
    const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid_) + "/fd");
    return std::distance(all, std::filesystem::directory_iterator());
  }
  double cpu_seconds() const {
    std::string word;
    std::ifstream stat("/proc/" + std::to_string(pid_) + "/stat");
    for (int i = 0; i < 13; ++i) stat >> word;
    double user = 0, system = 0;
    stat >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

 private:
  int volatile_streams() const { return const_cast<volatile Ports*>(ports_)->streams; }

  std::string path_;
  Ports* ports_;
  pid_t pid_;
};

bool send(const FileDescriptor& fd, std::string_view data) {
  return ::send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(data.size());
}

// Sends a line and waits for it to come back; the seconds that took, or -1.
double ask(const FileDescriptor& fd) {
  const std::string line = "are you there?\n";
  const auto start = Clock::now();
  if (!fd || !send(fd, line)) return -1;
  for (std::string answer; answer.size() < line.size();) {
    pollfd waiting{fd.get(), POLLIN, 0};
    char bytes[100];
    if (::poll(&waiting, 1, 10'000) <= 0) return -1;
    const ssize_t n = ::recv(fd.get(), bytes, sizeof bytes, 0);
    if (n <= 0) return -1;
    answer.append(bytes, static_cast<std::size_t>(n));
  }
  return seconds_since(start);
}

// Abandons the connection with a reset.
void reset(FileDescriptor& fd) {
  const linger now{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd = FileDescriptor();
}

// Asks again and again, over a connection that it keeps and over new ones, in a thread of its own.
class GoodClient {
 public:
  GoodClient(const Victim& victim, bool reconnects)
      : victim_(victim), kept_(victim.connect(victim.streams())), reconnects_(reconnects), thread_([this] { run(); }) {}
  GoodClient(const GoodClient&) = delete;
  GoodClient& operator=(const GoodClient&) = delete;
  ~GoodClient() { stop(); }
  void stop() {
    stopped_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int served() const { return served_; }
  int failed() const { return failed_; }
  double slowest() const { return slowest_; }

 private:
  void run() {
    while (!stopped_) {
      note(ask(kept_));
      if (reconnects_) note(ask(victim_.connect(victim_.streams())));
      if (reconnects_) note(ask(victim_.connect(victim_.protocols())));
      pause(0.02);
    }
  }
  void note(double took) {
    took < 0 ? ++failed_ : ++served_;
    slowest_ = std::max(slowest_, took);
  }

  const Victim& victim_;
  FileDescriptor kept_;
  const bool reconnects_;
  std::atomic<bool> stopped_ = false;
  std::atomic<int> served_ = 0, failed_ = 0;
  double slowest_ = 0;
  std::thread thread_;
};

struct Attack {
  const char* name;
  std::string (*run)(const Victim& victim, bool brief);  // returns what was done
  double megabytes;                                      // by which the server may grow at most
  rlim_t descriptors = 0;                                // that the server has; 0: enough
};

std::string silent(const Victim& victim, bool brief) {
  const std::size_t n = brief ? 500 : 2000;
  std::vector<FileDescriptor> clients;
  for (std::size_t i = 0; i < n; ++i) clients.push_back(victim.connect(i % 2 ? victim.streams() : victim.protocols()));
  const double crowded = victim.megabytes();
  pause(brief ? 0.5 : 1);
  return std::to_string(n) + " clients that say nothing (" + std::to_string(static_cast<int>(crowded)) + " MB then)";
}

std::string slow(const Victim& victim, bool brief) {
  const int rounds = brief ? 60 : 300, n = 100;
  std::vector<FileDescriptor> clients;
  for (int i = 0; i < n; ++i) clients.push_back(victim.connect(victim.streams()));
  int cut_off = 0;
  for (int round = 0; round < rounds; ++round) {
    for (FileDescriptor& client : clients) {
      if (!client || send(client, "x")) continue;
      ++cut_off;
      client = FileDescriptor();
    }
    pause(0.05);
  }
  if (cut_off < n) throw std::runtime_error("only " + std::to_string(cut_off) + " slow clients were cut off");
  return std::to_string(n) + " clients that send a byte every 50 ms, all cut off";
}

std::string endless(const Victim& victim, bool brief) {
  const std::string line(64 * 1024, 'x');
  const std::size_t n = brief ? 10 : 100;
  for (std::size_t i = 0; i < n; ++i) {
    const FileDescriptor client = victim.connect(victim.streams());
    int sent = 0;
    while (sent < 1000 && send(client, line)) ++sent;
    if (sent == 1000) throw std::runtime_error("a line of 64 MB was taken");
  }
  return std::to_string(n) + " clients whose line has no end";
}

// Sends, and never reads what comes back.
std::string deaf(const Victim& victim, bool brief) {
  const std::size_t n = brief ? 10 : 100;
  const std::string lines(64 * 1024, '\n');
  std::vector<FileDescriptor> clients;
  for (std::size_t i = 0; i < n; ++i) {
    clients.push_back(victim.connect(i % 2 ? victim.streams() : victim.protocols()));
    ::fcntl(clients.back().get(), F_SETFL, O_NONBLOCK);
  }
  for (int round = 0; round < (brief ? 50 : 100); ++round) {
    for (const FileDescriptor& client : clients) send(client, lines);
    pause(0.02);
  }
  return std::to_string(n) + " clients that send and never read";
}

std::string resets(const Victim& victim, bool brief) {
  const std::string line = "a line of some bytes\nand one more\n";
  int n = 0;
  for (int round = 0; round < (brief ? 3 : 50); ++round) {
    for (std::size_t bytes = 0; bytes <= line.size(); ++bytes) {
      for (const int port : {victim.streams(), victim.protocols()}) {
        FileDescriptor client = victim.connect(port);
        send(client, line.substr(0, bytes));
        reset(client);
        ++n;
      }
    }
  }
  return std::to_string(n) + " resets, one after each byte";
}

std::string out_of_descriptors(const Victim& victim, bool brief) {
  std::vector<FileDescriptor> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(victim.connect(victim.protocols()));
  const double before = victim.cpu_seconds();
  pause(brief ? 1 : 1.5);
  const double burnt = victim.cpu_seconds() - before;
  if (burnt > 0.7) throw std::runtime_error("the server spins: " + std::to_string(burnt) + " s of processor time");
  clients.clear();
  pause(2.5);  // it looks again after a second
  if (ask(victim.connect(victim.protocols())) < 0) throw std::runtime_error("nobody is accepted any more");
  return "200 clients for 64 descriptors; then others were accepted";
}

std::string signals(const Victim& victim, bool brief) {
  const double seconds = brief ? 1 : 10;
  const auto start = Clock::now();
  long sent = 0;
  while (seconds_since(start) < seconds) {
    while (static_cast<double>(sent) < seconds_since(start) * 10'000) {
      ::kill(victim.pid(), sent % 2 ? SIGUSR1 : SIGUSR2);
      ++sent;
    }
    ::usleep(50);
  }
  pause(0.5);
  if (victim.signals() < 1 || victim.signals() > sent) {
    throw std::runtime_error(std::to_string(sent) + " signals, " + std::to_string(victim.signals()) + " calls");
  }
  return std::to_string(sent) + " signals in " + std::to_string(static_cast<int>(seconds)) + " s, " +
         std::to_string(victim.signals()) + " handler calls";
}

std::string reopened(const Victim& victim, bool brief) {
  const int n = brief ? 3000 : 100'000;
  for (int i = 0; i < n; ++i) {
    FileDescriptor client = i % 3 == 0   ? victim.connect(victim.streams())
                            : i % 3 == 1 ? victim.connect(victim.protocols())
                                         : victim.connect_local();
    if (ask(client) < 0) throw std::runtime_error("connection " + std::to_string(i) + " is not served");
    reset(client);  // no port stays in TIME_WAIT
  }
  return std::to_string(n) + " connections, one after the other";
}

const std::vector<Attack> ATTACKS = {{"silence", silent, 60},       {"slow-loris", slow, 8},
                                     {"endless lines", endless, 8}, {"never reading", deaf, 40},
                                     {"resets", resets, 8},         {"EMFILE", out_of_descriptors, 8, 64},
                                     {"signals", signals, 8},       {"reopened descriptors", reopened, 8}};

// Waits until the server has no more descriptors than before.
bool settles(const Victim& victim, long descriptors) {
  const auto start = Clock::now();
  while (victim.descriptors() > descriptors && seconds_since(start) < 10) pause(0.05);
  return victim.descriptors() <= descriptors;
}

std::string problem_with(const Victim& victim, const GoodClient& good, long descriptors, double grown, double allowed) {
  if (good.served() < 10) return "others were served only " + std::to_string(good.served()) + " times";
  if (good.failed() > 0) return "others were not served " + std::to_string(good.failed()) + " times";
  if (good.slowest() > 5) return "others waited too long";
  if (!settles(victim, descriptors)) return "descriptors stay open: " + std::to_string(victim.descriptors());
  if (grown > allowed) return "memory";
  return "";
}

bool survives(const Attack& attack, bool brief) {
  Victim victim(attack.descriptors);
  for (int i = 0; i < 20; ++i) ask(victim.connect(victim.streams()));
  pause(0.2);
  const long descriptors = victim.descriptors();
  const double before = victim.megabytes();
  GoodClient good(victim, attack.descriptors == 0);
  std::string done, problem;
  try {
    done = attack.run(victim, brief);
  } catch (const std::exception& error) {
    problem = error.what();
  }
  for (const auto start = Clock::now(); good.served() + good.failed() < 10 && seconds_since(start) < 20;) pause(0.02);
  good.stop();
  const double grown = victim.megabytes() - before, allowed = attack.megabytes + SANITIZER_MEGABYTES;
  if (problem.empty()) problem = problem_with(victim, good, descriptors + 1, grown, allowed);
  if (!victim.end() && problem.empty()) problem = "the server did not end in good order";
  std::printf("%s  %-21s %s: served %d, slowest %.0f ms; memory %.1f %+.1f MB (at most %+.0f); descriptors %ld%s%s\n",
              problem.empty() ? "ok    " : "FAILED", attack.name, done.c_str(), good.served(), good.slowest() * 1e3,
              before, grown, allowed, descriptors, problem.empty() ? "" : ": ", problem.c_str());
  std::fflush(stdout);
  return problem.empty();
}

void raise_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 8192);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace hostile

int main(int argc, char** argv) {
  const bool brief = argc > 1 && std::string(argv[1]) == "short";
  const std::string only = argc > 2 ? argv[2] : "";
  hostile::raise_limit();
  std::signal(SIGPIPE, SIG_IGN);
  bool all = true;
  for (const hostile::Attack& attack : hostile::ATTACKS) {
    if (only.empty() || only == attack.name) all &= hostile::survives(attack, brief);
  }
  return all ? 0 : 1;
}
