// Operation<T>: the C++ side of one operation. Wait for it (get), be called (then), or co_await it.
//
//   offloop::Operation<Digest> op = offloop::hash::sha256(bytes);
//   Result<Digest> digest = op.get();                       // block this thread
//   op.then([](Result<Digest>& r) noexcept { ... });        // on the worker that ended it, or here if it has ended
//   Result<Digest> digest = co_await op;                    // resumes on the worker that ended it
//
// One of the three, once. Dropping the handle neither cancels nor waits; the input must live until the operation has
// ended.
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include "offloop/base/counters.h"
#include "offloop/base/result.h"
#include "offloop/runtime/pool.h"
#include "offloop/runtime/work.h"

namespace offloop {

/// What a running task looks at to end early. Copyable, valid as long as the task runs. [worker]
class StopToken {
 public:
  explicit StopToken(const runtime::Work* work) noexcept : work_(work) {}
  [[nodiscard]] bool stop_requested() const noexcept { return work_ != nullptr && work_->stop_requested(); }

 private:
  const runtime::Work* work_;
};

namespace runtime {

/// Type-independent half of the shared state: who waits, and how many hold it. The pool and the handle hold one
/// reference each.
class OperationBase : public Sink {
 public:
  OperationBase() noexcept { count_made(Counted::kOperation); }
  OperationBase(const OperationBase&) = delete;
  OperationBase& operator=(const OperationBase&) = delete;

  /// Blocks until ended. Not on a worker. [any thread]
  void wait() noexcept;
  /// Blocks at most timeout_ns; true when it has ended. [any thread]
  bool wait_for(std::int64_t timeout_ns) noexcept;
  [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire) != 0; }
  /// Runs fn(context) when ended: at once if it has, else on the thread that ends it. At most one; context is not null.
  /// [any thread]
  void on_done(void (*fn)(void*) noexcept, void* context) noexcept;

  void accept(PortItem* first, PortItem* last) noexcept final;  // [worker]
  /// Publishes: wakes who waits, calls who asked. The value has been set. Drops the pool's reference. [any thread]
  void complete() noexcept;

  void ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept;

 protected:
  virtual ~OperationBase() { count_freed(Counted::kOperation); }
  /// Called once, when the work has come back from the pool, before complete().
  virtual void ended(Work& work) noexcept = 0;

 private:
  std::atomic<std::uint32_t> done_{0};  ///< futex word
  std::atomic<int> refs_{2};
  std::atomic<void*> waiter_{nullptr};  ///< null, the context of a waiter, or kCompleted
  void (*callback_)(void*) noexcept = nullptr;
};

template <class T>
class OperationState : public OperationBase {
 public:
  Result<T> result{Error(ErrorCode::kInternal, "not ended")};  // short: no allocation
  virtual void request_stop() noexcept {}
  [[nodiscard]] virtual const Work* work() const noexcept { return nullptr; }
};

/// The group of plain tasks: one at a time on a worker, as long as they take.
Group& plain_group() noexcept;

/// A function as a work of the plain group.
struct TaskWork : Work {
  virtual void run_task() noexcept = 0;

 protected:
  ~TaskWork() = default;
};

/// An Error; kOutOfMemory when there is no memory for its words. [any thread]
Error task_error(ErrorCode code, const char* message, int system = 0) noexcept;

/// What an operation yields whose function returns R.
template <class R>
struct TaskValue {
  using Type = R;
};
template <class T>
struct TaskValue<Result<T>> {
  using Type = T;
};
template <>
struct TaskValue<void> {
  using Type = Unit;
};

}  // namespace runtime

