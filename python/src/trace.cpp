#include "trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <new>
#include <type_traits>

#include "offloop/runtime/clock.h"

namespace offloop::python {

Shared<bool> g_tracing{false};

namespace {

enum class Outcome : std::uint8_t { kPending, kValue, kError, kCancelled, kInline };

struct Record {
  const char* name;  // a string literal
  PyObject* task;    // the name of the task, owned; null for none
  std::int64_t called_ns;
  std::int64_t returned_ns;
  std::int64_t submitted_ns;  // later than returned_ns when it waited for a slot
  std::int64_t started_ns;
  std::int64_t ended_ns;
  std::int64_t delivered_ns;
  std::int64_t woken_ns;  // whoever waited has been stepped
  std::uintptr_t loop;
  std::uint32_t number;  // 0: empty
  std::uint32_t thread;  // of the loop, as the system counts them
  std::uint8_t worker;
  Outcome outcome;
};

struct Recorder {
  Record* ring;
  std::uint32_t capacity;
  std::uint64_t threshold;  // of 2^64: the share that is recorded
  std::uint64_t seen = 0;
  std::uint64_t dropped = 0;  // overwritten by later ones
  std::int64_t started_ns;
};

Mutex g_mutex;                       // around all that follows, and every record of the current trace
Recorder* g_current = nullptr;       // the trace that runs
std::uint32_t g_last_number = 0;     // goes on from trace to trace: a record is never written by an operation of an
                                     // earlier one
PyObject* g_current_task = nullptr;  // asyncio.current_task

constexpr const char* kHandleName = "offloop._core.trace";

std::uint64_t scrambled(std::uint64_t x) noexcept {  // splitmix64
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// The name of the task that is being stepped in this loop, as a new str; null when there is none. No exception stays.
PyObject* current_task_name(PyObject* loop) {
  const Ref task(PyObject_CallFunctionObjArgs(g_current_task, loop, nullptr));
  const Ref name(task && task.get() != Py_None ? PyObject_CallMethod(task.get(), "get_name", nullptr) : nullptr);
  if (name && PyUnicode_Check(name.get())) return Ref::to(name.get()).release();
  PyErr_Clear();
  return nullptr;
}

/// Under g_mutex. Null when it has been overwritten, or its trace is over.
Record* find(std::uint32_t number) noexcept {
  if (g_current == nullptr || number == 0) return nullptr;
  Record* record = &g_current->ring[number % g_current->capacity];
  return record->number == number ? record : nullptr;
}

/// Whether this operation is in the sample. Decided before its task is asked for, which costs more than all the rest.
bool chosen() noexcept {
  const Guard guard(g_mutex);
  return g_current != nullptr && scrambled(g_current->seen++) <= g_current->threshold;
}

/// Its number; 0 when the trace has ended meanwhile.
std::uint32_t begin(const LoopPort* lp, const char* name, std::int64_t called_ns, Outcome outcome) {
  PyObject* task = current_task_name(lp->loop);
  const auto thread = static_cast<std::uint32_t>(::syscall(SYS_gettid));
  std::uint32_t number = 0;
  {
    const Guard guard(g_mutex);
    if (g_current != nullptr) {
      number = ++g_last_number != 0 ? g_last_number : ++g_last_number;
      Record& record = g_current->ring[number % g_current->capacity];
      if (record.number != 0) ++g_current->dropped;
      const Record fresh{name, task, called_ns, 0, 0, 0, 0, 0, 0, lp->id, number, thread, 0, outcome};
      task = record.task;
      record = fresh;
    }
  }
  Py_XDECREF(task);
  return number;
}

Recorder* recorder_of(PyObject* handle) {
  return static_cast<Recorder*>(PyCapsule_GetPointer(handle, kHandleName));
}

void end(const Recorder* recorder) noexcept {
  const Guard guard(g_mutex);
  if (g_current != recorder) return;
  g_current = nullptr;
  g_tracing = false;
}

void free_handle(PyObject* handle) {
  Recorder* recorder = recorder_of(handle);
  end(recorder);
  for (std::uint32_t i = 0; i < recorder->capacity; ++i) Py_XDECREF(recorder->ring[i].task);
  delete[] recorder->ring;
  delete recorder;
}

const char* word(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::kPending:
      return "pending";
    case Outcome::kValue:
      return "value";
    case Outcome::kError:
      return "error";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kInline:
      return "inline";
  }
  return "?";
}

PyObject* tuple_of(const Record& r) {
  return Py_BuildValue("(IsOIKLLLLLLLis)", r.number, r.name, r.task != nullptr ? r.task : Py_None, r.thread,
                       static_cast<unsigned long long>(r.loop), r.called_ns, r.returned_ns, r.submitted_ns,
                       r.started_ns, r.ended_ns, r.delivered_ns, r.woken_ns, static_cast<int>(r.worker),
                       word(r.outcome));
}

}  // namespace

bool traced_start(Core* core, bool (*start)(Core*)) {
  if (!chosen()) return start(core);
  const PyOperation* op = core->owner;
  const std::uint32_t number = begin(core->port, op->name, runtime::now_ns(), Outcome::kPending);
  core->traced = number;
  const bool started = start(core);  // from here on the core belongs to the native side
  const std::int64_t now = runtime::now_ns();
  const Guard guard(g_mutex);
  if (Record* record = find(number)) {
    record->returned_ns = now;
    if (!started) record->outcome = Outcome::kError;
  }
  return started;
}

void traced_delivery(Core* core, void (*deliver)(Core*)) {
  const std::uint32_t number = core->traced;
  const CoreRun run = core->run();
  const std::int64_t ended_ns = core->ended_ns();
  const std::int64_t now = runtime::now_ns();
  {
    const Guard guard(g_mutex);
    if (Record* record = find(number)) {
      record->submitted_ns = run.submitted_ns;
      record->started_ns = run.started_ns;
      record->ended_ns = ended_ns;
      record->delivered_ns = now;
      record->worker = static_cast<std::uint8_t>(run.worker);
    }
  }
  deliver(core);
  const std::int64_t woken = runtime::now_ns();
  const Guard guard(g_mutex);
  if (Record* record = find(number)) record->woken_ns = woken;
}

void trace_settled(std::uint32_t number, OpState state) noexcept {
  const Guard guard(g_mutex);
  if (Record* record = find(number)) {
    record->outcome = state == OpState::kValue   ? Outcome::kValue
                      : state == OpState::kError ? Outcome::kError
                                                 : Outcome::kCancelled;
  }
}

void trace_inline(const LoopPort* lp, const char* name, std::int64_t began_ns) {
  const std::int64_t now = runtime::now_ns();
  if (!chosen()) return;
  const std::uint32_t number = begin(lp, name, began_ns, Outcome::kInline);
  const Guard guard(g_mutex);
  if (Record* record = find(number)) record->returned_ns = record->ended_ns = now;
}

void trace_awaited(PyOperation* op) {
  std::uint32_t number = 0;
  {
    const Locked lock(reinterpret_cast<PyObject*>(op));
    if (op->core != nullptr) number = op->core->traced;
  }
  if (number == 0) return;
  PyObject* task = current_task_name(op->loop);
  if (task == nullptr) return;
  {
    const Guard guard(g_mutex);
    if (Record* record = find(number)) std::swap(record->task, task);
  }
  Py_XDECREF(task);
}

void trace_cancelled(std::uint32_t number) noexcept {
  const std::int64_t now = runtime::now_ns();
  const Guard guard(g_mutex);
  Record* record = find(number);
  if (record == nullptr || record->outcome != Outcome::kPending) return;
  record->outcome = Outcome::kCancelled;
  record->ended_ns = now;
}

void trace_failed(std::uint32_t number) noexcept {
  const std::int64_t now = runtime::now_ns();
  const Guard guard(g_mutex);
  Record* record = find(number);
  if (record == nullptr || record->outcome != Outcome::kPending) return;
  record->outcome = Outcome::kError;
  record->ended_ns = record->delivered_ns = record->woken_ns = now;
}

PyObject* py_trace_start(PyObject*, PyObject* arguments) {
  unsigned capacity = 0;
  double sample = 0;
  if (!PyArg_ParseTuple(arguments, "Id:trace_start", &capacity, &sample)) return nullptr;
  // Each time: who brings tasks of their own (nest_asyncio, a debugger) replaces it. The last one is kept for threads
  // that are calling it just now.
  const Ref asyncio(PyImport_ImportModule("asyncio"));
  Ref function(asyncio ? PyObject_GetAttrString(asyncio.get(), "current_task") : nullptr);
  if (!function) return nullptr;
  if (function.get() != g_current_task) g_current_task = function.release();
  // Value-initialised, that is empty. Pages that are never written to cost nothing.
  static_assert(std::is_trivial_v<Record>);
  auto* recorder = new (std::nothrow) Recorder{};
  if (recorder != nullptr) recorder->ring = new (std::nothrow) Record[capacity]();
  if (recorder == nullptr || recorder->ring == nullptr) {
    delete recorder;
    return PyErr_NoMemory();
  }
  recorder->capacity = capacity;
  recorder->threshold = sample >= 1 ? UINT64_MAX : static_cast<std::uint64_t>(std::ldexp(sample, 64));
  recorder->started_ns = runtime::now_ns();
  const Ref handle(PyCapsule_New(recorder, kHandleName, free_handle));
  if (!handle) {
    delete[] recorder->ring;
    delete recorder;
    return nullptr;
  }
  {
    const Guard guard(g_mutex);
    if (g_current == nullptr) {
      g_current = recorder;
      g_tracing = true;
      return Ref::to(handle.get()).release();
    }
  }
  PyErr_SetString(PyExc_RuntimeError, "another trace is running: a process has one at a time");
  return nullptr;
}

PyObject* py_trace_stop(PyObject*, PyObject* handle) {
  const Recorder* recorder = recorder_of(handle);
  if (recorder == nullptr) return nullptr;
  end(recorder);
  Py_RETURN_NONE;
}

PyObject* py_trace_read(PyObject*, PyObject* handle) {
  Recorder* recorder = recorder_of(handle);
  if (recorder == nullptr) return nullptr;
  auto* copy = new (std::nothrow) Record[recorder->capacity];
  if (copy == nullptr) return PyErr_NoMemory();
  std::uint64_t seen = 0;
  std::uint64_t dropped = 0;
  std::uint32_t count = 0;
  {
    const Guard guard(g_mutex);
    seen = recorder->seen;
    dropped = recorder->dropped;
    for (std::uint32_t i = 0; i < recorder->capacity; ++i) {
      if (recorder->ring[i].number == 0) continue;
      copy[count] = recorder->ring[i];
      Py_XINCREF(copy[count++].task);
    }
  }
  Ref list(PyList_New(0));
  for (std::uint32_t i = 0; i < count; ++i) {
    const Ref tuple(list ? tuple_of(copy[i]) : nullptr);
    if (!tuple || PyList_Append(list.get(), tuple.get()) < 0) list = Ref();
    Py_XDECREF(copy[i].task);
  }
  delete[] copy;
  if (!list) return nullptr;
  return Py_BuildValue("(OKKLL)", list.get(), static_cast<unsigned long long>(seen),
                       static_cast<unsigned long long>(dropped), static_cast<long long>(recorder->started_ns),
                       static_cast<long long>(runtime::now_ns()));
}

}  // namespace offloop::python
