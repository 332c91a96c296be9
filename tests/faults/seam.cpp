#include "tests/faults/seam.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <new>
#include <string_view>

namespace faults {
namespace {

// The calls in the order of kinds(). clock_gettime is not among them: it fails for a wrong argument only.
enum Call : int {
  ALLOCATION,
  EPOLL_CREATE1,
  EPOLL_CTL,
  EPOLL_WAIT,
  EPOLL_PWAIT2,
  PPOLL,
  PIPE2,
  SOCKET,
  BIND,
  LISTEN,
  CONNECT,
  ACCEPT4,
  GETSOCKNAME,
  GETPEERNAME,
  GETSOCKOPT,
  SETSOCKOPT,
  SHUTDOWN,
  RECV,
  RECVFROM,
  SEND,
  SENDTO,
  SENDFILE,
  READ,
  WRITE,
  CLOSE,
  OPEN,
  FCNTL,
  FSTAT,
  STAT,
  UNLINK,
  SIGACTION,
  FORK,
  WAITPID,
  SYSCALL,
  SPAWN,
  ADDDUP2,
  ADDCLOSEFROM,
  ADDCHDIR,
  THREAD,
  GETADDRINFO,
  KINDS
};

std::atomic<int> armed_kind{-1};
std::atomic<int> paused{0};
std::array<std::atomic<int>, KINDS> counts{};
std::atomic<bool> has_happened{false};
std::atomic<long> blocks{0};
Fault armed;

bool fails(Call call) noexcept {
  if (paused.load() > 0) return false;
  const int n = ++counts[call];
  if (armed_kind.load(std::memory_order_acquire) != call || n < armed.n || (n > armed.n && !armed.lasts)) return false;
  has_happened = true;
  return true;
}

int fail_with_errno() noexcept {
  errno = armed.error;
  return -1;
}

}  // namespace

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"allocation", {0}, {}},
      {"epoll_create1", {EMFILE, ENFILE, ENOMEM}, {}},
      {"epoll_ctl", {ENOMEM, ENOSPC}, {}},
      {"epoll_wait", {}, {EINTR}},
      {"epoll_pwait2", {ENOSYS}, {EINTR}},
      {"ppoll", {ENOMEM}, {EINTR}},
      {"pipe2", {EMFILE, ENFILE}, {}},
      {"socket", {EMFILE, ENFILE, ENOBUFS, EAFNOSUPPORT, EACCES}, {}},
      {"bind", {EADDRINUSE, EACCES, EADDRNOTAVAIL}, {}},
      {"listen", {EADDRINUSE}, {}},
      {"connect", {ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EADDRNOTAVAIL, EAGAIN}, {}},
      {"accept4", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM}, {ECONNABORTED, EINTR, EAGAIN}},
      {"getsockname", {ENOBUFS}, {}},
      {"getpeername", {ENOTCONN, ENOBUFS}, {}},
      {"getsockopt", {ENOMEM}, {}},
      {"setsockopt", {ENOMEM, ENOPROTOOPT}, {}},
      {"shutdown", {ENOTCONN}, {}},
      {"recv", {ECONNRESET, ETIMEDOUT, ENOMEM}, {EINTR, EAGAIN}},
      {"recvfrom", {ECONNREFUSED, ENOMEM}, {EINTR, EAGAIN}},
      {"send", {EPIPE, ECONNRESET, ENOBUFS}, {EINTR, EAGAIN}},
      {"sendto", {ENOBUFS, EPERM, ENETUNREACH}, {EINTR, EAGAIN}},
      {"sendfile", {EIO, ENOMEM}, {EINTR, EAGAIN}},
      {"read", {EIO}, {EINTR, EAGAIN}},
      {"write", {EPIPE}, {EINTR, EAGAIN}},
      {"close", {EIO, EINTR}, {}},
      {"open", {EMFILE, ENFILE, EACCES}, {}},
      {"fcntl", {EMFILE}, {}},
      {"fstat", {ENOMEM}, {}},
      {"stat", {EACCES, ENOMEM}, {}},
      {"unlink", {EACCES, EROFS}, {}},
      {"sigaction", {EINVAL}, {}},
      {"fork", {EAGAIN, ENOMEM}, {}},
      {"waitpid", {ECHILD}, {EINTR}},
      {"pidfd_open", {ENOSYS, EMFILE, ENOMEM}, {}},
      {"posix_spawnp", {EAGAIN, ENOMEM, ENOENT, EACCES}, {}},
      {"posix_spawn_file_actions_adddup2", {ENOMEM}, {}},
      {"posix_spawn_file_actions_addclosefrom_np", {ENOMEM}, {}},
      {"posix_spawn_file_actions_addchdir_np", {ENOMEM}, {}},
      {"pthread_create", {EAGAIN}, {}},
      {"getaddrinfo", {EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM}, {}},
  };
  return all;
}

void arm(const Fault& fault) noexcept {
  armed_kind = -1;
  armed = fault;
  for (std::atomic<int>& count : counts) count = 0;
  has_happened = false;
  armed_kind.store(fault.kind, std::memory_order_release);
}

