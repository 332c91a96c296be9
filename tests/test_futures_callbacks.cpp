// Done callbacks: who is told when a future is done, in which order, and who is told no more.
// Upstream counterpart: Lib/test/test_asyncio/test_futures.py, BaseFutureDoneCallbackTests.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

using asyncio::AnyFuture;
using asyncio::CallbackId;
using asyncio::Future;
using asyncio::RuntimeError;
using asyncio::Task;
using test::appends;
using test::AtEnd;
using test::await_and_log;
using test::Instance;
using test::Log;
using test::returns;
using test::TestLoop;

namespace {

int sum_of_results = 0;
int add_result(Future<int> future) { return sum_of_results += future.result(); }

}  // namespace

// ---- Done callbacks -------------------------------------------------------------------------------------

TEST_CASE("done callbacks run in the order in which they were added",
          "[futures][rule-3][test_futures.test_callbacks_invoked_on_set_result]") {
  TestLoop loop;
  Log log;
  const Future<std::string> future(loop);
  future.add_done_callback(appends(log, "first"));
  future.add_done_callback(appends(log, "second"));
  future.add_done_callback(appends(log, "third"));
  future.set_result("foo");
  test::run_once(loop);
  CHECK(log == Log{"first", "second", "third"});
  CHECK(future.result() == "foo");
}

TEST_CASE("set_result calls no callback itself: all run in the next iteration",
          "[futures][rule-3][test_futures.test_callbacks_invoked_on_set_result]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  loop.call_soon([&] {
    future.set_result(1);
    log.push_back("set");
  });
  test::run_once(loop);
  CHECK(log == Log{"set"});
  test::run_once(loop);
  CHECK(log == Log{"set", "done"});
}

TEST_CASE("done callbacks run when an exception is set",
          "[futures][rule-3][test_futures.test_callbacks_invoked_on_set_exception]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  const auto exception = std::make_exception_ptr(RuntimeError("boom"));
  future.set_exception(exception);
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"done"});
  CHECK((future.exception() == exception));
}

TEST_CASE("done callbacks run when the future is cancelled", "[futures][rule-3][test_futures.test_cancel]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  future.cancel();
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"done"});
}

TEST_CASE("a callback added to a done future runs in the next iteration, in order", "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "before"));
  future.set_result(1);
  future.add_done_callback(appends(log, "after"));
  future.add_done_callback(appends(log, "last"));
  CHECK(log.empty());
  test::run_once(loop);
  CHECK(log == Log{"before", "after", "last"});
}

TEST_CASE("a callback added by a done callback of the same future runs one iteration later",
          "[futures][rule-2][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback([&](const Future<int>& done) {
    log.push_back("outer");
    done.add_done_callback(appends(log, "inner"));
  });
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"outer"});
  test::run_once(loop);
  CHECK(log == Log{"outer", "inner"});
}

TEST_CASE("done callbacks stand in the queue where set_result put them", "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "done"));
  loop.call_soon([&] { log.push_back("earlier"); });
  future.set_result(1);
  loop.call_soon([&] { log.push_back("later"); });
  test::run_once(loop);
  CHECK(log == Log{"earlier", "done", "later"});
}

TEST_CASE("a done callback is given the future that is done", "[futures][api]") {
  TestLoop loop;
  const Future<int> future(loop);
  std::vector<AnyFuture> given;
  int value = 0;
  future.add_done_callback([&](Future<int> done) {
    given.push_back(done);
    value = done.result();
  });
  AnyFuture(future).add_done_callback([&](AnyFuture done) { given.push_back(done); });
  future.set_result(42);
  test::run_once(loop);
  CHECK((given == std::vector<AnyFuture>{future, future}));
  CHECK(value == 42);
}

TEST_CASE("a done callback of a task is given the task", "[futures][api]") {
  TestLoop loop;
  const Task<int> task = loop.create_task(returns(42));
  AnyFuture given;
  task.add_done_callback([&](const Future<int>& done) { given = done; });
  test::run_once(loop, 2);
  CHECK(given == task);
}

