// Runs coroutines from ordinary blocking code. Upstream counterpart: Lib/asyncio/runners.py.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "task/tasks.hpp"

namespace asyncio {

/// Options of run and Runner.
struct RunnerOptions {
  /// Debug mode on or off; by default ASYNCIO_DEBUG decides.
  std::optional<bool> debug{};
  /// Makes the loop, when it is first needed. It is not set as this thread's loop. ValueError, from run() or
  /// get_loop(), if it returns null. By default new_event_loop(), whose loop is also set as this thread's loop.
  std::unique_ptr<EventLoop> (*loop_factory)() = nullptr;
};

template <class T> T run(Coroutine<T> main, RunnerOptions options = {});

/// Runs several coroutines, one after the other, on one loop, which is made when it is first needed. In the main thread
/// the first SIGINT cancels the coroutine; if it ends because of that, run() raises KeyboardInterrupt. The second
/// SIGINT raises KeyboardInterrupt at once. asyncio: runners.Runner
class Runner {
 public:
  explicit Runner(RunnerOptions options = {}) noexcept : options_(options) {}
  /// Calls close() and ignores its exceptions.
  ~Runner();

  /// Runs the coroutine to its end, then returns its result (moved out) or raises its exception. It runs in `context`;
  /// without one, in the context that all such coroutines of the runner share. RuntimeError if a loop runs in this
  /// thread or the runner is closed. asyncio: runners.Runner.run
  template <class T> T run(Coroutine<T> coroutine, Context* context = nullptr) {
    check_can_run("Runner.run()");
    const Task<T> task = get_loop().create_task(std::move(coroutine), {.context = context ? context : &context_});
    run_task(task, context ? *context : context_);
    return task.take_result();
  }
  /// The same with the coroutine that f() returns; f is kept until it is done.
  template <CoroutineFunction F> auto run(F f, Context* context = nullptr) {
    return run(call_and_keep_(std::move(f)), context);
  }
  /// The loop, which belongs to the runner. RuntimeError if the runner is closed. asyncio: runners.Runner.get_loop
  EventLoop& get_loop();
  /// Cancels all remaining tasks, waits until they are done and closes the loop. No effect the second time.
  /// asyncio: runners.Runner.close
  void close();

 private:
  enum class State { created, initialized, closed };

  static void check_can_run(const char* caller);
  template <class T> friend T run(Coroutine<T> main, RunnerOptions options);
  void lazy_init();
  void run_task(const AnyTask& task, Context& context);
  void on_sigint(const AnyTask& main_task);

  RunnerOptions options_;
  std::unique_ptr<EventLoop> loop_;
  Context context_{nullptr};  // of what it runs without another one; null until a variable is set
  State state_ = State::created;
  int interrupt_count_ = 0;
};

/// Makes a loop, runs the coroutine, cancels the tasks that remain and closes the loop. Returns the coroutine's result
/// or raises its exception. RuntimeError if a loop runs in this thread. asyncio: runners.run
template <class T> T run(Coroutine<T> main, RunnerOptions options) {
  Runner::check_can_run("asyncio.run()");
  Runner runner(options);
  if constexpr (std::is_void_v<T>) {
    runner.run(std::move(main));
    runner.close();
  } else {
    T result = runner.run(std::move(main));
    runner.close();
    return result;
  }
}
/// The same with the coroutine that main() returns.
template <CoroutineFunction F> auto run(F main, RunnerOptions options = {}) {
  return run(call_and_keep_(std::move(main)), options);
}
template <class F> void run(F, RunnerOptions = {}) {
  static_assert(CoroutineFunction<F>, "run needs a Coroutine, or a callable without arguments that returns one");
}

}  // namespace asyncio
