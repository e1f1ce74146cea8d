// The functions of _core that concern the pool as a whole, as the method table names them.
#pragma once

#include "python.h"

namespace offloop::python {

PyObject* py_configure(PyObject*, PyObject* arguments);
PyObject* py_configuration(PyObject*, PyObject*);
PyObject* py_stats(PyObject*, PyObject*);
PyObject* py_counters_enabled(PyObject*, PyObject*);
PyObject* py_live_counts(PyObject*, PyObject*);
PyObject* py_build_info(PyObject*, PyObject*);
PyObject* py_shutdown(PyObject*, PyObject*);

}  // namespace offloop::python
