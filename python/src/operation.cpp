// offloop.Operation: an awaitable that is a future to those who wait for it and a coroutine to those who want to run it, without
// being either. The protocol that asyncio's Task, gather, wait_for, shield, as_completed and TaskGroup rely on is listed in
// docs/design/bridge.md; nothing here is called without the GIL.
#include "core.h"
#include "offloop/base/counters.h"
#include "offloop/runtime/pool.h"
#include "structmember.h"

namespace offloop::python {

PyTypeObject* g_operation_type = nullptr;

namespace {

PyObject* g_cancelled_error = nullptr;      // asyncio.CancelledError
PyObject* g_invalid_state_error = nullptr;  // asyncio.InvalidStateError
PyObject* g_copy_context = nullptr;         // contextvars.copy_context
PyObject* g_str_run = nullptr;
PyObject* g_str_call_soon = nullptr;
PyObject* g_call_soon_keywords = nullptr;   // ("context",)

bool load_asyncio() {
  if (g_cancelled_error != nullptr) return true;
  const Ref asyncio(PyImport_ImportModule("asyncio"));
  const Ref contextvars(asyncio ? PyImport_ImportModule("contextvars") : nullptr);
  if (!contextvars) return false;
  Ref invalid(PyObject_GetAttrString(asyncio.get(), "InvalidStateError"));
  Ref copy(PyObject_GetAttrString(contextvars.get(), "copy_context"));
  Ref cancelled(PyObject_GetAttrString(asyncio.get(), "CancelledError"));
  if (!invalid || !copy || !cancelled) return false;
  g_invalid_state_error = invalid.release();
  g_copy_context = copy.release();
  g_cancelled_error = cancelled.release();
  return true;
}

PyOperation* as_operation(PyObject* object) noexcept { return reinterpret_cast<PyOperation*>(object); }
PyObject* as_object(PyOperation* op) noexcept { return reinterpret_cast<PyObject*>(op); }
bool pending(const PyOperation* op) noexcept { return op->state <= OpState::kPending; }

/// Not tracked by the garbage collector until it holds something that may refer back to it: an exception with its traceback, a
/// list. While somebody waits it keeps itself alive and is no garbage; digests refer to nothing. Bursts of operations then
/// cost the collector no traversals.
PyOperation* allocate(const char* name, OpState state) {
  PyOperation* op = PyObject_GC_New(PyOperation, g_operation_type);
  if (op == nullptr) return nullptr;
  op->core = nullptr;
  op->loop = nullptr;
  op->value = nullptr;
  op->callback = nullptr;
  op->context = nullptr;
  op->more = nullptr;
  op->weakrefs = nullptr;
  op->name = name;
  op->state = state;
  op->blocking = false;
  op->log_error = false;
  op->kept = false;
  return op;
}

// ---- waking who waits ---------------------------------------------------------------------------------------------------------

bool call_soon(PyOperation* op, PyObject* callback, PyObject* context) {
  PyObject* arguments[] = {op->loop, callback, as_object(op), context};
  const Ref handle(PyObject_VectorcallMethod(g_str_call_soon, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, g_call_soon_keywords));
  return static_cast<bool>(handle);
}

/// Inline, in the waiter's own context: only from a drain, where no task is being stepped. An exception that escapes is
/// KeyboardInterrupt or SystemExit (a task catches the rest): it stays set; others go to the loop's exception handler.
bool step(PyOperation* op, PyObject* callback, PyObject* context) {
  PyObject* arguments[] = {context, callback, as_object(op)};
  const Ref result(PyObject_VectorcallMethod(g_str_run, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
  if (result) return true;
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit)) return false;
  const Ref exception(take_exception());
  const Ref details(Py_BuildValue("{s:s,s:O,s:O}", "message", "Exception in a callback of an offloop operation", "exception",
                                  exception.get(), "future", as_object(op)));
  const Ref handled(details ? PyObject_CallMethod(op->loop, "call_exception_handler", "O", details.get()) : nullptr);
  if (!handled) report_unraisable("a callback of an offloop operation");
  return true;
}

enum class Wake : std::uint8_t { kInline, kSoon };

/// Calls every waiter once. `kSoon` from everywhere but a drain: a task must not be stepped inside another one's step.
void wake(PyOperation* op, Wake how) {
  PyObject* callback = std::exchange(op->callback, nullptr);
  PyObject* context = std::exchange(op->context, nullptr);
  PyObject* more = std::exchange(op->more, nullptr);
  const bool kept = std::exchange(op->kept, false);
  bool ok = true;
  if (callback != nullptr) {
    ok = how == Wake::kInline ? step(op, callback, context) : call_soon(op, callback, context);
    Py_DECREF(callback);
    Py_DECREF(context);
  }
  if (more != nullptr) {
    // After KeyboardInterrupt the rest is scheduled, so that nobody sleeps for ever if the program goes on.
    for (Py_ssize_t i = 0; i < PyList_Size(more); ++i) {
      PyObject* pair = PyList_GetItem(more, i);
      PyObject* fn = PyTuple_GetItem(pair, 0);
      PyObject* ctx = PyTuple_GetItem(pair, 1);
      if (ok && how == Wake::kInline) {
        ok = step(op, fn, ctx);
      } else {
        PyObject* exception = take_exception();
        if (!call_soon(op, fn, ctx) && exception != nullptr) PyErr_Clear();
        if (exception != nullptr) restore_exception(exception);
      }
    }
    Py_DECREF(more);
  }
  if (kept) Py_DECREF(as_object(op));
}

void set_value(PyOperation* op, PyObject* value_or_null) {
  op->core = nullptr;
  if (value_or_null != nullptr) {
    op->value = value_or_null;
    op->state = OpState::kValue;
    if (!PyUnicode_CheckExact(value_or_null) && !PyBytes_CheckExact(value_or_null)) PyObject_GC_Track(as_object(op));
    return;
  }
  op->value = take_exception();
  if (load_asyncio() && PyErr_GivenExceptionMatches(op->value, g_cancelled_error)) {
    // The native side was stopped by somebody else than this object: ended as stopped.
    Py_CLEAR(op->value);
    op->state = OpState::kCancelled;
    return;
  }
  op->state = OpState::kError;
  op->log_error = true;
  PyObject_GC_Track(as_object(op));
}

/// Lets the core go back to where it came from; whoever owned it does not want it any more.
StopResult abandon(Core* core) noexcept {
  if (core->parked) {
    core->owner = nullptr;  // start_parked() deletes it
    return StopResult::kNeverRan;
  }
  const StopResult result = core->stop();
  if (result == StopResult::kNeverRan) release_slot(core);
  if (result != StopResult::kTooLate) core->owner = nullptr;
  return result;
}

// ---- awaiting -----------------------------------------------------------------------------------------------------------------

bool bind(PyOperation* op) {
  LoopPort* lp = running_port();
  if (lp == nullptr) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "no running event loop");
    return false;
  }
  Core* core = op->core;
  core->port = lp;
  core->owner = op;
  if (!start_or_park(core)) {
    delete core;
    set_value(op, nullptr);
  }
  op->loop = Ref::to(lp->loop).release();
  if (op->state == OpState::kUnbound) op->state = OpState::kPending;
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
    case OpState::kValue: return Ref::to(op->value).release();
    case OpState::kError: {
      op->log_error = false;
      // One exception object for all who wait, raised afresh each time: its traceback must not grow (cpython#91110).
      PyException_SetTraceback(op->value, Py_None);
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
PySendResult send_step(PyObject* self, PyObject** result) {
  PyOperation* op = as_operation(self);
  if (op->state == OpState::kUnbound && !bind(op)) {
    *result = nullptr;
    return PYGEN_ERROR;
  }
  if (pending(op)) {
    op->blocking = true;
    *result = Ref::to(self).release();
    return PYGEN_NEXT;
  }
  *result = outcome(op);
  return *result != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}

PySendResult operation_am_send(PyObject* self, PyObject* /*sent*/, PyObject** result) { return send_step(self, result); }

void raise_stop_iteration(PyObject* value) {
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
    case PYGEN_NEXT: return result;
    case PYGEN_RETURN:
      if (result != Py_None) raise_stop_iteration(result);
      Py_DECREF(result);
      return nullptr;
    default: return nullptr;
  }
}

PyObject* operation_self(PyObject* self) { return Ref::to(self).release(); }

PyObject* operation_send(PyObject* self, PyObject* /*value*/) {
  PyObject* result = nullptr;
  switch (send_step(self, &result)) {
    case PYGEN_NEXT: return result;
    case PYGEN_RETURN:
      raise_stop_iteration(result);
      Py_DECREF(result);
      return nullptr;
    default: return nullptr;
  }
}

bool cancel_operation(PyOperation* op, PyObject* message);

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
  if (traceback != nullptr && traceback != Py_None && PyException_SetTraceback(exception.get(), traceback) < 0) return nullptr;
  PyOperation* op = as_operation(self);
  // A cancelled task throws into what it awaits. Who else waits keeps the operation alive; if nobody does, it has no purpose.
  if (pending(op) && op->callback == nullptr && op->more == nullptr && load_asyncio() &&
      PyErr_GivenExceptionMatches(exception.get(), g_cancelled_error)) {
    if (!cancel_operation(op, nullptr) && PyErr_Occurred()) return nullptr;
  }
  restore_exception(exception.release());
  return nullptr;
}

