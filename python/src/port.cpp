// Ports: one for each event loop, from its first operation to its end. Here native results become Python objects.
#include <cerrno>
#include <cstdio>
#include <new>

#include "core.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/fork.h"
#include "offloop/runtime/histogram.h"
#include "offloop/runtime/pool.h"
#include "port_stats.h"
#include "trace.h"

namespace offloop::python {
namespace {

/// A drain hands back to the loop after this long, so that timers and sockets get their turn; it goes on in the next
/// iteration.
constexpr std::int64_t kDrainBudgetNs = 2'000'000;

Mutex g_mutex;                // around the list of ports, and what core.h says is under it
LoopPort* g_ports = nullptr;  // all of them, newest first
PyObject* g_get_running_loop = nullptr;
PyObject* g_str_get_debug = nullptr;
PyObject* g_str_nest_patched = nullptr;
Shared<PyObject*> g_attach{nullptr};    // offloop._loop.attach; set when all the others are
Shared<std::uint32_t> g_in_flight{0};   // cores that have a slot, of all loops
Shared<std::uint32_t> g_generation{0};  // fork_generation() that g_ports belongs to
std::atomic<bool> g_python_ended{false};
std::atomic<bool> g_reap_pending{false};
PortStats g_stats;

// The last loop that this thread used. A plain pointer: no destructor runs at the end of the thread.
thread_local PyObject* tl_loop = nullptr;
thread_local LoopPort* tl_port = nullptr;
thread_local std::uint64_t tl_epoch = 0;
Shared<std::uint64_t> g_epoch{
    1};                        // counts the ports that were freed: what a thread remembers of an older epoch may dangle
std::uintptr_t g_next_id = 1;  // under g_mutex

bool load_loop_module() {
  if (g_attach != nullptr) return true;
  if (cancelled_error() == nullptr) return false;
  const Ref events(PyImport_ImportModule("asyncio"));
  if (!events) return false;
  const Ref get(PyObject_GetAttrString(events.get(), "_get_running_loop"));
  if (!get) return false;
  const Ref module(PyImport_ImportModule("offloop._loop"));
  if (!module) return false;
  const Ref attach(PyObject_GetAttrString(module.get(), "attach"));
  if (!attach) return false;
  if (g_str_get_debug == nullptr && (g_str_get_debug = PyUnicode_InternFromString("get_debug")) == nullptr)
    return false;
  if (g_str_nest_patched == nullptr && (g_str_nest_patched = PyUnicode_InternFromString("_nest_patched")) == nullptr)
    return false;
  g_get_running_loop = Ref::to(get.get()).release();
  g_attach = Ref::to(attach.get()).release();
  return true;
}

void append_ready(LoopPort* lp, runtime::PortItem* first) noexcept {
  if (first == nullptr) return;
  (lp->ready_last == nullptr ? lp->ready_first : lp->ready_last->next) = first;
  runtime::PortItem* last = first;
  while (last->next != nullptr) last = last->next;
  lp->ready_last = last;
}

runtime::PortItem* pop_ready(LoopPort* lp) noexcept {
  runtime::PortItem* item = lp->ready_first;
  if (item == nullptr) return nullptr;
  lp->ready_first = item->next;
  if (lp->ready_first == nullptr) lp->ready_last = nullptr;
  item->next = nullptr;
  return item;
}

/// Whether this loop may take a slot now. A loop with nothing in flight always gets one: it has no other event to be
/// woken by. Without the GIL, loops that ask at the same time may all get the last one.
bool slot_free(const LoopPort* lp, const runtime::PoolOptions& options) noexcept {
  return g_in_flight < options.max_pending || lp->in_flight == 0;
}

/// False with an exception set: the core is the caller's again.
bool start_core(Core* core) {
  ++g_in_flight;
  ++core->port->in_flight;
  core->has_slot = true;
  try {
    if (core->start()) return true;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  core_returned(core);
  return false;
}

Core* pop_parked(LoopPort* lp) noexcept {
  Core* core = lp->parked_first;
  lp->parked_first = core->park_next;
  if (lp->parked_first == nullptr) lp->parked_last = nullptr;
  bump(g_stats.parked, static_cast<std::uint64_t>(-1));
  return core;
}

void start_parked(LoopPort* lp) {
  if (lp->parked_first == nullptr) return;
  const runtime::PoolOptions options = runtime::Pool::options();
  while (Core* core = lp->parked_first) {
    if (core->owner != nullptr && !slot_free(lp, options)) return;
    const Ref owner = alive_owner(pop_parked(lp));
    if (!owner) {
      let_go(core);  // cancelled or dropped while it waited
      continue;
    }
    const Locked lock(owner.get());
    auto* op = reinterpret_cast<PyOperation*>(owner.get());
    if (kFreeThreaded && op->core != core) {
      let_go(core);
      continue;
    }
    core->parked = false;
    if (start_core(core)) continue;
    fail_core(core, op);
    if (PyErr_Occurred()) return;
  }
}

/// Under g_mutex.
bool is_over(const LoopPort* lp) noexcept {
  return lp->loop == nullptr && lp->in_flight == 0 && lp->ready_first == nullptr && lp->parked_first == nullptr;
}

/// Under g_mutex. The caller frees it.
void unlist(LoopPort* lp) noexcept {
  for (LoopPort** link = &g_ports; *link != nullptr; link = &(*link)->next) {
    if (*link != lp) continue;
    *link = lp->next;
    break;
  }
  ++g_epoch;
}

void free_port(LoopPort* lp) noexcept {
  PyCapsule_SetContext(lp->capsule, nullptr);
  Py_DECREF(lp->capsule);
  Py_XDECREF(lp->weak_loop);
  lp->port->unref();
  delete lp;
}

/// Delivers what a loop that is gone will not fetch any more: buffers are released, nobody is woken.
void deliver_for_nobody(LoopPort* lp) {
  append_ready(lp, lp->port->drain());
  while (runtime::PortItem* item = pop_ready(lp)) {
    item->deliver(item);
    if (PyErr_Occurred()) report_unraisable("an offloop operation whose event loop is closed");
  }
  while (lp->parked_first != nullptr) {
    Core* core = pop_parked(lp);
    const Ref owner = alive_owner(core);
    if (!owner) {
      let_go(core);
      continue;
    }
    const Locked lock(owner.get());
    PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    fail_core(core, reinterpret_cast<PyOperation*>(owner.get()));
  }
}

/// For a port whose loop is gone: by one thread at a time, which set `reaping` and frees the port when it is over.
void reap(LoopPort* lp) {
  while (true) {
    deliver_for_nobody(lp);
    {
      const Guard guard(g_mutex);
      if (std::exchange(lp->reap_again, false)) continue;
      lp->reaping = false;
      if (!is_over(lp)) return;
      unlist(lp);
    }
    free_port(lp);
    return;
  }
}

/// The loop of this id is closed or collected.
void detach(std::uintptr_t id) {
  LoopPort* lp = nullptr;
  {
    const Guard guard(g_mutex);
    for (lp = g_ports; lp != nullptr && lp->id != id;) lp = lp->next;
    if (lp == nullptr || lp->loop == nullptr) return;
    lp->loop = nullptr;
    lp->reaping = true;
    ++g_epoch;
  }
  lp->port->close();
  reap(lp);
}

/// A port whose loop is gone and that nobody reaps; it is the caller's to reap. Where somebody does, he is told to look
/// again.
LoopPort* take_orphan(std::uintptr_t below) noexcept {
  const Guard guard(g_mutex);
  for (LoopPort* lp = g_ports; lp != nullptr; lp = lp->next) {
    if (lp->loop != nullptr || lp->id >= below) continue;
    if (!lp->reaping) {
      lp->reaping = true;
      return lp;
    }
    lp->reap_again = true;
  }
  return nullptr;
}

int reap_all(void*) {
  g_reap_pending.store(false, std::memory_order_seq_cst);
  for (std::uintptr_t below = UINTPTR_MAX; LoopPort* lp = take_orphan(below);) {
    below = lp->id;  // newest first, each once
    reap(lp);
  }
  return 0;
}

/// A worker ended something whose loop is gone: one pending call for all of a burst. [worker]
void orphaned(runtime::Port*) noexcept {
  if (g_python_ended.load(std::memory_order_seq_cst)) return;
  if (g_reap_pending.exchange(true, std::memory_order_seq_cst)) return;
  // The interpreter's queue of pending calls holds 32: when it is full, the next port that is made reaps.
  if (Py_AddPendingCall(reap_all, nullptr) != 0) g_reap_pending.store(false, std::memory_order_seq_cst);
}

/// A child of fork() keeps nothing of its parent's ports but their memory: their fds are closed by number.
void forget_ports_of_parent() {
  if (g_generation == runtime::fork_generation()) return;
  const Guard guard(g_mutex);
  if (g_generation == runtime::fork_generation()) return;
  for (LoopPort* lp = g_ports; lp != nullptr; lp = lp->next) lp->port->close();
  g_ports = nullptr;
  g_in_flight = 0;
  g_stats.parked.store(0);
  g_reap_pending.store(false);
  ++g_epoch;
  g_generation = runtime::fork_generation();
}

/// The loop of the newest port older than `*below`, whose id that becomes; none when there is no further one.
Ref older_loop(std::uintptr_t* below) {
  const Guard guard(g_mutex);
  for (LoopPort* lp = g_ports; lp != nullptr; lp = lp->next) {
    if (lp->loop == nullptr || lp->id >= *below) continue;
#ifdef Py_GIL_DISABLED
    PyObject* loop = nullptr;
    if (PyWeakref_GetRef(lp->weak_loop, &loop) <= 0) continue;  // being freed: loop_is_gone() comes
    *below = lp->id;
    return Ref(loop);
#else
    *below = lp->id;
    return Ref::to(lp->loop);
#endif
  }
  return {};
}

/// Loops that were closed but are still referenced by somebody: found when another loop comes.
bool detach_closed_loops() {
  std::uintptr_t id = UINTPTR_MAX;
  while (const Ref loop = older_loop(&id)) {
    const Ref closed(PyObject_CallMethod(loop.get(), "is_closed", nullptr));
    if (!closed) return false;
    if (closed.get() == Py_True) detach(id);
  }
  return true;
}

LoopPort* find_port(PyObject* loop) noexcept {
  const Guard guard(g_mutex);
  LoopPort* lp = g_ports;
  while (lp != nullptr && lp->loop != loop) lp = lp->next;
  return lp;
}

constexpr const char* kCapsuleName = "offloop._core.LoopPort";

PyObject* drain(PyObject* capsule, PyObject*) {
  if (PyCapsule_GetContext(capsule) == nullptr) Py_RETURN_NONE;  // a stale reader: the port has been freed
  auto* lp = static_cast<LoopPort*>(PyCapsule_GetPointer(capsule, kCapsuleName));
  if (lp == nullptr) return nullptr;
  if (lp->loop == nullptr || lp->generation != runtime::fork_generation()) Py_RETURN_NONE;
  lp->inline_ns = 0;
  PyObject* self[] = {lp->loop};
  const Ref debug(PyObject_VectorcallMethod(g_str_get_debug, self, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
  if (!debug) return nullptr;
  // A patched loop may be run again by a task that this drain steps (nest_asyncio). The inner loop could not come back
  // here, for the reader's context cannot be entered twice, and what this drain has taken would wait for the outer task
  // for ever.
  lp->step_soon = debug.get() == Py_True || PyObject_HasAttr(lp->loop, g_str_nest_patched) != 0;
  append_ready(lp, lp->port->drain());
  const std::int64_t started = runtime::now_ns();
  bump(g_stats.drains);
  lp->drain_started_ns = started;
  unsigned delivered = 0;
  while (runtime::PortItem* item = pop_ready(lp)) {
    item->deliver(item);
    if (PyErr_Occurred()) {
      // KeyboardInterrupt or SystemExit out of somebody's step: the others keep their turn.
      if (lp->ready_first != nullptr || lp->parked_first != nullptr) lp->port->rearm();
      return nullptr;
    }
    if ((++delivered & 31) == 0 && runtime::now_ns() - started > kDrainBudgetNs && lp->ready_first != nullptr) {
      lp->port->rearm();
      break;
    }
  }
  start_parked(lp);
  if (PyErr_Occurred()) return nullptr;
  Py_RETURN_NONE;
}

/// The weak reference's callback: the loop has been collected.
PyObject* loop_is_gone(PyObject* capsule, PyObject*) {
  // The capsule outlives the port when the loop was found closed first: only a port that is still listed is touched.
  detach(reinterpret_cast<std::uintptr_t>(PyCapsule_GetContext(capsule)));
  Py_RETURN_NONE;
}

PyMethodDef kDrain = {"drain", drain, METH_NOARGS, "Delivers what has ended. Called by the event loop."};
PyMethodDef kGone = {"loop_is_gone", loop_is_gone, METH_VARARGS, "Frees what belonged to a loop."};

LoopPort* make_port(PyObject* loop) {
  if (!detach_closed_loops()) return nullptr;
  reap_all(nullptr);  // what no pending call could be had for
  runtime::Port* port = runtime::Port::create(orphaned);
  if (port == nullptr) {
    if (errno == ENOMEM) {
      PyErr_NoMemory();
    } else {
      PyErr_SetFromErrno(PyExc_OSError);
    }
    return nullptr;
  }
  auto* lp = new (std::nothrow) LoopPort;
  if (lp == nullptr) {
    port->close();
    port->unref();
    PyErr_NoMemory();
    return nullptr;
  }
  lp->port = port;
  {
    const Guard guard(g_mutex);
    lp->id = g_next_id++;
  }
  lp->generation = g_generation;
#ifdef Py_GIL_DISABLED
  lp->weak_loop = PyWeakref_NewRef(loop, nullptr);
  const bool referable = lp->weak_loop != nullptr;
#else
  constexpr bool referable = true;
#endif
  const Ref capsule(referable ? PyCapsule_New(lp, kCapsuleName, nullptr) : nullptr);
  if (capsule) PyCapsule_SetContext(capsule.get(), reinterpret_cast<void*>(lp->id));
  const Ref drain_function(capsule ? PyCFunction_NewEx(&kDrain, capsule.get(), nullptr) : nullptr);
  const Ref gone_function(drain_function ? PyCFunction_NewEx(&kGone, capsule.get(), nullptr) : nullptr);
  const Ref attached(gone_function ? PyObject_CallFunction(g_attach, "OiOO", loop, port->fd(), drain_function.get(),
                                                           gone_function.get())
                                   : nullptr);
  if (!attached) {
    port->close();
    port->unref();
    Py_XDECREF(lp->weak_loop);
    delete lp;
    return nullptr;
  }
  lp->loop = loop;
  lp->capsule = Ref::to(capsule.get()).release();
  const Guard guard(g_mutex);
  // Newest first, also when two threads make one at the same time.
  LoopPort** link = &g_ports;
  while (*link != nullptr && (*link)->id > lp->id) link = &(*link)->next;
  lp->next = *link;
  *link = lp;
  return lp;
}

}  // namespace

LoopPort* running_port() {
  if (g_attach == nullptr && !load_loop_module()) return nullptr;
  const Ref loop(PyObject_CallNoArgs(g_get_running_loop));
  if (!loop || loop.get() == Py_None) return nullptr;
  if (loop.get() == tl_loop && tl_epoch == g_epoch && g_generation == runtime::fork_generation()) return tl_port;
  forget_ports_of_parent();
  LoopPort* lp = find_port(loop.get());
  if (lp == nullptr) lp = make_port(loop.get());
  if (lp != nullptr) {
    tl_loop = loop.get();
    tl_port = lp;
    tl_epoch = g_epoch;
  }
  return lp;
}

bool runs_here(PyObject* loop) {
  const Ref running(PyObject_CallNoArgs(g_get_running_loop));
  if (!running) PyErr_Clear();
  return running.get() == loop;
}

static bool start_or_park_now(Core* core) {
  const runtime::PoolOptions options = runtime::Pool::options();
  LoopPort* lp = core->port;
  if (lp->parked_first == nullptr && slot_free(lp, options)) {
    share(core);
    if (start_core(core)) return true;
    let_go_share(core);
    return false;
  }
  if (options.when_full == runtime::WhenFull::kRaise) {
    char words[80];
    std::snprintf(words, sizeof words, "max_pending (%u) operations are in flight", options.max_pending);
    set_error(ErrorCode::kPoolSaturated, words);
    return false;
  }
  share(core);
  core->parked = true;
  core->park_next = nullptr;
  (lp->parked_last == nullptr ? lp->parked_first : lp->parked_last->park_next) = core;
  lp->parked_last = core;
  bump(g_stats.parked);
  return true;
}

bool start_or_park(Core* core) {
  return tracing() ? traced_start(core, start_or_park_now) : start_or_park_now(core);
}

bool saturated(const LoopPort* lp) noexcept {
  return lp->parked_first != nullptr || !slot_free(lp, runtime::Pool::options());
}

void release_slot(Core* core) noexcept {
  if (!core->has_slot.exchange(false)) return;
  // One of the parent's, dropped in a forked child: its slot went with the parent's ports.
  if (core->port->generation == g_generation) --g_in_flight;
}

void core_returned(Core* core) noexcept {
  release_slot(core);
  --core->port->in_flight;
  if (const std::int64_t ended = core->ended_ns(); ended != 0)
    g_stats.deliver_ns.record(core->port->drain_started_ns - ended);
}

PortStats& port_stats() noexcept {
  return g_stats;
}
std::uint32_t operations_in_flight() noexcept {
  forget_ports_of_parent();
  return g_in_flight;
}

bool init_ports(PyObject*) {
  g_generation = runtime::fork_generation();
  return true;
}

void close_ports_at_exit() noexcept {
  g_python_ended.store(true, std::memory_order_seq_cst);
}

}  // namespace offloop::python
