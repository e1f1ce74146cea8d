// What the files of _core share: the operation object, the native half behind it, the port of a loop.
//
// All Python objects and everything in this header belong to the thread that holds the GIL; only what is marked
// otherwise may be touched without it. What takes the GIL's place in a free-threaded interpreter: sync.h.
#pragma once

#include <cstdint>

#include "offloop/base/counters.h"
#include "offloop/base/error.h"
#include "offloop/runtime/port.h"
#include "offloop/runtime/work.h"
#include "python.h"
#include "sync.h"

namespace offloop::python {

struct LoopPort;
struct PyOperation;

/// What became of a request to stop.
enum class StopResult : std::uint8_t {
  kNeverRan,   ///< taken back before it ran: its input has been released already
  kRequested,  ///< it runs, or is on its way: it ends soon and comes back through the port
  kTooLate     ///< published: the result stands
};

struct CoreRun {
  std::int64_t submitted_ns = 0;  ///< taken by the pool
  std::int64_t started_ns = 0;
  unsigned worker = 0;
};

/// The native half of one operation: malloc'd, outside the garbage collector's sight, as its buffer must be.
class Core {
 public:
  Core() noexcept { count_made(Counted::kOperation); }
  virtual ~Core() { count_freed(Counted::kOperation); }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// Takes the input and hands over to the native side, which brings it back to `port` exactly once. False with an
  /// exception set, or std::bad_alloc: nothing was handed over.
  virtual bool start() = 0;
  /// Never waits.
  virtual StopResult stop() noexcept = 0;
  /// The value as a new reference, or null with an exception set, or std::bad_alloc. Called at most once, after it came
  /// back.
  virtual PyObject* take_value() = 0;
  /// Lets go of the input of one that was parked and will never start: it may stay in the queue of those that wait for
  /// long.
  virtual void drop_input() noexcept {}
  /// Does the work on this thread instead of start(), for when_full="inline"; take_value() follows. False: it cannot.
  virtual bool run_here() { return false; }
  /// When it ended on the native side; 0 when it does not say.
  [[nodiscard]] virtual std::int64_t ended_ns() const noexcept { return 0; }
  /// When it began to run, and which worker ran it (see Work::worker); zeros when it does not say. Asked after it came
  /// back, for the trace.
  [[nodiscard]] virtual CoreRun run() const noexcept { return {}; }

