// Instruments that are written in Python.
#pragma once

#include "loop/debug/instruments.hpp"
#include "python.hpp"

namespace cpploop {

/// Tells a Python object what the loop does: those of before_select(timeout), after_select(events),
/// handle_scheduled(handle, by), before_run(handle) and after_run(handle) that it has. A handle of the kernel's own is
/// None.
class PythonInstrument final : public asyncio::Instrument {
 public:
  explicit PythonInstrument(Object target) : target_(std::move(target)) {}
  PyObject* target() const noexcept { return target_.get(); }  // borrowed

  void before_select(std::optional<double> timeout) override;
  void after_select(std::span<const selectors::SelectorEvent> events) override;
  void handle_scheduled(const asyncio::Handle& handle, const asyncio::Handle& by) override;
  void before_run(const asyncio::Handle& handle) override;
  void after_run(const asyncio::Handle& handle) override;

 private:
  template <class... Args> void tell(const char* method, const Args&... args);

  Object target_;
};

}  // namespace cpploop
