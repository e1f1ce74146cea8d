#include "offloop/image/format.h"

#include <cstring>
#include <string>

namespace offloop::image {
namespace {

constexpr struct {
  std::string_view name;
  Format format;
} kNames[] = {{"jpeg", Format::kJpeg}, {"png", Format::kPng},   {"webp", Format::kWebp}, {"gif", Format::kGif},
              {"tiff", Format::kTiff}, {"avif", Format::kAvif}, {"heic", Format::kHeic}, {"jpg", Format::kJpeg},
              {"tif", Format::kTiff},  {"heif", Format::kHeic}};

bool has(ByteSpan data, std::size_t at, std::string_view text) noexcept {
  return data.size() >= at + text.size() && std::memcmp(data.data() + at, text.data(), text.size()) == 0;
}

/// ISO/IEC 14496-12: the brands of a file type box, of which the major one or any compatible one names the format.
Format brand_of(ByteSpan data) noexcept {
  const std::size_t size = static_cast<std::size_t>(data[0]) << 24 | static_cast<std::size_t>(data[1]) << 16 |
                           static_cast<std::size_t>(data[2]) << 8 | data[3];
  Format found = Format::kUnknown;
  for (std::size_t at = 8; at + 4 <= size && at + 4 <= data.size() && at < 256; at += 4) {
    if (has(data, at, "avif") || has(data, at, "avis")) return Format::kAvif;
    if (has(data, at, "heic") || has(data, at, "heix") || has(data, at, "mif1")) found = Format::kHeic;
  }
  return found;
}

}  // namespace

const char* format_name(Format format) noexcept {
  for (const auto& [name, known] : kNames) {
    if (known == format) return name.data();
  }
  return "unknown";
}

Result<Format> format_of_name(std::string_view name) {
  for (const auto& [known, format] : kNames) {
    if (known == name) return format;
  }
  return Error(ErrorCode::kUnsupportedFormat,
               "expected one of jpeg, png, webp, gif, tiff, avif and heic, got '" + std::string(name) + "'");
}

Format detect_format(ByteSpan data) noexcept {
  if (has(data, 0, "\xff\xd8\xff")) return Format::kJpeg;
  if (has(data, 0, "\x89PNG\r\n\x1a\n")) return Format::kPng;
  if (has(data, 0, "RIFF") && has(data, 8, "WEBP")) return Format::kWebp;
  if (has(data, 0, "GIF87a") || has(data, 0, "GIF89a")) return Format::kGif;
  using namespace std::string_view_literals;
  if (has(data, 0, "II*\0"sv) || has(data, 0, "MM\0*"sv)) return Format::kTiff;
  if (has(data, 4, "ftyp")) return brand_of(data);
  return Format::kUnknown;
}

}  // namespace offloop::image
