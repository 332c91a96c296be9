// Context variables: in which context callbacks, timers, readers, done callbacks and tasks run, and what leaks out of
// it. Upstream counterparts: Lib/test/test_context.py, test_asyncio/test_context.py and the context tests of
// test_asyncio/test_tasks.py and test_futures2.py.
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Context;
using asyncio::ContextVar;
using asyncio::copy_context;
using asyncio::Coroutine;
using asyncio::Future;
using asyncio::Task;
using asyncio::Token;
using test::Instance;
using test::Log;
using test::run_briefly;
using test::run_once;
using test::TestLoop;

/// Runs f in an empty context: what it sets is gone afterwards.
template <class F> void isolated(F f) { Context().run(f); }

/// What the variable is in a context; "unset" if it has no value there.
std::string value_in(Context context, const ContextVar<std::string>& variable) {
  return context.run([&]() -> std::string {
    try {
      return variable.get();
    } catch (const asyncio::KeyError&) {
      return "unset";
    }
  });
}

Coroutine<void> sets(ContextVar<std::string>& variable, std::string value) {
  co_await asyncio::sleep(0);
  variable.set(value);
}

}  // namespace

// ---- variables and tokens ----------------------------------------------------------------------------

TEST_CASE("a context variable knows its name", "[context][test_context.test_context_var_new_1]") {
  const ContextVar<int> variable("spam");
  CHECK(variable.name() == "spam");
}

TEST_CASE("a variable without a value is its default, or KeyError", "[context][test_context.test_context_getset_1]") {
  isolated([] {
    const ContextVar<int> with_default("a", 7);
    const ContextVar<int> without("b");
    CHECK(with_default.get() == 7);
    CHECK_THROWS_AS(without.get(), asyncio::KeyError);
    CHECK(test::thrown([&] { return without.get(); }).find("'b'") != std::string::npos);
  });
}

TEST_CASE("reset goes back to the value before, and to none", "[context][test_context.test_context_getset_1]") {
  isolated([] {
    ContextVar<std::string> variable("v");
    const Token first = variable.set("one");
    CHECK(variable.get() == "one");
    const Token second = variable.set("two");
    CHECK(variable.get() == "two");
    variable.reset(second);
    CHECK(variable.get() == "one");
    variable.reset(first);
    CHECK_THROWS_AS(variable.get(), asyncio::KeyError);
  });
}

TEST_CASE("reset to none brings the default back", "[context][test_context.test_context_getset_3]") {
  isolated([] {
    ContextVar<int> variable("v", 42);
    const Token token = variable.set(1);
    CHECK(variable.get() == 1);
    variable.reset(token);
    CHECK(variable.get() == 42);
  });
}

TEST_CASE("tokens may be used out of order", "[context][test_context.test_context_getset_1]") {
  isolated([] {
    ContextVar<int> variable("v", 0);
    const Token first = variable.set(1);
    const Token second = variable.set(2);
    variable.set(3);
    variable.reset(first);
    CHECK(variable.get() == 0);
    variable.reset(second);
    CHECK(variable.get() == 1);
  });
}

TEST_CASE("a token can be used once", "[context][test_context.test_context_getset_1]") {
  isolated([] {
    ContextVar<int> variable("v");
    const Token token = variable.set(1), copy = token;
    variable.reset(token);
    variable.set(2);
    CHECK(test::thrown([&] { variable.reset(token); }) == "std::runtime_error: the Token has already been used once");
    CHECK_THROWS_AS(variable.reset(copy), asyncio::RuntimeError);
    CHECK(variable.get() == 2);
  });
}

TEST_CASE("a token is good for its own variable only", "[context][test_context.test_context_getset_2]") {
  isolated([] {
    ContextVar<int> variable("v"), other("v");
    const Token token = variable.set(1);
    CHECK(test::thrown([&] { other.reset(token); }) ==
          "std::invalid_argument: the Token was created by a different ContextVar");
    variable.reset(token);  // it was not used up
  });
}

TEST_CASE("a token is good in its own context only", "[context][test_context.test_context_getset_4]") {
  isolated([] {
    ContextVar<int> variable("v", 42);
    Context context;
    const Token token = context.run([&] { return variable.set(1); });
    CHECK(test::thrown([&] { variable.reset(token); }) ==
          "std::invalid_argument: the Token was created in a different Context");
    CHECK_THROWS_AS(copy_context().run([&] { variable.reset(token); }), asyncio::ValueError);
    context.run([&] { variable.reset(token); });
    CHECK(context.run([&] { return variable.get(); }) == 42);
  });
}