TEST_CASE("a done callback may be move-only and is called as an lvalue", "[futures][api]") {
  struct Callable {
    std::unique_ptr<Log*> log;
    void operator()(const Future<int>&) & { (*log)->push_back("lvalue"); }
    void operator()(const Future<int>&) && { (*log)->push_back("rvalue"); }
  };
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(Callable{std::make_unique<Log*>(&log)});
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"lvalue"});
}

TEST_CASE("a function is a done callback, and what it returns is ignored", "[futures][api]") {
  TestLoop loop;
  sum_of_results = 0;
  const Future<int> future(loop);
  future.add_done_callback(&add_result);
  future.set_result(3);
  test::run_once(loop);
  CHECK(sum_of_results == 3);
}

TEST_CASE("an exception in a done callback goes to the exception handler, and the others still run",
          "[futures][rule-6]") {
  TestLoop loop;
  const auto& caught = loop.catch_exceptions();
  Log log;
  const Future<int> future(loop);
  future.add_done_callback([](const auto&) { throw RuntimeError("in the callback"); });
  future.add_done_callback(appends(log, "next"));
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"next"});
  REQUIRE(caught.size() == 1);
  CHECK(asyncio::describe(caught[0].exception) == "std::runtime_error: in the callback");
}

TEST_CASE("a done callback and what it holds are destroyed once it has run", "[futures][rule-7]") {
  TestLoop loop;
  const Future<int> future(loop);
  future.add_done_callback([instance = Instance()](const auto&) {});
  CHECK(Instance::alive() == 1);
  future.set_result(1);
  CHECK(Instance::alive() == 1);
  test::run_once(loop);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a done callback and what it holds are destroyed with a future that is never done", "[futures][rule-7]") {
  TestLoop loop;
  {
    Future<int>(loop).add_done_callback([instance = Instance()](const auto&) {});
  }
  CHECK(Instance::alive() == 0);
}

// ---- remove_done_callback -------------------------------------------------------------------------------

TEST_CASE("the first of three callbacks can be removed, once",
          "[futures][test_futures.test_callbacks_remove_first_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const CallbackId first = future.add_done_callback(appends(log, "1"));
  future.add_done_callback(appends(log, "2"));
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(first) == 1);
  CHECK(future.remove_done_callback(first) == 0);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"2", "3"});
}

TEST_CASE("the first and the second of three callbacks can be removed",
          "[futures][test_futures.test_callbacks_remove_first_and_second_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const CallbackId first = future.add_done_callback(appends(log, "1"));
  const CallbackId second = future.add_done_callback(appends(log, "2"));
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(first) == 1);
  CHECK(future.remove_done_callback(second) == 1);
  CHECK(future.remove_done_callback(first) == 0);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"3"});
}

TEST_CASE("the last of three callbacks can be removed, and another takes its place",
          "[futures][test_futures.test_callbacks_remove_third_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "1"));
  future.add_done_callback(appends(log, "2"));
  const CallbackId third = future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(third) == 1);
  CHECK(future.remove_done_callback(third) == 0);
  future.add_done_callback(appends(log, "4"));
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"1", "2", "4"});
}

TEST_CASE("the same callable added twice are two callbacks, removed one by one",
          "[futures][test_futures.test_remove_done_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const auto callback = appends(log, "called");
  const CallbackId first = future.add_done_callback(callback);
  const CallbackId second = future.add_done_callback(callback);
  CHECK(first != second);
  CHECK(future.remove_done_callback(first) == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"called"});
}

TEST_CASE("all callbacks can be removed, and nothing is called", "[futures][test_futures.test_remove_done_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(future.add_done_callback(appends(log, "called")));
  for (const CallbackId id : ids) CHECK(future.remove_done_callback(id) == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log.empty());
}

