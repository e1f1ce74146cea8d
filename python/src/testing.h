// What offloop.testing needs of the native side.
#pragma once

#include "python.h"

namespace offloop::python {

/// spin(seconds: float, cooperative: bool) -> Operation[None]; the Python layer has checked the arguments.
PyObject* py_spin(PyObject*, PyObject* arguments);
/// _throw(kind: str) -> Operation[None] whose task throws that kind of C++ exception, for offloop's own tests.
PyObject* py_throw(PyObject*, PyObject* kind);

}  // namespace offloop::python
