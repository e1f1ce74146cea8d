// The future's side of an operation: what those who wait for it call, and the tables of its methods and attributes.
#include "operation.h"

namespace offloop::python {

static PyObject* operation_result(PyObject* self, PyObject*) {
  return outcome(as_operation(self));
}

static PyObject* operation_exception(PyObject* self, PyObject*) {
  PyOperation* op = as_operation(self);
  switch (op->state) {
    case OpState::kValue:
      Py_RETURN_NONE;
    case OpState::kError:
      op->log_error = false;
      return Ref::to(op->value).release();
    default:
      break;
  }
  if (op->state == OpState::kCancelled) return outcome(op);
  if (load_asyncio()) PyErr_SetString(g_invalid_state_error, "Exception is not set.");
  return nullptr;
}

static PyObject* operation_done(PyObject* self, PyObject*) {
  return PyBool_FromLong(!pending(as_operation(self)));
}
static PyObject* operation_cancelled(PyObject* self, PyObject*) {
  return PyBool_FromLong(as_operation(self)->state == OpState::kCancelled);
}

static PyObject* operation_get_loop(PyObject* self, PyObject*) {
  PyOperation* op = as_operation(self);
  const Locked lock(self);
  if (op->loop == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "the operation is not bound to an event loop yet: await it first");
    return nullptr;
  }
  return Ref::to(op->loop).release();
}

/// Shared by the C and the keyword form: (callback, *, context=None).
static bool parse_callback(const char* method, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords,
                           PyObject** callback, PyObject** context) {
  *context = nullptr;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_Size(keywords);
  if (count != 1 || named > 1) {
    PyErr_Format(PyExc_TypeError, "%s() takes 1 positional argument and the keyword context, got %zd and %zd", method,
                 count, named);
    return false;
  }
  *callback = arguments[0];
  if (named == 1) {
    PyObject* key = PyTuple_GetItem(keywords, 0);
    if (PyUnicode_CompareWithASCIIString(key, "context") != 0) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", method, key);
      return false;
    }
    *context = arguments[1] == Py_None ? nullptr : arguments[1];
  }
  return true;
}

static PyObject* operation_add_done_callback(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                             PyObject* keywords) {
  PyOperation* op = as_operation(self);
  PyObject* callback = nullptr;
  PyObject* given = nullptr;
  if (!parse_callback("add_done_callback", arguments, count, keywords, &callback, &given)) return nullptr;
  if (given == nullptr && !load_asyncio()) return nullptr;
  Ref context = given != nullptr ? Ref::to(given) : Ref(PyObject_CallNoArgs(g_copy_context));
  if (!context) return nullptr;
  const Locked lock(self);
  if (op->state == OpState::kUnbound && !bind(op)) return nullptr;
  if (op->loop == nullptr) {  // cancelled before it was bound
    const LoopPort* lp = running_port();
    if (lp == nullptr) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, kNoLoop);
      return nullptr;
    }
    if (op->loop == nullptr) op->loop = Ref::to(lp->loop).release();
  }
  if (!pending(op)) {
    if (!call_soon(op, callback, context.get())) return nullptr;
    Py_RETURN_NONE;
  }
  if (op->callback == nullptr && op->more == nullptr) {
    op->callback = Ref::to(callback).release();
    op->context = context.release();
  } else {
    const Ref pair(PyTuple_Pack(2, callback, context.get()));
    if (!pair) return nullptr;
    if (op->more == nullptr && (op->more = PyList_New(0)) == nullptr) return nullptr;
    if (PyList_Append(op->more, pair.get()) < 0) return nullptr;
  }
  if (!op->kept) {
    op->kept = true;
    Py_INCREF(self);
  }
  Py_RETURN_NONE;
}

/// The pairs of `more` whose function is not equal to `callback`; counts the others. Null with an exception set.
static Ref other_waiters(PyObject* more, PyObject* callback, long* removed) {
  Ref left(PyList_New(0));
  if (!left) return {};
  for (Py_ssize_t i = 0; i < PyList_Size(more); ++i) {
    const Ref pair = Ref::to(PyList_GetItem(more, i));
    const int equal = PyObject_RichCompareBool(PyTuple_GetItem(pair.get(), 0), callback, Py_EQ);
    if (equal < 0 || (equal == 0 && PyList_Append(left.get(), pair.get()) < 0)) return {};
    *removed += equal;
  }
  return left;
}

