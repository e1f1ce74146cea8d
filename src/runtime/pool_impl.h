// The pool's state: what is shared, and under which rule.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "offloop/runtime/fork.h"
#include "offloop/runtime/pool.h"
#include "worker.h"

namespace offloop::runtime {

/// A queue longer than this many nanoseconds of work for each awake worker wakes another one: a futex wake costs the
/// waker 2-5 us on a virtual machine, and the woken worker some 30 us until it runs (DESIGN "Runtime").
inline constexpr std::int64_t kWakeBacklogNs = 50'000;
/// How long the last worker looks for work before it sleeps; a lone await costs about 20 us instead of 35-66.
inline constexpr std::int64_t kSpinNs = 50'000;
/// Who has submitted something so recently is taken to be still running (Impl::wake_for_share).
inline constexpr std::int64_t kSubmitterBusyNs = 30'000;

// Sleep and wake. A submitter pushes to `inbox` and then reads `prompt` and `sleeping`; a worker that gives up writes
// `prompt` and `sleeping` and then reads `inbox` and `runnable`. All of these are seq_cst, so at least one of the two
// sees the other (Dekker): work is never queued while all who could take it sleep and nobody wakes them. Sequentially
// consistent operations instead of relaxed ones and a fence: the same instructions on x86-64, and ThreadSanitizer knows
// them.
struct Pool::Impl {
  explicit Impl(Pool* owner) noexcept : pool(owner) {}

  Pool* const pool;
  const std::uint32_t generation = fork_generation();  ///< after a fork this pool is a picture of the parent's
  alignas(64) std::atomic<Work*> inbox{nullptr};  ///< what was submitted, newest first; anyone pushes, workers take all
  alignas(64) std::atomic<std::int64_t> backlog_ns{0};  ///< estimated cost of what no worker has taken
  std::atomic<std::int64_t> last_submit_ns{0};
  const unsigned cpus = available_cpus();
  alignas(64) std::atomic<std::uint32_t> prompt{0};  ///< workers that look at the queue again within a quantum
  std::atomic<std::uint32_t> sleeping{0};            ///< workers in the idle list
  std::atomic<std::uint32_t> runnable{0};            ///< groups in the ring; written under mutex
  std::atomic<bool> spinning{false};                 ///< a worker spins: at most one does
  std::atomic<bool> closed{false};
  std::atomic<std::uint32_t> live{0};    ///< worker threads that have not returned; a futex word
  std::atomic<std::uint32_t> target{0};  ///< workers with an index at or above this one leave
  std::atomic<std::uint64_t> wakes{0};

  std::mutex mutex;             ///< guards the groups' queues, the ring and the two counts below
  std::uint64_t waiting = 0;    ///< works in the groups' queues
  std::uint64_t held = 0;       ///< works in the hands of workers
  Group* ring_first = nullptr;  ///< groups with waiting works and room for another worker, each in once
  Group* ring_last = nullptr;

  std::mutex idle_mutex;         ///< guards the idle list; no lock is taken inside it
  Worker* idle_first = nullptr;  ///< last to sleep is first to wake: its caches are warm

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
  bool has_work() const noexcept;
  void idle(Worker& worker) noexcept;
  void run(Worker& worker) noexcept;
  bool leaves(Worker& worker) noexcept;
  // [any thread]
  void wake_if_behind() noexcept;
  void wake_for_share(std::int64_t now) noexcept;
  void wake_one() noexcept;
  void wake_all() noexcept;
  void close() noexcept;
  bool start_threads(unsigned n) noexcept;     // under threads_mutex inside
  bool start_thread(Worker& worker) noexcept;  // under threads_mutex
};

}  // namespace offloop::runtime