TEST_CASE("a token of one task cannot be used in another", "[context][test_context.test_context_getset_4]") {
  TestLoop loop;
  ContextVar<int> variable("v", 0);
  std::optional<Token> token;
  auto setter = [&]() -> Coroutine<void> {
    token = variable.set(1);
    co_return;
  };
  auto resetter = [&]() -> Coroutine<void> {
    variable.reset(*token);
    co_return;
  };
  loop.run_until_complete(setter());
  CHECK_THROWS_AS(loop.run_until_complete(resetter()), asyncio::ValueError);
}

TEST_CASE("two variables of the same name are two variables", "[context][test_context.test_context_var_new_1]") {
  isolated([] {
    ContextVar<int> one("v"), two("v");
    one.set(1);
    CHECK_THROWS_AS(two.get(), asyncio::KeyError);
    two.set(2);
    CHECK(one.get() == 1);
  });
}

TEST_CASE("a value is destroyed when no context has it any more", "[context][rule-7]") {
  {
    ContextVar<Instance> variable("v");
    isolated([&] {
      variable.set(Instance());
      const Context copy = copy_context();
      CHECK(Instance::alive() == 1);
      variable.set(Instance());
      CHECK(Instance::alive() == 2);
    });
    CHECK(Instance::alive() == 0);
  }
  CHECK(Instance::alive() == 0);
}

// ---- contexts ----------------------------------------------------------------------------------------

TEST_CASE("Context::run returns what the function returns", "[context][test_context.test_context_run_2]") {
  Context context;
  CHECK(context.run([] { return 7; }) == 7);
  CHECK(*context.run([] { return std::make_unique<int>(8); }) == 8);
  int number = 0;
  int& same = context.run([&]() -> int& { return number; });
  CHECK(&same == &number);
}

TEST_CASE("Context::run raises what the function raises, and the context is left",
          "[context][test_context.test_context_run_3][test_context.test_context_run_5]") {
  isolated([] {
    ContextVar<int> variable("v", 0);
    Context context;
    auto fails = [&] {
      variable.set(1);
      throw asyncio::ValueError("spam");
    };
    CHECK(test::thrown([&] { context.run(fails); }) == "std::invalid_argument: spam");
    CHECK(variable.get() == 0);
    CHECK(context.run([&] { return variable.get(); }) == 1);  // it stays there
  });
}

TEST_CASE("what is set in a context stays in it, and other contexts do not see it",
          "[context][test_context.test_context_run_4]") {
  isolated([] {
    ContextVar<std::string> variable("v");
    Context one, two;
    const Context copy = one.run([&] {
      variable.set("spam");
      CHECK(value_in(two, variable) == "unset");
      CHECK(variable.get() == "spam");
      return copy_context();
    });
    CHECK(value_in(copy, variable) == "spam");
    CHECK(value_in(one, variable) == "spam");
    CHECK_THROWS_AS(variable.get(), asyncio::KeyError);
  });
}

TEST_CASE("a context can be entered again later, and goes on where it was",
          "[context][test_context.test_context_run_6]") {
  Context context;
  ContextVar<int> counter("counter", 0);
  for (int i = 0; i < 3; ++i) context.run([&] { counter.set(counter.get() + 1); });
  CHECK(context.run([&] { return counter.get(); }) == 3);
  CHECK(counter.get() == 0);
}

TEST_CASE("a context that is entered cannot be entered again", "[context][test_context.test_context_run_7][rule-8]") {
  Context context;
  ContextVar<int> variable("v", 0);
  context.run([&] {
    variable.set(1);
    CHECK_THROWS_AS(context.run([] {}), asyncio::RuntimeError);
    CHECK(variable.get() == 1);
  });
  CHECK(context.run([&] { return variable.get(); }) == 1);
}

