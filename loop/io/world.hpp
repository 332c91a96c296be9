// What a loop has beyond the kernel: transports, signal handlers, executors. They end with the loop. Upstream keeps
// them in the classes of base_events.py, selector_events.py and unix_events.py.
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

/// The transports, signal handlers and default executor of a loop.
class World final : public LoopWorld {
 public:
  using LoopWorld::LoopWorld;
  /// The World of this loop.
  static World& of(const EventLoop& loop) noexcept { return static_cast<World&>(*loop.world()); }

  // What the kernel calls.
  void ensure_fd_no_transport(int fd) const override;
  void process_self_data(std::string_view data) override;
  void check_can_be_woken() const override;  // loop/debug/deadlock.cpp
  bool add_interrupt_handler(const Ref<HandleState>& handle) override;
  int remove_interrupt_handler(const Ref<HandleState>& handle) noexcept override;
  Coroutine<void> shutdown() override;  // task/io/threads.cpp
  void close() noexcept override;

  /// The transport will end with the loop, unless it is removed before. RuntimeError if the loop is closed.
  void add_transport(int fd, SelectorTransport& transport);
  void remove_transport(int fd) noexcept { transports_.erase(fd); }
  /// One buffer for all transports, because the bytes are passed on before the next read.
  std::span<char> read_buffer(std::size_t size);

  void add_signal_handle(int signum, Ref<HandleState> handle);
  bool remove_signal_handler(int signum);

  /// The default executor; made when it is first needed. RuntimeError after shutdown().
  /// asyncio: base_events.BaseEventLoop.run_in_executor
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
