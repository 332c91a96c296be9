// Descriptors and the errors of system calls. Upstream counterpart: Modules/posixmodule.c.
#pragma once

#include <string>
#include <utility>

#include "loop/python/builtins.hpp"

namespace asyncio {

/// Owns a descriptor: closes it at its end.
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

/// Raises OSError of `code`.
[[noreturn]] void throw_os_error(int code, const std::string& what);
/// `result` if it is not negative, else OSError of errno.
int check_call(int result, const char* what);
/// errno says: not now, wait until the descriptor is ready.
bool would_block() noexcept;

}  // namespace asyncio