TEST_CASE("a copy of a context is independent of it", "[context][test_context.test_context_copy_1]") {
  Context original;
  ContextVar<std::string> variable("v");
  original.run([&] {
    variable.set("10");
    Context copy = copy_context();
    CHECK(value_in(copy, variable) == "10");
    variable.set("20");
    CHECK(value_in(copy, variable) == "10");
    copy.run([&] { variable.set("30"); });
    CHECK(variable.get() == "20");
    CHECK(value_in(copy, variable) == "30");
  });
}

TEST_CASE("what runs in a copy of the context does not change the original",
          "[context][test_context.test_context_getset_5]") {
  isolated([] {
    ContextVar<std::vector<int>> variable("v");
    variable.set({});
    copy_context().run([&] {
      variable.set({42});
      CHECK(variable.get() == std::vector<int>{42});
    });
    CHECK(variable.get().empty());
  });
}

TEST_CASE("references to a context are the same context", "[context]") {
  Context context;
  Context reference = context;
  ContextVar<int> variable("v", 0);
  reference.run([&] { variable.set(1); });
  CHECK(context.run([&] { return variable.get(); }) == 1);
}

TEST_CASE("a context may outlive everything else", "[context][rule-7]") {
  std::optional<Context> kept;
  {
    ContextVar<Instance> variable("v");
    TestLoop loop;
    auto main = [&]() -> Coroutine<void> {
      variable.set(Instance());
      kept = copy_context();
      co_return;
    };
    loop.run_until_complete(main());
  }
  CHECK(Instance::alive() == 1);
  kept.reset();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("each thread has a context of its own", "[context][test_context.test_context_threads_1]") {
  isolated([] {
    ContextVar<int> variable("v", 0);
    variable.set(1);
    std::vector<int> seen(4);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&variable, &result = seen[static_cast<std::size_t>(i)], i] {
        const int before = variable.get();
        for (int j = 0; j < 100; ++j) variable.set(i * 1000 + j);
        result = before == 0 ? variable.get() : -1;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(seen == std::vector<int>{99, 1099, 2099, 3099});
    CHECK(variable.get() == 1);
  });
}

// ---- callbacks ---------------------------------------------------------------------------------------

TEST_CASE("a callback runs in a copy of the context in which it was scheduled", "[context][handles]") {
  isolated([] {
    TestLoop loop;
    ContextVar<std::string> variable("v");
    std::string seen;
    auto look = [&] {
      seen = variable.get();
      variable.set("the callback's");
    };
    variable.set("scheduled");
    SECTION("call_soon") { loop.call_soon(look); }
    SECTION("call_soon_threadsafe") { loop.call_soon_threadsafe(look); }
    SECTION("call_later") { loop.call_later(0, look); }
    SECTION("call_at") { loop.call_at(loop.time(), look); }
    SECTION("a done callback of a pending future") {
      const Future<void> future(loop);
      future.add_done_callback([look](const Future<void>&) { look(); });
      variable.set("later");
      future.set_result();
    }
    SECTION("a done callback of a future that is done") {
      const Future<void> future(loop);
      future.set_result();
      future.add_done_callback([look](const Future<void>&) { look(); });
    }
    variable.set("later");
    run_briefly(loop);
    CHECK(seen == "scheduled");
    CHECK(variable.get() == "later");
  });
}

TEST_CASE("a reader runs in the context in which it was added, and what it sets is there the next time",
          "[context][handles]") {
  isolated([] {
    TestLoop loop;
    ContextVar<int> counter("v", 0);
    std::vector<int> seen;
    auto count = [&] {
      seen.push_back(counter.get());
      counter.set(counter.get() + 1);
    };
    counter.set(10);
    SECTION("of a reader") { loop.add_reader(5, count); }
    SECTION("of a writer") { loop.add_writer(5, count); }
    counter.set(0);
    for (int i = 0; i < 3; ++i) {
      loop.selector.make_ready(5, selectors::EVENT_READ | selectors::EVENT_WRITE);
      run_once(loop);
    }
    CHECK(seen == std::vector<int>{10, 11, 12});
    CHECK(counter.get() == 0);
    loop.remove_reader(5);
    loop.remove_writer(5);
  });
}

TEST_CASE("callbacks that were scheduled in the same context do not see what the others set", "[context][handles]") {
  isolated([] {
    TestLoop loop;
    ContextVar<int> variable("v", 0);
    std::vector<int> seen;
    for (int i = 1; i <= 3; ++i) {
      loop.call_soon([&, i] {
        seen.push_back(variable.get());
        variable.set(i);
      });
    }
    run_once(loop);
    CHECK(seen == std::vector<int>{0, 0, 0});
  });
}

TEST_CASE("what a callback schedules inherits what the callback set", "[context][handles]") {
  isolated([] {
    TestLoop loop;
    ContextVar<int> variable("v", 0);
    int seen = -1;
    loop.call_soon([&] {
      variable.set(1);
      loop.call_soon([&] { seen = variable.get(); });
      variable.set(2);
    });
    run_briefly(loop);
    CHECK(seen == 1);
    CHECK(variable.get() == 0);
  });
}

TEST_CASE("a callback that was scheduled before any variable was set sees none of those set since",
          "[context][handles]") {
  int seen = -1, after = -1;
  std::thread([&] {  // where no context exists yet
    TestLoop loop;
    ContextVar<int> variable("v", 0);
    loop.call_soon([&] { seen = variable.get(); });
    variable.set(1);
    run_once(loop);
    after = variable.get();
  })
      .join();
  CHECK(seen == 0);
  CHECK(after == 1);
}

TEST_CASE("the exception handler runs in the context of the callback that failed",
          "[context][test_futures2.test_handle_exc_handler_correct_context]") {
  TestLoop loop;
  ContextVar<std::string> name("name", "foo");
  Log seen;
  loop.set_exception_handler(
      [&](asyncio::EventLoop&, const asyncio::ExceptionContext&) { seen.push_back(name.get()); });
  loop.call_soon([&] {
    name.set("bar");
    throw asyncio::ValueError("spam");
  });
  run_once(loop);
  CHECK(seen == Log{"bar"});
  CHECK(name.get() == "foo");
}

// asyncio: base_events.BaseEventLoop.call_exception_handler calls it by the context's run(), which refuses.
TEST_CASE("an exception handler whose task's context is entered already is not called: the default handler is",
          "[context]") {
  TestLoop loop;
  asyncio::Context context;
  int handled = 0;
  loop.set_exception_handler([&](asyncio::EventLoop&, const asyncio::ExceptionContext&) { ++handled; });
  const auto fails = []() -> Coroutine<void> {
    throw asyncio::ValueError("spam");
    co_return;
  };
  std::optional<Task<void>> task = loop.create_task(fails(), {.context = &context});
  run_once(loop, 2);
  const test::CaptureCerr captured;
  context.run([&] { task.reset(); });
  CHECK(handled == 0);
  CHECK(captured.text().find("Unhandled error in exception handler") != std::string::npos);
  CHECK(captured.text().find("cannot enter context") != std::string::npos);
  CHECK(captured.text().find("spam") != std::string::npos);
}

TEST_CASE("the exception handler runs in the context of the task whose exception nobody retrieved",
          "[context][test_futures2.test_task_exc_handler_correct_context]") {
  TestLoop loop;
  ContextVar<std::string> name("name", "foo");
  Log seen;
  loop.set_exception_handler(
      [&](asyncio::EventLoop&, const asyncio::ExceptionContext&) { seen.push_back(name.get()); });
  auto fails = [&]() -> Coroutine<void> {
    name.set("bar");
    throw asyncio::ValueError("spam");
    co_return;
  };
  loop.create_task(fails());
  run_briefly(loop);
  CHECK(seen == Log{"bar"});
}

// ---- tasks -------------------------------------------------------------------------------------------

TEST_CASE("a task has the context of the time when it was made, and what it sets does not leak out",
          "[context][test_tasks.test_context_1]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  auto sub = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(0.01);
    CHECK(variable.get() == "nope");
    variable.set("something else");
  };
  auto main = [&]() -> Coroutine<void> {
    CHECK(variable.get() == "nope");
    const Task<void> task = loop.create_task(sub());
    variable.set("yes");
    CHECK(variable.get() == "yes");
    co_await task;
    CHECK(variable.get() == "yes");
  };
  loop.run_until_complete(main());
  CHECK(variable.get() == "nope");
}

