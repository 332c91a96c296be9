// Child processes: their pipes are streams, and their end is something to await.
// Look at the conversation with bc(1)'s poor cousin, at communicate(), which reads and writes at the same time, and at
// the return codes: a status, or minus the signal.
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "asyncio.hpp"

using asyncio::PIPE;
using Arguments = std::vector<std::string>;

asyncio::Coroutine<> conversation() {
  Arguments shell{"sh", "-c", "while read a b; do echo $((a * b)); done"};
  asyncio::Process child = co_await asyncio::create_subprocess_exec(shell, {.stdin_ = PIPE, .stdout_ = PIPE});
  for (std::string question : {"6 7\n", "11 11\n"}) {
    child.stdin_().write(question);
    std::string answer = co_await child.stdout_().readline();
    std::cout << "child: asked " << question << "child: answers " << answer;
  }
  child.stdin_().close();
  int status = co_await child.wait();
  std::cout << "child: at the end of its input it ends, with " << status << "\n";
}

asyncio::Coroutine<> communicate() {
  Arguments sort{"sort", "-r"};
  asyncio::Process child = co_await asyncio::create_subprocess_exec(sort, {.stdin_ = PIPE, .stdout_ = PIPE});
  auto [output, errors] = co_await child.communicate("apple\npear\nfig\n");
  std::cout << "sort -r:\n" << output;

  child =
      co_await asyncio::create_subprocess_shell("echo out; echo err >&2; exit 3", {.stdout_ = PIPE, .stderr_ = PIPE});
  std::tie(output, errors) = co_await child.communicate();
  std::cout << "a shell: stdout " << output << "a shell: stderr " << errors << "a shell: status " << *child.returncode()
            << "\n";
}

asyncio::Coroutine<> killed() {
  Arguments sleep{"sleep", "10"};
  asyncio::Process child = co_await asyncio::create_subprocess_exec(sleep);
  try {
    co_await asyncio::wait_for(child.wait(), 0.1);
  } catch (const asyncio::TimeoutError&) {
    std::cout << "sleep 10: still running after 0.1 s; terminate()\n";
  }
  child.terminate();
  int status = co_await child.wait();
  std::cout << "sleep 10: return code " << status << "\n";
}

asyncio::Coroutine<> no_such_program() {
  Arguments nothing{"/no/such/program"};
  try {
    co_await asyncio::create_subprocess_exec(nothing);
  } catch (const asyncio::OSError& error) {
    std::cout << "/no/such/program: " << error.code().message() << "\n";
  }
}

asyncio::Coroutine<> tour() {
  co_await conversation();
  co_await communicate();
  co_await killed();
  co_await no_such_program();
}

int main() { asyncio::run(tour()); }
