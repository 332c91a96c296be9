// A program of the small language in README.md, parsed.
#pragma once

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace differential {

using Words = std::vector<std::string>;

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
