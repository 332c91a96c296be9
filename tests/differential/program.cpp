#include "tests/differential/program.hpp"

#include <algorithm>
#include <set>
#include <sstream>

namespace differential {
namespace {

using Kind = Op::Kind;

const std::set<std::string> BLOCKS = {"timeout", "timeout_at", "group", "with"};
const std::set<std::string> AWAITED = {"sleep", "wait_for", "wait",     "as_completed", "attach",    "open",
                                       "serve", "dial",     "datagram", "read_pipe",    "write_pipe"};

Words split(const std::string& text) {
  std::istringstream stream(text);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// "q.get" is the operation ".get" on "q".
bool is_method(const std::string& word) { return std::isalpha(word[0]) && word.find('.') != std::string::npos; }

Op method(Kind kind, Words words, int line) {
  const std::size_t dot = words[0].find('.');
  Op op{kind, words[0].substr(dot), {}, line};
  words[0].resize(dot);
  op.words = std::move(words);
  return op;
}

Op awaited(const Words& words, int line) {
  if (words.empty()) throw senseless(line, "await what?");
  if (is_method(words[0])) return method(Kind::await, words, line);
  if (AWAITED.contains(words[0])) return {Kind::await, words[0], Words(words.begin() + 1, words.end()), line};
  return {Kind::await, "future", words, line};
}

Op operation(Words words, int line) {
  const std::string first = words[0];
  if (words.size() > 2 && words[1] == "=") {
    Op op{Kind::sync, "=" + words[2], {first}, line};
    op.words.insert(op.words.end(), words.begin() + 3, words.end());
    return op;
  }
  if (is_method(first)) return method(Kind::sync, std::move(words), line);
  words.erase(words.begin());
  if (first == "await") return awaited(words, line);
  const bool leaves = first == "raise" || first == "return";
  return {leaves ? Kind::leave : Kind::sync, first, std::move(words), line};
}

class Parser {
 public:
  explicit Parser(const std::string& text) {
    std::istringstream stream(text);
    int number = 0;
    for (std::string line; std::getline(stream, line);) {
      ++number;
      const std::size_t indent = line.find_first_not_of(' ');
      Words words = split(line);
      if (!words.empty() && words[0][0] != '#') lines_.push_back({number, indent, std::move(words)});
    }
  }
  Program program() {
    Program program;
    program_ = &program;
    program.script = block(0);
    return program;
  }

 private:
  struct Line {
    int number;
    std::size_t indent;
    Words words;
  };

  // The lines from here on that are indented at least so far.
  std::vector<Op> block(std::size_t indent) {
    std::vector<Op> ops;
    while (at_ < lines_.size() && lines_[at_].indent >= indent) {
      const Line& line = lines_[at_++];
      const std::string& first = line.words[0];
      if (first == "async" || first == "def") {
        if (line.words.size() != 2) throw senseless(line.number, first + " needs one name: " + first + " main");
        std::vector<Op> body = block(line.indent + 1);
        program_->functions[line.words[1]] = {std::move(body), line.number};
      } else if (first == "try") {
        ops.push_back(try_block(line));
      } else if (BLOCKS.contains(first)) {
        Op op{Kind::block, first, Words(line.words.begin() + 1, line.words.end()), line.number};
        op.body = block(line.indent + 1);
        ops.push_back(std::move(op));
      } else {
        ops.push_back(operation(line.words, line.number));
      }
    }
    return ops;
  }

  Op try_block(const Line& line) {
    Op op{Kind::block, "try", {}, line.number};
    op.body = block(line.indent + 1);
    while (at_ < lines_.size() && lines_[at_].indent == line.indent) {
      const Line& next = lines_[at_];
      if (next.words[0] != "except" && next.words[0] != "finally") break;
      ++at_;
      std::vector<Op> body = block(line.indent + 1);
      if (next.words[0] == "finally") {
        op.final = std::move(body);
      } else {
        if (next.words.size() != 2) throw senseless(next.number, "except needs one name: except ValueError");
        op.handlers.push_back({Kind::block, "except", {next.words[1]}, next.number, std::move(body)});
      }
    }
    return op;
  }

  std::vector<Line> lines_;
  std::size_t at_ = 0;
  Program* program_ = nullptr;
};

}  // namespace

std::invalid_argument senseless(int line, const std::string& reason) {
  return std::invalid_argument("line " + std::to_string(line) + ": " + reason);
}

Program parse(const std::string& text) { return Parser(text).program(); }

}  // namespace differential
