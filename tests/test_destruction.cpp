// Every order in which a program can let go of what it holds: the loop, a task or a coroutine that is suspended at an
// await, what it awaits, and an instrument. The orders are generated: all permutations where there are few, else a
// sample, whose size ASYNCIO_STRESS=1 raises. Run under AddressSanitizer they show that nothing is used after its end;
// in every build they show that all frames, callbacks and descriptors are gone at the end.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include "tests/net.hpp"

using asyncio::AnyFuture, asyncio::AnyTask, asyncio::Coroutine, asyncio::Future, asyncio::Handle, asyncio::Task;
using test::Fd, test::Instance;

namespace {

// Time stands still, so that a sleeper sleeps until the test moves the clock.
struct StillLoop : asyncio::EventLoop {
  StillLoop() {
    set_exception_handler([](asyncio::EventLoop&, const asyncio::ExceptionContext&) {});
  }
  double time() const override { return now; }
  double now = 0;
};

// Keeps everything it is told of.
struct Collector : asyncio::Instrument {
  void handle_scheduled(const Handle& handle, const Handle&) override { handles.push_back(handle); }
  void task_created(const AnyTask& task, const AnyTask&) override { futures.push_back(task); }
  void task_waits(const AnyTask&, const AnyFuture& on) override { futures.push_back(on); }

