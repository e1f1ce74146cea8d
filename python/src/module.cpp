// offloop._core: the hot path. Plain C API, limited where one wheel serves many versions.
#include <cstdio>
#include <cstring>

#include "core.h"
#include "core_api.h"
#include "hash.h"
#include "offloop/hash/cpu.h"
#include "runtime.h"
#include "testing.h"
#include "trace.h"

namespace offloop::python {
namespace {

PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*)) noexcept {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}
PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) noexcept {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef g_methods[] = {
    {"sha256", fast(py_sha256), METH_FASTCALL | METH_KEYWORDS,
     "sha256($module, /, data)\n--\n\nStarts the SHA-256 of a bytes-like object; the operation yields the hexadecimal "
     "digest.\n\n"
     "The buffer is not copied: it must not change until the operation has ended. Concurrent operations share SIMD "
     "lanes.\n"
     "TypeError if it is not bytes-like, BufferError if not C-contiguous. Cancelling frees the buffer as soon as no "
     "worker reads "
     "it."},
    {"digest", fast(py_digest), METH_FASTCALL | METH_KEYWORDS,
     "digest($module, /, data, algorithm='sha256')\n--\n\nAs sha256, by any of algorithms_available(); yields bytes.\n"
     "ValueError for an unknown algorithm."},
    {"hexdigest", fast(py_hexdigest), METH_FASTCALL | METH_KEYWORDS,
     "hexdigest($module, /, data, algorithm='sha256')\n--\n\nAs digest; yields a str of hexadecimal digits."},
    {"file_digest", fast(py_file_digest), METH_FASTCALL | METH_KEYWORDS,
     "file_digest($module, /, path, algorithm='sha256')\n--\n\nStarts hashing a file's content, read in blocks of 256 "
     "KiB by reader\n"
     "threads; yields bytes. The operation ends with an OSError that names the path when it cannot be read."},
    {"file_hexdigest", fast(py_file_hexdigest), METH_FASTCALL | METH_KEYWORDS,
     "file_hexdigest($module, /, path, algorithm='sha256')\n--\n\nAs file_digest; yields a str of hexadecimal digits."},
    {"sha256_many", fast(py_sha256_many), METH_FASTCALL, "sha256_many(payloads, max_concurrent): see offloop.hashing."},
    {"batch_hash", fast(py_batch_hash), METH_FASTCALL, "batch_hash(payloads, max_concurrent): see offloop.hashing."},
    {"compute_sha256", py_compute_sha256, METH_O, "compute_sha256($module, data, /)\n--\n\nSee offloop.hashing."},
    {"algorithms", py_algorithms, METH_NOARGS, "The names that digest() takes, sorted."},
    {"configure", py_configure, METH_VARARGS, "configure(threads, max_pending, when_full): see offloop.configure."},
    {"configuration", py_configuration, METH_NOARGS, "The settings in force."},
    {"stats", py_stats, METH_NOARGS, "See offloop.stats."},
    {"trace_start", py_trace_start, METH_VARARGS,
     "trace_start($module, capacity, sample, /)\n--\n\nSee offloop.trace."},
    {"trace_stop", py_trace_stop, METH_O, "trace_stop($module, handle, /)\n--\n\nNothing more is recorded."},
    {"trace_read", py_trace_read, METH_O,
     "trace_read($module, handle, /)\n--\n\n(records, seen, dropped, started_ns, now_ns); a record as in "
     "offloop/_trace.py."},
    {"counters_enabled", py_counters_enabled, METH_NOARGS, "True in a build that counts what is made and freed."},
    {"live_counts", py_live_counts, METH_NOARGS, "Live objects of each kind; all 0 in a build that does not count."},
    {"build_info", py_build_info, METH_NOARGS, "What was built and what was found on this machine."},
    {"spin", py_spin, METH_VARARGS, "spin(seconds, cooperative): see offloop.testing."},
    {"_throw", py_throw, METH_O, "An operation whose task throws that kind of C++ exception, for offloop's own tests."},
    {"_shutdown", py_shutdown, METH_NOARGS, "Ends the pool. Called once, at exit."},
    {nullptr, nullptr, 0, nullptr}};

/// The types, ports and settings here belong to one interpreter. The slot below is not enough: 3.11 does not know it,
/// and an interpreter with the old settings (one GIL for all) does not look at it.
bool main_interpreter() {
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0) return true;
  PyErr_SetString(PyExc_ImportError, "offloop does not support subinterpreters: use it in the main interpreter");
  return false;
}

