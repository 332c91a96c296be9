// What the benchmark programs share: the clock, quantiles, how they are called.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace bench {

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

/// How late timers were: the median and the 99th percentile in microseconds, and how many were early.
inline double late_median(const std::vector<double>& late) { return 1e6 * quantile(late, 0.5); }
inline double late_p99(const std::vector<double>& late) { return 1e6 * quantile(late, 0.99); }
inline double early(const std::vector<double>& late) {
  return static_cast<double>(std::count_if(late.begin(), late.end(), [](double s) { return s < 0; }));
}

/// One measurement. `run` does n operations and returns what one of them took; or, where n is a listening socket, serves
/// until a client leaves.
struct Row {
  const char* key;
  double (*run)(long n);
  long operations;
};

/// Nanoseconds of one operation, for a function that returns those of all.
template <double (*all)(long)> double each(long n) { return all(n) / static_cast<double>(n); }

/// PROGRAM lists the rows; PROGRAM ROW [N] measures one and prints its value.
template <std::size_t size> int main_of(const char* name, const Row (&rows)[size], int argc, char** argv) {
  if (argc == 1) std::puts(name);
  for (const Row& row : rows) {
    if (argc == 1) std::puts(row.key);
    if (argc == 1 || std::string(argv[1]) != row.key) continue;
    std::printf("%.3f\n", row.run(argc > 2 ? std::atol(argv[2]) : row.operations));
    return 0;
  }
  return argc == 1 ? 0 : 2;
}

}  // namespace bench
