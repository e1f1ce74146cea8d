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

/// Works at a time, in 1.3 MB. Half of them are out while the loop is called for the other half: that must last the
/// workers until it comes, 100 to 300 us on a virtual machine.
constexpr Py_ssize_t kWindow = 4096;
/// Handed to the pool together.
constexpr unsigned kChain = 32;
/// How long one turn on the loop may last.
constexpr std::int64_t kSliceNs = 800'000;  // the promise is 1 ms: a turn looks at the clock every few messages

struct Item {
  hash::Sha256Work work;
  Buffer buffer;  ///< empty for bytes, which the tuple keeps alive and nobody can resize
  Py_ssize_t index = 0;
  Item* next_free = nullptr;
};

/// The messages of one call. All but accept() and request_stop() is for one thread at a time: the loop's, or the
/// caller's.
class Batch : public runtime::Sink {
 public:
  Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  virtual ~Batch() {
    // All has come back and the last notify() has been heard, so nobody is before it any more: only its last
    // instructions.
    while (inside_.load(std::memory_order_acquire) != 0) ::sched_yield();
    Py_XDECREF(payloads_);
    Py_XDECREF(results_);
    Py_XDECREF(exception_);
  }

  /// Checks every payload before anything is queued. False with an exception set.
  bool prepare(PyObject* payloads, long max_concurrent);
  /// Submits what the window has room for and makes results of what has come back, until `until_ns` (0: without limit).
  /// True when there is more to do right now; else a notify() will come, unless all is over. `notified`: one has come
  /// since the last call.
  bool advance(std::int64_t until_ns, bool notified);
  /// Nothing more is submitted; what is queued will not run. Takes effect at once in the pool, and here with the next
  /// advance(). [any thread]
  void request_stop() noexcept {
    stop_requested_.store(true, std::memory_order_release);
    for (Py_ssize_t i = 0; i < window(); ++i) window_[static_cast<std::size_t>(i)].work.request_stop();
  }
  /// Everything is done and no notify() is on its way: the batch may die.
  [[nodiscard]] bool over() const noexcept {
    return !armed_ && outstanding_ == 0 && (stopping_ || submitted_ == count_);
  }
  /// For one that is never started.
  void drop_input() noexcept { Py_CLEAR(payloads_); }
  /// The list, or null with the exception set.
  PyObject* take();

  void accept(PortItem* first, PortItem* last) noexcept final {  // [worker]
    std::int64_t n = 1;
    for (const PortItem* item = first; item != last; item = item->next) ++n;
    inside_.fetch_add(1, std::memory_order_relaxed);  // seen by whoever sees what the next lines push
    PortItem* head = returned_.load(std::memory_order_relaxed);
    do {
      last->next = head;
    } while (!returned_.compare_exchange_weak(head, first, std::memory_order_acq_rel, std::memory_order_relaxed));
    // The one that brings the count down to zero, once for each arm(). After the push: what is counted can be
    // collected.
    const std::int64_t due = due_.fetch_sub(n, std::memory_order_acq_rel);
    if (due > 0 && due <= n) notify();
    inside_.fetch_sub(1, std::memory_order_release);
  }

 protected:
  /// As many have come back as arm() asked for. [worker]
  virtual void notify() noexcept = 0;

