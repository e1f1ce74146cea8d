// The two ways to a PNG's rows.
#pragma once

#include <memory>

#include "image/png_chunks.h"

namespace offloop::image::png {

/// Rows of 8-bit grey, RGB or either with alpha, neither interlaced nor with a transparent colour: what nearly every
/// large PNG is. As Decoder::decode(). [the decoding thread]
Result<Unit> decode_plain(ByteSpan file, const Header& header, FailOn fail_on, RowSink& sink, const Stop& stop);
bool is_plain(const Header& header) noexcept;
/// Channels of a pixel as stored.
int stored_channels(std::uint8_t color) noexcept;

/// Everything else, by libpng.
class LibpngReader {
 public:
  virtual ~LibpngReader() = default;
  /// 1 to 4 of 8 bits, palette, transparency and depth resolved.
  [[nodiscard]] virtual int channels() const noexcept = 0;
  virtual Result<Unit> decode(RowSink& sink, const Stop& stop) = 0;
};
/// Reads up to the pixels.
Result<std::unique_ptr<LibpngReader>> open_libpng(ByteSpan file, const Header& header, FailOn fail_on);

Error broken_png(const char* what);

}  // namespace offloop::image::png
