#include "image/turned.h"

#include <algorithm>
#include <cstring>

#include "image/colors.h"

namespace offloop::image {
namespace {

void reverse_row(std::uint8_t* row, std::size_t width, std::size_t channels) noexcept {
  for (std::size_t a = 0, b = width - 1; a < b; ++a, --b)
    std::swap_ranges(row + a * channels, row + (a + 1) * channels, row + b * channels);
}

/// In blocks: a column of the source touches as many cache lines as it has rows.
Plane transposed(const Plane& in) {
  constexpr int kBlock = 32;
  Plane out(in.height, in.width, in.channels);
  const auto channels = static_cast<std::size_t>(in.channels);
  for (int top = 0; top < in.height; top += kBlock) {
    for (int left = 0; left < in.width; left += kBlock) {
      for (int y = top; y < std::min(top + kBlock, in.height); ++y) {
        for (int x = left; x < std::min(left + kBlock, in.width); ++x)
          std::memcpy(out.row(x) + static_cast<std::size_t>(y) * channels,
                      in.row(y) + static_cast<std::size_t>(x) * channels, channels);
      }
    }
  }
  return out;
}

void mirror(Plane& plane, Turn turn) noexcept {
  if (turn.flop) {
    for (int y = 0; y < plane.height; ++y)
      reverse_row(plane.row(y), static_cast<std::size_t>(plane.width), static_cast<std::size_t>(plane.channels));
  }
  if (turn.flip) {
    for (int a = 0, b = plane.height - 1; a < b; ++a, --b)
      std::swap_ranges(plane.row(a), plane.row(a) + plane.stride, plane.row(b));
  }
}

}  // namespace

Pixels turned(Pixels pixels, Turn turn) {
  if (turn.identity()) return pixels;
  for (Plane& plane : pixels.planes) {
    if (turn.transpose) plane = transposed(plane);
    mirror(plane, turn);
  }
  if (turn.transpose) {
    std::swap(pixels.width, pixels.height);
    std::swap(pixels.chroma_x, pixels.chroma_y);
  }
  return pixels;
}

Pixels on_canvas(const Pixels& pixels, Size canvas, Rect place, Color background) {
  if (background.alpha != 255 && !has_alpha(pixels.model))
    return on_canvas(with_alpha(pixels), canvas, place, background);
  // A grey picture on a coloured canvas is no longer grey.
  const bool grey_background = background.red == background.green && background.green == background.blue;
  if (!grey_background && channels_of(pixels.model) < 3) return on_canvas(to_rgb(pixels), canvas, place, background);

  Pixels out{pixels.model, canvas.width, canvas.height, 1, 1, {}};
  const Plane& from = pixels.planes[0];
  Plane& to = out.planes.emplace_back(canvas.width, canvas.height, from.channels);
  const auto channels = static_cast<std::size_t>(from.channels);
  std::uint8_t pixel[4] = {background.red, background.green, background.blue, background.alpha};
  if (pixels.model == Model::kGreyAlpha) pixel[1] = background.alpha;
  for (int x = 0; x < canvas.width; ++x)
    std::memcpy(to.row(0) + static_cast<std::size_t>(x) * channels, pixel, channels);
  for (int y = 1; y < canvas.height; ++y) std::memcpy(to.row(y), to.row(0), to.stride);
  for (int y = 0; y < place.height; ++y)
    std::memcpy(to.row(place.top + y) + static_cast<std::size_t>(place.left) * channels, from.row(y),
                static_cast<std::size_t>(place.width) * channels);
  return out;
}

}  // namespace offloop::image
