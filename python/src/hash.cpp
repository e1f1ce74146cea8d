// offloop.hashing: one message or one file, one operation.
#include "hash.h"

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "buffer.h"
#include "core.h"
#include "offloop/hash/file_reader.h"
#include "offloop/hash/hash.h"
#include "offloop/hash/stream.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/pool.h"
#include "port_stats.h"
#include "trace.h"

namespace offloop::python {
namespace {

using hash::Algorithm;
using hash::Digest;
using runtime::Outcome;

// When to hash on the loop at once (docs/design/bridge.md). Handing over and coming back costs the loop 1 to 2 us, so a
// message that costs less is not worth it; but a task that awaits nothing else would never let the loop turn, so after
// 100 us of such work the next operation lets it, once, when it is awaited.
constexpr std::int64_t kAlwaysInlineNs = 1'500;
constexpr std::int64_t kInlineBetweenTurnsNs = 100'000;
// Larger ones may run inline while there is credit: a lone await then costs its hashing instead of 20 to 50 us of
// waiting. 20 us at most, refilled at 2 % of the time: a loop cannot spend more than that on them.
constexpr std::int64_t kCreditNs = 20'000;
constexpr std::int64_t kCreditShare = 50;

enum class Where : std::uint8_t { kPool, kHere, kHereThenTurn };

/// Where a message of so many bytes is hashed, and whether who awaits it has to let the loop turn first.
Where where_to_hash(LoopPort* lp, std::size_t bytes) {
  static const std::size_t always = hash::sha256_bytes_within(kAlwaysInlineNs - 200);  // 200 ns: padding and the call
  static const std::size_t most = hash::sha256_bytes_within(kCreditNs);
  if (bytes > most) return Where::kPool;
  static const double ns_per_byte = 1.0 / static_cast<double>(hash::sha256_bytes_within(1'000'000)) * 1e6;
  const auto cost = static_cast<std::int64_t>(static_cast<double>(bytes + 128) * ns_per_byte);
  if (bytes > always) {
    const std::int64_t now = runtime::now_ns();
    lp->inline_credit_ns = std::min(kCreditNs, lp->inline_credit_ns + (now - lp->credit_at_ns) / kCreditShare);
    lp->credit_at_ns = now;
    if (lp->inline_credit_ns < cost) return Where::kPool;
    lp->inline_credit_ns -= cost;
  }
  lp->inline_ns += cost + 100;
  if (lp->inline_ns < kInlineBetweenTurnsNs) return Where::kHere;
  lp->inline_ns = 0;
  return Where::kHereThenTurn;
}

PyObject* stopped() {
  set_error(Error(ErrorCode::kStopped, "stopped"));
  return nullptr;
}

struct FreeCore {
  FreeCore* next;
};
#ifdef Py_GIL_DISABLED
constexpr unsigned kMaxFreeCores = 0;  // no lock guards the list
#else
constexpr unsigned kMaxFreeCores = 2048;  // as many as are in flight on two cores; 0.6 MB
#endif
FreeCore* g_free_cores = nullptr;
unsigned g_free_core_count = 0;

/// A message in a buffer.
class MessageCore final : public Core {
 public:
  MessageCore(const Algorithm& algorithm, Form form) noexcept : algorithm_(algorithm), form_(form) {}

  Buffer buffer;

  // Recycled: a burst makes and frees thousands of them, more than the allocator's own cache holds. Under the GIL.
  static void* operator new(std::size_t size, const std::nothrow_t& tag) noexcept {
    if (g_free_cores == nullptr) return ::operator new(size, tag);
    --g_free_core_count;
    return std::exchange(g_free_cores, g_free_cores->next);
  }
  static void operator delete(void* memory) noexcept {
    if (g_free_core_count >= kMaxFreeCores) return ::operator delete(memory);
    ++g_free_core_count;
    g_free_cores = new (memory) FreeCore{g_free_cores};
  }

  bool start() override {
    if (!buffer.acquire()) return false;
    runtime::Pool* pool = runtime::Pool::instance();
    if (algorithm_.has_lanes()) {
      sha256_.set_message(buffer.span(), hash::sha256_group());
      work_ = &sha256_;
    } else {
      other_ = hash::make_stream(algorithm_);
      if (other_ != nullptr) hash::set_stream_span(*other_, buffer.span(), true);
      work_ = other_.get();
    }
    if (work_ == nullptr || pool == nullptr) {
      PyErr_NoMemory();
      return false;
    }
    work_->sink = port->port;
    work_->user = this;
    work_->deliver = [](runtime::PortItem* item) {
      deliver_core(static_cast<MessageCore*>(static_cast<runtime::Work*>(item)->user));
    };
    if (pool->submit(work_)) return true;
    buffer.release();
    set_not_submitted(true);
    return false;
  }

  StopResult stop() noexcept override {
    if (work_ == nullptr) return StopResult::kRequested;  // start() is still taking the buffer
    if (work_->try_stop_queued()) {
      buffer.release();
      return StopResult::kNeverRan;
    }
    if (work_->ended()) return StopResult::kTooLate;
    work_->request_stop();
    return StopResult::kRequested;
  }

