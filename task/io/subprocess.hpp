// Child processes. Upstream counterpart: Lib/asyncio/subprocess.py and base_subprocess.py, with the child watcher of
// unix_events.py.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "task/io/streams.hpp"
#include "task/sync/locks.hpp"

namespace asyncio {

/// What a child's stdin, stdout or stderr is: a pipe to us, the same as its stdout, /dev/null. asyncio: subprocess.PIPE
inline constexpr int PIPE = -1, STDOUT = -2, DEVNULL = -3;

/// Options of create_subprocess_exec. The three may also be descriptors of ours; by default they are our own three.
struct SubprocessOptions {
  std::optional<int> stdin_{}, stdout_{}, stderr_{};
  std::size_t limit = DEFAULT_LIMIT;  // of the StreamReaders
  std::string_view cwd{};             // where it runs; default: where we do
  char* const* env = nullptr;         // its environment, as execve(2) takes it; default: ours
};

class ProcessState;

/// A reference to a child. It is reaped by itself; when the loop closes before it has ended it is killed.
/// asyncio: subprocess.Process
class Process {
 public:
  explicit Process(std::shared_ptr<ProcessState> state) noexcept : state_(std::move(state)) {}

  pid_t pid() const noexcept;
  /// nullopt while it runs; -N if signal N killed it. asyncio: subprocess.Process.returncode
  std::optional<int> returncode() const noexcept;
  /// Each of these three is RuntimeError if it is no PIPE.
  StreamWriter stdin_() const;
  StreamReader stdout_() const;
  StreamReader stderr_() const;
  /// Until it has ended and its pipes are closed: with much in a pipe that nobody reads that is never; see communicate().
  /// asyncio: subprocess.Process.wait
  Coroutine<int> wait() const { return wait(state_); }
  /// Sends `input`, reads (stdout, stderr) until their ends, waits. asyncio: subprocess.Process.communicate
  Coroutine<std::pair<std::string, std::string>> communicate(std::string input = {}) const {
    return communicate(state_, std::move(input));
  }
  /// OSError ESRCH, upstream's ProcessLookupError, when it has ended. asyncio: subprocess.Process.send_signal
  void send_signal(int signum) const;
  /// asyncio: subprocess.Process.terminate
  void terminate() const;
  /// asyncio: subprocess.Process.kill
  void kill() const;

 private:
  static Coroutine<int> wait(std::shared_ptr<ProcessState> state);
  static Coroutine<std::pair<std::string, std::string>> communicate(std::shared_ptr<ProcessState> state,
                                                                    std::string input);

  std::shared_ptr<ProcessState> state_;
};

/// argv[0] is looked up in PATH. OSError if there is no such program; ValueError for an empty argv.
/// asyncio: subprocess.create_subprocess_exec
Coroutine<Process> create_subprocess_exec(std::vector<std::string> argv, SubprocessOptions options = {});
/// The same with /bin/sh -c command. asyncio: subprocess.create_subprocess_shell
Coroutine<Process> create_subprocess_shell(std::string command, SubprocessOptions options = {});

}  // namespace asyncio
