// Who frees what, and when: every order in which a loop, its tasks, futures and handles can be destroyed.
// Run under AddressSanitizer these tests show that nothing leaks and nothing is used after its end.
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/io_utils.hpp"
#include "tests/utils.hpp"

using asyncio::AnyFuture;
using asyncio::AnyTask;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::Counted;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::Handle;
using asyncio::Pool;
using asyncio::Ref;
using asyncio::RuntimeError;
using asyncio::Task;
using asyncio::TimerHandle;
using test::CaptureCerr;
using test::CLOSED;
using test::Instance;
using test::Log;
using test::TestLoop;
using test::thrown;

namespace {

using AtDestruction = test::AtEnd<std::function<void()>>;

constexpr const char* DESTROYED = "Task was destroyed but it is pending!";

// A loop whose end reports nothing to std::cerr.
class QuietLoop : public TestLoop {
 public:
  QuietLoop() { catch_exceptions(); }
  ~QuietLoop() override { close(); }
};

Coroutine<int> await_future(Future<int> future, Instance = {}) {
  const Instance local;
  co_return co_await future;
}

Coroutine<int> three_deep(Future<int> future, int depth = 3, Instance = {}) {
  const Instance local;
  if (depth == 1) co_return co_await future;
  co_return co_await three_deep(future, depth - 1);
}

Coroutine<int> returns(int n, Instance = {}) { co_return n; }

Coroutine<int> fails(Instance = {}) {
  throw RuntimeError("boom");
  co_return 0;
}

Coroutine<void> suspends_with(std::shared_ptr<AtDestruction>, Future<int> future) { co_await future; }

// Whether f returns, in another process: neither a crash nor a hang is the end of the test.
template <class F> bool survives(F f) { return test::status_of_child(f) == 0; }

std::shared_ptr<AtDestruction> at_destruction(std::function<void()> f) {
  return std::make_shared<AtDestruction>(std::move(f));
}

}  // namespace

// ---- The pool -------------------------------------------------------------------------------------------

TEST_CASE("the pool's blocks of every size can be written to their end", "[memory][pool]") {
  for (std::size_t size = 1; size <= Pool::STEP * Pool::CLASSES + 100; ++size) {
    void* block = Pool::allocate(size);
    std::memset(block, 0xab, size);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t) == 0);
    Pool::release(block, size);
  }
}

TEST_CASE("the pool hands out no block twice", "[memory][pool]") {
  std::vector<unsigned char*> blocks;
  for (int i = 0; i < 1000; ++i) {
    blocks.push_back(static_cast<unsigned char*>(Pool::allocate(48)));
    std::memset(blocks.back(), i % 251, 48);
  }
  bool intact = true;
  for (int i = 0; i < 1000; ++i) {
    for (int j = 0; j < 48; ++j) intact = intact && blocks[static_cast<std::size_t>(i)][j] == i % 251;
  }
  CHECK(intact);
  for (unsigned char* block : blocks) Pool::release(block, 48);
}

#if !defined(ASYNCIO_NO_POOL)

TEST_CASE("a thread that only gives blocks back keeps none of them: nothing would free them at its end",
          "[memory][pool]") {
  void* block = Pool::allocate(96);
  const Pool::Block* kept = nullptr;
  std::thread([&] {
    Pool::release(block, 96);
    kept = asyncio::pool.free[Pool::class_of(96)];
  }).join();
  CHECK(kept == nullptr);
}

TEST_CASE("the block given back last is handed out first", "[memory][pool]") {
  void* first = Pool::allocate(64);
  void* second = Pool::allocate(64);
  Pool::release(first, 64);
  Pool::release(second, 64);
  CHECK(Pool::allocate(64) == second);
  CHECK(Pool::allocate(64) == first);
  Pool::release(first, 64);
  Pool::release(second, 64);
}

TEST_CASE("sizes of one class share their blocks, sizes of two classes do not", "[memory][pool]") {
  void* block = Pool::allocate(49);
  Pool::release(block, 49);
  void* smaller = Pool::allocate(48);
  CHECK(smaller != block);
  void* same = Pool::allocate(64);
  CHECK(same == block);
  Pool::release(smaller, 48);
  Pool::release(same, 64);
}

#endif

TEST_CASE("a block may be given back in another thread than the one that took it", "[memory][pool]") {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(Pool::allocate(96));
  std::thread([&blocks] {
    for (void* block : blocks) Pool::release(block, 96);
    for (void*& block : blocks) block = Pool::allocate(96);
  }).join();
  for (void* block : blocks) Pool::release(block, 96);
  SUCCEED();
}

#if !defined(ASYNCIO_NO_POOL)

