// Handles: the object that Python sees and the object that the kernel queues are one.
#pragma once

#include "loop/base_events.hpp"
#include "loop/python/linked_list.hpp"
#include "python.hpp"

namespace cpploop {

class Loop;

/// What the two kinds of handles share: the Python object they lie in, and their place in the loop's list of handles
/// that the kernel holds.
struct PythonHandle : asyncio::Link {
  PythonHandle(PyObject* owner, Loop& its_loop) noexcept : object(owner), loop(its_loop) {}
  virtual ~PythonHandle() = default;
  /// Whether the kernel has it in the heap of timers, or else will call it once.
  virtual bool waits(bool as_timer) const noexcept = 0;

  PyObject* const object;  // asyncio.Handle or asyncio.TimerHandle with this inside: lives as long as this
  Loop& loop;              // the object's _loop keeps it alive
};

/// The types cpploop.Handle and cpploop.TimerHandle, subclasses of asyncio's, for the module. Called once.
/// PythonError if asyncio's have other slots than those that are known.
void make_handle_types(PyObject* module);

/// A new handle, not scheduled. `context` may be null: a copy of the current one. PythonError.
Object new_handle(Loop& loop, PyObject* callback, Object arguments, PyObject* context);
/// The same that is due at `when`, a number of seconds.
Object new_timer_handle(Loop& loop, PyObject* when, PyObject* callback, Object arguments, PyObject* context);

/// The part of the handle that the kernel queues. While the kernel has a reference to it, it holds one reference to the
/// Python object.
asyncio::Ref<asyncio::HandleState> kernel_handle(const Object& handle);
asyncio::Ref<asyncio::TimerHandleState> kernel_timer_handle(const Object& handle);

/// The Python handle of a handle that the kernel tells of, borrowed; null if it is the kernel's own.
PyObject* python_handle(const asyncio::Handle& handle) noexcept;

}  // namespace cpploop
