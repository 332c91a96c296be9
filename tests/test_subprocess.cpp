// Children: their streams, their ends, and what they leave behind: nothing.
// Upstream counterpart: Lib/test/test_asyncio/test_subprocess.py.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::create_subprocess_exec;
using asyncio::create_subprocess_shell;
using asyncio::DEVNULL;
using asyncio::EventLoop;
using asyncio::PIPE;
using asyncio::Process;
using asyncio::STDOUT;
using asyncio::SubprocessOptions;
using asyncio::Task;
using test::has_children;
using test::iterations;
using test::run_io;
using test::thrown_by;
using Argv = std::vector<std::string>;
using Output = std::pair<std::string, std::string>;

const Argv CAT{"cat"};
const Argv BLOCKED{"sleep", "3600"};

Argv sh(std::string script) { return Argv{"sh", "-c", std::move(script)}; }

/// What a shell script writes to stdout and stderr when it is given the input.
Coroutine<Output> output_of(std::string script, std::string input = "") {
  const Process process = co_await create_subprocess_shell(script, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
  co_return co_await process.communicate(std::move(input));
}

bool runs(pid_t pid) { return ::kill(pid, 0) == 0; }

/// No child and no descriptor more than before is left when it ends.
class LeavesNothing {
 public:
  LeavesNothing() : fds_(test::open_fds()) { CHECK_FALSE(has_children()); }
  ~LeavesNothing() {
    CHECK_FALSE(has_children());
    CHECK(test::open_fds() == fds_);
  }

 private:
  std::ptrdiff_t fds_;
};

}  // namespace

// ---- Streams -----------------------------------------------------------------------------------------

TEST_CASE("what is written to a child's stdin it may write to its stdout",
          "[subprocess][test_subprocess.test_stdin_stdout]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<void> {
    const Process process = co_await create_subprocess_exec(CAT, {.stdin_ = PIPE, .stdout_ = PIPE});
    process.stdin_().write("some data");
    co_await process.stdin_().drain();
    process.stdin_().close();
    const std::string data = co_await process.stdout_().read();
    const int exit_code = co_await process.wait();
    CHECK(data == "some data");
    CHECK(exit_code == 0);
    CHECK(process.returncode() == 0);
  };
  run_io(main);
}

TEST_CASE("communicate sends the input and gives the output", "[subprocess][test_subprocess.test_communicate]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<Output> {
    const Process process = co_await create_subprocess_exec(CAT, {.stdin_ = PIPE, .stdout_ = PIPE});
    const Output output = co_await process.communicate("some data");
    CHECK(process.returncode() == 0);
    co_return output;
  };
  CHECK(run_io(main) == Output("some data", ""));
}

TEST_CASE("communicate without input closes stdin",
          "[subprocess][test_subprocess.test_communicate_none_input][test_subprocess.test_empty_input]") {
  CHECK(run_io([] { return output_of("wc -c"); }).first == "0\n");
}

TEST_CASE("communicate gives stdout and stderr apart", "[subprocess][test_subprocess.test_communicate]") {
  const auto main = [] { return output_of("cat; echo error >&2", "output"); };
  CHECK(run_io(main) == Output("output", "error\n"));
}

TEST_CASE("STDOUT sends stderr where stdout goes", "[subprocess][test_subprocess.test_communicate]") {
  const auto main = []() -> Coroutine<Output> {
    const Process process =
        co_await create_subprocess_shell("echo one; echo two >&2; echo three", {.stdout_ = PIPE, .stderr_ = STDOUT});
    co_return co_await process.communicate();
  };
  CHECK(run_io(main) == Output("one\ntwo\nthree\n", ""));
}

TEST_CASE("a child's DEVNULL stdin is empty", "[subprocess][test_subprocess.test_devnull_input]") {
  const auto main = []() -> Coroutine<Output> {
    const Process process = co_await create_subprocess_shell("wc -c", {.stdin_ = DEVNULL, .stdout_ = PIPE});
    co_return co_await process.communicate();
  };
  CHECK(run_io(main).first == "0\n");
}

