#include "handle.hpp"

#include <structmember.h>

#include <array>
#include <memory>
#include <string>

#include "loop.hpp"

namespace cpploop {
namespace {

// Where asyncio.Handle and asyncio.TimerHandle keep their __slots__, in bytes from the start of the object; 0 where a
// class has no such slot.
struct Slots {
  Py_ssize_t callback, args, cancelled, loop, source_traceback, repr, context, scheduled, when;
  std::array<Py_ssize_t, 9> all() const {
    return {callback, args, cancelled, loop, source_traceback, repr, context, scheduled, when};
  }
};

PyObject*& at(PyObject* object, Py_ssize_t offset) {
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset);
}

void set(PyObject* object, Py_ssize_t offset, Object value) {
  const Object replaced = Object::adopt(std::exchange(at(object, offset), value.release()));
}

// One of the two types: asyncio's class as its base, and behind the base's slots a State.
struct HandleType {
  PyTypeObject* type = nullptr;
  Slots slots{};
  Py_ssize_t state = 0;
};
HandleType handle_type, timer_handle_type;
PyObject* extract_stack = nullptr;  // asyncio.format_helpers.extract_stack

const HandleType& type_of(PyObject* object) {
  return Py_IS_TYPE(object, timer_handle_type.type) ? timer_handle_type : handle_type;
}

void run_in_context(PyObject* object, const Slots& slots) {
  const Object callback = Object::borrow(at(object, slots.callback));  // a handle may be cancelled while it runs
  const Object arguments = Object::borrow(at(object, slots.args));
  const Object context = Object::borrow(at(object, slots.context));
  if (PyContext_Enter(context.get()) < 0) throw_python();
  PyObject* result = PyObject_Vectorcall(callback.get(), &PyTuple_GET_ITEM(arguments.get(), 0),
                                         static_cast<std::size_t>(PyTuple_GET_SIZE(arguments.get())), nullptr);
  if (PyContext_Exit(context.get()) < 0) Py_CLEAR(result);
  checked(result);
}

// upstream's default exception handler wants to know which handle runs, in debug mode.
void set_current_handle(const Loop& loop, PyObject* handle) {
  if (PyObject_SetAttrString(loop.object(), "_current_handle", handle) < 0) throw_python();
}

// The part of a Python handle that the kernel queues; Base is HandleState or TimerHandleState.
template <class Base> class State final : public Base, public PythonHandle {
 public:
  template <class... Args> State(PyObject* object, Loop& its_loop, Args&&... args)
      : Base(std::forward<Args>(args)...), PythonHandle(object, its_loop) {}

  static const HandleType& python_type();
  static State& of(PyObject* object) {
    return *reinterpret_cast<State*>(reinterpret_cast<char*>(object) + python_type().state);
  }

  // In debug mode what it was can still be seen. asyncio: events.Handle.cancel
  void cancel_callback() noexcept override {
    const Slots& slots = python_type().slots;
    if (this->cancelled()) return;
    Base::cancel_callback();
    if (at(object, slots.loop) && loop.get_debug()) {
      Object text = Object::adopt(PyObject_Repr(object));
      if (!text) PyErr_WriteUnraisable(object);
      if (text) set(object, slots.repr, std::move(text));
    }
    for (const Py_ssize_t slot : {slots.callback, slots.args}) {
      if (at(object, slot)) set(object, slot, Object::borrow(Py_None));
    }
  }

  // What a report or an instrument shows: for a step of a task, the task's name.
  std::string repr() const override {
    const Object label = Object::adopt(PyObject_CallMethod(loop.object(), "_label", "O", object));
    const char* text = label ? PyUnicode_AsUTF8(label.get()) : nullptr;
    if (text) return text;
    PyErr_Clear();
    return "<Handle>";
  }

  bool waits(bool as_timer) const noexcept override {
    return as_timer ? this->scheduled_ : !this->scheduled_ && !this->repeats_ && !this->running_;
  }

 private:
  void callback() override {
    if (!loop.get_debug()) return run_in_context(object, python_type().slots);
    set_current_handle(loop, object);
    run_in_context(object, python_type().slots);
    set_current_handle(loop, Py_None);
  }

  // The kernel has no reference any more. This may be the end of the Python object, and of this.
  void unreferenced_as_handle() noexcept override {
    unlink();
    Py_DECREF(object);
  }
};
using PlainState = State<asyncio::HandleState>;
using TimerState = State<asyncio::TimerHandleState>;

template <> const HandleType& PlainState::python_type() { return handle_type; }
template <> const HandleType& TimerState::python_type() { return timer_handle_type; }

template <class State> State& hold(const Object& handle) {
  State& state = State::of(handle.get());
  if (state.references() == 0) {
    Py_INCREF(handle.get());
    state.loop.held_handles().push_back(state);
  }
  return state;
}

asyncio::HandleState& state_of(PyObject* object) {
  if (Py_IS_TYPE(object, timer_handle_type.type)) return TimerState::of(object);
  return PlainState::of(object);
}

// ---- what Python calls

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  for (const Py_ssize_t slot : type_of(self).slots.all()) {
    if (slot) Py_VISIT(at(self, slot));
  }
  return 0;
}

int clear(PyObject* self) {
  for (const Py_ssize_t slot : type_of(self).slots.all()) {
    if (slot) Py_CLEAR(at(self, slot));
  }
  return 0;
}

template <class State> void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  PyObject_ClearWeakRefs(self);
  clear(self);
  std::destroy_at(&State::of(self));
  type->tp_free(self);
  Py_DECREF(type);
}

// asyncio: events.Handle.cancel
PyObject* cancel(PyObject* self, PyObject*) {
  state_of(self).cancel_callback();
  Py_RETURN_NONE;
}

