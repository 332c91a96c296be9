// A client with one big question: asks for fib(33), or the number that is its second argument, and says each time how
// many seconds the answer took.
#include <chrono>

#include "examples/fibservers/fib.hpp"

void ask_forever(const program::Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  program::end_on_signals();
  const std::string number = std::to_string(arguments.number(1, 33, 0, MAX_NUMBER));
  const int server = connect(arguments.port(PORT));
  for (auto start = Clock::now(); ask(server, number); start = Clock::now())
    std::cout << std::chrono::duration<double>(Clock::now() - start).count() << " s/request" << std::endl;
  std::cout << "the server has gone" << std::endl;
}

int main(int argc, char** argv) { return program::run(argc, argv, "[PORT [NUMBER]]", ask_forever); }
