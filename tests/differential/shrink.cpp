#include "tests/differential/shrink.hpp"

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <vector>

namespace differential {
namespace {

using Lines = std::vector<std::string>;

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string join(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::size_t indent_of(const std::string& line) { return std::min(line.find_first_not_of(' '), line.size()); }

// Behind line i and what is indented below it.
std::size_t end_of(const Lines& lines, std::size_t i) {
  std::size_t end = i + 1;
  while (end < lines.size() && indent_of(lines[end]) > indent_of(lines[i])) ++end;
  return end;
}

Lines without(Lines lines, std::size_t from, std::size_t to) {
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(from), lines.begin() + static_cast<std::ptrdiff_t>(to));
  return lines;
}

// `try` and its clauses as one block.
std::size_t end_of_statement(const Lines& lines, std::size_t i) {
  std::size_t end = end_of(lines, i);
  const auto is_clause = [&](const std::string& line) {
    const std::string word = line.substr(indent_of(line), 6);
    return indent_of(line) == indent_of(lines[i]) && (word == "except" || word == "finall");
  };
  while (lines[i].find("try") != std::string::npos && end < lines.size() && is_clause(lines[end])) {
    end = end_of(lines, end);
  }
  return end;
}

// What stands in the block, without the block.
Lines unwrapped(const Lines& lines, std::size_t i) {
  const std::size_t inner = end_of(lines, i), end = end_of_statement(lines, i);
  Lines result(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(i));
  for (std::size_t j = i + 1; j < inner; ++j) result.push_back(lines[j].substr(1));
  result.insert(result.end(), lines.begin() + static_cast<std::ptrdiff_t>(end), lines.end());
  return result;
}

std::vector<Lines> smaller(const Lines& lines, std::size_t i) {
  std::vector<Lines> candidates = {without(lines, i, end_of_statement(lines, i)), without(lines, i, end_of(lines, i))};
  if (end_of(lines, i) > i + 1 && indent_of(lines[i]) > 0) candidates.push_back(unwrapped(lines, i));
  return candidates;
}

}  // namespace

std::string shrink(std::string program, const std::function<bool(const std::string&)>& still) {
  Lines lines = lines_of(program);
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = lines.size(); i-- > 0;) {
      if (i >= lines.size()) continue;
      for (Lines& candidate : smaller(lines, i)) {
        if (!still(join(candidate))) continue;
        lines = std::move(candidate);
        changed = true;
        break;
      }
    }
  }
  return join(lines);
}

std::string side_by_side(const std::string& program, const std::string& python, const std::string& here) {
  const Lines source = lines_of(program), left = lines_of(python), right = lines_of(here);
  std::string text;
  char buffer[256];
  for (std::size_t i = 0; i < source.size(); ++i) {
    std::snprintf(buffer, sizeof buffer, "%4zu  %s\n", i + 1, source[i].c_str());
    text += buffer;
  }
  std::snprintf(buffer, sizeof buffer, "\n  %-36s   %-36s   %s\n", "CPython", "here", "the line");
  text += buffer;
  for (std::size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    const std::string a = i < left.size() ? left[i] : "", b = i < right.size() ? right[i] : "";
    const std::string& event = b.empty() ? a : b;
    const std::size_t colon = event.find(':');
    const std::size_t number = colon < event.find(' ') ? static_cast<std::size_t>(std::atoi(&event[colon + 1])) : 0;
    const std::string line = number > 0 && number <= source.size() ? source[number - 1] : "";
    std::snprintf(buffer, sizeof buffer, "%c %-36s %c %-36s   %s\n", a == b ? ' ' : '>', a.c_str(), a == b ? '|' : '#',
                  b.c_str(), line.c_str() + indent_of(line));
    text += buffer;
  }
  return text;
}

}  // namespace differential
