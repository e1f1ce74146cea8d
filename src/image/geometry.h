// From steps to numbers: which source pixels make which pixel of the result. Pure functions, shared by both engines.
#pragma once

#include <vector>

#include "image/turn.h"
#include "offloop/base/result.h"
#include "offloop/image/recipe.h"

namespace offloop::image {

struct Size {
  int width = 0;
  int height = 0;
  bool operator==(const Size&) const noexcept = default;
};

struct Rect {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
  bool operator==(const Rect&) const noexcept = default;
};

/// One axis of a resampling: sample i of the result covers [offset + i * scale, offset + (i + 1) * scale) of the
/// source.
struct Axis {
  int size = 0;  ///< samples of the result
  double scale = 1;
  double offset = 0;
  int low = 0;  ///< source samples [low, high) may be looked at: what a crop took away does not shine in at its edges
  int high = 0;
  bool operator==(const Axis&) const noexcept = default;

  /// Copies samples, from `offset` on.
  [[nodiscard]] bool copies() const noexcept { return scale == 1 && offset == static_cast<int>(offset); }
};

/// What can be done in one go: crop, resize, crop; then turn; then put on a larger canvas.
struct Stage {
  Axis x;  ///< of the picture as it lies before the turn
  Axis y;
  Kernel kernel = Kernel::kLanczos3;
  Turn turn;
  bool padded = false;
  Rect place;   ///< where on the canvas; only when padded
  Size canvas;  ///< only when padded

  [[nodiscard]] Size turned() const noexcept { return turn.transpose ? Size{y.size, x.size} : Size{x.size, y.size}; }
  [[nodiscard]] Size result() const noexcept { return padded ? canvas : turned(); }
};

struct Plan {
  std::vector<Stage> stages;  ///< at least one
  bool oriented = false;      ///< an AutoOrient was among the steps
  bool grey = false;
  [[nodiscard]] Size result() const noexcept { return stages.back().result(); }
};

/// Where a resize puts a picture of size `from`: scaled to `scaled`, of which `window` is kept, placed on `canvas`.
struct Fitted {
  Size scaled;
  Rect window;
  bool padded = false;
  Rect place;
  Size canvas;
};
/// The rules are sharp's: sides are rounded to the nearest pixel, at least 1. [any thread]
Fitted fit_into(Size from, const Resize& resize) noexcept;

/// kInvalidArgument for a crop that is not within the picture, kImageLimit for a result (of any stage) above
/// limits.max_output_pixels. [any thread]
Result<Plan> make_plan(Size stored, unsigned orientation, const Recipe& recipe);

}  // namespace offloop::image
