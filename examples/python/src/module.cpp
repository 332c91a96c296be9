// The extension module cpploop._kernel: the kernel's loop as a Python type.
#include <algorithm>
#include <memory>
#include <string_view>

#include "loop.hpp"

namespace cpploop {
namespace {

struct LoopObject {
  PyObject_HEAD std::unique_ptr<Loop> loop;
};

Loop& loop_of(PyObject* self) { return *reinterpret_cast<LoopObject*>(self)->loop; }

// ---- arguments

using Arguments = PyObject* const*;

// callback, *args, context=None, as they are passed to METH_FASTCALL | METH_KEYWORDS.
struct Call {
  PyObject* callback;
  Object arguments;
  PyObject* context = nullptr;
};

// `first` positional arguments come before the callback.
Call parse(const char* method, Py_ssize_t first, Arguments arguments, Py_ssize_t count, PyObject* keywords) {
  if (count <= first) {
    PyErr_Format(PyExc_TypeError, "%s() takes at least %zd positional arguments", method, first + 1);
    throw_python();
  }
  Call call{arguments[first], checked(PyTuple_New(count - first - 1)), nullptr};
  for (Py_ssize_t i = first + 1; i < count; ++i) {
    PyTuple_SET_ITEM(call.arguments.get(), i - first - 1, Py_NewRef(arguments[i]));
  }
  for (Py_ssize_t i = 0; keywords && i < PyTuple_GET_SIZE(keywords); ++i) {
    if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, i), "context") != 0) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", method,
                   PyTuple_GET_ITEM(keywords, i));
      throw_python();
    }
    call.context = arguments[count + i];
  }
  return call;
}

// asyncio: base_events.BaseEventLoop._check_callback
void check_callback(const Loop& loop, PyObject* callback, const char* method) {
  if (loop.get_debug()) checked(PyObject_CallMethod(loop.object(), "_check_callback", "Os", callback, method));
}

// An int, or what has a method fileno(). asyncio: selectors._fileobj_to_fd
int file_descriptor(PyObject* file) {
  Object number = Object::borrow(file);
  if (!PyLong_Check(file)) {
    number = Object::adopt(PyObject_CallMethod(file, "fileno", nullptr));
    if (number) number = Object::adopt(PyNumber_Long(number.get()));
  }
  const int fd = number ? static_cast<int>(PyLong_AsLong(number.get())) : -1;
  if (fd >= 0) return fd;
  if (PyErr_Occurred()) PyErr_Clear();
  PyErr_Format(PyExc_ValueError, number ? "Invalid file descriptor: %R" : "Invalid file object: %R", file);
  throw_python();
}

// ---- scheduling

// asyncio: base_events.BaseEventLoop.call_soon
PyObject* call_soon(PyObject* self, Arguments arguments, Py_ssize_t count, PyObject* keywords) {
  return guarded([&] {
    Loop& loop = loop_of(self);
    Call call = parse("call_soon", 0, arguments, count, keywords);
    loop.check_usable();
    check_callback(loop, call.callback, "call_soon");
    Object handle = new_handle(loop, call.callback, std::move(call.arguments), call.context);
    loop.call_soon_handle(kernel_handle(handle));
    return handle.release();
  });
}

// A signal handler may call this while the loop waits in the same thread: then the wait must end, too.
// asyncio: base_events.BaseEventLoop.call_soon_threadsafe
PyObject* call_soon_threadsafe(PyObject* self, Arguments arguments, Py_ssize_t count, PyObject* keywords) {
  return guarded([&] {
    Loop& loop = loop_of(self);
    Call call = parse("call_soon_threadsafe", 0, arguments, count, keywords);
    if (loop.is_closed()) throw asyncio::RuntimeError("Event loop is closed");
    check_callback(loop, call.callback, "call_soon_threadsafe");
    Object handle = new_handle(loop, call.callback, std::move(call.arguments), call.context);
    loop.add_threadsafe(kernel_handle(handle));
    if (loop.python_selector().waits_in_this_thread()) loop.inbox()->write_to_self();
    return handle.release();
  });
}

