// One stage of a plan, from a decoder's rows or from a picture in memory.
#pragma once

#include <vector>

#include "image/decoder.h"
#include "image/geometry.h"
#include "image/pixels.h"
#include "image/resample.h"

namespace offloop::image {

/// The axis of one plane: its samples instead of the picture's pixels. `sub`: pixels of the result for one sample of
/// it; `backwards`: the turn that follows will reverse the axis, so that it is the last pixels that share a sample with
/// nobody.
Axis plane_axis(const Axis& axis, double per_pixel, int plane_size, int sub, bool backwards) noexcept;

/// Resamples what is pushed into it. Not for more than one stage.
class StageSink final : public RowSink {
 public:
  /// `chroma`: pixels of the result for one chroma sample, both ways; kYcc only. Throws std::bad_alloc.
  StageSink(const Stage& stage, const Shape& shape, int chroma);
  void row(int plane, const std::uint8_t* samples) override { planes_[static_cast<std::size_t>(plane)].push(samples); }
  [[nodiscard]] bool full() const noexcept override;
  /// What has been made: before the turn. Once, at the end.
  Pixels take() { return std::move(pixels_); }

 private:
  Pixels pixels_;
  std::vector<PlaneResampler> planes_;
};

/// The rest of a stage: turn and canvas. Throws std::bad_alloc.
Pixels finish_stage(Pixels pixels, const Stage& stage, Color background);
/// A whole stage on a picture in memory. Not kYcc. Throws std::bad_alloc.
Result<Pixels> run_stage(const Pixels& pixels, const Stage& stage, Color background, const Stop& stop);

}  // namespace offloop::image
