// The public API, section by section: every call with a type that can neither be made from nothing nor be copied, where a
// type can be chosen.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "tests/net.hpp"

namespace {

using namespace std::chrono_literals;
using asyncio::AnyFuture;
using asyncio::AnyTask;
using asyncio::async_with;
using asyncio::CancelledError;
using asyncio::Coroutine;
using asyncio::create_task;
using asyncio::EventLoop;
using asyncio::Future;
using asyncio::Handle;
using asyncio::None;
using asyncio::NoneType;
using asyncio::SocketAddress;
using asyncio::Task;
using asyncio::TimerHandle;
using asyncio::Transport;
using test::CaptureCerr;
using test::contains;
using test::CurrentLoop;
using test::Log;
using test::make_pipe;
using test::NetLoop;
using test::Numbers;
using test::run_briefly;
using test::run_once;
using test::SocketPair;
using test::TestLoop;
using test::thrown;

constexpr const char* LOOPBACK = "127.0.0.1";

/// Cannot be made without a number, copied or assigned.
struct Only {
  explicit Only(int n) : number(n) {}
  Only(Only&& other) noexcept : number(std::exchange(other.number, -1)) {}
  Only(const Only&) = delete;
  int number;
};

/// The same, but for assignment, and with an order.
struct Ranked {
  explicit Ranked(int n) : number(n) {}
  Ranked(Ranked&&) = default;
  Ranked& operator=(Ranked&&) = default;
  friend bool operator<(const Ranked& a, const Ranked& b) { return a.number < b.number; }
  int number;
};

/// Can be copied, but not made from nothing.
struct Unmade {
  explicit Unmade(int n) : number(n) {}
  int number;
};

static_assert(!std::is_default_constructible_v<Only> && !std::is_copy_constructible_v<Only>);
static_assert(!std::is_move_assignable_v<Only>);

Coroutine<Only> only(int number) { co_return Only(number); }
Coroutine<Only> only_later(double seconds, int number) {
  co_await asyncio::sleep(seconds);
  co_return Only(number);
}
Coroutine<Only> only_fails() {
  throw asyncio::ValueError("spam");
  co_return Only(0);
}
/// Returns what it is given.
template <class T> Coroutine<T> gives(T value) { co_return value; }

Coroutine<int> number_of(Coroutine<Only> coroutine) { co_return (co_await coroutine).number; }

template <class A, class B> constexpr bool same = std::is_same_v<A, B>;

}  // namespace

/// CHECK of an expression that awaits: g++ 12 would evaluate it twice.
#define CHECK_AWAIT(...)                               \
  do {                                                 \
    const bool holds = static_cast<bool>(__VA_ARGS__); \
    INFO(#__VA_ARGS__);                                \
    CHECK(holds);                                      \
  } while (false)

// Spelling

TEST_CASE("what is no std::exception passes a handler of std::exception, what is one does not", "[api]") {
  static_assert(!std::is_base_of_v<std::exception, CancelledError>);
  static_assert(!std::is_base_of_v<std::exception, asyncio::KeyboardInterrupt>);
  static_assert(!std::is_base_of_v<std::exception, asyncio::SystemExit>);
  static_assert(std::is_base_of_v<std::exception, asyncio::Error>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::InvalidStateError>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::TimeoutError>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::QueueEmpty>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::QueueFull>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::QueueShutDown>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::BrokenBarrierError>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::IncompleteReadError>);
  static_assert(std::is_base_of_v<asyncio::Error, asyncio::LimitOverrunError>);
  static_assert(std::is_base_of_v<std::exception, asyncio::ExceptionGroup>);
  static_assert(same<asyncio::RuntimeError, std::runtime_error> && same<asyncio::ValueError, std::invalid_argument>);
  static_assert(same<asyncio::KeyError, std::out_of_range> && same<asyncio::OSError, std::system_error>);
  static_assert(same<asyncio::NoneType, std::monostate>);
  CHECK(asyncio::SystemExit(3).code() == 3);
  CHECK(asyncio::IncompleteReadError("ab", 5).partial() == "ab");
  CHECK(asyncio::IncompleteReadError("ab", 5).expected() == 5u);
  CHECK(asyncio::LimitOverrunError("long", 7).consumed() == 7);
  const std::exception_ptr one = std::make_exception_ptr(asyncio::ValueError("spam"));
  const asyncio::ExceptionGroup group("errors", std::vector{one});
  CHECK(group.exceptions() == std::vector{one});
}

TEST_CASE("a span of time is a number of seconds or a duration, wherever one is asked for", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    EventLoop& running = asyncio::get_running_loop();
    co_await asyncio::sleep(1);
    co_await asyncio::sleep(0.5);
    co_await asyncio::sleep(500ms);
    co_await asyncio::sleep(1min);
    CHECK(running.time() == Approx(62));
    CHECK(running.call_later(2s, [] {}).when() == Approx(64));
    CHECK(running.call_later(2, [] {}).when() == Approx(64));
    CHECK_AWAIT((co_await asyncio::wait_for(only(1), 10ms)).number == 1);
    CHECK_AWAIT((co_await asyncio::wait_for(only(2), 1)).number == 2);
    CHECK_AWAIT((co_await asyncio::wait_for(only(3), std::nullopt)).number == 3);
    auto entered = asyncio::timeout(250ms);
    co_await async_with(entered, [&]() -> Coroutine<void> {
      CHECK(*entered.when() == Approx(62.25));
      co_return;
    });
  };
  loop.run_until_complete(main());
}

TEST_CASE("async_with gives the body's value, which need be neither default nor copied", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<int> {
    asyncio::Lock lock;
    const Only a = co_await async_with(lock, [&](auto& entered) -> Coroutine<Only> {
      CHECK(&entered == &lock);
      CHECK(lock.locked());
      co_return co_await only(1);
    });
    const Only b = co_await async_with(asyncio::timeout(1), [&]() -> Coroutine<Only> { co_return Only(20); });
    CHECK_FALSE(lock.locked());
    co_return a.number + b.number;
  };
  CHECK(loop.run_until_complete(main()) == 21);
}

namespace {

/// Swallows all errors, and gives an Only to the body.
struct Swallows {
  Coroutine<Only> aenter() { co_return Only(7); }
  Coroutine<bool> aexit(std::exception_ptr) { co_return true; }
};

}  // namespace

TEST_CASE("the value of a body whose error was swallowed is R{}, or a RuntimeError where there is no R{}", "[api]") {
  TestLoop loop;
  auto none = []() -> Coroutine<std::optional<Only>> {
    co_return co_await async_with(Swallows(), [&](Only&) -> Coroutine<std::optional<Only>> {
      throw asyncio::ValueError("spam");
      co_return Only(1);
    });
  };
  auto impossible = []() -> Coroutine<Only> {
    co_return co_await async_with(Swallows(), [&]() -> Coroutine<Only> { return only_fails(); });
  };
  auto value = []() -> Coroutine<Only> {
    co_return co_await async_with(Swallows(), [&](Only& given) -> Coroutine<Only> { co_return std::move(given); });
  };
  CHECK_FALSE(loop.run_until_complete(none()).has_value());
  CHECK(contains(thrown([&] { return loop.run_until_complete(impossible()).number; }), "runtime_error: async_with"));
  CHECK(loop.run_until_complete(value()).number == 7);
}

