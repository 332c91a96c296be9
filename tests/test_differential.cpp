// Small programs, each with the trace that CPython 3.13 gave: ours is the same, event by event.
// tests/differential/README.md says how they are made, and how to compare many more with a live CPython.
#include <fstream>
#include <string>
#include <vector>

#include "tests/catch.hpp"
#include "tests/differential/interpreter.hpp"

namespace {

struct Golden {
  std::string program, trace;
};

// Programs and traces in turn, each ended by a line "%".
std::vector<Golden> read_golden() {
  std::ifstream file("tests/differential/golden.txt");
  std::vector<std::string> texts(1);
  for (std::string line; std::getline(file, line);) {
    line == "%" ? static_cast<void>(texts.emplace_back()) : static_cast<void>(texts.back() += line + "\n");
  }
  std::vector<Golden> all;
  for (std::size_t i = 0; i + 1 < texts.size(); i += 2) all.push_back({texts[i], texts[i + 1]});
  return all;
}

}  // namespace

TEST_CASE("The programs of golden.txt run as CPython 3.13 runs them", "[differential]") {
  const std::vector<Golden> all = read_golden();
  REQUIRE(all.size() >= 385);  // the tests run in the repository's folder
  for (const Golden& golden : all) {
    const std::string here = differential::trace(golden.program) + "\n";
    if (here == golden.trace) continue;
    FAIL_CHECK("program\n" << golden.program << "\nCPython 3.13\n" << golden.trace << "\nhere\n" << here);
  }
}

TEST_CASE("A program that is told twice runs the same way twice", "[differential]") {
  const std::string program =
      "q = Queue 1\n"
      "async worker\n"
      " await q.get\n"
      " await sleep 0.5\n"
      " return 7\n"
      "async main\n"
      " w = Task worker\n"
      " await q.put 1\n"
      " await w\n";
  CHECK(differential::trace(program) == differential::trace(program));
  CHECK_THROWS_AS(differential::trace("await nothing\nexcept Exception\n"), std::invalid_argument);
}
