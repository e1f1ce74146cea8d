// Sixteen streams that are read at the same place of their pages share one set of the first-level cache, which has
// eight or twelve ways: each block then pushes out the one asked for ahead. Streams of large messages come so more
// often than not, since allocators put them at the start of pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hash/kernels.h"

namespace offloop::hash {

/// How many sets the first-level cache has where there are wide kernels: 32 KiB of 8 ways, or 48 KiB of 12.
inline constexpr unsigned kCacheSets = 64;

/// The least forward steps, in blocks, after which each of n (1 to 16) streams is read in a set of its own: ahead[i] is
/// 0 to 15 for the stream at data[i]. [any thread]
inline void spread_over_sets(unsigned n, const std::uint8_t* const* data, std::uint8_t* ahead) noexcept {
  std::uint64_t taken = 0;
  for (unsigned i = 0; i < n; ++i) {
    std::uintptr_t set = reinterpret_cast<std::uintptr_t>(data[i]) / kSha256BlockBytes;
    std::uint8_t steps = 0;
    while ((taken >> (set % kCacheSets) & 1) != 0) ++set, ++steps;
    taken |= std::uint64_t{1} << (set % kCacheSets);
    ahead[i] = steps;
  }
}

}  // namespace offloop::hash
