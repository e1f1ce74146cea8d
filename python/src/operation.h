// What the files of offloop.Operation share: operation.cpp (the type), operation_await.cpp (its side as a coroutine),
// operation_future.cpp (its side as a future), operation_life.cpp (made, ended, its waiters woken). All under the GIL.
#pragma once

#include "core.h"

namespace offloop::python {

// asyncio's names, loaded with the first operation.
extern PyObject* g_cancelled_error;      // asyncio.CancelledError
extern PyObject* g_invalid_state_error;  // asyncio.InvalidStateError
extern PyObject* g_copy_context;         // contextvars.copy_context
/// False with an exception set.
bool load_asyncio();

inline PyOperation* as_operation(PyObject* object) noexcept {
  return reinterpret_cast<PyOperation*>(object);
}
inline PyObject* as_object(PyOperation* op) noexcept {
  return reinterpret_cast<PyObject*>(op);
}
inline bool pending(const PyOperation* op) noexcept {
  return op->state <= OpState::kPending;
}

/// What is raised outside of asyncio, also under a loop of another kind (trio).
constexpr const char* kNoLoop = "no running event loop: an offloop operation is awaited in asyncio's";

enum class Wake : std::uint8_t {
  kInline,  ///< only from a drain, where no task is being stepped
  kSoon     ///< by call_soon, in the next iteration
};

// operation_life.cpp
bool init_operation_life();
bool call_soon(PyOperation* op, PyObject* callback, PyObject* context);
/// Those who wait for an operation, and its reference to itself: taken out of it once it has ended, for wake().
struct Waiters {
  PyObject* callback;
  PyObject* context;
  PyObject* more;
  bool kept;
};
Waiters take_waiters(PyOperation* op) noexcept;
/// Calls every waiter once.
void wake(PyOperation* op, Waiters waiters, Wake how);
/// Ends the operation with a value (stolen), or with the exception that is set. Wakes nobody. [locked]
void set_value(PyOperation* op, PyObject* value_or_null);
/// Lets the core go back to where it came from; whoever owned it does not want it any more. [locked]
StopResult abandon(Core* core) noexcept;

// operation_await.cpp
/// Binds an unbound operation to the running loop and starts it. False with an exception set. [locked]
bool bind(PyOperation* op);
PyObject* make_cancelled_error(PyOperation* op);
/// The value as a new reference, or raises what the operation ended with. InvalidStateError while it is pending.
PyObject* outcome(PyOperation* op);
PySendResult operation_am_send(PyObject* self, PyObject* sent, PyObject** result);
PyObject* operation_iternext(PyObject* self);
PyObject* operation_self(PyObject* self);
PyObject* operation_send(PyObject* self, PyObject* value);
PyObject* operation_throw(PyObject* self, PyObject* arguments);
PyObject* operation_close(PyObject* self, PyObject*);

// operation_future.cpp: [locked] is called with the operation locked, see sync.h.
/// True when waiters will be woken with CancelledError. False: it has ended, or ends with its result whatever we do.
bool cancel_operation(PyOperation* op, PyObject* message);
extern PyMethodDef g_operation_methods[];
extern PyGetSetDef g_operation_attributes[];
PyObject* operation_repr(PyObject* self);

}  // namespace offloop::python
