#include "tests/differential/interpreter.hpp"

#include <algorithm>
#include <iostream>
#include <streambuf>

#include "tests/differential/operations.hpp"
#include "tests/differential/show.hpp"

namespace differential {

using asyncio::AnyFuture;
using asyncio::Coroutine;

/// In the place of std::cerr's buffer: the default exception handler becomes an event of the trace.
class Interpreter::DefaultHandlerOutput : public std::streambuf {
 public:
  explicit DefaultHandlerOutput(Interpreter& interpreter) : interpreter_(interpreter), before_(std::cerr.rdbuf(this)) {}
  ~DefaultHandlerOutput() override { std::cerr.rdbuf(before_); }

 private:
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    const std::string_view line(text, static_cast<std::size_t>(size));
    if (line.starts_with("Unhandled error in exception handler")) interpreter_.log("!", 0, "default handler");
    return size;
  }
  int overflow(int c) override { return c; }

  Interpreter& interpreter_;
  std::streambuf* before_;
};

void Activation::go_to(int next) {
  line = next;
  if (told_line) told_line(*this);
}

Interpreter::Interpreter(Program parsed) : program(std::move(parsed)) {
  loop.selector.before_select = [this] { flush_reports(); };
  loop.set_exception_handler(
      [this](asyncio::EventLoop&, const asyncio::ExceptionContext& context) { on_exception(context); });
}

Interpreter::~Interpreter() {
  over_ = true;
  if (!runner_closed) loop.close();
  names.clear();
  world.objects.clear();
  kept.clear();
}

void Interpreter::log(const std::string& who, int line, const std::string& outcome) {
  if (over_) return;
  const std::size_t before = out_.size();
  if (!runner_closed) log_iteration();
  out_ += who + (line ? ":" + std::to_string(line) : "") + " " + outcome + "\n";
  if (told_trace) told_trace(out_.substr(before));
}

// After Ctrl-C only the time: it takes an iteration more here, NOTES [signals].
void Interpreter::log_iteration() {
  const int iteration = loop.selector.iteration;
  const double now = loop.selector.now;
  if (interrupted ? now == logged_time_ : iteration == logged_iteration_) return;
  logged_iteration_ = iteration;
  logged_time_ = now;
  out_ += "[" + (interrupted ? "-" : std::to_string(iteration)) + "] " + number(now) + "\n";
}

// What nobody retrieved, in one iteration: when a reference goes is known, in which order is not.
void Interpreter::flush_reports() {
  for (const std::string& report : reports_) log("!", 0, report);
  reports_.clear();
}

void Interpreter::on_exception(const asyncio::ExceptionContext& context) {
  const std::string& message = context.message;
  if (message.find("destroyed") != std::string::npos) {
    const std::string name = given_name(asyncio::AnyTask(context.future.state()->as_task()));
    if (name != "-") destroyed_.insert(name);
    return;
  }
  const bool in_callback = message.find("in callback") != std::string::npos;
  const std::string who = message.starts_with("Task") ? "task" : in_callback ? "callback" : "future";
  const std::string text = who + " " + (context.exception ? show(context.exception) : message);
  if (message.find("never retrieved") != std::string::npos) {
    reports_.insert(text);
    return;
  }
  log("!", 0, text);
  if (!handler.empty()) call(handler, "handler");
}

Object Interpreter::find(const std::string& name) {
  if (name == "self") {
    if (const asyncio::AnyTask task = asyncio::current_task(loop)) return task;
  }
  const auto found = names.find(name);
  if (found == names.end()) throw Unbound();
  return found->second;
}

const Function& Interpreter::function(const std::string& name) const {
  const auto found = program.functions.find(name);
  if (found == program.functions.end()) throw Unbound();
  return found->second;
}

AnyFuture Interpreter::future(const std::string& name) {
  const Object object = find(name);
  return std::visit(
      [](const auto& value) -> AnyFuture {
        if constexpr (std::is_convertible_v<decltype(value), AnyFuture>) return value;
        throw Unbound();
      },
      object);
}

static bool is_call(const std::string& word) { return word.ends_with("()"); }
static std::string called(const std::string& word) { return word.substr(0, word.size() - 2); }

void Interpreter::check(const Words& words) const {
  for (const std::string& word : words) {
    if (is_call(word)) {
      function(called(word));
    } else if (!names.contains(word)) {
      throw Unbound();
    }
  }
}

