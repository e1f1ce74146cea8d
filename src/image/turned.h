// Turning and laying on a canvas, on the finished picture: it is small by then.
#pragma once

#include "image/geometry.h"
#include "image/pixels.h"

namespace offloop::image {

/// The picture turned. kYcc: chroma must have been sampled for it (see planes.h). Throws std::bad_alloc.
Pixels turned(Pixels pixels, Turn turn);
/// The picture at `place` of a canvas of that colour; kRgb and kGrey become kRgba, kGreyAlpha when the colour is not
/// opaque. Not kYcc. Throws std::bad_alloc.
Pixels on_canvas(const Pixels& pixels, Size canvas, Rect place, Color background);

}  // namespace offloop::image
