// Python.h, once, with the limited API where there is one wheel for many versions, and the few helpers every file here
// needs.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace offloop::python {

/// A strong reference, released when it goes out of scope. Only while the GIL is held.
class Ref {
 public:
  Ref() noexcept = default;
  explicit Ref(PyObject* stolen) noexcept : object_(stolen) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }
  static Ref to(PyObject* borrowed) noexcept {
    Py_XINCREF(borrowed);
    return Ref(borrowed);
  }
  [[nodiscard]] PyObject* get() const noexcept { return object_; }
  [[nodiscard]] PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

/// The name of an object's type as a str, for %R in messages: 'list'. Null with an exception set.
inline Ref type_name(PyObject* object) noexcept {
  return Ref(PyType_GetName(Py_TYPE(object)));
}

/// The exception that is set, normalised, with its traceback; it is no longer set afterwards. Null when none was.
PyObject* take_exception() noexcept;
/// Raises an exception instance, whose reference it takes.
void restore_exception(PyObject* exception) noexcept;
/// Reports what is set to sys.unraisablehook; `where` is a C string that says what was being done.
void report_unraisable(const char* where) noexcept;

}  // namespace offloop::python