TEST_CASE("what threads leave behind when they end is used by other threads", "[memory][pool]") {
  constexpr int THREADS = 100, BLOCKS = 500;
  std::set<void*> seen;
  for (int i = 0; i < THREADS; ++i) {
    std::thread([&seen] {
      std::vector<void*> blocks(BLOCKS);
      for (void*& block : blocks) seen.insert(block = Pool::allocate(96));
      for (void* block : blocks) Pool::release(block, 96);
    }).join();
  }
  CHECK(seen.size() < 2 * BLOCKS);
}

#endif

TEST_CASE("a thread may give blocks back while its thread-local objects are being destroyed", "[memory][pool]") {
  struct Late {
    void* block = nullptr;
    ~Late() {
      if (block) Pool::release(block, 32);
    }
  };
  std::thread([] {
    static thread_local Late late;  // made before the pool is first used: destroyed after it
    late.block = nullptr;
    late.block = Pool::allocate(32);
    Pool::release(Pool::allocate(32), 32);
  }).join();
  SUCCEED();
}

TEST_CASE("a loop that lives and dies in another thread leaves nothing behind", "[memory][pool][rule-7]") {
  std::thread([] {
    QuietLoop loop;
    loop.create_task(three_deep(Future<int>(loop)));
    loop.create_task(returns(1));
    test::run_once(loop, 2);
  }).join();
  CHECK(Instance::alive() == 0);
}

// ---- Counted and Ref ------------------------------------------------------------------------------------

namespace {

struct Node : Counted {
  Node() = default;
  explicit Node(Log& l) : log(&l) {}
  ~Node() override {
    if (log) log->push_back("~Node");
  }
  Log* log = nullptr;
  Ref<Node> next;
  Instance instance;
};

struct Leaf : Node {
  using Node::Node;
};

}  // namespace

TEST_CASE("the object dies with its last Ref", "[memory][ref]") {
  Log log;
  {
    Ref<Node> a = asyncio::make_ref<Node>(log);
    CHECK(a->references() == 1);
    {
      const Ref<Node> b = a;
      CHECK(a->references() == 2);
    }
    CHECK(a->references() == 1);
    a = nullptr;
    CHECK(log == Log{"~Node"});
  }
  CHECK(log.size() == 1);
}

TEST_CASE("moving a Ref moves its reference and leaves null", "[memory][ref]") {
  Ref<Node> a = asyncio::make_ref<Node>();
  Node* node = a.get();
  Ref<Node> b = std::move(a);
  CHECK_FALSE(static_cast<bool>(a));
  CHECK(b.get() == node);
  CHECK(b->references() == 1);
  a = std::move(b);
  CHECK(a->references() == 1);
}

TEST_CASE("a Ref can be assigned to itself", "[memory][ref]") {
  Ref<Node> a = asyncio::make_ref<Node>();
  const Ref<Node>& same = a;
  a = same;
  REQUIRE(static_cast<bool>(a));
  CHECK(a->references() == 1);
}

TEST_CASE("a Ref to a derived class converts to a Ref to its base", "[memory][ref]") {
  const Ref<Leaf> leaf = asyncio::make_ref<Leaf>();
  Ref<Node> node = leaf;
  CHECK(node.get() == leaf.get());
  CHECK(leaf->references() == 2);
  node = asyncio::make_ref<Leaf>();
  CHECK(leaf->references() == 1);
}

TEST_CASE("detach gives the reference away, and adopt takes it over", "[memory][ref]") {
  Ref<Node> a = asyncio::make_ref<Node>();
  Node* node = a.detach();
  CHECK_FALSE(static_cast<bool>(a));
  CHECK(node->references() == 1);
  const Ref<Node> b = Ref<Node>::adopt(node);
  CHECK(b->references() == 1);
}

TEST_CASE("Refs are equal if they refer to the same object, or both to none", "[memory][ref]") {
  const Ref<Node> a = asyncio::make_ref<Node>(), b = asyncio::make_ref<Node>(), copy = a;
  CHECK((a == copy));
  CHECK_FALSE((a == b));
  CHECK((Ref<Node>() == Ref<Node>(nullptr)));
  CHECK_FALSE((a == Ref<Node>()));
}

TEST_CASE("a Ref has its new value before the destructor of its old one runs", "[memory][ref]") {
  struct Peeker : Counted {
    explicit Peeker(Ref<Counted>& w, bool& n) : where(w), was_null(n) {}
    ~Peeker() override { was_null = !where; }
    Ref<Counted>& where;
    bool& was_null;
  };
  bool was_null = false;
  Ref<Counted> ref;
  ref = asyncio::make_ref<Peeker>(ref, was_null);
  ref = nullptr;
  CHECK(was_null);
}

