// A PNG's chunks: what its header says, its metadata, and where the compressed pixels lie. We read them ourselves:
// libpng would inflate text and profiles of any size, and does not look behind the pixels, where metadata may be as
// well.
#pragma once

#include <cstddef>
#include <cstdint>

#include "image/decoder.h"
#include "offloop/base/bytes.h"
#include "offloop/base/result.h"

namespace offloop::image::png {

constexpr std::uint32_t chunk_type(const char (&name)[5]) noexcept {
  return static_cast<std::uint32_t>(name[0]) << 24 | static_cast<std::uint32_t>(name[1]) << 16 |
         static_cast<std::uint32_t>(name[2]) << 8 | static_cast<std::uint32_t>(name[3]);
}

struct Chunk {
  std::uint32_t type = 0;
  ByteSpan data;       ///< what there is of it
  bool whole = false;  ///< nothing is missing, its checksum included
  std::uint32_t stored_crc = 0;

  /// Costs a pass over the data.
  [[nodiscard]] bool intact() const noexcept;
};

/// Goes from chunk to chunk.
class Chunks {
 public:
  /// `at`: where a chunk begins; 8 is behind the signature.
  explicit Chunks(ByteSpan file, std::size_t at = 8) noexcept : file_(file), at_(at) {}
  /// False at the end of the file, or where no chunk can be.
  bool next(Chunk& chunk) noexcept;
  /// Where the next one begins.
  [[nodiscard]] std::size_t at() const noexcept { return at_; }

 private:
  ByteSpan file_;
  std::size_t at_;
};

enum ColorType : std::uint8_t { kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgba = 6 };

struct Header {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint8_t depth = 8;
  std::uint8_t color = kRgb;
  bool interlaced = false;
  bool transparency = false;     ///< tRNS: a colour or palette entries that are transparent
  std::size_t pixels_at = 0;     ///< where the first IDAT chunk begins
  std::size_t pixels_bytes = 0;  ///< compressed, in all of them
};

/// kImage when there is no header that can be, or no pixels. Metadata that is broken or larger than 4 MiB is left out.
Result<Header> read_chunks(ByteSpan file, Metadata& metadata);

}  // namespace offloop::image::png
