// Many messages, one call: sha256_many (an operation) and batch_hash (blocking). Taking buffers and making results
// overlaps with the hashing: the messages go through a window of works, and each return of some of them is the occasion
// to refill it.
#include <sched.h>

#include <atomic>
#include <memory>
#include <new>

#include "buffer.h"
#include "core.h"
#include "hash.h"
#include "offloop/hash/stream.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/pool.h"
#include "runtime/parking.h"

namespace offloop::python {
namespace {

using runtime::Outcome;
using runtime::PortItem;

/// Works at a time: two full sets of lanes for each of 32 workers, in 0.5 MB that stay in the cache.
constexpr Py_ssize_t kWindow = 1024;
/// Handed to the pool together.
constexpr unsigned kChain = 32;
/// How long one turn on the loop may last.
constexpr std::int64_t kSliceNs = 800'000;  // the promise is 1 ms: a turn looks at the clock every few messages

struct Item {
  hash::Sha256Work work;
  Buffer buffer;
  Py_ssize_t index = 0;
  Item* next_free = nullptr;
};

/// The messages of one call. All but accept() is for the thread that holds the GIL.
class Batch : public runtime::Sink {
 public:
  Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  virtual ~Batch() {
    Py_XDECREF(payloads_);
    Py_XDECREF(results_);
    Py_XDECREF(exception_);
  }

  /// Checks every payload before anything is queued. False with an exception set.
  bool prepare(PyObject* payloads, long max_concurrent);
  /// Submits what the window has room for and makes results of what has come back, until `until_ns` (0: without limit).
  /// True when there is more to do right now. `notified`: one notify() has arrived since the last call; what has come
  /// back is taken only then, so that no worker is between its push and its notify() when the last message is collected
  /// and the batch dies.
  bool advance(std::int64_t until_ns, bool notified);
  /// Nothing more is submitted; what is queued will not run.
  void stop() noexcept;
  [[nodiscard]] bool over() const noexcept { return outstanding_ == 0 && (stopping_ || submitted_ == count_); }
  /// For one that is never started.
  void drop_input() noexcept { Py_CLEAR(payloads_); }
  /// The list, or null with the exception set.
  PyObject* take();

  void accept(PortItem* first, PortItem* last) noexcept final {  // [worker]
    PortItem* head = returned_.load(std::memory_order_relaxed);
    do {
      last->next = head;
    } while (!returned_.compare_exchange_weak(head, first, std::memory_order_acq_rel, std::memory_order_relaxed));
    if (head == nullptr) notify();
  }

 protected:
  /// Some have come back, for the first time since advance() took the last. [worker]
  virtual void notify() noexcept = 0;

 private:
  void submit_some(std::int64_t until_ns);
  void refuse(PortItem* item);
  void collect(PortItem* item);
  [[nodiscard]] bool can_submit() const noexcept { return !stopping_ && free_ != nullptr && submitted_ < count_; }
  bool out_of_time(std::int64_t until_ns) noexcept {
    return until_ns != 0 && (++steps_ & 15) == 0 && runtime::now_ns() >= until_ns;
  }

