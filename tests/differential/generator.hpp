// Random programs of the small language: the same seed and index give the same program everywhere.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace differential {

/// How large, and of what.
struct Knobs {
  int coroutines = 4;                  // at most, besides main
  int operations = 5;                  // at most in each of them
  int functions = 2;                   // at most: plain functions, for callbacks
  int subjects = 3;                    // at most: of what a program is about, besides tasks ("futures", "queues" …)
  std::string only{};                  // if not empty: programs about this subject
  std::vector<std::string> without{};  // no operation whose pattern has one of these texts
  int world = 0;                       // how many of 100 programs are about the outside world
  int races = 0;                       // how many of 100 have a cancellation that meets a wake-up
  int runners = 0;                     // how many of 100 have a Runner, half of them Ctrl-C
  int abandoned = 0;                   // how many of 100 end while tasks are pending
};

struct Generated {
  std::string text;
  std::string tagged;              // the text; behind each operation a tab and its index in pattern_texts()
  std::set<std::size_t> patterns;  // the operations that occur: indices of pattern_texts()
};

Generated generate(std::uint64_t seed, std::uint64_t index, const Knobs& knobs = {});

/// The text of what is tagged.
std::string without_tags(const std::string& tagged);

/// One for each operation that the generator knows.
std::vector<std::string> pattern_texts();

}  // namespace differential
