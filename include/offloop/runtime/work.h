// Work: one operation as the runtime sees it, and the two things around it: the group that runs it, the sink it ends
// in.
#pragma once

#include <atomic>
#include <cstdint>

namespace offloop::runtime {

struct Work;
class Group;

/// Set once, at shutdown: every running work then ends at its next stop point.
extern std::atomic<bool> g_stop_all;

/// What waits in a port. Work is one kind of it; progress and stream chunks are others.
struct PortItem {
  PortItem* next = nullptr;
  /// Called by whoever drains the port, on the thread of the loop. May free the item.
  void (*deliver)(PortItem*) = nullptr;
};

/// Where ended work goes. One call for each run of works that ended together, so that a burst costs one wake.
class Sink {
 public:
  /// Takes the chain first..last (linked by `next`, last->next is null). Must not block, must not throw. [any thread]
  virtual void accept(PortItem* first, PortItem* last) noexcept = 0;

 protected:
  ~Sink() = default;
};

/// The life of a work. Queued -> Running -> (Queued again, a quantum later) -> Ended; Queued -> Stopped by
/// try_stop_queued.
enum class Phase : std::uint8_t {
  kIdle,     ///< not with the pool: new, or a stream that waits for its next piece
  kQueued,   ///< in the inbox or in its group's queue
  kRunning,  ///< a worker has it; its input may be read
  kStopped,  ///< stopped while queued: its input is not touched any more; a worker will hand it to the sink
  kEnded     ///< published: the outcome stands, the sink has it or is about to
};

enum class Outcome : std::uint8_t { kNone, kValue, kError, kOutOfMemory, kStopped };

/// Base of everything the pool runs. Not copyable; its owner keeps it alive until the sink has accepted it.
struct Work : PortItem {
  // The first cache line is all that the loop needs of an ended work, beside the result: it comes from another core.
  void* user = nullptr;       ///< for the owner; the runtime does not look at it
  std::int64_t ended_ns = 0;  ///< monotonic, set when it ended
  Sink* sink = nullptr;
  Group* group = nullptr;
  std::int64_t submitted_ns = 0;     ///< monotonic, set by submit
  std::uint32_t cost_ns = 0;         ///< estimate of the work left, for the decision to wake another worker
  Outcome outcome = Outcome::kNone;  ///< valid once Ended
  std::atomic<Phase> phase{Phase::kIdle};
  std::atomic<bool> stop{false};  ///< asked to stop; a running work looks at it at least every 10 ms
  std::uint8_t worker = 0;        ///< 1 + the number of the worker of its first quantum, 255 for all further ones
  std::int64_t started_ns = 0;    ///< monotonic, set at the first quantum; 0 when it never ran

  Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  [[nodiscard]] bool stop_requested() const noexcept {
    return stop.load(std::memory_order_relaxed) || g_stop_all.load(std::memory_order_relaxed);
  }

  /// Takes the work back if no worker has it now: it will not run (again), its input is free at once, and the sink will
  /// receive it later with Outcome::kStopped. False when it runs or has ended. [any thread]
  bool try_stop_queued() noexcept {
    Phase expected = Phase::kQueued;
    // acq: what a worker wrote in an earlier quantum is seen by the caller, who may free the input now.
    return phase.compare_exchange_strong(expected, Phase::kStopped, std::memory_order_acq_rel,
                                         std::memory_order_acquire);
  }

  /// Asks the work to end early. It ends in the sink all the same. [any thread]
  void request_stop() noexcept { stop.store(true, std::memory_order_relaxed); }

  [[nodiscard]] bool ended() const noexcept { return phase.load(std::memory_order_acquire) == Phase::kEnded; }
};

}  // namespace offloop::runtime