  PyObject* payloads_ = nullptr;  // a tuple: the caller's list may change meanwhile
  PyObject* results_ = nullptr;
  PyObject* exception_ = nullptr;  // what stopped it
  runtime::Group* group_ = nullptr;
  std::unique_ptr<Item[]> window_;
  Item* free_ = nullptr;
  PortItem* rest_ = nullptr;  // came back, not collected yet
  Py_ssize_t count_ = 0;
  Py_ssize_t submitted_ = 0;
  Py_ssize_t outstanding_ = 0;
  unsigned steps_ = 0;
  bool stopping_ = false;
  bool collect_due_ = false;  // notified, and returned_ not taken yet
  std::atomic<PortItem*> returned_{nullptr};
};

/// The exporter's refusal says nothing of which payload: the same class again, with the index, from it.
void name_index(Py_ssize_t index) {
  PyObject* type = PyErr_ExceptionMatches(PyExc_BufferError)  ? PyExc_BufferError
                   : PyErr_ExceptionMatches(PyExc_ValueError) ? PyExc_ValueError
                                                              : nullptr;
  if (type == nullptr) return;
  PyObject* refusal = take_exception();
  PyErr_Format(type, "payloads[%zd]: %S", index, refusal);
  PyObject* named = take_exception();
  PyException_SetCause(named, refusal);
  restore_exception(named);
}

bool Batch::prepare(PyObject* payloads, long max_concurrent) {
  if (PyUnicode_Check(payloads) || PyBytes_Check(payloads) || PyByteArray_Check(payloads)) {
    PyErr_Format(PyExc_TypeError, "payloads must be a sequence of bytes-like objects, not one %R",
                 type_name(payloads).get());
    return false;
  }
  payloads_ = PySequence_Tuple(payloads);
  if (payloads_ == nullptr) return false;
  count_ = PyTuple_Size(payloads_);
  for (Py_ssize_t i = 0; i < count_; ++i) {
    PyObject* payload = PyTuple_GetItem(payloads_, i);
    if (PyBytes_CheckExact(payload)) continue;
    if (!PyObject_CheckBuffer(payload)) {
      PyErr_Format(PyExc_TypeError,
                   "payloads[%zd] must be a bytes-like object (bytes, bytearray, memoryview, mmap, array), not %R", i,
                   type_name(payload).get());
      return false;
    }
    Py_buffer probe;
    if (PyObject_GetBuffer(payload, &probe, PyBUF_SIMPLE) < 0) {
      name_index(i);
      return false;
    }
    PyBuffer_Release(&probe);
  }
  const auto threads = static_cast<long>(runtime::Pool::options().threads);
  group_ = &hash::sha256_group(max_concurrent < threads ? static_cast<unsigned>(max_concurrent) : 0);
  results_ = PyList_New(count_);
  if (results_ == nullptr) return false;
  const Py_ssize_t window = count_ < kWindow ? count_ : kWindow;
  window_.reset(new (std::nothrow) Item[static_cast<std::size_t>(window)]);
  if (window_ == nullptr) {
    PyErr_NoMemory();
    return false;
  }
  for (Py_ssize_t i = 0; i < window; ++i) {
    window_[static_cast<std::size_t>(i)].next_free = free_;
    free_ = &window_[static_cast<std::size_t>(i)];
  }
  return true;
}

void Batch::collect(PortItem* returned) {
  auto* work = static_cast<hash::Sha256Work*>(static_cast<runtime::Work*>(returned));
  auto* item = static_cast<Item*>(work->user);
  if (work->outcome == Outcome::kValue && !stopping_) {
    PyObject* text = digest_object(work->digest, Form::kHex);
    if (text == nullptr || PyList_SetItem(results_, item->index, text) < 0) {
      exception_ = take_exception();
      stop();
    }
  }
  item->buffer.release();
  item->next_free = free_;
  free_ = item;
  --outstanding_;
}

void Batch::submit_some(std::int64_t until_ns) {
  runtime::Pool* pool = runtime::Pool::instance();
  while (can_submit()) {
    runtime::Work* first = nullptr;
    runtime::Work* last = nullptr;
    unsigned n = 0;
    for (; n < kChain && can_submit(); ++n) {
      Item* item = free_;
      if (!item->buffer.hold(PyTuple_GetItem(payloads_, submitted_)) || !item->buffer.acquire()) {
        item->buffer.release();
        exception_ = take_exception();
        stop();
        break;
      }
      free_ = item->next_free;
      item->index = submitted_++;
      hash::Sha256Work& work = item->work;
      work.set_message(item->buffer.span(), *group_);
      work.sink = this;
      work.user = item;
      work.submitted_ns = work.started_ns = 0;
      work.next = nullptr;
      if (last != nullptr) {
        last->next = &work;
      } else {
        first = &work;
      }
      last = &work;
    }
    if (n == 0) return;
    outstanding_ += n;
    if (pool == nullptr || !pool->submit(first, n)) return refuse(first);
    if (until_ns != 0 && runtime::now_ns() >= until_ns) return;
  }
}

/// The pool is closed: what was to be submitted comes back at once.
void Batch::refuse(PortItem* item) {
  set_error(Error(ErrorCode::kPoolClosed, "the pool was shut down: no operation is accepted any more"));
  exception_ = take_exception();
  stop();
  while (item != nullptr) {
    PortItem* next = item->next;
    collect(item);
    item = next;
  }
}

bool Batch::advance(std::int64_t until_ns, bool notified) {
  // Submit first: the workers are never left without work while results are being made.
  submit_some(until_ns);
  if (notified) collect_due_ = true;
  if (rest_ == nullptr && std::exchange(collect_due_, false))
    rest_ = returned_.exchange(nullptr, std::memory_order_acq_rel);
  while (rest_ != nullptr && !out_of_time(until_ns)) {
    PortItem* item = rest_;
    rest_ = item->next;
    collect(item);
    if ((outstanding_ & 127) == 0) submit_some(until_ns);
  }
  if (rest_ == nullptr) submit_some(until_ns);
  return rest_ != nullptr || collect_due_ || can_submit();
}

void Batch::stop() noexcept {
  if (stopping_) return;
  stopping_ = true;
  const Py_ssize_t window = count_ < kWindow ? count_ : kWindow;
  for (Py_ssize_t i = 0; i < window; ++i) window_[static_cast<std::size_t>(i)].work.request_stop();
}

PyObject* Batch::take() {
  if (exception_ != nullptr) {
    restore_exception(std::exchange(exception_, nullptr));
    return nullptr;
  }
  if (stopping_) {
    set_error(Error(ErrorCode::kStopped, "stopped"));
    return nullptr;
  }
  return std::exchange(results_, nullptr);
}

// ---- sha256_many
// ----------------------------------------------------------------------------------------------------------------

class ManyCore final : public Core, public Batch {
 public:
  ManyCore() noexcept {
    progress_.self = this;
    again_.self = this;
    progress_.deliver = turn;
    again_.deliver = again;
  }

