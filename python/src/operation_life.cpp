// How operations are made, how they end, and how those who wait are woken.
#include <new>

#include "offloop/runtime/clock.h"
#include "offloop/runtime/pool.h"
#include "operation.h"
#include "port_stats.h"
#include "trace.h"

namespace offloop::python {

PyObject* g_cancelled_error = nullptr;
PyObject* g_invalid_state_error = nullptr;
PyObject* g_copy_context = nullptr;

namespace {

PyObject* g_str_run = nullptr;
PyObject* g_str_call_soon = nullptr;
PyObject* g_str_call_soon_threadsafe = nullptr;
PyObject* g_call_soon_keywords = nullptr;  // ("context",)

}  // namespace

bool init_operation_life() {
  if (g_call_soon_keywords != nullptr) return true;
  g_str_run = PyUnicode_InternFromString("run");
  g_str_call_soon = PyUnicode_InternFromString("call_soon");
  g_str_call_soon_threadsafe = PyUnicode_InternFromString("call_soon_threadsafe");
  g_call_soon_keywords = Py_BuildValue("(s)", "context");
  return g_str_run != nullptr && g_str_call_soon != nullptr && g_str_call_soon_threadsafe != nullptr &&
         g_call_soon_keywords != nullptr;
}

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

PyObject* cancelled_error() {
  return load_asyncio() ? g_cancelled_error : nullptr;
}

/// Not tracked by the garbage collector until it has ended: while somebody waits it keeps itself alive and is no
/// garbage, and a burst of pending operations costs the collector no traversals. From its end on it is tracked whatever
/// its value is: it owns the loop, which may own it (loop.x = op).
static PyOperation* allocate(const char* name, OpState state) {
  PyOperation* op = PyObject_GC_New(PyOperation, g_operation_type);
  if (op == nullptr) return nullptr;
#ifdef Py_GIL_DISABLED
  PyUnstable_EnableTryIncRef(as_object(op));  // for alive_owner()
#endif
  op->core = nullptr;
  op->loop = nullptr;
  op->value = nullptr;
  op->callback = nullptr;
  op->context = nullptr;
  op->more = nullptr;
  op->traceback = nullptr;
  op->weakrefs = nullptr;
  op->name = name;
  op->state = state;
  op->blocking = false;
  op->log_error = false;
  op->turn = false;
  op->kept = false;
  return op;
}

/// From another thread than the loop's, which may be asleep with nothing else to wake it: that of an operation that was
/// cancelled while it was queued.
bool call_soon(PyOperation* op, PyObject* callback, PyObject* context) {
  PyObject* arguments[] = {op->loop, callback, as_object(op), context};
  PyObject* method = runs_here(op->loop) ? g_str_call_soon : g_str_call_soon_threadsafe;
  const Ref handle(
      PyObject_VectorcallMethod(method, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, g_call_soon_keywords));
  return static_cast<bool>(handle);
}

/// For one that waits already. A loop that has been closed steps nobody any more: what waits is dropped with it.
static bool call_waiter_soon(PyOperation* op, PyObject* callback, PyObject* context) {
  if (call_soon(op, callback, context)) return true;
  if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) return false;
  PyObject* refused = take_exception();
  const Ref closed(PyObject_CallMethod(op->loop, "is_closed", nullptr));
  if (closed.get() == Py_True) {
    Py_DECREF(refused);
    return true;
  }
  PyErr_Clear();
  restore_exception(refused);
  return false;
}

/// Inline, in the waiter's own context: only from a drain, where no task is being stepped. An exception that escapes is
/// KeyboardInterrupt or SystemExit (a task catches the rest): it stays set; others go to the loop's exception handler.
static bool step(PyOperation* op, PyObject* callback, PyObject* context) {
  PyObject* arguments[] = {context, callback, as_object(op)};
  const Ref result(PyObject_VectorcallMethod(g_str_run, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
  if (result) return true;
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit)) return false;
  const Ref exception(take_exception());
  const Ref details(Py_BuildValue("{s:s,s:O,s:O}", "message", "Exception in a callback of an offloop operation",
                                  "exception", exception.get(), "future", as_object(op)));
  const Ref handled(details ? PyObject_CallMethod(op->loop, "call_exception_handler", "O", details.get()) : nullptr);
  if (!handled) report_unraisable("a callback of an offloop operation");
  return true;
}

/// Calls every waiter once. `kSoon` from everywhere but a drain: a task must not be stepped inside another one's step.
void wake(PyOperation* op, Waiters waiters, Wake how) {
  const auto [callback, context, more, kept] = waiters;
  bool ok = true;
  if (callback != nullptr) {
    ok = how == Wake::kInline ? step(op, callback, context) : call_waiter_soon(op, callback, context);
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
        if (!call_waiter_soon(op, fn, ctx) && exception != nullptr) PyErr_Clear();
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
    PyObject_GC_Track(as_object(op));
    return;
  }
  op->value = take_exception();
  if (!load_asyncio()) {
    PyErr_Clear();
  } else if (PyErr_GivenExceptionMatches(op->value, g_cancelled_error)) {
    // The native side was stopped by somebody else than this object: ended as stopped.
    Py_CLEAR(op->value);
    op->state = OpState::kCancelled;
    PyObject_GC_Track(as_object(op));
    return;
  }
  op->traceback = PyException_GetTraceback(op->value);
  op->state = OpState::kError;
  op->log_error = true;
  PyObject_GC_Track(as_object(op));
}

