// What an Instrument is told, and when. Upstream has no counterpart; trio's instruments have some of the same rules.
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::AnyFuture;
using asyncio::AnyTask;
using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::Handle;
using asyncio::Instrument;
using test::Log;
using test::run_once;
using test::TestLoop;

std::function<void(EventLoop&)> on_new_loop;

std::string name_of(const AnyTask& task) { return task ? task.get_name() : "-"; }

/// The iterations: what the loop was willing to wait, and how much happened.
struct Iterations : Instrument {
  void before_select(std::optional<double> timeout) override {
    lines.push_back(timeout ? "wait " + std::to_string(*timeout).substr(0, 3) : "wait");
  }
  void after_select(std::span<const selectors::SelectorEvent> events) override {
    lines.push_back(std::to_string(events.size()) + " events");
  }
  Log lines;
};

/// The callbacks, named 1, 2 ... in the order in which they were first seen.
struct Callbacks : Instrument {
  void handle_scheduled(const Handle& handle, const Handle& by) override {
    lines.push_back("scheduled " + name(handle) + " by " + (by ? name(by) : "-"));
  }
  void before_run(const Handle& handle) override { lines.push_back("run " + name(handle)); }
  void after_run(const Handle& handle) override { lines.push_back("ran " + name(handle)); }
  std::string name(const Handle& handle) {
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (seen[i] == handle) return std::to_string(i + 1);
    }
    seen.push_back(handle);
    return std::to_string(seen.size());
  }
  std::vector<Handle> seen;
  Log lines;
};

/// The tasks, by their names.
struct Tasks : Instrument {
  void task_created(const AnyTask& task, const AnyTask& by) override {
    lines.push_back(name_of(task) + " created by " + name_of(by));
  }
  void task_step(const AnyTask& task) override { lines.push_back(name_of(task) + " step"); }
  void task_waits(const AnyTask& task, const AnyFuture& on) override {
    lines.push_back(name_of(task) + " waits" + (on ? " on " + on.repr() : ""));
  }
  void task_woken(const AnyTask& task, const AnyFuture& by) override {
    lines.push_back(name_of(task) + " woken by " + by.repr());
  }
  void task_done(const AnyTask& task) override {
    lines.push_back(name_of(task) + (task.cancelled() ? " cancelled" : task.done() ? " done" : " pending?"));
  }
  Log lines;
};

struct Fails : Instrument {
  void before_run(const Handle&) override {
    ++calls;
    throw asyncio::ValueError("pen is broken");
  }
  int calls = 0;
};

void nothing() {}
Coroutine<void> returns() { co_return; }
Coroutine<void> waits(Future<void> future) { co_await future; }

}  // namespace

void asyncio::loop_created(EventLoop& loop) {
  if (on_new_loop) on_new_loop(loop);
}

TEST_CASE("an instrument is told the timeout of every select, and how many events there were", "[instruments]") {
  TestLoop loop;
  Iterations watching;
  loop.add_reader(200, nothing);
  loop.call_later(1.5, [&] { loop.stop(); });
  loop.call_soon([&] { loop.selector.make_ready(200, selectors::EVENT_READ); });
  loop.add_instrument(watching);
  loop.run_forever();
  CHECK(watching.lines == Log{"wait 0.0", "0 events", "wait 1.5", "1 events", "wait 1.5", "0 events"});
}

TEST_CASE("before_select is told nullopt when there is neither a callback nor a timer", "[instruments]") {
  TestLoop loop;
  Iterations watching;
  loop.add_reader(200, [&] { loop.stop(); });
  loop.selector.make_ready(200, selectors::EVENT_READ);
  loop.add_instrument(watching);
  loop.run_forever();
  CHECK(watching.lines == Log{"wait", "1 events"});
}

TEST_CASE("an instrument is told who scheduled a callback, and when it runs", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  loop.add_instrument(watching);
  loop.call_soon([&] { loop.call_soon(nothing); });
  run_once(loop, 2);
  CHECK(watching.lines == Log{"scheduled 1 by -", "run 1", "scheduled 2 by 1", "ran 1", "run 2", "ran 2"});
}

TEST_CASE("a timer is scheduled when it is made, and not again when it is due", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  loop.add_instrument(watching);
  loop.call_later(1, nothing);
  run_once(loop, 1);
  CHECK(watching.lines == Log{"scheduled 1 by -"});
  loop.advance_time(1);
  run_once(loop, 1);
  CHECK(watching.lines == Log{"scheduled 1 by -", "run 1", "ran 1"});
}

TEST_CASE("a reader is scheduled by nobody, each time that its descriptor is ready", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  loop.add_reader(200, nothing);
  loop.add_instrument(watching);
  for (int i = 0; i < 2; ++i) {
    loop.selector.make_ready(200, selectors::EVENT_READ);
    run_once(loop);
  }
  CHECK(watching.lines == Log{"scheduled 1 by -", "run 1", "ran 1", "scheduled 1 by -", "run 1", "ran 1"});
}

