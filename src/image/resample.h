// One plane through a separable kernel, row by row: down first, because rows are contiguous and only few of them are
// kept, then across, sixteen rows at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image/geometry.h"
#include "image/pixels.h"
#include "image/weights.h"

namespace offloop::image {

/// One axis with its weights, ready for any number of planes.
struct PreparedAxis {
  /// Throws std::bad_alloc.
  PreparedAxis(const Axis& axis, Kernel kernel);
  Axis axis;
  int box = 1;    ///< source samples that are averaged before the kernel
  int first = 0;  ///< source samples [first, last) are looked at
  int last = 0;
  Weights weights;  ///< over the samples from `first` on, or over boxes of them
};

/// Takes the rows of one plane from the top and fills `out`. One thread. Memory: about kernel_support * 2 * scale rows
/// of the source (at most 48 or so: beyond a scale of 8 source samples are averaged in boxes first), and 32 rows of it
/// besides.
class PlaneResampler {
 public:
  /// `out` has as many samples as the axes say and outlives this; alpha: the last of its channels is one. Throws
  /// std::bad_alloc.
  PlaneResampler(std::shared_ptr<const PreparedAxis> x, std::shared_ptr<const PreparedAxis> y, bool alpha, Plane& out);
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
