#include "loop/python/os.hpp"

#include <unistd.h>

#include <cerrno>

namespace asyncio {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void throw_os_error(int code, const std::string& what) { throw OSError(code, std::generic_category(), what); }

int check_call(int result, const char* what) {
  if (result < 0) throw_os_error(errno, what);
  return result;
}

bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace asyncio
