#include "image/colors.h"

#include <algorithm>

namespace offloop::image {
namespace {

std::uint8_t clamp8(int value) noexcept {
  return static_cast<std::uint8_t>(std::clamp(value, 0, 255));
}

/// Each pixel by itself, from the one plane of `in` to that of a new picture.
template <class F>
Pixels mapped(const Pixels& in, Model model, F pixel) {
  Pixels out{model, in.width, in.height, 1, 1, {}};
  Plane& to = out.planes.emplace_back(in.width, in.height, channels_of(model));
  const Plane& from = in.planes[0];
  for (int y = 0; y < in.height; ++y) {
    const std::uint8_t* a = from.row(y);
    std::uint8_t* b = to.row(y);
    for (int x = 0; x < in.width; ++x, a += from.channels, b += to.channels) pixel(a, b);
  }
  return out;
}

/// ITU-T T.871 (JFIF), section 7, in 16-bit fixed point.
void ycc_to_rgb(int y, int cb, int cr, std::uint8_t* rgb) noexcept {
  constexpr int kHalf = 1 << 15;
  cb -= 128;
  cr -= 128;
  rgb[0] = clamp8(y + ((91881 * cr + kHalf) >> 16));
  rgb[1] = clamp8(y - ((22554 * cb + 46802 * cr + kHalf) >> 16));
  rgb[2] = clamp8(y + ((116130 * cb + kHalf) >> 16));
}

Pixels ycc_to_rgb(const Pixels& in) {
  Pixels out{Model::kRgb, in.width, in.height, 1, 1, {}};
  Plane& to = out.planes.emplace_back(in.width, in.height, 3);
  for (int y = 0; y < in.height; ++y) {
    const std::uint8_t* luma = in.planes[0].row(y);
    const std::uint8_t* cb = in.planes[1].row(y / in.chroma_y);
    const std::uint8_t* cr = in.planes[2].row(y / in.chroma_y);
    std::uint8_t* rgb = to.row(y);
    for (int x = 0; x < in.width; ++x) ycc_to_rgb(luma[x], cb[x / in.chroma_x], cr[x / in.chroma_x], rgb + 3 * x);
  }
  return out;
}

std::uint8_t luma_of(const std::uint8_t* rgb) noexcept {
  return static_cast<std::uint8_t>((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + (1 << 15)) >> 16);
}

std::uint8_t over(unsigned color, unsigned alpha, unsigned background) noexcept {
  return static_cast<std::uint8_t>((color * alpha + background * (255 - alpha) + 127) / 255);
}

}  // namespace

Pixels with_alpha(const Pixels& pixels) {
  switch (pixels.model) {
    case Model::kGrey:
      return mapped(pixels, Model::kGreyAlpha, [](const std::uint8_t* a, std::uint8_t* b) {
        b[0] = a[0];
        b[1] = 255;
      });
    case Model::kRgb:
      return mapped(pixels, Model::kRgba, [](const std::uint8_t* a, std::uint8_t* b) {
        std::copy_n(a, 3, b);
        b[3] = 255;
      });
    default:
      return pixels;
  }
}

Pixels to_rgb(const Pixels& pixels) {
  switch (pixels.model) {
    case Model::kGrey:
      return mapped(pixels, Model::kRgb, [](const std::uint8_t* a, std::uint8_t* b) { std::fill_n(b, 3, a[0]); });
    case Model::kGreyAlpha:
      return mapped(pixels, Model::kRgba, [](const std::uint8_t* a, std::uint8_t* b) {
        std::fill_n(b, 3, a[0]);
        b[3] = a[1];
      });
    case Model::kYcc:
      return ycc_to_rgb(pixels);
    default:
      return pixels;
  }
}

Pixels to_grey(const Pixels& pixels) {
  switch (pixels.model) {
    case Model::kRgb:
      return mapped(pixels, Model::kGrey, [](const std::uint8_t* a, std::uint8_t* b) { b[0] = luma_of(a); });
    case Model::kRgba:
      return mapped(pixels, Model::kGreyAlpha, [](const std::uint8_t* a, std::uint8_t* b) {
        b[0] = luma_of(a);
        b[1] = a[3];
      });
    case Model::kYcc: {
      Pixels out{Model::kGrey, pixels.width, pixels.height, 1, 1, {}};
      out.planes.push_back(pixels.planes[0]);
      return out;
    }
    default:
      return pixels;
  }
}

Pixels flattened(Pixels pixels, Color background) {
  const bool grey_background = background.red == background.green && background.green == background.blue;
  if (pixels.model == Model::kGreyAlpha) {
    if (!grey_background) return flattened(to_rgb(pixels), background);
    return mapped(pixels, Model::kGrey,
                  [&](const std::uint8_t* a, std::uint8_t* b) { b[0] = over(a[0], a[1], background.red); });
  }
  if (pixels.model != Model::kRgba) return pixels;
  return mapped(pixels, Model::kRgb, [&](const std::uint8_t* a, std::uint8_t* b) {
    b[0] = over(a[0], a[3], background.red);
    b[1] = over(a[1], a[3], background.green);
    b[2] = over(a[2], a[3], background.blue);
  });
}

}  // namespace offloop::image