TEST_CASE("what a child writes to DEVNULL is gone",
          "[subprocess][test_subprocess.test_devnull_output][test_subprocess.test_devnull_error]") {
  const auto main = [](SubprocessOptions options) -> Coroutine<Output> {
    const Process process = co_await create_subprocess_shell("echo out; echo err >&2", options);
    const Output output = co_await process.communicate();
    CHECK(process.returncode() == 0);
    co_return output;
  };
  CHECK(run_io([&] { return main({.stdout_ = DEVNULL, .stderr_ = PIPE}); }) == Output("", "err\n"));
  CHECK(run_io([&] { return main({.stdout_ = PIPE, .stderr_ = DEVNULL}); }) == Output("out\n", ""));
}

TEST_CASE("a child may read /dev/stdin", "[subprocess][test_subprocess.test_devstdin_input]") {
  CHECK(run_io([] { return output_of("wc -c < /dev/stdin", "abc"); }).first == "3\n");
}

TEST_CASE("a child's streams may be descriptors of ours", "[subprocess][test_subprocess.test_stdin_stdout]") {
  const LeavesNothing checked;
  const test::TemporaryDirectory directory;
  const auto file = [&](const char* name) {
    return asyncio::FileDescriptor(
        asyncio::check_call(::open((directory / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open"));
  };
  const asyncio::FileDescriptor in = file("in"), out = file("out"), err = file("err");
  asyncio::check_call(static_cast<int>(::write(in.get(), "input", 5)), "write");
  ::lseek(in.get(), 0, SEEK_SET);
  const auto main = [&]() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell(
        "cat; echo error >&2", {.stdin_ = in.get(), .stdout_ = out.get(), .stderr_ = err.get()});
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == 0);
  const auto content = [&](const char* name) {
    std::ifstream stream(directory / name);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  CHECK(content("out") == "input");
  CHECK(content("err") == "error\n");
}

TEST_CASE("a child's stdout and stderr may be ours, crossed", "[subprocess][test_subprocess.test_stdin_stdout]") {
  // A child in between, whose stdout and stderr we read, crosses those of its own child.
  int out[2], err[2];
  asyncio::check_call(::pipe2(out, O_CLOEXEC), "pipe2");
  asyncio::check_call(::pipe2(err, O_CLOEXEC), "pipe2");
  const int kept_out = ::dup(1), kept_err = ::dup(2);
  const auto main = [&]() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("echo out; echo err >&2", {.stdout_ = 2, .stderr_ = 1});
    co_return co_await process.wait();
  };
  std::fflush(stdout);
  ::dup2(out[1], 1), ::dup2(err[1], 2);
  const int status = run_io(main);
  ::dup2(kept_out, 1), ::dup2(kept_err, 2);
  for (const int fd : {kept_out, kept_err, out[1], err[1]}) ::close(fd);
  char buffer[100];
  const auto read = [&](int fd) {
    const std::string text(buffer, static_cast<std::size_t>(std::max<ssize_t>(0, ::read(fd, buffer, sizeof buffer))));
    ::close(fd);
    return text;
  };
  CHECK(status == 0);
  CHECK(read(out[0]) == "err\n");
  CHECK(read(err[0]) == "out\n");
}

TEST_CASE("a child without redirections has our streams", "[subprocess][test_subprocess.test_shell]") {
  int ends[2];
  asyncio::check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
  const int kept = ::dup(1);
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("echo inherited");
    co_return co_await process.wait();
  };
  std::fflush(stdout);
  ::dup2(ends[1], 1);
  const int status = run_io(main);
  ::dup2(kept, 1);
  ::close(kept), ::close(ends[1]);
  char buffer[100];
  const ssize_t n = ::read(ends[0], buffer, sizeof buffer);
  ::close(ends[0]);
  CHECK(status == 0);
  CHECK(std::string(buffer, static_cast<std::size_t>(std::max<ssize_t>(0, n))) == "inherited\n");
}

TEST_CASE("asking for a stream that is no PIPE is an error", "[subprocess][test_subprocess.test_stdin_stdout]") {
  const auto main = []() -> Coroutine<void> {
    const Process process = co_await create_subprocess_shell("exit 0", {.stderr_ = DEVNULL});
    CHECK_THROWS_AS(process.stdin_(), asyncio::RuntimeError);
    CHECK_THROWS_AS(process.stdout_(), asyncio::RuntimeError);
    CHECK_THROWS_AS(process.stderr_(), asyncio::RuntimeError);
    co_await process.wait();
  };
  run_io(main);
}

TEST_CASE("drain raises when the child reads no more", "[subprocess][test_subprocess.test_stdin_broken_pipe]") {
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_exec(sh("read line"), {.stdin_ = PIPE});
    const std::string data(4 << 20, 'x');
    process.stdin_().write("go\n");
    process.stdin_().write(data);
    const int code = co_await test::errno_of(process.stdin_().drain());
    const int status = co_await process.wait();
    CHECK(status == 0);
    co_return code;
  };
  const int code = run_io(main);
  CHECK((code == EPIPE || code == ECONNRESET));
}

TEST_CASE("communicate ignores that the child reads no more",
          "[subprocess][test_subprocess.test_communicate_ignore_broken_pipe]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<std::string> {
    const Process process = co_await create_subprocess_exec(sh("echo done"), {.stdin_ = PIPE, .stdout_ = PIPE});
    const std::string data(4 << 20, 'x');
    const auto [output, errors] = co_await process.communicate(data);
    CHECK(process.returncode() == 0);
    co_return output;
  };
  CHECK(run_io(main) == "done\n");
}

