// What is fuzzed: each target reads its input as a list of operations or as text, does the same to a model, and throws
// Failure where the two differ. `make fuzz` lets libFuzzer choose the inputs; `make test` replays those in corpus/.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

struct Failure : std::logic_error {
  using std::logic_error::logic_error;
};

inline void require(bool holds, const std::string& what) {
  if (!holds) throw Failure(what);
}

/// The input, taken byte by byte; 0 when nothing is left.
class Bytes {
 public:
  explicit Bytes(std::string_view data) : data_(data) {}
  bool empty() const { return data_.empty(); }
  unsigned next() {
    if (data_.empty()) return 0;
    const unsigned byte = static_cast<unsigned char>(data_.front());
    data_.remove_prefix(1);
    return byte;
  }
  /// A number from 0 to n - 1.
  unsigned below(unsigned n) { return next() % n; }

 private:
  std::string_view data_;
};

void streams(std::string_view input);       // StreamReader
void timers(std::string_view input);        // the timer heap
void queues(std::string_view input);        // Queue, PriorityQueue, LifoQueue
void parsers(std::string_view input);       // the examples' HTTP and lines
void differential(std::string_view input);  // the language of tests/differential

struct Target {
  const char* name;
  void (*run)(std::string_view input);
};
inline const std::vector<Target> TARGETS = {
    {"streams", streams}, {"timers", timers}, {"queues", queues}, {"parsers", parsers}, {"differential", differential}};

}  // namespace fuzz
