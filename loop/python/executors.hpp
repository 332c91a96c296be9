// Threads and processes for calls that would block the loop. Upstream counterpart: Lib/concurrent/futures, its
// thread.py and process.py.
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

/// A call for which a loop waits. Until finish(), only the executor's thread may touch it, except for cancel(); after
/// that, only the loop's thread. asyncio: thread._WorkItem
class WorkItem {
 public:
  virtual ~WorkItem() = default;

  /// Calls the function and keeps its result or exception.
  virtual void run() noexcept = 0;
  /// The same in a child process: returns the result or exception as bytes, which the child sends to its parent.
  virtual std::string run_to_bytes() noexcept = 0;
  /// Sets the result or exception from the child's bytes.
  virtual void set_from_bytes(const std::string& bytes) = 0;
  virtual void set_exception(std::exception_ptr exception) noexcept = 0;

  /// The future was cancelled, so the call need not run. Any thread may call this.
  void cancel() noexcept { cancelled_ = true; }
  bool cancelled() const noexcept { return cancelled_; }
  /// Tells the loop that the call has returned. No effect if the loop is closed.
  virtual void finish() noexcept = 0;

 private:
  std::atomic<bool> cancelled_ = false;
};

/// Runs calls outside the loop's thread. Any thread may use it. asyncio: _base.Executor
class Executor {
 public:
  virtual ~Executor() = default;
  /// Queues a call. RuntimeError after shutdown(). asyncio: _base.Executor.submit
  virtual void submit(std::shared_ptr<WorkItem> item) = 0;
  /// Accepts no more calls; those that were submitted still run. With `wait` it blocks until they have returned.
  /// asyncio: _base.Executor.shutdown
  virtual void shutdown(bool wait = true) = 0;
};

/// A pool of at most `max_workers` threads, which are started when they are needed. ValueError if max_workers is 0. The
/// destructor waits until all threads have ended. asyncio: thread.ThreadPoolExecutor
class ThreadPoolExecutor : public Executor {
 public:
  explicit ThreadPoolExecutor(std::size_t max_workers = default_max_workers());
  ~ThreadPoolExecutor() override { ThreadPoolExecutor::shutdown(true); }
  void submit(std::shared_ptr<WorkItem> item) override;
  void shutdown(bool wait = true) override;
  static std::size_t default_max_workers() noexcept;

 protected:
  virtual void run(WorkItem& item) noexcept { item.run(); }

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

/// Runs every call in a new child process, at most `max_workers` at once. The child gets the callable by fork() and
/// sends the result back through a pipe, as the bytes of a trivially copyable type or a std::string. An exception
/// becomes a RuntimeError with its text; so does the end of a child that was killed. The child has one thread only, so
/// a mutex that another thread held at the fork stays locked in it. asyncio: process.ProcessPoolExecutor
class ProcessPoolExecutor : public ThreadPoolExecutor {
 public:
  explicit ProcessPoolExecutor(std::size_t max_workers = std::thread::hardware_concurrency());
  ~ProcessPoolExecutor() override { ProcessPoolExecutor::shutdown(true); }

 private:
  void run(WorkItem& item) noexcept override;
};

}  // namespace asyncio