PyObject* operation_close(PyObject*, PyObject*) { Py_RETURN_NONE; }

// ---- the future's side --------------------------------------------------------------------------------------------------------

PyObject* operation_result(PyObject* self, PyObject*) { return outcome(as_operation(self)); }

PyObject* operation_exception(PyObject* self, PyObject*) {
  PyOperation* op = as_operation(self);
  switch (op->state) {
    case OpState::kValue: Py_RETURN_NONE;
    case OpState::kError:
      op->log_error = false;
      return Ref::to(op->value).release();
    default: break;
  }
  if (op->state == OpState::kCancelled) return outcome(op);
  if (load_asyncio()) PyErr_SetString(g_invalid_state_error, "Exception is not set.");
  return nullptr;
}

PyObject* operation_done(PyObject* self, PyObject*) { return PyBool_FromLong(!pending(as_operation(self))); }
PyObject* operation_cancelled(PyObject* self, PyObject*) {
  return PyBool_FromLong(as_operation(self)->state == OpState::kCancelled);
}

PyObject* operation_get_loop(PyObject* self, PyObject*) {
  PyOperation* op = as_operation(self);
  if (op->loop == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "the operation is not bound to an event loop yet: await it first");
    return nullptr;
  }
  return Ref::to(op->loop).release();
}

