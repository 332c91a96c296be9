// The loop that Python sees: the kernel's, with a selector, a clock and reports that know of Python.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "handle.hpp"
#include "instrument.hpp"
#include "loop/base_events.hpp"
#include "selector.hpp"

namespace cpploop {

/// The type cpploop._kernel.Loop, once there is the module.
inline PyObject* loop_type = nullptr;

/// The kernel's loop inside a Python object of type cpploop.Loop. Only with the GIL held.
class Loop final : public asyncio::EventLoop {
 public:
  /// PythonError, or std::system_error if the kernel gives no descriptors.
  explicit Loop(PyObject* object) : Loop(object, std::make_unique<Selector>()) {}

  PyObject* object() const noexcept { return object_; }  // borrowed: this lies inside it
  Selector& python_selector() const noexcept { return selector_; }
  /// The handles to which the kernel has references.
  asyncio::LinkedList<PythonHandle>& held_handles() noexcept { return held_handles_; }
  std::list<PythonInstrument>& instruments() noexcept { return instruments_; }

  /// The time() of a Python subclass that has one, else the kernel's.
  double time() const override;
  double kernel_time() const { return EventLoop::time(); }
  bool overrides_call_at() const noexcept { return overrides_call_at_; }
  /// Passed on to the Python method _slow_callback.
  void slow_callback(const asyncio::Handle& handle, const std::string& name, double seconds) override;
  /// Numbers of signals were read from the self-pipe: passed on to upstream's method of that name.
  void process_self_data(std::string_view data);

  /// One iteration, for a subclass that has a _run_once() of its own.
  void step();
  /// Whether the current iteration is the last one: upstream's _stopping.
  void set_stopping(bool stopping) noexcept;
  bool stopping() const noexcept { return stopping_; }

 private:
  Loop(PyObject* object, std::unique_ptr<Selector> selector);
  void report(const asyncio::ExceptionContext& context);

  PyObject* const object_;
  Selector& selector_;  // the kernel owns it
  asyncio::LinkedList<PythonHandle> held_handles_;
  std::list<PythonInstrument> instruments_;
  bool stopping_ = false;
  bool overrides_time_ = false, overrides_call_at_ = false;
};

}  // namespace cpploop
