// The pool's state: what is shared, and under which rule.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "offloop/runtime/fork.h"
#include "offloop/runtime/pool.h"
#include "submitter.h"
#include "worker.h"

namespace offloop::runtime {

/// How long the last worker looks for work before it sleeps; a lone await costs about 20 us instead of 35-66.
inline constexpr std::int64_t kSpinNs = 50'000;

/// How far long groups can get ahead of prompt ones before that is forgotten.
inline constexpr std::int64_t kMostLongDebtNs = 1'000'000'000;

struct Pool::Impl : Wakefulness {
  explicit Impl(Pool* owner) noexcept : Wakefulness(available_cpus()), pool(owner), placement(cpus) {}

  Pool* const pool;
  const std::uint32_t generation = fork_generation();  ///< after a fork this pool is a picture of the parent's
  Placement placement;
  Submitter submitter;
  std::atomic<bool> spinning{false};        ///< a worker spins: at most one does
  std::atomic<std::uint32_t> live{0};       ///< worker threads that have not returned; a futex word
  std::atomic<std::uint64_t> never_ran{0};  ///< works that were ended because the pool was closed

  std::mutex mutex;             ///< guards the groups' queues, the ring and the two counts below
  std::uint64_t waiting = 0;    ///< works in the groups' queues
  std::uint64_t held = 0;       ///< works in the hands of workers
  Group* ring_first = nullptr;  ///< groups with waiting works and room for another worker, each in once
  Group* ring_last = nullptr;
  std::int64_t long_debt_ns = 0;  ///< see next_ready()
  Group* groups = nullptr;        ///< all that this pool has met and not forgotten

  std::mutex threads_mutex;      ///< guards workers, starting them, and their leaving
  std::vector<Worker*> workers;  ///< never freed: a worker may outlive the pool's end

  // [worker]
  void take_inbox() noexcept;                                            // under mutex
  void enqueue(Work* work) noexcept;                                     // under mutex
  void adopt(Group* group) noexcept;                                     // under mutex
  void make_ready(Group* group) noexcept;                                // under mutex
  void leave_ring(Group* group) noexcept;                                // under mutex
  Group* next_ready() noexcept;                                          // under mutex
  std::int64_t fill(Quantum& q, Group* group, unsigned lanes) noexcept;  // under mutex
  void share_what_waits(std::int64_t now) noexcept;                      // under mutex
  void idle(Worker& worker) noexcept;
  void run(Worker& worker) noexcept;
  bool leaves(Worker& worker) noexcept;
  // [any thread]
  void end_waiting() noexcept;                 // of a closed pool; calls sinks
  bool start_threads(unsigned n) noexcept;     // under threads_mutex inside
  bool start_thread(Worker& worker) noexcept;  // under threads_mutex
};

}  // namespace offloop::runtime
