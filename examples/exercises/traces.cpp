// For judge.py: reads programs of tests/differential's language, each ended by a line "%", and tells the trace of each.
#include <iostream>
#include <string>

#include "tests/differential/interpreter.hpp"

int main() {
  std::string program;
  for (std::string line; std::getline(std::cin, line);) {
    if (line != "%") {
      program += line + "\n";
      continue;
    }
    std::cout << differential::trace(program) << "\n%" << std::endl;
    program.clear();
  }
}