static PyObject* operation_remove_done_callback(PyObject* self, PyObject* callback) {
  PyOperation* op = as_operation(self);
  long removed = 0;
  // Let go of when the operation is as it shall be: their ends may run Python code, as the comparisons may. What was
  // changed meanwhile is left as it was found then.
  Ref first_gone, context_gone, more_gone, self_gone;
  const Locked lock(self);
  if (const Ref first = Ref::to(op->callback); first) {
    const int equal = PyObject_RichCompareBool(first.get(), callback, Py_EQ);
    if (equal < 0) return nullptr;
    if (equal == 1 && op->callback == first.get()) {
      first_gone = Ref(std::exchange(op->callback, nullptr));
      context_gone = Ref(std::exchange(op->context, nullptr));
      ++removed;
    }
  }
  if (const Ref more = Ref::to(op->more); more) {
    long found = 0;
    Ref left = other_waiters(more.get(), callback, &found);
    if (!left) return nullptr;
    if (op->more == more.get()) {
      more_gone = Ref(std::exchange(op->more, PyList_Size(left.get()) != 0 ? left.release() : nullptr));
      removed += found;
    }
  }
  if (op->callback == nullptr && op->more == nullptr && std::exchange(op->kept, false)) self_gone = Ref(self);
  return PyLong_FromLong(removed);
}

/// True when waiters will be woken with CancelledError. False: it has ended, or ends with its result whatever we do.
bool cancel_operation(PyOperation* op, PyObject* message) {
  if (!pending(op)) return false;
  const Ref alive = Ref::to(as_object(op));
  Core* core = op->core;
  if (op->state == OpState::kUnbound) {
    op->core = nullptr;
    let_go(core);
  } else {
    if (abandon(core) == StopResult::kTooLate) return false;
    // Releasing its input may have run Python code, and let it be delivered, as stopped.
    if (op->core != core) return op->state == OpState::kCancelled;
    op->core = nullptr;
    let_go_share(core);
  }
  op->value = message != nullptr && message != Py_None ? Ref::to(message).release() : nullptr;
  op->state = OpState::kCancelled;
  PyObject_GC_Track(as_object(op));
  wake(op, take_waiters(op), Wake::kSoon);
  return true;
}

static PyObject* operation_cancel(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"msg", nullptr};
  PyObject* message = nullptr;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:cancel", const_cast<char**>(names), &message))
    return nullptr;
  const Locked lock(self);
  const bool cancelled = cancel_operation(as_operation(self), message);
  if (PyErr_Occurred()) return nullptr;
  return PyBool_FromLong(cancelled);
}

static PyObject* operation_make_cancelled_error(PyObject* self, PyObject*) {
  return make_cancelled_error(as_operation(self));
}

static PyObject* operation_as_task(PyObject* self, PyObject*) {
  const Ref asyncio(PyImport_ImportModule("asyncio"));
  if (!asyncio) return nullptr;
  return PyObject_CallMethod(asyncio.get(), "create_task", "O", self);
}

static PyObject* get_blocking(PyObject* self, void*) {
  PyOperation* op = as_operation(self);
  if (op->loop == nullptr) Py_RETURN_NONE;  // not a future yet, or cancelled before: ensure_future() makes a task of it
  return PyBool_FromLong(op->blocking);
}
static int set_blocking(PyObject* self, PyObject* value, void*) {
  const int truth = value == nullptr ? 0 : PyObject_IsTrue(value);
  if (truth < 0) return -1;
  as_operation(self)->blocking = truth == 1;
  return 0;
}
static PyObject* get_loop_attribute(PyObject* self, void*) {
  PyOperation* op = as_operation(self);
  const Locked lock(self);
  return Ref::to(op->loop != nullptr ? op->loop : Py_None).release();
}
static PyObject* get_none(PyObject*, void*) {
  Py_RETURN_NONE;
}
static PyObject* get_false(PyObject*, void*) {
  Py_RETURN_FALSE;
}
static PyObject* get_cancel_message(PyObject* self, void*) {
  PyOperation* op = as_operation(self);
  const bool has = op->state == OpState::kCancelled && op->value != nullptr;
  return Ref::to(has ? op->value : Py_None).release();
}
static PyObject* get_log_traceback(PyObject* self, void*) {
  return PyBool_FromLong(as_operation(self)->log_error);
}
static int set_log_traceback(PyObject* self, PyObject* value, void*) {
  const int truth = value == nullptr ? 0 : PyObject_IsTrue(value);
  if (truth < 0) return -1;
  if (truth == 1) {
    PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
    return -1;
  }
  as_operation(self)->log_error = false;
  return 0;
}
static PyObject* get_name(PyObject* self, void*) {
  return PyUnicode_FromString(as_operation(self)->name);
}

