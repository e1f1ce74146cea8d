// One worker thread of the pool and what only it writes.
#pragma once

#include <atomic>
#include <cstdint>

#include "offloop/runtime/atomics.h"
#include "offloop/runtime/histogram.h"
#include "offloop/runtime/work.h"
#include "parking.h"
#include "placement.h"
#include "sleep_wake.h"

namespace offloop::runtime {

class Pool;

/// A counter with one writer: a plain add, readable from anywhere.
class Tally {
 public:
  void add(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// The protocol's sleep and wake are a futex's.
struct FutexParking {
  static void wait(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    futex_wait(&word, expected, -1);
  }
  static void wake(std::atomic<std::uint32_t>& word) noexcept { futex_wake(&word, 1); }
  template <class Sleeper>
  static void place(Sleeper& sleeper) noexcept;
};
using Wakefulness = SleepWake<StdAtomics, Work, FutexParking>;

class alignas(64) Worker : public Wakefulness::Sleeper {
 public:
  Worker(Pool* owner, unsigned number, Placement& placement) noexcept : pool(owner), index(number), seat(placement) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  Pool* const pool;
  const unsigned index;
  bool running = false;  ///< a thread runs it, and will not leave; guarded by Pool::Impl::threads_mutex

  Seat seat;  ///< reserve(): under the lock of the idle list; else only this worker

  Tally done, stopped, failed, bytes, quanta, lanes;
  Histogram queue_ns, run_ns;
};

template <class Sleeper>
void FutexParking::place(Sleeper& sleeper) noexcept {
  static_cast<Worker&>(sleeper).seat.reserve();
}

}  // namespace offloop::runtime
