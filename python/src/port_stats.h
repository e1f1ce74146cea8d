// Counters of the loop side, for offloop.stats().
#pragma once

#include <atomic>
#include <cstdint>

#include "offloop/runtime/histogram.h"
#include "sync.h"

namespace offloop::python {

/// Written with bump() only.
struct PortStats {
  std::atomic<std::uint64_t> drains{0};
  std::atomic<std::uint64_t> parked{0};   ///< operations that wait for a slot now
  std::atomic<std::uint64_t> inlined{0};  ///< operations that ran on the loop at once
  runtime::Histogram deliver_ns;          ///< end on the worker to delivery on the loop
};

/// With the GIL nobody else writes: no atomic addition is needed.
inline void bump(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) noexcept {
  if constexpr (kFreeThreaded) {
    counter.fetch_add(by, std::memory_order_relaxed);
  } else {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
}

PortStats& port_stats() noexcept;
/// Operations that count towards max_pending now.
std::uint32_t operations_in_flight() noexcept;

}  // namespace offloop::python
