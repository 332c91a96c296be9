// What a loop has beyond the kernel, and ends with it: transports, signal handlers, executors. Upstream keeps these in
// the classes of base_events.py, selector_events.py and unix_events.py.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "loop/base_events.hpp"
#include "loop/python/executors.hpp"

namespace asyncio {

class SelectorTransport;  // loop/io/selector_transports.hpp

class World final : public LoopWorld {
 public:
  using LoopWorld::LoopWorld;
  /// The one of this loop.
  static World& of(const EventLoop& loop) noexcept { return static_cast<World&>(*loop.world()); }

  // What the kernel asks.
  void ensure_fd_no_transport(int fd) const override;
  void process_self_data(std::string_view data) override;
  void check_can_be_woken() const override;  // loop/debug/deadlock.cpp
  bool add_interrupt_handler(const Ref<HandleState>& handle) override;
  int remove_interrupt_handler(const Ref<HandleState>& handle) noexcept override;
  Coroutine<void> shutdown() override;  // task/io/threads.cpp
  void close() noexcept override;

  /// From now on the transport ends with the loop, until it is removed. RuntimeError if the loop is closed.
  void add_transport(int fd, SelectorTransport& transport);
  void remove_transport(int fd) noexcept { transports_.erase(fd); }
  /// Of all transports: what is read is handed on at once.
  std::span<char> read_buffer(std::size_t size);

  void add_signal_handle(int signum, Ref<HandleState> handle);
  bool remove_signal_handler(int signum);

  /// Made when it is first needed. asyncio: base_events.BaseEventLoop.run_in_executor
  Executor& default_executor();
  void set_default_executor(std::unique_ptr<Executor> executor) noexcept { default_executor_ = std::move(executor); }

 private:
  void handle_signal(int signum);

  std::unordered_map<int, SelectorTransport*> transports_;
  std::vector<char> read_buffer_;
  std::map<int, Ref<HandleState>> signal_handlers_;
  std::unique_ptr<Executor> default_executor_;
  bool executor_shutdown_called_ = false;
};

}  // namespace asyncio