  Shared<PyOperation*> owner{nullptr};  ///< null once the Python object is gone or cancelled; see alive_owner()
  LoopPort* port = nullptr;             ///< set before start()
  Core* park_next = nullptr;
  Shared<bool> has_slot{false};     ///< counts towards max_pending
  Shared<bool> parked{false};       ///< waits for a slot, or waited and never started
  Shared<std::uint32_t> traced{0};  ///< its number in the trace, see trace.h; 0: it is not in one
#ifdef Py_GIL_DISABLED
  Mutex owner_mutex;          ///< around what reads `owner` to take a reference, and what sets it to null
  std::atomic<int> users{1};  ///< the operation that names it, and from start() on the native side
#endif
};

// With the GIL a core has one owner at a time: the operation while it is unbound, the native side from start_or_park()
// until it has come back. Without it another thread may be cancelling what is just being delivered: they share it.

/// The native side gets its share.
inline void share([[maybe_unused]] Core* core) noexcept {
#ifdef Py_GIL_DISABLED
  core->users.fetch_add(1, std::memory_order_relaxed);
#endif
}
/// By the owner: the native side when it has come back, the operation when it was never handed over.
inline void let_go(Core* core) noexcept {
#ifdef Py_GIL_DISABLED
  if (core->users.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
#endif
  delete core;
}
/// By the other of the two, who with the GIL has no share.
inline void let_go_share([[maybe_unused]] Core* core) noexcept {
#ifdef Py_GIL_DISABLED
  let_go(core);
#endif
}

enum class OpState : std::uint8_t { kUnbound, kPending, kValue, kError, kCancelled };

/// offloop.Operation.
struct PyOperation {
  PyObject_HEAD Core* core;  ///< while kUnbound (owned) or kPending
  PyObject* loop;            ///< null while kUnbound, then always the same
  PyObject* value;     ///< kValue: the value; kError: the exception; kCancelled: the message or null; set before state
  PyObject* callback;  ///< the first waiter and its context
  PyObject* context;
  PyObject* more;       ///< list of (callback, context) beyond the first, or null
  PyObject* traceback;  ///< kError: what the exception brought from a callback in Python, or null
  PyObject* weakrefs;
  const char* name;  ///< "sha256": a string literal
  Shared<OpState> state;
  Shared<bool> blocking;   ///< _asyncio_future_blocking
  Shared<bool> log_error;  ///< an exception that nobody has seen yet
  Shared<bool> turn;       ///< kValue: whoever awaits it first lets the loop turn once, see hash.cpp
  bool kept;               ///< holds a reference to itself: somebody waits, so it must not die before it wakes them
};

/// The operation that wants this core, with a reference; none when it is gone, is being freed or was cancelled. Null or
/// not, with the GIL, just as `owner`.
inline Ref alive_owner(Core* core) noexcept {
#ifdef Py_GIL_DISABLED
  const Guard guard(core->owner_mutex);
  auto* object = reinterpret_cast<PyObject*>(static_cast<PyOperation*>(core->owner));
  return Ref(object != nullptr && PyUnstable_TryIncRef(object) != 0 ? object : nullptr);
#else
  return Ref::to(reinterpret_cast<PyObject*>(static_cast<PyOperation*>(core->owner)));
#endif
}
/// From now on nobody gets the operation through its core.
inline void disown(Core* core) noexcept {
#ifdef Py_GIL_DISABLED
  const Guard guard(core->owner_mutex);
#endif
  core->owner = nullptr;
}

/// One event loop as _core sees it. Made on first use of a loop, freed when the loop is gone and nothing is in flight.
/// Belongs to the thread that runs the loop, and when the loop is closed to the one that reaps it; what is under
/// g_mutex (port.cpp) is said.
struct LoopPort {
  runtime::Port* port = nullptr;
  PyObject* loop = nullptr;  ///< borrowed; null once the loop is closed or collected, which is written under g_mutex
  PyObject* weak_loop = nullptr;             ///< for other threads, which may meet a loop that is being freed
  runtime::PortItem* ready_first = nullptr;  ///< drained, not delivered yet: the rest of a drain that ran out of budget
  runtime::PortItem* ready_last = nullptr;
  Core* parked_first = nullptr;  ///< wait for a slot, oldest first
  Core* parked_last = nullptr;
  bool step_soon = false;       ///< each waiter is a callback of its own, not stepped inside the drain; see drain()
  std::uint32_t in_flight = 0;  ///< cores between start() and delivery
  std::int64_t inline_ns = 0;   ///< work done on the loop since it last turned, as far as is known; see hash.cpp
  std::int64_t inline_credit_ns = 0;  ///< see hash.cpp
  std::int64_t credit_at_ns = 0;
  std::int64_t drain_started_ns = 0;
  std::uintptr_t id = 0;         ///< never used twice, unlike an address
  std::uint32_t generation = 0;  ///< fork_generation() when it was made
  PyObject* capsule = nullptr;   ///< what the loop's reader knows of it; its context is null once this is freed
  LoopPort* next = nullptr;      ///< in the list of all ports, newest first; under g_mutex
  bool reaping = false;          ///< somebody reaps it, and frees it when it is over; under g_mutex
  bool reap_again = false;       ///< more has come meanwhile; under g_mutex
};

// operation.cpp
extern PyTypeObject* g_operation_type;
bool init_operation_type(PyObject* module);
/// A new operation on the running loop, started or parked; unbound when no loop runs. Takes `core` over, also on
/// failure.
PyObject* new_operation(Core* core, const char* name);
/// The same for a caller that knows the running loop's port; null for none.
PyObject* new_operation_on(LoopPort* lp, Core* core, const char* name);
/// One that is done already. `loop_port` says whose. Steals `value`. With `turn` the first await of it lets the loop
/// turn.
PyObject* new_done_operation(LoopPort* loop_port, PyObject* value, const char* name, bool turn = false);
/// The core has come back: sets the result, frees the core, wakes who waits. Leaves KeyboardInterrupt or SystemExit
/// set.
void deliver_core(Core* core);
/// One that was parked could not be started: the exception that is set becomes its operation's result. [locked]
void fail_core(Core* core, PyOperation* op);

// port.cpp
bool init_ports(PyObject* module);
/// The port of the running loop; null without exception when no loop runs in this thread, with one when it cannot be
/// made.
LoopPort* running_port();
/// Whether this thread runs that loop, which had a port.
bool runs_here(PyObject* loop);
/// Starts the core, or parks it while max_pending are in flight. False with an exception set: the core is still the
/// caller's.
bool start_or_park(Core* core);
/// True when max_pending operations are in flight, so that start_or_park would park.
bool saturated(const LoopPort* lp) noexcept;
/// Gives up the core's slot, if it has one. Also before the core itself is done, when its input is free already.
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
/// The same for an operation on a file: its OSError names the path, also an empty one.
void set_file_error(const Error& error);
/// The same for a code and its words, or MemoryError when there is no memory for them.
void set_error(ErrorCode code, const char* message) noexcept;
/// What a submit raises that the pool did not take; `pool`: whether there is one.
void set_not_submitted(bool pool) noexcept;
bool init_errors();

}  // namespace offloop::python
