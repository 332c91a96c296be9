// Locks, semaphores, queues: one thread needs them, too, wherever a task awaits in the middle of something.
// Look at transfer(): without the lock both would see 100, for there is an await between looking and writing.
#include <iostream>
#include <string>
#include <utility>

#include "asyncio.hpp"

int balance = 100;

asyncio::Coroutine<> transfer(std::string name, asyncio::Lock& lock) {
  co_await asyncio::async_with(lock, [&]() -> asyncio::Coroutine<> {
    int seen = balance;
    co_await asyncio::sleep(0.01);
    balance = seen - 30;
    std::cout << name << " saw " << seen << " and left " << balance << "\n";
  });
}

asyncio::Coroutine<> visit(std::string name, asyncio::Semaphore& seats) {
  co_await asyncio::async_with(seats, [&]() -> asyncio::Coroutine<> {
    std::cout << name << " sits down" << (seats.locked() ? ": no seat is left" : "") << "\n";
    co_await asyncio::sleep(0.03);
  });
}

asyncio::Coroutine<> wait_for_start(std::string name, asyncio::Event& start) {
  co_await start.wait();
  std::cout << name << " runs\n";
}

template <class Queue> asyncio::Coroutine<> consume(Queue& queue, int items) {
  for (; items > 0; --items) {
    auto item = co_await queue.get();
    std::cout << "got " << item.second << "\n";
    queue.task_done();
  }
}

template <class Queue> asyncio::Coroutine<> hand_over() {
  Queue queue;
  auto consumer = asyncio::create_task(consume(queue, 3));
  queue.put_nowait({3, "wash up"});
  queue.put_nowait({1, "cook"});
  queue.put_nowait({2, "eat"});
  co_await queue.join();
  co_await consumer;
}

asyncio::Coroutine<> tour() {
  using Item = std::pair<int, std::string>;
  std::cout << "a lock:\n";
  asyncio::Lock lock;
  co_await asyncio::gather(transfer("a", lock), transfer("b", lock));
  std::cout << "a semaphore of 2:\n";
  asyncio::Semaphore seats(2);
  co_await asyncio::gather(visit("a", seats), visit("b", seats), visit("c", seats));
  std::cout << "an event:\n";
  asyncio::Event start;
  asyncio::get_running_loop().call_later(0.01, [&] { start.set(); });
  co_await asyncio::gather(wait_for_start("a", start), wait_for_start("b", start));
  std::cout << "a queue:\n";
  co_await hand_over<asyncio::Queue<Item>>();
  std::cout << "a priority queue:\n";
  co_await hand_over<asyncio::PriorityQueue<Item>>();
}

int main() { asyncio::run(tour()); }