int execute(PyObject* module) {
  if (!main_interpreter()) return -1;
  if (const std::string failed = hash::self_test_error(); !failed.empty()) {
    PyErr_Format(PyExc_ImportError, "offloop does not run here: %s", failed.c_str());
    return -1;
  }
  if (!init_operation_type(module) || !init_ports(module) || !init_errors() || !init_core_api(module)) return -1;
  // Intake stops, queued work is dropped, running work is asked to stop, the workers are waited for at most 250 ms:
  // while the interpreter is still whole, after the program's own exit handlers that were registered later.
  const Ref atexit(PyImport_ImportModule("atexit"));
  const Ref shutdown(atexit ? PyObject_GetAttrString(module, "_shutdown") : nullptr);
  const Ref registered(shutdown ? PyObject_CallMethod(atexit.get(), "register", "O", shutdown.get()) : nullptr);
  return registered ? 0 : -1;
}

PyModuleDef_Slot g_slots[] = {{Py_mod_exec, reinterpret_cast<void*>(execute)},
#ifdef Py_mod_multiple_interpreters
                              {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if defined(Py_GIL_DISABLED) && defined(Py_mod_gil)
                              {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
                              {0, nullptr}};

PyModuleDef g_definition = {PyModuleDef_HEAD_INIT,
                            "offloop._core",
                            "The hot path of offloop.",
                            0,
                            g_methods,
                            g_slots,
                            nullptr,
                            nullptr,
                            nullptr};

/// What is wrong with this build for the interpreter that loads it, before anything of Python's own is touched: an
/// interpreter that is built differently would crash. (offloop/_wheel.py says it for modules that cannot even be
/// loaded.)
bool interpreter_fits() {
  const char* version = Py_GetVersion();
  int major = 0;
  int minor = 0;
  std::sscanf(version, "%d.%d", &major, &minor);
  const bool free_threaded = std::strstr(version, "free-threading") != nullptr;
  const bool same_version = major == PY_MAJOR_VERSION && minor == PY_MINOR_VERSION;
#if defined(Py_GIL_DISABLED)
  constexpr const char* kBuilt =
      "free-threaded CPython " Py_STRINGIFY(PY_MAJOR_VERSION) "." Py_STRINGIFY(PY_MINOR_VERSION);
  const bool fits = free_threaded && same_version;
#elif defined(Py_LIMITED_API)
  constexpr const char* kBuilt = "CPython 3.12 and later, with the GIL";
  const bool fits = !free_threaded && (major > 3 || minor >= 12);
  static_cast<void>(same_version);
#else
  constexpr const char* kBuilt = "CPython " Py_STRINGIFY(PY_MAJOR_VERSION) "." Py_STRINGIFY(PY_MINOR_VERSION);
  const bool fits = !free_threaded && same_version;
#endif
  if (fits) return true;
  char tag[64];
  if (free_threaded || minor < 12) {
    std::snprintf(tag, sizeof tag, "cp%d%d-cp%d%d%s", major, minor, major, minor, free_threaded ? "t" : "");
  } else {
    std::snprintf(tag, sizeof tag, "cp312-abi3");
  }
  PyErr_Format(
      PyExc_ImportError,
      "offloop is installed from a wheel of the wrong kind: it was built for %s and does not fit CPython %d.%d%s; "
      "install the wheel tagged %s",
      kBuilt, major, minor, free_threaded ? " free-threaded" : "", tag);
  return false;
}

}  // namespace
}  // namespace offloop::python

PyMODINIT_FUNC PyInit__core() {
  if (!offloop::python::interpreter_fits()) return nullptr;
  return PyModuleDef_Init(&offloop::python::g_definition);
}
