// A coroutine that declares nothing has no co_await in a condition.
#include "asyncio.hpp"

using asyncio::Coroutine;

Coroutine<bool> yes() { co_return true; }
Coroutine<int> one() { co_return 1; }
void say(const char* text);
bool same(bool value) { return value; }

Coroutine<void> in_an_if() {
  if (co_await yes()) say("yes");  // finds: condition
}

Coroutine<void> negated() {
  say("first");
  co_await asyncio::sleep(0);
  if (!co_await yes()) {  // finds: condition
    say("no");
  }
}

Coroutine<void> compared(int wanted) {
  if (co_await one() == wanted) say("yes");  // finds: condition
}

Coroutine<void> in_an_else(int a) {
  if (a == 7) {
    say("seven");
  } else if (same(co_await yes())) {  // finds: condition
    say("yes");
  }
}

Coroutine<void> in_a_while() {
  while (co_await yes()) say("again");  // finds: condition
}

Coroutine<void> in_a_for() {
  for (; co_await yes();) say("again");  // finds: condition
}

Coroutine<void> behind_do() {
  do {
    say("again");
  } while (co_await yes());  // finds: condition
}

Coroutine<void> in_a_switch() {
  switch (co_await one()) {  // finds: condition
    case 1:
      say("one");
      break;
    default:
      break;
  }
}

Coroutine<void> in_an_endless_loop() {
  while (true) {
    if (co_await yes()) break;  // finds: condition
  }
}

Coroutine<void> in_a_try() {
  try {
    if (co_await yes()) say("yes");  // finds: condition
  } catch (...) {}
}

template <class T>
requires(sizeof(T) > 1) Coroutine<void> in_a_template(T) {
  if constexpr (sizeof(T) > 2) {
    if (co_await yes()) say("yes");  // finds: condition
  }
}

class Client {
 public:
  Client() : connected_{true} {}
  Coroutine<int> member() {
    if (co_await yes()) co_return 3;  // finds: condition
    co_return 4;
  }

 private:
  bool connected_;
};