Pause::Pause() noexcept { ++paused; }
Pause::~Pause() { --paused; }

std::vector<int> calls() { return std::vector<int>(counts.begin(), counts.end()); }

bool happened() noexcept { return has_happened; }
long live_blocks() noexcept { return blocks; }

namespace {

void* allocate(std::size_t size, std::size_t align = 0) noexcept {
  if (fails(ALLOCATION)) return nullptr;
  void* memory = align ? std::aligned_alloc(align, (size + align - 1) / align * align) : std::malloc(size ? size : 1);
  if (memory) ++blocks;
  return memory;
}

void* allocate_or_throw(std::size_t size, std::size_t align = 0) {
  if (void* memory = allocate(size, align)) return memory;
  throw std::bad_alloc();
}

void release(void* memory) noexcept {
  if (memory) --blocks;
  std::free(memory);
}

}  // namespace
}  // namespace faults

void* operator new(std::size_t size) { return faults::allocate_or_throw(size); }
void* operator new[](std::size_t size) { return faults::allocate_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return faults::allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return faults::allocate(size); }
void* operator new(std::size_t size, std::align_val_t align) {
  return faults::allocate_or_throw(size, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { faults::release(memory); }
void operator delete[](void* memory) noexcept { faults::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { faults::release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { faults::release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { faults::release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { faults::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { faults::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { faults::release(memory); }

using namespace faults;

// A call of the library arrives at __wrap_name; __real_name is the C library's.
#define WRAP(call, type, name, parameters, arguments) \
  extern "C" type __real_##name parameters;           \
  extern "C" type __wrap_##name parameters { return fails(call) ? fail_with_errno() : __real_##name arguments; }
// The same for a function that returns the error.
#define WRAP_RETURNING_ERROR(call, name, parameters, arguments) \
  extern "C" int __real_##name parameters;                      \
  extern "C" int __wrap_##name parameters { return fails(call) ? armed.error : __real_##name arguments; }

using Actions = posix_spawn_file_actions_t;
using Address = const sockaddr*;

WRAP(EPOLL_CREATE1, int, epoll_create1, (int flags), (flags))
WRAP(EPOLL_WAIT, int, epoll_wait, (int fd, epoll_event* events, int size, int timeout), (fd, events, size, timeout))
WRAP(EPOLL_PWAIT2, int, epoll_pwait2,
     (int fd, epoll_event* events, int size, const timespec* timeout, const sigset_t* mask),
     (fd, events, size, timeout, mask))
WRAP(PPOLL, int, ppoll, (pollfd * fds, nfds_t n, const timespec* timeout, const sigset_t* mask),
     (fds, n, timeout, mask))
WRAP(PIPE2, int, pipe2, (int* ends, int flags), (ends, flags))
WRAP(SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(BIND, int, bind, (int fd, Address address, socklen_t size), (fd, address, size))
WRAP(LISTEN, int, listen, (int fd, int backlog), (fd, backlog))
WRAP(CONNECT, int, connect, (int fd, Address address, socklen_t size), (fd, address, size))
WRAP(ACCEPT4, int, accept4, (int fd, sockaddr* from, socklen_t* size, int flags), (fd, from, size, flags))
WRAP(GETSOCKNAME, int, getsockname, (int fd, sockaddr* name, socklen_t* size), (fd, name, size))
WRAP(GETPEERNAME, int, getpeername, (int fd, sockaddr* name, socklen_t* size), (fd, name, size))
WRAP(GETSOCKOPT, int, getsockopt, (int fd, int level, int option, void* value, socklen_t* size),
     (fd, level, option, value, size))
WRAP(SETSOCKOPT, int, setsockopt, (int fd, int level, int option, const void* value, socklen_t size),
     (fd, level, option, value, size))
WRAP(SHUTDOWN, int, shutdown, (int fd, int how), (fd, how))
WRAP(RECV, ssize_t, recv, (int fd, void* data, size_t size, int flags), (fd, data, size, flags))
WRAP(RECVFROM, ssize_t, recvfrom, (int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* length),
     (fd, data, size, flags, from, length))
WRAP(SEND, ssize_t, send, (int fd, const void* data, size_t size, int flags), (fd, data, size, flags))
WRAP(SENDTO, ssize_t, sendto, (int fd, const void* data, size_t size, int flags, Address to, socklen_t length),
     (fd, data, size, flags, to, length))
WRAP(SENDFILE, ssize_t, sendfile, (int to, int from, off_t* offset, size_t size), (to, from, offset, size))
WRAP(FSTAT, int, fstat, (int fd, struct stat* status), (fd, status))
WRAP(UNLINK, int, unlink, (const char* path), (path))
// To ask what the action is cannot fail.
extern "C" int __real_sigaction(int signum, const struct sigaction* action, struct sigaction* old);
extern "C" int __wrap_sigaction(int signum, const struct sigaction* action, struct sigaction* old) {
  return action && fails(SIGACTION) ? fail_with_errno() : __real_sigaction(signum, action, old);
}
WRAP(FORK, int, fork, (), ())

WRAP_RETURNING_ERROR(SPAWN, posix_spawnp,
                     (pid_t * child, const char* file, const Actions* actions, const posix_spawnattr_t* attributes,
                      char* const* argv, char* const* env),
                     (child, file, actions, attributes, argv, env))
WRAP_RETURNING_ERROR(ADDDUP2, posix_spawn_file_actions_adddup2, (Actions * actions, int from, int to),
                     (actions, from, to))
WRAP_RETURNING_ERROR(ADDCLOSEFROM, posix_spawn_file_actions_addclosefrom_np, (Actions * actions, int from),
                     (actions, from))
WRAP_RETURNING_ERROR(ADDCHDIR, posix_spawn_file_actions_addchdir_np, (Actions * actions, const char* path),
                     (actions, path))

// What follows fails only as the kernel would: only adding to an epoll needs memory; the byte that wakes a loop meets a full
// pipe only when the loop is awake; a pipe that is read is not the terminal that gives EIO.
extern "C" int __real_epoll_ctl(int fd, int operation, int other, epoll_event* event);
extern "C" int __wrap_epoll_ctl(int fd, int operation, int other, epoll_event* event) {
  if (operation == EPOLL_CTL_ADD && fails(EPOLL_CTL)) return fail_with_errno();
  return __real_epoll_ctl(fd, operation, other, event);
}
extern "C" int __real_stat(const char* path, struct stat* status);
extern "C" int __wrap_stat(const char* path, struct stat* status) {
  const bool of_kernel = std::string_view(path).starts_with("/proc/");
  return !of_kernel && fails(STAT) ? fail_with_errno() : __real_stat(path, status);
}
extern "C" ssize_t __real_write(int fd, const void* data, size_t size);
extern "C" ssize_t __wrap_write(int fd, const void* data, size_t size) {
  return size > 1 && fails(WRITE) ? fail_with_errno() : __real_write(fd, data, size);
}
extern "C" ssize_t __real_read(int fd, void* data, size_t size);
extern "C" ssize_t __wrap_read(int fd, void* data, size_t size) {
  constexpr std::size_t OF_PIPES = 4096;
  if ((armed.error != EIO || size > OF_PIPES) && fails(READ)) return fail_with_errno();
  return __real_read(fd, data, size);
}

// These have had their effect when they fail: the descriptor is closed, another thread has reaped the child.
extern "C" int __real_close(int fd);
extern "C" int __wrap_close(int fd) {
  const int result = __real_close(fd);
  return fails(CLOSE) ? fail_with_errno() : result;
}
extern "C" pid_t __real_waitpid(pid_t child, int* status, int options);
extern "C" pid_t __wrap_waitpid(pid_t child, int* status, int options) {
  if (!fails(WAITPID)) return __real_waitpid(child, status, options);
  int unseen;
  if (armed.error == ECHILD) __real_waitpid(child, &unseen, options);
  return fail_with_errno();
}

// Functions with a variable number of arguments.
extern "C" int __real_open(const char* path, int flags, ...);
extern "C" int __wrap_open(const char* path, int flags, mode_t mode) {
  return fails(OPEN) ? fail_with_errno() : __real_open(path, flags, mode);
}
extern "C" int __real_fcntl(int fd, int command, ...);
extern "C" int __wrap_fcntl(int fd, int command, long argument) {
  return fails(FCNTL) ? fail_with_errno() : __real_fcntl(fd, command, argument);
}
extern "C" long __real_syscall(long number, ...);
extern "C" long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  return fails(SYSCALL) ? fail_with_errno() : __real_syscall(number, a, b, c, d, e, f);
}

// What the C library allocates for its caller counts as a block, too.
extern "C" int __real_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found);
extern "C" int __wrap_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  errno = EMFILE;  // for EAI_SYSTEM
  const int error = fails(GETADDRINFO) ? armed.error : __real_getaddrinfo(host, service, hints, found);
  blocks += error == 0;
  return error;
}
extern "C" void __real_freeaddrinfo(addrinfo* list);
extern "C" void __wrap_freeaddrinfo(addrinfo* list) {
  --blocks;
  __real_freeaddrinfo(list);
}
extern "C" int __real_posix_spawn_file_actions_init(Actions* actions);
extern "C" int __wrap_posix_spawn_file_actions_init(Actions* actions) {
  ++blocks;  // it cannot fail in glibc
  return __real_posix_spawn_file_actions_init(actions);
}
extern "C" int __real_posix_spawn_file_actions_destroy(Actions* actions);
extern "C" int __wrap_posix_spawn_file_actions_destroy(Actions* actions) {
  --blocks;
  return __real_posix_spawn_file_actions_destroy(actions);
}

// std::thread calls it in the shared library of C++, which the linker does not redirect: this definition comes first.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) noexcept {
  using Function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "pthread_create"));
  return fails(THREAD) ? armed.error : next(thread, attributes, start, argument);
}
