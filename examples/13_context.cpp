// ContextVar: a variable with one value in each context, where a global would have one for all.
// Look at who sees whose set(): a task and a callback get a copy of the context when they are made, not when they
// run; a coroutine that is only awaited shares the caller's.
#include <iostream>
#include <string>

#include "asyncio.hpp"

asyncio::ContextVar<std::string> user("user", "nobody");

void show(std::string where) { std::cout << "  " << where << ": " << user.get() << "\n"; }

asyncio::Coroutine<> serve(std::string name) {
  show("task for " + name + ", begins as");
  user.set(name);
  co_await asyncio::sleep(0.01);  // the other one runs meanwhile
  show("task for " + name + ", after an await");
}

asyncio::Coroutine<> log_in(std::string name) {
  user.set(name);
  co_return;
}

asyncio::Coroutine<> tour() {
  auto& loop = asyncio::get_running_loop();
  std::cout << "two tasks set it, and each keeps its own:\n";
  asyncio::Task<> ann = asyncio::create_task(serve("ann"));
  asyncio::Task<> bob = asyncio::create_task(serve("bob"));
  co_await ann;
  co_await bob;
  show("main, who made them");

  std::cout << "a coroutine that is awaited runs in the caller's context:\n";
  co_await log_in("carol");
  show("main, after it awaited log_in(\"carol\")");

  std::cout << "a callback sees what was set when it was scheduled:\n";
  loop.call_later(0.01, show, "callback, scheduled under carol");
  asyncio::Token before = user.set("dave");
  loop.call_later(0.03, show, "callback, scheduled under dave");
  user.reset(before);
  show("main, after reset(): back to");
  co_await asyncio::sleep(0.05);

  std::cout << "a context is an object, too:\n";
  asyncio::Context context = asyncio::copy_context();
  context.run([] { user.set("erin"); });
  context.run([] { show("run in the copy"); });
  show("main, which is another context");
  co_await asyncio::create_task(log_in("frank"), {.context = &context});
  context.run([] { show("the copy, after a task that was given it"); });
}

int main() { asyncio::run(tour()); }