TEST_CASE("callbacks and their arguments may be move-only, and are invoked as lvalues", "[api]") {
  TestLoop loop;
  Numbers numbers;
  struct Callback {
    Numbers& numbers;
    Only own;
    void operator()(Only& argument) { numbers.push_back(10 * own.number + argument.number); }
    void method(int& n) { numbers.push_back(n); }
  };
  loop.call_soon(Callback{numbers, Only(1)}, Only(2));
  loop.call_soon_threadsafe(Callback{numbers, Only(3)}, Only(4));
  loop.call_later(1, Callback{numbers, Only(5)}, Only(6));
  loop.call_at(2, Callback{numbers, Only(7)}, Only(8));
  Callback object{numbers, Only(0)};
  loop.call_soon(&Callback::method, &object, 9);
  loop.call_soon(&Callback::method, std::ref(object), 10);
  loop.run_until_complete(asyncio::sleep(3));
  CHECK(numbers == Numbers{12, 34, 9, 10, 56, 78});
}

TEST_CASE("callables stand where a coroutine may, and live as long as their body", "[api]") {
  TestLoop loop;
  auto made = [](int number) {
    return [own = std::make_unique<int>(number)]() -> Coroutine<Only> {
      co_await asyncio::sleep(1);
      co_return Only(*own);
    };
  };
  auto main = [&]() -> Coroutine<Numbers> {
    auto task = create_task(made(1));
    Only first = co_await std::move(task);
    auto in_group = [&](asyncio::TaskGroup& group) -> Coroutine<Only> {
      auto member = group.create_task(made(2), {.name = "member"});
      CHECK(member.get_name() == "member");
      co_return co_await std::move(member);
    };
    const Only second = co_await async_with(asyncio::TaskGroup(), in_group);
    auto callable = made(3);
    const auto [third] = co_await asyncio::gather(std::move(callable));
    auto other = made(4);
    const Only fourth = co_await asyncio::wait_for(std::move(other), 2);
    auto ensured = asyncio::ensure_future(made(5));
    const Only fifth = co_await std::move(ensured);
    auto shielded = asyncio::shield(made(6));
    const Only sixth = co_await std::move(shielded);
    co_return Numbers{first.number, second.number, third.number, fourth.number, fifth.number, sixth.number};
  };
  CHECK(loop.run_until_complete(main()) == Numbers{1, 2, 3, 4, 5, 6});
  CHECK(loop.run_until_complete(loop.create_task(made(8))).number == 8);
  CHECK(asyncio::run([own = Only(9)]() -> Coroutine<int> { co_return own.number; }) == 9);
}

// selectors

TEST_CASE("a selector tells whose descriptor is ready", "[api]") {
  selectors::DefaultSelector selector;
  auto [reader, writer] = make_pipe();
  int owner = 0;
  const selectors::SelectorKey key = selector.register_(reader, selectors::EVENT_READ, &owner);
  CHECK((key.fd == reader && key.events == selectors::EVENT_READ && key.data == &owner));
  CHECK(selector.select(0).empty());
  test::send_all(writer, "x");
  const auto ready = selector.select();
  REQUIRE(ready.size() == 1);
  CHECK((ready[0].key.data == &owner && ready[0].events == selectors::EVENT_READ));
  CHECK(selector.modify(reader, selectors::EVENT_READ, nullptr).data == nullptr);
  CHECK(selector.get_key(reader).data == nullptr);
  CHECK(selector.size() == 1);
  CHECK_THROWS_AS(selector.register_(reader, selectors::EVENT_READ), asyncio::KeyError);
  CHECK_THROWS_AS(selector.register_(writer, 0), asyncio::ValueError);
  CHECK(selector.unregister(reader).fd == reader);
  CHECK_THROWS_AS(selector.unregister(reader), asyncio::KeyError);
  selector.close();
  CHECK_THROWS_AS(selector.select(0), asyncio::RuntimeError);
}

// Event loop

TEST_CASE("the current loop is the running one, else the one that was set", "[api]") {
  const std::unique_ptr<EventLoop> loop = asyncio::new_event_loop();
  CHECK(asyncio::get_running_loop_or_null() == nullptr);
  CHECK(thrown([] { return &asyncio::get_running_loop(); }) == "std::runtime_error: no running event loop");
  asyncio::set_event_loop(loop.get());
  CHECK(&asyncio::get_event_loop() == loop.get());
  EventLoop other(std::make_unique<selectors::PollSelector>());
  auto main = [&]() -> Coroutine<void> {
    CHECK(&asyncio::get_running_loop() == &other);
    CHECK(asyncio::get_running_loop_or_null() == &other);
    CHECK(&asyncio::get_event_loop() == &other);
    CHECK(other.is_running());
    co_return;
  };
  other.run_until_complete(main());
  asyncio::set_event_loop(nullptr);
  CHECK(contains(test::thrown_in_thread([] { return &asyncio::get_event_loop(); }), "no current event loop in thread"));
  CHECK_FALSE(other.is_closed());
  other.close();
  CHECK(other.is_closed());
}

TEST_CASE("run_until_complete moves the value of a coroutine, a future or a task out", "[api]") {
  TestLoop loop;
  CHECK(loop.run_until_complete(only(1)).number == 1);
  const Task<Only> task = loop.create_task(only(2), {.name = "two"});
  CHECK(loop.run_until_complete(task).number == 2);
  const Future<Only> future = loop.create_future<Only>();
  loop.call_soon([future] { future.set_result(Only(3)); });
  CHECK(loop.run_until_complete(future).number == 3);
  CHECK(thrown([&] { return loop.run_until_complete(only_fails()).number; }) == "std::invalid_argument: spam");
  loop.call_soon([&] { loop.stop(); });
  loop.run_forever();
}

TEST_CASE("a task may be made with its class as with the loop", "[api]") {
  CurrentLoop loop;
  Task<Only> here(only(1));
  Task<Only> there(only(2), loop);
  CHECK(loop.run_until_complete(std::move(there)).number == 2);
  CHECK(loop.run_until_complete(std::move(here)).number == 1);
}

TEST_CASE("handles cancel callbacks, timers and readers", "[api]") {
  NetLoop loop;
  auto [reader, writer] = make_pipe();
  Log log;
  const Handle soon = loop.call_soon([&] { log.push_back("soon"); });
  const TimerHandle later = loop.call_later(0, [&] { log.push_back("later"); });
  const TimerHandle at = loop.call_at(loop.time() + 1000, [&] { log.push_back("at"); });
  const Handle readable = loop.add_reader(
      reader, [&](Only& argument) { log.push_back("reader " + std::to_string(argument.number)); }, Only(1));
  const Handle writable = loop.add_writer(
      writer, [&](Only&) { log.push_back("writer"); }, Only(2));
  CHECK(at.when() > later.when());
  CHECK(Handle(at) == at);
  CHECK(soon != readable);
  for (const Handle& handle : {soon, Handle(later), Handle(at), writable}) {
    CHECK_FALSE(handle.cancelled());
    handle.cancel();
    CHECK(handle.cancelled());
  }
  test::send_all(writer, "x");
  run_once(loop);
  CHECK(log == Log{"reader 1"});
  CHECK_FALSE(loop.remove_writer(writer));
  CHECK(loop.remove_reader(reader));
  CHECK_FALSE(loop.remove_reader(reader));
  CHECK(readable.cancelled());
}

