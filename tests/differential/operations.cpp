#include "tests/differential/operations.hpp"

#include <signal.h>

#include <algorithm>
#include <set>

#include "tests/differential/show.hpp"

namespace differential {

using asyncio::AnyFuture;
using asyncio::Coroutine;

std::optional<double> seconds(const std::string& text) {
  return text == "none" ? std::nullopt : std::optional(std::stod(text));
}

template <class F> std::string Interpreter::on(const std::string& name, F f) {
  Object object = find(name);
  return std::visit(
      [&](auto& value) -> std::string {
        auto& target = pointee(value);
        if constexpr (std::is_invocable_v<F&, decltype(target)>) {
          return shown([&] { return f(target); });
        } else {
          throw Unbound();
        }
      },
      object);
}

std::string given_name(const asyncio::AnyTask& task) {
  const std::string name = task.get_name();
  return name.starts_with("Task-") ? "-" : name;
}

namespace {

using P = Interpreter;

std::string join(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

bool contains(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_call(const std::string& word) { return word.ends_with("()"); }
std::string called(const std::string& word) { return word.substr(0, word.size() - 2); }

// A callback: the function of the program, called as `label`.
auto calling(P& p, const std::string& function, const std::string& label) {
  return [&p, function, label] { p.call(function, label); };
}
auto calling(P& p, const std::string& function) { return calling(p, function, function); }

std::string ok(P& p, const std::string& name, Object object) {
  p.names.insert_or_assign(name, std::move(object));
  return "ok";
}

// Script, tasks, handles.

std::string log(P&, Activation&, const Words& words) { return join(words); }

std::string drop(P& p, Activation&, const Words& words) {
  Object object = p.find(words[0]);
  const bool pending = std::visit(
      [](const auto& value) {
        if constexpr (std::is_convertible_v<decltype(value), AnyFuture>) return !value.done();
        return false;
      },
      object);
  if (pending) return "pending";  // upstream would lose the task: NOTES [pending-task]
  p.names.erase(words[0]);
  std::visit(
      [&](const auto& value) {
        if constexpr (std::is_convertible_v<decltype(value), AnyFuture>) {
          const auto found = std::find(p.kept.begin(), p.kept.end(), AnyFuture(value));
          if (found != p.kept.end()) p.kept.erase(found);
        }
      },
      object);
  return "ok";
}

std::string all_tasks(P& p, Activation&, const Words&) {
  Words names;
  for (const asyncio::AnyTask& task : asyncio::all_tasks(p.loop)) names.push_back(given_name(task));
  std::sort(names.begin(), names.end());
  return names.empty() ? "none" : join(names);
}

std::string current_task(P& p, Activation&, const Words&) { return given_name(p.get<asyncio::AnyTask>("self")); }

std::string stop(P& p, Activation&, const Words&) {
  return shown([&] { p.loop.stop(); });
}

std::string run(P& p, Activation&, const Words& words) {
  const std::string& word = words[0];
  if (is_call(word)) {
    p.function(called(word));
    return show(p.loop.run_until_complete(p.anonymous(called(word))));
  }
  Object object = p.find(word);
  return std::visit(
      [&](auto& value) -> std::string {
        if constexpr (requires { p.loop.run_until_complete(value); }) return show(p.loop.run_until_complete(value));
        throw Unbound();
      },
      object);
}

std::string run_forever(P& p, Activation&, const Words&) {
  return shown([&] { p.loop.run_forever(); });
}

// What a Runner without a capture takes its loop from.
thread_local P* of_runner = nullptr;

std::string runner(P& p, Activation& act, const Words& words) {
  if (act.label != "script") throw Unbound();
  of_runner = &p;
  asyncio::Runner runner(
      {.loop_factory = []() -> std::unique_ptr<asyncio::EventLoop> { return std::move(of_runner->own_loop); }});
  runner.get_loop();
  std::string outcome;
  const std::exception_ptr error = asyncio::raised_by([&] {
    for (const std::string& word : words) {
      p.function(called(word));
      const asyncio::Finally ends([&] { p.runner_runs = false; });
      p.runner_runs = true;
      outcome.append(outcome.empty() ? "" : " ").append(show(runner.run(p.anonymous(called(word)))));
    }
  });
  const std::exception_ptr error_of_close = asyncio::raised_by([&] { runner.close(); });
  p.runner_closed = true;
  if (error_of_close) std::rethrow_exception(error_of_close);
  if (error) std::rethrow_exception(error);
  return outcome;
}

// Ctrl-C comes at a moment at which nothing else happens.
std::string interrupt(P& p, Activation&, const Words& words) {
  const double when = std::stod(words[0]);
  if (when <= p.loop.time() || !p.interrupts.insert(words[0]).second) return "late";
  p.loop.call_at(when, [&p] {
    if (!p.runner_runs) return;
    p.log("!", 0, "Ctrl-C");
    p.interrupted = true;
    ::raise(SIGINT);
  });
  return "ok";
}

std::string abandon(P& p, Activation&, const Words&) {
  p.abandoned = true;
  return "ok";
}

std::string call_soon_threadsafe(P& p, Activation&, const Words& words) {
  return shown([&] { p.loop.call_soon_threadsafe(calling(p, words[0])); });
}

std::string burst(P& p, Activation&, const Words& words) {
  const int count = std::stoi(words[0]);
  for (int i = 0; i < count; ++i) {
    const auto handle = p.loop.call_later((i * 7) % 5 / 4.0, [&p, i] { p.log("burst", 0, std::to_string(i)); });
    if (i % 3) handle.cancel();
  }
  return "ok";
}

std::string handler(P& p, Activation&, const Words& words) {
  p.handler = words[0] == "none" ? "" : words[0];
  return "ok";
}

std::string add_reader(P& p, Activation&, const Words& words) {
  return shown(
      [&] { p.loop.add_reader(descriptor(p, words[0]), calling(p, words[1], words[1] + "(" + words[0] + "r)")); });
}
std::string add_writer(P& p, Activation&, const Words& words) {
  return shown(
      [&] { p.loop.add_writer(descriptor(p, words[0]), calling(p, words[1], words[1] + "(" + words[0] + "w)")); });
}
std::string remove_reader(P& p, Activation&, const Words& words) {
  return show(p.loop.remove_reader(descriptor(p, words[0])));
}
std::string remove_writer(P& p, Activation&, const Words& words) {
  return show(p.loop.remove_writer(descriptor(p, words[0])));
}

std::string ready(P& p, Activation&, const Words& words) {
  const auto has = [&](char c) { return words[1].find(c) != std::string::npos; };
  const unsigned events = (has('r') ? selectors::EVENT_READ : 0) | (has('w') ? selectors::EVENT_WRITE : 0);
  p.loop.selector.make_ready(std::stoi(words[0]), events, p.loop.selector.now + std::stod(words[2]));
  return "ok";
}

std::string make_future(P& p, Activation&, const Words& words) {
  const auto future = p.loop.create_future<int>();
  p.bind(words[0], future, future);
  return "ok";
}

std::string make_task(P& p, Activation&, const Words& words) {
  p.function(words[1]);
  asyncio::TaskOptions options{.name = words[0], .eager_start = contains(words, "eager")};
  const auto in = std::find(words.begin() + 2, words.end(), "in");
  std::optional<asyncio::Context> context;
  if (in != words.end()) context = p.get<asyncio::Context>(in[1]);
  if (context) options.context = &*context;
  const auto task = p.loop.create_task(p.body(words[1], words[0]), options);
  p.bind(words[0], task, task);
  return "ok";
}

// `f()` each: gather makes the tasks. Otherwise futures and tasks, and what ensure_future makes of `f()`.
template <class... Options> auto gather_words(P& p, const Words& words, Options... options) {
  if (!words.empty() && std::all_of(words.begin(), words.end(), is_call)) {
    std::vector<Coroutine<int>> coroutines;
    for (const std::string& word : words) coroutines.push_back(p.anonymous(called(word)));
    return asyncio::gather(options..., std::move(coroutines));
  }
  std::vector<asyncio::Future<int>> futures;
  for (const std::string& word : words) futures.push_back(p.int_future(word));
  return asyncio::gather(options..., std::move(futures));
}

std::string make_gather(P& p, Activation&, const Words& words) {
  Words arguments(words.begin() + 1, words.end());
  const bool outcomes = std::erase(arguments, "return_exceptions") > 0;
  p.check(arguments);
  if (outcomes) {
    const auto future = gather_words(p, arguments, asyncio::GatherOptions{.return_exceptions = true});
    p.bind(words[0], future, future);
  } else {
    const auto future = gather_words(p, arguments);
    p.bind(words[0], future, future);
  }
  return "ok";
}

std::string make_shield(P& p, Activation&, const Words& words) {
  p.check({words[1]});
  if (is_call(words[1])) {
    const auto future = asyncio::shield(p.anonymous(called(words[1])));
    p.bind(words[0], future, future);
    return "ok";
  }
  Object object = p.find(words[1]);
  std::visit(
      [&](auto& value) {
        if constexpr (requires { asyncio::shield(value); }) {
          const auto future = asyncio::shield(value);
          p.bind(words[0], future, future);
        } else {
          throw Unbound();
        }
      },
      object);
  return "ok";
}

std::string make_call_soon(P& p, Activation&, const Words& words) {
  return ok(p, words[0], p.loop.call_soon(calling(p, words[1])));
}
std::string make_call_later(P& p, Activation&, const Words& words) {
  return ok(p, words[0], p.loop.call_later(std::stod(words[1]), calling(p, words[2])));
}
std::string make_call_at(P& p, Activation&, const Words& words) {
  return ok(p, words[0], p.loop.call_at(std::stod(words[1]), calling(p, words[2])));
}

// Locks, queues, contexts.

std::string make_condition(P& p, Activation&, const Words& words) {
  if (words.size() == 1) return ok(p, words[0], std::make_shared<asyncio::Condition>());
  // The condition keeps the lock.
  struct WithLock {
    explicit WithLock(std::shared_ptr<asyncio::Lock> shared) : lock(std::move(shared)), condition(*lock) {}
    std::shared_ptr<asyncio::Lock> lock;
    asyncio::Condition condition;
  };
  const auto both = std::make_shared<WithLock>(p.get<std::shared_ptr<asyncio::Lock>>(words[1]));
  return ok(p, words[0], std::shared_ptr<asyncio::Condition>(both, &both->condition));
}

template <class T> std::string make(P& p, Activation&, const Words& words) {
  if (words.size() > 1) {
    if constexpr (std::is_constructible_v<T, int>) return ok(p, words[0], std::make_shared<T>(std::stoi(words[1])));
  }
  if constexpr (std::is_default_constructible_v<T>) return ok(p, words[0], std::make_shared<T>());
  throw Unbound();
}

template <class Q> std::string make_queue(P& p, Activation&, const Words& words) {
  const std::size_t maxsize = words.size() > 1 ? static_cast<std::size_t>(std::stoi(words[1])) : 0;
  return ok(p, words[0], std::shared_ptr<asyncio::Queue<int>>(std::make_shared<Q>(maxsize)));
}

std::string make_bounded_semaphore(P& p, Activation&, const Words& words) {
  return ok(p, words[0],
            std::shared_ptr<asyncio::Semaphore>(std::make_shared<asyncio::BoundedSemaphore>(std::stoi(words[1]))));
}

std::string make_variable(P& p, Activation&, const Words& words) {
  using Variable = asyncio::ContextVar<int>;
  if (words.size() == 1) return ok(p, words[0], std::make_shared<Variable>(words[0]));
  return ok(p, words[0], std::make_shared<Variable>(words[0], std::stoi(words[1])));
}

std::string make_copy_context(P& p, Activation&, const Words& words) {
  return ok(p, words[0], asyncio::copy_context());
}

// Methods.

std::string cancel(P& p, Activation&, const Words& words) {
  return p.on(
      words[0], [&](auto& x) requires requires { x.cancel(); } {
        if constexpr (requires { x.cancel(words[1]); }) {
          return x.cancel(words.size() > 1 ? words[1] : "");
        } else {
          return x.cancel();
        }
      });
}

std::string result(P& p, Activation&, const Words& words) {
  Object object = p.find(words[0]);
  return std::visit(
      [](auto& x) -> std::string {
        if constexpr (requires { show(x.result()); }) return show(x.result());
        throw Unbound();
      },
      object);
}

std::string when(P& p, Activation&, const Words& words) {
  return p.on(
      words[0], [](auto& x) requires requires { x.when(); } {
        const std::optional<double> when = x.when();
        return when ? number(*when) : "None";
      });
}

std::string set_exception(P& p, Activation&, const Words& words) {
  const AnyFuture future = p.future(words[0]);
  std::exception_ptr error;
  try {
    raise(words[1], words.size() > 2 ? words[2] : "");
  } catch (...) {
    error = std::current_exception();
  }
  return p.on(
      words[0], [&](auto& x) requires requires { x.set_exception(error); } { x.set_exception(error); });
}

std::string add_done_callback(P& p, Activation&, const Words& words) {
  const std::string label = words[1] + "(" + words[0] + ")";
  const auto callback = [&p, function = words[1], label](const AnyFuture&) { p.call(function, label); };
  p.callbacks[{words[0], words[1]}].push_back(p.future(words[0]).add_done_callback(callback));
  return "ok";
}

std::string remove_done_callback(P& p, Activation&, const Words& words) {
  std::size_t removed = 0;
  const AnyFuture future = p.future(words[0]);
  for (const asyncio::CallbackId id : p.callbacks[{words[0], words[1]}]) removed += future.remove_done_callback(id);
  return show(removed);
}

std::string context_run(P& p, Activation&, const Words& words) {
  return shown([&] { p.get<asyncio::Context>(words[0]).run(calling(p, words[1])); });
}

using Variable = std::shared_ptr<asyncio::ContextVar<int>>;

std::string variable_get(P& p, Activation&, const Words& words) { return show(p.get<Variable>(words[0])->get()); }

std::string variable_assign(P& p, Activation&, const Words& words) {
  p.tokens.insert_or_assign(words[0], p.get<Variable>(words[0])->set(std::stoi(words[1])));
  return "ok";
}

std::string variable_reset(P& p, Activation&, const Words& words) {
  const Variable variable = p.get<Variable>(words[0]);
  const auto token = p.tokens.find(words[0]);
  if (token == p.tokens.end()) throw Unbound();
  return shown([&] { variable->reset(token->second); });
}

std::string group_create_task(P& p, Activation&, const Words& words) {
  const auto group = p.get<std::shared_ptr<asyncio::TaskGroup>>(words[0]);
  p.function(words[2]);
  const auto task = group->create_task(p.body(words[2], words[1]), {.name = words[1]});
  p.bind(words[1], task, task);
  return "ok";
}

// The kinds of object that have this method, as in Python's duck typing.
#define METHOD(call)                                                                \
  [](P& p, [[maybe_unused]] Activation& act, [[maybe_unused]] const Words& words) { \
    return p.on(                                                                    \
        words[0], [&](auto& x) requires requires { call; } { return call; });       \
  }

const std::unordered_map<std::string, SyncOperation> SYNC = {
    {"log", log},
    {"drop", drop},
    {"all_tasks", all_tasks},
    {"current_task", current_task},
    {"stop", stop},
    {"run", run},
    {"run_forever", run_forever},
    {"Runner", runner},
    {"interrupt", interrupt},
    {"abandon", abandon},
    {"call_soon_threadsafe", call_soon_threadsafe},
    {"burst", burst},
    {"handler", handler},
    {"add_reader", add_reader},
    {"add_writer", add_writer},
    {"remove_reader", remove_reader},
    {"remove_writer", remove_writer},
    {"ready", ready},
    {"=Future", make_future},
    {"=Task", make_task},
    {"=gather", make_gather},
    {"=shield", make_shield},
    {"=call_soon", make_call_soon},
    {"=call_later", make_call_later},
    {"=call_at", make_call_at},
    {"=Lock", make<asyncio::Lock>},
    {"=Event", make<asyncio::Event>},
    {"=Condition", make_condition},
    {"=Semaphore", make<asyncio::Semaphore>},
    {"=BoundedSemaphore", make_bounded_semaphore},
    {"=Barrier", make<asyncio::Barrier>},
    {"=Queue", make_queue<asyncio::Queue<int>>},
    {"=PriorityQueue", make_queue<asyncio::PriorityQueue<int>>},
    {"=LifoQueue", make_queue<asyncio::LifoQueue<int>>},
    {"=ContextVar", make_variable},
    {"=copy_context", make_copy_context},
    {".cancel", cancel},
    {".result", result},
    {".when", when},
    {".set_exception", set_exception},
    {".add_done_callback", add_done_callback},
    {".remove_done_callback", remove_done_callback},
    {".run", context_run},
    {".get", variable_get},
    {".assign", variable_assign},
    {".reset", variable_reset},
    {".create_task", group_create_task},
    {".cancelled", METHOD(x.cancelled())},
    {".done", METHOD(x.done())},
    {".exception", METHOD(x.exception())},
    {".set_result", METHOD(x.set_result(std::stoi(words[1])))},
    {".cancelling", METHOD(x.cancelling())},
    {".uncancel", METHOD(x.uncancel())},
    {".get_name", METHOD((x.get_name(), given_name(x)))},
    {".set_name", METHOD(x.set_name(words[1]))},
    {".release", METHOD(x.release())},
    {".locked", METHOD(x.locked())},
    {".set", METHOD((x.is_set(), x.set()))},
    {".clear", METHOD((x.is_set(), x.clear()))},
    {".is_set", METHOD(x.is_set())},
    {".notify", METHOD(x.notify(static_cast<std::size_t>(std::stoi(words[1]))))},
    {".notify_all", METHOD(x.notify_all())},
    {".n_waiting", METHOD(x.n_waiting())},
    {".broken", METHOD(x.broken())},
    {".put_nowait", METHOD(x.put_nowait(std::stoi(words[1])))},
    {".get_nowait", METHOD(x.get_nowait())},
    {".task_done", METHOD(x.task_done())},
    {".qsize", METHOD(x.qsize())},
    {".empty", METHOD(x.empty())},
    {".full", METHOD(x.full())},
    {".shutdown", METHOD(x.shutdown(words.size() > 1))},
    {".reschedule", METHOD(x.reschedule(seconds(words[1])))},
    {".expired", METHOD(x.expired())},
};
#undef METHOD

// What waits.

Coroutine<std::string> await_sleep(P&, Activation&, const Words& words) {
  if (words.size() == 1) {
    co_await asyncio::sleep(std::stod(words[0]));
    co_return "ok";
  }
  const int result = co_await asyncio::sleep(std::stod(words[0]), std::stoi(words[1]));
  co_return show(result);
}

template <class T> Coroutine<std::string> await_typed(T future) {
  const auto result = co_await future;
  co_return show(result);
}

Coroutine<std::string> await_future(P& p, Activation& act, const Words& words) {
  const std::string& word = words[0];
  if (is_call(word)) {
    p.function(called(word));
    const int result = co_await p.body(called(word), act.label + "/" + called(word));
    co_return show(result);
  }
  Object object = p.find(word);
  if (auto* self = std::get_if<asyncio::AnyTask>(&object)) object = asyncio::Future<int>(self->state());
  auto awaiting = std::visit(
      [](auto& value) -> Coroutine<std::string> {
        if constexpr (requires {
                        value.result();
                        value.get_loop();
                      })
          return await_typed(value);
        throw Unbound();
      },
      object);
  co_return co_await std::move(awaiting);
}

template <class A> Coroutine<std::string> wait_for_typed(A awaitable, std::optional<asyncio::Delay> timeout) {
  const auto result = co_await asyncio::wait_for(std::move(awaitable), timeout);
  co_return show(result);
}

std::optional<asyncio::Delay> delay(const std::string& text) {
  const std::optional<double> value = seconds(text);
  return value ? std::optional<asyncio::Delay>(*value) : std::nullopt;
}

Coroutine<std::string> await_wait_for(P& p, Activation&, const Words& words) {
  p.check({words[0]});
  if (is_call(words[0])) co_return co_await wait_for_typed(p.anonymous(called(words[0])), delay(words[1]));
  Object object = p.find(words[0]);
  auto awaiting = std::visit(
      [&](auto& value) -> Coroutine<std::string> {
        if constexpr (requires {
                        value.result();
                        value.get_loop();
                      })
          return wait_for_typed(value, delay(words[1]));
        throw Unbound();
      },
      object);
  co_return co_await std::move(awaiting);
}

std::optional<asyncio::Delay> take_timeout(Words& words) {
  if (words.size() < 2 || words[words.size() - 2] != "timeout") return std::nullopt;
  const std::optional<asyncio::Delay> timeout = delay(words.back());
  words.resize(words.size() - 2);
  return timeout;
}

asyncio::ReturnWhen take_return_when(Words& words) {
  const std::string last = words.back();
  if (!last.starts_with("FIRST_") && !last.starts_with("ALL_")) return asyncio::ALL_COMPLETED;
  words.pop_back();
  return last == "FIRST_COMPLETED"   ? asyncio::FIRST_COMPLETED
         : last == "FIRST_EXCEPTION" ? asyncio::FIRST_EXCEPTION
                                     : asyncio::ALL_COMPLETED;
}

// The words that still name one of these.
std::string names_of(P& p, const Words& words, const std::vector<AnyFuture>& futures) {
  Words names;
  for (const std::string& word : words) {
    if (contains(names, word) || !p.names.contains(word)) continue;
    if (std::find(futures.begin(), futures.end(), p.future(word)) != futures.end()) names.push_back(word);
  }
  return join(names);
}

// Those that are pending, and the first that is done: upstream keeps a set, whose order is arbitrary.
template <class F, class Find> std::vector<F> in_order(const Words& words, Find find) {
  std::vector<F> pending, done;
  for (const std::string& word : words) {
    const F future = find(word);
    (future.done() ? done : pending).push_back(future);
  }
  if (!done.empty()) pending.push_back(done.front());
  return pending;
}

Coroutine<std::string> await_wait(P& p, Activation&, const Words& words) {
  Words arguments = words;
  asyncio::WaitOptions options{.timeout = take_timeout(arguments)};
  options.return_when = take_return_when(arguments);
  p.check(arguments);
  std::vector<AnyFuture> futures;
  for (const std::string& word : arguments) futures.push_back(p.future(word));
  const auto find = [&](const std::string& word) { return p.future(word); };
  // Which of several failures that are there already is looked at depends on that order.
  if (options.return_when == asyncio::FIRST_EXCEPTION) futures = in_order<AnyFuture>(arguments, find);
  const auto [done, pending] = co_await asyncio::wait(std::move(futures), options);
  co_return names_of(p, arguments, done) + " | " + names_of(p, arguments, pending);
}

Coroutine<std::string> await_as_completed(P& p, Activation& act, const Words& words) {
  Words arguments = words;
  const asyncio::WaitOptions options{.timeout = take_timeout(arguments)};
  p.check(arguments);
  Words outcomes;
  const auto find = [&](const std::string& word) { return p.int_future(word); };
  auto completed = asyncio::as_completed(in_order<asyncio::Future<int>>(arguments, find), options);
  for (auto& coming : completed) {
    try {
      const int result = co_await std::move(coming);
      outcomes.push_back(show(result));
    } catch (const std::exception&) {
      outcomes.push_back(describe_current());
    }
    p.log(act.label, 0, outcomes.back());
  }
  co_return join(outcomes);
}

using asyncio::Barrier, asyncio::Condition, asyncio::Event, asyncio::Lock, asyncio::Semaphore;
using IntQueue = asyncio::Queue<int>;

// The first of these kinds that the name stands for: start(object) is awaited, while the object is kept.
template <class Kind, class... Kinds, class Start>
Coroutine<std::string> await_method(P& p, const std::string& name, Start start) {
  const Object object = p.find(name);
  if (auto* found = std::get_if<std::shared_ptr<Kind>>(&object)) {
    if constexpr (std::is_void_v<typename decltype(start(**found))::value_type>) {
      co_await start(**found);
      co_return "ok";
    } else {
      const auto result = co_await start(**found);
      co_return show(result);
    }
  }
  if constexpr (sizeof...(Kinds) > 0) {
    co_return co_await await_method<Kinds...>(p, name, start);
  } else {
    throw Unbound();
  }
}

Coroutine<std::string> await_acquire(P& p, Activation&, const Words& words) {
  return await_method<Lock, Condition, Semaphore>(p, words[0], [](auto& x) { return x.acquire(); });
}
Coroutine<std::string> await_wait_method(P& p, Activation&, const Words& words) {
  return await_method<Event, Condition, Barrier>(p, words[0], [](auto& x) { return x.wait(); });
}
Coroutine<std::string> await_condition_wait_for(P& p, Activation&, const Words& words) {
  const auto event = p.get<std::shared_ptr<Event>>(words[1]);
  const auto wait_for = [event](Condition& condition) {
    return condition.wait_for([event] { return event->is_set(); });
  };
  co_return co_await await_method<Condition>(p, words[0], wait_for);
}
Coroutine<std::string> await_reset(P& p, Activation&, const Words& words) {
  return await_method<Barrier>(p, words[0], [](Barrier& x) { return x.reset(); });
}
Coroutine<std::string> await_abort(P& p, Activation&, const Words& words) {
  return await_method<Barrier>(p, words[0], [](Barrier& x) { return x.abort(); });
}
Coroutine<std::string> await_put(P& p, Activation&, const Words& words) {
  const int item = std::stoi(words[1]);
  return await_method<IntQueue>(p, words[0], [item](IntQueue& x) { return x.put(item); });
}
Coroutine<std::string> await_get(P& p, Activation&, const Words& words) {
  return await_method<IntQueue>(p, words[0], [](IntQueue& x) { return x.get(); });
}
Coroutine<std::string> await_join(P& p, Activation&, const Words& words) {
  return await_method<IntQueue>(p, words[0], [](IntQueue& x) { return x.join(); });
}

const std::unordered_map<std::string, AwaitOperation> AWAIT = {
    {"sleep", await_sleep},       {"future", await_future},
    {"wait_for", await_wait_for}, {"wait", await_wait},
    {".wait", await_wait_method}, {"as_completed", await_as_completed},
    {".acquire", await_acquire},  {".wait_for", await_condition_wait_for},
    {".reset", await_reset},      {".abort", await_abort},
    {".put", await_put},          {".get", await_get},
    {".join", await_join},
};

// In the program's own world, or in the one outside.
template <class Table> auto lookup(const Table& table, const Table& outside, const std::string& name) {
  const auto found = table.find(name);
  return found != table.end() ? found->second : outside.at(name);
}

// How many words an operation needs, with the name of the object or of what is assigned, and which of them are
// whole numbers or seconds.
struct Operands {
  std::size_t words;
  std::vector<std::size_t> integers{}, reals{};
};
const std::unordered_map<std::string, Operands> OPERANDS = {
    {"drop", {1}},
    {"run", {1}},
    {"Runner", {1}},
    {"interrupt", {1, {}, {0}}},
    {"call_soon_threadsafe", {1}},
    {"handler", {1}},
    {"burst", {1, {0}}},
    {"add_reader", {2}},
    {"add_writer", {2}},
    {"remove_reader", {1}},
    {"remove_writer", {1}},
    {"ready", {3, {0}, {2}}},
    {"=Task", {2}},
    {"=shield", {2}},
    {"=call_soon", {2}},
    {"=call_later", {3, {}, {1}}},
    {"=call_at", {3, {}, {1}}},
    {"=Semaphore", {1, {1}}},
    {"=BoundedSemaphore", {2, {1}}},
    {"=Barrier", {1, {1}}},
    {"=Queue", {1, {1}}},
    {"=PriorityQueue", {1, {1}}},
    {"=LifoQueue", {1, {1}}},
    {"=ContextVar", {1, {1}}},
    {".set_result", {2, {1}}},
    {".set_exception", {2}},
    {".add_done_callback", {2}},
    {".remove_done_callback", {2}},
    {".set_name", {2}},
    {".reschedule", {2, {}, {1}}},
    {".create_task", {3}},
    {".notify", {2, {1}}},
    {".put_nowait", {2, {1}}},
    {".assign", {2, {1}}},
    {".run", {2}},
    {"await sleep", {1, {1}, {0}}},
    {"await wait_for", {2, {}, {1}}},
    {"await .wait_for", {2}},
    {"await .put", {2, {1}}},
    {"=socketpair", {2}},
    {"=pipe", {2}},
    {".write_now", {2}},
    {".write", {2}},
    {".writelines", {2}},
    {".set_write_buffer_limits", {3, {1, 2}}},
    {".set_protocol", {2}},
    {".sendto", {3}},
    {"complete", {2, {1}}},
    {"fail", {2}},
    {"in_thread", {1}},
    {"add_signal_handler", {2}},
    {"remove_signal_handler", {1}},
    {"kill", {1}},
    {"await .recv", {2, {1}}},
    {"await .sendall", {2}},
    {"await .accept", {2}},
    {"await .connect", {2}},
    {"await attach", {2}},
    {"await read_pipe", {2}},
    {"await write_pipe", {2}},
    {"await open", {2}},
    {"await serve", {2}},
    {"await dial", {2}},
    {"await datagram", {1}},
    {"await .read", {2, {1}}},
    {"await .readexactly", {2, {1}}},
    {"await .readuntil", {2}},
    {"timeout", {2, {}, {1}}},
    {"timeout_at", {2, {}, {1}}},
    {"group", {1}},
    {"with", {1}},
    {"return", {1, {0}}},
    {"raise", {1}},
};

template <class Parse> bool is_whole(const std::string& word, Parse parse) {
  try {
    std::size_t used = 0;
    parse(word, &used);
    return used == word.size();
  } catch (const std::exception&) {
    return false;
  }
}
bool is_integer(const std::string& word) {
  return is_whole(word, [](const std::string& text, std::size_t* used) { return std::stoi(text, used); });
}
bool is_real(const std::string& word) {
  return word == "none" ||
         is_whole(word, [](const std::string& text, std::size_t* used) { return std::stod(text, used); });
}

void check_operands(const Op& op) {
  const std::string name = (op.kind == Op::Kind::await ? "await " : "") + op.name;
  const auto found = OPERANDS.find(name);
  if (found == OPERANDS.end()) return;
  const auto& [count, integers, reals] = found->second;
  if (op.words.size() < count) throw senseless(op.line, name + " needs more words");
  for (std::size_t i = 0; i < op.words.size(); ++i) {
    const std::string& word = op.words[i];
    const bool whole = std::count(integers.begin(), integers.end(), i) != 0;
    if (whole && !is_integer(word)) throw senseless(op.line, word + " is no whole number");
    if (std::count(reals.begin(), reals.end(), i) && !is_real(word)) throw senseless(op.line, word + " is no number");
  }
}

}  // namespace

void validate(const std::vector<Op>& ops) {
  for (const Op& op : ops) {
    const bool sync = op.kind == Op::Kind::sync, await = op.kind == Op::Kind::await;
    if (sync && !SYNC.contains(op.name) && !WORLD_SYNC.contains(op.name))
      throw senseless(op.line, "there is no operation " + op.name);
    if (await && !AWAIT.contains(op.name) && !WORLD_AWAIT.contains(op.name))
      throw senseless(op.line, "nobody can await " + op.name);
    check_operands(op);
    validate(op.body);
    validate(op.final);
    for (const Op& handler : op.handlers) validate(handler.body);
  }
}

SyncOperation sync_operation(const std::string& name) { return lookup(SYNC, WORLD_SYNC, name); }
AwaitOperation await_operation(const std::string& name) { return lookup(AWAIT, WORLD_AWAIT, name); }

}  // namespace differential