 private:
  void stop() noexcept;
  [[nodiscard]] Py_ssize_t window() const noexcept { return count_ < kWindow ? count_ : kWindow; }
  bool set_message(Item& item);
  void submit_some(std::int64_t until_ns);
  void arm() noexcept;
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
  bool armed_ = false;      // a notify() will come, or has come and was not heard yet
  std::int64_t aimed_ = 0;  // the sum of what arm() has added to due_
  std::atomic<bool> stop_requested_{false};
  alignas(64) std::atomic<PortItem*> returned_{nullptr};
  std::atomic<std::int64_t> due_{0};  // aimed_ less what has ever come back
  std::atomic<int> inside_{0};        // workers in accept()
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
  window_.reset(new (std::nothrow) Item[static_cast<std::size_t>(window())]);
  if (window_ == nullptr) {
    PyErr_NoMemory();
    return false;
  }
  for (Py_ssize_t i = 0; i < window(); ++i) {
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

/// The next payload as the item's message. False with an exception set.
bool Batch::set_message(Item& item) {
  PyObject* payload = PyTuple_GetItem(payloads_, submitted_);
  ByteSpan message;
  if (PyBytes_CheckExact(payload)) {
    char* data = nullptr;
    Py_ssize_t size = 0;
    PyBytes_AsStringAndSize(payload, &data, &size);
    message = {reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)};
  } else {
    if (!item.buffer.hold(payload) || !item.buffer.acquire()) {
      item.buffer.release();
      return false;
    }
    message = item.buffer.span();
  }
  item.work.set_message(message, *group_);
  item.index = submitted_++;
  return true;
}

void Batch::submit_some(std::int64_t until_ns) {
  runtime::Pool* pool = runtime::Pool::instance();
  while (can_submit()) {
    runtime::Work* first = nullptr;
    runtime::Work* last = nullptr;
    unsigned n = 0;
    for (; n < kChain && can_submit(); ++n) {
      Item* item = free_;
      if (!set_message(*item)) {
        exception_ = take_exception();
        stop();
        break;
      }
      free_ = item->next_free;
      hash::Sha256Work& work = item->work;
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
  set_not_submitted(runtime::Pool::instance_if_started() != nullptr);
  exception_ = take_exception();
  stop();
  std::int64_t n = 0;
  for (; item != nullptr; ++n) {
    PortItem* next = item->next;
    collect(item);
    item = next;
  }
  // Counted as come back; what this brings down to zero nobody else will report.
  const std::int64_t due = due_.fetch_sub(n, std::memory_order_acq_rel);
  if (due > 0 && due <= n) armed_ = false;
}

bool Batch::advance(std::int64_t until_ns, bool notified) {
  if (stop_requested_.load(std::memory_order_acquire)) stop();
  if (notified) armed_ = false;
  // Submit first: the workers are never left without work while results are being made.
  submit_some(until_ns);
  if (rest_ == nullptr) rest_ = returned_.exchange(nullptr, std::memory_order_acq_rel);
  while (rest_ != nullptr && !out_of_time(until_ns)) {
    PortItem* item = rest_;
    rest_ = item->next;
    collect(item);
    if ((outstanding_ & 127) == 0) submit_some(until_ns);
  }
  if (rest_ == nullptr) submit_some(until_ns);
  if (rest_ != nullptr || can_submit()) return true;
  if (armed_ || outstanding_ == 0) return false;
  arm();
  return !armed_;
}

/// Asks for one notify() when half of what is out has come back. Called when all that had come back was collected.
void Batch::arm() noexcept {
  const std::int64_t collected = submitted_ - outstanding_;
  const std::int64_t aim = collected + (outstanding_ + 1) / 2;
  const std::int64_t more = aim - aimed_;
  aimed_ = aim;
  armed_ = due_.fetch_add(more, std::memory_order_acq_rel) + more > 0;  // else they are back already
}

void Batch::stop() noexcept {
  if (stopping_) return;
  stopping_ = true;
  request_stop();
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
    request_stop();
    come_again();  // the loop's thread does the rest
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
    self->again_state_.store(Again::kIdle, std::memory_order_seq_cst);
    self->take_turn(false);
  }

  void notify() noexcept override {  // [worker]
    port->port->accept(&progress_, &progress_);
  }

  void come_again() noexcept {  // [any thread]
    Again idle = Again::kIdle;
    if (again_state_.compare_exchange_strong(idle, Again::kQueued, std::memory_order_seq_cst))
      port->port->accept(&again_, &again_);
  }

  void take_turn(bool notified) {
    if (advance(runtime::now_ns() + kSliceNs, notified)) return come_again();
    // progress_ is on its way only while armed; again_ must have come back, too, and not go out again.
    Again idle = Again::kIdle;
    if (over() && again_state_.compare_exchange_strong(idle, Again::kNeverMore, std::memory_order_seq_cst))
      deliver_core(this);
  }

  enum class Again : std::uint8_t { kIdle, kQueued, kNeverMore };

  Turn progress_;
  Turn again_;
  std::atomic<Again> again_state_{Again::kIdle};
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

 private:
  void notify() noexcept override {  // [worker]
    signals_.fetch_add(1, std::memory_order_release);
    runtime::futex_wake(&signals_, 1);
  }

  std::atomic<std::uint32_t> signals_{0};  ///< futex word
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
      batch->request_stop();
    }
  }
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