TEST_CASE("communicate after the child has ended gives what it wrote",
          "[subprocess][test_subprocess.test_read_stdout_after_process_exit]") {
  const auto main = []() -> Coroutine<Output> {
    const Process process =
        co_await create_subprocess_shell("echo out; echo err >&2", {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    co_await process.wait();
    co_return co_await process.communicate("too late");
  };
  CHECK(run_io(main) == Output("out\n", "err\n"));
}

TEST_CASE("stdout can be read after the child has ended",
          "[subprocess][test_subprocess.test_read_stdout_after_process_exit]") {
  const auto main = []() -> Coroutine<std::size_t> {
    const Process process = co_await create_subprocess_exec(sh("head -c 262144 /dev/zero; exit 1"), {.stdout_ = PIPE});
    std::size_t size = 0;
    for (std::string data; data = co_await process.stdout_().read(65536), !data.empty(); size += data.size()) {
      co_await asyncio::sleep(0.01);
    }
    const int status = co_await process.wait();
    CHECK(status == 1);
    co_return size;
  };
  CHECK(run_io(main) == 262144);
}

TEST_CASE("the limit pauses the reading of what a child writes", "[subprocess][test_subprocess.test_pause_reading]") {
  const auto main = []() -> Coroutine<std::string> {
    const Process process = co_await create_subprocess_exec(CAT, {.stdin_ = PIPE, .stdout_ = PIPE, .limit = 10});
    process.stdin_().write("123456789\n123456789\nline 3\n");
    std::string lines;
    for (int i = 0; i < 3; ++i) lines += co_await process.stdout_().readline();
    const std::string too_long = "12345678901\n";
    process.stdin_().write(too_long);
    const std::string error = co_await thrown_by(process.stdout_().readline());
    CHECK(error.starts_with("std::invalid_argument"));
    co_await process.communicate();
    co_return lines;
  };
  CHECK(run_io(main) == "123456789\n123456789\nline 3\n");
}

TEST_CASE("much input and much output at once make no deadlock", "[subprocess][test_subprocess.test_communicate]") {
  const auto main = []() -> Coroutine<void> {
    const Process process =
        co_await create_subprocess_exec(sh("tee /dev/stderr"), {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    std::string data;
    for (int i = 0; i < 500'000; ++i) data += std::to_string(i) + "\n";
    const auto [output, errors] = co_await process.communicate(data);
    const bool same_output = output == data, same_errors = errors == data;
    CHECK(same_output);
    CHECK(same_errors);
  };
  run_io(main);
}

TEST_CASE("a conversation with a child takes turns", "[subprocess][test_subprocess.test_stdin_stdout]") {
  const auto main = []() -> Coroutine<std::string> {
    const Process process = co_await create_subprocess_exec(sh("while read x; do echo $((x * x)); done"),
                                                            {.stdin_ = PIPE, .stdout_ = PIPE});
    std::string answers;
    for (int i = 1; i <= 5; ++i) {
      process.stdin_().write(std::to_string(i) + "\n");
      co_await process.stdin_().drain();
      answers += co_await process.stdout_().readline();
    }
    process.stdin_().close();
    co_await process.stdin_().wait_closed();
    co_await process.wait();
    co_return answers;
  };
  CHECK(run_io(main) == "1\n4\n9\n16\n25\n");
}

// ---- Starting ----------------------------------------------------------------------------------------

TEST_CASE("create_subprocess_shell runs a shell command, and wait gives its exit status",
          "[subprocess][test_subprocess.test_shell]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("exit 7");
    CHECK(process.pid() > 0);
    CHECK_FALSE(process.returncode());
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == 7);
}

TEST_CASE("an argument is passed as it is", "[subprocess][test_subprocess.test_create_subprocess_exec_with_path]") {
  const auto main = []() -> Coroutine<std::string> {
    const Argv argv{"printf", "%s|", "a b", "", "$HOME", "'\"", "*"};
    const Process process = co_await create_subprocess_exec(argv, {.stdout_ = PIPE});
    co_return (co_await process.communicate()).first;
  };
  CHECK(run_io(main) == "a b||$HOME|'\"|*|");
}

TEST_CASE("a program that does not exist is a FileNotFoundError, and leaves nothing",
          "[subprocess][test_subprocess.test_popen_error][test_subprocess.test_popen_error_with_stdin_pipe]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const Argv argv{"no-such-program-anywhere"};
    const int code = co_await test::errno_of(create_subprocess_exec(argv, {.stdin_ = PIPE, .stdout_ = PIPE}));
    const int again = co_await test::errno_of(create_subprocess_exec(argv));
    CHECK(again == code);
    co_return code;
  };
  CHECK(run_io(main) == ENOENT);
}

TEST_CASE("a file that is no program is a PermissionError", "[subprocess][test_subprocess.test_popen_error]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const Argv argv{"/etc/passwd"};
    co_return co_await test::errno_of(create_subprocess_exec(argv));
  };
  CHECK(run_io(main) == EACCES);
}

TEST_CASE("an empty argv is a ValueError", "[subprocess][test_subprocess.test_popen_error]") {
  const auto main = []() -> Coroutine<std::string> { co_return co_await thrown_by(create_subprocess_exec({})); };
  CHECK(run_io(main).starts_with("std::invalid_argument"));
}

TEST_CASE("cwd is where the child runs", "[subprocess][test_subprocess.test_create_subprocess_exec_with_path]") {
  const test::TemporaryDirectory directory;
  const std::string path = directory / "";
  const auto main = [&]() -> Coroutine<std::string> {
    SubprocessOptions options;
    options.stdout_ = PIPE;
    options.cwd = path;
    const Process process = co_await create_subprocess_shell("pwd", options);
    co_return (co_await process.communicate()).first;
  };
  CHECK(run_io(main) + "/" == path.substr(0, path.size() - 1) + "\n/");
}

TEST_CASE("a cwd that does not exist is a FileNotFoundError", "[subprocess][test_subprocess.test_popen_error]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    co_return co_await test::errno_of(create_subprocess_shell("pwd", {.cwd = "/no/such/directory"}));
  };
  CHECK(run_io(main) == ENOENT);
}

TEST_CASE(
    "env is the child's whole environment",
    "[subprocess][test_subprocess.test_create_subprocess_env_shell][test_subprocess.test_create_subprocess_env_exec]") {
  std::string foo = "FOO=bar";
  char* const environment[] = {foo.data(), nullptr};
  const auto main = [&]() -> Coroutine<std::string> {
    const Argv argv{"/usr/bin/env"};
    const Process process = co_await create_subprocess_exec(argv, {.stdout_ = PIPE, .env = environment});
    const std::string all = (co_await process.communicate()).first;
    CHECK(all == "FOO=bar\n");
    const Process shell = co_await create_subprocess_shell("echo $FOO", {.stdout_ = PIPE, .env = environment});
    co_return (co_await shell.communicate()).first;
  };
  CHECK(run_io(main) == "bar\n");
}

TEST_CASE("without env the child has ours", "[subprocess][test_subprocess.test_create_subprocess_env_shell]") {
  ::setenv("ASYNCIO_TEST_VARIABLE", "ours", 1);
  CHECK(run_io([] { return output_of("echo $ASYNCIO_TEST_VARIABLE"); }).first == "ours\n");
  ::unsetenv("ASYNCIO_TEST_VARIABLE");
}

TEST_CASE("a child inherits its three streams and no other descriptor",
          "[subprocess][test_subprocess.test_stdin_not_inheritable]") {
  const int careless = ::dup(0);  // without O_CLOEXEC
  const auto main = []() -> Coroutine<std::string> {
    const Process other = co_await create_subprocess_exec(CAT, {.stdin_ = PIPE, .stdout_ = PIPE});
    const Process process = co_await create_subprocess_exec(sh("ls /proc/$$/fd"), {.stdin_ = PIPE, .stdout_ = PIPE});
    const std::string fds = (co_await process.communicate()).first;
    co_await other.communicate();  // ends only if nobody else holds its stdin
    co_return fds;
  };
  CHECK(run_io(main) == "0\n1\n2\n");
  ::close(careless);
}

TEST_CASE("a child has no signal blocked, and SIGPIPE's default action",
          "[subprocess][test_subprocess.test_send_signal]") {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &blocked, &before);
  const auto before_pipe = ::signal(SIGPIPE, SIG_IGN);
  const Output output = run_io([] { return output_of("exec grep -E 'SigBlk|SigIgn' /proc/self/status"); });
  ::signal(SIGPIPE, before_pipe);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  CHECK(output.first.find("SigBlk:\t0000000000000000") != std::string::npos);
  const std::size_t ignored = output.first.find("SigIgn:\t");
  REQUIRE(ignored != std::string::npos);
  CHECK((std::stoull(output.first.substr(ignored + 8), nullptr, 16) & (1ull << (SIGPIPE - 1))) == 0);
}

