#include "image/planes.h"

#include <algorithm>
#include <cmath>

#include "image/turned.h"

namespace offloop::image {
namespace {

using Prepared = std::shared_ptr<const PreparedAxis>;

/// Both chroma planes have the same axes: their weights are made once.
Prepared prepared(const Axis& axis, Kernel kernel, const Prepared& before) {
  return before != nullptr && before->axis == axis ? before : std::make_shared<PreparedAxis>(axis, kernel);
}

}  // namespace

Axis plane_axis(const Axis& axis, double per_pixel, int plane_size, int sub, bool backwards) noexcept {
  Axis out;
  out.size = (axis.size + sub - 1) / sub;
  const int before = backwards ? axis.size - out.size * sub : 0;
  out.scale = axis.scale * sub * per_pixel;
  out.offset = (axis.offset + before * axis.scale) * per_pixel;
  out.low = std::min(static_cast<int>(std::floor(axis.low * per_pixel)), plane_size - 1);
  out.high = std::clamp(static_cast<int>(std::ceil(axis.high * per_pixel)), out.low + 1, plane_size);
  return out;
}

StageSink::StageSink(const Stage& stage, const Shape& shape, int chroma)
    : pixels_{shape.model, stage.x.size, stage.y.size, chroma, chroma, {}} {
  pixels_.planes.reserve(shape.planes.size());
  planes_.reserve(shape.planes.size());
  Prepared across;
  Prepared down;
  for (std::size_t i = 0; i < shape.planes.size(); ++i) {
    const PlaneShape& plane = shape.planes[i];
    const int sub = i == 0 ? 1 : chroma;
    const Axis x = plane_axis(stage.x, plane.per_pixel_x, plane.width, sub, stage.turn.reverses_x());
    const Axis y = plane_axis(stage.y, plane.per_pixel_y, plane.height, sub, stage.turn.reverses_y());
    Plane& out = pixels_.planes.emplace_back(x.size, y.size, plane.channels);
    across = prepared(x, stage.kernel, across);
    down = prepared(y, stage.kernel, down);
    planes_.emplace_back(across, down, has_alpha(shape.model), out);
  }
}

bool StageSink::full() const noexcept {
  return std::all_of(planes_.begin(), planes_.end(), [](const PlaneResampler& plane) { return plane.full(); });
}

Pixels finish_stage(Pixels pixels, const Stage& stage, Color background) {
  pixels = turned(std::move(pixels), stage.turn);
  return stage.padded ? on_canvas(pixels, stage.canvas, stage.place, background) : pixels;
}

Result<Pixels> run_stage(const Pixels& pixels, const Stage& stage, Color background, const Stop& stop) {
  constexpr int kRowsBetweenLooks = 16;
  Shape shape{pixels.model, {{pixels.width, pixels.height, channels_of(pixels.model), 1, 1}}};
  StageSink sink(stage, shape, 1);
  for (int y = 0; y < pixels.height && !sink.full(); ++y) {
    if (y % kRowsBetweenLooks == 0) {
      if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
    }
    sink.row(0, pixels.planes[0].row(y));
  }
  return finish_stage(sink.take(), stage, background);
}

}  // namespace offloop::image
