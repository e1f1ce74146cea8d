// Counters of the loop side, for offloop.stats().
#pragma once

#include <atomic>
#include <cstdint>

#include "offloop/runtime/histogram.h"

namespace offloop::python {

/// Written under the GIL.
struct PortStats {
  std::atomic<std::uint64_t> drains{0};
  std::atomic<std::uint64_t> parked{0};   ///< operations that wait for a slot now
  std::atomic<std::uint64_t> inlined{0};  ///< operations that ran on the loop at once
  std::int64_t drain_started_ns = 0;
  runtime::Histogram deliver_ns;  ///< end on the worker to delivery on the loop
};

PortStats& port_stats() noexcept;
/// Operations that count towards max_pending now.
std::uint32_t operations_in_flight() noexcept;

}  // namespace offloop::python
