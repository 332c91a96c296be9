// Calls from the loop into other threads, and back. Upstream counterpart: Lib/asyncio/threads.py, and the executors of
// base_events.py.
#pragma once

#include <array>
#include <bit>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "loop/io/world.hpp"
#include "task/tasks.hpp"

namespace asyncio {

/// Converts a result to bytes and back, to send it from a child process. CallItem adds a first byte, which tells a
/// value from the text of an exception. asyncio: process._ResultItem
template <class T> struct Pickle {
  static constexpr bool possible = std::is_trivially_copyable_v<T>;
  static std::string dumps(const T& value) {
    if constexpr (possible) return std::string(reinterpret_cast<const char*>(&value), sizeof value);
    throw ValueError("a result of type " + demangle(typeid(T).name()) +
                     " cannot come out of a process: return a std::string or what is trivially copyable");
  }
  static void loads(const std::string& bytes, std::optional<T>& value) {
    if constexpr (possible) {
      std::array<char, sizeof(T)> copy;
      if (bytes.copy(copy.data(), sizeof(T)) == sizeof(T)) value.emplace(std::bit_cast<T>(copy));
    }
  }
};
template <> struct Pickle<std::string> {
  static std::string dumps(const std::string& value) { return value; }
  static void loads(const std::string& bytes, std::optional<std::string>& value) { value = bytes; }
};

/// The call of f(args...), and its result or exception. asyncio: thread._WorkItem
template <class R, class F, class... Args> class CallItem final : public WorkItem {
 public:
  template <class... V> explicit CallItem(V&&... values) : call_(std::in_place, std::forward<V>(values)...) {}

  void run() noexcept override {
    exception_ = raised_by([this] { call(); });
    call_.reset();  // the captures are destroyed in the thread that ran the call
  }
  std::string run_to_bytes() noexcept override {
    std::string bytes = "eout of memory";  // short enough to need none
    raised_by([&] {
      try {
        call();
        bytes = 'v' + Pickle<Stored<R>>::dumps(*result_);
      } catch (const std::exception& error) {
        bytes = std::string("e") + error.what();
      } catch (...) {
        bytes = 'e' + describe(std::current_exception());
      }
    });
    return bytes;
  }
  void set_from_bytes(const std::string& bytes) override {
    if (bytes.starts_with('v')) Pickle<Stored<R>>::loads(bytes.substr(1), result_);
    if (result_) return;
    exception_ = std::make_exception_ptr(
        RuntimeError(bytes.starts_with('e') ? bytes.substr(1) : "the process ended without a result"));
  }
  void set_exception(std::exception_ptr exception) noexcept override { exception_ = std::move(exception); }
  void finish() noexcept override { inbox_->add_announced(completion_); }

  /// finish() will queue the handle in the loop. Until then the loop lists it.
  void announce(EventLoop& loop, Ref<PendingHandle> completion) {
    loop.inbox()->announce();
    loop.add_pending(*completion);
    inbox_ = loop.inbox();
    completion_ = completion.detach();
  }
  /// The loop has taken the handle, and with it the reference: whoever keeps the handle now, close() must not end it.
  void delivered() noexcept {
    if (completion_) completion_->unlink();
  }

  /// asyncio: futures._copy_future_state
  void copy_to(const Future<R>& future) {
    // Moved out in the loop's thread, because the item may be destroyed in the thread that ran it.
    const std::exception_ptr exception = std::exchange(exception_, nullptr);
    const Finally emptied([this] { result_.reset(); });
    if (future.cancelled()) return;
    try {
      if (exception) std::rethrow_exception(exception);
      future.state()->check_settable("set_result");
      future.state()->template set_result<R>(*std::move(result_));
    } catch (...) {  // the call's exception, or that of the result's move constructor
      future.set_exception(caught_exception());
    }
  }

 private:
  void call() {
    const auto invoke = [](F& f, Args&... args) -> R { return std::invoke(f, args...); };
    if constexpr (std::is_void_v<R>) {
      std::apply(invoke, *call_);
      result_.emplace();
    } else {
      result_.emplace(std::apply(invoke, *call_));
    }
  }

  std::optional<std::tuple<F, Args...>> call_;
  std::optional<Stored<R>> result_;
  std::exception_ptr exception_;
  std::shared_ptr<Inbox> inbox_;
  PendingHandle* completion_ = nullptr;  // a reference that belongs to the loop; finish() returns it
};

/// The handle that is queued when a call in a thread has returned. It is in the loop's list until finish() or close().
class Completion : public PendingHandle {
  void end_with_loop() noexcept override {
    const Ref<HandleState> self = Ref<HandleState>::adopt(this);
    cancel_callback();
  }
};

template <class F, class... Args> auto AbstractEventLoop::run_in_executor(Executor* executor, F&& f, Args&&... args)
    -> Future<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>> {
  using R = std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>;
  using Item = CallItem<R, std::decay_t<F>, std::decay_t<Args>...>;
  World& world = World::of(self());
  self().check_usable();
  if (!executor) executor = &world.default_executor();
  const Future<R> future(self());
  const auto item = std::make_shared<Item>(std::forward<F>(f), std::forward<Args>(args)...);
  const std::shared_ptr<Item> delivery(item.get(), [item](Item* delivered) { delivered->delivered(); });
  item->announce(self(), make_handle<Completion>([delivery, future] { delivery->copy_to(future); }));
  const std::exception_ptr refused = raised_by([&] {
    future.add_done_callback([item](const Future<R>& done) {
      if (done.cancelled()) item->cancel();
    });
    executor->submit(item);
  });
  if (!refused) return future;
  item->finish();
  future.cancel();
  std::rethrow_exception(refused);
}

/// Calls f(args...) in a thread of the loop's default executor, with a copy of the current context. Awaiting it does
/// not block the loop. asyncio: threads.to_thread
template <class F, class... Args> auto to_thread(F f, Args... args) -> Coroutine<std::invoke_result_t<F&, Args&...>> {
  auto call = [context = copy_context_for_thread(), f = std::move(f), ... args = std::move(args)]() mutable {
    return context.run([&] { return std::invoke(f, args...); });
  };
  co_return co_await get_running_loop().run_in_executor(nullptr, std::move(call));
}

/// For other threads: runs the coroutine as a task of the loop. The std::future gets the result, the exception or a
/// CancelledError; if the loop closes first, it gets a std::future_error (broken promise). The loop must exist until
/// the task has started. RuntimeError if it is closed. asyncio: tasks.run_coroutine_threadsafe
template <class T> std::future<T> run_coroutine_threadsafe(Coroutine<T> coroutine, EventLoop& loop) {
  std::promise<T> promise;
  std::future<T> result = promise.get_future();
  loop.call_soon_threadsafe([&loop, coroutine = std::move(coroutine), promise = std::move(promise)]() mutable {
    const Task<T> task = loop.create_task(std::move(coroutine));
    task.add_done_callback([promise = std::move(promise)](const Future<T>& done) mutable {
      try {
        if constexpr (std::is_void_v<T>) {
          done.take_result();
          promise.set_value();
        } else {
          promise.set_value(done.take_result());
        }
      } catch (...) {
        promise.set_exception(std::current_exception());
      }
    });
  });
  return result;
}

}  // namespace asyncio