  bool start() override {
    // over(): nothing to wait for, an empty list, or all refused.
    if (advance(runtime::now_ns() + kSliceNs, false) || over()) come_again();
    return true;
  }
  StopResult stop() noexcept override {
    Batch::stop();
    if (over()) come_again();
    return StopResult::kRequested;
  }
  void drop_input() noexcept override { Batch::drop_input(); }
  PyObject* take_value() override { return take(); }

 private:
  struct Turn : PortItem {
    ManyCore* self = nullptr;
  };
  static void turn(PortItem* item) { static_cast<Turn*>(item)->self->take_turn(true); }
  static void again(PortItem* item) {
    ManyCore* self = static_cast<Turn*>(item)->self;
    self->again_queued_ = false;
    self->take_turn(false);
  }

  void notify() noexcept override {  // [worker]
    port->port->accept(&progress_, &progress_);
  }

  void come_again() noexcept {
    if (std::exchange(again_queued_, true)) return;
    port->port->accept(&again_, &again_);
  }

  void take_turn(bool notified) {
    if (advance(runtime::now_ns() + kSliceNs, notified)) return come_again();
    // progress_ is on its way only while something is outstanding; again_ must have come back, too.
    if (over() && !again_queued_) deliver_core(this);
  }

  Turn progress_;
  Turn again_;
  bool again_queued_ = false;
};

// ---- batch_hash
// -----------------------------------------------------------------------------------------------------------------

class BlockingBatch final : public Batch {
 public:
  // Between SaveThread and RestoreThread: no destructor, no catch, no noexcept (see py_compute_sha256).
  void wait_without_gil(std::uint32_t seen) {
    PyThreadState* state = PyEval_SaveThread();
    if (signals_.load(std::memory_order_acquire) == seen) runtime::futex_wait(&signals_, seen, 50'000'000);
    PyEval_RestoreThread(state);
  }
  [[nodiscard]] std::uint32_t signals() const noexcept { return signals_.load(std::memory_order_acquire); }
  /// True once no worker is inside notify() any more.
  [[nodiscard]] bool quiet() const noexcept { return leaving_.load(std::memory_order_acquire) == signals(); }

 private:
  void notify() noexcept override {  // [worker]
    signals_.fetch_add(1, std::memory_order_release);
    runtime::futex_wake(&signals_, 1);
    leaving_.fetch_add(1, std::memory_order_release);
  }

  std::atomic<std::uint32_t> signals_{0};  ///< futex word
  std::atomic<std::uint32_t> leaving_{0};
};

bool concurrency_argument(PyObject* object, bool may_be_none, long* value) {
  *value = 1 << 20;
  if (may_be_none && (object == nullptr || object == Py_None)) return true;
  if (!PyLong_Check(object) || PyBool_Check(object)) {
    PyErr_Format(PyExc_TypeError, "max_concurrent must be an int, not %R", type_name(object).get());
    return false;
  }
  int overflow = 0;
  const long number = PyLong_AsLongAndOverflow(object, &overflow);
  if (overflow < 0 || (overflow == 0 && number <= 0)) {
    PyErr_Format(PyExc_ValueError, "max_concurrent must be greater than 0, got %S", object);
    return false;
  }
  if (overflow == 0 && number < *value) *value = number;
  return true;
}

}  // namespace

PyObject* py_sha256_many(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_Format(PyExc_TypeError, "sha256_many() takes payloads and max_concurrent, got %zd arguments", count);
    return nullptr;
  }
  long limit = 0;
  if (!concurrency_argument(arguments[1], true, &limit)) return nullptr;
  auto* core = new (std::nothrow) ManyCore;
  if (core == nullptr) return PyErr_NoMemory();
  if (!core->prepare(arguments[0], limit)) {
    delete core;
    return nullptr;
  }
  return new_operation(core, "sha256_many");
}

PyObject* py_batch_hash(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_Format(PyExc_TypeError, "batch_hash() takes payloads and max_concurrent, got %zd arguments", count);
    return nullptr;
  }
  long limit = 0;
  if (!concurrency_argument(arguments[1], false, &limit)) return nullptr;
  auto* batch = new (std::nothrow) BlockingBatch;
  if (batch == nullptr) return PyErr_NoMemory();
  if (!batch->prepare(arguments[0], limit)) {
    delete batch;
    return nullptr;
  }
  PyObject* interrupted = nullptr;
  std::uint32_t handled = 0;
  while (true) {
    const std::uint32_t seen = batch->signals();
    const bool more = batch->advance(0, seen != handled);
    handled = seen;
    if (batch->over()) break;
    if (more) continue;
    batch->wait_without_gil(seen);
    if (interrupted == nullptr && PyErr_CheckSignals() < 0) {
      interrupted = take_exception();
      batch->stop();
    }
  }
  while (!batch->quiet()) ::sched_yield();
  PyObject* result = nullptr;
  if (interrupted != nullptr) {
    restore_exception(interrupted);
  } else {
    result = batch->take();
  }
  delete batch;
  return result;
}

}  // namespace offloop::python
