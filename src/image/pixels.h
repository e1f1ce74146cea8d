// Decoded pixels: one interleaved plane, or three of YCbCr.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace offloop::image {

enum class Model : std::uint8_t {
  kGrey,       ///< one plane, 1 channel
  kGreyAlpha,  ///< one plane, 2 channels
  kRgb,        ///< one plane, 3 channels
  kRgba,       ///< one plane, 4 channels, alpha not premultiplied
  kYcc         ///< three planes of 1 channel, full-range BT.601 as JPEG has it; chroma may have fewer samples
};

constexpr int channels_of(Model model) noexcept {
  switch (model) {
    case Model::kGreyAlpha:
      return 2;
    case Model::kRgb:
      return 3;
    case Model::kRgba:
      return 4;
    default:
      return 1;
  }
}
constexpr int planes_of(Model model) noexcept {
  return model == Model::kYcc ? 3 : 1;
}
constexpr bool has_alpha(Model model) noexcept {
  return model == Model::kGreyAlpha || model == Model::kRgba;
}

struct Plane {
  int width = 0;  ///< samples, not bytes
  int height = 0;
  int channels = 1;
  std::size_t stride = 0;  ///< bytes from row to row; at least width * channels
  std::vector<std::uint8_t> bytes;

  Plane() = default;
  /// Throws std::bad_alloc. Rows may be read (not meaningfully) up to the stride, a multiple of 32 samples.
  Plane(int w, int h, int c)
      : width(w),
        height(h),
        channels(c),
        stride((static_cast<std::size_t>(w) * static_cast<std::size_t>(c) + 31) / 32 * 32),
        bytes(stride * static_cast<std::size_t>(h)) {}
  [[nodiscard]] std::uint8_t* row(int y) noexcept { return bytes.data() + stride * static_cast<std::size_t>(y); }
  [[nodiscard]] const std::uint8_t* row(int y) const noexcept {
    return bytes.data() + stride * static_cast<std::size_t>(y);
  }
};

struct Pixels {
  Model model = Model::kRgb;
  int width = 0;
  int height = 0;
  int chroma_x = 1;  ///< kYcc: luma samples for one of chroma, across and down: 1 or 2
  int chroma_y = 1;
  std::vector<Plane> planes;
};

}  // namespace offloop::image
