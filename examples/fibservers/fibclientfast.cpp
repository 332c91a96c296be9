// A client in a hurry: asks for fib(1) again and again, and says every second how many answers it got.
#include <atomic>
#include <chrono>
#include <thread>

#include "examples/fibservers/fib.hpp"

std::atomic<long> answers = 0;

void monitor() {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    std::cout << answers.exchange(0) << " requests/s" << std::endl;
  }
}

void ask_forever(const program::Arguments& arguments) {
  program::end_on_signals();
  const int server = connect(arguments.port(PORT));
  std::thread(monitor).detach();
  while (ask(server, "1")) ++answers;
  std::cout << "the server has gone" << std::endl;
  ::_exit(0);  // the monitor would go on
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT]", ask_forever); }
