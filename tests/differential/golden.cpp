#include "tests/differential/golden.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <stdexcept>

#include "tests/differential/generator.hpp"
#include "tests/differential/interpreter.hpp"
#include "tests/differential/shrink.hpp"

namespace differential {
namespace {

using std::size_t;
using Patterns = std::set<size_t>;
using Numbers = std::vector<std::uint32_t>;  // sorted: pairs of operations

constexpr Knobs small() { return {.coroutines = 2, .operations = 3, .functions = 2, .subjects = 3}; }

struct Candidate {
  std::uint64_t index;
  size_t lines;
  Numbers covers;
};

// The lines that a trace names, as in "main:11 ok".
std::set<size_t> lines_that_ran(const std::string& trace) {
  std::set<size_t> lines;
  std::istringstream events(trace);
  for (std::string who, outcome; events >> who && std::getline(events, outcome);) {
    const size_t colon = who.find(':');
    if (colon != who.npos && outcome != " unbound") lines.insert(std::stoul(who.substr(colon + 1)));
  }
  return lines;
}

// The lines of a program, and in each of them the operation that begins there.
template <class F> void for_each_line(const std::string& tagged, F f) {
  std::istringstream lines(tagged);
  size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = std::min(line.find('\t'), line.size());
    const size_t start = std::min(line.find_first_not_of(' '), tab);
    f(++number, line.substr(start, tab - start), tab < line.size() ? std::stoi(line.substr(tab)) : -1);
  }
}

// All pairs; an operation is a pair with itself.
void add_pairs(Numbers& pairs, const Patterns& patterns, std::uint32_t kind) {
  for (const size_t a : patterns) {
    for (auto b = patterns.find(a); b != patterns.end(); ++b) {
      pairs.push_back(static_cast<std::uint32_t>(a << 16 | *b << 1) | kind);
    }
  }
}

// Pairs of operations that stand in the program, and again those of which both ran.
Numbers covered(const std::string& tagged, const std::string& trace) {
  const std::set<size_t> ran = lines_that_ran(trace);
  Patterns standing, running;
  for_each_line(tagged, [&](size_t line, const std::string& text, int pattern) {
    if (pattern < 0) return;
    standing.insert(static_cast<size_t>(pattern));
    // These leave no mark in the trace: they ran if a neighbour did.
    const bool silent = text == "try" || text.starts_with("return");
    if (ran.contains(line) || (silent && (ran.contains(line - 1) || ran.contains(line + 1)))) {
      running.insert(static_cast<size_t>(pattern));
    }
  });
  Numbers pairs;
  add_pairs(pairs, standing, 0);
  add_pairs(pairs, running, 1);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

Numbers in_both(const Numbers& a, const Numbers& b) {
  Numbers result;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(result));
  return result;
}

Numbers without(const Numbers& a, const Numbers& b) {
  Numbers result;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(result));
  return result;
}

// What the first `count` short programs cover. One with a new operation may be twice as long.
Numbers to_cover(std::uint64_t count, std::uint64_t seed) {
  constexpr size_t MAX_BYTES = 330;
  Patterns seen;
  std::set<std::uint32_t> all;
  for (std::uint64_t i = 0; count > 0; ++i) {
    const Generated program = generate(seed, i, small());
    const std::string here = trace(program.text);
    const bool has_new = !std::includes(seen.begin(), seen.end(), program.patterns.begin(), program.patterns.end());
    if (program.text.size() + here.size() > (has_new ? 2 : 1) * MAX_BYTES) continue;
    seen.insert(program.patterns.begin(), program.patterns.end());
    const Numbers pairs = covered(program.tagged, here);
    all.insert(pairs.begin(), pairs.end());
    --count;
  }
  return {all.begin(), all.end()};
}

std::vector<Candidate> candidates(std::uint64_t seed, std::uint64_t pool, const Numbers& wanted) {
  std::vector<Candidate> all;
  for (std::uint64_t i = 0; i < pool; ++i) {
    const Generated program = generate(seed, i, small());
    const std::string here = trace(program.text), text = program.text + "%\n" + here + "\n%\n";
    const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    all.push_back({i, lines, in_both(covered(program.tagged, here), wanted)});
  }
  return all;
}

// No `try` has lost a clause: it would not be the operation any more that its tag says.
bool has_all_clauses(const std::string& tagged) {
  static const std::vector<std::string> texts = pattern_texts();
  std::ptrdiff_t missing = 0;
  for_each_line(tagged, [&](size_t, const std::string& text, int pattern) {
    if (pattern >= 0) {
      const std::string& whole = texts[static_cast<size_t>(pattern)];
      missing += std::count(whole.begin(), whole.end(), ',');
    } else if (text.starts_with("except") || text == "finally") {
      --missing;
    }
  });
  return missing == 0;
}

bool covers(const std::string& tagged, const Numbers& wanted) {
  try {
    return has_all_clauses(tagged) &&
           in_both(covered(tagged, trace(without_tags(tagged))), wanted).size() == wanted.size();
  } catch (const std::invalid_argument&) {
    return false;  // not a program any more
  }
}

// Worse: fewer pairs for each line.
bool worse(const Candidate& a, const Candidate& b) {
  const size_t worth_a = a.covers.size() * b.lines, worth_b = b.covers.size() * a.lines;
  return worth_a != worth_b ? worth_a < worth_b : a.index > b.index;
}

// Takes the best candidate out of the heap. What one is worth only falls: it is counted anew when it comes to the top.
Candidate take_best(std::vector<Candidate>& heap, const Numbers& left) {
  for (;;) {
    std::pop_heap(heap.begin(), heap.end(), worse);
    Candidate& top = heap.back();
    if (top.covers.empty()) throw std::runtime_error("the pool is too small: it does not cover everything");
    const size_t before = top.covers.size();
    top.covers = in_both(top.covers, left);
    if (top.covers.size() == before) break;
    std::push_heap(heap.begin(), heap.end(), worse);
  }
  Candidate best = std::move(heap.back());
  heap.pop_back();
  return best;
}

}  // namespace

// Greedy: again and again the best candidate, shrunk to what still covers the same that is new.
std::vector<std::string> choose_golden(std::uint64_t count, std::uint64_t seed, std::uint64_t pool) {
  Numbers left = to_cover(count, seed);
  std::vector<Candidate> heap = candidates(seed, pool, left);
  std::make_heap(heap.begin(), heap.end(), worse);
  std::vector<std::string> chosen;
  while (!left.empty()) {
    const Candidate best = take_best(heap, left);
    const std::string tagged = shrink(generate(seed, best.index, small()).tagged,
                                      [&](const std::string& text) { return covers(text, best.covers); });
    chosen.push_back(without_tags(tagged));
    left = without(left, covered(tagged, trace(chosen.back())));
  }
  return chosen;
}

}  // namespace differential
