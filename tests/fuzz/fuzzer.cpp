// libFuzzer's entry. FUZZ_TARGET names the target.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/targets.hpp"

static const fuzz::Target& chosen() {
  const char* name = std::getenv("FUZZ_TARGET");
  for (const fuzz::Target& target : fuzz::TARGETS) {
    if (name && std::string_view(name) == target.name) return target;
  }
  std::fputs("FUZZ_TARGET names no target\n", stderr);
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Target& target = chosen();
  target.run({reinterpret_cast<const char*>(data), size});
  return 0;
}
