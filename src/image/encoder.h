// From pixels to a file's bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "image/decoder.h"
#include "image/pixels.h"

namespace offloop::image {

using Bytes = std::vector<std::uint8_t>;

/// kImage when the format cannot hold the picture (WebP: more than 16383 pixels a side); kStopped, kTimeout. Metadata:
/// what is to be written, empty parts are not. May throw std::bad_alloc. JPEG takes kGrey, kRgb and kYcc. PNG: all but
/// kYcc. WebP: all; kYcc only with chroma_x = chroma_y = 2.
Result<Bytes> encode_jpeg(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop);
Result<Bytes> encode_png(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop);
Result<Bytes> encode_webp(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop);

}  // namespace offloop::image
