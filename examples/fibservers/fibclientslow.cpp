// A client with one big question: asks for fib(33), or the number that is its second argument, and says each time how
// many seconds the answer took.
#include <chrono>

#include "examples/fibservers/fib.hpp"

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  end_on_signals();
  const int server = connect(port_argument(argc, argv));
  const std::string number = argc > 2 ? argv[2] : "33";
  for (auto start = Clock::now(); ask(server, number); start = Clock::now())
    std::cout << std::chrono::duration<double>(Clock::now() - start).count() << " s/request" << std::endl;
  std::cout << "the server has gone" << std::endl;
}