TEST_CASE("what another thread calls is scheduled by nobody, when the loop takes it over", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  std::thread([&] { loop.call_soon_threadsafe(nothing); }).join();
  loop.add_instrument(watching);
  run_once(loop);
  CHECK(watching.lines == Log{"scheduled 1 by -", "run 1", "ran 1"});
}

TEST_CASE("a done callback is scheduled by whoever sets the result", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  const Future<void> future(loop);
  future.add_done_callback([](const Future<void>&) {});
  loop.add_instrument(watching);
  loop.call_soon([future] { future.set_result(); });
  run_once(loop, 2);
  CHECK(watching.lines == Log{"scheduled 1 by -", "run 1", "scheduled 2 by 1", "ran 1", "run 2", "ran 2"});
}

TEST_CASE("after_run is told also of a callback that raises, and of one that leaves the loop", "[instruments]") {
  TestLoop loop;
  loop.catch_exceptions();
  Callbacks watching;
  loop.call_soon([] { throw asyncio::ValueError("oops"); });
  loop.call_soon([] { throw asyncio::KeyboardInterrupt(); });
  loop.add_instrument(watching);
  CHECK_THROWS_AS(run_once(loop), asyncio::KeyboardInterrupt);
  CHECK(watching.lines == Log{"run 1", "ran 1", "run 2", "ran 2"});
}

TEST_CASE("an instrument is not told of a callback that was cancelled", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  loop.call_soon(nothing).cancel();
  loop.add_instrument(watching);
  run_once(loop);
  CHECK(watching.lines.empty());
}

TEST_CASE("in debug mode an instrument is told the same, and slow callbacks are reported, too", "[instruments]") {
  TestLoop loop;
  loop.set_debug(true);
  Callbacks watching;
  loop.add_instrument(watching);
  loop.call_soon([&] { loop.advance_time(0.5); });
  const test::CaptureCerr captured;
  run_once(loop);
  CHECK(watching.lines == Log{"scheduled 1 by -", "run 1", "ran 1"});
  CHECK(captured.text().find("took 0.500 seconds") != std::string::npos);
}

TEST_CASE("the life of a task: created, step, waits, woken, step, done", "[instruments]") {
  TestLoop loop;
  Tasks watching;
  loop.add_instrument(watching);
  const Future<void> future(loop);
  loop.create_task(waits(future), {.name = "t"});
  run_once(loop);
  future.set_result();
  run_once(loop);
  CHECK(watching.lines == Log{"t created by -", "t step", "t waits on <Future pending>", "t woken by <Future finished>",
                              "t step", "t done"});
}

TEST_CASE("a task is created by the task that runs, which waits on it and is woken by it", "[instruments]") {
  TestLoop loop;
  Tasks watching;
  const auto child = []() -> Coroutine<void> { co_await asyncio::sleep(0); };
  const auto parent = [&]() -> Coroutine<void> { co_await asyncio::create_task(child(), {.name = "child"}); };
  loop.create_task(parent(), {.name = "parent"});
  loop.add_instrument(watching);
  run_once(loop, 4);
  REQUIRE(watching.lines.size() == 10);
  CHECK(watching.lines[0] == "parent step");
  CHECK(watching.lines[1] == "child created by parent");
  CHECK(watching.lines[2].starts_with("parent waits on <Task pending name='child'"));
  CHECK(watching.lines[3] == "child step");
  CHECK(watching.lines[4] == "child waits");  // a bare yield: on nothing
  CHECK(watching.lines[5] == "child step");
  CHECK(watching.lines[6].starts_with("parent woken by <Task finished name='child'"));
  CHECK(watching.lines[7] == "child done");
  CHECK(watching.lines[8] == "parent step");
  CHECK(watching.lines[9] == "parent done");
}

TEST_CASE("an eager task takes its first step, and may be done, where it is created", "[instruments]") {
  TestLoop loop;
  Tasks watching;
  loop.add_instrument(watching);
  loop.call_soon([&] { loop.create_task(returns(), {.name = "t", .eager_start = true}); });
  run_once(loop);
  CHECK(watching.lines == Log{"t created by -", "t step", "t done"});
}

TEST_CASE("a cancelled task is woken by what it waited for", "[instruments]") {
  TestLoop loop;
  Tasks watching;
  const asyncio::Task<void> task = loop.create_task(waits(Future<void>(loop)), {.name = "t"});
  run_once(loop);
  loop.add_instrument(watching);
  task.cancel();
  run_once(loop);
  CHECK(watching.lines == Log{"t woken by <Future cancelled>", "t step", "t cancelled"});
}

