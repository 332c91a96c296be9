// From a blocking main() into the loop and back. Upstream counterpart: Lib/asyncio/runners.py.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "task/tasks.hpp"

namespace asyncio {

/// Options of run and Runner.
struct RunnerOptions {
  std::optional<bool> debug{};                             // default: as the loop itself decides
  std::unique_ptr<EventLoop> (*loop_factory)() = nullptr;  // default: new_event_loop, set as this thread's loop
};

template <class T> T run(Coroutine<T> main, RunnerOptions options = {});

/// Several coroutines, one after the other, on one loop. The loop is made when it is first needed. In the
/// main thread SIGINT cancels the running coroutine, and becomes a KeyboardInterrupt if that ends it; the
/// second SIGINT is one at once. asyncio: runners.Runner
class Runner {
 public:
  explicit Runner(RunnerOptions options = {}) noexcept : options_(options) {}
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  /// Calls close(), and lets nothing out.
  ~Runner();

  /// Runs until the coroutine returns; its result is moved out, its exception raised. RuntimeError if a loop
  /// runs in this thread or the runner is closed. asyncio: runners.Runner.run
  template <class T> T run(Coroutine<T> coroutine) {
    check_can_run("Runner.run()");
    const Task<T> task = get_loop().create_task(std::move(coroutine));
    run_task(task);
    return task.take_result();
  }
  template <CoroutineFunction F> auto run(F f) { return run(call_and_keep_(std::move(f))); }
  /// asyncio: runners.Runner.get_loop
  EventLoop& get_loop();
  /// Cancels all tasks that are left, waits for their end and closes the loop. asyncio: runners.Runner.close
  void close();

 private:
  enum class State { created, initialized, closed };

  static void check_can_run(const char* caller);
  template <class T> friend T run(Coroutine<T> main, RunnerOptions options);
  void lazy_init();
  void run_task(const AnyTask& task);
  void on_sigint(const AnyTask& main_task);

  RunnerOptions options_;
  std::unique_ptr<EventLoop> loop_;
  State state_ = State::created;
  bool set_event_loop_ = false;
  int interrupt_count_ = 0;
};

/// Makes a loop, runs the coroutine, cancels what it left, closes the loop. RuntimeError if a loop runs in
/// this thread. asyncio: runners.run
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
template <CoroutineFunction F> auto run(F main, RunnerOptions options = {}) {
  return run(call_and_keep_(std::move(main)), options);
}
template <class F> void run(F, RunnerOptions = {}) {
  static_assert(CoroutineFunction<F>, "run needs a Coroutine, or a callable without arguments that returns one");
}

}  // namespace asyncio