  std::vector<Handle> handles;
  std::vector<AnyFuture> futures;
  Instance instance;
};

// The objects of one run, each of which is destroyed when its turn comes.
class Scene {
 public:
  Scene() {
    auto owned = std::make_shared<std::unique_ptr<StillLoop>>(std::make_unique<StillLoop>());
    loop = owned->get();
    objects.push_back({"loop", [this, owned] {
                         loop = nullptr;
                         owned->reset();
                       }});
    asyncio::Instrument& watching = *hold("instrument", std::make_unique<Collector>());
    loop->add_instrument(watching);
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  // Makes an object that lives until its turn.
  template <class T, class... Args> T& make(std::string name, Args&&... args) {
    const auto kept = std::make_shared<std::optional<T>>();
    T& made = kept->emplace(std::forward<Args>(args)...);
    objects.push_back({std::move(name), [kept] { kept->reset(); }});
    return made;
  }
  template <class T> T& hold(std::string name, T object) { return make<T>(std::move(name), std::move(object)); }
  template <class A> auto run(A awaitable) { return loop->run_until_complete(std::move(awaitable)); }

  struct Object {
    std::string name;
    std::function<void()> destroy;
  };
  StillLoop* loop;                     // null when it is gone
  std::vector<Object> objects;         // the loop is the first one
  std::function<void()> wake = [] {};  // ends the wait
};

Coroutine<void> counted(Coroutine<void> awaited, Instance) {
  const Instance local;
  co_await awaited;
}
template <class T> Coroutine<void> dropping_result(Coroutine<T> awaited) {
  const Instance local;
  static_cast<void>(co_await awaited);
}
template <class T> Coroutine<void> awaits(Future<T> future) { static_cast<void>(co_await std::move(future)); }
Coroutine<int> child(Future<int> future, Instance) { co_return co_await future; }

Future<int>& make_future(Scene& scene) {
  Future<int>& future = scene.make<Future<int>>("future", *scene.loop);
  scene.wake = [future] {
    if (!future.done()) future.set_result(1);
  };
  return future;
}

Coroutine<void> chain(Future<int> future, int depth) {
  const Instance local;
  if (depth == 0) co_await future;
  if (depth > 0) co_await chain(future, depth - 1);
}
Coroutine<void> in_timeout(Future<int> future) {
  auto body = [&]() -> Coroutine<void> { co_await future; };
  co_await asyncio::async_with(asyncio::timeout(1), body);
}
Coroutine<void> in_group(Future<int> future) {
  auto body = [&](asyncio::TaskGroup& group) -> Coroutine<void> {
    static_cast<void>(group.create_task(child(future, {})));
    co_return;
  };
  co_await asyncio::async_with(asyncio::TaskGroup(), body);
}
Coroutine<void> in_as_completed(Future<int> future) {
  std::vector<Future<int>> futures(1, future);
  for (auto& next : asyncio::as_completed(futures, {.timeout = 5})) static_cast<void>(co_await next);
}
Coroutine<void> in_wait(Future<int> future) {
  std::vector<Future<int>> futures(1, future);
  static_cast<void>(co_await asyncio::wait(futures, {.timeout = 5}));
}
Coroutine<void> in_gather(Future<int> future) {
  static_cast<void>(co_await asyncio::gather(future, child(future, {})));
}
Coroutine<void> in_shield(Future<int> future) { static_cast<void>(co_await asyncio::shield(child(future, {}))); }
Coroutine<void> in_condition(asyncio::Condition& condition) {
  co_await condition.acquire();
  co_await condition.wait();
  condition.release();
}
Coroutine<void> in_lock(asyncio::Lock& lock, Future<int> future) {
  co_await asyncio::async_with(lock, [&]() -> Coroutine<void> { co_await future; });
}

std::pair<Fd, Fd> full_pair(int type = SOCK_STREAM) {
  auto pair = test::socket_pair(type);
  test::fill(pair.first);
  return pair;
}

// A pair of sockets among the objects of the scene; `wake` makes the first one ready.
int socket_of(Scene& scene, std::pair<Fd, Fd> pair) {
  const int fd = scene.hold("socket", std::move(pair.first)), peer = scene.hold("peer", std::move(pair.second));
  scene.wake = [peer] {
    test::receive_all(peer);
    static_cast<void>(::send(peer, "x\n", 2, MSG_NOSIGNAL));
  };
  return fd;
}

// Streams, their transport and the other end.
test::Streams& streams_of(Scene& scene) {
  auto [ours, theirs] = test::socket_pair();
  test::Streams& streams = scene.hold("streams", scene.run(test::open_socket(ours.release())));
  scene.hold("transport", streams.second.transport());
  const int peer = scene.hold("peer", std::move(theirs));
  scene.wake = [peer] {
    test::receive_all(peer);
    static_cast<void>(::send(peer, "x\n", 2, MSG_NOSIGNAL));
  };
  return streams;
}

Coroutine<void> serves(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
  const Instance local;
  static_cast<void>(co_await reader.readline());
  writer.close();
}

// A server with one client, which is silent.
asyncio::Server& server_of(Scene& scene) {
  asyncio::Server& server = scene.hold("server", scene.run(asyncio::start_server(serves, "127.0.0.1", 0)));
  const int port = server.sockets().front().port();
  scene.hold("client", scene.run(asyncio::open_connection("127.0.0.1", port)));
  test::run_once(*scene.loop, 3);
  scene.wake = [server] {
    server.close();
    server.abort_clients();
  };
  return server;
}

// Lets a call in another thread return.
struct Gate {
  void open() { opened.release(1 << 10); }
  void pass() {
    opened.acquire();
    opened.release();
  }
  std::counting_semaphore<1 << 20> opened{0};
};

// Lets calls in other processes return.
struct ProcessGate {
  void open() { pipe.send("0123456789"); }
  void pass() {
    pollfd readable{pipe.reader, POLLIN, 0};
    ::poll(&readable, 1, -1);
    char byte;
    static_cast<void>(::read(pipe.reader, &byte, 1));
  }
  test::Pipe pipe;
};

// A call returns when its executor is destroyed, because that waits for it.
template <class Executor, class Gate> struct Pool {
  Pool() : gate(std::make_shared<Gate>()), executor(std::make_unique<Executor>(1)) {}
  Pool(Pool&&) = default;
  ~Pool() {
    if (gate) gate->open();
  }
  std::shared_ptr<Gate> gate;
  std::unique_ptr<Executor> executor;
};

template <class Executor, class Gate> Coroutine<void> in_executor(Scene& scene) {
  auto& pool = scene.make<Pool<Executor, Gate>>("executor");
  scene.wake = [gate = pool.gate] { gate->open(); };
  auto call = [gate = pool.gate] { gate->pass(); };
  return awaits(scene.loop->run_in_executor(pool.executor.get(), std::move(call)));
}

// Fills the queue of a listening socket: who connects now waits.
Fd crowded_listener(std::vector<Fd>& clients) {
  Fd listener = test::listening_socket(0);
  const asyncio::SocketAddress address = asyncio::getsockname(listener);
  for (int i = 0; i < 4; ++i) {
    clients.push_back(test::make_socket());
    static_cast<void>(::connect(clients.back(), address.data(), address.size()));
  }
  return listener;
}

asyncio::Process& child_of(Scene& scene) {
  const std::vector<std::string> cat(1, "cat");
  asyncio::Process& process = scene.hold(
      "process", scene.run(asyncio::create_subprocess_exec(cat, {.stdin_ = asyncio::PIPE, .stdout_ = asyncio::PIPE})));
  scene.hold("stdin", process.stdin_());
  scene.wake = [process] {
    if (!process.returncode()) process.kill();
  };
  return process;
}

struct Await {
  const char* name;
  std::function<Coroutine<void>(Scene&)> start;
  bool needs_task = false;    // fails in a coroutine that is driven by hand
  bool by_reference = false;  // what it awaits must not be destroyed before the coroutine runs on
  int at_most = 120;          // orders; 0: as few as possible, because each takes milliseconds
};

const std::vector<Await>& awaits_of_tasks() {
  static const std::vector<Await> all = {
      {"sleep(0)", [](Scene&) { return asyncio::sleep(0); }},
      {"sleep",
       [](Scene& scene) {
         scene.wake = [loop = scene.loop] { loop->now = 10; };
         return asyncio::sleep(1);
       }},
      {"a future", [](Scene& scene) { return awaits(make_future(scene)); }},
      {"a task",
       [](Scene& scene) {
         Future<int>& future = make_future(scene);
         return awaits<int>(scene.hold("task awaited", scene.loop->create_task(child(future, {}))));
       }},
      {"a chain of coroutines", [](Scene& scene) { return chain(make_future(scene), 5); }},
      {"gather", [](Scene& scene) { return in_gather(make_future(scene)); }},
      {"wait", [](Scene& scene) { return in_wait(make_future(scene)); }},
      {"wait_for", [](Scene& scene) { return dropping_result(asyncio::wait_for(make_future(scene), 5)); }, true},
      {"shield", [](Scene& scene) { return in_shield(make_future(scene)); }},
      {"as_completed", [](Scene& scene) { return in_as_completed(make_future(scene)); }},
      {"timeout", [](Scene& scene) { return in_timeout(make_future(scene)); }, true},
      {"TaskGroup", [](Scene& scene) { return in_group(make_future(scene)); }, true},
      {"Lock.acquire",
       [](Scene& scene) {
         asyncio::Lock& lock = scene.make<asyncio::Lock>("lock");
         scene.run(lock.acquire());
         scene.wake = [&lock] { lock.release(); };
         return dropping_result(lock.acquire());
       },
       false, true},
      {"the body of a lock",
       [](Scene& scene) {
         asyncio::Lock& lock = scene.make<asyncio::Lock>("lock");
         return in_lock(lock, make_future(scene));
       },
       false, true},
      {"Event.wait",
       [](Scene& scene) {
         asyncio::Event& event = scene.make<asyncio::Event>("event");
         scene.wake = [&event] { event.set(); };
         return dropping_result(event.wait());
       },
       false, true},
      {"Condition.wait",
       [](Scene& scene) {
         asyncio::Condition& condition = scene.make<asyncio::Condition>("condition");
         scene.wake = [&] {
           scene.run(condition.acquire());
           condition.notify();
           condition.release();
         };
         return in_condition(condition);
       },
       false, true},
      {"Semaphore.acquire",
       [](Scene& scene) {
         asyncio::Semaphore& semaphore = scene.make<asyncio::Semaphore>("semaphore", 0);
         scene.wake = [&] { semaphore.release(); };
         return dropping_result(semaphore.acquire());
       },
       false, true},
      {"Barrier.wait",
       [](Scene& scene) {
         asyncio::Barrier& barrier = scene.make<asyncio::Barrier>("barrier", 2);
         scene.wake = [&] { scene.run(barrier.abort()); };
         return dropping_result(barrier.wait());
       },
       false, true},
      {"Queue.get",
       [](Scene& scene) {
         auto& queue = scene.make<asyncio::Queue<Instance>>("queue");
         scene.wake = [&] { queue.put_nowait({}); };
         return dropping_result(queue.get());
       },
       false, true},
      {"Queue.put",
       [](Scene& scene) {
         auto& queue = scene.make<asyncio::Queue<Instance>>("queue", 1);
         queue.put_nowait({});
         scene.wake = [&] { static_cast<void>(queue.get_nowait()); };
         return queue.put({});
       },
       false, true},
      {"Queue.join",
       [](Scene& scene) {
         auto& queue = scene.make<asyncio::PriorityQueue<int>>("queue");
         queue.put_nowait(1);
         scene.wake = [&] { queue.task_done(); };
         return queue.join();
       },
       false, true},
      {"sock_recv",
       [](Scene& scene) { return dropping_result(scene.loop->sock_recv(socket_of(scene, test::socket_pair()), 10)); }},
      {"sock_recvfrom",
       [](Scene& scene) {
         return dropping_result(scene.loop->sock_recvfrom(socket_of(scene, test::socket_pair(SOCK_DGRAM)), 10));
       }},
      {"sock_sendall", [](Scene& scene) { return scene.loop->sock_sendall(socket_of(scene, full_pair()), "data"); }},
      {"sock_accept",
       [](Scene& scene) {
         const int fd = scene.hold("socket", test::listening_socket());
         const int client = scene.hold("client", test::make_socket(SOCK_STREAM));
         scene.wake = [fd, client] {
           const asyncio::SocketAddress address = asyncio::getsockname(fd);
           static_cast<void>(::connect(client, address.data(), address.size()));
         };
         return [](asyncio::EventLoop& loop, int listening) -> Coroutine<void> {
           const auto accepted = co_await loop.sock_accept(listening);
           ::close(accepted.first);
         }(*scene.loop, fd);
       }},
      {"sock_connect",
       [](Scene& scene) {
         std::vector<Fd> clients;
         const int listener = scene.hold("listener", crowded_listener(clients));
         scene.hold("clients", std::move(clients));
         const int fd = scene.hold("socket", test::make_socket());
         scene.wake = [fd] { ::shutdown(fd, SHUT_RDWR); };
         return scene.loop->sock_connect(fd, asyncio::getsockname(listener));
       }},
      {"sock_sendto",
       [](Scene& scene) {
         return dropping_result(scene.loop->sock_sendto(socket_of(scene, full_pair(SOCK_DGRAM)), "data", {}));
       }},
      {"sock_sendfile",
       [](Scene& scene) {
         const int file = scene.hold("file", Fd(::open("/dev/zero", O_RDONLY | O_CLOEXEC)));
         return dropping_result(scene.loop->sock_sendfile(socket_of(scene, full_pair()), file, 0, 10));
       }},
      {"sock_recv_into",
       [](Scene& scene) {
         auto& buffer = scene.hold("buffer", std::vector<char>(10));
         return dropping_result(scene.loop->sock_recv_into(socket_of(scene, test::socket_pair()), buffer));
       },
       false, true},
      {"StreamReader.readline", [](Scene& scene) { return dropping_result(streams_of(scene).first.readline()); }},
      {"StreamReader.read", [](Scene& scene) { return dropping_result(streams_of(scene).first.read()); }},
      {"StreamWriter.drain",
       [](Scene& scene) {
         const asyncio::StreamWriter& writer = streams_of(scene).second;
         writer.write(std::string(4 * test::MEGABYTE, 'x'));
         return writer.drain();
       },
       false, false, 24},
      {"StreamWriter.wait_closed",
       [](Scene& scene) {
         const asyncio::StreamWriter& writer = streams_of(scene).second;
         scene.wake = [writer] { writer.close(); };
         return writer.wait_closed();
       }},
      {"Server.wait_closed", [](Scene& scene) { return server_of(scene).wait_closed(); }},
      {"Server.serve_forever", [](Scene& scene) { return server_of(scene).serve_forever(); }},
      {"a datagram endpoint",
       [](Scene& scene) {
         auto made = scene.run(test::endpoint(*scene.loop, asyncio::SocketAddress("127.0.0.1", 0)));
         scene.hold("datagram transport", std::move(made.transport));
         scene.hold("protocol", std::move(made.protocol));
         return awaits(make_future(scene));
       }},
      {"a pipe",
       [](Scene& scene) {
         auto ends = test::make_pipe();
         const auto factory = [] { return std::make_shared<test::Recorder>(); };
         auto reading = scene.run(scene.loop->connect_read_pipe(factory, ends.first.release()));
         auto writing = scene.run(scene.loop->connect_write_pipe(factory, ends.second.release()));
         scene.hold("read pipe", std::move(reading.first));
         scene.hold("write pipe", std::move(writing.first));
         scene.hold("protocols", std::pair(std::move(reading.second), std::move(writing.second)));
         return awaits(make_future(scene));
       }},
      {"run_in_executor", in_executor<asyncio::ThreadPoolExecutor, Gate>, false, false, 12},
      {"run_in_executor, in a process", in_executor<asyncio::ProcessPoolExecutor, ProcessGate>, false, false, 0},
      {"to_thread",
       [](Scene&) {
         const auto gate = std::make_shared<Gate>();
         gate->open();  // the loop's own pool is joined by the loop
         return asyncio::to_thread([gate] { gate->pass(); });
       },
       false, false, 12},
      {"Process.wait", [](Scene& scene) { return dropping_result(child_of(scene).wait()); }, false, false, 0},
      {"Process.communicate", [](Scene& scene) { return dropping_result(child_of(scene).communicate("text")); }, false,
       false, 0},
  };
  return all;
}

using Order = std::vector<std::size_t>;

// All orders of n objects, or as many as wanted of them: the same ones every time.
std::vector<Order> orders(std::size_t n, std::size_t at_most) {
  Order order(n);
  std::iota(order.begin(), order.end(), 0);
  std::size_t all = 1;
  for (std::size_t i = 2; i <= n && all <= at_most; ++i) all *= i;
  std::vector<Order> result;
  if (all <= at_most) {
    do result.push_back(order);
    while (std::next_permutation(order.begin(), order.end()));
    return result;
  }
  std::mt19937 random(42);
  while (result.size() < at_most) {
    std::shuffle(order.begin(), order.end(), random);
    result.push_back(order);
  }
  return result;
}

enum class Phase { waiting, woken, cancelled };
enum class Way { at_once, in_callbacks, after_close };
constexpr Phase PHASES[] = {Phase::waiting, Phase::woken, Phase::cancelled};
constexpr Way WAYS[] = {Way::at_once, Way::in_callbacks, Way::after_close};

// in_callbacks: each is destroyed in a callback of the loop, which then runs on, until its own turn comes.
// after_close: the loop is closed when its turn comes, and destroyed last.
void destroy(Scene& scene, const Order& order, Way way) {
  for (const std::size_t i : order) {
    const Scene::Object& object = scene.objects[i];
    if (way == Way::in_callbacks && scene.loop && i != 0) {
      scene.loop->call_soon(object.destroy);
      test::run_once(*scene.loop, 2);
    } else if (way == Way::after_close && i == 0) {
      scene.loop->close();
    } else {
      object.destroy();
    }
  }
  if (scene.loop) scene.objects.front().destroy();
}

// Suspends a task, or a coroutine that is driven by hand, at the await.
void suspend(Scene& scene, const Await& await, bool in_task, Phase phase) {
  Coroutine<void> body = counted(await.start(scene), {});
  AnyFuture awaited;
  if (in_task) {
    Task<void>& task = scene.hold("task", scene.loop->create_task(std::move(body)));
    test::run_once(*scene.loop, 2);
    if (phase == Phase::cancelled) task.cancel();
  } else {
    Coroutine<void>& coroutine = scene.hold("coroutine", std::move(body));
    scene.loop->call_soon([&] { awaited = coroutine.send().value(); });
    test::run_once(*scene.loop, 2);
    if (phase == Phase::cancelled && awaited) awaited.cancel();
  }
  if (phase == Phase::woken) scene.wake();
}

int lowest_free_fd() {
  const Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  return fd;
}

// One run: what is wrong at its end, or "".
std::string run_scene(const Await& await, bool in_task, Phase phase, Way way, const Order& order) {
  const int free_before = lowest_free_fd();
  std::string names;
  {
    Scene scene;
    suspend(scene, await, in_task, phase);
    for (const std::size_t i : order) names += " " + scene.objects[i].name;
    destroy(scene, order, way);
  }
  std::string wrong;
  if (Instance::alive() != 0) wrong += " leaks " + std::to_string(Instance::alive());
  if (lowest_free_fd() != free_before) wrong += " leaves a descriptor open";
  return wrong.empty() ? wrong : names + ":" + wrong;
}

std::size_t objects_of(const Await& await, bool in_task) {
  Scene scene;
  suspend(scene, await, in_task, Phase::waiting);
  Order backwards(scene.objects.size());
  std::iota(backwards.rbegin(), backwards.rend(), 0);
  destroy(scene, backwards, Way::at_once);
  return backwards.size();
}

std::size_t wanted_orders(const Await& await) {
  if (test::stress()) return await.at_most == 0 ? 24 : 5040;
  return await.at_most == 0 ? 2 : static_cast<std::size_t>(await.at_most);
}

void check_every_order(const Await& await, bool in_task) {
  const std::vector<Order> all = orders(objects_of(await, in_task), wanted_orders(await));
  for (const Phase phase : PHASES) {
    for (const Way way : WAYS) {
      if (await.by_reference && way == Way::in_callbacks && phase != Phase::waiting) continue;
      for (const Order& order : all) {
        const std::string wrong = run_scene(await, in_task, phase, way, order);
        INFO(await.name << (in_task ? " in a task" : " by hand") << ", phase " << static_cast<int>(phase) << ", way "
                        << static_cast<int>(way) << ", order:" << wrong);
        if (!wrong.empty()) FAIL_CHECK("something is left");
      }
    }
  }
}

// What a program may hold besides: a callback, a timer, a reader, a writer, a task that has failed, another thread's task.
void add_handles(Scene& scene) {
  asyncio::EventLoop& loop = *scene.loop;
  const auto callback = [instance = Instance()] {};
  auto [ours, theirs] = test::socket_pair();
  scene.hold("reader", loop.add_reader(ours, callback));
  scene.hold("writer", loop.add_writer(theirs, callback));
  scene.hold("one end", std::move(ours));
  scene.hold("other end", std::move(theirs));
  scene.hold("handle", loop.call_soon(callback));
  scene.hold("timer", loop.call_later(5, callback));
  scene.hold("failed task", loop.create_task(test::fails()));
  scene.hold("std::future", asyncio::run_coroutine_threadsafe(test::returns(1), loop));
  loop.add_signal_handler(SIGUSR1, callback);
}

// Several tasks at once, each at an await of its own.
std::string run_mix(std::mt19937& random) {
  const auto any_of = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  const int free_before = lowest_free_fd();
  std::string names;
  {
    Scene scene;
    const Way way = WAYS[any_of(3)];
    add_handles(scene);
    for (int i = 0; i < 4; ++i) {
      const Await& await = awaits_of_tasks()[any_of(awaits_of_tasks().size())];
      if (await.at_most == 0) continue;
      const Phase phase = await.by_reference && way == Way::in_callbacks ? Phase::waiting : PHASES[any_of(3)];
      names += std::string(" ") + await.name;
      scene.wake = [] {};
      suspend(scene, await, await.needs_task || any_of(2) == 0, phase);
    }
    Order order(scene.objects.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t i : order) names += ", " + scene.objects[i].name;
    destroy(scene, order, way);
  }
  const bool clean = Instance::alive() == 0 && lowest_free_fd() == free_before;
  return clean ? "" : names + ": leaves " + std::to_string(Instance::alive()) + " objects";
}

}  // namespace

TEST_CASE("a task suspended at any await can be destroyed before, between and after all else", "[destruction]") {
  const test::CaptureCerr captured;
  for (const Await& await : awaits_of_tasks()) {
    check_every_order(await, true);
    CHECK_FALSE(test::has_children());
  }
}

TEST_CASE("a coroutine driven by hand can be destroyed before, between and after all else", "[destruction]") {
  const test::CaptureCerr captured;
  for (const Await& await : awaits_of_tasks()) {
    if (!await.needs_task) check_every_order(await, false);
    CHECK_FALSE(test::has_children());
  }
}

TEST_CASE("an instrument may keep the handle of a call that a thread has made, beyond the loop", "[destruction]") {
  Collector collector;
  {
    StillLoop loop;
    asyncio::ThreadPoolExecutor threads(1);
    loop.add_instrument(collector);
    CHECK(loop.run_until_complete(loop.run_in_executor(&threads, [] { return 42; })) == 42);
  }
  CHECK(collector.handles.size() > 0);
}

TEST_CASE("many objects at once can be destroyed in any order", "[destruction]") {
  const test::CaptureCerr captured;
  std::mt19937 random(7);
  for (int i = test::stress() ? 50000 : 1500; i > 0; --i) {
    if (const std::string wrong = run_mix(random); !wrong.empty()) FAIL_CHECK(wrong);
  }
  CHECK_FALSE(test::has_children());
}