TEST_CASE("the sock methods move bytes between descriptors", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    SocketPair pair;
    co_await loop.sock_sendall(pair.a, "spam");
    CHECK_AWAIT(co_await loop.sock_recv(pair.b, 2) == "sp");
    std::array<char, 10> buffer{};
    CHECK_AWAIT(co_await loop.sock_recv_into(pair.b, buffer) == 2);
    CHECK(std::string(buffer.data()) == "am");
    const test::Fd listening = test::listening_socket();
    const test::Fd client = test::make_socket();
    const SocketAddress where = asyncio::getsockname(listening);
    auto [accepted, nothing] = co_await asyncio::gather(loop.sock_accept(listening), loop.sock_connect(client, where));
    static_assert(same<decltype(nothing), NoneType>);
    const test::Fd server(accepted.first);
    CHECK(accepted.second == asyncio::getsockname(client));
    const test::Fd one = test::bound_socket(SOCK_DGRAM), other = test::bound_socket(SOCK_DGRAM);
    CHECK_AWAIT(co_await loop.sock_sendto(one, "eggs", asyncio::getsockname(other)) == 4);
    const auto [data, sender] = co_await loop.sock_recvfrom(other, 100);
    CHECK(data == "eggs");
    CHECK(sender == asyncio::getsockname(one));
  };
  loop.run(main);
}

TEST_CASE("an executor's function may return what can only be moved", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    Future<Only> future = loop.run_in_executor(
        nullptr, [](Only& argument) { return std::move(argument); }, Only(1));
    CHECK_AWAIT((co_await std::move(future)).number == 1);
    auto capturing = [own = Only(2)] { return Only(own.number); };
    CHECK_AWAIT((co_await loop.run_in_executor(nullptr, std::move(capturing))).number == 2);
    asyncio::ThreadPoolExecutor pool(1);
    CHECK_AWAIT((co_await loop.run_in_executor(&pool, [] { return std::make_unique<int>(3); })) != nullptr);
    co_await loop.run_in_executor(&pool, [] {});
    CHECK_AWAIT((co_await asyncio::to_thread([](Only& argument) { return std::move(argument); }, Only(4))).number == 4);
    co_await asyncio::to_thread([] {});
    co_await loop.shutdown_default_executor();
    const std::vector<SocketAddress> found = co_await loop.getaddrinfo(LOOPBACK, "80");
    CHECK(found.at(0) == SocketAddress(LOOPBACK, 80));
  };
  loop.run(main);
}

TEST_CASE("what a process returns need be neither default nor copied if its bytes may be", "[api]") {
  if (test::TSAN) return;  // which does not follow a fork
  static_assert(std::is_trivially_copyable_v<Ranked> && !std::is_default_constructible_v<Ranked>);
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    asyncio::ProcessPoolExecutor pool(1);
    CHECK_AWAIT((co_await loop.run_in_executor(&pool, [] { return Ranked(5); })).number == 5);
    CHECK_AWAIT((co_await loop.run_in_executor(&pool, [] { return Unmade(6); })).number == 6);
    CHECK_AWAIT(co_await loop.run_in_executor(&pool, [] { return std::string("spam"); }) == "spam");
    co_await loop.run_in_executor(&pool, [] {});
    const auto fails = [] { throw asyncio::ValueError("eggs"); };
    CHECK_AWAIT(co_await test::thrown_by(asyncio::wait_for(loop.run_in_executor(&pool, fails), 10)) ==
                "std::runtime_error: eggs");
  };
  loop.run(main);
}

TEST_CASE("a signal calls its handler with arguments of its own", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<int> {
    const Future<int> arrived(loop);
    loop.add_signal_handler(
        SIGUSR1, [arrived](Only& argument) { arrived.set_result(argument.number); }, Only(3));
    ::raise(SIGUSR1);
    const int number = co_await arrived;
    CHECK(loop.remove_signal_handler(SIGUSR1));
    CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
    co_return number;
  };
  CHECK(loop.run(main) == 3);
}

TEST_CASE("an exception handler is told what is known, and nullptr is the default one again", "[api]") {
  TestLoop loop;
  std::vector<asyncio::ExceptionContext> told;
  loop.set_exception_handler([&](EventLoop& of, const asyncio::ExceptionContext& context) {
    CHECK(&of == &loop);
    told.push_back(context);
  });
  const Handle handle = loop.call_soon([] { throw asyncio::ValueError("spam"); });
  run_once(loop);
  loop.call_exception_handler({"by hand", nullptr, {}, {}});
  REQUIRE(told.size() == 2);
  CHECK(told[0].handle == handle);
  CHECK(asyncio::describe(told[0].exception) == "std::invalid_argument: spam");
  CHECK((told[1].message == "by hand" && !told[1].exception && !told[1].future && !told[1].handle));
  loop.set_exception_handler(nullptr);
  const CaptureCerr cerr;
  loop.call_exception_handler({"eggs", nullptr, {}, {}});
  loop.default_exception_handler({"bacon", nullptr, {}, {}});
  CHECK(contains(cerr.text(), "eggs"));
  CHECK(contains(cerr.text(), "bacon"));
  CHECK(told.size() == 2);
  loop.set_debug(true);
  CHECK(loop.get_debug());
  CHECK(loop.slow_callback_duration == 0.1);
}

// Future

TEST_CASE("a future takes and gives a value that can only be moved", "[api]") {
  CurrentLoop loop;
  const Future<Only> future;
  CHECK(&future.get_loop() == &loop);
  CHECK_FALSE(future.done());
  CHECK_THROWS_AS(future.exception(), asyncio::InvalidStateError);
  Numbers told;
  future.add_done_callback([&told, own = Only(1)](Future<Only> done) {
    told.push_back(own.number);
    CHECK(done.done());
  });
  const asyncio::CallbackId removed = future.add_done_callback([&](const Future<Only>&) { told.push_back(2); });
  CHECK(future.remove_done_callback(removed) == 1);
  CHECK(future.remove_done_callback(removed) == 0);
  future.set_result(Only(5));
  CHECK_THROWS_AS(future.set_result(Only(6)), asyncio::InvalidStateError);
  CHECK(future.exception() == nullptr);
  CHECK_FALSE(future.cancel());
  auto main = [](Future<Only> awaited) -> Coroutine<Only> { co_return co_await std::move(awaited); };
  CHECK(loop.run_until_complete(main(future)).number == 5);
  CHECK(told == Numbers{1});
}

TEST_CASE("a future's exception is an object or a pointer to one", "[api]") {
  TestLoop loop;
  const Future<Only> object(loop), pointer(loop);
  object.set_exception(asyncio::ValueError("spam"));
  const std::exception_ptr kept = std::make_exception_ptr(asyncio::ValueError("eggs"));
  pointer.set_exception(kept);
  CHECK(asyncio::describe(object.exception()) == "std::invalid_argument: spam");
  CHECK(pointer.exception() == kept);
  CHECK_THROWS_AS(pointer.set_exception(asyncio::ValueError("again")), asyncio::InvalidStateError);
  CHECK_THROWS(Future<Only>(loop).set_exception(nullptr));
}

TEST_CASE("awaiting a future copies; awaiting an rvalue moves, but not what others hold and could copy", "[api]") {
  TestLoop loop;
  const std::string text = "a text that is too long to stand in the string itself";
  auto main = [&]() -> Coroutine<void> {
    Future<std::string> future(loop);
    future.set_result(text);
    const Future<std::string> held = future;
    CHECK_AWAIT(co_await future == text);
    CHECK_AWAIT(co_await std::move(future) == text);
    CHECK(held.result() == text);
    auto owner = std::make_shared<int>(1);
    Future<std::shared_ptr<int>> last(loop);
    last.set_result(std::move(owner));
    const std::shared_ptr<int> value = co_await std::move(last);
    CHECK(value.use_count() == 1);
  };
  loop.run_until_complete(main());
}

