#include "image/webp_chunks.h"

#include <webp/decode.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace offloop::image::webp {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kMaxMetadata = 4U << 20;
constexpr std::size_t kFirstChunk = 12;  // behind "RIFF", the size, "WEBP"
constexpr std::size_t kFrameHeader = 16;

std::uint32_t little_endian(const std::uint8_t* p, int bytes) noexcept {
  std::uint32_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | p[i];
  return value;
}

struct Chunk {
  std::string_view type;
  ByteSpan data;
  bool whole = false;
};

/// False at the end of the file.
bool next_chunk(ByteSpan file, std::size_t& at, Chunk& chunk) noexcept {
  if (at > file.size() || file.size() - at < 8) return false;
  const std::size_t size = little_endian(file.data() + at + 4, 4);
  const std::size_t left = file.size() - at - 8;
  chunk.type = {reinterpret_cast<const char*>(file.data() + at), 4};
  chunk.data = file.subspan(at + 8, std::min(size, left));
  chunk.whole = size <= left;
  at = chunk.whole ? at + 8 + size + size % 2 : file.size();
  return true;
}

void take(std::vector<std::uint8_t>& to, const Chunk& chunk) {
  constexpr std::string_view kPrefix = "Exif\0\0"sv;
  ByteSpan data = chunk.data;
  if (!to.empty() || !chunk.whole || data.size() > kMaxMetadata) return;
  // Some writers put JPEG's prefix in front.
  if (chunk.type == "EXIF" && data.size() >= kPrefix.size() &&
      std::memcmp(data.data(), kPrefix.data(), kPrefix.size()) == 0) {
    data = data.subspan(kPrefix.size());
  }
  to.assign(data.begin(), data.end());
}

/// The first frame: where it lies, and its own chunks.
bool read_frame(ByteSpan data, Header& header) noexcept {
  if (data.size() < kFrameHeader) return false;
  header.left = 2 * little_endian(data.data(), 3);
  header.top = 2 * little_endian(data.data() + 3, 3);
  header.frame_width = little_endian(data.data() + 6, 3) + 1;
  header.frame_height = little_endian(data.data() + 9, 3) + 1;
  header.picture = data.subspan(kFrameHeader);
  return header.left + header.frame_width <= header.width && header.top + header.frame_height <= header.height;
}

/// What libwebp says about the picture itself.
Result<Header> look_at_picture(Header header, bool animated) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(header.picture.data(), header.picture.size(), &features);
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status != VP8_STATUS_OK) return broken_webp("no valid header");
  const auto width = static_cast<std::uint32_t>(features.width);
  const auto height = static_cast<std::uint32_t>(features.height);
  if (animated) {
    if (width != header.frame_width || height != header.frame_height)
      return broken_webp("its sizes contradict each other");
  } else {
    header.width = header.frame_width = width;
    header.height = header.frame_height = height;
  }
  if (header.width == 0 || header.height == 0) return broken_webp("impossible size");
  // Where the first frame of an animation leaves the canvas free, one looks through.
  header.alpha = features.has_alpha != 0 || !header.fills_canvas();
  constexpr int kLossy = 1;
  header.lossy = features.format == kLossy;
  return header;
}

}  // namespace

Error broken_webp(const char* what) {
  return {ErrorCode::kImage, std::string("broken WebP: ") + what};
}

Result<Header> read_chunks(ByteSpan file, Metadata& metadata) {
  Header header;
  header.picture = file;
  bool animated = false;
  std::uint32_t frames = 0;
  std::size_t at = kFirstChunk;
  for (Chunk chunk; next_chunk(file, at, chunk);) {
    if (chunk.type == "VP8X" && chunk.data.size() >= 10) {
      constexpr unsigned kAnimation = 2;
      animated = (chunk.data[0] & kAnimation) != 0;
      header.width = little_endian(chunk.data.data() + 4, 3) + 1;
      header.height = little_endian(chunk.data.data() + 7, 3) + 1;
    } else if (chunk.type == "ANMF" && animated && frames++ == 0) {
      if (!read_frame(chunk.data, header)) return broken_webp("its first frame is not on the canvas");
    } else if (chunk.type == "ICCP") {
      take(metadata.icc, chunk);
    } else if (chunk.type == "EXIF") {
      take(metadata.exif, chunk);
    } else if (chunk.type == "XMP ") {
      take(metadata.xmp, chunk);
    }
  }
  if (animated && frames == 0) return broken_webp("it has no frames");
  if (animated) header.frames = frames;
  return look_at_picture(header, animated);
}

}  // namespace offloop::image::webp
