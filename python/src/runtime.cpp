// configure(), stats(), shutdown, and what `offloop doctor` asks for.
#include "runtime.h"

#include <openssl/crypto.h>

#include <string>

#include "core.h"
#include "offloop/base/counters.h"
#include "offloop/hash/cpu.h"
#include "offloop/runtime/pool.h"
#include "port_stats.h"

namespace offloop::python {
namespace {

bool set_item(PyObject* dict, const char* key, PyObject* stolen) {
  const Ref value(stolen);
  return value && PyDict_SetItemString(dict, key, value.get()) == 0;
}
bool set_count(PyObject* dict, const char* key, std::uint64_t n) {
  return set_item(dict, key, PyLong_FromUnsignedLongLong(n));
}
bool set_text(PyObject* dict, const char* key, const std::string& text) {
  return set_item(dict, key, PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

template <class Count>
PyObject* histogram(Count count) {
  Ref list(PyList_New(runtime::Histogram::kBuckets));
  if (!list) return nullptr;
  for (unsigned i = 0; i < runtime::Histogram::kBuckets; ++i) {
    PyObject* number = PyLong_FromUnsignedLongLong(count(i));
    if (number == nullptr || PyList_SetItem(list.get(), static_cast<Py_ssize_t>(i), number) < 0) return nullptr;
  }
  return list.release();
}

const char* when_full_name(runtime::WhenFull when) noexcept {
  switch (when) {
    case runtime::WhenFull::kWait:
      return "wait";
    case runtime::WhenFull::kRaise:
      return "raise";
    case runtime::WhenFull::kInline:
      return "inline";
  }
  return "?";
}

}  // namespace

/// (threads: int, max_pending: int, when_full: str); 0 and "" leave a setting as it is. The Python layer has checked
/// the types.
PyObject* py_configure(PyObject*, PyObject* arguments) {
  unsigned threads = 0;
  unsigned max_pending = 0;
  const char* when = nullptr;
  if (!PyArg_ParseTuple(arguments, "IIs:configure", &threads, &max_pending, &when)) return nullptr;
  runtime::PoolOptions options;
  options.threads = threads;
  options.max_pending = max_pending;
  const std::string name = when;
  options.when_full = name == "raise"    ? runtime::WhenFull::kRaise
                      : name == "inline" ? runtime::WhenFull::kInline
                      : name == "wait"   ? runtime::WhenFull::kWait
                                         : runtime::Pool::options().when_full;
  const Result<Unit> done = runtime::Pool::configure(options);
  if (!done.ok()) {
    set_error(done.error());
    return nullptr;
  }
  Py_RETURN_NONE;
}

PyObject* py_configuration(PyObject*, PyObject*) {
  const runtime::PoolOptions options = runtime::Pool::options();
  return Py_BuildValue("{s:I,s:I,s:s}", "threads", options.threads, "max_pending", options.max_pending, "when_full",
                       when_full_name(options.when_full));
}

PyObject* py_stats(PyObject*, PyObject*) {
  runtime::PoolStats stats;
  runtime::Pool* pool = runtime::Pool::instance_if_started();
  if (pool != nullptr) stats = pool->stats();
  PortStats& ports = port_stats();
  Ref dict(PyDict_New());
  if (!dict) return nullptr;
  PyObject* d = dict.get();
  const double fill = stats.quanta == 0 ? 0.0 : static_cast<double>(stats.lanes) / static_cast<double>(stats.quanta);
  const bool ok = set_count(d, "threads", stats.threads) && set_count(d, "sleeping", stats.sleeping) &&
                  set_count(d, "in_flight", operations_in_flight()) && set_count(d, "parked", ports.parked.load()) &&
                  set_count(d, "queued", stats.queued) && set_count(d, "running", stats.running) &&
                  set_count(d, "done", stats.done) && set_count(d, "stopped", stats.stopped) &&
                  set_count(d, "failed", stats.failed) && set_count(d, "inlined", ports.inlined.load()) &&
                  set_count(d, "bytes", stats.bytes) && set_count(d, "quanta", stats.quanta) &&
                  set_item(d, "lane_fill", PyFloat_FromDouble(fill)) && set_count(d, "wakes", stats.wakes) &&
                  set_count(d, "drains", ports.drains.load()) &&
                  set_item(d, "queue_ns", histogram([&](unsigned i) { return stats.queue_ns[i]; })) &&
                  set_item(d, "run_ns", histogram([&](unsigned i) { return stats.run_ns[i]; })) &&
                  set_item(d, "deliver_ns", histogram([&](unsigned i) { return ports.deliver_ns.count(i); }));
  return ok ? dict.release() : nullptr;
}

PyObject* py_counters_enabled(PyObject*, PyObject*) {
  return PyBool_FromLong(kCountersOn);
}

PyObject* py_live_counts(PyObject*, PyObject*) {
  Ref dict(PyDict_New());
  if (!dict) return nullptr;
  for (unsigned i = 0; i < kCountedKinds; ++i) {
    const auto kind = static_cast<Counted>(i);
    if (!set_item(dict.get(), counted_name(kind), PyLong_FromLongLong(live_count(kind)))) return nullptr;
  }
  return dict.release();
}

PyObject* py_build_info(PyObject*, PyObject*) {
  const hash::CpuReport cpu = hash::cpu_report();
  Ref dict(PyDict_New());
  Ref rows(PyList_New(0));
  if (!dict || !rows) return nullptr;
  for (const hash::CpuReport::Row& row : cpu.rows) {
    const Ref entry(Py_BuildValue("{s:I,s:s}", "streams", row.streams, "kernels", row.kernels.c_str()));
    if (!entry || PyList_Append(rows.get(), entry.get()) < 0) return nullptr;
  }
  PyObject* d = dict.get();
  const bool ok =
      set_text(d, "cpu", cpu.brand) && set_text(d, "cpu_features", cpu.features) && set_text(d, "rates", cpu.table) &&
      set_text(d, "cpu_mode", cpu.mode) && set_text(d, "cpu_problem", cpu.problem) &&
      set_item(d, "kernels", rows.release()) && set_count(d, "default_threads", runtime::default_threads()) &&
      set_text(d, "openssl", OpenSSL_version(OPENSSL_VERSION)) && set_text(d, "compiler", "GCC " __VERSION__) &&
      set_item(d, "counters", PyBool_FromLong(kCountersOn)) &&
#ifdef Py_LIMITED_API
      set_text(d, "abi", "cp312-abi3");
#else
      set_text(d, "abi", "version-specific");
#endif
  return ok ? dict.release() : nullptr;
}

// Plain C between SaveThread and RestoreThread: see py_compute_sha256.
PyObject* py_shutdown(PyObject*, PyObject*) {
  close_ports_at_exit();
  PyThreadState* state = PyEval_SaveThread();
  runtime::Pool::shutdown(250'000'000);
  PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}

}  // namespace offloop::python
