// The selector of a loop under Python: the kernel's epoll, or any selector that was written in Python.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "python.hpp"
#include "selectors/selectors.hpp"

namespace cpploop {

/// Without a Python selector it is the kernel's EpollSelector, which waits without the GIL and lets Python's signal
/// handlers run when a signal interrupts it. With one, it passes everything on.
class Selector final : public selectors::EpollSelector {
 public:
  selectors::SelectorKey register_(int fd, unsigned events, void* data) override;
  selectors::SelectorKey unregister(int fd) override;
  selectors::SelectorKey modify(int fd, unsigned events, void* data) override;
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override;

  /// From now on `selector` does the work; there is no way back. What is registered, is registered there, too.
  void use(Object selector);
  PyObject* python() const noexcept { return python_.get(); }  // borrowed
  void forget_python() noexcept { python_ = Object(); }
  /// Whether this thread is in select(): then a signal handler is running.
  bool waits_in_this_thread() const noexcept { return waiting_ == std::this_thread::get_id(); }
  /// Calls f() once, when select() is called next.
  void at_next_select(std::function<void()> f) { at_next_select_ = std::move(f); }
  const std::set<int>& registered() const noexcept { return registered_; }

 private:
  void check_not_waiting() const;
  std::span<const selectors::SelectorEvent> select_in_python(std::optional<double> timeout);

  Object python_;
  std::set<int> registered_;
  std::vector<selectors::SelectorEvent> ready_;
  std::function<void()> at_next_select_;
  std::thread::id waiting_;  // the thread that waits in epoll now
};

/// Lets Python's signal handlers run; PythonError or PythonExit if one raises. asyncio: PyErr_CheckSignals
void check_signals();

}  // namespace cpploop
