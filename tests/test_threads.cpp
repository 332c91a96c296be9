// Threads and processes beside the loop, and calls from other threads.
// Upstream counterpart: Lib/test/test_asyncio/test_threads.py, and what test_base_events.py, test_tasks.py and
// Lib/test/test_concurrent_futures have of executors.
#include <netdb.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

namespace {

using asyncio::Coroutine;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::get_running_loop;
using asyncio::ProcessPoolExecutor;
using asyncio::Task;
using asyncio::ThreadPoolExecutor;
using test::has_children;
using test::Instance;
using test::iterations;
using test::run_io;
using test::thrown;
using test::thrown_by;

/// Threads wait at it until it is opened.
class Gate {
 public:
  ~Gate() { open(); }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  void wait_for_waiting(int n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= n; });
  }
  int waiting() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

/// What awaiting the future throws.
template <class T> Coroutine<T> result_of(Future<T> future) { co_return co_await std::move(future); }

/// Tells what its epoll sees of the loop's self-pipe, which is the first that a loop registers.
class WatchedSelector : public selectors::DefaultSelector {
 public:
  selectors::SelectorKey register_(int fd, unsigned events, void* data) override {
    if (self_pipe_ < 0) self_pipe_ = fd;
    return selectors::DefaultSelector::register_(fd, events, data);
  }
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
    const auto events = selectors::DefaultSelector::select(timeout);
    for (const selectors::SelectorEvent& event : events) {
      int bytes = 0;
      if (event.key.fd == self_pipe_ && ::ioctl(self_pipe_, FIONREAD, &bytes) == 0) wakeup_bytes += bytes;
    }
    return events;
  }
  int wakeup_bytes = 0;

 private:
  int self_pipe_ = -1;
};

struct Point {
  int x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};

}  // namespace

// ---- to_thread ---------------------------------------------------------------------------------------

TEST_CASE("to_thread gives the function's result", "[threads][test_threads.test_to_thread]") {
  CHECK(run_io([] { return asyncio::to_thread([](int a, int b) { return a + b; }, 40, 2); }) == 42);
}

TEST_CASE("to_thread raises what the function throws", "[threads][test_threads.test_to_thread_exception]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto fails = [] { throw asyncio::RuntimeError("test"); };
    co_return co_await thrown_by(asyncio::to_thread(fails));
  };
  CHECK(run_io(main) == "std::runtime_error: test");
}

TEST_CASE("to_thread calls the function once, in another thread", "[threads][test_threads.test_to_thread_once]") {
  int calls = 0;
  std::thread::id thread;
  run_io([&] {
    return asyncio::to_thread([&] {
      ++calls;
      thread = std::this_thread::get_id();
    });
  });
  CHECK(calls == 1);
  CHECK(thread != std::this_thread::get_id());
}

TEST_CASE("to_thread calls nothing before it is awaited", "[threads][test_threads.test_to_thread_once]") {
  const auto main = []() -> Coroutine<int> {
    std::atomic<int> calls = 0;
    {
      const auto never_awaited = asyncio::to_thread([&] { ++calls; });
    }
    co_await iterations(3);
    co_return calls.load();
  };
  const test::CaptureCerr captured;
  CHECK(run_io(main) == 0);
}

TEST_CASE("many to_thread run at once", "[threads][test_threads.test_to_thread_concurrent]") {
  std::atomic<int> calls = 0;
  const auto main = [&]() -> Coroutine<void> {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(asyncio::create_task(asyncio::to_thread([&] { ++calls; })));
    for (const Task<void>& task : tasks) co_await task;
  };
  run_io(main);
  CHECK(calls == 10);
}

TEST_CASE("to_thread passes arguments, move-only ones too", "[threads][test_threads.test_to_thread_args_kwargs]") {
  const auto main = []() -> Coroutine<std::string> {
    auto number = std::make_unique<int>(7);
    const auto join = [](const std::string& text, const std::unique_ptr<int>& n) { return text + std::to_string(*n); };
    std::string text = "test";
    co_return co_await asyncio::to_thread(join, std::move(text), std::move(number));
  };
  CHECK(run_io(main) == "test7");
}

TEST_CASE("to_thread sees the caller's context variables, and its changes stay its own",
          "[threads][test_threads.test_to_thread_contextvars]") {
  static asyncio::ContextVar<std::string> variable("variable");
  const auto main = []() -> Coroutine<std::string> {
    variable.set("parrot");
    const std::string seen = co_await asyncio::to_thread([] {
      std::string before = variable.get();
      variable.set("changed");
      return before;
    });
    co_return seen + " " + variable.get();
  };
  CHECK(run_io(main) == "parrot parrot");
}

TEST_CASE("the loop goes on while a thread works", "[threads][test_threads.test_to_thread_concurrent]") {
  const auto main = []() -> Coroutine<int> {
    Gate gate;
    const Task<void> working = asyncio::create_task(asyncio::to_thread([&] { gate.wait(); }));
    int turns = 0;
    while (gate.waiting() == 0) {
      co_await asyncio::sleep(0);
      ++turns;
    }
    co_await iterations(5);
    CHECK_FALSE(working.done());
    gate.open();
    co_await working;
    co_return turns;
  };
  CHECK(run_io(main) >= 1);
}

