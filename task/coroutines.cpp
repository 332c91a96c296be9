#include "task/coroutines.hpp"

#include <iostream>

namespace asyncio {

bool Frame::is_internal() const {
  const std::string function = function_name(where);
  return function.starts_with("asyncio::") && function.ends_with('_');
}

const Frame& Frame::of_program() const {
  const Frame* frame = this;
  while (frame->cr_await && frame->is_internal()) frame = frame->cr_await->frame();
  return *frame;
}

void CoroutineBase::warn_never_awaited() const noexcept {
  const EventLoop* loop = get_running_loop_or_null();
  if (loop ? !loop->get_debug() : !debug_by_environment()) return;
  const std::source_location& at = frame_->where;
  if (raised_by([&] {
        std::cerr << "coroutine '" + function_name(at) + "' was never awaited (" << at.file_name() << ":" << at.line()
                  << ")\n";
      }))
    log_without_memory("a coroutine was never awaited");
}

Frame* CoroutineBase::innermost() const noexcept {
  Frame* frame = frame_;
  while (frame && frame->cr_await) frame = frame->cr_await->frame_;
  return frame;
}

void CoroutineBase::throw_cannot_take() const {
  throw RuntimeError(done() ? "cannot reuse already awaited coroutine" : "coroutine is being awaited already");
}

std::optional<AnyFuture> CoroutineBase::send() { return throw_(nullptr); }

std::optional<AnyFuture> CoroutineBase::throw_(std::exception_ptr exception) {
  Frame* innermost = this->innermost();
  return throw_(std::move(exception), innermost) ? std::optional(AnyFuture(innermost->yielded)) : std::nullopt;
}

bool CoroutineBase::throw_(std::exception_ptr exception, Frame*& innermost) {
  if (!done() && !frame_->running) innermost->exception = std::move(exception);
  return send(innermost);
}

// Resumes the innermost frame until something is yielded or the outermost frame has ended. It is a loop instead of a
// recursion, so that awaits that never suspend, and chains of any depth, do not use up the stack.
bool CoroutineBase::send(Frame*& innermost) {
  if (done()) throw RuntimeError("cannot reuse already awaited coroutine");
  if (frame_->running) throw ValueError("coroutine already executing");
  Frame &outermost = *frame_, *frame = innermost;
  outermost.running = true;
  for (;;) {
    frame->started = true;
    frame->handle.resume();
    if (frame->handle.done()) {
      if (frame == &outermost) break;
      frame = frame->caller;
    } else if (frame->cr_await) {
      frame = frame->cr_await->frame_;
    } else {
      outermost.running = false;
      innermost = frame;
      return true;
    }
  }
  outermost.running = false;
  if (outermost.exception) std::rethrow_exception(outermost.exception);
  return false;
}

// Destroys the innermost frame first, so that a chain of any depth needs no recursion.
void CoroutineBase::destroy_chain() noexcept {
  for (Frame* frame = innermost(); frame;) {
    Frame* outer = frame == frame_ ? nullptr : frame->caller;
    if (outer) outer->cr_await->frame_ = nullptr;
    frame->handle.destroy();
    frame = outer;
  }
  frame_ = nullptr;
}

}  // namespace asyncio
