// What there is to know of a Python program: the module cpploop._recorder, which recorded.py loads out of the same file
// as cpploop._kernel. It has the recorder watch the loops; recorded.py says where the program is and what its tasks do.
#include <signal.h>

#include <chrono>
#include <mutex>
#include <string>

#include "examples/python/src/handle.hpp"
#include "examples/study/virtual_clock.hpp"
#include "examples/study/watch.hpp"

namespace study {
namespace {

using asyncio::Handle, cpploop::checked, cpploop::guarded, cpploop::Object;

// What recorded.py has passed to start(). Never released: the recorder outlives the interpreter.
PyObject *place_function = nullptr, *tasks_class = nullptr;
std::string program;

// A handler of Python's would run in the middle of what recorded.py does here, and what it schedules would not be seen.
class WithoutSignals {
 public:
  WithoutSignals() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;
  ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

std::string text_of(const Object& object) {
  const char* text = PyUnicode_AsUTF8(object.get());
  if (!text) cpploop::throw_python();
  return text;
}

int number_of(const Object& object) {
  const long number = PyLong_AsLong(object.get());
  if (number == -1 && PyErr_Occurred()) cpploop::throw_python();
  return static_cast<int>(number);
}

// Passes on to an object of recorded.Tasks what concerns tasks.
class PythonWatch final : public Watch {
 public:
  PythonWatch(Recorder& recorder, asyncio::EventLoop& loop, int id)
      : Watch(recorder, loop, id), tasks_(checked(PyObject_CallFunction(tasks_class, "i", id)).release()) {}

  void before_run(const Handle& handle) override {
    const std::lock_guard lock(recorder_.mutex);
    Watch::before_run(handle);
    if (PyObject* python = cpploop::python_handle(handle)) task_ = number_of(ask("begins", "O", python));
  }

  void after_run(const Handle& handle) override {
    const std::lock_guard lock(recorder_.mutex);
    ask("ends", nullptr);
    Watch::after_run(handle);
    task_ = -1;
  }

 private:
  template <class... Args> Object ask(const char* method, const char* format, Args... args) const {
    const WithoutSignals undisturbed;
    return checked(PyObject_CallMethod(tasks_, method, format, args...));
  }

  std::string name_of(const State& state) const override {
    const auto* python = dynamic_cast<const cpploop::PythonHandle*>(&state);
    return python ? text_of(ask("name_of", "O", python->object)) : state.repr();
  }

  int step_scheduled(const Handle& handle) override {
    PyObject* python = cpploop::python_handle(handle);
    return python ? number_of(ask("step_scheduled", "O", python)) : -1;
  }

  int current_task() override { return task_; }

  void find_cancellations(std::size_t limit) override {  // a look costs more than in C++
    ask("find_cancellations", "n", static_cast<Py_ssize_t>(limit / 8));
  }

