// A WebP's chunks: canvas, frames, the first picture's bytes, metadata. libwebp's demuxer makes an object for each
// frame, of which a file can have millions; only the first one is wanted here.
#pragma once

#include <cstdint>

#include "image/decoder.h"
#include "offloop/base/bytes.h"
#include "offloop/base/result.h"

namespace offloop::image::webp {

struct Header {
  std::uint32_t width = 0;  ///< of the canvas
  std::uint32_t height = 0;
  std::uint32_t frames = 1;
  bool alpha = false;
  bool lossy = false;  ///< the first picture is
  ByteSpan picture;    ///< what libwebp decodes: the file, or the first frame of an animation
  // Where the first frame lies on the canvas.
  std::uint32_t left = 0;
  std::uint32_t top = 0;
  std::uint32_t frame_width = 0;
  std::uint32_t frame_height = 0;

  [[nodiscard]] bool fills_canvas() const noexcept { return frame_width == width && frame_height == height; }
};

/// kImage when there is no picture in it, or one that cannot be. Metadata of more than 4 MiB is left out.
Result<Header> read_chunks(ByteSpan file, Metadata& metadata);

Error broken_webp(const char* what);

}  // namespace offloop::image::webp