/// Shared by the C and the keyword form: (callback, *, context=None).
bool parse_callback(const char* method, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords, PyObject** callback,
                    PyObject** context) {
  *context = nullptr;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_Size(keywords);
  if (count != 1 || named > 1) {
    PyErr_Format(PyExc_TypeError, "%s() takes 1 positional argument and the keyword context, got %zd and %zd", method, count, named);
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

PyObject* operation_add_done_callback(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  PyOperation* op = as_operation(self);
  PyObject* callback = nullptr;
  PyObject* given = nullptr;
  if (!parse_callback("add_done_callback", arguments, count, keywords, &callback, &given)) return nullptr;
  if (op->state == OpState::kUnbound && !bind(op)) return nullptr;
  if (given == nullptr && !load_asyncio()) return nullptr;
  Ref context = given != nullptr ? Ref::to(given) : Ref(PyObject_CallNoArgs(g_copy_context));
  if (!context) return nullptr;
  if (!pending(op)) {
    if (!call_soon(op, callback, context.get())) return nullptr;
    Py_RETURN_NONE;
  }
  if (op->callback == nullptr && op->more == nullptr) {
    op->callback = Ref::to(callback).release();
    op->context = context.release();
  } else {
    if (op->more == nullptr && (op->more = PyList_New(0)) == nullptr) return nullptr;
    const Ref pair(PyTuple_Pack(2, callback, context.get()));
    if (!pair || PyList_Append(op->more, pair.get()) < 0) return nullptr;
  }
  if (!op->kept) {
    op->kept = true;
    Py_INCREF(self);
  }
  Py_RETURN_NONE;
}

PyObject* operation_remove_done_callback(PyObject* self, PyObject* callback) {
  PyOperation* op = as_operation(self);
  long removed = 0;
  if (op->callback != nullptr) {
    const int equal = PyObject_RichCompareBool(op->callback, callback, Py_EQ);
    if (equal < 0) return nullptr;
    if (equal == 1) {
      Py_CLEAR(op->callback);
      Py_CLEAR(op->context);
      ++removed;
    }
  }
  if (op->more != nullptr) {
    const Ref left(PyList_New(0));
    if (!left) return nullptr;
    for (Py_ssize_t i = 0; i < PyList_Size(op->more); ++i) {
      PyObject* pair = PyList_GetItem(op->more, i);
      const int equal = PyObject_RichCompareBool(PyTuple_GetItem(pair, 0), callback, Py_EQ);
      if (equal < 0 || (equal == 0 && PyList_Append(left.get(), pair) < 0)) return nullptr;
      removed += equal;
    }
    PyObject* old = op->more;
    op->more = PyList_Size(left.get()) != 0 ? Ref::to(left.get()).release() : nullptr;
    Py_DECREF(old);
  }
  const Ref count(PyLong_FromLong(removed));
  if (op->callback == nullptr && op->more == nullptr && std::exchange(op->kept, false)) Py_DECREF(self);
  return Ref::to(count.get()).release();
}

/// True when waiters will be woken with CancelledError. False: it has ended, or ends with its result whatever we do.
bool cancel_operation(PyOperation* op, PyObject* message) {
  if (!pending(op)) return false;
  const Ref alive = Ref::to(as_object(op));
  if (op->state == OpState::kUnbound) {
    delete op->core;
  } else if (abandon(op->core) == StopResult::kTooLate) {
    return false;
  }
  op->core = nullptr;
  op->state = OpState::kCancelled;
  op->value = message != nullptr && message != Py_None ? Ref::to(message).release() : nullptr;
  op->blocking = false;
  wake(op, Wake::kSoon);
  return true;
}

PyObject* operation_cancel(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"msg", nullptr};
  PyObject* message = nullptr;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:cancel", const_cast<char**>(names), &message)) return nullptr;
  const bool cancelled = cancel_operation(as_operation(self), message);
  if (PyErr_Occurred()) return nullptr;
  return PyBool_FromLong(cancelled);
}

PyObject* operation_make_cancelled_error(PyObject* self, PyObject*) { return make_cancelled_error(as_operation(self)); }

PyObject* operation_as_task(PyObject* self, PyObject*) {
  const Ref asyncio(PyImport_ImportModule("asyncio"));
  if (!asyncio) return nullptr;
  return PyObject_CallMethod(asyncio.get(), "create_task", "O", self);
}

// ---- attributes ---------------------------------------------------------------------------------------------------------------

PyObject* get_blocking(PyObject* self, void*) {
  PyOperation* op = as_operation(self);
  if (op->state == OpState::kUnbound) Py_RETURN_NONE;  // not a future yet: ensure_future() makes a task of it
  return PyBool_FromLong(op->blocking);
}
int set_blocking(PyObject* self, PyObject* value, void*) {
  const int truth = value == nullptr ? 0 : PyObject_IsTrue(value);
  if (truth < 0) return -1;
  as_operation(self)->blocking = truth == 1;
  return 0;
}
PyObject* get_loop_attribute(PyObject* self, void*) {
  PyOperation* op = as_operation(self);
  return Ref::to(op->loop != nullptr ? op->loop : Py_None).release();
}
PyObject* get_none(PyObject*, void*) { Py_RETURN_NONE; }
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* get_cancel_message(PyObject* self, void*) {
  PyOperation* op = as_operation(self);
  const bool has = op->state == OpState::kCancelled && op->value != nullptr;
  return Ref::to(has ? op->value : Py_None).release();
}
PyObject* get_log_traceback(PyObject* self, void*) { return PyBool_FromLong(as_operation(self)->log_error); }
int set_log_traceback(PyObject* self, PyObject* value, void*) {
  const int truth = value == nullptr ? 0 : PyObject_IsTrue(value);
  if (truth < 0) return -1;
  if (truth == 1) {
    PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
    return -1;
  }
  as_operation(self)->log_error = false;
  return 0;
}
PyObject* get_name(PyObject* self, void*) { return PyUnicode_FromString(as_operation(self)->name); }

const char* state_name(const PyOperation* op) noexcept {
  switch (op->state) {
    case OpState::kUnbound: return "unbound";
    case OpState::kPending: return "pending";
    case OpState::kValue: return "finished";
    case OpState::kError: return "failed";
    case OpState::kCancelled: return "cancelled";
  }
  return "?";
}

PyObject* get_state(PyObject* self, void*) {
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

// ---- life ---------------------------------------------------------------------------------------------------------------------

int operation_traverse(PyObject* self, visitproc visit, void* arg) {
  PyOperation* op = as_operation(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(op->loop);
  Py_VISIT(op->value);
  Py_VISIT(op->callback);
  Py_VISIT(op->context);
  Py_VISIT(op->more);
  return 0;
}

int operation_clear(PyObject* self) {
  PyOperation* op = as_operation(self);
  Py_CLEAR(op->callback);
  Py_CLEAR(op->context);
  Py_CLEAR(op->more);
  return 0;
}

/// An error that nobody asked for is shown, as asyncio does for futures. Without the object itself: it is being freed.
void report_unseen_error(PyOperation* op) {
  const Ref details(Py_BuildValue("{s:s,s:O}", "message", "Operation exception was never retrieved", "exception", op->value));
  const Ref handled(details ? PyObject_CallMethod(op->loop, "call_exception_handler", "O", details.get()) : nullptr);
  if (!handled) report_unraisable("an offloop operation whose exception was never retrieved");
}

void operation_dealloc(PyObject* self) {
  PyOperation* op = as_operation(self);
  PyObject_GC_UnTrack(self);
  if (op->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  if (op->state == OpState::kPending && op->core != nullptr) {
    // The last reference is gone: nobody can want the result.
    Core* core = op->core;
    if (abandon(core) == StopResult::kTooLate) core->owner = nullptr;
  } else if (op->state == OpState::kUnbound) {
    delete op->core;
    PyObject* exception = take_exception();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "operation '%s' was never awaited", op->name) < 0)
      report_unraisable("an offloop operation that was never awaited");
    if (exception != nullptr) restore_exception(exception);
  } else if (op->state == OpState::kError && op->log_error) {
    PyObject* exception = take_exception();
    report_unseen_error(op);
    if (exception != nullptr) restore_exception(exception);
  }
  operation_clear(self);
  Py_CLEAR(op->value);
  Py_CLEAR(op->loop);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyMethodDef kMethods[] = {
    {"send", operation_send, METH_O, "send($self, value, /)\n--\n\nOne step of the awaiting coroutine."},
    {"throw", operation_throw, METH_VARARGS,
     "throw($self, typ, val=None, tb=None, /)\n--\n\nRaises in the awaiter; CancelledError cancels an operation that nobody waits for."},
    {"close", operation_close, METH_NOARGS, "close($self, /)\n--\n\nDoes nothing: the operation goes on. Use cancel()."},
    {"result", operation_result, METH_NOARGS,
     "result($self, /)\n--\n\nThe value, or raises the operation's exception, CancelledError or InvalidStateError."},
    {"exception", operation_exception, METH_NOARGS,
     "exception($self, /)\n--\n\nThe exception or None; raises CancelledError or InvalidStateError."},
    {"done", operation_done, METH_NOARGS, "done($self, /)\n--\n\nTrue when it has ended: value, exception or cancelled."},
    {"cancelled", operation_cancelled, METH_NOARGS, "cancelled($self, /)\n--\n\nTrue when it was cancelled."},
    {"cancel", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(operation_cancel)), METH_VARARGS | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\nCancels it: waiting tasks get CancelledError at once; a queued operation never runs, a running\n"
     "one is asked to stop and frees its buffer when it does. False when it has ended or its result is on its way."},
    {"get_loop", operation_get_loop, METH_NOARGS, "get_loop($self, /)\n--\n\nThe event loop it belongs to."},
    {"add_done_callback", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(operation_add_done_callback)),
     METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback($self, fn, /, *, context=None)\n--\n\nCalls fn(operation) on the loop once it has ended."},
    {"remove_done_callback", operation_remove_done_callback, METH_O,
     "remove_done_callback($self, fn, /)\n--\n\nRemoves every callback equal to fn; returns how many."},
    {"as_task", operation_as_task, METH_NOARGS,
     "as_task($self, /)\n--\n\nAn asyncio.Task that awaits it: for asyncio.wait(), which takes nothing that looks like a coroutine."},
    {"_make_cancelled_error", operation_make_cancelled_error, METH_NOARGS, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Operation[T]: an operation that yields T."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kAttributes[] = {
    {"_asyncio_future_blocking", get_blocking, set_blocking, nullptr, nullptr},
    {"_loop", get_loop_attribute, nullptr, nullptr, nullptr},
    {"_state", get_state, nullptr, nullptr, nullptr},
    {"_cancel_message", get_cancel_message, nullptr, nullptr, nullptr},
    {"_source_traceback", get_none, nullptr, nullptr, nullptr},
    {"_log_traceback", get_log_traceback, set_log_traceback, nullptr, nullptr},
    {"cr_running", get_false, nullptr, nullptr, nullptr},
    {"cr_await", get_none, nullptr, nullptr, nullptr},
    {"cr_frame", get_none, nullptr, nullptr, nullptr},
    {"cr_code", get_none, nullptr, nullptr, nullptr},
    {"__name__", get_name, nullptr, nullptr, nullptr},
    {"__qualname__", get_name, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef kMembers[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyOperation, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

constexpr const char* kDoc =
    "One piece of native work, started already: await it, hand it to gather(), wait_for(), TaskGroup.create_task(), or keep it.\n\n"
    "Operation[T] yields T. It belongs to the event loop in which it was made; made without one it starts with its first await.\n"
    "Not thread-safe: use it on its loop's thread. Dropping the last reference cancels it.";

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(operation_dealloc)},
                        {Py_tp_traverse, reinterpret_cast<void*>(operation_traverse)},
                        {Py_tp_clear, reinterpret_cast<void*>(operation_clear)},
                        {Py_tp_repr, reinterpret_cast<void*>(operation_repr)},
                        {Py_tp_iter, reinterpret_cast<void*>(operation_self)},
                        {Py_tp_iternext, reinterpret_cast<void*>(operation_iternext)},
                        {Py_am_await, reinterpret_cast<void*>(operation_self)},
                        {Py_am_send, reinterpret_cast<void*>(operation_am_send)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kAttributes},
                        {Py_tp_members, kMembers},
                        {Py_tp_doc, const_cast<char*>(kDoc)},
                        {0, nullptr}};

PyType_Spec kSpec = {"offloop.Operation", sizeof(PyOperation), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

bool init_operation_type(PyObject* module) {
  if (g_operation_type == nullptr) {
    g_str_run = PyUnicode_InternFromString("run");
    g_str_call_soon = PyUnicode_InternFromString("call_soon");
    g_call_soon_keywords = Py_BuildValue("(s)", "context");
    if (g_str_run == nullptr || g_str_call_soon == nullptr || g_call_soon_keywords == nullptr) return false;
    g_operation_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &kSpec, nullptr));
    if (g_operation_type == nullptr) return false;
  }
  return PyModule_AddObjectRef(module, "Operation", reinterpret_cast<PyObject*>(g_operation_type)) == 0;
}

PyObject* new_operation(Core* core, const char* name) {
  LoopPort* lp = running_port();
  if (lp == nullptr && PyErr_Occurred()) {
    delete core;
    return nullptr;
  }
  return new_operation_on(lp, core, name);
}

PyObject* new_operation_on(LoopPort* lp, Core* core, const char* name) {
  PyOperation* op = allocate(name, lp != nullptr ? OpState::kPending : OpState::kUnbound);
  if (op == nullptr) {
    delete core;
    return nullptr;
  }
  op->core = core;
  core->owner = op;
  if (lp != nullptr) {
    op->loop = Ref::to(lp->loop).release();
    core->port = lp;
    if (runtime::Pool::options().when_full == runtime::WhenFull::kInline && saturated(lp) && core->run_here()) {
      set_value(op, core->take_value());
      delete core;
    } else if (!start_or_park(core)) {
      // Nothing was queued: the caller learns it at once.
      op->core = nullptr;
      op->state = OpState::kCancelled;
      delete core;
      Py_DECREF(as_object(op));
      return nullptr;
    }
  }
  return as_object(op);
}

PyObject* new_done_operation(LoopPort* lp, PyObject* value, const char* name) {
  if (value == nullptr) return nullptr;
  PyOperation* op = allocate(name, OpState::kValue);
  if (op == nullptr) {
    Py_DECREF(value);
    return nullptr;
  }
  op->value = value;
  op->loop = Ref::to(lp->loop).release();
  return as_object(op);
}

namespace {

/// The loop is closed: nobody can be stepped any more, what waits is dropped with it.
void forget_waiters(PyOperation* op) {
  Py_CLEAR(op->callback);
  Py_CLEAR(op->context);
  Py_CLEAR(op->more);
  op->log_error = false;
  if (std::exchange(op->kept, false)) Py_DECREF(as_object(op));
}

}  // namespace

void deliver_core(Core* core) {
  PyOperation* op = core->owner;
  core_returned(core);
  if (op == nullptr) {
    delete core;
    return;
  }
  const Ref alive = Ref::to(as_object(op));
  set_value(op, core->take_value());
  const LoopPort* lp = core->port;
  delete core;  // the buffer is released before anybody is woken
  if (lp->loop == nullptr) return forget_waiters(op);
  if (op->callback == nullptr && op->more == nullptr) return;
  // In debug mode each step is a callback of its own, so that slow_callback_duration names the task that was slow.
  wake(op, lp->debug ? Wake::kSoon : Wake::kInline);
}

void fail_core(Core* core) {
  PyOperation* op = core->owner;
  const Ref alive = Ref::to(as_object(op));
  const LoopPort* lp = core->port;
  set_value(op, nullptr);
  delete core;
  if (lp->loop == nullptr) return forget_waiters(op);
  wake(op, Wake::kSoon);
}

}  // namespace offloop::python