Object at_time(Loop& loop, PyObject* when, const char* method, Call call) {
  loop.check_usable();
  check_callback(loop, call.callback, method);
  Object handle = new_timer_handle(loop, when, call.callback, std::move(call.arguments), call.context);
  loop.call_at_handle(kernel_timer_handle(handle));
  return handle;
}

void check_not_none(PyObject* number, const char* message) {
  if (number != Py_None) return;
  PyErr_SetString(PyExc_TypeError, message);
  throw_python();
}

// asyncio: base_events.BaseEventLoop.call_at
PyObject* call_at(PyObject* self, Arguments arguments, Py_ssize_t count, PyObject* keywords) {
  return guarded([&] {
    Call call = parse("call_at", 1, arguments, count, keywords);
    check_not_none(arguments[0], "when cannot be None");
    return at_time(loop_of(self), arguments[0], "call_at", std::move(call)).release();
  });
}

// A subclass may have a call_at() of its own, to which upstream's call_later leads.
PyObject* call_at_of_subclass(PyObject* self, PyObject* when, const Call& call) {
  const Object method = checked(PyObject_GetAttrString(self, "call_at"));
  const Object first = checked(PyTuple_Pack(2, when, call.callback));
  const Object arguments = checked(PySequence_Concat(first.get(), call.arguments.get()));
  const Object keywords = checked(Py_BuildValue("{s:O}", "context", call.context ? call.context : Py_None));
  return PyObject_Call(method.get(), arguments.get(), keywords.get());
}

// asyncio: base_events.BaseEventLoop.call_later
PyObject* call_later(PyObject* self, Arguments arguments, Py_ssize_t count, PyObject* keywords) {
  return guarded([&] {
    Loop& loop = loop_of(self);
    Call call = parse("call_later", 1, arguments, count, keywords);
    check_not_none(arguments[0], "delay must not be None");
    const Object now = checked(PyFloat_FromDouble(loop.time()));
    const Object when = checked(PyNumber_Add(now.get(), arguments[0]));
    if (loop.overrides_call_at()) return call_at_of_subclass(self, when.get(), call);
    return at_time(loop, when.get(), "call_later", std::move(call)).release();
  });
}

// ---- descriptors

template <unsigned event> PyObject* add_io(PyObject* self, Arguments arguments, Py_ssize_t count, PyObject* keywords) {
  return guarded([&] {
    Loop& loop = loop_of(self);
    Call call = parse(event == selectors::EVENT_READ ? "_add_reader" : "_add_writer", 1, arguments, count, keywords);
    loop.check_usable();
    const int fd = file_descriptor(arguments[0]);
    Object handle = new_handle(loop, call.callback, std::move(call.arguments), call.context);
    loop.add_io_handle(fd, event, kernel_handle(handle));
    return handle.release();
  });
}

template <unsigned event> PyObject* remove_io(PyObject* self, PyObject* file) {
  return guarded([&] {
    Loop& loop = loop_of(self);
    return PyBool_FromLong(!loop.is_closed() && loop.remove_io_handle(file_descriptor(file), event));
  });
}

PyObject* use_selector(PyObject* self, PyObject* selector) {
  return guarded([&]() -> PyObject* {
    loop_of(self).python_selector().use(Object::borrow(selector));
    Py_RETURN_NONE;
  });
}

PyObject* registered(PyObject* self, PyObject*) {
  return guarded([&] {
    Object events = checked(PyDict_New());
    const Selector& selector = loop_of(self).python_selector();
    for (const int fd : selector.registered()) {
      const Object key = checked(PyLong_FromLong(fd));
      const Object mask = checked(PyLong_FromUnsignedLong(selector.get_key(fd).events));
      if (PyDict_SetItem(events.get(), key.get(), mask.get()) < 0) throw_python();
    }
    return events.release();
  });
}

// ---- running

PyObject* run(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    loop_of(self).run_forever();
    Py_RETURN_NONE;
  });
}

PyObject* run_once(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    loop_of(self).step();
    Py_RETURN_NONE;
  });
}

PyObject* time(PyObject* self, PyObject*) { return PyFloat_FromDouble(loop_of(self).kernel_time()); }

