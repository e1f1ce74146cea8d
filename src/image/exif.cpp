#include "image/exif.h"

namespace offloop::image {
namespace {

constexpr unsigned kOrientationTag = 0x0112;
constexpr unsigned kShort = 3;

struct Reader {
  ByteSpan data;
  bool little;

  [[nodiscard]] bool has(std::size_t at, std::size_t n) const noexcept {
    return at <= data.size() && n <= data.size() - at;
  }
  [[nodiscard]] unsigned u16(std::size_t at) const noexcept {
    return little ? data[at] | data[at + 1] << 8 : data[at] << 8 | data[at + 1];
  }
  [[nodiscard]] std::uint32_t u32(std::size_t at) const noexcept {
    return little ? u16(at) | static_cast<std::uint32_t>(u16(at + 2)) << 16
                  : static_cast<std::uint32_t>(u16(at)) << 16 | u16(at + 2);
  }
};

/// Where the value stands; 0 for none. TIFF 6.0, section 2: a directory is a count and entries of 12 bytes.
std::size_t find_value(const Reader& r) noexcept {
  if (!r.has(0, 8)) return 0;
  const std::size_t directory = r.u32(4);
  if (!r.has(directory, 2)) return 0;
  const unsigned entries = r.u16(directory);
  for (unsigned i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (!r.has(entry, 12)) return 0;
    if (r.u16(entry) == kOrientationTag && r.u16(entry + 2) == kShort) return entry + 8;
  }
  return 0;
}

Reader reader_of(ByteSpan tiff) noexcept {
  return {tiff, tiff.size() >= 2 && tiff[0] == 'I'};
}

}  // namespace

std::uint8_t exif_orientation(ByteSpan tiff) noexcept {
  const Reader r = reader_of(tiff);
  const std::size_t at = find_value(r);
  const unsigned value = at == 0 ? 1 : r.u16(at);
  return value >= 1 && value <= 8 ? static_cast<std::uint8_t>(value) : std::uint8_t{1};
}

void reset_exif_orientation(std::vector<std::uint8_t>& tiff) noexcept {
  const Reader r = reader_of(tiff);
  const std::size_t at = find_value(r);
  if (at == 0) return;
  tiff[at] = r.little ? 1 : 0;
  tiff[at + 1] = r.little ? 0 : 1;
}

}  // namespace offloop::image