TEST_CASE("containers, pairs and optionals of what can only be moved are moved, too", "[api]") {
  TestLoop loop;
  const auto round_trip = [&](auto value) -> decltype(value) {
    auto main = [](decltype(value) given) -> Coroutine<decltype(value)> {
      auto task = create_task(gives(std::move(given)));
      co_return co_await std::move(task);
    };
    return loop.run_until_complete(main(std::move(value)));
  };
  std::vector<Only> vector;
  vector.emplace_back(1);
  CHECK(round_trip(std::move(vector)).at(0).number == 1);
  std::list<Only> list;
  list.emplace_back(2);
  CHECK(round_trip(std::move(list)).front().number == 2);
  std::map<int, Only> map;
  map.emplace(3, Only(3));
  CHECK(round_trip(std::move(map)).at(3).number == 3);
  std::pair<int, std::list<Only>> pair;
  pair.second.emplace_back(4);
  CHECK(round_trip(std::move(pair)).second.front().number == 4);
  std::vector<std::pair<int, std::list<Only>>> nested(1);
  nested[0].second.emplace_back(5);
  CHECK(round_trip(std::move(nested)).at(0).second.front().number == 5);
  CHECK(round_trip(std::optional<Only>(6))->number == 6);
  CHECK(std::get<0>(round_trip(std::variant<Only, int>(Only(7)))).number == 7);
  CHECK(round_trip(std::map<int, std::string>{{1, "one"}}).at(1) == "one");
}

TEST_CASE("futures and tasks of all types are compared, hashed and kept without their type", "[api]") {
  TestLoop loop;
  const Task<Only> task = loop.create_task(only(1), {.name = "one"});
  const Future<Only> future = task;
  const AnyFuture any = future;
  const AnyTask any_task = task;
  const Future<void> other(loop);
  CHECK((future == task && any == task && task == any_task && any_task == future));
  CHECK(any != other);
  CHECK(task != other);
  CHECK(std::unordered_set<AnyFuture>{task, future, any, any_task, other}.size() == 2);
  CHECK(std::unordered_set<Task<Only>>{task, task}.size() == 1);
  CHECK(std::hash<AnyTask>()(any_task) == std::hash<Future<Only>>()(future));
  CHECK_FALSE(AnyFuture());
  CHECK(any);
  AnyFuture told;
  any.add_done_callback([&](AnyFuture done) { told = done; });
  CHECK(any_task.get_name() == "one");
  CHECK(any_task.cancelling() == 0);
  CHECK(any_task.get_stack().empty());  // it has not begun
  CHECK_THROWS_AS(future.set_result(Only(2)), asyncio::RuntimeError);
  run_briefly(loop);
  CHECK((told == task && any.done() && !any.cancelled() && !any.exception() && !any.cancel()));
}

TEST_CASE("cancelling a future that was a task cancels the coroutine, with its message", "[api]") {
  TestLoop loop;
  Task<Only> task = loop.create_task(only_later(1000, 1));
  const Future<Only> future = task;
  run_once(loop);
  CHECK(future.cancel("enough"));
  CHECK(task.cancelling() == 1);
  try {
    loop.run_until_complete(task);
    FAIL("it was cancelled");
  } catch (const CancelledError& error) {
    CHECK(error.what() == std::string("enough"));
  }
  CHECK(task.cancelled());
}

TEST_CASE("what is pending when its loop closes is cancelled, and what needs the loop is an error", "[api]") {
  auto loop = std::make_unique<TestLoop>();
  loop->catch_exceptions();
  const Future<Only> done(*loop);
  done.set_result(Only(1));
  const Task<Only> pending = loop->create_task(only_later(1, 2));
  run_once(*loop);
  loop.reset();
  CHECK(pending.cancelled());
  CHECK(done.take_result().number == 1);
  CHECK(thrown([&] { return &done.get_loop(); }) == test::CLOSED);
}

// Tasks, coroutines

TEST_CASE("a task has a name, a count of its cancellations, and a stack", "[api]") {
  TestLoop loop;
  loop.catch_exceptions();
  auto main = [&]() -> Coroutine<void> {
    Task<Only> task = create_task(only_later(1000, 1), {.name = "sleeper"});
    CHECK(task.get_name() == "sleeper");
    task.set_name("dreamer");
    CHECK(task.get_name() == "dreamer");
    CHECK(asyncio::all_tasks().size() == 2);
    CHECK(asyncio::all_tasks().at(1) == task);
    CHECK(asyncio::current_task() == asyncio::all_tasks().at(0));
    co_await asyncio::sleep(0);
    CHECK(contains(task.get_stack().at(0).function, "only_later"));
    std::ostringstream text;
    task.print_stack(text);
    CHECK(contains(text.str(), "test_api.cpp"));
    task.cancel();
    CHECK((task.cancelling() == 1 && task.uncancel() == 0));
    CHECK_THROWS_AS(task.set_exception(asyncio::ValueError("")), asyncio::RuntimeError);
    co_return;
  };
  loop.run_until_complete(main());
  CHECK(contains(thrown([] { create_task(only(1)); }), "no running event loop"));
}

TEST_CASE("a task that is started eagerly is done at once", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Task<Only> task = create_task(only(4), {.eager_start = true});
    CHECK(task.done());
    CHECK_AWAIT((co_await std::move(task)).number == 4);
  };
  loop.run_until_complete(main());
}

TEST_CASE("sleep returns what it was given", "[api]") {
  TestLoop loop;
  CHECK(loop.run_until_complete(asyncio::sleep(1, Only(3))).number == 3);
  CHECK(loop.run_until_complete(asyncio::sleep(500ms, Only(4))).number == 4);
  CHECK(loop.time() == Approx(1.5));
}

TEST_CASE("ensure_future keeps futures and tasks, and makes a task of a coroutine", "[api]") {
  CurrentLoop loop;
  const Future<Only> future(loop);
  const Task<Only> task = asyncio::ensure_future(only(1));
  static_assert(same<decltype(asyncio::ensure_future(future)), Future<Only>>);
  CHECK(asyncio::ensure_future(future) == future);
  CHECK(asyncio::ensure_future(task) == task);
  CHECK(loop.run_until_complete(task).number == 1);
}

TEST_CASE("gather gives a tuple, or a vector of what it was given a vector of", "[api]") {
  CurrentLoop loop;
  auto main = []() -> Coroutine<void> {
    auto several = co_await asyncio::gather(only(1), create_task(only(2)), test::nothing(), test::returns(3));
    static_assert(same<decltype(several), std::tuple<Only, Only, NoneType, int>>);
    CHECK(std::get<0>(several).number + std::get<1>(several).number + std::get<3>(several) == 6);
    std::vector<Coroutine<Only>> coroutines;
    coroutines.push_back(only(4));
    coroutines.push_back(only_later(1, 5));
    std::vector<Only> all = co_await asyncio::gather(std::move(coroutines));
    CHECK((all.size() == 2 && all[0].number == 4 && all[1].number == 5));
    std::vector<Task<Only>> tasks;
    tasks.push_back(create_task(only(6)));
    CHECK_AWAIT((co_await asyncio::gather(tasks)).at(0).number == 6);
    auto nobody = co_await asyncio::gather();
    static_assert(same<decltype(nobody), std::tuple<>>);
  };
  loop.run_until_complete(main());
}

