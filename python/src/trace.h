// offloop.trace(): the last operations that were started while a trace runs, each with its times, in a ring of bounded
// size. Written on the threads of the loops only, at submit, await and delivery: workers know nothing of it. What a
// worker has to say (when it began) stands in the work anyway and is read at the delivery.
//
// With the GIL nothing else guards it. Without it a mutex is held around each record, for a few instructions.
#pragma once

#include "core.h"

namespace offloop::python {

extern Shared<bool> g_tracing;

/// The one branch that is left on the hot path while no trace runs.
inline bool tracing() noexcept {
  return g_tracing;
}

/// start_or_park() for one that is to be recorded, unless the sample leaves it out. [loop]
bool traced_start(Core* core, bool (*start)(Core*));
/// deliver_core() of one that is in the trace. [loop]
void traced_delivery(Core* core, void (*deliver)(Core*));
/// It has ended like this, and nobody who waits has been woken yet: a step may end the trace. [loop]
void trace_settled(std::uint32_t number, OpState state) noexcept;
/// One that ran on the loop at once, from `began_ns` until now. [loop]
void trace_inline(const LoopPort* lp, const char* name, std::int64_t began_ns);
/// The task that is being stepped awaits it: its name takes the place of the submitter's. [loop]
void trace_awaited(PyOperation* op);
void trace_cancelled(std::uint32_t number) noexcept;
/// It waited for a slot and could not be started then.
void trace_failed(std::uint32_t number) noexcept;

// For offloop/_trace.py, which is the interface.
/// (capacity, sample) -> a handle; RuntimeError while another trace runs.
PyObject* py_trace_start(PyObject*, PyObject* arguments);
/// (handle): nothing more is recorded in it.
PyObject* py_trace_stop(PyObject*, PyObject* handle);
/// (handle) -> (records, seen, dropped, started_ns, now_ns), oldest first.
PyObject* py_trace_read(PyObject*, PyObject* handle);

}  // namespace offloop::python