TEST_CASE("a list of Refs is freed from its head on", "[memory][ref]") {
  {
    Ref<Node> head;
    for (int i = 0; i < 1000; ++i) {
      Ref<Node> node = asyncio::make_ref<Node>();
      node->next = std::move(head);
      head = std::move(node);
    }
    CHECK(Instance::alive() == 1000);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("an object may survive the loss of its last reference", "[memory][ref]") {
  struct Phoenix : Counted {
    explicit Phoenix(Ref<Phoenix>& k) : keeper(k) {}
    void unreferenced() noexcept override {
      if (std::exchange(risen, true)) {
        delete this;
      } else {
        keeper = Ref<Phoenix>(this);
      }
    }
    Ref<Phoenix>& keeper;
    bool risen = false;
    Instance instance;
  };
  {
    Ref<Phoenix> keeper;
    { const Ref<Phoenix> first = asyncio::make_ref<Phoenix>(keeper); }
    REQUIRE(static_cast<bool>(keeper));
    CHECK(keeper->risen);
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

// ---- The loop goes first --------------------------------------------------------------------------------

TEST_CASE("a task whose loop is destroyed is cancelled, and its frame is freed", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  const Future<int> future(*loop);
  const Task<int> task = loop->create_task(await_future(future));
  test::run_once(*loop);
  CHECK(Instance::alive() > 0);
  loop.reset();
  CHECK(Instance::alive() == 0);
  CHECK(task.done());
  CHECK(task.cancelled());
  REQUIRE_THROWS_AS(task.result(), CancelledError);
  REQUIRE_THROWS_AS(task.exception(), CancelledError);
  CHECK_FALSE(task.cancel());
  CHECK(thrown([&] { return &task.get_loop(); }) == CLOSED);
  CHECK_FALSE(future.done());
}

TEST_CASE("a task that never started is freed with its loop: the body never runs", "[memory][rule-7]") {
  struct Body {
    static Coroutine<void> run(Log& log, Instance) {
      log.push_back("ran");
      co_return;
    }
  };
  Log log;
  auto loop = std::make_unique<QuietLoop>();
  const Task<void> task = loop->create_task(Body::run(log, {}));
  CHECK(Instance::alive() == 1);
  loop.reset();
  CHECK(Instance::alive() == 0);
  CHECK(task.cancelled());
  CHECK(log.empty());
}

TEST_CASE("a task that was cancelled, but not yet resumed, is freed with its loop", "[memory][rule-7]") {
  Log log;
  auto loop = std::make_unique<QuietLoop>();
  const Task<int> task = loop->create_task(await_future(Future<int>(*loop)));
  test::run_once(*loop);
  task.cancel();
  loop.reset();
  CHECK(Instance::alive() == 0);
  CHECK(task.cancelled());
}

TEST_CASE("a task that is done keeps its outcome when the loop is gone", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  const Task<int> value = loop->create_task(returns(42));
  const Task<int> failed = loop->create_task(fails());
  test::run_once(*loop);
  loop.reset();
  CHECK(value.result() == 42);
  CHECK(thrown([&] { return failed.result(); }) == "std::runtime_error: boom");
  CHECK_FALSE(value.cancelled());
}

TEST_CASE("close() reports each pending task once, the oldest first, and ends it", "[memory][rule-7]") {
  QuietLoop loop;
  const Task<int> first = loop.create_task(await_future(Future<int>(loop)));
  const Task<int> second = loop.create_task(three_deep(Future<int>(loop)));
  const Task<int> done = loop.create_task(returns(1));
  test::run_once(loop);
  loop.close();
  REQUIRE(loop.caught.size() == 2);
  CHECK(loop.caught[0].message == DESTROYED);
  CHECK(loop.caught[0].future == first);
  CHECK(loop.caught[1].message == DESTROYED);
  CHECK(loop.caught[1].future == second);
  CHECK(Instance::alive() == 0);
  CHECK(first.cancelled());
  CHECK(asyncio::all_tasks(loop).empty());
}

TEST_CASE("without a handler a destroyed pending task is written to std::cerr", "[memory][rule-7]") {
  const CaptureCerr errors;
  {
    TestLoop loop;
    loop.create_task(await_future(Future<int>(loop)), {.name = "left over"});
    test::run_once(loop);
  }
  CHECK(errors.text().find(DESTROYED) != std::string::npos);
  CHECK(errors.text().find("left over") != std::string::npos);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("closing a loop twice, and destroying a closed one, does nothing more", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  loop->create_task(await_future(Future<int>(*loop)));
  loop->close();
  loop->close();
  CHECK(loop->caught.size() == 1);
  loop.reset();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a handle may outlive its loop", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  std::optional<Handle> handle = loop->call_soon([instance = Instance()] {});
  loop.reset();
  CHECK_FALSE(handle->repr().empty());
  handle->cancel();
  CHECK(handle->cancelled());
  CHECK(Instance::alive() == 0);
  handle.reset();
}

TEST_CASE("a timer handle may outlive its loop, and be cancelled then", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  const TimerHandle timer = loop->call_later(5, [instance = Instance()] {});
  const TimerHandle cancelled = loop->call_later(6, [instance = Instance()] {});
  cancelled.cancel();
  CHECK(Instance::alive() == 1);
  SECTION("when the loop is closed") { loop->close(); }
  SECTION("when the loop is gone") { loop.reset(); }
  timer.cancel();
  cancelled.cancel();
  CHECK(timer.when() == 5);
  CHECK(timer.cancelled());
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a handle that is dropped with its loop frees its callback", "[memory][rule-7]") {
  {
    std::optional<Handle> handle;
    QuietLoop loop;
    handle = loop.call_soon([instance = Instance()] {});
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a callback that holds its own handle is freed with the loop", "[memory][rule-7][cycles]") {
  {
    QuietLoop loop;
    const auto soon = std::make_shared<Handle>();
    const auto later = std::make_shared<TimerHandle>();
    *soon = loop.call_soon([soon, instance = Instance()] {});
    *later = loop.call_later(1, [later, instance = Instance()] {});
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a future may outlive its loop, and whoever waits for it", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  const Future<int> future(*loop);
  loop->create_task(await_future(future));
  future.add_done_callback([instance = Instance()](const auto&) {});
  test::run_once(*loop);
  loop.reset();
  CHECK(Instance::alive() == 0);
  CHECK_FALSE(future.done());
  CHECK(thrown([&] { future.set_result(1); }) == CLOSED);
  CHECK(future.result() == 1);
}

TEST_CASE("readers, writers and callbacks of other threads are freed with the loop", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  loop->add_reader(100, [instance = Instance()] {});
  loop->add_writer(100, [instance = Instance()] {});
  std::thread([&loop] { loop->call_soon_threadsafe([instance = Instance()] {}); }).join();
  CHECK(Instance::alive() == 3);
  loop.reset();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a signal handler is freed with the loop", "[memory][rule-7]") {
  {
    QuietLoop loop;
    loop.add_signal_handler(SIGUSR2, [instance = Instance()] {});
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("an exception handler and what it holds are freed with the loop", "[memory][rule-7]") {
  const CaptureCerr errors;
  {
    TestLoop loop;
    const Future<int> future(loop);
    future.set_exception(RuntimeError("boom"));
    loop.set_exception_handler([future, instance = Instance()](EventLoop&, const asyncio::ExceptionContext&) {});
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
  CHECK(errors.text().find("Future exception was never retrieved") != std::string::npos);
}

TEST_CASE("callbacks that are still queued when a loop stops are freed with it", "[memory][rule-7]") {
  {
    QuietLoop loop;
    loop.call_soon([&loop] {
      loop.call_soon([instance = Instance()] {});
      loop.stop();
    });
    loop.run_forever();
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a loop that was left by KeyboardInterrupt is freed with all that is in it", "[memory][rule-7]") {
  {
    QuietLoop loop;
    const Task<int> task = loop.create_task(three_deep(Future<int>(loop)));
    loop.call_soon([instance = Instance()] { throw asyncio::KeyboardInterrupt(); });
    loop.call_soon([instance = Instance()] {});
    REQUIRE_THROWS_AS(loop.run_forever(), asyncio::KeyboardInterrupt);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("ten thousand tasks that wait are freed with their loop", "[memory][rule-7]") {
  std::vector<Task<int>> tasks;
  {
    QuietLoop loop;
    const Future<int> future(loop);
    for (int i = 0; i < 10'000; ++i) tasks.push_back(loop.create_task(await_future(future)));
    test::run_once(loop);
  }
  CHECK(Instance::alive() == 0);
  CHECK(tasks.back().cancelled());
}

TEST_CASE("a chain of a hundred thousand tasks, each awaiting the next, is freed with its loop",
          "[memory][rule-7][depth]") {
  {
    QuietLoop loop;
    Future<int> last(loop);
    for (int i = 0; i < 100'000; ++i) last = loop.create_task(await_future(last));
    test::run_once(loop);
    CHECK(Instance::alive() >= 100'000);
  }
  CHECK(Instance::alive() == 0);
}

// ---- The reference goes first ---------------------------------------------------------------------------

TEST_CASE("a task goes on when its last reference is dropped", "[memory][rule-7]") {
  QuietLoop loop;
  const Future<int> future(loop);
  { const Task<int> task = loop.create_task(await_future(future)); }
  test::run_once(loop);
  CHECK(Instance::alive() > 0);
  future.set_result(1);
  test::run_once(loop);
  CHECK(Instance::alive() == 0);
  CHECK(loop.caught.empty());
}

TEST_CASE("a task that waits for a future nobody else holds stays until the loop ends", "[memory][rule-7]") {
  QuietLoop loop;
  loop.create_task(await_future(Future<int>(loop)));
  test::run_briefly(loop);
  CHECK(asyncio::all_tasks(loop).size() == 1);
  loop.close();
  CHECK(loop.caught.size() == 1);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a failed task that nobody holds is freed once it is reported", "[memory][rule-6][rule-7]") {
  QuietLoop loop;
  loop.create_task(fails());
  test::run_once(loop);
  CHECK(loop.caught.size() == 1);
  loop.caught.clear();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a timer goes on when its handle is dropped", "[memory][rule-7]") {
  QuietLoop loop;
  bool called = false;
  {
    const TimerHandle timer = loop.call_later(1, [&called] { called = true; });
  }
  loop.advance_time(1);
  test::run_once(loop);
  CHECK(called);
}

TEST_CASE("a callback that cancels its own handle lives until it returns", "[memory][rule-7]") {
  QuietLoop loop;
  Handle handle;
  int alive_inside = 0;
  handle = loop.call_soon([&, instance = Instance()] {
    handle.cancel();
    alive_inside = Instance::alive();
  });
  test::run_once(loop);
  CHECK(alive_inside == 1);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a reader that removes itself lives until it returns", "[memory][rule-7]") {
  QuietLoop loop;
  int alive_inside = 0;
  loop.add_reader(100, [&, instance = Instance()] {
    loop.remove_reader(100);
    alive_inside = Instance::alive();
  });
  loop.selector.make_ready(100, selectors::EVENT_READ);
  test::run_once(loop, 2);
  CHECK(alive_inside == 1);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a handle that is kept does not keep its callback once it has run or was cancelled", "[memory][rule-7]") {
  QuietLoop loop;
  const Handle cancelled = loop.call_soon([instance = Instance()] {});
  cancelled.cancel();
  CHECK(Instance::alive() == 0);
  test::run_once(loop);
}

// ---- Coroutines -----------------------------------------------------------------------------------------

TEST_CASE("a coroutine that is never awaited is freed with its variable", "[memory][rule-7]") {
  {
    QuietLoop loop;
    const Coroutine<int> coroutine = await_future(Future<int>(loop));
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a coroutine that is never awaited may outlive the loop", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  std::optional<Coroutine<int>> coroutine = await_future(Future<int>(*loop));
  loop.reset();
  coroutine.reset();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a coroutine driven by hand may outlive the loop of the future it awaits", "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  const Future<int> future(*loop);
  Coroutine<int> coroutine = three_deep(future);
  REQUIRE(coroutine.send().has_value());
  loop.reset();
  SECTION("it is dropped") {}
  SECTION("it is thrown into") {
    REQUIRE_THROWS_AS(coroutine.throw_(std::make_exception_ptr(CancelledError())), CancelledError);
  }
  SECTION("its future is done, and it returns") {
    future.set_result(3);
    CHECK_FALSE(coroutine.send().has_value());
    CHECK(coroutine.result() == 3);
  }
  coroutine = Coroutine<int>();
}

TEST_CASE("nothing is left of a coroutine that was destroyed three awaits deep", "[memory][rule-7]") {
  QuietLoop loop;
  {
    Coroutine<int> coroutine = three_deep(Future<int>(loop));
    REQUIRE(coroutine.send().has_value());
    CHECK(Instance::alive() >= 6);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task three awaits deep is destroyed with its loop from the innermost frame out", "[memory][rule-7]") {
  struct Body {
    static Coroutine<void> run(Log& log, Future<int> future, int depth) {
      const AtDestruction local([&log, depth] { log.push_back(std::to_string(depth)); });
      if (depth == 1)
        co_await future;
      else
        co_await run(log, future, depth - 1);
    }
  };
  Log log;
  {
    QuietLoop loop;
    loop.create_task(Body::run(log, Future<int>(loop), 3));
    test::run_once(loop);
  }
  CHECK(log == Log{"1", "2", "3"});
}

TEST_CASE("a coroutine that a closed loop refuses is freed, and nothing remembers it", "[memory][rule-7][rule-8]") {
  auto loop = std::make_unique<QuietLoop>();
  loop->close();
  SECTION("by create_task") {
    CHECK(thrown([&] { loop->create_task(returns(1)); }) == CLOSED);
    CHECK(asyncio::all_tasks(*loop).empty());
  }
  SECTION("by run_until_complete") {
    CHECK(thrown([&] { return loop->run_until_complete(returns(1)); }) == CLOSED);
  }
  SECTION("by the constructor of Task") {
    CHECK(thrown([&] { return Task<int>(returns(1), *loop); }) == CLOSED);
  }
  CHECK(Instance::alive() == 0);
  loop.reset();
}

TEST_CASE("a callback that a closed loop refuses is freed", "[memory][rule-7][rule-8]") {
  QuietLoop loop;
  loop.close();
  CHECK(thrown([&] { loop.call_soon([instance = Instance()] {}); }) == CLOSED);
  CHECK(thrown([&] { loop.call_later(1, [instance = Instance()] {}); }) == CLOSED);
  CHECK(thrown([&] { loop.call_soon_threadsafe([instance = Instance()] {}); }) == CLOSED);
  CHECK(Instance::alive() == 0);
}

// ---- Cycles ---------------------------------------------------------------------------------------------

TEST_CASE("a done callback that holds its own future is freed with the loop", "[memory][rule-7][cycles]") {
  {
    QuietLoop loop;
    const Future<int> future(loop);
    future.add_done_callback([future, instance = Instance()](const auto&) {});
    SECTION("while the future is pending") {}
    SECTION("when the callback is scheduled") { future.set_result(1); }
    SECTION("when the callback has run") {
      future.set_result(1);
      test::run_once(loop);
    }
    SECTION("when the future is done already") {
      future.set_result(1);
      future.add_done_callback([future, instance = Instance()](const auto&) {});
    }
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a done callback that holds its own future, added after the loop closed, is freed",
          "[memory][rule-7][cycles]") {
  {
    auto loop = std::make_unique<QuietLoop>();
    const Future<int> future(*loop);
    SECTION("when the loop is closed") { loop->close(); }
    SECTION("when the loop is gone") { loop.reset(); }
    try {
      future.add_done_callback([future, instance = Instance()](const auto&) {});
    } catch (const RuntimeError&) {
      // it may as well be refused
    }
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a done callback added after its loop closed does no harm when the loop goes, then the future",
          "[memory][rule-7]") {
  auto loop = std::make_unique<QuietLoop>();
  std::optional<Future<int>> future(*loop);
  loop->close();
  try {
    future->add_done_callback([instance = Instance()](const auto&) {});
  } catch (const RuntimeError&) {}
  loop.reset();
  future.reset();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a done callback of a task that holds the task is freed with the loop, uncalled",
          "[memory][rule-7][cycles]") {
  bool called = false;
  {
    QuietLoop loop;
    const Task<int> task = loop.create_task(await_future(Future<int>(loop)));
    task.add_done_callback([task, &called, instance = Instance()](const auto&) { called = true; });
    test::run_once(loop);
  }
  CHECK_FALSE(called);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("two futures whose callbacks hold each other are freed with the loop", "[memory][rule-7][cycles]") {
  {
    QuietLoop loop;
    const Future<int> a(loop), b(loop);
    a.add_done_callback([b, instance = Instance()](const auto&) { b.set_result(1); });
    b.add_done_callback([a, instance = Instance()](const auto&) { a.set_result(1); });
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("futures of two loops whose callbacks hold each other are freed with the loops", "[memory][rule-7][cycles]") {
  {
    auto first = std::make_unique<QuietLoop>();
    auto second = std::make_unique<QuietLoop>();
    const Future<int> a(*first), b(*second);
    a.add_done_callback([b, instance = Instance()](const auto&) {});
    b.add_done_callback([a, instance = Instance()](const auto&) {});
    SECTION("the first one first") { first.reset(); }
    SECTION("the second one first") { second.reset(); }
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task that holds itself in its frame is freed with the loop", "[memory][rule-7][cycles]") {
  struct Body {
    static Coroutine<void> run(Future<int> future, Instance) {
      const AnyTask self = asyncio::current_task();
      co_await future;
    }
  };
  {
    QuietLoop loop;
    loop.create_task(Body::run(Future<int>(loop), {}));
    test::run_once(loop);
    CHECK(Instance::alive() == 1);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task that holds itself in its frame is freed when it returns", "[memory][cycles]") {
  struct Body {
    static Coroutine<void> run(Future<int> future, Instance) {
      const AnyTask self = asyncio::current_task();
      co_await future;
    }
  };
  QuietLoop loop;
  const Future<int> future(loop);
  loop.create_task(Body::run(future, {}));
  test::run_once(loop);
  future.set_result(1);
  test::run_once(loop);
  CHECK(Instance::alive() == 0);
  CHECK(asyncio::all_tasks(loop).empty());
}

namespace {

using Tasks = std::vector<Task<void>>;

Coroutine<void> await_other(std::shared_ptr<Tasks> tasks, std::size_t which, Instance = {}) {
  const Instance local;
  const Task<void> other = tasks->at(which);
  co_await other;
}

// Three tasks in a ring, each of which waits for the next.
std::shared_ptr<Tasks> make_ring(EventLoop& loop) {
  auto tasks = std::make_shared<Tasks>();
  for (std::size_t i = 0; i < 3; ++i) tasks->push_back(loop.create_task(await_other(tasks, (i + 1) % 3)));
  test::run_once(loop);
  return tasks;
}

}  // namespace

TEST_CASE("tasks that wait for each other are freed with the loop", "[memory][rule-7][cycles]") {
  {
    QuietLoop loop;
    std::shared_ptr<Tasks> tasks = make_ring(loop);
    SECTION("nobody else holds them") { tasks.reset(); }
    SECTION("one of them is held") {
      const Task<void> one = tasks->at(1);
      tasks.reset();
      loop.close();
      CHECK(one.cancelled());
    }
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("tasks that wait for each other are reported by the default handler", "[memory][rule-7][cycles]") {
  const CaptureCerr errors;
  {
    TestLoop loop;
    make_ring(loop);
  }
  CHECK(errors.text().find(DESTROYED) != std::string::npos);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a task, its frame, its future and a callback that holds the task are freed with the loop",
          "[memory][rule-7][cycles]") {
  {
    QuietLoop loop;
    const Future<int> future(loop);
    const Task<int> task = loop.create_task(await_future(future));
    test::run_once(loop);
    future.add_done_callback([task, future, instance = Instance()](const auto&) {});
  }
  CHECK(Instance::alive() == 0);
}

// ---- Destructors that use the loop ----------------------------------------------------------------------

TEST_CASE("a destructor that calls the loop while it closes gets an error", "[memory][rule-7][rule-8]") {
  Log log;
  {
    QuietLoop loop;
    const Future<int> future(loop);
    loop.create_task(suspends_with(at_destruction([&] {
                                     log.push_back(thrown([&] { loop.call_soon([instance = Instance()] {}); }));
                                     log.push_back(thrown([&] { loop.call_later(1, [instance = Instance()] {}); }));
                                     log.push_back(thrown([&] { loop.create_task(returns(1)); }));
                                     log.push_back(
                                         thrown([&] { loop.call_soon_threadsafe([instance = Instance()] {}); }));
                                     log.push_back(thrown([&] { loop.run_forever(); }));
                                   }),
                                   future));
    test::run_once(loop);
  }
  CHECK(log == Log(5, CLOSED));
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a queued callback's destructor that calls the loop while it closes gets an error",
          "[memory][rule-7][rule-8]") {
  Log log;
  {
    QuietLoop loop;
    const auto calls = [&] { log.push_back(thrown([&] { loop.call_soon([] {}); })); };
    loop.call_soon([d = at_destruction(calls)] {});
    loop.call_later(1, [d = at_destruction(calls)] {});
    loop.add_reader(100, [d = at_destruction(calls)] {});
    Future<int>(loop).add_done_callback([d = at_destruction([] {})](const auto&) {});
  }
  CHECK(log == Log(3, CLOSED));
}

TEST_CASE("a destructor may set a future that another task of the closing loop awaits", "[memory][rule-7]") {
  std::string error;
  {
    QuietLoop loop;
    const Future<int> future(loop);
    loop.create_task(
        suspends_with(at_destruction([&] { error = thrown([&] { future.set_result(1); }); }), Future<int>(loop)));
    const Task<int> waiter = loop.create_task(await_future(future));
    test::run_once(loop);
    loop.close();
    CHECK(waiter.cancelled());
    CHECK(future.done());
  }
  CHECK(error == CLOSED);
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a destructor may cancel another task of the closing loop", "[memory][rule-7]") {
  std::string error;
  {
    QuietLoop loop;
    std::optional<Task<int>> other;
    loop.create_task(
        suspends_with(at_destruction([&] { error = thrown([&] { other->cancel(); }); }), Future<int>(loop)));
    other = loop.create_task(await_future(Future<int>(loop)));
    test::run_once(loop);
    loop.close();
    CHECK(other->cancelled());
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a destructor may add callbacks to futures of the closing loop", "[memory][rule-7][cycles]") {
  std::optional<Future<int>> future;
  {
    QuietLoop loop;
    future.emplace(loop);
    const auto adds = [&] {
      try {
        future->add_done_callback([f = *future, instance = Instance()](const auto&) {});
      } catch (const RuntimeError&) {}
    };
    loop.create_task(suspends_with(at_destruction(adds), Future<int>(loop)));
    Future<int>(loop).add_done_callback([d = at_destruction(adds)](const auto&) {});
    loop.call_later(1, [d = at_destruction(adds)] {});
    test::run_once(loop);
  }
  future.reset();
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a destructor may drop the last references to other tasks and futures of the closing loop",
          "[memory][rule-7]") {
  {
    QuietLoop loop;
    auto tasks = std::make_shared<std::vector<Task<int>>>();
    loop.create_task(suspends_with(at_destruction([tasks] { tasks->clear(); }), Future<int>(loop)));
    for (int i = 0; i < 3; ++i) tasks->push_back(loop.create_task(await_future(Future<int>(loop))));
    tasks->push_back(loop.create_task(returns(1)));
    test::run_once(loop);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("the destructor of a callback from another thread may call the closing loop", "[memory][rule-7][rule-8]") {
  std::string error;
  {
    QuietLoop loop;
    std::thread([&] {
      loop.call_soon_threadsafe([d = at_destruction([&] { error = thrown([&] { loop.call_soon([] {}); }); })] {});
    }).join();
  }
  CHECK(error == CLOSED);
}

TEST_CASE("the destructor of a callback from another thread may call call_soon_threadsafe of the closing loop",
          "[memory][rule-7][rule-8]") {
  CHECK(survives([] {
    auto loop = std::make_unique<QuietLoop>();
    const auto call = [&loop] { static_cast<void>(thrown([&] { loop->call_soon_threadsafe([] {}); })); };
    std::thread([&] { loop->call_soon_threadsafe([d = at_destruction(call)] {}); }).join();
    loop->close();
  }));
}

TEST_CASE("a null AnyFuture and a future that was moved from answer with an exception", "[memory][rule-8]") {
  CHECK(survives([] { static_cast<void>(thrown([] { return AnyFuture().done(); })); }));
  CHECK(survives([] { static_cast<void>(thrown([] { return AnyTask().cancel(); })); }));
  CHECK(survives([] {
    QuietLoop loop;
    Future<int> future(loop);
    const Future<int> other = std::move(future);
    static_cast<void>(thrown([&] { return future.result(); }));
  }));
  CHECK(survives([] {
    QuietLoop loop;
    Future<int> future(loop);
    const Future<int> other = std::move(future);
    static_cast<void>(thrown([&] { return loop.run_until_complete(await_future(future)); }));
  }));
}

TEST_CASE("an exception handler may use the loop while it reports the tasks of a closing loop",
          "[memory][rule-7][rule-8]") {
  Log log;
  {
    TestLoop loop;
    loop.set_exception_handler([&log](EventLoop& l, const asyncio::ExceptionContext& context) {
      log.push_back(context.message);
      log.push_back(thrown([&] { l.call_soon([] {}); }));
      log.push_back(thrown([&] { l.create_task(returns(1)); }));
    });
    loop.create_task(await_future(Future<int>(loop)));
    test::run_once(loop);
    loop.close();
  }
  CHECK(log == Log{DESTROYED, CLOSED, CLOSED});
  CHECK(Instance::alive() == 0);
}

TEST_CASE("what an exception handler throws while a loop closes does not keep the other tasks alive",
          "[memory][rule-7]") {
  const CaptureCerr errors;
  int reports = 0;
  {
    TestLoop loop;
    loop.set_exception_handler([&reports](EventLoop&, const asyncio::ExceptionContext&) {
      ++reports;
      throw asyncio::KeyboardInterrupt();
    });
    for (int i = 0; i < 3; ++i) loop.create_task(await_future(Future<int>(loop)));
    test::run_once(loop);
    try {
      loop.close();
    } catch (const asyncio::KeyboardInterrupt&) {}
  }
  CHECK(reports == 3);
  CHECK(Instance::alive() == 0);
}

// ---- This thread's loop ---------------------------------------------------------------------------------

TEST_CASE("a loop that is destroyed is this thread's loop no more", "[memory][rule-7]") {
  std::string error;
  std::thread([&error] {
    auto loop = asyncio::new_event_loop();
    asyncio::set_event_loop(loop.get());
    const Future<int> future;
    loop.reset();
    error = thrown([] { return Future<int>(); });
  }).join();
  CHECK(error.find("There is no current event loop") != std::string::npos);
}

TEST_CASE("300,000 futures that hold one another in a chain are destroyed without a deep stack", "[memory][rule-7]") {
  EventLoop loop;
  {
    Future<void> last(loop);
    for (int i = 0; i < 300'000; ++i) {
      const Future<void> next(loop);
      next.add_done_callback([last, counted = Instance()](const Future<void>&) {});
      last = next;
    }
    CHECK(Instance::alive() == 300'000);
  }
  CHECK(Instance::alive() == 0);
}

TEST_CASE("a gather in a gather, 10,000 deep, refuses a cancellation as Python's recursion limit does",
          "[memory][rule-5]") {
  EventLoop loop;
  const Future<void> innermost(loop);
  asyncio::AnyFuture outermost = innermost;
  for (int i = 0; i < 10'000; ++i) {
    outermost = asyncio::gather(std::vector<Future<void>>{Future<void>(outermost.state())});
  }
  CHECK_THROWS_AS(outermost.cancel(), asyncio::RuntimeError);
  CHECK_FALSE(outermost.done());
}
