// offloop.Operation: an awaitable that is a future to those who wait for it and a coroutine to those who want to run
// it, without being either. The protocol that asyncio's Task, gather, wait_for, shield, as_completed and TaskGroup rely
// on is listed in docs/design/bridge.md; nothing here is called without the GIL.
#include "operation.h"
#include "port_stats.h"
#include "structmember.h"

namespace offloop::python {

PyTypeObject* g_operation_type = nullptr;

namespace {

int operation_traverse(PyObject* self, visitproc visit, void* arg) {
  PyOperation* op = as_operation(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(op->loop);
  Py_VISIT(op->value);
  Py_VISIT(op->callback);
  Py_VISIT(op->context);
  Py_VISIT(op->more);
  Py_VISIT(op->traceback);
  return 0;
}

int operation_clear(PyObject* self) {
  PyOperation* op = as_operation(self);
  Py_CLEAR(op->callback);
  Py_CLEAR(op->context);
  Py_CLEAR(op->more);
  Py_CLEAR(op->traceback);
  return 0;
}

/// An error that nobody asked for is shown, as asyncio does for futures. Without the object itself: it may be being
/// freed.
void report_unseen_error(PyOperation* op) {
  const Ref details(
      Py_BuildValue("{s:s,s:O}", "message", "Operation exception was never retrieved", "exception", op->value));
  const Ref handled(details ? PyObject_CallMethod(op->loop, "call_exception_handler", "O", details.get()) : nullptr);
  if (!handled) report_unraisable("an offloop operation whose exception was never retrieved");
}

/// Called by the garbage collector before it takes anything of the garbage apart: the loop, which may be part of it,
/// still has its exception handler. Otherwise by the deallocation.
void operation_finalize(PyObject* self) {
  PyOperation* op = as_operation(self);
  if (op->state != OpState::kError || !op->log_error) return;
  op->log_error = false;
  PyObject* exception = take_exception();
  report_unseen_error(op);
  if (exception != nullptr) restore_exception(exception);
}

void operation_dealloc(PyObject* self) {
  PyOperation* op = as_operation(self);
  PyObject_GC_UnTrack(self);
  if (op->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  if (op->state == OpState::kPending && op->core != nullptr) {
    // The last reference is gone: nobody can want the result.
    Core* core = op->core;
    if (abandon(core) == StopResult::kTooLate) disown(core);
    let_go_share(core);
  } else if (op->state == OpState::kUnbound) {
    let_go(op->core);
    PyObject* exception = take_exception();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "operation '%s' was never awaited", op->name) < 0)
      report_unraisable("an offloop operation that was never awaited");
    if (exception != nullptr) restore_exception(exception);
  }
  operation_finalize(self);
  operation_clear(self);
  Py_CLEAR(op->value);
  Py_CLEAR(op->loop);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyMemberDef kMembers[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(PyOperation, weakrefs), READONLY, nullptr},
                          {nullptr, 0, 0, 0, nullptr}};

constexpr const char* kDoc =
    "One piece of native work, started already: await it, hand it to gather(), wait_for(), TaskGroup.create_task(), or "
    "keep it.\n\n"
    "Operation[T] yields T. It belongs to the event loop in which it was made; made without one it starts with its "
    "first await.\n"
    "Not thread-safe, as asyncio's futures: use it on its loop's thread. Dropping the last reference cancels it.";

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(operation_dealloc)},
                        {Py_tp_finalize, reinterpret_cast<void*>(operation_finalize)},
                        {Py_tp_traverse, reinterpret_cast<void*>(operation_traverse)},
                        {Py_tp_clear, reinterpret_cast<void*>(operation_clear)},
                        {Py_tp_repr, reinterpret_cast<void*>(operation_repr)},
                        {Py_tp_iter, reinterpret_cast<void*>(operation_self)},
                        {Py_tp_iternext, reinterpret_cast<void*>(operation_iternext)},
                        {Py_am_await, reinterpret_cast<void*>(operation_self)},
                        {Py_am_send, reinterpret_cast<void*>(operation_am_send)},
                        {Py_tp_methods, g_operation_methods},
                        {Py_tp_getset, g_operation_attributes},
                        {Py_tp_members, kMembers},
                        {Py_tp_doc, const_cast<char*>(kDoc)},
                        {0, nullptr}};

PyType_Spec kSpec = {
    "offloop.Operation", sizeof(PyOperation), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

bool init_operation_type(PyObject* module) {
  if (g_operation_type == nullptr) {
    if (!init_operation_life()) return false;
    g_operation_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &kSpec, nullptr));
    if (g_operation_type == nullptr) return false;
  }
  return PyModule_AddObjectRef(module, "Operation", reinterpret_cast<PyObject*>(g_operation_type)) == 0;
}

}  // namespace offloop::python