// ---- run_in_executor ---------------------------------------------------------------------------------

TEST_CASE("run_in_executor calls with arguments and gives the result", "[threads][test_events.test_run_in_executor]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto run = [](const std::string& text, int n) { return text + std::to_string(n); };
    co_return co_await get_running_loop().run_in_executor(nullptr, run, "yo", 5);
  };
  CHECK(run_io(main) == "yo5");
}

TEST_CASE("run_in_executor raises what the function throws", "[threads][test_events.test_run_in_executor]") {
  const auto main = []() -> Coroutine<std::string> {
    const auto fails = []() -> int { throw asyncio::KeyError("spam"); };
    co_return co_await thrown_by(result_of(get_running_loop().run_in_executor(nullptr, fails)));
  };
  CHECK(run_io(main) == "std::out_of_range: spam");
}

TEST_CASE("results and arguments of run_in_executor may be move-only", "[threads][test_events.test_run_in_executor]") {
  const auto main = []() -> Coroutine<int> {
    auto argument = std::make_unique<int>(20);
    const auto doubled = [](std::unique_ptr<int>& n) { return std::make_unique<int>(2 * *n); };
    const std::unique_ptr<int> result =
        co_await get_running_loop().run_in_executor(nullptr, doubled, std::move(argument));
    co_return *result;
  };
  CHECK(run_io(main) == 40);
}

TEST_CASE("what a function captured is freed in the thread that ran it",
          "[threads][test_events.test_run_in_executor]") {
  struct Tells {
    explicit Tells(std::thread::id* where) : where(where) {}
    Tells(Tells&& other) noexcept : where(std::exchange(other.where, nullptr)) {}
    ~Tells() {
      if (where) *where = std::this_thread::get_id();
    }
    std::thread::id* where;
  };
  const auto main = []() -> Coroutine<void> {
    std::thread::id freed_in, ran_in;
    auto call = [tells = Tells(&freed_in), &ran_in] { ran_in = std::this_thread::get_id(); };
    co_await get_running_loop().run_in_executor(nullptr, std::move(call));
    CHECK(freed_in == ran_in);
    CHECK(ran_in != std::this_thread::get_id());
  };
  run_io(main);
}

TEST_CASE("a call that is cancelled before it starts never runs",
          "[threads][test_events.test_run_in_executor_cancel]") {
  std::atomic<int> calls = 0;
  const auto main = [&]() -> Coroutine<void> {
    ThreadPoolExecutor one(1);
    Gate gate;
    EventLoop& loop = get_running_loop();
    const Future<void> running = loop.run_in_executor(&one, [&] { gate.wait(); });
    const Future<void> waiting = loop.run_in_executor(&one, [&] { ++calls; });
    gate.wait_for_waiting(1);
    CHECK(waiting.cancel());
    co_await iterations(2);
    gate.open();
    co_await running;
    CHECK(waiting.cancelled());
    one.shutdown();
  };
  run_io(main);
  CHECK(calls == 0);
}

TEST_CASE("a call that is cancelled while it runs goes on, and its result is dropped",
          "[threads][test_events.test_run_in_executor_cancel]") {
  const auto token = std::make_shared<int>(0);
  std::atomic<int> calls = 0;
  test::Contexts caught;
  const auto main = [&]() -> Coroutine<void> {
    test::catch_exceptions(caught);
    Gate gate;
    const auto call = [&] {
      gate.wait();
      ++calls;
      return token;
    };
    const auto running = get_running_loop().run_in_executor(nullptr, call);
    gate.wait_for_waiting(1);
    running.cancel();
    const std::string error = co_await thrown_by(result_of(running));
    CHECK(error == "asyncio::CancelledError");
    gate.open();
    co_await get_running_loop().shutdown_default_executor();
  };
  run_io(main);
  CHECK(calls == 1);
  CHECK(caught.empty());
  CHECK(token.use_count() == 1);
}

TEST_CASE("a loop may be closed while its call runs", "[threads][test_events.test_run_in_executor_cancel]") {
  const auto token = std::make_shared<int>(0);
  Gate gate;
  {
    ThreadPoolExecutor executor(2);
    std::optional<Future<std::shared_ptr<int>>> running;
    {
      EventLoop loop;
      const auto call = [&gate, token] {
        gate.wait();
        return token;
      };
      running = loop.run_in_executor(&executor, call);
      for (int i = 0; i < 5; ++i) loop.run_in_executor(&executor, call);
      gate.wait_for_waiting(2);
      loop.close();
    }
    gate.open();
    executor.shutdown();
    CHECK_FALSE(running->done());
  }
  CHECK(token.use_count() == 1);
}

TEST_CASE("what the move of a result into its future throws is the future's exception", "[threads][rule-8]") {
  struct SecondMoveThrows {
    explicit SecondMoveThrows(int* counter) : moves(counter) {}
    SecondMoveThrows(SecondMoveThrows&& other) : moves(other.moves) {
      if (++*moves == 2) throw asyncio::ValueError("no move");
    }
    SecondMoveThrows& operator=(SecondMoveThrows&&) = default;
    int* moves;
  };
  int moves = 0;
  const auto main = [&]() -> Coroutine<void> {
    const auto future = get_running_loop().run_in_executor(nullptr, [&] { return SecondMoveThrows(&moves); });
    const std::vector<asyncio::AnyFuture> futures{future};
    co_await asyncio::wait(futures, {.timeout = 5.0});
    REQUIRE(future.done());
    CHECK(asyncio::holds<asyncio::ValueError>(future.exception()));
  };
  run_io(main);
}