TEST_CASE("a coroutine that is awaited runs in the context of the task", "[context][test_tasks.test_context_1]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  auto main = [&]() -> Coroutine<std::string> {
    co_await sets(variable, "the coroutine's");
    co_return variable.get();
  };
  CHECK(loop.run_until_complete(main()) == "the coroutine's");
  CHECK(variable.get() == "nope");
}

TEST_CASE("a task keeps its values across every await, whatever done callbacks set",
          "[context][test_tasks.test_context_2]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  auto main = [&]() -> Coroutine<void> {
    for (int j = 0; j < 2; ++j) {
      const Future<void> future(loop);
      future.add_done_callback([&](const Future<void>&) { variable.set("something else"); });
      variable.set("yes" + std::to_string(j));
      loop.call_soon([&] { future.set_result(); });
      co_await future;
      CHECK(variable.get() == "yes" + std::to_string(j));
      for (int i = 0; i < 3; ++i) {
        const std::string value = std::to_string(i) + "-" + std::to_string(j);
        variable.set(value);
        co_await asyncio::sleep(0.001);
        CHECK(variable.get() == value);
      }
    }
  };
  loop.run_until_complete(main());
  CHECK(variable.get() == "nope");
}

TEST_CASE("a hundred tasks each have their own value", "[context][test_tasks.test_context_3]") {
  TestLoop loop;
  ContextVar<int> variable("v", -1);
  int wrong = 0;
  auto sub = [&](int number) -> Coroutine<void> {
    for (int i = 0; i < 10; ++i) {
      variable.set(number + i);
      co_await asyncio::sleep(0.001 * ((number * 7 + i * 13) % 50 + 1));
      wrong += variable.get() != number + i;
    }
  };
  auto main = [&]() -> Coroutine<void> {
    std::vector<Coroutine<void>> subs;
    for (int i = 0; i < 100; ++i) subs.push_back(sub(i));
    co_await asyncio::gather(std::move(subs));
  };
  loop.run_until_complete(main());
  CHECK(wrong == 0);
  CHECK(variable.get() == -1);
}

