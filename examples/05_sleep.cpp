// sleep: a task that waits costs nothing, so a thousand can wait at the same time.
// Look at the times: one after the other they add up, together they take as long as the longest. (How much longer
// differs from machine to machine: so it only says whether it was the sum.)
#include <iostream>
#include <vector>

#include "asyncio.hpp"

asyncio::Coroutine<> sleeper(double seconds) {
  co_await asyncio::sleep(seconds);
  std::cout << "  slept for " << seconds << " s\n";
}

asyncio::Coroutine<> one_after_the_other() {
  for (double seconds : {0.6, 0.2, 0.4}) co_await sleeper(seconds);
}

asyncio::Coroutine<> together() {
  std::vector<asyncio::Task<>> tasks;
  for (double seconds : {0.6, 0.2, 0.4}) tasks.push_back(asyncio::create_task(sleeper(seconds)));
  for (asyncio::Task<> task : tasks) co_await task;
}

asyncio::Coroutine<> a_thousand() {
  std::vector<asyncio::Task<>> tasks;
  for (int i = 0; i < 1000; ++i) tasks.push_back(asyncio::create_task(asyncio::sleep(0.6)));
  for (asyncio::Task<> task : tasks) co_await task;
}

asyncio::Coroutine<> measure(asyncio::Coroutine<> coroutine, double sum) {
  const double start = asyncio::get_running_loop().time();
  co_await coroutine;
  const double elapsed = asyncio::get_running_loop().time() - start;
  std::cout << "  took " << (elapsed < sum ? "less than " : "not less than ") << sum << " s\n";
}

asyncio::Coroutine<> tour() {
  std::cout << "three sleeps, one after the other:\n";
  co_await measure(one_after_the_other(), 1.2);
  std::cout << "three tasks that sleep at the same time:\n";
  co_await measure(together(), 1.2);
  std::cout << "a thousand tasks that sleep for 0.6 s each:\n";
  co_await measure(a_thousand(), 600);
}

int main() { asyncio::run(tour()); }