TEST_CASE("a call whose future nobody holds still runs", "[threads][test_events.test_run_in_executor]") {
  std::atomic<int> calls = 0;
  const auto main = [&]() -> Coroutine<void> {
    for (int i = 0; i < 10; ++i) get_running_loop().run_in_executor(nullptr, [&] { ++calls; });
    co_await get_running_loop().shutdown_default_executor();
  };
  run_io(main);
  CHECK(calls == 10);
}

TEST_CASE("run waits for the threads of the default executor",
          "[threads][test_base_events.test_shutdown_default_executor_timeout]") {
  const std::ptrdiff_t threads = test::thread_count();
  std::atomic<int> calls = 0;
  const auto main = [&]() -> Coroutine<void> {
    for (int i = 0; i < 50; ++i) get_running_loop().run_in_executor(nullptr, [&] { ++calls; });
    co_return;
  };
  run_io(main);
  CHECK(calls == 50);
  if (!test::TSAN) CHECK(test::thread_count() == threads);
}

TEST_CASE("the default executor takes nothing after its shutdown", "[threads][test_events.test_run_in_executor]") {
  const auto main = []() -> Coroutine<std::string> {
    EventLoop& loop = get_running_loop();
    co_await asyncio::to_thread([] {});
    co_await loop.shutdown_default_executor();
    co_return thrown([&] { return loop.run_in_executor(nullptr, [] { return 1; }); });
  };
  CHECK(run_io(main) == "std::runtime_error: Executor shutdown has been called");
}

TEST_CASE("shutdown_default_executor without an executor returns, and may be called twice",
          "[threads][test_base_events.test_shutdown_default_executor_timeout]") {
  const auto main = []() -> Coroutine<void> {
    co_await get_running_loop().shutdown_default_executor();
    co_await get_running_loop().shutdown_default_executor();
  };
  run_io(main);
}

TEST_CASE("run_in_executor on a closed loop is an error, and frees the call",
          "[threads][test_base_events.test_run_in_executor]") {
  const int alive = Instance::alive();
  EventLoop loop;
  loop.close();
  CHECK(thrown([&] { return loop.run_in_executor(nullptr, [instance = Instance()] { return 1; }); }) ==
        "std::runtime_error: Event loop is closed");
  CHECK(Instance::alive() == alive);
}

TEST_CASE("set_default_executor says where calls run", "[threads][test_base_events.test_set_default_executor]") {
  class Counting : public ThreadPoolExecutor {
   public:
    explicit Counting(int& submitted) : ThreadPoolExecutor(1), submitted_(submitted) {}
    void submit(std::shared_ptr<asyncio::WorkItem> item) override {
      ++submitted_;
      ThreadPoolExecutor::submit(std::move(item));
    }

   private:
    int& submitted_;
  };
  int submitted = 0;
  const auto main = [&]() -> Coroutine<int> {
    get_running_loop().set_default_executor(std::make_unique<Counting>(submitted));
    const int a = co_await asyncio::to_thread([] { return 1; });
    const int b = co_await get_running_loop().run_in_executor(nullptr, [] { return 2; });
    co_return a + b;
  };
  CHECK(run_io(main) == 3);
  CHECK(submitted == 2);
}

TEST_CASE("a call that its executor refuses leaves nothing behind, also while the loop is open", "[threads]") {
  const int alive = Instance::alive();
  EventLoop loop;
  ThreadPoolExecutor pool(1);
  pool.shutdown();
  CHECK(thrown([&] { return loop.run_in_executor(&pool, [instance = Instance()] { return 1; }); }) ==
        "std::runtime_error: cannot schedule new futures after shutdown");
  test::run_once(loop, 3);
  CHECK(Instance::alive() == alive);
}

TEST_CASE("what came of a call whose future was cancelled is destroyed in the loop's thread", "[threads]") {
  struct ByHand : asyncio::Executor {
    void submit(std::shared_ptr<asyncio::WorkItem> submitted) override { item = std::move(submitted); }
    void shutdown(bool) override {}
    std::shared_ptr<asyncio::WorkItem> item;
  };
  struct Noting {
    explicit Noting(std::thread::id* where) : destroyed_in(where) {}
    Noting(Noting&& other) noexcept : destroyed_in(std::exchange(other.destroyed_in, nullptr)) {}
    ~Noting() {
      if (destroyed_in) *destroyed_in = std::this_thread::get_id();
    }
    std::thread::id* destroyed_in;
  };
  std::thread::id destroyed_in;
  EventLoop loop;
  ByHand executor;
  const auto future = loop.run_in_executor(&executor, [&] { return Noting(&destroyed_in); });
  std::thread([&] {
    executor.item->run();
    executor.item->finish();
  }).join();
  future.cancel();
  test::run_once(loop, 3);
  std::thread([&] { executor.item.reset(); }).join();  // the thread that ran the call has the last reference
  CHECK(destroyed_in == std::this_thread::get_id());
}

