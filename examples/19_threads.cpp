// Threads and processes: where to put what would block the loop, and how to come back.
// Look at the ticks: the loop goes on while threads sleep. At the counter: a thread shares it, a process has its own.
// And at the only two calls that a foreign thread may make: call_soon_threadsafe and run_coroutine_threadsafe.
#include <atomic>
#include <chrono>
#include <future>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

#include "asyncio.hpp"

int counter = 0;
std::atomic<int> ticks = 0;

// Blocks as a slow disk or library would; here, until the loop has ticked twice.
std::string blocking_work(std::string name) {
  while (ticks < 2) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return name + " is done";
}

int count() { return ++counter; }

int fail() { throw std::runtime_error("no luck in there"); }

asyncio::Coroutine<> tick() {
  for (int n = 1; n <= 2; ++n) {
    co_await asyncio::sleep(0.1);
    std::cout << "  the loop ticks: " << n << "\n";
    ticks = n;
  }
}

asyncio::Coroutine<> threads() {
  std::cout << "two blocking calls, each in a thread:\n";
  auto ticking = asyncio::create_task(tick());
  auto [a, b] =
      co_await asyncio::gather(asyncio::to_thread(blocking_work, "a"), asyncio::to_thread(blocking_work, "b"));
  std::cout << "  " << a << ", " << b << "\n";
  co_await ticking;
}

asyncio::Coroutine<> executors() {
  asyncio::EventLoop& loop = asyncio::get_running_loop();
  asyncio::ThreadPoolExecutor threads(2);
  asyncio::ProcessPoolExecutor processes(2);
  int counted = co_await loop.run_in_executor(&threads, count);
  std::cout << "a pool of threads: it counts to " << counted << ", and the counter here is " << counter << "\n";
  counted = co_await loop.run_in_executor(&processes, count);
  std::cout << "a pool of processes: it counts to " << counted << ", and the counter here is " << counter << "\n";
  try {
    co_await loop.run_in_executor(&threads, fail);
  } catch (const std::runtime_error& error) {
    std::cout << "an exception comes back: " << error.what() << "\n";
  }
}

asyncio::Coroutine<std::string> in_the_loop(std::thread::id caller) {
  co_await asyncio::sleep(0.01);
  co_return caller == std::this_thread::get_id() ? "the same thread" : "in the loop's thread";
}

void foreign_thread(asyncio::EventLoop& loop, asyncio::Event& finished) {
  std::future<std::string> result = asyncio::run_coroutine_threadsafe(in_the_loop(std::this_thread::get_id()), loop);
  std::cout << "a foreign thread: the coroutine has run " << result.get() << "\n";  // blocks this thread, not the loop
  loop.call_soon_threadsafe([&finished] { finished.set(); });
}

asyncio::Coroutine<> back_into_the_loop() {
  asyncio::Event finished;
  std::thread thread(foreign_thread, std::ref(asyncio::get_running_loop()), std::ref(finished));
  co_await finished.wait();
  std::cout << "main: the foreign thread has called\n";
  thread.join();
}

asyncio::Coroutine<> tour() {
  co_await threads();
  co_await executors();
  co_await back_into_the_loop();
}

int main() { asyncio::run(tour()); }