asyncio::Future<int> Interpreter::int_future(const std::string& word) {
  if (is_call(word)) return asyncio::ensure_future(anonymous(called(word)));
  Object object = find(word);
  if (auto* task = std::get_if<asyncio::Task<int>>(&object)) return *task;
  if (auto* plain = std::get_if<asyncio::Future<int>>(&object)) return *plain;
  throw Unbound();
}

void Interpreter::bind(const std::string& name, AnyFuture future, Object object) {
  kept.push_back(std::move(future));
  names.insert_or_assign(name, std::move(object));
}

// What a coroutine of the program does.
Coroutine<int> Interpreter::body(std::string name, std::string label) {
  const Function& called = function(name);
  if (over_ || too_many_calls()) co_return 0;
  Activation act{std::move(label), std::move(name)};
  act.go_to(called.line);
  log(act.label, called.line, "start");
  co_await block(called.ops, act);
  co_return act.returned.value_or(0);
}

// The same for `f()` among the arguments of gather and others: its task lives as long as the program.
Coroutine<int> Interpreter::anonymous(std::string name) {
  const AnyFuture task = asyncio::current_task();
  if (std::find(kept.begin(), kept.end(), task) == kept.end()) kept.push_back(task);
  co_return co_await body(name, name);
}

Coroutine<void> Interpreter::block(const std::vector<Op>& ops, Activation& act) {
  const asyncio::Finally back([&act, line = act.line] { act.go_to(line); });
  for (const Op& op : ops) {
    if (over_) co_return;
    act.go_to(op.line);
    if (op.kind == Op::Kind::sync) {
      run_sync(op, act);
    } else if (op.kind == Op::Kind::leave) {
      leave(op, act);
    } else if (op.kind == Op::Kind::await) {
      co_await run_awaiting(op, act);
    } else if (op.name == "try") {
      co_await run_try(op, act);
    } else {
      co_await run_managed(op, act);
    }
    if (act.returned) co_return;
  }
}

Coroutine<void> Interpreter::run_awaiting(const Op& op, Activation& act) {
  std::string outcome;
  std::exception_ptr error;
  try {
    outcome = co_await await_operation(op.name)(*this, act, op.words);
  } catch (const Unbound&) {
    outcome = "unbound";
  } catch (...) {
    error = std::current_exception();
    outcome = describe(error);
  }
  log(act.label, op.line, outcome);
  if (error) std::rethrow_exception(error);
}

Coroutine<void> Interpreter::run_try(const Op& op, Activation& act) {
  std::exception_ptr error;
  try {
    co_await block(op.body, act);
  } catch (...) {
    error = std::current_exception();
  }
  for (const Op& handler : op.handlers) {
    if (!error || !is_a(error, handler.words[0])) continue;
    act.go_to(handler.line);
    log(act.label, handler.line, "caught");
    error = nullptr;
    try {
      co_await block(handler.body, act);
    } catch (...) {
      error = std::current_exception();
    }
    break;
  }
  if (!op.final.empty()) {
    const std::optional<int> returned = std::exchange(act.returned, std::nullopt);
    co_await block(op.final, act);
    if (!act.returned) act.returned = returned;
  }
  if (error) std::rethrow_exception(error);
}

Coroutine<void> Interpreter::run_managed(const Op& op, Activation& act) {
  std::string outcome = "ok";
  std::exception_ptr error;
  try {
    co_await enter(op, act);
  } catch (const Unbound&) {
    outcome = "unbound";
  } catch (...) {
    error = std::current_exception();
    outcome = describe(error);
  }
  log(act.label, op.line, outcome);
  if (error) std::rethrow_exception(error);
}

// `async with`.
Coroutine<void> Interpreter::enter(const Op& op, Activation& act) {
  const auto body = [&] { return block(op.body, act); };
  if (op.name == "group") {
    const auto group = std::make_shared<asyncio::TaskGroup>();
    names.insert_or_assign(op.words[0], group);
    co_await asyncio::async_with(*group, body);
  } else if (op.name != "with") {
    const std::optional<double> limit = seconds(op.words[1]);
    const bool at = op.name == "timeout_at";
    const auto timeout = std::make_shared<asyncio::Timeout>(at      ? asyncio::timeout_at(limit)
                                                            : limit ? asyncio::timeout(*limit)
                                                                    : asyncio::timeout(std::nullopt));
    names.insert_or_assign(op.words[0], timeout);
    co_await asyncio::async_with(*timeout, body);
  } else {
    const Object object = find(op.words[0]);
    if (auto* lock = std::get_if<std::shared_ptr<asyncio::Lock>>(&object)) {
      co_await asyncio::async_with(**lock, body);
    } else if (auto* condition = std::get_if<std::shared_ptr<asyncio::Condition>>(&object)) {
      co_await asyncio::async_with(**condition, body);
    } else if (auto* semaphore = std::get_if<std::shared_ptr<asyncio::Semaphore>>(&object)) {
      co_await asyncio::async_with(**semaphore, body);
    } else if (auto* barrier = std::get_if<std::shared_ptr<asyncio::Barrier>>(&object)) {
      co_await asyncio::async_with(**barrier, body);
    } else {
      throw Unbound();
    }
  }
}

