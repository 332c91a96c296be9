#include "loop/events.hpp"

#include <pthread.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace asyncio {
namespace {

constinit thread_local EventLoop* running_loop = nullptr;
constinit thread_local EventLoop* current_loop = nullptr;  // that of set_event_loop()
constinit thread_local bool set_called = false;
std::thread::id main_thread = std::this_thread::get_id();  // static initialisation runs in the main thread

// In the child of a fork() no loop runs, and the thread that called fork() is the main one. asyncio: events.on_fork
void on_fork() {
  running_loop = current_loop = nullptr;
  set_called = false;
  main_thread = std::this_thread::get_id();
}
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, on_fork);

}  // namespace

void HandleState::cancel_callback() noexcept {
  cancelled_ = true;
  if (!running_) drop_callback();
}

void HandleState::run(EventLoop& loop) {
  running_ = true;
  const EnterContext entered(context_);
  const Finally stopped([this] {
    running_ = false;
    // The callable may capture what refers to this handle, which is a cycle: drop it now. Without another reference
    // this handle is destroyed next anyway.
    if ((cancelled_ || !repeats_) && references() > 1) drop_callback();
  });
  try {
    callback();
  } catch (const Exit&) {
    throw;
  } catch (...) {
    report_exception(loop);
  }
}

AnyFuture PendingHandle::awaiter() const noexcept { return AnyFuture(); }

void PendingHandle::end_with_loop() noexcept {
  const Ref<HandleState> self(this);
  cancel_callback();
}

bool in_main_thread() noexcept { return std::this_thread::get_id() == main_thread; }

EventLoop* get_running_loop_or_null() noexcept { return running_loop; }

EventLoop& get_running_loop() {
  if (!running_loop) throw RuntimeError("no running event loop");
  return *running_loop;
}

void set_running_loop(EventLoop* loop) noexcept { running_loop = loop; }

EventLoop& get_event_loop() {
  if (running_loop) return *running_loop;
  if (!current_loop && !set_called && in_main_thread()) set_event_loop(&loop_of_main_thread());
  if (current_loop) return *current_loop;
  throw RuntimeError("There is no current event loop in thread " + std::to_string(::gettid()) +
                     ": call set_event_loop(), or work inside asyncio::run()");
}

void set_event_loop(EventLoop* loop) noexcept {
  set_called = true;
  current_loop = loop;
}

void unset_event_loop(const EventLoop* loop) noexcept {
  if (current_loop == loop) current_loop = nullptr;
}

}  // namespace asyncio
