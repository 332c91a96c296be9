#include "loop.hpp"

#include <memory>

#include "task/coroutines.hpp"

namespace cpploop {
namespace {

// What a host attaches to a loop. Transports and executors are Python's; of signals it gets the numbers.
class World final : public asyncio::LoopWorld {
 public:
  using LoopWorld::LoopWorld;
  void ensure_fd_no_transport(int) const override {}
  void process_self_data(std::string_view data) override { static_cast<Loop&>(loop_).process_self_data(data); }
  void check_can_be_woken() const override {}
  bool add_interrupt_handler(const asyncio::Ref<asyncio::HandleState>&) override { return false; }
  int remove_interrupt_handler(const asyncio::Ref<asyncio::HandleState>&) noexcept override { return 0; }
  asyncio::Coroutine<void> shutdown() override { co_return; }
  void close() noexcept override {}
};

bool overrides(PyObject* object, const char* method) {
  const Object ours = checked(PyObject_GetAttrString(loop_type, method));
  return checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(object)), method)).get() != ours.get();
}

Object python_exception(const std::exception_ptr& exception) {
  if (!exception) return Object::borrow(Py_None);
  try {
    std::rethrow_exception(exception);
  } catch (const PythonError& error) {
    return error.exception;
  } catch (...) {
    set_python_error();
  }
  try {
    throw_python();
  } catch (const PythonError& error) {
    return error.exception;
  }
}

Object shown(const asyncio::Handle& handle) {
  PyObject* object = python_handle(handle);
  return Object::borrow(object ? object : Py_None);
}

}  // namespace

Loop::Loop(PyObject* object, std::unique_ptr<Selector> selector)
    : EventLoop(std::move(selector)),
      object_(object),
      selector_(static_cast<Selector&>(EventLoop::selector())),
      overrides_time_(overrides(object, "time")),
      overrides_call_at_(overrides(object, "call_at")) {
  set_exception_handler([this](EventLoop&, const asyncio::ExceptionContext& context) { report(context); });
}

double Loop::time() const {
  if (!overrides_time_) return kernel_time();
  const Object now = checked(PyObject_CallMethod(object_, "time", nullptr));
  const double seconds = PyFloat_AsDouble(now.get());
  if (seconds == -1 && PyErr_Occurred()) throw_python();
  return seconds;
}

void Loop::slow_callback(const asyncio::Handle& handle, const std::string&, double seconds) {
  if (python_handle(handle)) {
    checked(PyObject_CallMethod(object_, "_slow_callback", "Od", python_handle(handle), seconds));
  }
}

void Loop::process_self_data(std::string_view data) {
  if (data.find_first_not_of('\0') == data.npos) return;
  checked(PyObject_CallMethod(object_, "_process_self_data", "y#", data.data(), static_cast<Py_ssize_t>(data.size())));
}

void Loop::report(const asyncio::ExceptionContext& context) {
  const Object exception = python_exception(context.exception);
  const Object handle = shown(context.handle);
  checked(
      PyObject_CallMethod(object_, "_callback_failed", "sOO", context.message.c_str(), exception.get(), handle.get()));
}

// The kernel computes the timeout before it waits; from then on it may be told that this iteration is the last one.
void Loop::step() {
  selector_.at_next_select([this] { stop(); });
  run_forever();
}

void Loop::set_stopping(bool stopping) noexcept {
  stopping_ = stopping;
  if (stopping) stop();
}

}  // namespace cpploop

std::unique_ptr<asyncio::LoopWorld> asyncio::make_world(EventLoop& loop) {
  return std::make_unique<cpploop::World>(loop);
}
