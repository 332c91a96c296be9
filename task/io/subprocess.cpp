#include "task/io/subprocess.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "task/io/streams.hpp"
#include "task/sync/waiting.hpp"

namespace asyncio {

/// The object behind a Process. asyncio: base_subprocess.BaseSubprocessTransport
class ProcessState : public std::enable_shared_from_this<ProcessState> {
 public:
  ~ProcessState() { end(); }

  void watch(EventLoop& loop);
  void process_exited(int status);
  /// Kills and reaps the child if it still runs.
  void end() noexcept;
  void pipe_connected(const Future<void>& closed);

  pid_t pid = 0;  // of no child yet
  std::optional<int> returncode;
  std::optional<StreamWriter> stdin_;
  std::optional<StreamReader> stdout_, stderr_;
  Event finished;  // it has ended, and its pipes are closed

 private:
  void try_finish();

  FileDescriptor pidfd_;
  int open_ = 1;  // how many of the process and its pipes have not ended
};

namespace {

// The attributes and file actions of a child that will be started.
class Spawn {
 public:
  Spawn() {
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_setsigmask(&attributes_, &signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }

  // Sets what becomes the child's descriptor `number`. Returns our end if it is a pipe.
  FileDescriptor redirect(int number, std::optional<int> target) {
    if (!target) return FileDescriptor();
    int from = *target;
    FileDescriptor ours;
    if (from == PIPE) {
      int ends[2];
      check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
      const bool child_reads = number == STDIN_FILENO;
      ours = FileDescriptor(ends[child_reads ? 1 : 0]);
      from = keep(number, ends[child_reads ? 0 : 1]);
      set_blocking(ours.get(), false);
    } else if (from == DEVNULL) {
      from = keep(number, check_call(::open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null"));
    } else if (from == STDOUT) {
      from = STDOUT_FILENO;  // that of the child
    } else if (from <= STDERR_FILENO && from != number) {
      // because dup2() may replace it
      from = keep(number, check_call(::fcntl(from, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), "dup"));
    }
    check_error(posix_spawn_file_actions_adddup2(&actions_, from, number));
    return ours;
  }

  void close_child_ends() noexcept { kept_ = {}; }

  pid_t start(const std::vector<std::string>& argv, const SubprocessOptions& options) {
    const std::string cwd(options.cwd);
    if (!cwd.empty()) check_error(posix_spawn_file_actions_addchdir_np(&actions_, cwd.c_str()));
    check_error(posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1));
    std::vector<char*> arguments;
    for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    pid_t child = 0;
    char* const* environment = options.env ? options.env : environ;
    check_error(::posix_spawnp(&child, arguments[0], &actions_, &attributes_, arguments.data(), environment), argv[0]);
    return child;
  }

 private:
  int keep(int number, int fd) noexcept { return (kept_[number] = FileDescriptor(fd)).get(); }
  static void check_error(int error, const std::string& program = "a program") {
    if (error != 0) throw_os_error(error, "cannot start '" + program + "'");
  }

  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
  std::array<FileDescriptor, 3> kept_;  // the child's ends, open here until it has started
};

int returncode_of(int status) noexcept { return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status); }

int wait_blocking(pid_t pid) noexcept {
  int status = W_EXITCODE(255, 0);  // if it was reaped elsewhere: upstream's number
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

// asyncio: base_subprocess.BaseSubprocessTransport._connect_pipes
Coroutine<StreamReader> connect_output(std::shared_ptr<ProcessState> state, FileDescriptor pipe, std::size_t limit) {
  const auto connected = co_await connect_stream<UnixReadPipeTransport>(std::move(pipe), limit);
  state->pipe_connected(connected.second->get_close_waiter());
  co_return connected.second->reader();
}

Coroutine<StreamWriter> connect_input(std::shared_ptr<ProcessState> state, FileDescriptor pipe) {
  const auto connected = co_await connect_stream<UnixWritePipeTransport>(std::move(pipe), DEFAULT_LIMIT);
  state->pipe_connected(connected.second->get_close_waiter());
  co_return StreamWriter(connected.first, connected.second, std::nullopt);
}

// asyncio: subprocess.Process._feed_stdin
Coroutine<void> feed_stdin(std::optional<StreamWriter> writer, std::string input) {
  if (!writer) co_return;
  try {
    writer->write(input);
    co_await writer->drain();
  } catch (const OSError& error) {  // the child may have closed its stdin
    if (error.code().value() != EPIPE && error.code().value() != ECONNRESET) throw;
  }
  writer->close();
}

// asyncio: subprocess.Process._read_stream
Coroutine<std::string> read_stream(std::optional<StreamReader> reader) {
  if (!reader) co_return std::string();
  co_return co_await reader->read();
}

}  // namespace

void ProcessState::end() noexcept {
  if (returncode || pid == 0) return;
  ::kill(pid, SIGKILL);
  returncode = returncode_of(wait_blocking(pid));
}

// asyncio: unix_events.PidfdChildWatcher.add_child_handler
void ProcessState::watch(EventLoop& loop) {
  finished.get_loop(loop);
  const std::shared_ptr<ProcessState> self(shared_from_this().get(), [state = shared_from_this()](ProcessState*) {
    state->end();  // the loop was closed before the child had ended
  });
  pidfd_ = FileDescriptor(check_call(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), "pidfd_open"));
  loop.add_reader(pidfd_.get(), [self, &loop] {
    loop.remove_reader(self->pidfd_.get());
    self->pidfd_ = FileDescriptor();
    self->process_exited(wait_blocking(self->pid));
  });
}

// asyncio: base_subprocess.BaseSubprocessTransport._process_exited
void ProcessState::process_exited(int status) {
  returncode = returncode_of(status);
  try_finish();
}

void ProcessState::pipe_connected(const Future<void>& closed) {
  if (closed.done()) closed.result();  // raises what kept the loop from watching the pipe
  closed.add_done_callback([self = shared_from_this()](const Future<void>& done) {
    if (!done.cancelled()) static_cast<void>(done.exception());
    self->try_finish();
  });
  ++open_;
}

// asyncio: base_subprocess.BaseSubprocessTransport._try_finish
void ProcessState::try_finish() {
  if (--open_ == 0) finished.set();
}

Coroutine<Process> create_subprocess_exec(std::vector<std::string> argv, SubprocessOptions options) {
  if (argv.empty()) throw ValueError("argv is empty: it begins with the program");
  const auto state = std::make_shared<ProcessState>();
  Spawn spawn;
  FileDescriptor in = spawn.redirect(STDIN_FILENO, options.stdin_);
  FileDescriptor out = spawn.redirect(STDOUT_FILENO, options.stdout_);
  FileDescriptor err = spawn.redirect(STDERR_FILENO, options.stderr_);
  state->pid = spawn.start(argv, options);
  spawn.close_child_ends();
  state->watch(get_running_loop());
  std::exception_ptr failed;
  try {
    if (in) state->stdin_ = co_await connect_input(state, std::move(in));
    if (out) state->stdout_ = co_await connect_output(state, std::move(out), options.limit);
    if (err) state->stderr_ = co_await connect_output(state, std::move(err), options.limit);
    co_return Process(state);
  } catch (...) {
    failed = std::current_exception();
  }
  ::kill(state->pid, SIGKILL);
  co_await state->finished.wait();
  std::rethrow_exception(failed);
}

Coroutine<Process> create_subprocess_shell(std::string command, SubprocessOptions options) {
  return create_subprocess_exec(std::vector<std::string>{"/bin/sh", "-c", std::move(command)}, options);
}

template <class Stream> static Stream piped(const std::optional<Stream>& stream) {
  if (!stream) throw RuntimeError("the child was created without PIPE for this one");
  return *stream;
}

pid_t Process::pid() const noexcept { return state_->pid; }
std::optional<int> Process::returncode() const noexcept { return state_->returncode; }
StreamWriter Process::stdin_() const { return piped(state_->stdin_); }
StreamReader Process::stdout_() const { return piped(state_->stdout_); }
StreamReader Process::stderr_() const { return piped(state_->stderr_); }

Coroutine<int> Process::wait(std::shared_ptr<ProcessState> state) {
  if (!state->returncode) co_await state->finished.wait();
  co_return *state->returncode;
}

Coroutine<std::pair<std::string, std::string>> Process::communicate(std::shared_ptr<ProcessState> state,
                                                                    std::string input) {
  auto [fed, output, errors] = co_await gather(feed_stdin(state->stdin_, std::move(input)), read_stream(state->stdout_),
                                               read_stream(state->stderr_));
  co_await state->finished.wait();
  co_return std::pair(std::move(output), std::move(errors));
}

void Process::send_signal(int signum) const {
  if (state_->returncode) throw_os_error(ESRCH, "the process has ended");
  ::kill(state_->pid, signum);
}
void Process::terminate() const { send_signal(SIGTERM); }
void Process::kill() const { send_signal(SIGKILL); }

}  // namespace asyncio
