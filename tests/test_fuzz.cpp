// What `make fuzz` has found worth keeping, replayed: the inputs of tests/fuzz/corpus.
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

#include "tests/catch.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/utils.hpp"

namespace {

const std::filesystem::path CORPUS = "tests/fuzz/corpus";

std::string read_file(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// What it fails with, or "".
std::string failure_of(const fuzz::Target& target, const std::string& input) {
  const test::CaptureCerr captured;
  return test::thrown([&] {
    target.run(input);
    return 0;
  });
}

}  // namespace

TEST_CASE("the inputs that fuzzing has found run as their models do", "[fuzz]") {
  for (const fuzz::Target& target : fuzz::TARGETS) {
    int replayed = 0;
    for (const auto& file : std::filesystem::directory_iterator(CORPUS / target.name)) {
      INFO(file.path().string());
      CHECK(failure_of(target, read_file(file.path())) == "");
      ++replayed;
    }
    CHECK(replayed > 0);  // the tests run in the repository's folder
  }
}

TEST_CASE("random inputs run as their models do", "[fuzz]") {
  std::mt19937 random(1);
  for (const fuzz::Target& target : fuzz::TARGETS) {
    for (int i = 0; i < 200; ++i) {
      std::string input(random() % 200, '\0');
      for (char& byte : input) byte = static_cast<char>(random());
      INFO(target.name << ", input " << i);
      CHECK(failure_of(target, input) == "");
    }
  }
}
