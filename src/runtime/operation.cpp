#include "offloop/runtime/operation.h"

#include <algorithm>

#include "offloop/runtime/clock.h"
#include "parking.h"

namespace offloop::runtime {
namespace {

char g_completed;  // its address marks a waiter slot whose operation has ended

class PlainGroup final : public Group {
 public:
  constexpr PlainGroup() noexcept : Group("plain", 1) { prompt = false; }
  void run(Quantum& q) noexcept override {
    auto& task = static_cast<TaskWork&>(*q.works[0]);
    task.run_task();
    q.end(0, task.outcome);
  }
  ~PlainGroup() = default;
};

// Made by the compiler: a function's static would be made on first use, under a lock that a fork can leave locked. It
// has no destructor that would run at exit.
constinit PlainGroup g_plain_group;

}  // namespace

Group& plain_group() noexcept {
  return g_plain_group;
}

Error task_error(ErrorCode code, const char* message, int system) noexcept {
  try {
    return Error(code, message, {}, system);
  } catch (const std::bad_alloc&) {
    Error error;
    error.code = ErrorCode::kOutOfMemory;
    return error;
  }
}

void OperationBase::accept(PortItem* first, PortItem* last) noexcept {
  (void)last;  // each operation is its own sink: the chain is one work
  ended(*static_cast<Work*>(first));
  complete();
}

void OperationBase::complete() noexcept {
  done_.store(1, std::memory_order_release);
  futex_wake(&done_, 1 << 30);
  if (void* context = waiter_.exchange(&g_completed, std::memory_order_acq_rel); context != nullptr) callback_(context);
  unref();
}

void OperationBase::on_done(void (*fn)(void*) noexcept, void* context) noexcept {
  callback_ = fn;
  void* expected = nullptr;
  if (!waiter_.compare_exchange_strong(expected, context, std::memory_order_acq_rel)) fn(context);
}

void OperationBase::wait() noexcept {
  while (done_.load(std::memory_order_acquire) == 0) futex_wait(&done_, 0, -1);
}

bool OperationBase::wait_for(std::int64_t timeout_ns) noexcept {
  constexpr std::int64_t kForever = std::int64_t{1} << 62;  // 146 years; the sum below cannot overflow
  const std::int64_t until = now_ns() + std::min(timeout_ns, kForever);
  while (!done()) {
    const std::int64_t left = until - now_ns();
    if (left <= 0) return false;
    futex_wait(&done_, 0, left);
  }
  return true;
}

void OperationBase::unref() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace offloop::runtime
