// The coroutine's side of an operation: what `await` and tasks step.
#include "operation.h"
#include "trace.h"

namespace offloop::python {

bool bind(PyOperation* op) {
  LoopPort* lp = running_port();
  if (lp == nullptr) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, kNoLoop);
    return false;
  }
  if (op->state != OpState::kUnbound) return true;  // bound meanwhile: a new loop's port is made by Python code
  Core* core = op->core;
  core->port = lp;
  core->owner = op;
  op->loop = Ref::to(lp->loop).release();
  op->state = OpState::kPending;
  if (start_or_park(core)) return true;
  if (op->core == core) {
    let_go(core);
    set_value(op, nullptr);
  } else {
    // Taking the input ran Python code, which cancelled the operation.
    PyErr_Clear();
    if (!kFreeThreaded) delete core;
  }
  return true;
}

PyObject* make_cancelled_error(PyOperation* op) {
  if (!load_asyncio()) return nullptr;
  return op->value != nullptr ? PyObject_CallFunctionObjArgs(g_cancelled_error, op->value, nullptr)
                              : PyObject_CallNoArgs(g_cancelled_error);
}

/// The value as a new reference, or raises what the operation ended with. Only when it has ended.
PyObject* outcome(PyOperation* op) {
  switch (op->state) {
    case OpState::kValue:
      return Ref::to(op->value).release();
    case OpState::kError: {
      op->log_error = false;
      // One exception object for all who wait, raised afresh each time: its traceback must not grow (cpython#91110).
      PyException_SetTraceback(op->value, op->traceback != nullptr ? op->traceback : Py_None);
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(op->value)), op->value);
      return nullptr;
    }
    case OpState::kCancelled: {
      PyObject* error = make_cancelled_error(op);
      if (error != nullptr) restore_exception(error);
      return nullptr;
    }
    default:
      if (load_asyncio()) PyErr_SetString(g_invalid_state_error, "Result is not set.");
      return nullptr;
  }
}

/// One step of the coroutine side: the entry that send(), next() and the interpreter's SEND share.
static PySendResult send_step(PyObject* self, PyObject** result) {
  PyOperation* op = as_operation(self);
  if (op->state == OpState::kUnbound) {
    const Locked lock(self);
    if (op->state == OpState::kUnbound && !bind(op)) {
      *result = nullptr;
      return PYGEN_ERROR;
    }
  }
  if (pending(op)) {
    op->blocking = true;
    if (tracing()) trace_awaited(op);
    *result = Ref::to(self).release();
    return PYGEN_NEXT;
  }
  if (op->turn) {
    op->turn = false;
    *result = Ref::to(Py_None).release();  // what asyncio.sleep(0) yields
    return PYGEN_NEXT;
  }
  *result = outcome(op);
  return *result != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}

PySendResult operation_am_send(PyObject* self, PyObject* /*sent*/, PyObject** result) {
  return send_step(self, result);
}

static void raise_stop_iteration(PyObject* value) {
  // A tuple or an exception as the value would be taken for StopIteration's arguments.
  if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) {
    const Ref stop(PyObject_CallFunctionObjArgs(PyExc_StopIteration, value, nullptr));
    if (stop) PyErr_SetObject(PyExc_StopIteration, stop.get());
    return;
  }
  PyErr_SetObject(PyExc_StopIteration, value);
}

PyObject* operation_iternext(PyObject* self) {
  PyObject* result = nullptr;
  switch (send_step(self, &result)) {
    case PYGEN_NEXT:
      return result;
    case PYGEN_RETURN:
      if (result != Py_None) raise_stop_iteration(result);
      Py_DECREF(result);
      return nullptr;
    default:
      return nullptr;
  }
}

PyObject* operation_self(PyObject* self) {
  return Ref::to(self).release();
}

PyObject* operation_send(PyObject* self, PyObject* /*value*/) {
  PyObject* result = nullptr;
  switch (send_step(self, &result)) {
    case PYGEN_NEXT:
      return result;
    case PYGEN_RETURN:
      raise_stop_iteration(result);
      Py_DECREF(result);
      return nullptr;
    default:
      return nullptr;
  }
}

PyObject* operation_throw(PyObject* self, PyObject* arguments) {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  if (!PyArg_ParseTuple(arguments, "O|OO:throw", &type, &value, &traceback)) return nullptr;
  Ref exception;
  if (PyExceptionInstance_Check(type)) {
    exception = Ref::to(type);
  } else if (PyExceptionClass_Check(type)) {
    if (value != nullptr && PyExceptionInstance_Check(value)) {
      exception = Ref::to(value);
    } else if (value == nullptr || value == Py_None) {
      exception = Ref(PyObject_CallNoArgs(type));
    } else {
      exception = Ref(PyObject_CallFunctionObjArgs(type, value, nullptr));
    }
    if (!exception) return nullptr;
  } else {
    PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException, not %R",
                 reinterpret_cast<PyObject*>(Py_TYPE(type)));
    return nullptr;
  }
  if (traceback != nullptr && traceback != Py_None && PyException_SetTraceback(exception.get(), traceback) < 0)
    return nullptr;
  PyOperation* op = as_operation(self);
  // A cancelled task throws into what it awaits. Who else waits keeps the operation alive; if nobody does, it has no
  // purpose.
  if (pending(op) && load_asyncio() && PyErr_GivenExceptionMatches(exception.get(), g_cancelled_error)) {
    const Locked lock(self);
    if (op->callback == nullptr && op->more == nullptr && !cancel_operation(op, nullptr) && PyErr_Occurred())
      return nullptr;
  }
  restore_exception(exception.release());
  return nullptr;
}

PyObject* operation_close(PyObject*, PyObject*) {
  Py_RETURN_NONE;
}

}  // namespace offloop::python
