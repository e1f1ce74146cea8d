// A C++ value as a Python object, for callers that know nothing of exceptions. For the modules that use nanobind.
#pragma once

#include <nanobind/nanobind.h>

#include <exception>
#include <utility>

namespace offloop::python {

/// A new reference, or null with an exception set. GIL.
template <class Value>
PyObject* cast_or_null(Value&& value) noexcept {
  try {
    return nanobind::cast(std::forward<Value>(value)).release().ptr();
  } catch (nanobind::python_error& error) {
    error.restore();
  } catch (const std::exception&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

}  // namespace offloop::python