TEST_CASE("a task that awaits itself, or a future of another loop, does not wait", "[instruments]") {
  TestLoop loop, other;
  Tasks watching;
  loop.add_instrument(watching);
  const asyncio::Task<void> task = loop.create_task(waits(Future<void>(other)), {.name = "t"});
  run_once(loop, 2);
  CHECK(watching.lines == Log{"t created by -", "t step", "t step", "t done"});
  CHECK(task.exception());
}

TEST_CASE("an instrument is told of the tasks that end with their loop", "[instruments][rule-7]") {
  Tasks watching;
  {
    TestLoop loop;
    loop.catch_exceptions();
    loop.create_task(waits(Future<void>(loop)), {.name = "t"});
    run_once(loop);
    loop.add_instrument(watching);
  }
  CHECK(watching.lines == Log{"t cancelled"});
}

TEST_CASE("an instrument that throws is removed, and the exception handler told", "[instruments]") {
  TestLoop loop;
  loop.catch_exceptions();
  Fails fails;
  Callbacks watching;
  loop.add_instrument(fails);
  loop.add_instrument(watching);
  int ran = 0;
  loop.call_soon([&] { ++ran; });
  loop.call_soon([&] { ++ran; });
  run_once(loop);
  CHECK(ran == 2);
  CHECK(fails.calls == 1);
  CHECK(watching.lines.back() == "ran 2");
  REQUIRE(loop.caught.size() == 1);
  CHECK(loop.caught[0].message == "Exception in an instrument, which was removed");
  CHECK(asyncio::describe(loop.caught[0].exception) == "std::invalid_argument: pen is broken");
}

TEST_CASE("an exception handler that exits cannot do so out of an instrument's end", "[instruments]") {
  TestLoop loop;
  loop.set_exception_handler([](EventLoop&, const asyncio::ExceptionContext&) { throw asyncio::SystemExit(3); });
  Fails fails;
  loop.add_instrument(fails);
  int ran = 0;
  loop.call_soon([&] { ++ran; });
  CHECK_NOTHROW(run_once(loop));
  CHECK(ran == 1);
}

TEST_CASE("an instrument may remove itself, or another, while it is told", "[instruments]") {
  TestLoop loop;
  struct Removes : Instrument {
    Removes(TestLoop& watched, Instrument& removed) : loop(watched), other(removed) {}
    void before_run(const Handle&) override {
      loop.remove_instrument(*this);
      loop.remove_instrument(other);
    }
    TestLoop& loop;
    Instrument& other;
  };
  Callbacks other;
  Removes removes(loop, other);
  loop.call_soon(nothing);
  loop.add_instrument(removes);
  loop.add_instrument(other);
  run_once(loop);
  CHECK(other.lines.empty());
}

TEST_CASE("an instrument that removes itself and then throws is reported, and not removed again", "[instruments]") {
  TestLoop loop;
  loop.catch_exceptions();
  struct Leaves : Instrument {
    explicit Leaves(TestLoop& watched) : loop(watched) {}
    void before_run(const Handle&) override {
      loop.remove_instrument(*this);
      throw asyncio::ValueError("gone");
    }
    TestLoop& loop;
  } leaves(loop);
  loop.call_soon(nothing);
  loop.add_instrument(leaves);
  run_once(loop);
  REQUIRE(loop.caught.size() == 1);
  CHECK(asyncio::describe(loop.caught[0].exception) == "std::invalid_argument: gone");
}

TEST_CASE("an instrument does not take the place of another observer", "[instruments]") {
  TestLoop loop;
  loop.set_observer(std::make_unique<asyncio::LoopObserver>());
  Callbacks watching;
  CHECK(test::thrown([&] { loop.add_instrument(watching); }) ==
        "std::runtime_error: the loop has an observer that is no list of instruments");
}

TEST_CASE("what an instrument schedules is not told, and runs", "[instruments]") {
  TestLoop loop;
  struct Schedules : Callbacks {
    explicit Schedules(TestLoop& watched) : loop(watched) {}
    void handle_scheduled(const Handle&, const Handle&) override {
      ++told;
      loop.call_soon([this] { ++ran; });
    }
    TestLoop& loop;
    int told = 0, ran = 0;
  };
  Schedules watching(loop);
  loop.add_instrument(watching);
  loop.call_soon(nothing);
  run_once(loop, 3);
  CHECK(watching.told == 1);
  CHECK(watching.ran == 1);
}