// ---- Ending ------------------------------------------------------------------------------------------

TEST_CASE("kill ends a child with SIGKILL", "[subprocess][test_subprocess.test_kill]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_exec(BLOCKED);
    process.kill();
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == -SIGKILL);
}

TEST_CASE("kill ends a shell, and wait waits for the end of its pipe",
          "[subprocess][test_subprocess.test_kill_issue43884]") {
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("echo started; exec sleep 3600", {.stdout_ = PIPE});
    co_await process.stdout_().readline();
    process.kill();
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == -SIGKILL);
}

TEST_CASE("terminate ends a child with SIGTERM", "[subprocess][test_subprocess.test_terminate]") {
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_exec(BLOCKED);
    process.terminate();
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == -SIGTERM);
}

TEST_CASE("send_signal sends any signal", "[subprocess][test_subprocess.test_send_signal]") {
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("echo sleeping; exec sleep 3600", {.stdout_ = PIPE});
    const std::string line = co_await process.stdout_().readline();
    CHECK(line == "sleeping\n");
    process.send_signal(SIGUSR2);
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == -SIGUSR2);
}

TEST_CASE("a child may handle a signal and go on", "[subprocess][test_subprocess.test_send_signal]") {
  const auto main = []() -> Coroutine<std::string> {
    const Process process = co_await create_subprocess_shell(
        "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done", {.stdout_ = PIPE});
    co_await process.stdout_().readline();
    process.send_signal(SIGUSR1);
    const std::string rest = co_await process.stdout_().read();
    const int status = co_await process.wait();
    CHECK(status == 5);
    co_return rest;
  };
  CHECK(run_io(main) == "caught\n");
}