TEST_CASE("one executor may serve several loops in several threads", "[threads][test_events.test_run_in_executor]") {
  ThreadPoolExecutor shared(2);
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      sum += run_io([&]() -> Coroutine<int> {
        int own = 0;
        for (int i = 0; i < 50; ++i) own += co_await get_running_loop().run_in_executor(&shared, [] { return 1; });
        co_return own;
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 200);
}

// ---- ThreadPoolExecutor ------------------------------------------------------------------------------

TEST_CASE("an executor without workers is a ValueError", "[threads][test_concurrent_futures.test_max_workers]") {
  CHECK(thrown([] { return ThreadPoolExecutor(0), 0; }) == "std::invalid_argument: max_workers must be greater than 0");
  CHECK(thrown([] { return ProcessPoolExecutor(0), 0; }) ==
        "std::invalid_argument: max_workers must be greater than 0");
}

TEST_CASE("no more calls than max_workers run at once", "[threads][test_concurrent_futures.test_thread_pool]") {
  std::atomic<int> running = 0, most = 0, calls = 0;
  const auto main = [&]() -> Coroutine<void> {
    ThreadPoolExecutor executor(3);
    std::vector<Future<void>> futures;
    for (int i = 0; i < 60; ++i) {
      futures.push_back(get_running_loop().run_in_executor(&executor, [&] {
        const int now = ++running;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {}
        std::this_thread::yield();
        ++calls;
        --running;
      }));
    }
    for (const Future<void>& future : futures) co_await future;
  };
  run_io(main);
  CHECK(calls == 60);
  CHECK(most <= 3);
}

TEST_CASE("a thread is started only when there is work and no thread idle",
          "[threads][test_concurrent_futures.test_idle_thread_reuse]") {
  std::set<std::thread::id> ids;
  const auto main = [&]() -> Coroutine<void> {
    ThreadPoolExecutor executor(8);
    const std::ptrdiff_t before = test::thread_count();
    const auto id = [] { return std::this_thread::get_id(); };
    co_await get_running_loop().run_in_executor(&executor, id);
    CHECK(test::thread_count() == before + 1);
    for (int i = 0; i < 10; ++i) {
      co_await asyncio::sleep(0.01);  // long enough to become idle
      ids.insert(co_await get_running_loop().run_in_executor(&executor, id));
    }
  };
  run_io(main);
  CHECK(ids.size() <= 2);  // one, if the machine is not too slow
}

TEST_CASE("all workers work when there is work for all", "[threads][test_concurrent_futures.test_thread_pool]") {
  const auto main = []() -> Coroutine<void> {
    Gate gate;
    ThreadPoolExecutor executor(4);
    std::vector<Future<void>> futures;
    for (int i = 0; i < 4; ++i) futures.push_back(get_running_loop().run_in_executor(&executor, [&] { gate.wait(); }));
    gate.wait_for_waiting(4);
    gate.open();
    for (const Future<void>& future : futures) co_await future;
  };
  run_io(main);
}

TEST_CASE("shutdown runs what was submitted, joins, and takes no more",
          "[threads][test_concurrent_futures.test_threads_terminate]") {
  std::atomic<int> calls = 0;
  EventLoop loop;
  ThreadPoolExecutor executor(2);
  const std::ptrdiff_t before = test::thread_count();
  for (int i = 0; i < 20; ++i) loop.run_in_executor(&executor, [&] { ++calls; });
  executor.shutdown();
  CHECK(calls == 20);
  if (!test::TSAN) CHECK(test::thread_count() <= before);
  CHECK(thrown([&] { return loop.run_in_executor(&executor, [] { return 1; }); }) ==
        "std::runtime_error: cannot schedule new futures after shutdown");
  executor.shutdown();
}

TEST_CASE("the end of an executor joins its threads", "[threads][test_concurrent_futures.test_del_shutdown]") {
  std::atomic<int> calls = 0;
  EventLoop loop;
  {
    ThreadPoolExecutor executor(2);
    for (int i = 0; i < 20; ++i) loop.run_in_executor(&executor, [&] { ++calls; });
  }
  CHECK(calls == 20);
}

TEST_CASE("shutdown without waiting returns at once",
          "[threads][test_concurrent_futures.test_thread_shutdown_no_wait]") {
  Gate gate;
  EventLoop loop;
  std::atomic<int> calls = 0;
  ThreadPoolExecutor executor(1);
  for (int i = 0; i < 3; ++i) {
    loop.run_in_executor(&executor, [&] {
      gate.wait();
      ++calls;
    });
  }
  gate.wait_for_waiting(1);
  executor.shutdown(false);
  CHECK(calls == 0);
  gate.open();
  executor.shutdown(true);
  CHECK(calls == 3);
}

// ---- ProcessPoolExecutor -----------------------------------------------------------------------------

TEST_CASE("a process gives back a number, a struct, a string, nothing",
          "[threads][fork][test_concurrent_futures.test_process_pool]") {
  const auto main = []() -> Coroutine<void> {
    ProcessPoolExecutor processes(2);
    EventLoop& loop = get_running_loop();
    const int number = co_await loop.run_in_executor(
        &processes, [](int n) { return n * n; }, 12);
    CHECK(number == 144);
    const Point point = co_await loop.run_in_executor(&processes, [] { return Point{1, 2.5}; });
    CHECK(point == Point{1, 2.5});
    const std::string text =
        co_await loop.run_in_executor(&processes, [] { return std::string(300'000, 'x') + '\0' + "end"; });
    const bool same = text == std::string(300'000, 'x') + '\0' + "end";
    CHECK(same);
    const std::string empty = co_await loop.run_in_executor(&processes, [] { return std::string(); });
    CHECK(empty == "");
    co_await loop.run_in_executor(&processes, [] {});
  };
  run_io(main);
}

TEST_CASE("a process runs in a process of its own, with what the closure captured",
          "[threads][fork][test_concurrent_futures.test_process_pool]") {
  int ours = 1;
  const auto main = [&]() -> Coroutine<void> {
    ProcessPoolExecutor processes(1);
    const std::string captured = "captured";
    const auto call = [&ours, captured] {
      ours = 2;  // its own copy
      return captured + " " + std::to_string(ours) + " " + std::to_string(::getppid());
    };
    const std::string text = co_await get_running_loop().run_in_executor(&processes, call);
    CHECK(text == "captured 2 " + std::to_string(::getpid()));
  };
  run_io(main);
  CHECK(ours == 1);
}

TEST_CASE("an exception in a process comes back as RuntimeError with its text",
          "[threads][fork][test_concurrent_futures.test_traceback]") {
  const auto main = []() -> Coroutine<void> {
    ProcessPoolExecutor processes(1);
    EventLoop& loop = get_running_loop();
    const auto spam = []() -> int { throw asyncio::ValueError("spam"); };
    const std::string error = co_await thrown_by(result_of(loop.run_in_executor(&processes, spam)));
    CHECK(error == "std::runtime_error: spam");
    const auto no_exception = [] { throw 42; };
    const std::string other = co_await thrown_by(result_of(loop.run_in_executor(&processes, no_exception)));
    CHECK(other == "std::runtime_error: int");
    const auto cancelled = [] { throw asyncio::CancelledError("msg"); };
    const std::string third = co_await thrown_by(result_of(loop.run_in_executor(&processes, cancelled)));
    CHECK(third == "std::runtime_error: asyncio::CancelledError: msg");
  };
  run_io(main);
}

TEST_CASE("a process that is killed or exits is a RuntimeError, and the pool goes on",
          "[threads][fork][test_concurrent_futures.test_killed_child]") {
  const auto main = []() -> Coroutine<void> {
    ProcessPoolExecutor processes(1);
    EventLoop& loop = get_running_loop();
    const auto killed = []() -> int { return ::raise(SIGKILL); };
    const std::string error = co_await thrown_by(result_of(loop.run_in_executor(&processes, killed)));
    CHECK(error == "std::runtime_error: A process in the process pool was terminated abruptly: signal 9");
    const auto exits = []() -> int { ::_exit(3); };
    const std::string other = co_await thrown_by(result_of(loop.run_in_executor(&processes, exits)));
    CHECK(other == "std::runtime_error: A process in the process pool was terminated abruptly: exit status 3");
    const auto exits_well = []() -> int { ::_exit(0); };
    const std::string third = co_await thrown_by(result_of(loop.run_in_executor(&processes, exits_well)));
    CHECK(third == "std::runtime_error: the process ended without a result");
    const int fine = co_await loop.run_in_executor(&processes, [] { return 5; });
    CHECK(fine == 5);
  };
  run_io(main);
}

TEST_CASE("a result that is no bytes gives a clear error",
          "[threads][fork][test_concurrent_futures.test_process_pool]") {
  const auto main = []() -> Coroutine<std::string> {
    ProcessPoolExecutor processes(1);
    const auto call = [] { return std::vector<int>(3); };
    co_return co_await thrown_by(result_of(get_running_loop().run_in_executor(&processes, call)));
  };
  const std::string error = run_io(main);
  CHECK(error.find(asyncio::demangle(typeid(std::vector<int>).name())) != std::string::npos);
  CHECK(error.find("cannot come out of a process: return a std::string or what is trivially copyable") !=
        std::string::npos);
}

TEST_CASE("many jobs in a few processes are all done, and leave no child and no descriptor",
          "[threads][fork][test_concurrent_futures.test_process_pool]") {
  const std::ptrdiff_t fds = test::open_fds();
  const auto main = []() -> Coroutine<int> {
    ProcessPoolExecutor processes(3);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 40; ++i) {
      futures.push_back(get_running_loop().run_in_executor(&processes, [i] { return i; }));
    }
    int right = 0;
    for (int i = 0; i < 40; ++i) right += co_await futures[i] == i;
    co_return right;
  };
  CHECK(run_io(main) == 40);
  CHECK_FALSE(has_children());
  CHECK(test::open_fds() == fds);
}

TEST_CASE("SIGINT and SIGTERM end a process of the pool, though we handle them",
          "[threads][fork][test_concurrent_futures.test_killed_child]") {
  const auto main = []() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    int ours = 0;
    loop.add_signal_handler(SIGTERM, [&] { ++ours; });
    ProcessPoolExecutor processes(1);
    const auto terminated = []() -> int { return ::raise(SIGTERM); };
    const std::string error = co_await thrown_by(result_of(loop.run_in_executor(&processes, terminated)));
    CHECK(error == "std::runtime_error: A process in the process pool was terminated abruptly: signal 15");
    co_await iterations(3);
    CHECK(ours == 0);
    loop.remove_signal_handler(SIGTERM);
  };
  run_io(main);
}

TEST_CASE("a process of the pool does not wake our loop by a signal of its own",
          "[threads][fork][test_unix_events.test_fork_signal_handling]") {
  const auto main = []() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    int ours = 0;
    loop.add_signal_handler(SIGUSR1, [&] { ++ours; });
    ProcessPoolExecutor processes(1);
    const int raised = co_await loop.run_in_executor(&processes, [] { return ::raise(SIGUSR1); });
    CHECK(raised == 0);
    co_await iterations(5);
    CHECK(ours == 0);
    loop.remove_signal_handler(SIGUSR1);
  };
  run_io(main);
}

TEST_CASE("a process of the pool does not see our running loop",
          "[threads][fork][test_unix_events.test_fork_not_share_event_loop]") {
  const auto main = []() -> Coroutine<int> {
    ProcessPoolExecutor processes(1);
    const auto run_there = [] { return asyncio::run([]() -> Coroutine<int> { co_return 11; }); };
    co_return co_await get_running_loop().run_in_executor(&processes, run_there);
  };
  CHECK(run_io(main) == 11);
}

// ---- getaddrinfo -------------------------------------------------------------------------------------

TEST_CASE("a numeric address needs no thread", "[threads][test_base_events.test_ipaddr_info]") {
  const auto main = []() -> Coroutine<void> {
    const std::ptrdiff_t threads = test::thread_count();
    auto looking_up = get_running_loop().getaddrinfo("127.0.0.1", "80");
    const Task<std::vector<asyncio::SocketAddress>> task = asyncio::create_task(std::move(looking_up));
    co_await iterations(1);
    CHECK(task.done());
    CHECK(test::thread_count() == threads);
    const auto addresses = co_await task;
    REQUIRE(addresses.size() == 1);
    CHECK(addresses[0] == asyncio::SocketAddress("127.0.0.1", 80));
    const auto v6 = co_await get_running_loop().getaddrinfo("::1", "443");
    REQUIRE(v6.size() == 1);
    CHECK(v6[0].str() == "[::1]:443");
  };
  run_io(main);
}

TEST_CASE("localhost is found", "[threads][test_base_events.test_getaddrinfo]") {
  const auto main = []() -> Coroutine<bool> {
    const auto addresses = co_await get_running_loop().getaddrinfo("localhost", "80");
    bool found = false;
    for (const auto& address : addresses) found |= address.host() == "127.0.0.1" || address.host() == "::1";
    co_return found;
  };
  CHECK(run_io(main));
}

TEST_CASE("the category of an error of getaddrinfo bears its name", "[threads][test_base_events.test_getaddrinfo]") {
  const auto main = []() -> Coroutine<std::string> {
    try {
      co_await get_running_loop().getaddrinfo("no-such-host.invalid", "80");
    } catch (const asyncio::OSError& error) {
      co_return error.code().category().name();
    }
    co_return "found";
  };
  CHECK(run_io(main) == "getaddrinfo");
}

TEST_CASE("a name that nobody knows is an OSError", "[threads][test_base_events.test_getaddrinfo]") {
  const auto main = []() -> Coroutine<std::string> {
    co_return co_await thrown_by(get_running_loop().getaddrinfo("no-such-host.invalid", "80"));
  };
  CHECK(run_io(main).starts_with(test::SYSTEM_ERROR + ": "));
}

// ---- run_coroutine_threadsafe ------------------------------------------------------------------------

namespace {

Coroutine<int> add(int a, int b) {
  co_await asyncio::sleep(0);
  co_return a + b;
}

/// Runs `call` in another thread while a loop runs here; stops when it has returned.
template <class F> void beside_loop(F call) {
  const auto main = [&]() -> Coroutine<void> {
    EventLoop& loop = get_running_loop();
    const Future<void> done;
    std::thread other([&] {
      call(loop);
      loop.call_soon_threadsafe([&done] { done.set_result(); });  // its count is not atomic: no copy here
    });
    co_await done;
    other.join();
  };
  run_io(main);
}

}  // namespace

TEST_CASE("run_coroutine_threadsafe gives the result to another thread",
          "[threads][test_tasks.test_run_coroutine_threadsafe]") {
  int result = 0;
  beside_loop([&](EventLoop& loop) { result = asyncio::run_coroutine_threadsafe(add(1, 2), loop).get(); });
  CHECK(result == 3);
}

TEST_CASE("run_coroutine_threadsafe runs a coroutine without a result",
          "[threads][test_tasks.test_run_coroutine_threadsafe]") {
  bool ran = false;
  const auto nothing = [&]() -> Coroutine<void> {
    co_await asyncio::sleep(0.001);
    ran = true;
  };
  beside_loop([&](EventLoop& loop) { asyncio::run_coroutine_threadsafe(nothing(), loop).get(); });
  CHECK(ran);
}

TEST_CASE("run_coroutine_threadsafe moves a move-only result", "[threads][test_tasks.test_run_coroutine_threadsafe]") {
  const auto make = []() -> Coroutine<std::unique_ptr<int>> { co_return std::make_unique<int>(5); };
  std::unique_ptr<int> result;
  beside_loop([&](EventLoop& loop) { result = asyncio::run_coroutine_threadsafe(make(), loop).get(); });
  REQUIRE(result);
  CHECK(*result == 5);
}

TEST_CASE("run_coroutine_threadsafe gives the exception to another thread",
          "[threads][test_tasks.test_run_coroutine_threadsafe_with_exception]") {
  const auto fails = []() -> Coroutine<int> {
    co_await asyncio::sleep(0);
    throw asyncio::ValueError("Fail!");
  };
  std::string error;
  beside_loop(
      [&](EventLoop& loop) { error = thrown([&] { return asyncio::run_coroutine_threadsafe(fails(), loop).get(); }); });
  CHECK(error == "std::invalid_argument: Fail!");
}

TEST_CASE("run_coroutine_threadsafe of a task that is cancelled gives CancelledError",
          "[threads][test_tasks.test_run_coroutine_threadsafe_task_cancelled]") {
  const auto cancels_itself = []() -> Coroutine<int> {
    asyncio::current_task().cancel();
    co_await asyncio::sleep(60);
    co_return 1;
  };
  std::string error;
  beside_loop([&](EventLoop& loop) {
    error = thrown([&] { return asyncio::run_coroutine_threadsafe(cancels_itself(), loop).get(); });
  });
  CHECK(error == "asyncio::CancelledError");
}

TEST_CASE("run_coroutine_threadsafe on a loop that closes first breaks its promise",
          "[threads][test_tasks.test_run_coroutine_threadsafe]") {
  std::future<int> never_started, never_done;
  {
    EventLoop loop;
    const auto waits = []() -> Coroutine<int> {
      co_await Future<void>();
      co_return 1;
    };
    std::thread([&] { never_done = asyncio::run_coroutine_threadsafe(waits(), loop); }).join();
    const test::CaptureCerr captured;
    test::run_once(loop, 3);
    std::thread([&] { never_started = asyncio::run_coroutine_threadsafe(add(1, 2), loop); }).join();
    loop.close();
  }
  CHECK_THROWS_AS(never_started.get(), std::future_error);
  CHECK_THROWS_AS(never_done.get(), std::future_error);
}

TEST_CASE("run_coroutine_threadsafe on a closed loop is an error",
          "[threads][test_tasks.test_run_coroutine_threadsafe]") {
  EventLoop loop;
  loop.close();
  std::string error;
  const test::CaptureCerr captured;
  std::thread([&] { error = thrown([&] { return asyncio::run_coroutine_threadsafe(add(1, 2), loop); }); }).join();
  CHECK(error == "std::runtime_error: Event loop is closed");
}

// ---- call_soon_threadsafe ----------------------------------------------------------------------------

TEST_CASE("a call from another thread wakes a loop that sleeps in select",
          "[threads][test_events.test_call_soon_threadsafe]") {
  EventLoop loop;
  std::thread::id called_in;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    loop.call_soon_threadsafe([&] {
      called_in = std::this_thread::get_id();
      loop.stop();
    });
  });
  loop.run_forever();
  other.join();
  CHECK(called_in == std::this_thread::get_id());
}

