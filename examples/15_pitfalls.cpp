// Five mistakes that everybody makes once, and what the library says about each.
// Look at where it says so: in a handler, a count, on stderr, in an exception; and of the first one it says nothing.
#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include "asyncio.hpp"

// A lambda's captures live in the lambda, not in the coroutine that it returns:
//     create_task([name]() -> Coroutine<> { co_await sleep(0.01); use(name); }());
// makes a coroutine whose lambda is gone at the semicolon. Undefined behaviour, and no report. Leave out the last ():
// create_task then keeps the lambda as long as the task lives. Or write a function, and pass it what it needs.
asyncio::Coroutine<> lambda_captures() {
  auto captures = [name = std::string("copy of a name")]() -> asyncio::Coroutine<> {
    co_await asyncio::sleep(0.01);
    std::cout << "  the task keeps the lambda, and with it a " << name << "\n";
  };
  co_await asyncio::create_task(captures);
}

asyncio::Coroutine<> fails() {
  co_await asyncio::sleep(0.01);
  throw asyncio::ValueError("no luck today");
}

asyncio::Coroutine<> lost_exception() {
  asyncio::get_running_loop().set_exception_handler([](asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
    std::cout << "  the exception handler is told: " << context.message << ": " << asyncio::describe(context.exception)
              << "\n";
  });
  asyncio::create_task(fails());  // the task runs, but nobody awaits it
  co_await asyncio::sleep(0.03);
}

asyncio::Coroutine<> stubborn() {
  for (int attempt = 1; attempt <= 2; ++attempt) {
    try {
      co_await asyncio::sleep(0.05);
    } catch (...) {  // write `const std::exception&`: a CancelledError is none, and passes
      std::cout << "  task: something went wrong, tries again\n";
    }
  }
}

asyncio::Coroutine<> swallowed_cancel() {
  asyncio::Task<> task = asyncio::create_task(stubborn());
  co_await asyncio::sleep(0.01);
  task.cancel();
  co_await asyncio::sleep(0.01);
  std::cout << "  main: cancelling() is " << task.cancelling() << ", and done() is " << task.done() << "\n";
  co_await task;
  std::cout << "  main: it went on to its end, cancelled() is " << task.cancelled() << "\n";
}

asyncio::Coroutine<> blocking_call() {
  asyncio::get_running_loop().slow_callback_duration = 0.02;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));  // instead of co_await asyncio::sleep(30ms)
  std::cout << "  main: has blocked the whole loop; in debug mode stderr names the task and the time it took\n";
  co_return;
}

asyncio::Coroutine<> deadlock() { co_await asyncio::get_running_loop().create_future<>(); }

int main() {
  std::cout << std::boolalpha << "captures of a lambda, the safe way:\n";
  asyncio::run(lambda_captures());
  std::cout << "a lost exception:\n";
  asyncio::run(lost_exception());
  std::cout << "a swallowed cancel:\n";
  asyncio::run(swallowed_cancel());
  std::cout << "a blocking call, under debug mode:\n";
  asyncio::run(blocking_call(), {.debug = true});
  std::cout << "a deadlock, under debug mode:\n";
  try {
    asyncio::run(deadlock(), {.debug = true});
  } catch (const asyncio::RuntimeError& error) {
    std::cout << "  " << error.what() << "\n";
  }
}
