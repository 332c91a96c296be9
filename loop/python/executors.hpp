// Threads and processes that run what would block the loop. Upstream counterpart: Lib/concurrent/futures, its thread.py
// and process.py.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace asyncio {

/// A call that a loop waits for. It belongs to the executor's thread while that runs it, then to the loop's.
/// asyncio: thread._WorkItem
class WorkItem {
 public:
  WorkItem() = default;
  WorkItem(const WorkItem&) = delete;
  WorkItem& operator=(const WorkItem&) = delete;
  virtual ~WorkItem() = default;

  /// Calls the function and keeps what came of it.
  virtual void run() noexcept = 0;
  /// The same in a child process, which sends the bytes to its parent.
  virtual std::string run_to_bytes() noexcept = 0;
  /// What came of it in the child.
  virtual void set_from_bytes(const std::string& bytes) = 0;
  virtual void set_exception(std::exception_ptr exception) noexcept = 0;

  /// Nobody waits any more: it need not run.
  void cancel() noexcept { cancelled_ = true; }
  bool cancelled() const noexcept { return cancelled_; }
  /// Tells the loop that it has run. A loop that was closed hears nothing.
  virtual void finish() noexcept = 0;

 private:
  std::atomic<bool> cancelled_ = false;
};

/// Any thread may call it. asyncio: _base.Executor
class Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;
  /// RuntimeError after shutdown(). asyncio: _base.Executor.submit
  virtual void submit(std::shared_ptr<WorkItem> item) = 0;
  /// Takes no more; what was submitted still runs. asyncio: _base.Executor.shutdown
  virtual void shutdown(bool wait = true) = 0;
};

/// At most `max_workers` threads, each started when there is work for it; its end waits for theirs. ValueError for none.
/// asyncio: thread.ThreadPoolExecutor
class ThreadPoolExecutor : public Executor {
 public:
  explicit ThreadPoolExecutor(std::size_t max_workers = default_max_workers());
  ~ThreadPoolExecutor() override { join(); }
  void submit(std::shared_ptr<WorkItem> item) override;
  void shutdown(bool wait = true) override;
  static std::size_t default_max_workers() noexcept;

 protected:
  virtual void run(WorkItem& item) noexcept { item.run(); }
  void join() noexcept;

 private:
  void worker();

  const std::size_t max_workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<WorkItem>> queue_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool shutdown_ = false;
};

/// Runs every call in a child of its own, at most `max_workers` at once: the closure goes there by fork, the result comes
/// back through a pipe, as the bytes of a trivially copyable type or a std::string. An exception comes back as RuntimeError
/// with its text, a child that was killed as RuntimeError. The child has one thread: what others held locked stays locked.
/// asyncio: process.ProcessPoolExecutor
class ProcessPoolExecutor : public ThreadPoolExecutor {
 public:
  explicit ProcessPoolExecutor(std::size_t max_workers = std::thread::hardware_concurrency());
  ~ProcessPoolExecutor() override { join(); }

 private:
  void run(WorkItem& item) noexcept override;
};

}  // namespace asyncio
