// Python objects and Python exceptions in C++: a reference with an owner, and exceptions that cross the kernel.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <cxxabi.h>

#include <utility>

#include "loop/python/builtins.hpp"

namespace cpploop {

/// Owns a reference to a Python object, or is null. Only with the GIL held.
class Object {
 public:
  Object() = default;
  Object(const Object& other) noexcept : object_(Py_XNewRef(other.object_)) {}
  Object(Object&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Object& operator=(Object other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Object() { Py_XDECREF(object_); }

  /// Takes over a new reference.
  static Object adopt(PyObject* object) noexcept {
    Object owner;
    owner.object_ = object;
    return owner;
  }
  /// Adds a reference to one that somebody else owns.
  static Object borrow(PyObject* object) noexcept { return adopt(Py_XNewRef(object)); }

  PyObject* get() const noexcept { return object_; }
  PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

/// A Python exception on its way through C++. The kernel gives it to the exception handler.
struct PythonError {
  Object exception;
};

/// A KeyboardInterrupt or SystemExit on its way through C++. It leaves the kernel's run_forever().
struct PythonExit : asyncio::Exit {
  explicit PythonExit(Object raised) : exception(std::move(raised)) {}
  Object exception;
};

/// Turns the Python exception that is set into a C++ exception.
[[noreturn]] void throw_python();

/// The new reference that a function of the C API has returned; PythonError or PythonExit if it is null.
inline Object checked(PyObject* result) {
  if (!result) throw_python();
  return Object::adopt(result);
}

/// In a `catch (...)`: sets the Python exception for the C++ exception that was caught.
void set_python_error() noexcept;

/// The body of a function that Python calls: f() with every C++ exception turned into a Python exception. A thread that
/// Python ends, see WithoutGil, goes on ending.
template <class F> PyObject* guarded(F f) {
  try {
    return f();
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

/// The same for functions that report errors by -1.
template <class F> int guarded_status(F f) noexcept {
  try {
    f();
    return 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}

/// Lets other Python threads run while it lives. When it ends, and the interpreter has ended meanwhile, Python ends this
/// thread with pthread_exit(), which unwinds the stack.
class WithoutGil {
 public:
  WithoutGil() noexcept : thread_(PyEval_SaveThread()) {}
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() noexcept(false) { PyEval_RestoreThread(thread_); }

 private:
  PyThreadState* thread_;
};

/// Holds the GIL while it lives, in a place where the thread may have given it away.
class WithGil {
 public:
  WithGil() noexcept : state_(PyGILState_Ensure()) {}
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;
  ~WithGil() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

}  // namespace cpploop