std::string Interpreter::run_sync(const Op& op, Activation& act) {
  std::string outcome;
  try {
    outcome = sync_operation(op.name)(*this, act, op.words);
  } catch (const Unbound&) {
    outcome = "unbound";
  } catch (const Stuck& stuck) {
    outcome = stuck.why;
  } catch (...) {
    outcome = describe(std::current_exception());
  }
  log(act.label, op.line, outcome);
  return outcome;
}

void Interpreter::leave(const Op& op, Activation& act) {
  if (op.name == "return") {
    act.returned = std::stoi(op.words[0]);
    return;
  }
  log(act.label, op.line, "raises");
  raise(op.words[0], op.words.size() > 1 ? op.words[1] : "");
}

// What a function of the program does.
void Interpreter::call(const std::string& name, const std::string& label) {
  if (over_ || too_many_calls()) return;
  const Function& called = function(name);
  Activation act{label, name};
  act.go_to(called.line);
  log(label, called.line, "start");
  for (const Op& op : called.ops) {
    act.go_to(op.line);
    op.kind == Op::Kind::leave ? leave(op, act) : static_cast<void>(run_sync(op, act));
    if (act.returned) return;
  }
}

std::string Interpreter::execute() {
  const DefaultHandlerOutput output(*this);
  asyncio::set_event_loop(&loop);
  Activation act{"script", "script"};
  bool ran = false;
  for (const Op& op : program.script) {
    if (runner_closed) break;
    act.go_to(op.line);
    ran = ran || op.name == "run" || op.name == "run_forever" || op.name == "Runner";
    run_sync(op, act);
  }
  act.go_to(0);
  if (!ran) run_sync({Op::Kind::sync, "run", {"main()"}, 0}, act);
  runner_closed || abandoned ? summary() : finish(act);
  if (!out_.empty()) out_.pop_back();
  return out_;
}

// Lets everything end that can; cancels the rest.
void Interpreter::finish(Activation& act) {
  for (int round = 0;; ++round) {
    drain(act);
    if (round == MAX_ROUNDS) break;
    std::vector<AnyFuture> pending;
    std::copy_if(kept.begin(), kept.end(), std::back_inserter(pending), [](const auto& each) { return !each.done(); });
    if (pending.empty()) break;
    log("script", 0, "cancels " + std::to_string(pending.size()));
    for (const AnyFuture& each : pending) each.cancel();
  }
  summary();
}

// Until nothing more happens: what stands in the queue keeps futures alive.
void Interpreter::drain(Activation& act) {
  const Op run_forever{Op::Kind::sync, "run_forever", {}, 0};
  for (int i = 0; i < MAX_STOPS; ++i) {
    const std::string outcome = run_sync(run_forever, act);
    if (outcome == "idle" || outcome == "limit") break;
  }
}

void Interpreter::summary() {
  for (const auto& [name, object] : names) {
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_convertible_v<decltype(value), AnyFuture>) {
            log(name, 0, value.cancelled() ? "cancelled" : value.done() ? "done" : "pending");
          }
        },
        object);
  }
  const bool pending = std::any_of(kept.begin(), kept.end(), [](const AnyFuture& each) { return !each.done(); });
  if (pending && !runner_closed) log("script", 0, "still pending");
  over_ = pending || runner_closed;
  names.clear();
  kept.clear();
  if (!runner_closed) flush_reports();
  over_ = true;
  if (!runner_closed) loop.close();
  asyncio::set_event_loop(nullptr);
  for (const std::string& name : destroyed_) out_ += "! destroyed " + name + "\n";
}

std::string trace(const std::string& text) {
  Program program = parse(text);
  validate(program.script);
  for (const auto& [name, function] : program.functions) validate(function.ops);
  Interpreter interpreter(std::move(program));
  const bool uses_context = text.find("ontext") != std::string::npos;
  if (!uses_context) return interpreter.execute();
  return asyncio::Context().run([&] { return interpreter.execute(); });
}

}  // namespace differential
