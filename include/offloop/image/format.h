// What a picture's bytes are, by their first bytes and nothing else: names and media types lie.
#pragma once

#include <cstdint>
#include <string_view>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"

namespace offloop::image {

enum class Format : std::uint8_t { kUnknown, kJpeg, kPng, kWebp, kGif, kTiff, kAvif, kHeic };

/// "jpeg", "png", "webp", "gif", "tiff", "avif", "heic"; "unknown". [any thread]
const char* format_name(Format format) noexcept;
/// The other way round; "jpg", "tif" and "heif" are understood as well. kUnsupportedFormat for anything else. [any
/// thread]
Result<Format> format_of_name(std::string_view name);
/// By signature; kUnknown when it is none of the above. [any thread]
Format detect_format(ByteSpan data) noexcept;

}  // namespace offloop::image