  PyObject* const tasks_;  // never released, see above
  int task_ = -1;          // whose step is being run
};

// ---- what recorded.py calls

PyObject* start(PyObject*, PyObject* arguments) {
  return guarded([&]() -> PyObject* {
    const char* members;
    if (!PyArg_ParseTuple(arguments, "OOs", &place_function, &tasks_class, &members)) cpploop::throw_python();
    Py_INCREF(place_function);
    Py_INCREF(tasks_class);
    program = members;
    return PyBool_FromLong(recorder().records());
  });
}

PyObject* finish(PyObject*, PyObject*) {
  recorder().finish();
  Py_RETURN_NONE;
}

PyObject* printed(PyObject*, PyObject* arguments) {
  return guarded([&] {
    int fd;
    const char* text;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(arguments, "iy#", &fd, &text, &size)) cpploop::throw_python();
    const WithoutSignals undisturbed;
    return PyBool_FromLong(recorder().printed(fd, {text, static_cast<std::size_t>(size)}));
  });
}

PyObject* add(PyObject*, PyObject* arguments) {
  return guarded([&] {
    const char *table, *entry;
    if (!PyArg_ParseTuple(arguments, "ss", &table, &entry)) cpploop::throw_python();
    return PyLong_FromLong(recorder().record.add(table, entry));
  });
}

PyObject* intern(PyObject*, PyObject* arguments) {
  return guarded([&] {
    const char *table, *entry;
    if (!PyArg_ParseTuple(arguments, "ss", &table, &entry)) cpploop::throw_python();
    return PyLong_FromLong(recorder().record.intern(table, entry));
  });
}

PyObject* add_step(PyObject*, PyObject* arguments) {
  return guarded([&] {
    int loop, task;
    const char* name;
    if (!PyArg_ParseTuple(arguments, "iis", &loop, &task, &name)) cpploop::throw_python();
    return PyLong_FromLong(recorder().watch(loop).add_handle("task", name, task, -1));
  });
}

PyObject* rename_task(PyObject*, PyObject* arguments) {
  return guarded([&]() -> PyObject* {
    int loop, task, step;
    const char *name, *entry;
    if (!PyArg_ParseTuple(arguments, "iiiss", &loop, &task, &step, &name, &entry)) cpploop::throw_python();
    recorder().record.replace("tasks", task, entry);
    recorder().watch(loop).set_label(step, name);
    Py_RETURN_NONE;
  });
}

PyObject* event(PyObject*, PyObject* arguments) {
  return guarded([&]() -> PyObject* {
    int loop, has_place;
    const char *kind, *its_arguments, *text;
    if (!PyArg_ParseTuple(arguments, "isssp", &loop, &kind, &its_arguments, &text, &has_place)) cpploop::throw_python();
    recorder().watch(loop).event(kind, its_arguments, text, has_place ? recorder().place() : -1);
    Py_RETURN_NONE;
  });
}

PyMethodDef methods[] = {
    {"start", start, METH_VARARGS, "start(place, Tasks, program): whether ASYNCIO_STUDY asks for a recording."},
    {"finish", finish, METH_NOARGS, "Writes the recording."},
    {"printed", printed, METH_VARARGS, "printed(fd, bytes): whether it is to be passed on."},
    {"add", add, METH_VARARGS, "add(table, entry): the number of the new entry."},
    {"intern", intern, METH_VARARGS, "intern(table, entry): the number of the entry, which may be there already."},
    {"add_step", add_step, METH_VARARGS, "add_step(loop, task, name): the number of the handle that is its next step."},
    {"rename_task", rename_task, METH_VARARGS, "rename_task(loop, task, step, name, entry)"},
    {"event", event, METH_VARARGS, "event(loop, kind, arguments, text, has_place)"},
    {}};
PyModuleDef definition{PyModuleDef_HEAD_INIT, "_recorder", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

std::string begin_program() { return program; }

// A program that cannot be asked, because it is ending, is nowhere.
std::string place_in_program() {
  const WithoutSignals undisturbed;
  const Object place = Object::adopt(PyObject_CallNoArgs(place_function));
  const char* text = place ? PyUnicode_AsUTF8(place.get()) : nullptr;
  if (!text) PyErr_Clear();
  return text ? text : "[]";
}

// Who holds the mutex may need the GIL to go on.
void Mutex::wait() {
  const cpploop::WithoutGil others_may_run;
  std::recursive_mutex::lock();
}

std::unique_ptr<Watch> make_watch(Recorder& recorder, asyncio::EventLoop& loop, int id) {
  return std::make_unique<PythonWatch>(recorder, loop, id);
}

// Not that of virtual_clock.cpp: VIRTUAL=1 puts it before the C library, for the interpreter as a whole.
double now() noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace study

void asyncio::loop_created(EventLoop& loop) {
  if (study::tasks_class) study::recorder().watch(loop);
}

PyMODINIT_FUNC PyInit__recorder() { return PyModule_Create(&study::definition); }
