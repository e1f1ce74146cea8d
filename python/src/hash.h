// The hash functions of _core, as the method table names them.
#pragma once

#include "offloop/hash/digest.h"
#include "python.h"

namespace offloop::python {

enum class Form : std::uint8_t { kBytes, kHex };
PyObject* digest_object(const hash::Digest& digest, Form form);

PyObject* py_sha256(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* py_digest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* py_hexdigest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* py_file_digest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* py_file_hexdigest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* py_algorithms(PyObject*, PyObject*);
PyObject* py_compute_sha256(PyObject*, PyObject* data);

// many.cpp
PyObject* py_sha256_many(PyObject*, PyObject* const* arguments,
                         Py_ssize_t count);                                        // (payloads, max_concurrent or None)
PyObject* py_batch_hash(PyObject*, PyObject* const* arguments, Py_ssize_t count);  // (payloads, max_concurrent)

}  // namespace offloop::python
