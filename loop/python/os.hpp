// Descriptors and the errors of system calls. Upstream counterpart: Modules/posixmodule.c.
#pragma once

#include <string>
#include <utility>

#include "loop/python/builtins.hpp"

namespace asyncio {

/// Owns a descriptor: its destructor closes it.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Raises OSError with the error number `code`.
[[noreturn]] void throw_os_error(int code, const std::string& what);
/// Returns `result` if it is not negative; else raises OSError with errno.
int check_call(int result, const char* what);
/// Whether errno means that the call must be repeated when the descriptor is ready.
bool would_block() noexcept;

}  // namespace asyncio
