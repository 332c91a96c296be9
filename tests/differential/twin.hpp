// The interpreter on CPython's asyncio, as a process that answers batches.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace differential {

class Twin {
 public:
  /// RuntimeError if it cannot be started.
  explicit Twin(const std::string& python);
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;
  ~Twin();

  void send(const std::vector<std::string>& programs);
  /// Their traces; RuntimeError if the process ended.
  std::vector<std::string> receive();
  std::string trace(const std::string& program);

 private:
  void write_all(const std::string& text);
  std::string read_exactly(std::size_t size);

  int to_ = -1, from_ = -1;
  pid_t pid_ = -1;
};

}  // namespace differential