TEST_CASE("call_soon_threadsafe in the loop's own thread is call_soon",
          "[threads][test_events.test_call_soon_threadsafe_same_thread]") {
  auto own = std::make_unique<WatchedSelector>();
  WatchedSelector& selector = *own;
  EventLoop loop(std::move(own));
  std::string calls;
  loop.call_soon([&] {
    loop.call_soon([&] { calls += "1"; });
    loop.call_soon_threadsafe([&] { calls += "2"; });
    loop.call_soon([&] { calls += "3"; });
  });
  test::run_once(loop, 3);
  CHECK(calls == "123");
  CHECK(selector.wakeup_bytes == 0);
}

TEST_CASE("however many calls other threads make, one byte wakes the loop",
          "[threads][test_selector_events.test_write_to_self_tryagain]") {
  auto own = std::make_unique<WatchedSelector>();
  WatchedSelector& selector = *own;
  EventLoop loop(std::move(own));
  int calls = 0;
  std::thread([&] {
    for (int i = 0; i < 1000; ++i) loop.call_soon_threadsafe([&] { ++calls; });
  }).join();
  test::run_once(loop, 2);
  CHECK(calls == 1000);
  CHECK(selector.wakeup_bytes == 1);
  std::thread([&] { loop.call_soon_threadsafe([&] { ++calls; }); }).join();
  test::run_once(loop, 2);
  CHECK(calls == 1001);
  CHECK(selector.wakeup_bytes == 2);
}

