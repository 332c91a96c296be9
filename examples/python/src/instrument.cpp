#include "instrument.hpp"

#include "handle.hpp"

namespace cpploop {
namespace {

Object shown(const asyncio::Handle& handle) {
  PyObject* object = python_handle(handle);
  return Object::borrow(object ? object : Py_None);
}

Object shown(std::optional<double> timeout) {
  return timeout ? checked(PyFloat_FromDouble(*timeout)) : Object::borrow(Py_None);
}

Object shown(std::span<const selectors::SelectorEvent> events) {
  Object list = checked(PyList_New(0));
  for (const auto& [key, mask] : events) {
    const Object pair = checked(Py_BuildValue("(iI)", key.fd, mask));
    if (PyList_Append(list.get(), pair.get()) < 0) throw_python();
  }
  return list;
}

}  // namespace

template <class... Args> void PythonInstrument::tell(const char* method, const Args&... args) {
  if (!PyObject_HasAttrString(target_.get(), method)) return;
  const Object bound = checked(PyObject_GetAttrString(target_.get(), method));
  const Object arguments[] = {shown(args)...};
  PyObject* borrowed[sizeof...(args)];
  for (std::size_t i = 0; i < sizeof...(args); ++i) borrowed[i] = arguments[i].get();
  checked(PyObject_Vectorcall(bound.get(), borrowed, sizeof...(args), nullptr));
}

void PythonInstrument::before_select(std::optional<double> timeout) { tell("before_select", timeout); }
void PythonInstrument::after_select(std::span<const selectors::SelectorEvent> events) { tell("after_select", events); }
void PythonInstrument::handle_scheduled(const asyncio::Handle& handle, const asyncio::Handle& by) {
  tell("handle_scheduled", handle, by);
}
void PythonInstrument::before_run(const asyncio::Handle& handle) { tell("before_run", handle); }
void PythonInstrument::after_run(const asyncio::Handle& handle) { tell("after_run", handle); }

}  // namespace cpploop
