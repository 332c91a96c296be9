// timeout and wait_for: a deadline is a timer that cancels the task, and turns the CancelledError into a TimeoutError.
// Look at who sees which: inside the limit it is a CancelledError, outside a TimeoutError; unless somebody else
// has cancelled the task as well.
#include <iostream>
#include <string>

#include "asyncio.hpp"

asyncio::Coroutine<> an_hour() {
  try {
    co_await asyncio::sleep(3600);
  } catch (const asyncio::CancelledError&) {
    std::cout << "  inside: CancelledError\n";
    throw;
  }
}

asyncio::Coroutine<> an_hour_limited(double delay) { co_await asyncio::async_with(asyncio::timeout(delay), an_hour); }

asyncio::Coroutine<> moves_its_deadline() {
  co_await asyncio::async_with(asyncio::timeout(0.02), [&](asyncio::Timeout& limit) -> asyncio::Coroutine<> {
    limit.reschedule(asyncio::get_running_loop().time() + 3600);
    co_await asyncio::sleep(0.05);
    std::cout << "  inside: has had 0.05 s; expired() is " << (limit.expired() ? "true" : "false") << "\n";
  });
}

asyncio::Coroutine<> nested(double outer, double inner) {
  co_await asyncio::async_with(asyncio::timeout(outer), [&]() -> asyncio::Coroutine<> {
    try {
      co_await asyncio::async_with(asyncio::timeout(inner), an_hour);
    } catch (const asyncio::TimeoutError&) {
      std::cout << "  between the two: TimeoutError, and outer has time left to go on\n";
    }
  });
}

asyncio::Coroutine<> slow_to_leave() {
  co_await asyncio::async_with(asyncio::timeout(0.02), [&]() -> asyncio::Coroutine<> {
    try {
      co_await an_hour();
    } catch (const asyncio::CancelledError&) {
      std::cout << "  inside: that was the deadline; has to tidy up, for another hour\n";
    }
    co_await an_hour();
  });
}

asyncio::Coroutine<> outcome(asyncio::Coroutine<> coroutine) {
  try {
    co_await coroutine;
    std::cout << "  outside: no exception\n";
  } catch (const asyncio::TimeoutError&) {
    std::cout << "  outside: TimeoutError\n";
  } catch (const asyncio::CancelledError&) {
    std::cout << "  outside: CancelledError: who cancels a task must not find that it has only timed out\n";
  }
}

asyncio::Coroutine<> tour() {
  std::cout << "timeout: a limit for whatever the body awaits\n";
  co_await outcome(an_hour_limited(0.02));
  std::cout << "wait_for: the same for one awaitable\n";
  co_await outcome(asyncio::wait_for(an_hour(), 0.02));
  std::cout << "reschedule: from 0.02 s to an hour\n";
  co_await outcome(moves_its_deadline());
  std::cout << "nested, the outer deadline passes: inner lets the CancelledError through, for it is not its own\n";
  co_await outcome(nested(0.02, 3600));
  std::cout << "nested, the inner deadline passes\n";
  co_await outcome(nested(3600, 0.02));
  std::cout << "a deadline passes, and then somebody cancels the task\n";
  asyncio::Task<> task = asyncio::create_task(outcome(slow_to_leave()));
  co_await asyncio::sleep(0.05);
  task.cancel();
  co_await task;
}

int main() { asyncio::run(tour()); }
