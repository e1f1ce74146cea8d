// Which source samples make one sample of the result, and how much each counts.
#pragma once

#include <cstdint>
#include <vector>

#include "image/geometry.h"

namespace offloop::image {

/// Weights are in 1/16384: at an edge, where negative lobes are cut off, a single one may be greater than 1.
inline constexpr int kWeightOne = 16384;

/// Those of one result add up to kWeightOne.
struct Weights {
  struct Span {
    int first = 0;       ///< source sample
    int count = 0;       ///< at least 1
    std::size_t at = 0;  ///< in values
  };
  std::vector<Span> spans;  ///< one for each sample of the result
  std::vector<std::int16_t> values;
  int most = 0;  ///< the largest count

  [[nodiscard]] const std::int16_t* of(const Span& span) const noexcept { return values.data() + span.at; }
};

/// How far a kernel reaches, in samples of the coarser side.
double kernel_support(Kernel kernel) noexcept;

/// Samples outside [low, high) count for nothing, and the others for more; the last one counts `last` times: it may be
/// the mean of fewer source samples than the others. Throws std::bad_alloc.
Weights make_weights(const Axis& axis, Kernel kernel, double last = 1);

}  // namespace offloop::image