TEST_CASE("each of two tasks that take turns computes with its own setting",
          "[context][test_asyncio.test_context.test_asyncio_task_decimal_context]") {
  TestLoop loop;
  ContextVar<int> digits("digits", 28);
  auto third = [&](double delay, int precision) -> Coroutine<std::string> {
    digits.set(precision);
    co_await asyncio::sleep(delay);
    co_return "0." + std::string(static_cast<std::size_t>(digits.get()), '3');
  };
  auto main = [&]() -> Coroutine<std::string> {
    auto [first, second] = co_await asyncio::gather(third(0.1, 3), third(0.2, 6));
    co_return first + " " + second;
  };
  CHECK(loop.run_until_complete(main()) == "0.333 0.333333");
  CHECK(digits.get() == 28);
}

TEST_CASE("tasks that are given the same context share it",
          "[context][test_tasks.test_context_4][test_tasks.test_context_5][test_tasks.test_context_6]") {
  TestLoop loop;
  ContextVar<std::string> variable("v");
  auto with_loop = [&]() -> Coroutine<Log> {
    const Context context = copy_context();
    Log log{value_in(context, variable)};
    const asyncio::TaskOptions options{.context = &context};
    for (const char* value : {"1", "2"}) {
      co_await loop.create_task(sets(variable, value), options);
      log.push_back(value_in(context, variable));
    }
    log.push_back(value_in(copy_context(), variable));
    co_return log;
  };
  auto with_function = [&]() -> Coroutine<Log> {
    const Context context = copy_context();
    Log log{value_in(context, variable)};
    for (const char* value : {"1", "2"}) {
      const Task<void> task = asyncio::create_task(sets(variable, value), {.context = &context});
      co_await task;
      log.push_back(value_in(context, variable));
    }
    log.push_back(value_in(copy_context(), variable));
    co_return log;
  };
  auto with_constructor = [&]() -> Coroutine<Log> {
    const Context context = copy_context();
    Log log{value_in(context, variable)};
    for (const char* value : {"1", "2"}) {
      const Task<void> task(sets(variable, value), loop, {.context = &context});
      co_await task;
      log.push_back(value_in(context, variable));
    }
    log.push_back(value_in(copy_context(), variable));
    co_return log;
  };
  const Log expected{"unset", "1", "2", "unset"};
  SECTION("loop.create_task") { CHECK(loop.run_until_complete(with_loop()) == expected); }
  SECTION("create_task") { CHECK(loop.run_until_complete(with_function()) == expected); }
  SECTION("the constructor") { CHECK(loop.run_until_complete(with_constructor()) == expected); }
}