static const char* state_name(const PyOperation* op) noexcept {
  switch (op->state) {
    case OpState::kUnbound:
      return "unbound";
    case OpState::kPending:
      return "pending";
    case OpState::kValue:
      return "finished";
    case OpState::kError:
      return "failed";
    case OpState::kCancelled:
      return "cancelled";
  }
  return "?";
}

static PyObject* get_state(PyObject* self, void*) {
  const PyOperation* op = as_operation(self);
  if (pending(op)) return PyUnicode_FromString("PENDING");
  return PyUnicode_FromString(op->state == OpState::kCancelled ? "CANCELLED" : "FINISHED");
}

PyObject* operation_repr(PyObject* self) {
  PyOperation* op = as_operation(self);
  if (op->state == OpState::kError)
    return PyUnicode_FromFormat("<offloop.Operation %s %s exception=%R>", op->name, state_name(op), op->value);
  return PyUnicode_FromFormat("<offloop.Operation %s %s at %p>", op->name, state_name(op), self);
}

// The coroutine's methods stand here too: a type has one table.
PyMethodDef g_operation_methods[] = {
    {"send", operation_send, METH_O, "send($self, value, /)\n--\n\nOne step of the awaiting coroutine."},
    {"throw", operation_throw, METH_VARARGS,
     "throw($self, typ, val=None, tb=None, /)\n--\n\nRaises in the awaiter; CancelledError cancels an operation that "
     "nobody waits for."},
    {"close", operation_close, METH_NOARGS,
     "close($self, /)\n--\n\nDoes nothing: the operation goes on. Use cancel()."},
    {"result", operation_result, METH_NOARGS,
     "result($self, /)\n--\n\nThe value, or raises the operation's exception, CancelledError or InvalidStateError."},
    {"exception", operation_exception, METH_NOARGS,
     "exception($self, /)\n--\n\nThe exception or None; raises CancelledError or InvalidStateError."},
    {"done", operation_done, METH_NOARGS,
     "done($self, /)\n--\n\nTrue when it has ended: value, exception or cancelled."},
    {"cancelled", operation_cancelled, METH_NOARGS, "cancelled($self, /)\n--\n\nTrue when it was cancelled."},
    {"cancel", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(operation_cancel)),
     METH_VARARGS | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\nCancels it: waiting tasks get CancelledError at once; a queued operation never "
     "runs, a running\n"
     "one is asked to stop and frees its buffer when it does. False when it has ended or its result is on its way."},
    {"get_loop", operation_get_loop, METH_NOARGS, "get_loop($self, /)\n--\n\nThe event loop it belongs to."},
    {"add_done_callback", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(operation_add_done_callback)),
     METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback($self, fn, /, *, context=None)\n--\n\nCalls fn(operation) on the loop once it has ended."},
    {"remove_done_callback", operation_remove_done_callback, METH_O,
     "remove_done_callback($self, fn, /)\n--\n\nRemoves every callback equal to fn; returns how many."},
    {"as_task", operation_as_task, METH_NOARGS,
     "as_task($self, /)\n--\n\nAn asyncio.Task that awaits it: for asyncio.wait(), which takes nothing that looks like "
     "a coroutine."},
    {"_make_cancelled_error", operation_make_cancelled_error, METH_NOARGS, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Operation[T]: an operation that yields T."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef g_operation_attributes[] = {{"_asyncio_future_blocking", get_blocking, set_blocking, nullptr, nullptr},
                                        {"_loop", get_loop_attribute, nullptr, nullptr, nullptr},
                                        {"_state", get_state, nullptr, nullptr, nullptr},
                                        {"_cancel_message", get_cancel_message, nullptr, nullptr, nullptr},
                                        {"_source_traceback", get_none, nullptr, nullptr, nullptr},
                                        {"_log_traceback", get_log_traceback, set_log_traceback, nullptr, nullptr},
                                        {"cr_running", get_false, nullptr, nullptr, nullptr},
                                        {"cr_frame", get_none, nullptr, nullptr, nullptr},
                                        {"cr_code", get_none, nullptr, nullptr, nullptr},
                                        {"__name__", get_name, nullptr, nullptr, nullptr},
                                        {"__qualname__", get_name, nullptr, nullptr, nullptr},
                                        {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace offloop::python
