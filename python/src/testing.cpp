// Operations for tests: one that only burns time, as a plain task of the pool, and one whose task throws.
#include "testing.h"

#include <cerrno>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

#include "core.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"

namespace offloop::python {
namespace {

using runtime::Outcome;

class SpinCore final : public Core, private runtime::TaskWork {
 public:
  SpinCore(std::int64_t duration_ns, bool cooperative) noexcept
      : duration_ns_(duration_ns), cooperative_(cooperative) {}

  bool start() override {
    runtime::Pool* pool = runtime::Pool::instance();
    if (pool == nullptr) {
      set_not_submitted(false);
      return false;
    }
    runtime::Work& work = *this;
    work.group = &runtime::plain_group();
    work.cost_ns = 100'000;  // enough to make waking another worker worth while
    work.sink = port->port;
    work.deliver = [](runtime::PortItem* item) { deliver_core(static_cast<SpinCore*>(item)); };
    if (pool->submit(this)) return true;
    set_not_submitted(true);
    return false;
  }

  StopResult stop() noexcept override {
    if (try_stop_queued()) return StopResult::kNeverRan;
    if (ended()) return StopResult::kTooLate;
    request_stop();
    return StopResult::kRequested;
  }

  bool run_here() override {
    run_task();
    return true;
  }

  PyObject* take_value() override {
    if (outcome == Outcome::kValue) return Ref::to(Py_None).release();
    set_error(Error(ErrorCode::kStopped, "stopped"));
    return nullptr;
  }

  [[nodiscard]] std::int64_t ended_ns() const noexcept override { return runtime::Work::ended_ns; }
  [[nodiscard]] CoreRun run() const noexcept override {
    return {runtime::Work::submitted_ns, runtime::Work::started_ns, runtime::Work::worker};
  }

 private:
  void run_task() noexcept override {  // [worker, or the loop for when_full="inline"]
    const std::int64_t until = runtime::now_ns() + duration_ns_;
    outcome = Outcome::kValue;
    while (runtime::now_ns() < until) {
      if (cooperative_ && stop_requested()) {
        outcome = Outcome::kStopped;
        return;
      }
      for (int i = 0; i < 1000; ++i) asm volatile("" ::: "memory");  // about a third of a microsecond
    }
  }

  const std::int64_t duration_ns_;
  const bool cooperative_;
};

enum class Thrown { kBadAlloc, kSystemError, kRuntimeError, kNoException };

void throw_one(Thrown kind) {
  switch (kind) {
    case Thrown::kBadAlloc:
      throw std::bad_alloc();
    case Thrown::kSystemError:
      throw std::system_error(ENOSPC, std::generic_category(), "writing");
    case Thrown::kRuntimeError:
      throw std::runtime_error("no such luck");
    case Thrown::kNoException:
      throw 42;
  }
}

/// Runs in the way of a function that knows nothing of Python: spawn() and a callback.
class ThrowCore final : public Core, private runtime::PortItem {
 public:
  explicit ThrowCore(Thrown kind) noexcept : kind_(kind) {
    deliver = [](runtime::PortItem* item) { deliver_core(static_cast<ThrowCore*>(item)); };
  }
  bool start() override {
    try {
      spawn([kind = kind_](StopToken) -> Result<Unit> {
        throw_one(kind);
        return Unit{};
      }).then([this, sink = port->port](Result<Unit>& result) noexcept {
        result_.emplace(std::move(result));
        sink->accept(this, this);
      });
      return true;
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
      return false;
    }
  }
  StopResult stop() noexcept override { return StopResult::kRequested; }
  PyObject* take_value() override {
    if (result_->ok()) return Ref::to(Py_None).release();
    set_error(result_->error());
    return nullptr;
  }

 private:
  const Thrown kind_;
  std::optional<Result<Unit>> result_;
};

}  // namespace

PyObject* py_spin(PyObject*, PyObject* arguments) {
  double seconds = 0;
  int cooperative = 1;
  if (!PyArg_ParseTuple(arguments, "dp:spin", &seconds, &cooperative)) return nullptr;
  if (!(seconds >= 0 && seconds <= 86'400)) {
    PyErr_SetString(PyExc_ValueError, "seconds must be between 0 and 86400");
    return nullptr;
  }
  auto* core = new (std::nothrow) SpinCore(static_cast<std::int64_t>(seconds * 1e9), cooperative != 0);
  if (core == nullptr) return PyErr_NoMemory();
  return new_operation(core, "spin");
}

PyObject* py_throw(PyObject*, PyObject* kind) {
  constexpr struct {
    const char* name;
    Thrown kind;
  } kKinds[] = {{"bad_alloc", Thrown::kBadAlloc},
                {"system_error", Thrown::kSystemError},
                {"runtime_error", Thrown::kRuntimeError},
                {"int", Thrown::kNoException}};
  for (const auto& [name, thrown] : kKinds) {
    if (!PyUnicode_Check(kind) || PyUnicode_CompareWithASCIIString(kind, name) != 0) continue;
    auto* core = new (std::nothrow) ThrowCore(thrown);
    if (core == nullptr) return PyErr_NoMemory();
    return new_operation(core, "_throw");
  }
  PyErr_Format(PyExc_ValueError, "unknown kind: %R", kind);
  return nullptr;
}

}  // namespace offloop::python
