#include "task/runners.hpp"

#include <vector>

namespace asyncio {
namespace {

// Runs the loop until all tasks are done, whether they return, raise or are cancelled.
void run_until_all_done(EventLoop& loop, const std::vector<AnyTask>& tasks) {
  const Future<void> all_done(loop);
  std::size_t left = tasks.size();
  for (const AnyTask& task : tasks) {
    task.add_done_callback([&left, all_done](const AnyFuture&) {
      if (--left == 0) all_done.set_result();
    });
  }
  loop.run_until_complete(all_done);
}

// asyncio: runners._cancel_all_tasks
void cancel_all_tasks(EventLoop& loop) {
  const std::vector<AnyTask> to_cancel = all_tasks(loop);
  if (to_cancel.empty()) return;
  for (const AnyTask& task : to_cancel) task.cancel();
  run_until_all_done(loop, to_cancel);
  for (const AnyTask& task : to_cancel) {
    if (task.cancelled() || !task.exception()) continue;
    loop.report("unhandled exception during asyncio.run() shutdown", {{}, task.exception(), task, {}});
  }
}

}  // namespace

Runner::~Runner() {
  raised_by([this] { close(); });  // errors of the remaining tasks were reported; a destructor cannot raise more
}

void Runner::check_can_run(const char* caller) {
  if (!get_running_loop_or_null()) return;
  throw RuntimeError(std::string(caller) +
                     " cannot be called from a running event loop: co_await the coroutine instead");
}

EventLoop& Runner::get_loop() {
  lazy_init();
  return *loop_;
}

// asyncio: runners.Runner._lazy_init
void Runner::lazy_init() {
  if (state_ == State::closed) throw RuntimeError("Runner is closed");
  if (state_ == State::initialized) return;
  loop_ = options_.loop_factory ? options_.loop_factory() : new_event_loop();
  if (!options_.loop_factory) set_event_loop(loop_.get());
  if (!loop_) throw ValueError("the loop_factory returned no loop");
  if (options_.debug) loop_->set_debug(*options_.debug);
  context_ = Context(copy_current_context());
  state_ = State::initialized;
}

void Runner::run_task(const AnyTask& task, Context& context) {
  LoopWorld* world = loop_->world();
  const Ref<HandleState> handler = make_handle([this, task] { on_sigint(task); });
  const bool handles_sigint = world && world->add_interrupt_handler(handler);
  interrupt_count_ = 0;
  int arrived = 0;
  {
    const Finally restore([&] {
      if (handles_sigint) arrived = world->remove_interrupt_handler(handler);
      handler->cancel_callback();
      context = Context(task.state()->context());
    });
    loop_->run_until_done(task, true);
  }
  if (interrupt_count_ == 0 && arrived > 0) on_sigint(task);  // it arrived during the last step
  if (task.cancelled() && interrupt_count_ > 0 && task.uncancel() == 0) throw KeyboardInterrupt();
}

// Called by the loop, NOTES [signals]. asyncio: runners.Runner._on_sigint
void Runner::on_sigint(const AnyTask& main_task) {
  if (main_task.cancelled()) return;  // it was cancelled before the loop handled the signal
  if (++interrupt_count_ > 1 || main_task.done()) throw KeyboardInterrupt();
  main_task.cancel();
}

void Runner::close() {
  if (state_ != State::initialized) return;
  state_ = State::closed;
  const Finally cleanup([this] {
    if (!options_.loop_factory) set_event_loop(nullptr);
    loop_.reset();
  });
  cancel_all_tasks(*loop_);
  if (loop_->world()) loop_->run_until_complete(loop_->world()->shutdown());
}

}  // namespace asyncio