TEST_CASE("call_soon_threadsafe on a closed loop is an error, and frees the call",
          "[threads][test_events.test_call_soon_threadsafe]") {
  const int alive = Instance::alive();
  EventLoop loop;
  loop.close();
  std::string error;
  std::thread([&] {
    error = thrown([&] {
      loop.call_soon_threadsafe([instance = Instance()] {});
      return 0;
    });
  }).join();
  CHECK(error == "std::runtime_error: Event loop is closed");
  CHECK(Instance::alive() == alive);
}

TEST_CASE("a call that the loop never ran is freed when it closes",
          "[threads][test_events.test_call_soon_threadsafe]") {
  const int alive = Instance::alive();
  {
    EventLoop loop;
    std::thread([&] { loop.call_soon_threadsafe([instance = Instance()] {}); }).join();
  }
  CHECK(Instance::alive() == alive);
}

TEST_CASE("what another thread calls after the loop took its calls, and before it emptied its pipe, is run, too",
          "[threads]") {
  EventLoop loop;
  bool called = false;
  const auto call_again = [&] { std::thread([&] { loop.call_soon_threadsafe([&] { called = true; }); }).join(); };
  std::thread([&] { loop.call_soon_threadsafe(call_again); }).join();
  test::run_once(loop, 2);
  CHECK(called);
}

