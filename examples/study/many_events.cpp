// A recording of more than 100,000 events, for the page's speed: twenty workers share a queue.
#include <iostream>
#include <vector>

#include "asyncio.hpp"

asyncio::Coroutine<> worker(asyncio::Queue<int>& queue) {
  while (true) {
    co_await queue.get();
    co_await asyncio::sleep(0.00001);
    queue.task_done();
  }
}

asyncio::Coroutine<> tour() {
  asyncio::Queue<int> queue(5);
  std::vector<asyncio::Task<>> workers;
  for (int i = 0; i < 20; ++i) workers.push_back(asyncio::create_task(worker(queue)));
  for (int i = 0; i < 6000; ++i) {
    co_await queue.put(i);
    if (i % 100 == 0) std::cout << "put " << i << "\n";
  }
  co_await queue.join();
  for (const asyncio::Task<>& task : workers) task.cancel();
}

int main() { asyncio::run(tour()); }
