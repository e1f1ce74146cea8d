// How many pixels may be in memory at once, over all pictures of the process.
#pragma once

#include <cstdint>

namespace offloop::image {

/// Default: 200 million, which is four pictures of the default max_pixels.
inline constexpr std::uint64_t kDefaultPixelsInFlight = 200'000'000;

/// A picture that would exceed it waits, on its worker, until others are done; one alone always runs. At least 1. [any
/// thread]
void set_max_pixels_in_flight(std::uint64_t pixels) noexcept;
std::uint64_t max_pixels_in_flight() noexcept;
/// Of pictures that are being processed now. [any thread]
std::uint64_t pixels_in_flight() noexcept;

}  // namespace offloop::image
