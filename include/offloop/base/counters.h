// Made and freed, counted in debug builds, so that a test's teardown can assert that the two balance.
#pragma once

#include <atomic>
#include <cstdint>

namespace offloop {

enum class Counted : unsigned { kOperation, kBuffer, kStream, kPort, kTransfer, kChunk, kThread };
inline constexpr unsigned kCountedKinds = 7;

#ifdef OFFLOOP_COUNTERS
inline constexpr bool kCountersOn = true;
/// Live objects of each kind. Never negative when every thread is at rest.
extern std::atomic<std::int64_t> g_live_counts[kCountedKinds];

inline void count_made(Counted kind) noexcept {
  g_live_counts[static_cast<unsigned>(kind)].fetch_add(1, std::memory_order_relaxed);
}
inline void count_freed(Counted kind) noexcept {
  g_live_counts[static_cast<unsigned>(kind)].fetch_sub(1, std::memory_order_relaxed);
}
inline std::int64_t live_count(Counted kind) noexcept {
  return g_live_counts[static_cast<unsigned>(kind)].load(std::memory_order_relaxed);
}
#else
inline constexpr bool kCountersOn = false;
inline void count_made(Counted) noexcept {}
inline void count_freed(Counted) noexcept {}
inline std::int64_t live_count(Counted) noexcept {
  return 0;
}
#endif

/// The name of a kind, as `offloop._core.live_counts()` shows it.
const char* counted_name(Counted kind) noexcept;

}  // namespace offloop
