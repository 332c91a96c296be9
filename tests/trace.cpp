// The traces of NOTES.md: what await, cancel and a group do, each line with its iteration. `make trace` runs it.
#include <iostream>
#include <memory>
#include <string>

#include "asyncio.hpp"

namespace {

using namespace asyncio;

struct CountingSelector : selectors::EpollSelector {
  int n = 0;
  std::span<const selectors::SelectorEvent> select(std::optional<double> t) override {
    ++n;
    return selectors::EpollSelector::select(t);
  }
};
CountingSelector* selector;
void say(const char* w, const std::string& t) { std::cout << "    [" << selector->n << "] " << w << ": " << t << "\n"; }
Coroutine<int> leaf() {
  say("leaf", "runs at once, inside its caller's step");
  co_await asyncio::sleep(0);
  say("leaf", "back after one bare yield");
  co_return 7;
}
Coroutine<void> awaits() {
  say("task", "awaits leaf()");
  int v = co_await leaf();
  say("task", "has " + std::to_string(v) + " in the iteration in which leaf returned");
}
Coroutine<void> sleeper(const char* n) {
  say(n, "sleeps");
  try {
    co_await asyncio::sleep(3600);
  } catch (const CancelledError&) {
    say(n, "CancelledError at the await; cancelling() = " + std::to_string(current_task().cancelling()));
    throw;
  }
}
Coroutine<void> fails() {
  co_await asyncio::sleep(0);
  say("b", "throws");
  throw std::runtime_error("b failed");
}
Coroutine<void> main_() {
  std::cout << "await\n";
  co_await create_task(awaits());
  say("main", "the awaiter of the task, one iteration after its end");
  std::cout << "cancel\n";
  auto t = create_task(sleeper("task"));
  co_await asyncio::sleep(0);
  say("main", "calls cancel()");
  t.cancel();
  try {
    co_await t;
  } catch (const CancelledError&) {
    say("main", "the task is cancelled");
  }
  std::cout << "group\n";
  try {
    co_await async_with(TaskGroup(), [&](TaskGroup& g) -> Coroutine<void> {
      g.create_task(sleeper("a"));
      g.create_task(fails());
      say("body", "ends; the group waits for a and b");
      co_return;
    });
  } catch (const ExceptionGroup& e) {
    say("main", e.what());
  }
}
}  // namespace

int main() {
  auto s = std::make_unique<CountingSelector>();
  selector = s.get();
  EventLoop loop(std::move(s));
  loop.run_until_complete(main_());
}
