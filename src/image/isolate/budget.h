// What a picture may cost in its decoder, from the recipe's limits alone: reading its header first would be decoding it
// here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "offloop/image/recipe.h"

namespace offloop::image::isolate {

struct Budget {
  std::uint64_t memory_bytes = 0;  ///< address space of the decoder (RLIMIT_AS)
  std::uint64_t output_bytes = 0;  ///< of the encoded result (RLIMIT_FSIZE)

  bool operator==(const Budget&) const = default;
};

/// Never less than the largest picture within the limits needs, for `input_bytes` of input. [any thread]
Budget budget_of(const Recipe& recipe, std::size_t input_bytes) noexcept;

/// "1850 MiB".
inline constexpr std::uint64_t mebibytes(std::uint64_t bytes) noexcept {
  return bytes >> 20;
}

}  // namespace offloop::image::isolate
