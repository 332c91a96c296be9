#include "task/io/threads.hpp"

namespace asyncio {

Executor& World::default_executor() {
  if (executor_shutdown_called_) throw RuntimeError("Executor shutdown has been called");
  if (!default_executor_) default_executor_ = std::make_unique<ThreadPoolExecutor>();
  return *default_executor_;
}

void AbstractEventLoop::set_default_executor(std::unique_ptr<Executor> executor) {
  World::of(self()).set_default_executor(std::move(executor));
}

Coroutine<void> AbstractEventLoop::shutdown_default_executor() { return World::of(self()).shutdown(); }

Coroutine<void> World::shutdown() {
  executor_shutdown_called_ = true;
  if (!default_executor_) co_return;
  ThreadPoolExecutor joining(1);
  co_await loop_.run_in_executor(&joining, [this] { default_executor_->shutdown(); });
}

Coroutine<std::vector<SocketAddress>> AbstractEventLoop::getaddrinfo(std::string host, std::string service) {
  std::vector<SocketAddress> addresses = numeric_addresses(host, service);
  if (addresses.empty()) addresses = co_await run_in_executor(nullptr, blocking_getaddrinfo, host, service);
  co_return addresses;
}

}  // namespace asyncio
