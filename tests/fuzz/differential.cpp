// The language of tests/differential: a text is refused with std::invalid_argument, or it is a program, which runs the
// same way twice.
#include "tests/differential/interpreter.hpp"
#include "tests/fuzz/targets.hpp"

namespace fuzz {

static std::string trace_of(const std::string& text) {
  try {
    return ::differential::trace(text);
  } catch (const std::invalid_argument&) {
    return "refused";
  }
}

void differential(std::string_view input) {
  const std::string text(input);
  const std::string first = trace_of(text);
  require(first == trace_of(text), "it runs in two ways:\n" + first + "\nand\n" + trace_of(text));
}

}  // namespace fuzz