TEST_CASE("a signal to a child that has ended is an OSError, no such process",
          "[subprocess][test_subprocess.test_subprocess_send_signal_race]") {
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("exit 3");
    co_await process.wait();
    const auto refused = [&](auto signals) {
      try {
        signals();
      } catch (const asyncio::OSError& error) {
        return error.code() == std::errc::no_such_process;
      }
      return false;
    };
    CHECK(refused([&] { process.send_signal(SIGUSR1); }));
    CHECK(refused([&] { process.terminate(); }));
    CHECK(refused([&] { process.kill(); }));
    co_return *process.returncode();
  };
  CHECK(run_io(main) == 3);
}

TEST_CASE("a signal that races with the child's end does no harm",
          "[subprocess][test_subprocess.test_subprocess_send_signal_race]") {
  const auto main = []() -> Coroutine<void> {
    for (int i = 0; i < 10; ++i) {
      const Argv argv{"sleep", "0.005"};
      const Process process = co_await create_subprocess_exec(argv);
      co_await asyncio::sleep(0.001 * i);
      try {
        process.send_signal(SIGUSR1);
      } catch (const asyncio::OSError& error) {
        CHECK(error.code() == std::errc::no_such_process);
        CHECK(process.returncode() == 0);
      }
      const int status = co_await process.wait();
      CHECK((status == 0 || status == -SIGUSR1));
    }
  };
  run_io(main);
}