TEST_CASE("what another thread called while the loop slept runs before the timers that are due then", "[threads]") {
  struct Calls : asyncio::Instrument {
    explicit Calls(std::function<void()> f) : call(std::move(f)) {}
    void after_select(std::span<const selectors::SelectorEvent>) override { std::thread(call).join(); }
    std::function<void()> call;
  };
  test::TestLoop loop;
  std::string calls;
  Calls instrument([&] { loop.call_soon_threadsafe([&] { calls += "call "; }); });
  loop.add_instrument(instrument);
  loop.call_later(0, [&] { calls += "timer "; });
  test::run_once(loop);
  CHECK(calls == "call timer ");
}

TEST_CASE("eight threads make many calls: all run, each thread's in its order", "[threads][stress]") {
  constexpr int THREADS = 8;
  const int calls = test::TSAN ? 2'000 : 100'000;
  std::vector<int> next(THREADS, 0);
  int out_of_order = 0, left = THREADS;
  EventLoop loop;
  std::vector<std::thread> threads;
  for (int t = 0; t < THREADS; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) loop.call_soon_threadsafe([&, t, i] { out_of_order += next[t]++ != i; });
      loop.call_soon_threadsafe([&] {
        if (--left == 0) loop.stop();
      });
    });
  }
  const auto start = std::chrono::steady_clock::now();
  loop.run_forever();
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(out_of_order == 0);
  for (const int n : next) CHECK(n == calls);
  std::printf("8 threads x %d call_soon_threadsafe: %.2f s\n", calls, seconds);
}