TEST_CASE("gather of one pair or tuple is a tuple with that in it", "[api]") {
  CurrentLoop loop;
  auto main = []() -> Coroutine<void> {
    auto pair = co_await asyncio::gather(gives(std::pair(1, 2)));
    static_assert(same<decltype(pair), std::tuple<std::pair<int, int>>>);
    auto inner = co_await asyncio::gather(asyncio::gather(only(3), only(4)));
    static_assert(same<decltype(inner), std::tuple<std::tuple<Only, Only>>>);
    CHECK(std::get<0>(pair) == std::pair(1, 2));
    CHECK(std::get<1>(std::get<0>(inner)).number == 4);
  };
  loop.run_until_complete(main());
}

TEST_CASE("with return_exceptions gather gives outcomes", "[api]") {
  CurrentLoop loop;
  auto main = []() -> Coroutine<void> {
    auto both = co_await asyncio::gather({.return_exceptions = true}, only(1), only_fails());
    static_assert(same<decltype(both), std::tuple<asyncio::Outcome<Only>, asyncio::Outcome<Only>>>);
    static_assert(same<asyncio::Outcome<Only>, std::variant<Only, std::exception_ptr>>);
    static_assert(same<asyncio::Outcome<void>, std::variant<NoneType, std::exception_ptr>>);
    CHECK(std::get<Only>(std::get<0>(both)).number == 1);
    CHECK(asyncio::holds<asyncio::ValueError>(std::get<std::exception_ptr>(std::get<1>(both))));
    std::vector<Coroutine<Only>> coroutines;
    coroutines.push_back(only_fails());
    coroutines.push_back(only(2));
    auto all = co_await asyncio::gather({.return_exceptions = true}, std::move(coroutines));
    CHECK(all.at(0).index() == 1);
    CHECK(std::get<Only>(all.at(1)).number == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("wait tells which are done, of futures, of tasks, and of both", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    std::vector<Task<Only>> tasks{create_task(only_later(5, 1)), create_task(only_later(1, 2))};
    auto first = co_await asyncio::wait(tasks, {.return_when = asyncio::FIRST_COMPLETED});
    static_assert(same<decltype(first), asyncio::WaitResult<Task<Only>>>);
    CHECK((first.done.size() == 1 && first.done[0] == tasks[1] && first.pending.at(0) == tasks[0]));
    auto [done, pending] = co_await asyncio::wait(tasks, {.timeout = 1.0});
    CHECK((done.size() == 1 && pending.size() == 1));
    Future<Only> future;
    future.set_result(Only(3));
    std::vector<Future<Only>> futures{future, tasks[0]};
    CHECK_AWAIT((co_await asyncio::wait(futures, {.timeout = 100ms})).done.at(0) == future);
    std::vector<AnyFuture> mixed{future, create_task(test::nothing())};
    CHECK_AWAIT((co_await asyncio::wait(mixed)).done.size() == 2);
    auto all = co_await asyncio::wait(tasks, {.return_when = asyncio::ALL_COMPLETED});
    CHECK_AWAIT((co_await std::move(all.done.at(0))).number == 1);
  };
  loop.run_until_complete(main());
}

TEST_CASE("wait takes a list in braces, which is to be named before it is awaited", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    const Task<Only> one = create_task(only(1)), other = create_task(only_later(5, 2));
    auto waiting = asyncio::wait({one, other}, {.timeout = 1.0});
    auto [done, pending] = co_await waiting;
    CHECK((done.at(0) == one && pending.at(0) == other));
    auto both = asyncio::wait({one, other});
    CHECK_AWAIT((co_await both).done.size() == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("wait_for gives what it awaited, or TimeoutError", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    Future<Only> done;
    done.set_result(Only(1));
    CHECK_AWAIT((co_await asyncio::wait_for(done, 0)).number == 1);
    CHECK_AWAIT((co_await asyncio::wait_for(create_task(only(2)), 1)).number == 2);
    Task<Only> task = create_task(only_later(1, 3));
    CHECK_AWAIT((co_await asyncio::wait_for(task, 2.0)).number == 3);
    CHECK_AWAIT((co_await asyncio::wait_for([&] { return only(4); }, std::nullopt)).number == 4);
    Task<Only> late = create_task(only_later(100, 5));
    CHECK_AWAIT(co_await test::thrown_by(asyncio::wait_for(late, 1)) == "asyncio::TimeoutError");
    CHECK(late.cancelled());
    CHECK_AWAIT(co_await test::thrown_by(asyncio::wait_for(only_later(1, 6), -1)) == "asyncio::TimeoutError");
  };
  loop.run_until_complete(main());
}

TEST_CASE("shield gives what can only be moved to who awaits it", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    CHECK_AWAIT((co_await asyncio::shield(only(1))).number == 1);
    Task<Only> inner = create_task(only_later(2, 2));
    Future<Only> outer = asyncio::shield(inner);
    CHECK(outer.cancel());
    co_await asyncio::sleep(1);
    CHECK((outer.cancelled() && !inner.done()));
    CHECK_AWAIT((co_await std::move(inner)).number == 2);
  };
  loop.run_until_complete(main());
}

TEST_CASE("as_completed gives coroutines in the order of completion", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<Numbers> {
    Numbers numbers;
    std::vector<Coroutine<Only>> coroutines;
    for (const int n : {3, 1, 2}) coroutines.push_back(only_later(n, n));
    for (auto& coroutine : asyncio::as_completed(std::move(coroutines))) {
      numbers.push_back((co_await coroutine).number);
    }
    std::vector<Task<Only>> tasks{create_task(only_later(1, 4)), create_task(only_later(100, 5))};
    for (auto& coroutine : asyncio::as_completed(tasks, {.timeout = 2.0})) {
      try {
        numbers.push_back((co_await coroutine).number);
      } catch (const asyncio::TimeoutError&) {
        numbers.push_back(0);
      }
    }
    tasks[1].cancel();
    co_await asyncio::sleep(0);
    co_return numbers;
  };
  CHECK(loop.run_until_complete(main()) == Numbers{1, 2, 3, 4, 0});
}

TEST_CASE("a timeout can be looked at, moved on and told by its clock", "[api]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    asyncio::Timeout timeout = asyncio::timeout_at(5.0);
    CHECK(timeout.when() == 5.0);
    const Only value = co_await async_with(timeout, [&](asyncio::Timeout& entered) -> Coroutine<Only> {
      entered.reschedule(20.0);
      co_return co_await only_later(10, 1);
    });
    CHECK((value.number == 1 && !timeout.expired()));
    asyncio::Timeout late = asyncio::timeout(1);
    auto body = [&]() -> Coroutine<Only> { return only_later(10, 2); };
    CHECK_AWAIT(co_await test::thrown_by(async_with(late, body)) == "asyncio::TimeoutError");
    CHECK(late.expired());
    CHECK(asyncio::timeout(std::nullopt).when() == std::nullopt);
    CHECK(asyncio::timeout_at(std::nullopt).when() == std::nullopt);
  };
  loop.run_until_complete(main());
}

TEST_CASE("a task group gives its tasks' errors as a group, and a KeyboardInterrupt bare", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    try {
      co_await async_with(asyncio::TaskGroup(), [&](auto& group) -> Coroutine<void> {
        group.create_task(only_fails());
        group.create_task(only_later(1000, 1));
        co_await asyncio::sleep(1000);
      });
      FAIL("the group failed");
    } catch (const asyncio::ExceptionGroup& group) {
      CHECK(group.exceptions().size() == 1);
      CHECK(asyncio::holds<asyncio::ValueError>(group.exceptions().at(0)));
    }
  };
  auto interrupted = []() -> Coroutine<Only> {
    asyncio::TaskGroup group;
    co_return co_await async_with(group, [&]() -> Coroutine<Only> {
      throw asyncio::KeyboardInterrupt();
      co_return Only(1);
    });
  };
  loop.run_until_complete(main());
  CHECK_THROWS_AS(loop.run_until_complete(interrupted()), asyncio::KeyboardInterrupt);
}

