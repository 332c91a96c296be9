// Each of these declares something, anywhere in the body, or has no co_await in a condition.
#include <string>
#include <utility>

#include "asyncio.hpp"

using asyncio::Coroutine;

Coroutine<bool> yes() { co_return true; }
Coroutine<int> one() { co_return 1; }
void say(const char* text);
template <class F> Coroutine<bool> call(F function) { co_return function(); }

Coroutine<void> a_variable_before() {
  int a = 1;
  if (co_await yes()) say(a == 1 ? "one" : "two");
}

Coroutine<void> a_variable_behind() {
  if (co_await yes()) say("yes");
  std::string text;
  say(text.c_str());
}

Coroutine<void> a_variable_in_another_block() {
  { [[maybe_unused]] const std::pair<int, std::string>* pair = nullptr; }
  while (co_await yes()) break;
}

Coroutine<void> a_variable_in_the_body_of_the_if() {
  if (co_await yes()) {
    auto [a, b] = std::pair{1, 2};
    (void)a, (void)b;
  }
}

Coroutine<void> a_variable_in_the_condition() {
  if (const bool is = co_await yes()) say("yes");
}

Coroutine<void> a_variable_of_the_if() {
  if (unsigned long n = 3; co_await yes()) say(n == 3 ? "three" : "");
}

Coroutine<void> a_counter() {
  for (int i = 0; i < co_await one(); ++i) say("again");
}

Coroutine<void> a_range() {
  for (int i : {1, 2}) {
    if (co_await yes()) say(i == 1 ? "one" : "two");
  }
}

Coroutine<void> an_exception_with_a_name() {
  try {
    if (co_await yes()) say("yes");
  } catch (const std::exception& error) {
    say(error.what());
  }
}

Coroutine<void> an_alias() {
  using Text = const char*;
  if (co_await yes()) say(Text("yes"));
}

Coroutine<void> a_lambda_in_the_condition(int& count) {
  if (co_await call([&] { return count > 1; })) say("yes");
}

Coroutine<void> a_lambda_that_is_the_coroutine() {
  auto body = []() -> Coroutine<void> {
    if (co_await yes()) say("yes");
  };
  co_await body();
}

Coroutine<void> no_await_in_the_condition(int n) {
  while (n-- > 0) co_await asyncio::sleep(0);
  if (n < 0) co_await yes();
}

Coroutine<bool> no_condition() { co_return co_await yes() && !co_await yes(); }

bool no_coroutine(bool is) {
  if (is) say("/* if (co_await */");  // if (co_await yes())
  return is;
}