TEST_CASE("threads may call a loop while it closes", "[threads][stress]") {
  const auto token = std::make_shared<int>(0);
  for (int round = 0; round < 20; ++round) {
    EventLoop loop;
    std::atomic<int> calling = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        ++calling;
        for (int i = 1;; ++i) {
          try {
            loop.call_soon_threadsafe([token] {});
          } catch (const asyncio::RuntimeError&) {
            return;
          }
          if (i % 20 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));  // not to flood a slow loop
        }
      });
    }
    while (calling < 4) std::this_thread::yield();
    test::run_once(loop, round % 3);
    loop.close();
    for (std::thread& thread : threads) thread.join();
    CHECK(token.use_count() == 1);
  }
}

TEST_CASE("a loop may be closed while threads finish its calls", "[threads][stress]") {
  ThreadPoolExecutor executor(4);
  const auto token = std::make_shared<std::atomic<int>>(0);
  for (int round = 0; round < 100; ++round) {
    EventLoop loop;
    for (int i = 0; i < 20; ++i) {
      loop.run_in_executor(&executor, [token] {
        ++*token;
        return token;
      });
    }
    test::run_once(loop, round % 5);
  }
  executor.shutdown();
  CHECK(*token == 2000);
  CHECK(token.use_count() == 1);
}

TEST_CASE("a callback from another thread has copies of that thread's context variables: both may read at once",
          "[threads][context]") {
  asyncio::ContextVar<std::string> name("name");
  EventLoop loop;
  int right = 0;
  std::thread other([&] {
    name.set("other");
    for (int i = 0; i < 1000; ++i) {
      loop.call_soon_threadsafe([&] { right += name.get() == "other"; });
      static_cast<void>(name.get());
    }
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  loop.run_forever();
  other.join();
  CHECK(right == 1000);
}

#ifdef __GLIBCXX__  // with libc++ nothing tells catch (...) that it has caught a pthread_exit
TEST_CASE("pthread_exit in a callback or a coroutine ends the thread, and unwinds through the loop", "[threads]") {
  const auto runs_until_exit = [](auto body) {
    bool unwound = false;
    const auto main = [&] {
      const asyncio::Finally left([&] { unwound = true; });
      EventLoop loop;
      body(loop);
    };
    pthread_t thread;
    const auto start = [](void* f) -> void* {
      (*static_cast<decltype(main)*>(f))();
      return f;
    };
    REQUIRE(pthread_create(&thread, nullptr, start, const_cast<void*>(static_cast<const void*>(&main))) == 0);
    void* returned = &thread;
    REQUIRE(pthread_join(thread, &returned) == 0);
    CHECK(returned == nullptr);  // what pthread_exit was given
    return unwound;
  };
  CHECK(runs_until_exit([](EventLoop& loop) {
    loop.call_soon([] { pthread_exit(nullptr); });
    loop.run_forever();
  }));
#ifndef __clang__  // clang++ 16 destroys a frame twice if its promise lets an exception pass
  CHECK(runs_until_exit([](EventLoop& loop) {
    loop.run_until_complete([]() -> Coroutine<void> {
      co_await asyncio::sleep(0);
      pthread_exit(nullptr);
    }());
  }));
#endif
}
#endif