/// Lets the core go back to where it came from; whoever owned it does not want it any more.
StopResult abandon(Core* core) noexcept {
  if (core->traced != 0) trace_cancelled(core->traced);
  if (core->parked) {
    disown(core);  // start_parked() lets go of it
    core->drop_input();
    return StopResult::kNeverRan;
  }
  const StopResult result = core->stop();
  if (result == StopResult::kNeverRan) release_slot(core);
  if (result != StopResult::kTooLate) disown(core);
  return result;
}

PyObject* new_operation(Core* core, const char* name) {
  LoopPort* lp = running_port();
  if (lp == nullptr && PyErr_Occurred()) {
    delete core;
    return nullptr;
  }
  return new_operation_on(lp, core, name);
}

/// Null with an exception set.
static PyObject* value_of(Core* core) {
  try {
    return core->take_value();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

static bool run_here(const LoopPort* lp, Core* core, const char* name) {
  const std::int64_t began = tracing() ? runtime::now_ns() : 0;
  try {
    if (!core->run_here()) return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (began != 0) trace_inline(lp, name, began);
  return true;
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
    if (runtime::Pool::options().when_full == runtime::WhenFull::kInline && saturated(lp) && run_here(lp, core, name)) {
      bump(port_stats().inlined);
      set_value(op, value_of(core));
      let_go(core);
    } else if (!start_or_park(core)) {
      // Nothing was queued: the caller learns it at once.
      op->core = nullptr;
      op->state = OpState::kCancelled;
      let_go(core);
      Py_DECREF(as_object(op));
      return nullptr;
    }
  }
  return as_object(op);
}

PyObject* new_done_operation(LoopPort* lp, PyObject* value, const char* name, bool turn) {
  if (value == nullptr) return nullptr;
  PyOperation* op = allocate(name, OpState::kValue);
  if (op == nullptr) {
    Py_DECREF(value);
    return nullptr;
  }
  op->value = value;
  op->turn = turn;
  op->loop = Ref::to(lp->loop).release();
  PyObject_GC_Track(as_object(op));
  return as_object(op);
}

Waiters take_waiters(PyOperation* op) noexcept {
  const Locked lock(as_object(op));
  return {std::exchange(op->callback, nullptr), std::exchange(op->context, nullptr), std::exchange(op->more, nullptr),
          std::exchange(op->kept, false)};
}

/// The loop is closed: nobody can be stepped any more, what waits is dropped with it.
static void forget_waiters(PyOperation* op, const Waiters& waiters) {
  op->log_error = false;
  Py_XDECREF(waiters.callback);
  Py_XDECREF(waiters.context);
  Py_XDECREF(waiters.more);
  if (waiters.kept) Py_DECREF(as_object(op));
}

/// The value that a core has brought back becomes its operation's. False when the operation was cancelled meanwhile, by
/// another thread.
static bool settle(Core* core, PyOperation* op) {
  if (kFreeThreaded && op->core != core) return false;
  PyObject* value = value_of(core);
  if (kFreeThreaded && op->core != core) {
    Py_XDECREF(value);
    PyErr_Clear();
    return false;
  }
  set_value(op, value);
  let_go_share(core);
  return true;
}

template <bool kTraced>
static void deliver_core_now(Core* core) {
  [[maybe_unused]] const std::uint32_t number = core->traced;
  const Ref alive = alive_owner(core);
  core_returned(core);
  if (!alive) return let_go(core);
  PyOperation* op = as_operation(alive.get());
  const LoopPort* lp = core->port;
  bool settled;
  {
    const Locked lock(alive.get());
    settled = settle(core, op);
    if constexpr (kTraced) trace_settled(number, op->state);
  }
  let_go(core);  // the buffer is released before anybody is woken
  if (!settled) return;
  if (lp->loop == nullptr) return forget_waiters(op, take_waiters(op));
  if (!kFreeThreaded && op->callback == nullptr && op->more == nullptr) return;
  // In debug mode each step is a callback of its own, so that slow_callback_duration names the task that was slow.
  wake(op, take_waiters(op), lp->step_soon ? Wake::kSoon : Wake::kInline);
}

void deliver_core(Core* core) {
  if (core->traced != 0) return traced_delivery(core, deliver_core_now<true>);
  deliver_core_now<false>(core);
}

void fail_core(Core* core, PyOperation* op) {
  if (core->traced != 0) trace_failed(core->traced);
  const LoopPort* lp = core->port;
  if (op->core != core) {
    PyErr_Clear();  // taking the input ran Python code, which cancelled the operation
    return let_go(core);
  }
  set_value(op, nullptr);
  let_go_share(core);
  let_go(core);
  if (lp->loop == nullptr) return forget_waiters(op, take_waiters(op));
  wake(op, take_waiters(op), Wake::kSoon);
}

}  // namespace offloop::python
