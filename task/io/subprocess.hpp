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

/// What a child's stdin, stdout or stderr can be: a pipe to us; for stderr, the child's stdout; /dev/null.
/// asyncio: subprocess.PIPE
inline constexpr int PIPE = -1, STDOUT = -2, DEVNULL = -3;

/// Options of create_subprocess_exec. stdin_, stdout_ and stderr_ may be the constants above or open descriptors; by
/// default the child inherits ours.
struct SubprocessOptions {
  std::optional<int> stdin_{}, stdout_{}, stderr_{};
  std::size_t limit = DEFAULT_LIMIT;  // of the StreamReaders
  std::string_view cwd{};             // its working directory; default: ours
  char* const* env = nullptr;         // its environment, as for execve(2); default: ours
};

class ProcessState;

/// A reference to a child process. The loop reaps the child when it ends. A child that still runs when the loop closes
/// is killed. asyncio: subprocess.Process
class Process {
 public:
  explicit Process(std::shared_ptr<ProcessState> state) noexcept : state_(std::move(state)) {}

  pid_t pid() const noexcept;
  /// nullopt while it runs; -N if signal N killed it. asyncio: subprocess.Process.returncode
  std::optional<int> returncode() const noexcept;
  /// The child's stdin. This and the next two raise RuntimeError unless the child was created with PIPE for it.
  StreamWriter stdin_() const;
  StreamReader stdout_() const;
  StreamReader stderr_() const;
  /// Waits until the child has ended and its pipes are closed; returns the returncode. This never happens if a pipe is
  /// full and is not read; use communicate() then. asyncio: subprocess.Process.wait
  Coroutine<int> wait() const { return wait(state_); }
  /// Sends `input`, reads stdout and stderr until they end, waits for the child and returns (stdout, stderr).
  /// asyncio: subprocess.Process.communicate
  Coroutine<std::pair<std::string, std::string>> communicate(std::string input = {}) const {
    return communicate(state_, std::move(input));
  }
  /// OSError with ESRCH (upstream: ProcessLookupError) if the child has ended. asyncio: subprocess.Process.send_signal
  void send_signal(int signum) const;
  /// Sends SIGTERM. asyncio: subprocess.Process.terminate
  void terminate() const;
  /// Sends SIGKILL. asyncio: subprocess.Process.kill
  void kill() const;

 private:
  static Coroutine<int> wait(std::shared_ptr<ProcessState> state);
  static Coroutine<std::pair<std::string, std::string>> communicate(std::shared_ptr<ProcessState> state,
                                                                    std::string input);

  std::shared_ptr<ProcessState> state_;
};

/// Starts a program, which is looked up in PATH by argv[0]. OSError if it cannot be started, ValueError if argv is
/// empty. asyncio: subprocess.create_subprocess_exec
Coroutine<Process> create_subprocess_exec(std::vector<std::string> argv, SubprocessOptions options = {});
/// Runs the command with /bin/sh -c. asyncio: subprocess.create_subprocess_shell
Coroutine<Process> create_subprocess_shell(std::string command, SubprocessOptions options = {});

}  // namespace asyncio
