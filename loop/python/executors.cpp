#include "loop/python/executors.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "loop/python/os.hpp"

namespace asyncio {
namespace {

// asyncio: process._process_worker
[[noreturn]] void run_in_child(WorkItem& item, int fd) noexcept {
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  const std::string bytes = item.run_to_bytes();
  std::fflush(stdout);
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::write(fd, bytes.data() + sent, bytes.size() - sent);
    if (n < 0 && errno != EINTR) ::_exit(1);
    if (n > 0) sent += n;
  }
  ::_exit(0);
}

std::string read_all(int fd) {
  std::string bytes;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (check_call(static_cast<int>(n), "read") == 0) return bytes;
    bytes.append(buffer, n);
  }
}

// The bytes that the child has sent. RuntimeError if it was killed or failed.
std::string run_in_process(WorkItem& item) {
  static std::mutex forking;  // another child must not inherit the writing end, or we would wait for that child, too
  FileDescriptor from_child;
  pid_t child;
  {
    const std::lock_guard lock(forking);
    int ends[2];
    check_call(::pipe2(ends, O_CLOEXEC), "pipe2");
    from_child = FileDescriptor(ends[0]);
    const FileDescriptor to_parent(ends[1]);
    std::fflush(stdout);
    child = check_call(::fork(), "fork");
    if (child == 0) run_in_child(item, to_parent.get());
  }
  std::string bytes;
  const std::exception_ptr failed = raised_by([&] { bytes = read_all(from_child.get()); });
  from_child = FileDescriptor();  // a child that still writes ends
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (failed) std::rethrow_exception(failed);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return bytes;
  throw RuntimeError("A process in the process pool was terminated abruptly: " +
                     (WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                          : "exit status " + std::to_string(WEXITSTATUS(status))));
}

}  // namespace

ThreadPoolExecutor::ThreadPoolExecutor(std::size_t max_workers) : max_workers_(max_workers) {
  if (max_workers == 0) throw ValueError("max_workers must be greater than 0");
}

std::size_t ThreadPoolExecutor::default_max_workers() noexcept {  // upstream's numbers
  return std::min<std::size_t>(32, std::thread::hardware_concurrency() + 4);
}

// asyncio: thread.ThreadPoolExecutor.submit
void ThreadPoolExecutor::submit(std::shared_ptr<WorkItem> item) {
  const std::lock_guard lock(mutex_);
  if (shutdown_) throw RuntimeError("cannot schedule new futures after shutdown");
  queue_.push_back(std::move(item));
  if (idle_ < queue_.size() && threads_.size() < max_workers_) {
    try {
      threads_.emplace_back([this] { worker(); });
    } catch (...) {  // no new thread: an existing one runs the item later
      if (!threads_.empty()) return;
      queue_.pop_back();
      throw;
    }
  }
  changed_.notify_one();
}

// asyncio: thread._worker
void ThreadPoolExecutor::worker() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [this] { return !queue_.empty() || shutdown_; });
    --idle_;
    if (queue_.empty()) return;
    std::shared_ptr<WorkItem> item = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    if (!item->cancelled()) run(*item);
    item->finish();
    item.reset();
    lock.lock();
  }
}

// asyncio: thread.ThreadPoolExecutor.shutdown
void ThreadPoolExecutor::shutdown(bool wait) {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    shutdown_ = true;
    changed_.notify_all();
    if (wait) threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

ProcessPoolExecutor::ProcessPoolExecutor(std::size_t max_workers) : ThreadPoolExecutor(max_workers) {}

void ProcessPoolExecutor::run(WorkItem& item) noexcept {
  if (const auto failed = raised_by([&] { item.set_from_bytes(run_in_process(item)); })) item.set_exception(failed);
}

}  // namespace asyncio
