// What the tasks of one loop do, in a C++ program.
#pragma once

#include <unordered_map>

#include "asyncio.hpp"
#include "examples/study/watch.hpp"

namespace study {

class TaskWatch : public Watch {
 public:
  using Watch::Watch;

  void task_created(const asyncio::AnyTask& task, const asyncio::AnyTask& by) override;
  void task_step(const asyncio::AnyTask& task) override;
  void task_waits(const asyncio::AnyTask& task, const asyncio::AnyFuture& on) override;
  void task_woken(const asyncio::AnyTask& task, const asyncio::AnyFuture& by) override;
  void task_done(const asyncio::AnyTask& task) override;

 private:
  struct KnownFuture {
    int id = -1;
    bool done = false;  // what is waited for at this address from now on is another one
  };
  struct KnownTask {
    int id = -1, handle = -1;
    asyncio::TaskState* state = nullptr;
    int cancelling = 0;
  };

  std::string name_of(const State& state) const override;
  int step_scheduled(const asyncio::Handle& handle) override;
  int current_task() override;
  void find_cancellations(std::size_t limit) override;
  void find_cancellation(KnownTask& task);
  KnownTask& known(const asyncio::AnyTask& task);
  KnownFuture& future_of(const asyncio::AnyTask& task, const asyncio::AnyFuture& future);

  std::unordered_map<const asyncio::FutureState*, KnownTask> tasks_;
  std::unordered_map<const asyncio::FutureState*, KnownFuture> futures_;
};

}  // namespace study