TEST_CASE("many may wait for one child, and wait again when it has ended",
          "[subprocess][test_subprocess.test_subprocess_concurrent_wait]") {
  const auto main = []() -> Coroutine<void> {
    const Process process = co_await create_subprocess_exec(sh("read x; exit 4"), {.stdin_ = PIPE});
    std::vector<Task<int>> waiting;
    for (int i = 0; i < 10; ++i) waiting.push_back(asyncio::create_task(process.wait()));
    co_await iterations(3);
    for (const Task<int>& task : waiting) CHECK_FALSE(task.done());
    process.stdin_().write("x\n");
    for (const Task<int>& task : waiting) {
      const int status = co_await task;
      CHECK(status == 4);
    }
    const int again = co_await process.wait();
    CHECK(again == 4);
  };
  run_io(main);
}

TEST_CASE("wait for a child that has ended does not suspend",
          "[subprocess][test_subprocess.test_create_subprocess_env_exec]") {
  const auto main = []() -> Coroutine<bool> {
    const Process process = co_await create_subprocess_shell("exit 0", {.stdout_ = PIPE});
    co_await process.communicate();
    const Task<int> waiting = asyncio::create_task(process.wait());
    co_await iterations(1);
    co_return waiting.done() && waiting.result() == 0;
  };
  CHECK(run_io(main));
}

TEST_CASE("wait for a child that has ended does not wait for a grandchild that holds its pipe",
          "[subprocess][test_subprocess.test_create_subprocess_env_exec]") {
  const auto main = []() -> Coroutine<int> {
    const Process process =
        co_await create_subprocess_shell("sleep 3600 & echo $!; read x; exit 3", {.stdin_ = PIPE, .stdout_ = PIPE});
    const pid_t grandchild = std::stoi(co_await process.stdout_().readline());
    process.stdin_().write("x\n");
    co_await test::until([&] { return process.returncode().has_value(); });
    int status = 0;
    try {
      status = co_await asyncio::wait_for(process.wait(), 1);
    } catch (const asyncio::TimeoutError&) {}
    ::kill(grandchild, SIGKILL);
    co_return status;
  };
  CHECK(run_io(main) == 3);
}

TEST_CASE("a cancelled wait leaves the child usable", "[subprocess][test_subprocess.test_cancel_process_wait]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_exec(BLOCKED);
    const Task<int> waiting = asyncio::create_task(process.wait());
    asyncio::get_running_loop().call_soon([waiting] { waiting.cancel(); });
    const auto wait = [&]() -> Coroutine<void> { co_await waiting; };
    const std::string error = co_await thrown_by(wait());
    CHECK(error == "asyncio::CancelledError");
    CHECK(runs(process.pid()));
    process.kill();
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == -SIGKILL);
}