TEST_CASE("two tasks that share a context see each other's values while both run",
          "[context][test_tasks.test_context_6]") {
  TestLoop loop;
  ContextVar<int> variable("v", 0);
  std::vector<int> seen;
  const Context context = copy_context();
  auto adds = [&](int summand) -> Coroutine<void> {
    for (int i = 0; i < 2; ++i) {
      variable.set(variable.get() + summand);
      seen.push_back(variable.get());
      co_await asyncio::sleep(0);
    }
  };
  loop.create_task(adds(1), {.context = &context});
  loop.create_task(adds(10), {.context = &context});
  run_briefly(loop);
  CHECK(seen == std::vector<int>{1, 11, 12, 22});
  CHECK(variable.get() == 0);
}

TEST_CASE("the context that was given to a task need not outlive the call", "[context][rule-7]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  std::optional<Task<std::string>> task;
  auto look = [&]() -> Coroutine<std::string> {
    co_await asyncio::sleep(1);
    co_return variable.get();
  };
  {
    Context context;
    context.run([&] { variable.set("given"); });
    task = loop.create_task(look(), {.context = &context});
  }
  CHECK(loop.run_until_complete(*task) == "given");
}

TEST_CASE("an eager first step runs in the task's context, not in its maker's", "[context][eager]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  auto sub = [&]() -> Coroutine<std::string> {
    const std::string before = variable.get();
    variable.set("the task's");
    co_await asyncio::sleep(0);
    co_return before + ", " + variable.get();
  };
  auto main = [&]() -> Coroutine<std::string> {
    variable.set("the maker's");
    const asyncio::TaskOptions options{.eager_start = true};
    const Task<std::string> task = loop.create_task(sub(), options);
    CHECK(variable.get() == "the maker's");
    co_return co_await task;
  };
  CHECK(loop.run_until_complete(main()) == "the maker's, the task's");
}

TEST_CASE("a done callback of a task runs in the context of who added it", "[context][test_tasks.test_context_2]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  std::string seen;
  const Task<void> task = loop.create_task(sets(variable, "the task's"));
  task.add_done_callback([&](const Future<void>&) { seen = variable.get(); });
  run_briefly(loop);
  CHECK(seen == "nope");
}

TEST_CASE("a task that is cancelled handles it in its own context", "[context][cancel]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  std::string seen;
  auto sub = [&]() -> Coroutine<void> {
    variable.set("the task's");
    try {
      co_await asyncio::sleep(10);
    } catch (const asyncio::CancelledError&) {
      seen = variable.get();
      throw;
    }
  };
  const Task<void> task = loop.create_task(sub());
  run_once(loop);
  task.cancel();
  run_briefly(loop);
  CHECK(task.cancelled());
  CHECK(seen == "the task's");
}

TEST_CASE("a context made current by Context::run is what a task made there inherits", "[context]") {
  TestLoop loop;
  ContextVar<std::string> variable("v", "nope");
  auto look = [&]() -> Coroutine<std::string> { co_return variable.get(); };
  Context context;
  const Task<std::string> task = context.run([&] {
    variable.set("inside");
    return loop.create_task(look());
  });
  CHECK(loop.run_until_complete(task) == "inside");
}

TEST_CASE("an async_with body shares the context of its task", "[context]") {
  TestLoop loop;
  ContextVar<int> variable("v", 0);
  asyncio::Lock lock;
  auto main = [&]() -> Coroutine<int> {
    co_await asyncio::async_with(lock, [&]() -> Coroutine<void> {
      variable.set(1);
      co_return;
    });
    co_return variable.get();
  };
  CHECK(loop.run_until_complete(main()) == 1);
}

// ---- what it costs, and its end ----------------------------------------------------------------------

