// One plane through a separable kernel, row by row: down first, because rows are contiguous and only few of them are kept, then
// across, sixteen rows at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image/geometry.h"
#include "image/pixels.h"
#include "image/weights.h"

namespace offloop::image {

/// Takes the rows of one plane from the top and fills `out`. One thread. Memory: about kernel_support * 2 * scale rows of the source
/// (at most 48 or so: beyond a scale of 8 source samples are averaged in boxes first), and 32 rows of it besides.
class PlaneResampler {
 public:
  /// `out` has x.size by y.size samples and outlives this; alpha: the last of its channels is one. Throws std::bad_alloc.
  PlaneResampler(const Axis& x, const Axis& y, Kernel kernel, bool alpha, Plane& out);
  ~PlaneResampler();
  PlaneResampler(PlaneResampler&&) noexcept;
  PlaneResampler(const PlaneResampler&) = delete;
  PlaneResampler& operator=(const PlaneResampler&) = delete;

  /// The next row: as many samples as the axis' source has.
  void push(const std::uint8_t* row) noexcept;
  /// True when all rows of `out` are there.
  [[nodiscard]] bool full() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace offloop::image
