#include "selector.hpp"

#include <system_error>

namespace cpploop {

using selectors::BaseSelector, selectors::EpollSelector, selectors::SelectorEvent, selectors::SelectorKey;

namespace {

// The kernel handles errors of the operating system, which are of another type in C++.
Object call_python(PyObject* selector, const char* method, const char* format, int fd, unsigned events) {
  PyObject* result = PyObject_CallMethod(selector, method, format, fd, events);
  if (!result && PyErr_ExceptionMatches(PyExc_OSError)) {
    try {
      throw_python();
    } catch (const PythonError& error) {
      const Object number = checked(PyObject_GetAttrString(error.exception.get(), "errno"));
      const int code = PyLong_Check(number.get()) ? static_cast<int>(PyLong_AsLong(number.get())) : EIO;
      throw std::system_error(code, std::generic_category(), "fd " + std::to_string(fd));
    }
  }
  return checked(result);
}

}  // namespace

void check_signals() {
  if (PyErr_CheckSignals() < 0) throw_python();
}

// epoll_wait() writes into memory that registering may move. A signal handler runs between two such calls.
void Selector::check_not_waiting() const {
  if (python_ || waiting_ == std::thread::id() || waiting_ == std::this_thread::get_id()) return;
  throw selectors::RuntimeError("the loop waits in another thread: its readers and writers cannot be changed now");
}

SelectorKey Selector::register_(int fd, unsigned events, void* data) {
  check_not_waiting();
  if (!python_) {
    const SelectorKey key = EpollSelector::register_(fd, events, data);
    registered_.insert(fd);
    return key;
  }
  const SelectorKey key = BaseSelector::register_(fd, events, data);
  try {
    call_python(python_.get(), "register", "iI", fd, events);
    registered_.insert(fd);
  } catch (...) {
    BaseSelector::unregister(fd);
    throw;
  }
  return key;
}

SelectorKey Selector::unregister(int fd) {
  check_not_waiting();
  registered_.erase(fd);
  if (!python_) return EpollSelector::unregister(fd);
  const SelectorKey key = BaseSelector::unregister(fd);
  call_python(python_.get(), "unregister", "i", fd, 0);
  return key;
}

SelectorKey Selector::modify(int fd, unsigned events, void* data) {
  check_not_waiting();
  if (!python_) return EpollSelector::modify(fd, events, data);
  const SelectorKey key = BaseSelector::modify(fd, events, data);
  call_python(python_.get(), "modify", "iI", fd, events);
  return key;
}

// A signal that arrived before the wait is handled first: it would not interrupt the wait.
std::span<const SelectorEvent> Selector::select(std::optional<double> timeout) {
  if (at_next_select_) std::exchange(at_next_select_, nullptr)();
  waiting_ = std::this_thread::get_id();
  const asyncio::Finally done([this] { waiting_ = std::thread::id(); });
  if (python_) return select_in_python(timeout);
  check_signals();
  const WithoutGil others_may_run;
  return EpollSelector::select(timeout);
}

std::span<const SelectorEvent> Selector::select_in_python(std::optional<double> timeout) {
  const Object limit = timeout ? checked(PyFloat_FromDouble(*timeout)) : Object::borrow(Py_None);
  const Object selector = python_;
  const Object events = checked(PyObject_CallMethod(selector.get(), "select", "O", limit.get()));
  const Object list = checked(PySequence_Fast(events.get(), "select() must return a sequence"));
  ready_.clear();
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
    PyObject* key;
    unsigned mask;
    if (!PyArg_Parse(PySequence_Fast_GET_ITEM(list.get(), i), "(OI)", &key, &mask)) throw_python();
    const Object fd = checked(PyObject_GetAttrString(key, "fd"));
    const int number = static_cast<int>(PyLong_AsLong(fd.get()));
    if (registered_.contains(number)) ready_.push_back({get_key(number), mask});
  }
  return ready_;
}

void Selector::use(Object selector) {
  python_ = std::move(selector);
  for (const int fd : registered_) call_python(python_.get(), "register", "iI", fd, get_key(fd).events);
}

}  // namespace cpploop