TEST_CASE("a cancelled communicate leaves the child usable", "[subprocess][test_subprocess.test_cancel_process_wait]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<Output> {
    const Process process =
        co_await create_subprocess_exec(sh("read x; echo $x; read y; echo $y"), {.stdin_ = PIPE, .stdout_ = PIPE});
    const auto reading = asyncio::create_task(process.stdout_().read());
    co_await iterations(3);
    reading.cancel();
    co_await asyncio::wait(std::vector(1, reading));
    const std::string error = co_await thrown_by(asyncio::wait_for(process.wait(), 0.01));
    CHECK(error == "asyncio::TimeoutError");
    process.stdin_().write("one\n");
    const std::string line = co_await process.stdout_().readline();
    CHECK(line == "one\n");
    co_return co_await process.communicate("two\n");
  };
  CHECK(run_io(main) == Output("two\n", ""));
}

TEST_CASE("communicate with a timeout may be followed by kill and communicate",
          "[subprocess][test_subprocess.test_cancel_process_wait]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const Process process =
        co_await create_subprocess_shell("echo begin; exec sleep 3600", {.stdin_ = PIPE, .stdout_ = PIPE});
    const std::string error = co_await thrown_by(asyncio::wait_for(process.communicate("x"), 0.05));
    CHECK(error == "asyncio::TimeoutError");
    process.kill();
    co_await process.communicate();
    co_return *process.returncode();
  };
  CHECK(run_io(main) == -SIGKILL);
}

TEST_CASE(
    "a cancelled create_subprocess_exec kills and reaps the child",
    "[subprocess][test_subprocess.test_cancel_make_subprocess_transport_exec][test_subprocess.test_cancel_post_init]") {
  const LeavesNothing checked;
  for (int n = 1; n < 5; ++n) {
    const auto main = [&]() -> Coroutine<void> {
      const auto creating =
          asyncio::create_task(create_subprocess_exec(BLOCKED, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE}));
      co_await iterations(n);
      creating.cancel();
      co_await asyncio::wait(std::vector(1, creating));
      CHECK(creating.cancelled());
      auto all_reaped = test::until([] { return !has_children(); });
      const std::string error = co_await thrown_by(asyncio::wait_for(std::move(all_reaped), 2));
      CHECK(error == "");
    };
    run_io(main);
    CHECK_FALSE(has_children());
  }
}

TEST_CASE("a loop that closes kills its running children and reaps them",
          "[subprocess][test_subprocess.test_close_kill_running]") {
  const LeavesNothing checked;
  std::vector<pid_t> pids;
  const auto main = [&]() -> Coroutine<void> {
    for (int i = 0; i < 5; ++i) {
      const Process process = co_await create_subprocess_exec(BLOCKED, {.stdin_ = PIPE, .stdout_ = PIPE});
      pids.push_back(process.pid());
      CHECK(runs(process.pid()));
    }
  };
  run_io(main);
  for (const pid_t pid : pids) CHECK_FALSE(runs(pid));
}

TEST_CASE("a loop that closes kills a child that a Process still refers to",
          "[subprocess][test_subprocess.test_close_kill_running]") {
  const LeavesNothing checked;
  std::optional<Process> process;
  const auto main = [&]() -> Coroutine<void> {
    process = co_await create_subprocess_exec(BLOCKED, {.stdin_ = PIPE, .stdout_ = PIPE});
  };
  run_io(main);
  CHECK_FALSE(runs(process->pid()));
  CHECK_THROWS_AS(process->kill(), asyncio::OSError);
}

TEST_CASE("a child that ends while its loop is stopped is reaped later",
          "[subprocess][test_subprocess.test_close_dont_kill_finished]") {
  const LeavesNothing checked;
  EventLoop loop;
  const Process process = loop.run_until_complete(create_subprocess_exec(BLOCKED));
  process.kill();
  siginfo_t info;
  ::waitid(P_PID, static_cast<id_t>(process.pid()), &info, WEXITED | WNOWAIT);  // it is dead now, and not reaped
  CHECK_FALSE(process.returncode());
  CHECK(loop.run_until_complete(process.wait()) == -SIGKILL);
}

TEST_CASE("a child is reaped when it ends, though nobody waits for it",
          "[subprocess][test_subprocess.test_close_dont_kill_finished]") {
  const auto main = []() -> Coroutine<void> {
    co_await create_subprocess_shell("exit 0");
    co_await test::until([] { return !has_children(); });
  };
  run_io(main);
}

