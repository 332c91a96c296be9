// Chooses the programs of golden.txt: what many random programs cover, in few lines. README.md has the rules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace differential {

/// Few and short programs that cover what the first `count` small programs of the seed cover; made of its first `pool`.
std::vector<std::string> choose_golden(std::uint64_t count, std::uint64_t seed, std::uint64_t pool);

}  // namespace differential
