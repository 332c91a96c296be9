// Runs a program of the small language in README.md on this library, on a virtual clock, and tells its trace.
// interpreter.py is its twin, function for function.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "asyncio.hpp"
#include "tests/differential/program.hpp"
#include "tests/differential/virtual_loop.hpp"
#include "tests/differential/world.hpp"

namespace differential {

/// The trace of a program: what its twin prints.
std::string trace(const std::string& program);

/// A name that has no value yet, or one of another kind.
struct Unbound : std::exception {};

using Ints = std::vector<int>;
using Outcomes = std::vector<asyncio::Outcome<int>>;

/// What a name can stand for.
using Object =
    std::variant<asyncio::Future<int>, asyncio::Task<int>, asyncio::Future<Ints>, asyncio::Future<Outcomes>,
                 asyncio::AnyTask, asyncio::Handle, asyncio::TimerHandle, asyncio::Context,
                 std::shared_ptr<asyncio::Lock>, std::shared_ptr<asyncio::Event>, std::shared_ptr<asyncio::Condition>,
                 std::shared_ptr<asyncio::Semaphore>, std::shared_ptr<asyncio::Barrier>,
                 std::shared_ptr<asyncio::Queue<int>>, std::shared_ptr<asyncio::ContextVar<int>>,
                 std::shared_ptr<asyncio::Timeout>, std::shared_ptr<asyncio::TaskGroup>, std::shared_ptr<WorldObject>>;

template <class T> T& pointee(T& object) { return object; }
template <class T> T& pointee(std::shared_ptr<T>& object) { return *object; }

/// One run of a coroutine or function.
struct Activation {
  ~Activation() { go_to(0); }
  /// The operation of this line is next; 0: there is none any more.
  void go_to(int next);

  std::string label, function;
  int line = 0;
  std::optional<int> returned{};
};

// A program that links these is told what happens, when it happens: examples/study/little.cpp.

/// An activation has begun, goes on to another line, or ends.
[[gnu::weak]] void told_line(const Activation& act);
/// The trace has grown.
[[gnu::weak]] void told_trace(const std::string& lines);

class Interpreter {
 public:
  explicit Interpreter(Program program);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  std::string execute();

  // The trace.
  void log(const std::string& who, int line, const std::string& outcome);
  void flush_reports();

  // Names.
  Object find(const std::string& name);
  const Function& function(const std::string& name) const;
  template <class T> T get(const std::string& name) {
    Object object = find(name);
    if (T* value = std::get_if<T>(&object)) return *value;
    throw Unbound();
  }
  /// f(object), for the kinds of object that f takes.
  template <class F> std::string on(const std::string& name, F f);
  asyncio::AnyFuture future(const std::string& name);
  void check(const Words& words) const;
  /// `f()` or the name of a future or task that gives a number.
  asyncio::Future<int> int_future(const std::string& word);
  void bind(const std::string& name, asyncio::AnyFuture future, Object object);

  // Running.
  asyncio::Coroutine<int> body(std::string function, std::string label);
  asyncio::Coroutine<int> anonymous(std::string function);
  void call(const std::string& function, const std::string& label);

  Program program;
  World world;
  std::unique_ptr<VirtualLoop> own_loop = std::make_unique<VirtualLoop>();  // until a Runner takes it
  bool runner_closed = false;                                               // and so the loop is gone
  VirtualLoop& loop = *own_loop;
  std::map<std::string, Object> names;
  std::vector<asyncio::AnyFuture> kept;  // all of the program's futures and tasks that were not dropped
  std::map<std::pair<std::string, std::string>, std::vector<asyncio::CallbackId>> callbacks;
  std::map<std::string, asyncio::Token> tokens;
  std::string handler;
  bool runner_runs = false;          // a Runner's run(): it hears of Ctrl-C
  std::set<std::string> interrupts;  // the moments for which Ctrl-C was asked
  bool interrupted = false;          // it came
  bool abandoned = false;            // what is pending stays so

 private:
  class DefaultHandlerOutput;

  asyncio::Coroutine<void> block(const std::vector<Op>& ops, Activation& act);
  asyncio::Coroutine<void> run_awaiting(const Op& op, Activation& act);
  asyncio::Coroutine<void> run_try(const Op& op, Activation& act);
  asyncio::Coroutine<void> run_managed(const Op& op, Activation& act);
  asyncio::Coroutine<void> enter(const Op& op, Activation& act);
  std::string run_sync(const Op& op, Activation& act);
  void leave(const Op& op, Activation& act);
  bool too_many_calls() { return ++calls_ > MAX_CALLS; }
  void log_iteration();
  void on_exception(const asyncio::ExceptionContext& context);
  void finish(Activation& act);
  void drain(Activation& act);
  void summary();

  static constexpr int MAX_CALLS = 80, MAX_ROUNDS = 3, MAX_STOPS = 20;
  std::string out_;
  std::multiset<std::string> reports_, destroyed_;
  int logged_iteration_ = -1;
  double logged_time_ = -1;
  bool over_ = false;
  int calls_ = 0;
};

}  // namespace differential