TEST_CASE("a child that somebody else reaped has an end, too",
          "[subprocess][test_subprocess.test_close_dont_kill_finished]") {
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_exec(BLOCKED);
    process.kill();
    int status = 0;
    CHECK(::waitpid(process.pid(), &status, 0) == process.pid());
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == 255);  // upstream's number for what it cannot know
}

TEST_CASE("SIGCHLD is the program's own", "[subprocess][test_subprocess.test_shell]") {
  int signals = 0;
  const auto main = [&]() -> Coroutine<int> {
    EventLoop& loop = asyncio::get_running_loop();
    loop.add_signal_handler(SIGCHLD, [&] { ++signals; });
    const Process process = co_await create_subprocess_shell("exit 9");
    const int status = co_await process.wait();
    co_await test::until([&] { return signals > 0; });
    loop.remove_signal_handler(SIGCHLD);
    co_return status;
  };
  CHECK(run_io(main) == 9);
}

TEST_CASE("children of ours that the loop did not make are left alone", "[subprocess][test_subprocess.test_shell]") {
  const pid_t other = ::fork();
  if (other == 0) ::_exit(42);
  const auto main = []() -> Coroutine<int> {
    const Process process = co_await create_subprocess_shell("exit 1");
    co_return co_await process.wait();
  };
  CHECK(run_io(main) == 1);
  int status = 0;
  CHECK(::waitpid(other, &status, 0) == other);
  CHECK(WEXITSTATUS(status) == 42);
}

// ---- Many --------------------------------------------------------------------------------------------

TEST_CASE("ten commands at once give ten outputs", "[subprocess][test_subprocess.test_subprocess_communicate_stdout]") {
  const auto main = []() -> Coroutine<void> {
    std::vector<Task<Output>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(asyncio::create_task(output_of("echo foo" + std::to_string(i))));
    for (int i = 0; i < 10; ++i) {
      const Output output = co_await tasks[i];
      CHECK(output == Output("foo" + std::to_string(i) + "\n", ""));
    }
  };
  run_io(main);
}

TEST_CASE("fifty children at once are all served and reaped",
          "[subprocess][test_subprocess.test_subprocess_communicate_stdout]") {
  const LeavesNothing checked;
  const auto main = []() -> Coroutine<int> {
    const auto exit_with = [](int status) -> Coroutine<int> {
      const Process process =
          co_await create_subprocess_shell("cat; exit " + std::to_string(status), {.stdin_ = PIPE, .stdout_ = PIPE});
      const std::string data(100'000, static_cast<char>('a' + status % 26));
      const auto [output, errors] = co_await process.communicate(data);
      co_return output == data ? *process.returncode() : -1000;
    };
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 50; ++i) tasks.push_back(asyncio::create_task(exit_with(i)));
    int right = 0;
    for (int i = 0; i < 50; ++i) right += co_await tasks[i] == i;
    co_return right;
  };
  CHECK(run_io(main) == 50);
}

TEST_CASE("children in a loop of a thread are served, too", "[subprocess][test_subprocess.test_shell]") {
  Output output;
  std::thread([&] { output = run_io([] { return output_of("cat", "from a thread"); }); }).join();
  CHECK(output.first == "from a thread");
}

TEST_CASE("a pipe that the loop cannot watch is an error of create_subprocess_exec, and the child is gone",
          "[subprocess]") {
  struct Refusing : selectors::DefaultSelector {
    selectors::SelectorKey register_(int fd, unsigned events, void* data) override {
      if (++registered == refused) throw std::system_error(ENOMEM, std::system_category(), "register");
      return selectors::DefaultSelector::register_(fd, events, data);
    }
    int registered = 0, refused = 0;
  };
  for (const int pipe : {1, 2, 3}) {
    const LeavesNothing checked;
    auto owned = std::make_unique<Refusing>();
    Refusing& selector = *owned;
    asyncio::EventLoop loop(std::move(owned));
    selector.refused = selector.registered + 1 + pipe;  // the child itself is watched first
    CHECK(test::thrown([&] {
            return loop.run_until_complete(
                create_subprocess_exec(CAT, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE}));
          }).find("Cannot allocate memory") != std::string::npos);
  }
}
