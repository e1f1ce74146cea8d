#include "image/geometry.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace offloop::image {
namespace {

/// Far above what any limit allows. The ratio of the sides can ask for more than fits an int.
constexpr int kMostScaled = 1 << 30;

int rounded(double side) noexcept {
  return static_cast<int>(std::lrint(std::clamp<double>(side, 1, kMostScaled)));
}

/// How far from the start, of `room` pixels, for the near end, the middle, or the far end.
enum class Part { kStart, kMiddle, kEnd };
int shift_of(Part part, int room) noexcept {
  return part == Part::kStart ? 0 : part == Part::kEnd ? room : room / 2;
}
Part across(Position position) noexcept {
  switch (position) {
    case Position::kLeft:
    case Position::kLeftTop:
    case Position::kLeftBottom:
      return Part::kStart;
    case Position::kRight:
    case Position::kRightTop:
    case Position::kRightBottom:
      return Part::kEnd;
    default:
      return Part::kMiddle;
  }
}
Part down(Position position) noexcept {
  switch (position) {
    case Position::kTop:
    case Position::kLeftTop:
    case Position::kRightTop:
      return Part::kStart;
    case Position::kBottom:
    case Position::kLeftBottom:
    case Position::kRightBottom:
      return Part::kEnd;
    default:
      return Part::kMiddle;
  }
}

/// The size to scale to: exact on the axis that decides, rounded on the other.
Size scaled_to(Size from, Size box, bool larger) noexcept {
  const double x = static_cast<double>(box.width) / from.width;
  const double y = static_cast<double>(box.height) / from.height;
  if ((x > y) == larger) return {box.width, rounded(from.height * x)};
  return {rounded(from.width * y), box.height};
}

/// A rectangle of the turned picture in the frame before the turn, whose size is `size`.
Rect before_turn(Rect r, Turn turn, Size size) noexcept {
  const Size turned = turn.transpose ? Size{size.height, size.width} : size;
  if (turn.flop) r.left = turned.width - r.left - r.width;
  if (turn.flip) r.top = turned.height - r.top - r.height;
  return turn.transpose ? Rect{r.top, r.left, r.height, r.width} : r;
}

class Planner {
 public:
  Planner(Size stored, unsigned orientation, const Recipe& recipe) : orientation_(orientation), recipe_(recipe) {
    begin_stage(stored);
  }

  Result<Plan> run() {
    for (const Step& step : recipe_.steps) {
      Result<Unit> done = std::visit([this](const auto& s) { return add(s); }, step);
      if (!done.ok()) return std::move(done).error();
    }
    end_stage();
    return std::move(plan_);
  }

 private:
  void begin_stage(Size size) {
    stage_ = Stage{};
    stage_.x = {size.width, 1, 0, 0, size.width};
    stage_.y = {size.height, 1, 0, 0, size.height};
    resized_ = false;
  }
  void end_stage() { plan_.stages.push_back(stage_); }
  void next_stage() {
    const Size size = stage_.result();
    end_stage();
    begin_stage(size);
  }
  Size lying() const noexcept { return {stage_.x.size, stage_.y.size}; }

  Result<Unit> turn_by(Turn turn) {
    if (stage_.padded) next_stage();
    stage_.turn = then(stage_.turn, turn);
    return Unit{};
  }
  Result<Unit> add(const AutoOrient&) {
    plan_.oriented = true;
    return turn_by(turn_of_orientation(orientation_));
  }
  Result<Unit> add(const Rotate& rotate) { return turn_by(turn_of_degrees(rotate.degrees)); }
  Result<Unit> add(const Flip&) { return turn_by({false, false, true}); }
  Result<Unit> add(const Flop&) { return turn_by({false, true, false}); }
  Result<Unit> add(const Greyscale&) {
    plan_.grey = true;
    return Unit{};
  }

  void keep(Rect window) noexcept {
    const Rect r = before_turn(window, stage_.turn, lying());
    narrow(stage_.x, r.left, r.width);
    narrow(stage_.y, r.top, r.height);
  }
  void narrow(Axis& axis, int start, int size) const noexcept {
    axis.offset += start * axis.scale;
    axis.size = size;
    if (resized_) return;
    axis.low = static_cast<int>(axis.offset);
    axis.high = axis.low + size;
  }