PyObject* get_cancelled(PyObject* self, void*) { return PyBool_FromLong(state_of(self).cancelled()); }
PyObject* get_scheduled(PyObject* self, void*) { return PyBool_FromLong(TimerState::of(self).waits(true)); }

PyMethodDef methods[] = {{"cancel", cancel, METH_NOARGS, "The callback will not be called."}, {}};
PyGetSetDef attributes[] = {{"_cancelled", get_cancelled, nullptr, nullptr, nullptr}, {}};
PyGetSetDef timer_attributes[] = {{"_cancelled", get_cancelled, nullptr, nullptr, nullptr},
                                  {"_scheduled", get_scheduled, nullptr, nullptr, nullptr},
                                  {}};

// ---- the types

Py_ssize_t offset_of(PyObject* type, const char* name) {
  const Object slot = checked(PyObject_GetAttrString(type, name));
  if (!Py_IS_TYPE(slot.get(), &PyMemberDescr_Type)) {
    PyErr_Format(PyExc_ImportError, "%s of %R is no slot: this asyncio is not known", name, type);
    throw_python();
  }
  return reinterpret_cast<PyMemberDescrObject*>(slot.get())->d_member->offset;
}

Slots slots_of(PyObject* base, bool timer) {
  return {offset_of(base, "_callback"),         offset_of(base, "_args"),
          offset_of(base, "_cancelled"),        offset_of(base, "_loop"),
          offset_of(base, "_source_traceback"), offset_of(base, "_repr"),
          offset_of(base, "_context"),          timer ? offset_of(base, "_scheduled") : 0,
          timer ? offset_of(base, "_when") : 0};
}

template <class State> HandleType make_type(PyObject* events, const char* name, PyGetSetDef* its_attributes) {
  const Object base = checked(PyObject_GetAttrString(events, strchr(name, '.') + 1));
  const Py_ssize_t base_size = reinterpret_cast<PyTypeObject*>(base.get())->tp_basicsize;
  const Py_ssize_t align = alignof(State);
  HandleType made;
  made.slots = slots_of(base.get(), its_attributes == timer_attributes);
  made.state = (base_size + align - 1) / align * align;
  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc<State>)},
                         {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(clear)},
                         {Py_tp_methods, methods},
                         {Py_tp_getset, its_attributes},
                         {}};
  PyType_Spec spec{name, static_cast<int>(made.state + sizeof(State)), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  made.type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpecWithBases(&spec, base.get())).release());
  return made;
}

// In debug mode a handle knows where it was made. asyncio: events.Handle.__init__
Object source_traceback(const Loop& loop) {
  PyFrameObject* frame = loop.get_debug() ? PyEval_GetFrame() : nullptr;
  if (!frame) return Object::borrow(Py_None);
  return checked(PyObject_CallOneArg(extract_stack, reinterpret_cast<PyObject*>(frame)));
}

template <class State, class... Args>
Object make(Loop& loop, PyObject* callback, Object arguments, PyObject* context, Args&&... args) {
  const HandleType& kind = State::python_type();
  Object its_context = context && context != Py_None ? Object::borrow(context) : checked(PyContext_CopyCurrent());
  Object made_at = source_traceback(loop);
  Object handle = checked(kind.type->tp_alloc(kind.type, 0));
  std::construct_at(&State::of(handle.get()), handle.get(), loop, std::forward<Args>(args)...);
  at(handle.get(), kind.slots.callback) = Py_NewRef(callback);
  at(handle.get(), kind.slots.args) = arguments.release();
  at(handle.get(), kind.slots.loop) = Py_NewRef(loop.object());
  at(handle.get(), kind.slots.source_traceback) = made_at.release();
  at(handle.get(), kind.slots.repr) = Py_NewRef(Py_None);
  at(handle.get(), kind.slots.context) = its_context.release();
  return handle;
}

}  // namespace

void make_handle_types(PyObject* module) {
  const Object events = checked(PyImport_ImportModule("asyncio.events"));
  const Object helpers = checked(PyImport_ImportModule("asyncio.format_helpers"));
  extract_stack = checked(PyObject_GetAttrString(helpers.get(), "extract_stack")).release();
  handle_type = make_type<PlainState>(events.get(), "cpploop.Handle", attributes);
  timer_handle_type = make_type<TimerState>(events.get(), "cpploop.TimerHandle", timer_attributes);
  if (PyModule_AddType(module, handle_type.type) < 0 || PyModule_AddType(module, timer_handle_type.type) < 0) {
    throw_python();
  }
}

Object new_handle(Loop& loop, PyObject* callback, Object arguments, PyObject* context) {
  return make<PlainState>(loop, callback, std::move(arguments), context);
}

Object new_timer_handle(Loop& loop, PyObject* when, PyObject* callback, Object arguments, PyObject* context) {
  const double seconds = PyFloat_AsDouble(when);
  if (seconds == -1 && PyErr_Occurred()) throw_python();
  Object handle = make<TimerState>(loop, callback, std::move(arguments), context, seconds, loop);
  at(handle.get(), timer_handle_type.slots.when) = Py_NewRef(when);
  return handle;
}

asyncio::Ref<asyncio::HandleState> kernel_handle(const Object& handle) {
  return asyncio::Ref<asyncio::HandleState>(&hold<PlainState>(handle));
}

asyncio::Ref<asyncio::TimerHandleState> kernel_timer_handle(const Object& handle) {
  return asyncio::Ref<asyncio::TimerHandleState>(&hold<TimerState>(handle));
}

PyObject* python_handle(const asyncio::Handle& handle) noexcept {
  const auto* python = dynamic_cast<const PythonHandle*>(handle.state());
  return python ? python->object : nullptr;
}

}  // namespace cpploop
