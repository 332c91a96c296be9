#include "task/io/threads.hpp"

namespace asyncio {

Executor& EventLoop::default_executor() {
  if (executor_shutdown_called_) throw RuntimeError("Executor shutdown has been called");
  if (!default_executor_) default_executor_ = std::make_unique<ThreadPoolExecutor>();
  return *default_executor_;
}

void EventLoop::set_default_executor(std::unique_ptr<Executor> executor) { default_executor_ = std::move(executor); }

void EventLoop::expect(WorkItem& item, Ref<PendingHandle> completion) {
  pending_callbacks_.push_back(*completion);
  item.calls_ = threadsafe_;
  item.completion_ = completion.detach();
}

Coroutine<void> EventLoop::shutdown_default_executor() {
  executor_shutdown_called_ = true;
  if (!default_executor_) co_return;
  ThreadPoolExecutor joining(1);
  co_await run_in_executor(&joining, [this] { default_executor_->shutdown(); });
}

Coroutine<std::vector<SocketAddress>> EventLoop::getaddrinfo(std::string host, std::string service) {
  std::vector<SocketAddress> addresses = numeric_addresses(host, service);
  if (addresses.empty()) addresses = co_await run_in_executor(nullptr, blocking_getaddrinfo, host, service);
  co_return addresses;
}

}  // namespace asyncio
