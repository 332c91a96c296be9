// Queue: who makes work and who does it need not know each other, nor keep the same pace.
// Look at the producer: the queue has room for two, so it waits until a worker has taken one. Then at the end:
// join() says that all work is done, shutdown() sends the workers home. The pace of a
// worker is in turns of the loop, not in seconds: so the race ends the same on any machine.
#include <iostream>
#include <string>

#include "asyncio.hpp"

using Queue = asyncio::Queue<int>;

// A queue stays where it is: by reference, for tour() outlives all who use it.
asyncio::Coroutine<> produce(Queue& queue, int jobs) {
  for (int job = 1; job <= jobs; ++job) {
    if (queue.full()) std::cout << "producer: the queue is full, job " << job << " has to wait\n";
    co_await queue.put(job);
    std::cout << "producer: job " << job << " is in the queue, which now has " << queue.qsize() << "\n";
  }
}

asyncio::Coroutine<int> work(std::string name, Queue& queue, int pace) {
  int done = 0;
  try {
    for (;;) {
      int job = co_await queue.get();
      std::cout << "  " << name << ": takes job " << job << "\n";
      for (int turn = 0; turn < pace; ++turn) co_await asyncio::sleep(0);
      std::cout << "  " << name << ": job " << job << " is done\n";
      queue.task_done();
      ++done;
    }
  } catch (const asyncio::QueueShutDown&) {
    std::cout << "  " << name << ": get() raised QueueShutDown; goes home\n";
  }
  co_return done;
}

asyncio::Coroutine<> tour() {
  Queue queue(2);
  asyncio::Task<int> hare = asyncio::create_task(work("hare", queue, 2));
  asyncio::Task<int> tortoise = asyncio::create_task(work("tortoise", queue, 20));
  co_await produce(queue, 6);
  std::cout << "producer: that was all; joins the queue\n";
  co_await queue.join();
  std::cout << "main: join() returned: task_done() was called for every job\n";

  queue.shutdown();
  try {
    co_await queue.put(7);
  } catch (const asyncio::QueueShutDown&) {
    std::cout << "main: after shutdown(), put() raises QueueShutDown\n";
  }
  int hares = co_await hare, tortoises = co_await tortoise;
  std::cout << "main: the hare did " << hares << " jobs, the tortoise " << tortoises << "\n";
}

int main() { asyncio::run(tour()); }