TEST_CASE("where no variable was ever set, there is no context and handles carry none", "[context][cost]") {
  bool none_before = false, none_inside = false, none_after = false, snapshot_empty = false;
  std::thread([&] {  // no context exists in a new thread
    TestLoop loop;
    const ContextVar<int> unused("v", 7);
    auto main = [&]() -> Coroutine<void> {
      none_inside = asyncio::current_context == nullptr && unused.get() == 7;
      for (int i = 0; i < 3; ++i) co_await asyncio::sleep(0.001);
      none_inside = none_inside && asyncio::current_context == nullptr;
    };
    none_before = asyncio::current_context == nullptr;
    snapshot_empty = !asyncio::copy_current_context();
    for (int i = 0; i < 1000; ++i) loop.call_soon([] {});
    loop.run_until_complete(main());
    none_after = asyncio::current_context == nullptr;
  })
      .join();
  CHECK(none_before);
  CHECK(snapshot_empty);
  CHECK(none_inside);
  CHECK(none_after);
}

TEST_CASE("a million handles without a context variable hold a million null pointers", "[.big][context][cost]") {
  bool none = true;
  int ran = 0;
  std::thread([&] {
    TestLoop loop;
    for (int i = 0; i < 1000000; ++i) {
      loop.call_soon([&] {
        ++ran;
        none = none && !asyncio::current_context;
      });
    }
    run_once(loop);
  }).join();
  CHECK(ran == 1000000);
  CHECK(none);
}

TEST_CASE("a variable that is set in a task leaves the thread without a context", "[context][cost]") {
  bool none_after = false;
  std::thread([&] {
    TestLoop loop;
    ContextVar<std::string> variable("v");
    loop.run_until_complete(sets(variable, "spam"));
    none_after = asyncio::current_context == nullptr;
  }).join();
  CHECK(none_after);
}

TEST_CASE("snapshots share the values until one of them sets", "[context][cost]") {
  isolated([] {
    ContextVar<int> variable("v", 0);
    variable.set(1);
    const Context one = copy_context(), two = copy_context();
    CHECK(one.state()->values == two.state()->values);
    Context three = copy_context();
    three.run([&] { variable.set(2); });
    CHECK(three.state()->values != one.state()->values);
    CHECK(one.state()->values == two.state()->values);
  });
}

TEST_CASE("the contexts of what never ran go with the loop", "[context][rule-7]") {
  ContextVar<std::shared_ptr<Instance>> variable("v");
  {
    TestLoop loop;
    loop.catch_exceptions();
    const Future<void> never(loop);
    auto waits = [&]() -> Coroutine<void> { co_await never; };
    isolated([&] {
      variable.set(std::make_shared<Instance>());
      loop.call_later(1000, [] {});
      loop.call_soon([] {});
      loop.add_reader(5, [] {});
      loop.create_task(waits());
      never.add_done_callback([](const Future<void>&) {});
    });
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task that ended keeps no value alive longer than its last reference", "[context][rule-7]") {
  ContextVar<std::shared_ptr<Instance>> variable("v");
  TestLoop loop;
  {
    auto main = [&]() -> Coroutine<void> {
      variable.set(std::make_shared<Instance>());
      co_return;
    };
    const Task<void> task = loop.create_task(main());
    loop.run_until_complete(task);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a value whose destructor looks at its variable does no harm", "[context][rule-7]") {
  struct Looks {
    explicit Looks(ContextVar<std::shared_ptr<Looks>>& own, int& counter) : variable(own), destroyed(counter) {}
    Looks(const Looks&) = delete;
    Looks& operator=(const Looks&) = delete;
    ~Looks() {
      try {
        static_cast<void>(variable.get());
      } catch (const asyncio::KeyError&) {}
      ++destroyed;
    }
    ContextVar<std::shared_ptr<Looks>>& variable;
    int& destroyed;
  };
  int destroyed = 0;
  ContextVar<std::shared_ptr<Looks>> variable("v");
  isolated([&] {
    variable.set(std::make_shared<Looks>(variable, destroyed));
    variable.set(nullptr);
    CHECK(destroyed == 1);
    variable.set(std::make_shared<Looks>(variable, destroyed));
  });
  CHECK(destroyed == 2);
}

TEST_CASE("a context cannot be entered by a task that runs in it already") {
  TestLoop loop;
  asyncio::Context context;
  std::string text;
  const auto body = [&]() -> asyncio::Coroutine<void> {
    text = test::thrown([&] { return context.run([] { return 1; }); });
    co_return;
  };
  const asyncio::Task<void> task = loop.create_task(body, {.context = &context});
  loop.run_until_complete(task);
  CHECK_THAT(text, Catch::Matchers::Contains("cannot enter context"));
  CHECK(context.run([] { return 2; }) == 2);
}
