// A program of the small language in README.md, parsed.
#pragma once

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace differential {

/// The words of a line. std::invalid_argument where one is asked for that is not there.
struct Words : std::vector<std::string> {
  using std::vector<std::string>::vector;
  std::string& operator[](std::size_t i) { return const_cast<std::string&>(std::as_const(*this)[i]); }
  const std::string& operator[](std::size_t i) const {
    if (i >= size()) throw std::invalid_argument("a word is missing");
    return data()[i];
  }
};

/// One line, with the block below it.
struct Op {
  enum class Kind { sync, await, block, leave };
  Kind kind;
  std::string name;  // "log", "=Task", ".cancel", "sleep", "future", "try", "timeout", "raise" …
  Words words;
  int line;
  std::vector<Op> body{}, final{};
  std::vector<Op> handlers{};  // of a try: "except", with the exception as its word
};

struct Function {
  std::vector<Op> ops;
  int line;
};

struct Program {
  std::vector<Op> script;  // what stands outside of functions
  std::unordered_map<std::string, Function> functions;
};

/// The error for a line that makes no sense.
std::invalid_argument senseless(int line, const std::string& reason);

/// std::invalid_argument with the line and the reason if it is no program.
Program parse(const std::string& text);

}  // namespace differential