  void drop_input() noexcept override { buffer.release(); }

  bool run_here() override {
    if (!buffer.acquire()) {
      PyErr_Clear();
      return false;
    }
    const std::optional<Digest> digest = hash::digest_now(buffer.span(), algorithm_);
    sha256_.outcome = digest ? Outcome::kValue : Outcome::kError;
    if (digest) sha256_.digest = *digest;
    work_ = &sha256_;
    return true;
  }

  PyObject* take_value() override {
    buffer.release();
    if (work_->outcome == Outcome::kValue) return digest_object(work_->digest, form_);
    if (work_->outcome == Outcome::kStopped) return stopped();
    if (work_->outcome == Outcome::kOutOfMemory) return PyErr_NoMemory();
    PyErr_Format(PyExc_RuntimeError, "OpenSSL failed to compute %s", algorithm_.name());
    return nullptr;
  }

  [[nodiscard]] std::int64_t ended_ns() const noexcept override { return work_ == nullptr ? 0 : work_->ended_ns; }
  [[nodiscard]] CoreRun run() const noexcept override {
    return work_ == nullptr ? CoreRun{} : CoreRun{work_->submitted_ns, work_->started_ns, work_->worker};
  }

 private:
  const Algorithm& algorithm_;
  const Form form_;
  hash::StreamWork* work_ = nullptr;
  hash::StreamHandle other_;
  hash::Sha256Work sha256_;
};

/// A file, read by the reader threads.
class FileCore final : public Core, private hash::FileJob, private runtime::PortItem {
 public:
  FileCore(std::string path, const Algorithm& algorithm, Form form) : FileJob(std::move(path), algorithm), form_(form) {
    deliver = [](runtime::PortItem* item) { deliver_core(static_cast<FileCore*>(item)); };
  }

  bool start() override {
    sink_ = port->port;
    submitted_ns_ = runtime::now_ns();
    if (FileJob::start()) return true;
    PyErr_SetString(PyExc_MemoryError, "no reader thread could be started");
    return false;
  }
  StopResult stop() noexcept override {
    if (done_.load(std::memory_order_acquire)) return StopResult::kTooLate;
    FileJob::request_stop();
    return StopResult::kRequested;
  }
  PyObject* take_value() override {
    if (result_->ok()) return digest_object(result_->value(), form_);
    set_file_error(result_->error());
    return nullptr;
  }
  [[nodiscard]] std::int64_t ended_ns() const noexcept override { return ended_ns_; }
  [[nodiscard]] CoreRun run() const noexcept override { return {submitted_ns_, started_ns(), 0}; }

 private:
  void ended(Result<Digest> result) noexcept override {
    result_.emplace(std::move(result));
    ended_ns_ = runtime::now_ns();
    done_.store(true, std::memory_order_release);
    sink_->accept(this, this);
  }

