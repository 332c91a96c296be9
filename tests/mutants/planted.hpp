// Included before everything else in the build of tests/mutants/run: is this the defect that the environment's
// MUTANT=name switches on?
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace mutants {

constexpr std::uint64_t hash(std::string_view name) {  // FNV-1a: the names need no numbers
  std::uint64_t value = 14695981039346656037u;
  for (const char c : name) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return value;
}

inline const std::uint64_t active = [] {
  const char* name = std::getenv("MUTANT");
  return name ? hash(name) : 0;
}();

class Planted {
 public:
  consteval explicit Planted(const char* name) : hash_(hash(name)) {}
  operator bool() const noexcept { return hash_ == active; }  // NOLINT: it stands in conditions

 private:
  std::uint64_t hash_;
};

// For defects that need a memory: when was the object noted?
inline std::vector<const void*> notes;
inline void note(const void* object) { notes.push_back(object); }
inline auto noted(const void* object) { return std::find(notes.rbegin(), notes.rend(), object).base(); }

}  // namespace mutants
