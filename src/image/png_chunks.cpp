#include "image/png_chunks.h"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

namespace offloop::image::png {
namespace {

using namespace std::string_view_literals;

/// Of a profile or a text, inflated: what a bomb may cost.
constexpr std::size_t kMaxMetadata = 4U << 20;
constexpr std::size_t kIccHeader = 128;

std::uint32_t big_endian(const std::uint8_t* p) noexcept {
  return static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
         static_cast<std::uint32_t>(p[2]) << 8 | p[3];
}

/// Up to `limit` bytes of a zlib stream; what was inflated before an error stays.
class Inflater {
 public:
  explicit Inflater(ByteSpan data) noexcept {
    stream_.next_in = const_cast<Bytef*>(data.data());
    stream_.avail_in = static_cast<uInt>(data.size());
    ready_ = inflateInit(&stream_) == Z_OK;
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  /// Fills `out` as far as the stream goes; returns the bytes written.
  std::size_t read(std::span<std::uint8_t> out) noexcept {
    if (!ready_) return 0;
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(out.size());
    while (stream_.avail_out > 0 && inflate(&stream_, Z_NO_FLUSH) == Z_OK) {
    }
    return out.size() - stream_.avail_out;
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

/// The rest after the first NUL, which is looked for in the first 80 bytes as a keyword may have 79.
bool skip_keyword(ByteSpan& data) noexcept {
  const auto head = data.first(std::min<std::size_t>(data.size(), 80));
  const auto nul = std::find(head.begin(), head.end(), std::uint8_t{0});
  if (nul == head.end()) return false;
  data = data.subspan(static_cast<std::size_t>(nul - head.begin()) + 1);
  return true;
}

/// A profile says in its own header how long it is, so that no more than that is inflated.
std::vector<std::uint8_t> read_profile(ByteSpan data, bool grey) {
  if (!skip_keyword(data) || data.empty() || data[0] != 0) return {};
  Inflater inflater(data.subspan(1));
  std::vector<std::uint8_t> icc(kIccHeader);
  if (inflater.read(icc) != kIccHeader) return {};
  const std::size_t size = big_endian(icc.data());
  // A profile for other colours than the picture has is of no use.
  if (size < kIccHeader || size > kMaxMetadata || std::memcmp(icc.data() + 16, grey ? "GRAY" : "RGB ", 4) != 0)
    return {};
  icc.resize(size);
  if (inflater.read(std::span(icc).subspan(kIccHeader)) != size - kIccHeader) return {};
  return icc;
}

std::vector<std::uint8_t> read_xmp(ByteSpan data) {
  constexpr std::string_view kKeyword = "XML:com.adobe.xmp\0"sv;
  if (data.size() < kKeyword.size() + 2 || std::memcmp(data.data(), kKeyword.data(), kKeyword.size()) != 0) return {};
  const bool compressed = data[kKeyword.size()] != 0;
  data = data.subspan(kKeyword.size() + 2);
  for (int i = 0; i < 2; ++i) {  // language, translated keyword
    if (!skip_keyword(data)) return {};
  }
  if (!compressed) {
    if (data.size() > kMaxMetadata) return {};
    return {data.begin(), data.end()};
  }
  std::vector<std::uint8_t> text;
  Inflater inflater(data);
  while (text.size() < kMaxMetadata) {
    const std::size_t before = text.size();
    text.resize(before + (64U << 10));
    const std::size_t got = inflater.read(std::span(text).subspan(before));
    text.resize(before + got);
    if (got < (64U << 10)) return text;
  }
  return {};
}

Error broken(const char* what) {
  return {ErrorCode::kImage, std::string("broken PNG: ") + what};
}

bool depth_allowed(std::uint8_t color, std::uint8_t depth) noexcept {
  switch (color) {
    case kGrey:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case kPalette:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case kRgb:
    case kGreyAlpha:
    case kRgba:
      return depth == 8 || depth == 16;
    default:
      return false;
  }
}

Result<Header> read_header(const Chunk& chunk) {
  if (chunk.type != chunk_type("IHDR") || chunk.data.size() != 13 || !chunk.intact()) return broken("no valid header");
  const std::uint8_t* p = chunk.data.data();
  Header header;
  header.width = big_endian(p);
  header.height = big_endian(p + 4);
  header.depth = p[8];
  header.color = p[9];
  header.interlaced = p[12] == 1;
  constexpr std::uint32_t kMost = 0x7fffffff;
  if (header.width == 0 || header.height == 0 || header.width > kMost || header.height > kMost) {
    return broken("impossible size");
  }
  if (!depth_allowed(header.color, header.depth)) return broken("impossible colour type and depth");
  if (p[10] != 0 || p[11] != 0 || p[12] > 1) return broken("unknown compression, filter or interlace method");
  return header;
}

void read_metadata(const Chunk& chunk, bool grey, Metadata& metadata) {
  if (chunk.type == chunk_type("iCCP") && metadata.icc.empty() && chunk.intact()) {
    metadata.icc = read_profile(chunk.data, grey);
  } else if (chunk.type == chunk_type("iTXt") && metadata.xmp.empty() && chunk.intact()) {
    metadata.xmp = read_xmp(chunk.data);
  } else if (chunk.type == chunk_type("eXIf") && metadata.exif.empty() && chunk.data.size() <= kMaxMetadata &&
             chunk.intact()) {
    metadata.exif.assign(chunk.data.begin(), chunk.data.end());
  }
}

constexpr std::uint32_t kAncillary = 0x20000000;  // bit 5 of a type's first letter: not needed to show the picture

}  // namespace

bool Chunk::intact() const noexcept {
  if (!whole) return false;
  const std::uint8_t name[4] = {static_cast<std::uint8_t>(type >> 24), static_cast<std::uint8_t>(type >> 16),
                                static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type)};
  return libdeflate_crc32(libdeflate_crc32(0, name, 4), data.data(), data.size()) == stored_crc;
}

bool Chunks::next(Chunk& chunk) noexcept {
  if (at_ > file_.size() || file_.size() - at_ < 8) return false;
  const std::size_t size = big_endian(file_.data() + at_);
  if (size > 0x7fffffff) return false;
  chunk.type = big_endian(file_.data() + at_ + 4);
  const std::size_t left = file_.size() - at_ - 8;
  chunk.whole = left >= 4 && size <= left - 4;
  chunk.data = file_.subspan(at_ + 8, std::min(size, left));
  if (chunk.whole) chunk.stored_crc = big_endian(chunk.data.data() + size);
  at_ = chunk.whole ? at_ + 12 + size : file_.size();
  return true;
}

Result<Header> read_chunks(ByteSpan file, Metadata& metadata) {
  Chunks chunks(file);
  Chunk chunk;
  if (!chunks.next(chunk)) return broken("no valid header");
  Result<Header> header = read_header(chunk);
  if (!header) return header;
  Header& known = header.value();
  const bool grey = known.color == kGrey || known.color == kGreyAlpha;
  for (std::size_t at = chunks.at(); chunks.next(chunk); at = chunks.at()) {
    if (chunk.type == chunk_type("IEND")) break;
    if (chunk.type == chunk_type("IDAT")) {
      if (known.pixels_at == 0) known.pixels_at = at;
      known.pixels_bytes += chunk.data.size();
    } else if (chunk.type == chunk_type("tRNS")) {
      known.transparency = known.transparency || (known.pixels_at == 0 && known.color <= kPalette);
    } else if (chunk.type != chunk_type("PLTE") && (chunk.type & kAncillary) == 0 && known.pixels_at == 0) {
      return broken("a chunk that cannot be ignored is unknown");
    } else {
      read_metadata(chunk, grey, metadata);
    }
  }
  if (known.pixels_at == 0) return broken("it has no pixels");
  return header;
}

}  // namespace offloop::image::png