PyObject* close_kernel(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    loop_of(self).close();
    Py_RETURN_NONE;
  });
}

PyObject* write_to_self(PyObject* self, PyObject*) {
  loop_of(self).inbox()->write_to_self();
  Py_RETURN_NONE;
}

PyObject* self_pipe(PyObject* self, PyObject*) {
  const asyncio::Inbox& inbox = *loop_of(self).inbox();
  return Py_BuildValue("(ii)", inbox.read_end(), inbox.write_end());
}

// The timers, or everything else that waits to run; readers and writers are neither. In the order of scheduling.
PyObject* queued(PyObject* self, PyObject* timers) {
  return guarded([&] {
    Object handles = checked(PyList_New(0));
    const auto& held = loop_of(self).held_handles();
    for (const PythonHandle* handle = held.next(); handle; handle = held.next(handle)) {
      if (!handle->waits(timers == Py_True)) continue;
      if (PyList_Append(handles.get(), handle->object) < 0) throw_python();
    }
    return handles.release();
  });
}

// ---- instruments

PyObject* add_instrument(PyObject* self, PyObject* target) {
  return guarded([&]() -> PyObject* {
    Loop& loop = loop_of(self);
    loop.add_instrument(loop.instruments().emplace_back(Object::borrow(target)));
    Py_RETURN_NONE;
  });
}

PyObject* remove_instrument(PyObject* self, PyObject* target) {
  return guarded([&]() -> PyObject* {
    auto& instruments = loop_of(self).instruments();
    const auto found = std::ranges::find(instruments, target, &PythonInstrument::target);
    if (found == instruments.end()) throw asyncio::KeyError("the instrument does not watch this loop");
    const Object kept = Object::borrow(target);
    instruments.erase(found);
    Py_RETURN_NONE;
  });
}

// ---- attributes that upstream's Python code reads and sets

PyObject* get_debug(PyObject* self, void*) { return PyBool_FromLong(loop_of(self).get_debug()); }
PyObject* get_stopping(PyObject* self, void*) { return PyBool_FromLong(loop_of(self).stopping()); }
PyObject* get_slow(PyObject* self, void*) { return PyFloat_FromDouble(loop_of(self).slow_callback_duration); }

int set_debug(PyObject* self, PyObject* value, void*) {
  const int enabled = value ? PyObject_IsTrue(value) : 0;
  if (enabled >= 0) loop_of(self).set_debug(enabled != 0);
  return enabled < 0 ? -1 : 0;
}

int set_stopping(PyObject* self, PyObject* value, void*) {
  const int stopping = value ? PyObject_IsTrue(value) : 0;
  if (stopping >= 0) loop_of(self).set_stopping(stopping != 0);
  return stopping < 0 ? -1 : 0;
}

int set_slow(PyObject* self, PyObject* value, void*) {
  const double seconds = value ? PyFloat_AsDouble(value) : 0;
  if (seconds == -1 && PyErr_Occurred()) return -1;
  loop_of(self).slow_callback_duration = seconds;
  return 0;
}

// ---- the object

PyObject* new_loop(PyTypeObject* type, PyObject*, PyObject*) {
  return guarded([&] {
    Object self = checked(type->tp_alloc(type, 0));
    auto* object = reinterpret_cast<LoopObject*>(self.get());
    std::construct_at(&object->loop);
    object->loop = std::make_unique<Loop>(self.get());
    return self.release();
  });
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  auto* object = reinterpret_cast<LoopObject*>(self);
  if (!object->loop) return 0;
  const auto& held = object->loop->held_handles();
  for (const PythonHandle* handle = held.next(); handle; handle = held.next(handle)) Py_VISIT(handle->object);
  for (const PythonInstrument& instrument : object->loop->instruments()) Py_VISIT(instrument.target());
  Py_VISIT(object->loop->python_selector().python());
  return 0;
}

// Upstream's __del__ has closed the loop before, unless it is running.
int clear(PyObject* self) {
  auto* object = reinterpret_cast<LoopObject*>(self);
  if (!object->loop || object->loop->is_running()) return 0;
  object->loop->close();
  object->loop->instruments().clear();
  object->loop->python_selector().forget_python();
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  clear(self);
  std::destroy_at(&reinterpret_cast<LoopObject*>(self)->loop);
  type->tp_free(self);
  Py_DECREF(type);
}