TEST_CASE("the id of another future's callback removes nothing", "[futures][test_futures.test_remove_done_callback]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop), other(loop);
  const CallbackId foreign = other.add_done_callback(appends(log, "other"));
  const CallbackId own = future.add_done_callback(appends(log, "own"));
  CHECK(own != foreign);
  CHECK(future.remove_done_callback(foreign) == 0);
  CHECK(AnyFuture(future).remove_done_callback(own) == 1);
  future.set_result(1);
  other.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"other"});
}

TEST_CASE("a callback that is scheduled already cannot be removed any more",
          "[futures][test_futures.test_schedule_callbacks_list_mutation_1]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  future.add_done_callback([&](const Future<int>& done) {
    for (const CallbackId id : ids) CHECK(done.remove_done_callback(id) == 0);
  });
  ids.push_back(future.add_done_callback(appends(log, "1")));
  ids.push_back(future.add_done_callback(appends(log, "2")));
  future.set_result(1);
  CHECK(future.remove_done_callback(ids[0]) == 0);
  test::run_once(loop);
  CHECK(log == Log{"1", "2"});
}

TEST_CASE("a waiting task is not removed with the callbacks around it", "[futures][rule-3]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  const CallbackId before = future.add_done_callback(appends(log, "before"));
  const auto task = loop.create_task(await_and_log(future, log, "task"));
  test::run_once(loop);
  const CallbackId after = future.add_done_callback(appends(log, "after"));
  CHECK(future.remove_done_callback(before) == 1);
  CHECK(future.remove_done_callback(after) == 1);
  future.set_result(7);
  test::run_once(loop);
  CHECK(log == Log{"task=7"});
  CHECK(task.done());
}

TEST_CASE("a removed callback's destructor may add callbacks: they come after those that stay",
          "[futures][test_futures.test_schedule_callbacks_list_mutation_2]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "1"));
  AtEnd adds([&] { future.add_done_callback(appends(log, "added")); });
  const CallbackId removed = future.add_done_callback([adds = std::move(adds)](const auto&) {});
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(removed) == 1);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"1", "3", "added"});
}

TEST_CASE("a removed callback's destructor may remove other callbacks",
          "[futures][test_futures.test_remove_done_callbacks_list_mutation]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  std::size_t removed_inside = 0;
  ids.push_back(future.add_done_callback(appends(log, "1")));
  AtEnd removes([&] { removed_inside = future.remove_done_callback(ids[0]) + future.remove_done_callback(ids[1]); });
  const CallbackId removed = future.add_done_callback([removes = std::move(removes)](const auto&) {});
  ids.push_back(future.add_done_callback(appends(log, "3")));
  future.add_done_callback(appends(log, "4"));
  CHECK(future.remove_done_callback(removed) == 1);
  CHECK(removed_inside == 2);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log == Log{"4"});
}

TEST_CASE("a removed callback's destructor may make the future done: the others are still called",
          "[futures][rule-3][test_futures.test_remove_done_callbacks_list_mutation]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  future.add_done_callback(appends(log, "1"));
  AtEnd finishes([&] { future.set_result(1); });
  const CallbackId removed = future.add_done_callback([finishes = std::move(finishes)](const auto&) {});
  future.add_done_callback(appends(log, "3"));
  CHECK(future.remove_done_callback(removed) == 1);
  test::run_once(loop);
  CHECK(log == Log{"1", "3"});
}

TEST_CASE("the callbacks of a hundred removals that each remove another are all gone",
          "[futures][test_futures.test_remove_done_callbacks_list_clear]") {
  TestLoop loop;
  Log log;
  const Future<int> future(loop);
  std::vector<CallbackId> ids;
  std::size_t next = 1;
  for (int i = 0; i < 100; ++i) {
    AtEnd removes([&] {
      if (next < ids.size()) future.remove_done_callback(ids[next++]);
    });
    ids.push_back(
        future.add_done_callback([&log, removes = std::move(removes)](const auto&) { log.push_back("called"); }));
  }
  future.remove_done_callback(ids[0]);
  future.set_result(1);
  test::run_once(loop);
  CHECK(log.empty());
}