  const Form form_;
  runtime::Sink* sink_ = nullptr;
  std::optional<Result<Digest>> result_;
  std::int64_t submitted_ns_ = 0;
  std::int64_t ended_ns_ = 0;
  std::atomic<bool> done_{false};
};

const Algorithm* algorithm_argument(PyObject* object) {
  if (object == nullptr) return &Algorithm::sha256();
  if (!PyUnicode_Check(object)) {
    PyErr_Format(PyExc_TypeError, "algorithm must be a str, not %R", type_name(object).get());
    return nullptr;
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object, &size);
  if (text == nullptr) return nullptr;
  try {
    Result<const Algorithm*> found = Algorithm::find({text, static_cast<std::size_t>(size)});
    if (found.ok()) return found.value();
    set_error(found.error());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

PyObject* message_operation(PyObject* data, const Algorithm& algorithm, Form form, const char* name) {
  LoopPort* lp = running_port();
  if (lp == nullptr && PyErr_Occurred()) return nullptr;
  // Small messages on a running loop: hashed here and now, when that is cheaper than to hand them over.
  if (lp != nullptr && algorithm.has_lanes() && PyBytes_CheckExact(data)) {
    char* bytes = nullptr;
    Py_ssize_t size = 0;
    PyBytes_AsStringAndSize(data, &bytes, &size);
    const Where where = where_to_hash(lp, static_cast<std::size_t>(size));
    if (where != Where::kPool) {
      bump(port_stats().inlined);
      const std::int64_t began = tracing() ? runtime::now_ns() : 0;
      const Digest digest =
          hash::sha256_now({reinterpret_cast<const std::uint8_t*>(bytes), static_cast<std::size_t>(size)});
      if (began != 0) trace_inline(lp, name, began);
      return new_done_operation(lp, digest_object(digest, form), name, where == Where::kHereThenTurn);
    }
  }
  auto* core = new (std::nothrow) MessageCore(algorithm, form);
  if (core == nullptr) return PyErr_NoMemory();
  if (!core->buffer.hold(data)) {
    delete core;
    return nullptr;
  }
  return new_operation_on(lp, core, name);
}

PyObject* file_operation(PyObject* path, const Algorithm& algorithm, Form form, const char* name) {
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(path, &encoded) == 0) return nullptr;
  const Ref owned(encoded);
  char* text = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(encoded, &text, &size) < 0) return nullptr;
  Core* core = nullptr;
  try {
    core = new FileCore(std::string(text, static_cast<std::size_t>(size)), algorithm, form);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  return new_operation(core, name);
}

/// (data, algorithm="sha256"): one positional and one that may be either.
bool two_arguments(const char* function, const char* first, PyObject* const* arguments, Py_ssize_t count,
                   PyObject* keywords, PyObject** data, PyObject** algorithm) {
  *data = count > 0 ? arguments[0] : nullptr;
  *algorithm = count > 1 ? arguments[1] : nullptr;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_Size(keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* key = PyTuple_GetItem(keywords, i);
    PyObject** slot = PyUnicode_CompareWithASCIIString(key, first) == 0         ? data
                      : PyUnicode_CompareWithASCIIString(key, "algorithm") == 0 ? algorithm
                                                                                : nullptr;
    if (slot == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", function, key);
      return false;
    }
    if (*slot != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R", function, key);
      return false;
    }
    *slot = arguments[count + i];
  }
  if (*data == nullptr || count > 2) {
    PyErr_Format(PyExc_TypeError, "%s() takes %s and optionally algorithm, got %zd arguments", function, first,
                 count + named);
    return false;
  }
  return true;
}

using Start = PyObject* (*)(PyObject*, const Algorithm&, Form, const char*);

PyObject* call(const char* function, const char* first, Start start, Form form, PyObject* const* arguments,
               Py_ssize_t count, PyObject* keywords) {
  PyObject* data = nullptr;
  PyObject* name = nullptr;
  if (!two_arguments(function, first, arguments, count, keywords, &data, &name)) return nullptr;
  const Algorithm* algorithm = algorithm_argument(name);
  if (algorithm == nullptr) return nullptr;
  return start(data, *algorithm, form, function);
}

}  // namespace

PyObject* digest_object(const Digest& digest, Form form) {
  if (form == Form::kBytes)
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(digest.bytes), static_cast<Py_ssize_t>(digest.size));
  char text[2 * sizeof digest.bytes];
  write_hex(digest.bytes, digest.size, text);
  return PyUnicode_FromStringAndSize(text, 2 * static_cast<Py_ssize_t>(digest.size));
}

PyObject* py_sha256(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_Size(keywords);
  if (count + named != 1 ||
      (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(keywords, 0), "data") != 0)) {
    PyErr_Format(PyExc_TypeError, "sha256() takes one argument, data; got %zd positional and %zd by keyword", count,
                 named);
    return nullptr;
  }
  return message_operation(arguments[0], Algorithm::sha256(), Form::kHex, "sha256");
}
PyObject* py_digest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call("digest", "data", message_operation, Form::kBytes, arguments, count, keywords);
}
PyObject* py_hexdigest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call("hexdigest", "data", message_operation, Form::kHex, arguments, count, keywords);
}
PyObject* py_file_digest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call("file_digest", "path", file_operation, Form::kBytes, arguments, count, keywords);
}
PyObject* py_file_hexdigest(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call("file_hexdigest", "path", file_operation, Form::kHex, arguments, count, keywords);
}

PyObject* py_algorithms(PyObject*, PyObject*) try {
  const std::vector<std::string> names = Algorithm::names();
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  for (const std::string& name : names) {
    const Ref text(PyUnicode_FromStringAndSize(name.data(), static_cast<Py_ssize_t>(name.size())));
    if (!text || PyList_Append(list.get(), text.get()) < 0) return nullptr;
  }
  return list.release();
} catch (const std::bad_alloc&) {
  return PyErr_NoMemory();
}

// A plain C function between SaveThread and RestoreThread: no destructor, no catch. On 3.13 and older a daemon thread
// that comes back while the interpreter ends is unwound by pthread_exit, which a C++ frame with cleanups turns into an
// abort.
PyObject* py_compute_sha256(PyObject*, PyObject* data) {
  if (!PyObject_CheckBuffer(data)) {
    PyErr_Format(PyExc_TypeError,
                 "data must be a bytes-like object (bytes, bytearray, memoryview, mmap, array), not %R",
                 type_name(data).get());
    return nullptr;
  }
  Py_buffer view;
  if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return nullptr;
  Digest digest;
  const ByteSpan span(static_cast<const std::uint8_t*>(view.buf), static_cast<std::size_t>(view.len));
  // Below 2 KiB giving up the GIL costs more than the hashing (hashlib's HASHLIB_GIL_MINSIZE says the same).
  if (view.len < 2048) {
    digest = hash::sha256_now(span);
  } else {
    PyThreadState* state = PyEval_SaveThread();
    digest = hash::sha256_now(span);
    PyEval_RestoreThread(state);
  }
  PyBuffer_Release(&view);
  return digest_object(digest, Form::kHex);
}

}  // namespace offloop::python
