#include "image/isolate/budget.h"

#include <algorithm>

#include "image/isolate/wire.h"

namespace offloop::image::isolate {
namespace {

// Sums are rounded up, so that pictures of all sizes have the same budget and it need not be set anew for each.
constexpr std::uint64_t kStep = 64ULL << 20;
/// Program, libraries, codecs' own tables.
constexpr std::uint64_t kBase = 256ULL << 20;
/// A progressive JPEG without subsampling keeps 6 bytes of coefficients a pixel, an interlaced PNG of 16 bits and 4
/// channels 8 bytes; on top of that 4 bytes decoded, and 4 once more to be turned.
constexpr std::uint64_t kBytesAnInputPixel = 16;
/// 4 bytes resampled, and what an encoder makes of them: alpha of a lossy WebP goes through the lossless coder (31
/// bytes were measured, input and output together).
constexpr std::uint64_t kBytesAnOutputPixel = 32;
/// libwebp's lossless coder keeps several lists of back references (99 bytes were measured, likewise).
constexpr std::uint64_t kBytesALosslessPixel = 112;
/// 4 channels of 16 bits, stored as they are.
constexpr std::uint64_t kEncodedBytesAPixel = 8;

constexpr std::uint64_t kMost = 1ULL << 62;

/// a * b + c, at most kMost.
std::uint64_t sum(std::uint64_t a, std::uint64_t b, std::uint64_t c) noexcept {
  std::uint64_t product = 0;
  std::uint64_t result = 0;
  if (__builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &result)) return kMost;
  return std::min(result, kMost);
}

std::uint64_t rounded_up(std::uint64_t bytes) noexcept {
  return (bytes + kStep - 1) / kStep * kStep;
}

}  // namespace

Budget budget_of(const Recipe& recipe, std::size_t input_bytes) noexcept {
  const Limits& limits = recipe.limits;
  // The input itself, and what its metadata become.
  const std::uint64_t input = rounded_up(sum(input_bytes, 3, 0));
  const std::uint64_t an_output_pixel = recipe.output.lossless ? kBytesALosslessPixel : kBytesAnOutputPixel;
  const std::uint64_t encoded = sum(limits.max_output_pixels, kEncodedBytesAPixel, input + kResultAt);
  Budget budget;
  budget.output_bytes = rounded_up(encoded);
  budget.memory_bytes = rounded_up(
      sum(limits.max_pixels, kBytesAnInputPixel, sum(limits.max_output_pixels, an_output_pixel, sum(1, kBase, input))));
  return budget;
}

}  // namespace offloop::image::isolate