template <class T>
class Operation {
 public:
  /// Takes over the handle's reference.
  explicit Operation(runtime::OperationState<T>* state) noexcept : state_(state) {}
  Operation(Operation&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Operation& operator=(Operation&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Operation() {
    if (state_ != nullptr) state_->unref();
  }

  /// Blocks until ended and takes the result. kInternal when called on a worker, which could wait for itself. [any
  /// thread]
  Result<T> get() {
    if (!state_->done() && runtime::Pool::on_worker())
      return Error(ErrorCode::kInternal,
                   "Operation::get() on a worker would wait for a worker: use then() or co_await");
    state_->wait();
    return std::move(state_->result);
  }
  [[nodiscard]] bool done() const noexcept { return state_->done(); }
  /// True when it ended within the time. [any thread]
  bool wait_for(std::int64_t timeout_ns) noexcept { return state_->wait_for(timeout_ns); }
  /// Asks it to end early; it then ends as kStopped unless it was faster. [any thread]
  void request_stop() noexcept { state_->request_stop(); }

  /// What the pool knows of it: when it was submitted, began and ended, and on which worker; null where it does not
  /// say. To be read once it has ended. [any thread]
  [[nodiscard]] const runtime::Work* work() const noexcept { return state_->work(); }

  /// Calls fn(Result<T>&) once it has ended: on the thread that ends it, or here. fn must not throw. [any thread]
  template <class F>
  void then(F fn) {
    struct Call {
      F fn;
      runtime::OperationState<T>* state;
    };
    auto* call = new Call{std::move(fn), state_};
    state_->ref();
    state_->on_done(
        [](void* context) noexcept {
          const std::unique_ptr<Call> owned(static_cast<Call*>(context));
          owned->fn(owned->state->result);
          owned->state->unref();
        },
        call);
  }

  /// then() without an allocation: calls fn(context) once it has ended; get() does not block there. [any thread]
  void on_done(void (*fn)(void*) noexcept, void* context) noexcept { state_->on_done(fn, context); }

  [[nodiscard]] bool await_ready() const noexcept { return state_->done(); }
  void await_suspend(std::coroutine_handle<> waiting) noexcept {
    state_->on_done([](void* address) noexcept { std::coroutine_handle<>::from_address(address).resume(); },
                    waiting.address());
  }
  Result<T> await_resume() noexcept { return std::move(state_->result); }

 private:
  runtime::OperationState<T>* state_;
};

/// Runs fn(StopToken) on the pool. It returns T or Result<T>; an exception becomes an Error (bad_alloc: kOutOfMemory,
/// system_error: kIo with its errno, others: kInternal with what()). On a worker it runs at once, here. [any thread]
template <class F>
auto spawn(F fn) {
  using Returned = std::invoke_result_t<F, StopToken>;
  using T = typename runtime::TaskValue<Returned>::Type;

  struct State final : runtime::OperationState<T>, runtime::TaskWork {
    explicit State(F f) : fn(std::move(f)) {}
    void run_task() noexcept override {
      try {
        if constexpr (std::is_void_v<Returned>) {
          fn(StopToken(this));
          this->result = Unit{};
        } else {
          this->result = fn(StopToken(this));
        }
      } catch (const std::bad_alloc&) {
        this->result = runtime::task_error(ErrorCode::kOutOfMemory, "out of memory in a task");
      } catch (const std::system_error& e) {
        const std::error_category& category = e.code().category();
        const bool has_errno = category == std::generic_category() || category == std::system_category();
        this->result = has_errno ? runtime::task_error(ErrorCode::kIo, e.what(), e.code().value())
                                 : runtime::task_error(ErrorCode::kInternal, e.what());
      } catch (const std::exception& e) {
        this->result = runtime::task_error(ErrorCode::kInternal, e.what());
      } catch (...) {
        this->result = runtime::task_error(ErrorCode::kInternal, "the task threw something that is no std::exception");
      }
      this->outcome = this->result.ok() ? runtime::Outcome::kValue : runtime::Outcome::kError;
    }
    void ended(runtime::Work& ended_work) noexcept override {
      if (ended_work.outcome == runtime::Outcome::kStopped)
        this->result = runtime::task_error(ErrorCode::kStopped, "stopped before it ran");
    }
    void request_stop() noexcept override { runtime::Work::request_stop(); }
    [[nodiscard]] const runtime::Work* work() const noexcept override { return this; }
    F fn;
  };

  auto* state = new State(std::move(fn));
  Operation<T> handle(state);
  if (runtime::Pool::on_worker()) {
    state->run_task();
    state->complete();
    return handle;
  }
  state->group = &runtime::plain_group();
  state->sink = state;
  state->cost_ns = 100'000;  // unknown: more than it takes to make waking another worker worth while
  runtime::Pool* pool = runtime::Pool::instance();
  if (pool == nullptr || !pool->submit(state)) {
    state->result = pool == nullptr ? runtime::task_error(ErrorCode::kOutOfMemory, "no worker thread could be started")
                                    : runtime::task_error(ErrorCode::kPoolClosed, "the pool was shut down");
    state->complete();
  }
  return handle;
}

}  // namespace offloop