TEST_CASE("what an instrument schedules takes no other callback's place in the queue", "[instruments]") {
  struct Schedules : Instrument {
    explicit Schedules(TestLoop& watched) : loop(watched) {}
    void handle_scheduled(const Handle&, const Handle&) override {
      for (int i = 0; i < 2; ++i) loop.call_soon([this] { ++ran; });
      scheduled += 2;
    }
    TestLoop& loop;
    int scheduled = 0, ran = 0;
  };
  for (int queued = 0; queued < 70; ++queued) {
    TestLoop loop;
    int ran = 0;
    const Future<void> future(loop);
    future.add_done_callback([&](const AnyFuture&) { ++ran; });
    for (int i = 0; i < queued; ++i) loop.call_soon([&] { ++ran; });
    std::thread([&] { loop.call_soon_threadsafe([&] { ++ran; }); }).join();
    Schedules watching(loop);
    loop.add_instrument(watching);
    future.set_result();
    loop.call_soon([&] { ++ran; });
    run_once(loop);
    run_once(loop);
    CHECK(ran == queued + 3);
    CHECK(watching.scheduled == 6);
    CHECK(watching.ran == 6);
  }
}

TEST_CASE("an instrument added twice is told once", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  loop.call_soon(nothing);
  loop.add_instrument(watching);
  loop.add_instrument(watching);
  run_once(loop);
  CHECK(watching.lines == Log{"run 1", "ran 1"});
}

TEST_CASE("an instrument watches one loop at a time", "[instruments]") {
  TestLoop other;
  Callbacks watching;
  {
    TestLoop loop;
    loop.add_instrument(watching);
    CHECK_THROWS_AS(other.add_instrument(watching), asyncio::ValueError);
    CHECK_THROWS_AS(other.remove_instrument(watching), asyncio::KeyError);
  }
  other.add_instrument(watching);  // the loop that it watched is gone
  other.call_soon(nothing);
  CHECK(watching.lines == Log{"scheduled 1 by -"});
}

TEST_CASE("an instrument that was removed is told no more, and removing it again is KeyError", "[instruments]") {
  TestLoop loop;
  Callbacks watching;
  loop.add_instrument(watching);
  loop.remove_instrument(watching);
  loop.call_soon(nothing);
  CHECK(watching.lines.empty());
  CHECK_THROWS_AS(loop.remove_instrument(watching), asyncio::KeyError);
}

TEST_CASE("add_instrument on a closed loop is RuntimeError", "[instruments]") {
  TestLoop loop;
  loop.close();
  Callbacks watching;
  CHECK_THROWS_AS(loop.add_instrument(watching), asyncio::RuntimeError);
}

TEST_CASE("an instrument that is destroyed before its loop is removed", "[instruments][rule-7]") {
  TestLoop loop;
  {
    Callbacks watching;
    loop.add_instrument(watching);
  }
  int ran = 0;
  loop.call_soon([&] { ++ran; });
  run_once(loop);
  CHECK(ran == 1);
}

TEST_CASE("a task may have an instrument of its own stack, also under run()", "[instruments]") {
  const auto main = []() -> Coroutine<int> {
    Tasks watching;
    asyncio::get_running_loop().add_instrument(watching);
    co_await asyncio::create_task(returns(), {.name = "t"});
    co_return static_cast<int>(watching.lines.size());
  };
  CHECK(asyncio::run(main()) == 6);  // created, main waits, step, main woken, done, main step
}

TEST_CASE("the handles that an instrument keeps may outlive their loop", "[instruments][rule-7]") {
  Callbacks watching;
  {
    TestLoop loop;
    loop.catch_exceptions();
    loop.add_instrument(watching);
    loop.create_task(waits(Future<void>(loop)));
    loop.call_later(3, nothing);
    run_once(loop);
  }
  REQUIRE(watching.seen.size() == 2);
  CHECK(watching.seen[0].repr().starts_with("<Task cancelled"));
}

TEST_CASE("inspect shows the ready queue, the timers as a heap, and the readers and writers", "[instruments]") {
  TestLoop loop;
  const Handle soon = loop.call_soon(nothing);
  loop.call_later(3, nothing);
  loop.call_later(1, nothing);
  const Handle reader = loop.add_reader(100, nothing);
  const auto& [ready, timers, descriptors] = loop.inspect();
  REQUIRE(ready.size() == 1);
  CHECK(Handle(ready[0]) == soon);
  REQUIRE(timers.size() == 2);
  CHECK(timers[0].when == 1);
  CHECK(timers[1].when == 3);
  CHECK(Handle(descriptors.at(100).reader) == reader);
  CHECK_FALSE(descriptors.at(100).writer);
  run_once(loop);
  CHECK(ready.empty());
}

TEST_CASE("a program that defines loop_created is told of every new loop, before it runs", "[instruments]") {
  std::vector<bool> were_running;
  on_new_loop = [&](EventLoop& loop) { were_running.push_back(loop.is_running()); };
  { const TestLoop made_here; }
  asyncio::run(test::nothing());
  on_new_loop = nullptr;
  CHECK(were_running == std::vector<bool>{false, false});
}