TEST_CASE("run and Runner give what main returns", "[api]") {
  static bool made = false;
  const auto factory = +[]() -> std::unique_ptr<EventLoop> {
    made = true;
    return std::make_unique<TestLoop>();
  };
  CHECK(asyncio::run(only(1)).number == 1);
  CHECK(asyncio::run(only_later(1000, 2), {.debug = true, .loop_factory = factory}).number == 2);
  CHECK(made);
  asyncio::Runner runner({.debug = false, .loop_factory = factory});
  CHECK(runner.run(only(3)).number == 3);
  CHECK(runner.run([&] { return only(4); }).number == 4);
  CHECK(runner.get_loop().time() == 0);
  runner.close();
  CHECK_THROWS_AS(runner.run(only(5)), asyncio::RuntimeError);
}

TEST_CASE("another thread gets a coroutine's result through a std::future", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<int> {
    co_return co_await asyncio::to_thread([&] {
      std::future<Only> value = asyncio::run_coroutine_threadsafe(only(6), loop);
      std::future<Only> error = asyncio::run_coroutine_threadsafe(only_fails(), loop);
      std::future<void> nothing = asyncio::run_coroutine_threadsafe(test::nothing(), loop);
      nothing.get();
      return thrown([&] { return error.get().number; }) == "std::invalid_argument: spam" ? value.get().number : 0;
    });
  };
  CHECK(loop.run(main) == 6);
}

TEST_CASE("locks, events, conditions, semaphores and barriers are acquired and released", "[api]") {
  TestLoop loop;
  auto main = []() -> Coroutine<void> {
    asyncio::Lock lock;
    CHECK_AWAIT(co_await lock.acquire());
    CHECK(lock.locked());
    lock.release();
    asyncio::Event event;
    event.set();
    CHECK_AWAIT(co_await event.wait());
    event.clear();
    CHECK_FALSE(event.is_set());
    asyncio::Condition condition;
    const Only held = co_await async_with(condition, [&]() -> Coroutine<Only> {
      condition.notify(1);
      condition.notify_all();
      const int* found = co_await condition.wait_for([] {
        static constexpr int five = 5;
        return &five;
      });
      co_return Only(*found);
    });
    CHECK((held.number == 5 && !condition.locked()));
    asyncio::Semaphore semaphore(2);
    CHECK_AWAIT(co_await semaphore.acquire());
    CHECK_AWAIT((co_await async_with(semaphore, [&] { return only(6); })).number == 6);
    CHECK_FALSE(semaphore.locked());
    asyncio::BoundedSemaphore bounded(1);
    CHECK_THROWS_AS(bounded.release(), asyncio::ValueError);
    asyncio::Barrier barrier(1);
    CHECK_AWAIT(co_await barrier.wait() == 0);
    CHECK((barrier.parties() == 1 && barrier.n_waiting() == 0 && !barrier.broken()));
    const Only past = co_await async_with(barrier, [&](int& position) -> Coroutine<Only> { co_return Only(position); });
    CHECK(past.number == 0);
    co_await barrier.reset();
    co_await barrier.abort();
    CHECK(barrier.broken());
  };
  loop.run_until_complete(main());
}

namespace {

template <class Q> Coroutine<Numbers> through(Q& queue) {
  using Item = decltype(queue.get_nowait());
  auto put = [&]() -> Coroutine<void> {
    for (const int n : {2, 3, 1}) co_await queue.put(Item(n));
    queue.shutdown();
  };
  const Task<void> putting = create_task(put());
  co_await asyncio::sleep(0);
  Numbers numbers;
  try {
    while (true) {
      const Item item = co_await queue.get();
      numbers.push_back(item.number);
      queue.task_done();
    }
  } catch (const asyncio::QueueShutDown&) {}
  co_await queue.join();
  co_await putting;
  co_return numbers;
}

}  // namespace

TEST_CASE("queues pass on what can only be moved, each in its order", "[api]") {
  TestLoop loop;
  asyncio::Queue<Only> fifo, narrow(1);
  asyncio::LifoQueue<Only> lifo;
  asyncio::PriorityQueue<Ranked> priority;
  CHECK(loop.run_until_complete(through(fifo)) == Numbers{2, 3, 1});
  CHECK(loop.run_until_complete(through(narrow)) == Numbers{2, 3, 1});
  CHECK(loop.run_until_complete(through(lifo)) == Numbers{1, 3, 2});
  CHECK(loop.run_until_complete(through(priority)) == Numbers{1, 2, 3});
}

TEST_CASE("a queue says how full it is", "[api]") {
  TestLoop loop;
  asyncio::Queue<Only> queue(1);
  CHECK(queue.empty());
  CHECK_THROWS_AS(queue.get_nowait(), asyncio::QueueEmpty);
  queue.put_nowait(Only(1));
  CHECK((queue.full() && queue.qsize() == 1));
  CHECK_THROWS_AS(queue.put_nowait(Only(2)), asyncio::QueueFull);
  CHECK(queue.get_nowait().number == 1);
  queue.put_nowait(Only(3));
  queue.shutdown(true);
  CHECK_THROWS_AS(queue.get_nowait(), asyncio::QueueShutDown);
}

TEST_CASE("a context variable needs no default value", "[api]") {
  TestLoop loop;
  asyncio::ContextVar<Unmade> unset("unset"), with_default("with_default", Unmade(1));
  CHECK_THROWS_AS(unset.get(), asyncio::KeyError);
  CHECK(with_default.get().number == 1);
  asyncio::Context context = asyncio::copy_context();
  const Only ran = context.run([&] {
    const asyncio::Token token = unset.set(Unmade(2));
    CHECK(unset.get().number == 2);
    unset.reset(token);
    unset.set(Unmade(3));
    return Only(unset.get().number);
  });
  CHECK(ran.number == 3);
  CHECK_THROWS_AS(unset.get(), asyncio::KeyError);
  auto main = [&]() -> Coroutine<int> { co_return unset.get().number; };
  CHECK(loop.run_until_complete(loop.create_task(main(), {.context = &context})) == 3);
}

TEST_CASE("a coroutine may be driven by hand", "[api]") {
  TestLoop loop;
  Future<Only> future(loop);
  auto body = [&]() -> Coroutine<Only> {
    co_await asyncio::sleep(0);
    co_return co_await std::move(future);
  };
  const Future<Only> awaited = future;
  Coroutine<Only> coroutine = body();
  const std::optional<AnyFuture> bare = coroutine.send();
  REQUIRE(bare);
  CHECK_FALSE(*bare);
  CHECK(coroutine.send() == std::optional<AnyFuture>(awaited));
  awaited.set_result(Only(7));
  CHECK(coroutine.send() == std::nullopt);
  CHECK(coroutine.done());
  CHECK(coroutine.result().number == 7);
  Coroutine<int> thrown_into = number_of(only(1));
  const std::exception_ptr spam = std::make_exception_ptr(asyncio::ValueError("spam"));
  CHECK_THROWS_AS(thrown_into.throw_(spam), asyncio::ValueError);
}

