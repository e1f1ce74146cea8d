// A picture's header.
#pragma once

#include <cstdint>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/format.h"
#include "offloop/image/limits.h"

namespace offloop::image {

enum class ColorSpace : std::uint8_t { kSrgb, kGrey, kCmyk };

/// "srgb", "grey", "cmyk".
const char* color_space_name(ColorSpace space) noexcept;

struct ImageInfo {
  Format format = Format::kUnknown;
  std::uint32_t width = 0;  ///< as stored, before the orientation is applied
  std::uint32_t height = 0;
  std::uint8_t channels = 0;     ///< 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha or CMYK
  std::uint8_t bits = 8;         ///< a channel
  std::uint8_t orientation = 1;  ///< EXIF, 1 to 8
  ColorSpace color_space = ColorSpace::kSrgb;
  bool has_alpha = false;
  bool has_profile = false;  ///< an ICC profile is embedded
  bool progressive = false;  ///< progressive JPEG or interlaced PNG
  std::uint32_t frames = 1;

  /// Oriented upright.
  [[nodiscard]] std::uint32_t upright_width() const noexcept { return orientation >= 5 ? height : width; }
  [[nodiscard]] std::uint32_t upright_height() const noexcept { return orientation >= 5 ? width : height; }
};

/// Reads the header and decodes nothing. kUnsupportedFormat: not a picture of ours; kImage: broken; kImageLimit: more
/// than `limits` allow (max_pixels for the first frame, max_bytes, max_scans). [any thread]
Result<ImageInfo> read_info(ByteSpan data, const Limits& limits = {});

}  // namespace offloop::image
