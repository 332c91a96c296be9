// What the benchmark programs share: the clock, medians, the names of the rows.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace bench {

// The rows, as every program prints them.
inline constexpr const char *RESCHEDULE = "call_soon, reschedules itself (ns)", *QUEUE = "1M call_soon, then run (ns)",
                            *SWITCH_2 = "sleep(0), 2 tasks (ns)", *SWITCH_1000 = "sleep(0), 1,000 tasks (ns)",
                            *NESTED = "nested await, depth 10 (ns)", *CREATE = "create_task + finish (ns)",
                            *SLEEP_BYTES = "sleeping task (bytes)", *SLEEP_NS = "create + sleep(1) + finish (ns)",
                            *TIMERS = "call_later + cancel, 1M (ns)", *LATE_MEDIAN = "10k timers, late median (us)",
                            *LATE_P99 = "10k timers, late p99 (us)", *EARLY = "10k timers, fired early";

inline constexpr long SLEEPERS = 100'000, LATENESS_TIMERS = 10'000;

inline double seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
inline double monotonic() { return seconds(CLOCK_MONOTONIC); }

/// Nanoseconds of CPU time that f() takes, in user and kernel space: other programs do not count.
template <class F> double cpu_ns(F f) {
  const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
  f();
  return 1e9 * (seconds(CLOCK_PROCESS_CPUTIME_ID) - start);
}

inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

/// The median of seven repetitions of f(), after one to warm up.
template <class F> double repeat(F f, int repetitions = 7) {
  f();
  std::vector<double> values;
  for (int i = 0; i < repetitions; ++i) values.push_back(f());
  return median(values);
}

/// Numbers in [from, from + span), the same in every run.
inline std::vector<double> random_numbers(long n, double from, double span) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> distribution(from, from + span);
  std::vector<double> numbers(static_cast<std::size_t>(n));
  for (double& number : numbers) number = distribution(random);
  return numbers;
}
inline std::vector<long> random_order(long n) {
  std::vector<long> order(static_cast<std::size_t>(n));
  for (long i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937_64(2));
  return order;
}

/// Heap and stack pages in memory.
inline double resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return 1024 * std::stod(line.substr(8));
  }
  return 0;
}

/// What is measured of 100k sleeping tasks: bytes of one, nanoseconds of one, from create to finish.
using Sleepers = std::array<double, 2>;

/// f() in a process of its own, where no memory was used before.
inline Sleepers in_child(Sleepers (*f)()) {
  int fds[2];
  Sleepers result{};
  if (pipe(fds) != 0) return result;
  if (fork() == 0) {
    result = f();
    _exit(write(fds[1], result.data(), sizeof result) == sizeof result ? 0 : 1);
  }
  close(fds[1]);
  if (read(fds[0], result.data(), sizeof result) != sizeof result) std::puts("a measuring process failed");
  close(fds[0]);
  wait(nullptr);
  return result;
}

/// Seconds that each timer was late: median and 99th percentile in microseconds, and how many were early.
struct Lateness {
  explicit Lateness(const std::vector<double>& late)
      : median(1e6 * quantile(late, 0.5)),
        p99(1e6 * quantile(late, 0.99)),
        early(static_cast<double>(std::count_if(late.begin(), late.end(), [](double s) { return s < 0; }))) {}
  double median, p99, early;
};

// How a peer prints its results.
inline void print(const char* row, double value) { std::printf("%-36s %10.1f\n", row, value); }
inline void print(Sleepers (*f)()) {
  std::vector<double> bytes, ns;
  for (int i = 0; i < 3; ++i) {
    const auto [one_bytes, one_ns] = in_child(f);
    bytes.push_back(one_bytes);
    ns.push_back(one_ns);
  }
  print(SLEEP_BYTES, median(bytes));
  print(SLEEP_NS, median(ns));
}
inline void print(const Lateness& late) {
  print(LATE_MEDIAN, late.median);
  print(LATE_P99, late.p99);
  print(EARLY, late.early);
}

}  // namespace bench
