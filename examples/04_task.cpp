// Task: a coroutine that the loop runs, from one await to the next.
// Look at the iterations: an awaited coroutine runs at once, inside its caller; a task starts in the next
// iteration, and two tasks take turns.
#include <iostream>
#include <string>

#include "asyncio.hpp"

asyncio::Coroutine<> count_iterations() {
  for (int iteration = 2;; ++iteration) {
    std::cout << "iteration " << iteration << "\n";
    co_await asyncio::sleep(0);  // gives way to the others, for one iteration
  }
}

asyncio::Coroutine<int> work(std::string name, int steps) {
  for (int step = 1; step <= steps; ++step) {
    std::cout << "  " << name << ": step " << step << " of " << steps << "\n";
    if (step < steps) co_await asyncio::sleep(0);
  }
  co_return steps;
}

asyncio::Coroutine<> tour() {
  std::cout << "iteration 1\n";
  asyncio::Task<> counter = asyncio::create_task(count_iterations());

  asyncio::Coroutine<int> lazy = work("lazy", 1);
  std::cout << "  main: lazy was called, and nothing has happened: it is not awaited yet\n";
  co_await lazy;
  std::cout << "  main: lazy has run, and this is still the same iteration\n";

  asyncio::Task<int> a = asyncio::create_task(work("a", 2));
  asyncio::Task<int> b = asyncio::create_task(work("b", 3));
  std::cout << "  main: the tasks a and b are made, and neither has started\n";
  int steps = co_await a;
  std::cout << "  main: a is done after " << steps << " steps\n";
  steps = co_await b;
  std::cout << "  main: b is done after " << steps << " steps\n";
  counter.cancel();
}

int main() { asyncio::run(tour()); }
