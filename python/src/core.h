// What the files of _core share: the operation object, the native half behind it, the port of a loop.
//
// All Python objects and everything in this header belong to the thread that holds the GIL; only what is marked
// otherwise may be touched without it.
#pragma once

#include <cstdint>

#include "offloop/base/counters.h"
#include "offloop/base/error.h"
#include "offloop/runtime/port.h"
#include "offloop/runtime/work.h"
#include "python.h"

namespace offloop::python {

struct LoopPort;
struct PyOperation;

/// What became of a request to stop.
enum class StopResult : std::uint8_t {
  kNeverRan,   ///< taken back before it ran: its input has been released already
  kRequested,  ///< it runs, or is on its way: it ends soon and comes back through the port
  kTooLate     ///< published: the result stands
};

/// The native half of one operation: malloc'd, outside the garbage collector's sight, as its buffer must be.
class Core {
 public:
  Core() noexcept { count_made(Counted::kOperation); }
  virtual ~Core() { count_freed(Counted::kOperation); }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// Takes the input and hands over to the native side, which brings it back to `port` exactly once. False with an
  /// exception set: nothing was handed over.
  virtual bool start() = 0;
  /// Never waits.
  virtual StopResult stop() noexcept = 0;
  /// The value as a new reference, or null with an exception set. Called at most once, after it came back.
  virtual PyObject* take_value() = 0;
  /// Lets go of the input of one that was parked and will never start: it may stay in the queue of those that wait for
  /// long.
  virtual void drop_input() noexcept {}
  /// Does the work on this thread instead of start(), for when_full="inline"; take_value() follows. False: it cannot.
  virtual bool run_here() { return false; }
  /// When it ended on the native side; 0 when it does not say.
  [[nodiscard]] virtual std::int64_t ended_ns() const noexcept { return 0; }

  PyOperation* owner = nullptr;  ///< null once the Python object is gone or cancelled
  LoopPort* port = nullptr;      ///< set before start()
  Core* park_next = nullptr;
  bool has_slot = false;  ///< counts towards max_pending
  bool parked = false;    ///< in port's list of those that wait for a slot
};

enum class OpState : std::uint8_t { kUnbound, kPending, kValue, kError, kCancelled };

/// offloop.Operation.
struct PyOperation {
  PyObject_HEAD Core* core;  ///< while kUnbound (owned) or kPending
  PyObject* loop;            ///< null while kUnbound
  PyObject* value;           ///< kValue: the value; kError: the exception; kCancelled: the message or null
  PyObject* callback;        ///< the first waiter and its context
  PyObject* context;
  PyObject* more;  ///< list of (callback, context) beyond the first, or null
  PyObject* weakrefs;
  const char* name;  ///< "sha256": a string literal
  OpState state;
  bool blocking;   ///< _asyncio_future_blocking
  bool log_error;  ///< an exception that nobody has seen yet
  bool kept;       ///< holds a reference to itself: somebody waits, so it must not die before it wakes them
};

/// One event loop as _core sees it. Made on first use of a loop, freed when the loop is gone and nothing is in flight.
struct LoopPort {
  runtime::Port* port = nullptr;
  PyObject* loop = nullptr;                  ///< borrowed; null once the loop is closed or collected
  runtime::PortItem* ready_first = nullptr;  ///< drained, not delivered yet: the rest of a drain that ran out of budget
  runtime::PortItem* ready_last = nullptr;
  Core* parked_first = nullptr;  ///< wait for a slot, oldest first
  Core* parked_last = nullptr;
  bool step_soon = false;       ///< each waiter is a callback of its own, not stepped inside the drain; see drain()
  std::uint32_t in_flight = 0;  ///< cores between start() and delivery
  std::int64_t inline_ns = 0;   ///< work done on the loop since the last drain
  std::int64_t inline_credit_ns = 0;  ///< see hash.cpp
  std::int64_t credit_at_ns = 0;
  std::uintptr_t id = 0;         ///< never used twice, unlike an address
  std::uint32_t generation = 0;  ///< fork_generation() when it was made
  PyObject* capsule = nullptr;   ///< what the loop's reader knows of it; its context is null once this is freed
  LoopPort* next = nullptr;      ///< in the list of all ports
};

// operation.cpp
extern PyTypeObject* g_operation_type;
bool init_operation_type(PyObject* module);
/// A new operation on the running loop, started or parked; unbound when no loop runs. Takes `core` over, also on
/// failure.
PyObject* new_operation(Core* core, const char* name);
/// The same for a caller that knows the running loop's port; null for none.
PyObject* new_operation_on(LoopPort* lp, Core* core, const char* name);
/// One that is done already. `loop_port` says whose. Steals `value`.
PyObject* new_done_operation(LoopPort* loop_port, PyObject* value, const char* name);
/// The core has come back: sets the result, frees the core, wakes who waits. Leaves KeyboardInterrupt or SystemExit
/// set.
void deliver_core(Core* core);
/// As deliver_core for one whose start() failed later (it was parked): the exception that is set becomes its result.
void fail_core(Core* core);

// port.cpp
bool init_ports(PyObject* module);
/// The port of the running loop; null without exception when no loop runs in this thread, with one when it cannot be
/// made.
LoopPort* running_port();
/// Starts the core, or parks it while max_pending are in flight. False with an exception set: the core is still the
/// caller's.
bool start_or_park(Core* core);
/// True when max_pending operations are in flight, so that start_or_park would park.
bool saturated(const LoopPort* lp) noexcept;
/// Gives up the core's slot, if it has one, before the core itself is done (its input is free).
void release_slot(Core* core) noexcept;
/// Accounts for a core that has come back.
void core_returned(Core* core) noexcept;
/// Ends with the interpreter: nothing of Python is touched by any other thread afterwards.
void close_ports_at_exit() noexcept;

/// asyncio.CancelledError, borrowed; null with an exception set. Loaded when the first loop is seen, for an operation
/// may be delivered when nothing can be imported any more.
PyObject* cancelled_error();

// errors.cpp
/// Sets the exception that belongs to the error: the one table from code to class.
void set_error(const Error& error);
/// The same for a code and its words, or MemoryError when there is no memory for them.
void set_error(ErrorCode code, const char* message) noexcept;
/// What a submit raises that the pool did not take; `pool`: whether there is one.
void set_not_submitted(bool pool) noexcept;
bool init_errors();

}  // namespace offloop::python
