// The process's pool of worker threads for CPU work.
//
// One run queue for all: a free worker takes what waits, runs one quantum, puts the unfinished back. That is the work
// stealing, the fairness, the joining of a running batch and the point where a stop is seen, in one; nobody waits for
// company and nobody hoards. The pool knows no digests, URLs, pixels or Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "offloop/base/result.h"
#include "offloop/runtime/group.h"
#include "offloop/runtime/histogram.h"
#include "offloop/runtime/work.h"

namespace offloop::runtime {

/// What a submit does when max_pending operations are in flight.
enum class WhenFull : std::uint8_t { kWait, kRaise, kInline };

struct PoolOptions {
  unsigned threads = 0;           ///< workers; 0 = default_threads()
  std::uint32_t max_pending = 0;  ///< operations in flight before when_full applies; 0 = 1024 a worker
  WhenFull when_full = WhenFull::kWait;
};

/// Totals since the pool was made. Sums of counters that each have one writer: consistent enough to look at.
struct PoolStats {
  unsigned threads = 0;
  unsigned sleeping = 0;
  std::uint64_t queued = 0;   ///< in the inbox or a queue, estimated
  std::uint64_t running = 0;  ///< in the hands of workers
  std::uint64_t done = 0;
  std::uint64_t stopped = 0;
  std::uint64_t failed = 0;
  std::uint64_t bytes = 0;                           ///< input bytes processed, as the groups report them
  std::uint64_t quanta = 0;                          ///< batches run
  std::uint64_t lanes = 0;                           ///< works in those batches: lanes / quanta is the mean fill
  std::uint64_t wakes = 0;                           ///< futex wakes
  std::uint64_t queue_ns[Histogram::kBuckets] = {};  ///< submit to first quantum
  std::uint64_t run_ns[Histogram::kBuckets] = {};    ///< first quantum to end
};

/// The number of CPUs this process may use: affinity mask and cgroup quota (v1, v2), rounded up, at least 1.
/// OFFLOOP_THREADS wins.
unsigned default_threads() noexcept;
/// The same without OFFLOOP_THREADS.
unsigned available_cpus() noexcept;

class Pool {
 public:
  /// The process's pool; started by the first call, and again by the first call after a fork (the old one is left
  /// alone: its threads do not exist here). Null when no thread can be started. [any thread]
  static Pool* instance() noexcept;
  /// The pool if it was started in this process, else null. Starts nothing. [any thread]
  static Pool* instance_if_started() noexcept;
  /// Changes the settings of the process's pool, before or after it started. [any thread]
  static Result<Unit> configure(const PoolOptions& options);
  static PoolOptions options() noexcept;
  /// Ends the process's pool: refuses new work, stops what is queued, asks what runs to stop, waits at most
  /// `timeout_ns` for the workers, then lets go of them. A later submit fails. Called at exit; safe to call twice. [any
  /// thread but a worker]
  static void shutdown(std::int64_t timeout_ns) noexcept;
  /// Registers shutdown() to run at exit, before anything that was registered earlier. A layer whose library has exit
  /// handlers of its own (OpenSSL) initialises that library first and then calls this. [any thread]
  static void shutdown_at_exit() noexcept;

  /// Queues the n works that start at `first`, linked by `next`, each with group, sink and cost_ns set. Never blocks,
  /// takes no lock. False when the pool was shut down: nothing was queued then. [any thread]
  bool submit(Work* first, std::size_t n = 1) noexcept;

  /// Returns once no worker looks at the group any more; its owner may destroy it then. All its works must have ended,
  /// and none may be submitted meanwhile. Not needed for a group that lives as long as the process. [any thread but a
  /// worker]
  static void forget(Group& group) noexcept;

  [[nodiscard]] unsigned threads() const noexcept;
  [[nodiscard]] PoolStats stats() const noexcept;
  /// True on a worker of any pool: a nested submit runs inline instead, for a worker that waits for a worker can wait
  /// forever.
  static bool on_worker() noexcept;
  /// Adds to the bytes that stats() reports. [worker]
  static void report_bytes(std::uint64_t n) noexcept;

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  friend class Quantum;
  friend class Worker;
  struct Impl;
  Pool();
  ~Pool() = default;  // never called: the pool is leaked, its threads may outlive main()

  bool acquire(Quantum& q) noexcept;
  void give_back(Quantum& q) noexcept;
  Impl* impl_;
};

}  // namespace offloop::runtime