template <auto function> PyMethodDef fast(const char* name, const char* doc) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_FASTCALL | METH_KEYWORDS,
          doc};
}

using selectors::EVENT_READ, selectors::EVENT_WRITE;

PyMethodDef methods[] = {
    fast<call_soon>("call_soon", "Calls callback(*args) in the next iteration."),
    fast<call_soon_threadsafe>("call_soon_threadsafe", "The same from any thread."),
    fast<call_later>("call_later", "Calls callback(*args) after a delay in seconds."),
    fast<call_at>("call_at", "Calls callback(*args) when time() has reached `when`."),
    fast<add_io<EVENT_READ>>("_add_reader", "Calls callback(*args) whenever the file is readable."),
    fast<add_io<EVENT_WRITE>>("_add_writer", "Calls callback(*args) whenever the file is writable."),
    {"_remove_reader", remove_io<EVENT_READ>, METH_O, "Whether the file had a reader."},
    {"_remove_writer", remove_io<EVENT_WRITE>, METH_O, "Whether the file had a writer."},
    {"_use_selector", use_selector, METH_O, "A selector written in Python waits from now on."},
    {"_registered", registered, METH_NOARGS, "The events that each descriptor is registered for."},
    {"_run", run, METH_NOARGS, "The kernel's run_forever()."},
    {"_run_once", run_once, METH_NOARGS, "One iteration."},
    {"time", time, METH_NOARGS, "The kernel's monotonic clock, in seconds."},
    {"_close_kernel", close_kernel, METH_NOARGS, "Drops every callback that is scheduled."},
    {"_write_to_self", write_to_self, METH_NOARGS, "Wakes the loop."},
    {"_self_pipe", self_pipe, METH_NOARGS, "The descriptors of its ends, for reading and for writing."},
    {"_queued", queued, METH_O, "With True the timers, else what is ready."},
    {"add_instrument", add_instrument, METH_O, "The object's methods are told what the loop does."},
    {"remove_instrument", remove_instrument, METH_O, "KeyError if it was not added."},
    {}};

PyGetSetDef attributes[] = {{"_debug", get_debug, set_debug, nullptr, nullptr},
                            {"_stopping", get_stopping, set_stopping, nullptr, nullptr},
                            {"slow_callback_duration", get_slow, set_slow, nullptr, nullptr},
                            {}};

PyType_Slot loop_slots[] = {{Py_tp_new, reinterpret_cast<void*>(new_loop)},
                            {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                            {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                            {Py_tp_clear, reinterpret_cast<void*>(clear)},
                            {Py_tp_methods, methods},
                            {Py_tp_getset, attributes},
                            {}};
PyType_Spec loop_spec{"cpploop._kernel.Loop", sizeof(LoopObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, loop_slots};

// A signal interrupts a wait, which is without the GIL.
void run_signal_handlers() {
  const WithGil held;
  check_signals();
}

int execute(PyObject* module) {
  return guarded_status([&] {
    if (loop_type) {
      PyErr_SetString(PyExc_ImportError, "cpploop is for one interpreter in a process, and is imported once");
      throw_python();
    }
    selectors::interrupted = run_signal_handlers;
    make_handle_types(module);
    loop_type = checked(PyType_FromSpec(&loop_spec)).release();
    if (PyModule_AddObjectRef(module, "Loop", loop_type) < 0) throw_python();
  });
}

PyModuleDef_Slot module_slots[] = {{Py_mod_exec, reinterpret_cast<void*>(execute)},
#if PY_VERSION_HEX >= 0x030C0000
                                   {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
                                   {}};
PyModuleDef definition{
    PyModuleDef_HEAD_INIT, "_kernel", "The kernel's event loop.", 0, nullptr, module_slots, nullptr, nullptr, nullptr};

}  // namespace
}  // namespace cpploop

PyMODINIT_FUNC PyInit__kernel() { return PyModuleDef_Init(&cpploop::definition); }