// Transports, protocols, streams, processes

TEST_CASE("a socket address tells what it was made of", "[api]") {
  const SocketAddress address(LOOPBACK, 80);
  CHECK((address.host() == LOOPBACK && address.port() == 80 && address.family() == AF_INET));
  CHECK(address.str() == "127.0.0.1:80");
  CHECK(address == SocketAddress(LOOPBACK, 80));
  CHECK_FALSE(address == SocketAddress(LOOPBACK, 81));
  CHECK(SocketAddress::unix_path("/tmp/socket").path() == "/tmp/socket");
}

namespace {

/// Answers in capitals what it is sent, and cannot be made from nothing.
struct Shouts : asyncio::Protocol {
  explicit Shouts(Only own) : number(std::move(own)) {}
  void connection_made(std::shared_ptr<Transport> made) override { transport = std::move(made); }
  void data_received(std::string_view data) override {
    for (const char c : data) text += static_cast<char>(std::toupper(c));
    if (number.number == 1) transport->write(text);
    if (!received.done()) received.set_result();
  }
  void connection_lost(std::exception_ptr) override { transport.reset(); }
  Only number;
  std::shared_ptr<Transport> transport;
  std::string text;
  Future<void> received;
};

/// A factory that can only be moved.
auto shouts(int number) {
  return [own = std::make_unique<int>(number)] { return std::make_shared<Shouts>(Only(*own)); };
}

Coroutine<void> talk(std::shared_ptr<Transport> transport, std::shared_ptr<Shouts> protocol) {
  transport->write("spam");
  co_await protocol->received;
  CHECK(protocol->text == "SPAM");
  transport->close();
}

}  // namespace

TEST_CASE("connections and servers are made by factories that can only be moved", "[api]") {
  NetLoop loop;
  const test::TemporaryDirectory directory;
  auto main = [&]() -> Coroutine<void> {
    asyncio::Server server =
        co_await loop.create_server(shouts(1), LOOPBACK, 0, {.backlog = 5, .reuse_port = false, .start_serving = true});
    CHECK(server.is_serving());
    const int port = server.sockets()[0].port();
    auto [transport, protocol] = co_await loop.create_connection(shouts(2), LOOPBACK, port);
    static_assert(same<decltype(protocol), std::shared_ptr<Shouts>>);
    static_assert(same<decltype(transport), std::shared_ptr<Transport>>);
    CHECK(transport->get_extra_info("peername")->port() == port);
    CHECK(transport->get_extra_info("sockname").has_value());
    CHECK_FALSE(transport->get_extra_info("cipher").has_value());
    co_await talk(transport, protocol);
    server.close();
    co_await server.wait_closed();
    asyncio::Server local = co_await loop.create_unix_server(shouts(1), directory / "socket");
    auto [to_local, of_local] = co_await loop.create_unix_connection(shouts(2), directory / "socket");
    co_await talk(to_local, of_local);
    local.close();
    co_await local.wait_closed();
  };
  loop.run(main);
}

TEST_CASE("a transport's methods are upstream's, the limits of its buffer with them", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    SocketPair pair;
    auto [transport, protocol] = co_await loop.create_connection(shouts(2), "", 0, {.sock = pair.a.release()});
    CHECK(transport->get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(16 * 1024, 64 * 1024));
    transport->set_write_buffer_limits({.high = 100});
    CHECK(transport->get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(25, 100));
    transport->set_write_buffer_limits({.low = 10});
    CHECK(transport->get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(10, 40));
    transport->set_write_buffer_limits({.high = 7, .low = 5});
    CHECK(transport->get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(5, 7));
    CHECK(transport->get_write_buffer_size() == 0);
    CHECK((transport->is_reading() && transport->can_write_eof() && !transport->is_closing()));
    transport->pause_reading();
    CHECK_FALSE(transport->is_reading());
    transport->resume_reading();
    transport->writelines({"sp", "am"});
    transport->write_eof();
    CHECK(test::receive_all(pair.b) == "spam");
    CHECK(transport->get_protocol() == protocol);
    const auto other = std::make_shared<Shouts>(Only(3));
    transport->set_protocol(other);
    test::send_all(pair.b, "eggs");
    co_await other->received;
    CHECK(other->text == "EGGS");
    CHECK(transport->fd() >= 0);
    transport->abort();
    CHECK(transport->is_closing());
    co_await asyncio::sleep(0);
  };
  loop.run(main);
}

namespace {

struct Datagrams : asyncio::DatagramProtocol {
  explicit Datagrams(Only own) : number(std::move(own)) {}
  void datagram_received(std::string_view data, const SocketAddress& address) override {
    text = data;
    received.set_result(address);
  }
  Only number;
  std::string text;
  Future<SocketAddress> received;
};

}  // namespace

TEST_CASE("datagrams and pipes have transports, too", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    auto factory = [own = Only(1)] { return std::make_shared<Datagrams>(Only(own.number)); };
    auto [one, receiver] = co_await loop.create_datagram_endpoint(std::move(factory), SocketAddress(LOOPBACK, 0));
    auto [other, sender] = co_await loop.create_datagram_endpoint([&] { return std::make_shared<Datagrams>(Only(2)); },
                                                                  std::nullopt, one->get_extra_info("sockname"));
    other->sendto("spam");
    const SocketAddress from = co_await receiver->received;
    CHECK((receiver->text == "spam" && from == other->get_extra_info("sockname")));
    one->sendto("eggs", from);
    co_await sender->received;
    CHECK(sender->text == "eggs");
    one->close();
    other->abort();
    CHECK((one->is_closing() && other->is_closing()));
    auto [reader, writer] = make_pipe();
    auto [reading, reads] = co_await loop.connect_read_pipe(shouts(2), reader.release());
    auto [writing, writes] = co_await loop.connect_write_pipe(shouts(3), writer.release());
    writing->write("bacon");
    co_await reads->received;
    CHECK(reads->text == "BACON");
    writing->close();
    reading->close();
    co_await asyncio::sleep(0);
  };
  loop.run(main);
}

TEST_CASE("streams connect within a limit of time, and read and write", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    auto echo = [own = Only(1)](asyncio::StreamReader reader, asyncio::StreamWriter writer) -> Coroutine<void> {
      while (auto line = co_await reader.anext()) writer.write(*line);
      CHECK(reader.at_eof());
      co_await writer.drain();
      writer.close();
    };
    asyncio::Server server =
        co_await asyncio::start_server(std::move(echo), LOOPBACK, 0, {.limit = 1000, .backlog = 5});
    const int port = server.sockets()[0].port();
    auto [reader, writer] = co_await asyncio::wait_for(asyncio::open_connection(LOOPBACK, port), 10.0);
    auto [narrow, other] = co_await asyncio::wait_for(asyncio::open_connection(LOOPBACK, port, {.limit = 4}), 10s);
    writer.writelines({"one\n", "two\n"});
    writer.write("three\nfour");
    co_await writer.drain();
    writer.write_eof();
    CHECK_AWAIT(co_await reader.readline() == "one\n");
    CHECK_AWAIT(co_await reader.readexactly(2) == "tw");
    CHECK_AWAIT(co_await reader.readuntil("ee") == "o\nthree");
    CHECK_AWAIT(co_await reader.read(1) == "\n");
    CHECK_AWAIT(co_await reader.read() == "four");
    CHECK(reader.at_eof());
    CHECK(writer.get_extra_info("peername") == SocketAddress(LOOPBACK, port));
    CHECK(writer.transport()->get_write_buffer_size() == 0);
    writer.close();
    CHECK(writer.is_closing());
    co_await writer.wait_closed();
    other.write("long line\n");
    CHECK_AWAIT(contains(co_await test::thrown_by(narrow.readuntil("\n")), "LimitOverrunError"));
    other.close();
    co_await other.wait_closed();
    server.close();
    co_await server.wait_closed();
  };
  loop.run(main);
}

