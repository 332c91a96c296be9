#include "python.hpp"

#include <new>
#include <system_error>

namespace cpploop {
namespace {

// 3.12 has one object for what were three before.
Object take_raised() noexcept {
#if PY_VERSION_HEX >= 0x030C0000
  return Object::adopt(PyErr_GetRaisedException());
#else
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return Object::adopt(value);
#endif
}

void set_raised(const Object& exception) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
  PyErr_SetRaisedException(Object(exception).release());
#else
  PyObject* value = exception.get();
  PyErr_Restore(Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(value))), Py_NewRef(value),
                PyException_GetTraceback(value));
#endif
}

// With errno, OSError(…) is of the subclass that fits: FileNotFoundError, PermissionError …
void set_os_error(const std::system_error& error) noexcept {
  PyObject* arguments = Py_BuildValue("(is)", error.code().value(), error.what());
  if (!arguments) return;
  PyErr_SetObject(PyExc_OSError, arguments);
  Py_DECREF(arguments);
}

}  // namespace

void throw_python() {
  Object raised = take_raised();
  const bool exits = PyErr_GivenExceptionMatches(raised.get(), PyExc_KeyboardInterrupt) ||
                     PyErr_GivenExceptionMatches(raised.get(), PyExc_SystemExit);
  if (exits) throw PythonExit(std::move(raised));
  throw PythonError{std::move(raised)};
}

void set_python_error() noexcept {
  try {
    throw;
  } catch (const PythonError& error) {
    set_raised(error.exception);
  } catch (const PythonExit& exit) {
    set_raised(exit.exception);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::system_error& error) {
    set_os_error(error);
  } catch (const std::out_of_range& error) {
    PyErr_SetString(PyExc_KeyError, error.what());
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace cpploop