  Result<Unit> add(const Crop& crop) {
    if (stage_.padded) next_stage();
    const Size size = stage_.turned();
    const auto inside = [](std::uint32_t start, std::uint32_t length, int whole) {
      return length > 0 && start <= static_cast<std::uint32_t>(whole) &&
             length <= static_cast<std::uint32_t>(whole) - start;
    };
    if (!inside(crop.left, crop.width, size.width) || !inside(crop.top, crop.height, size.height)) {
      return Error(ErrorCode::kInvalidArgument,
                   "crop must be within the picture, which is " + std::to_string(size.width) + "x" +
                       std::to_string(size.height) + " there, got left=" + std::to_string(crop.left) +
                       " top=" + std::to_string(crop.top) + " width=" + std::to_string(crop.width) +
                       " height=" + std::to_string(crop.height));
    }
    keep({static_cast<int>(crop.left), static_cast<int>(crop.top), static_cast<int>(crop.width),
          static_cast<int>(crop.height)});
    return Unit{};
  }

  Result<Unit> add(const Resize& resize) {
    if (resized_ || stage_.padded) next_stage();
    const Fitted fitted = fit_into(stage_.turned(), resize);
    const double pixels = static_cast<double>(fitted.canvas.width) * fitted.canvas.height;
    const double scaled = static_cast<double>(fitted.window.width) * fitted.window.height;
    const bool beyond = std::max(fitted.scaled.width, fitted.scaled.height) >= kMostScaled;
    if (beyond || std::max(pixels, scaled) > static_cast<double>(recipe_.limits.max_output_pixels)) {
      return Error(ErrorCode::kImageLimit, "the result would have " + std::to_string(fitted.canvas.width) + "x" +
                                               std::to_string(fitted.canvas.height) +
                                               " pixels, max_output_pixels allows " +
                                               std::to_string(recipe_.limits.max_output_pixels));
    }
    const Size scaled_lying = stage_.turn.transpose ? Size{fitted.scaled.height, fitted.scaled.width} : fitted.scaled;
    stretch(stage_.x, scaled_lying.width);
    stretch(stage_.y, scaled_lying.height);
    resized_ = true;
    keep(fitted.window);
    stage_.kernel = resize.kernel;
    stage_.padded = fitted.padded;
    stage_.place = fitted.place;
    stage_.canvas = fitted.canvas;
    return Unit{};
  }
  static void stretch(Axis& axis, int to) noexcept {
    axis.scale *= static_cast<double>(axis.size) / to;
    axis.size = to;
  }

  const unsigned orientation_;
  const Recipe& recipe_;
  Plan plan_;
  Stage stage_;
  bool resized_ = false;
};

}  // namespace

Fitted fit_into(Size from, const Resize& resize) noexcept {
  const auto side = [](std::uint32_t s) { return static_cast<int>(s); };
  Size box{side(resize.width), side(resize.height)};
  const bool free_side = box.width == 0 || box.height == 0;
  if (box.width == 0) box.width = rounded(static_cast<double>(from.width) * box.height / from.height);
  if (box.height == 0) box.height = rounded(static_cast<double>(from.height) * box.width / from.width);

  Size scaled = box;
  if (!free_side && resize.fit != Fit::kFill)
    scaled = scaled_to(from, box, resize.fit == Fit::kCover || resize.fit == Fit::kOutside);
  if (resize.without_enlargement && (scaled.width > from.width || scaled.height > from.height)) {
    // With kFill each side for itself; the others keep the ratio, so both sides stay as they are.
    scaled = resize.fit == Fit::kFill && !free_side
                 ? Size{std::min(scaled.width, from.width), std::min(scaled.height, from.height)}
                 : from;
  }

  Fitted out{scaled, {0, 0, scaled.width, scaled.height}, false, {}, scaled};
  if (resize.fit == Fit::kCover && !free_side) {
    out.window.width = std::min(scaled.width, box.width);
    out.window.height = std::min(scaled.height, box.height);
    out.window.left = shift_of(across(resize.position), scaled.width - out.window.width);
    out.window.top = shift_of(down(resize.position), scaled.height - out.window.height);
    out.canvas = {out.window.width, out.window.height};
  } else if (resize.fit == Fit::kContain && !free_side && !(scaled == box)) {
    out.padded = true;
    out.canvas = box;
    out.place = {shift_of(across(resize.position), box.width - scaled.width),
                 shift_of(down(resize.position), box.height - scaled.height), scaled.width, scaled.height};
  }
  return out;
}

Result<Plan> make_plan(Size stored, unsigned orientation, const Recipe& recipe) {
  return Planner(stored, orientation, recipe).run();
}

}  // namespace offloop::image