TEST_CASE("a connection that is refused is an OSError to compare", "[api]") {
  NetLoop loop;
  const SocketAddress nobody = test::unused_address();
  auto main = [&]() -> Coroutine<int> {
    co_return co_await test::errno_of(asyncio::wait_for(asyncio::open_connection(nobody.host(), nobody.port()), 10));
  };
  CHECK(loop.run(main) == ECONNREFUSED);
}

TEST_CASE("a server's callback need not be a coroutine, and streams stand over a UNIX socket", "[api]") {
  NetLoop loop;
  const test::TemporaryDirectory directory;
  auto main = [&]() -> Coroutine<void> {
    const auto greets = [](asyncio::StreamReader, asyncio::StreamWriter writer) { writer.write("hello\n"); };
    asyncio::Server server = co_await asyncio::start_unix_server(greets, directory / "socket");
    auto [reader, writer] = co_await asyncio::open_unix_connection(directory / "socket");
    CHECK_AWAIT(co_await reader.read() == "hello\n");
    CHECK_AWAIT(contains(co_await test::thrown_by(reader.readexactly(1)), "IncompleteReadError"));
    writer.close();
    const Task<void> serving = create_task(server.serve_forever());
    co_await asyncio::sleep(0);
    serving.cancel();
    CHECK_AWAIT(contains(co_await test::thrown_by(test::waits_for<void>(serving)), "CancelledError"));
    CHECK_FALSE(server.is_serving());
  };
  loop.run(main);
}

TEST_CASE("streams stand over a transport of one's own", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    SocketPair pair;
    const asyncio::StreamReader reader(1000, loop);
    const auto protocol = std::make_shared<asyncio::StreamReaderProtocol>(reader);
    const auto connected = co_await loop.create_connection([&] { return protocol; }, "", 0, {.sock = pair.a.release()});
    const asyncio::StreamWriter writer(connected.first, protocol, reader);
    std::string asked;
    auto serve = [&](asyncio::StreamReader from, asyncio::StreamWriter to) -> Coroutine<void> {
      asked = co_await from.readline();
      to.write("eggs");
    };
    const auto served = std::make_shared<asyncio::StreamReaderProtocol>(asyncio::StreamReader(1000, loop),
                                                                        asyncio::client_connected(serve));
    co_await loop.create_connection([&] { return served; }, "", 0, {.sock = pair.b.release()});
    writer.write("spam\n");
    CHECK_AWAIT(co_await reader.read() == "eggs");
    CHECK(asked == "spam\n");
    writer.close();
    co_await writer.wait_closed();
  };
  loop.run(main);
}

TEST_CASE("a child is talked to, waited for, and signalled until it has ended", "[api]") {
  NetLoop loop;
  auto main = [&]() -> Coroutine<void> {
    using asyncio::PIPE;
    const std::vector<std::string> cat{"cat"};
    const asyncio::Process child = co_await asyncio::create_subprocess_exec(cat, {.stdin_ = PIPE, .stdout_ = PIPE});
    CHECK((child.pid() > 0 && !child.returncode()));
    child.stdin_().write("spam\n");
    CHECK_AWAIT(co_await child.stdout_().readline() == "spam\n");
    child.kill();
    CHECK_AWAIT(co_await child.wait() == -SIGKILL);
    CHECK(child.returncode() == -SIGKILL);
    const asyncio::Process shell = co_await asyncio::create_subprocess_shell(
        "cat; echo oops >&2; exit 3", {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    const auto [output, errors] = co_await shell.communicate("eggs");
    CHECK((output == "eggs" && errors == "oops\n"));
    CHECK_AWAIT(co_await shell.wait() == 3);
    for (void (asyncio::Process::*method)() const : {&asyncio::Process::kill, &asyncio::Process::terminate}) {
      CHECK_THROWS_AS((shell.*method)(), asyncio::OSError);
    }
    try {
      shell.send_signal(SIGUSR1);
      FAIL("it has ended");
    } catch (const asyncio::OSError& error) {
      CHECK(error.code() == std::errc::no_such_process);
    }
  };
  loop.run(main);
}

// Instruments and introspection

TEST_CASE("an instrument hears of iterations, handles and tasks", "[api]") {
  struct Recorder : asyncio::Instrument {
    void before_select(std::optional<double>) override { ++before; }
    void after_select(std::span<const selectors::SelectorEvent>) override { ++after; }
    void handle_scheduled(const Handle&, const Handle&) override { ++scheduled; }
    void before_run(const Handle&) override { ++begun; }
    void after_run(const Handle&) override { ++ended; }
    void task_created(const AnyTask& task, const AnyTask&) override { log.push_back("created " + task.get_name()); }
    void task_step(const AnyTask&) override { log.push_back("step"); }
    void task_waits(const AnyTask&, const AnyFuture& on) override { log.push_back(on ? "waits" : "yields"); }
    void task_woken(const AnyTask&, const AnyFuture&) override { log.push_back("woken"); }
    void task_done(const AnyTask& task) override { log.push_back("done " + task.get_name()); }
    int before = 0, after = 0, scheduled = 0, begun = 0, ended = 0;
    Log log;
  };
  TestLoop loop;
  Recorder recorder;
  loop.add_instrument(recorder);
  CHECK(loop.run_until_complete(loop.create_task(only_later(1, 1), {.name = "it"})).number == 1);
  CHECK(recorder.log == Log{"created it", "step", "waits", "woken", "step", "done it"});
  CHECK((recorder.before == loop.iterations() && recorder.after == recorder.before));
  CHECK((recorder.begun == recorder.ended && recorder.scheduled > 0));
  loop.remove_instrument(recorder);
  CHECK_THROWS_AS(loop.remove_instrument(recorder), asyncio::KeyError);
}

TEST_CASE("the graph shows who awaits whom", "[api]") {
  TestLoop loop;
  auto main = [&]() -> Coroutine<void> {
    const Task<Only> inner = create_task(only_later(1, 1), {.name = "inner"});
    auto wait_for_it = [](Task<Only> task) -> Coroutine<void> { co_await asyncio::wait_for(task, std::nullopt); };
    const Task<void> outer = create_task(wait_for_it(inner), {.name = "outer"});
    co_await asyncio::sleep(0);
    co_await asyncio::sleep(0);
    const asyncio::FutureCallGraph graph = asyncio::capture_call_graph(inner);
    CHECK(graph.future == inner);
    REQUIRE(graph.awaited_by.size() == 1);
    CHECK(graph.awaited_by[0].future == outer);
    CHECK(contains(graph.call_stack.at(0).function, "sleep"));
    CHECK(contains(asyncio::format_call_graph(inner), "outer"));
    std::ostringstream text;
    asyncio::print_call_graph(inner, text);
    CHECK(contains(text.str(), "only_later"));
    CHECK(contains(asyncio::ps(loop), "inner"));
    CHECK(contains(asyncio::pstree(loop), "outer"));
    co_await outer;
  };
  loop.run_until_complete(main());
}
