// How many passes a JPEG asks for, found without decoding.
#pragma once

#include <cstdint>

#include "offloop/base/bytes.h"

namespace offloop::image {

/// Scans (SOS segments) of the outermost picture, counted up to `most` + 1. [any thread]
std::uint32_t count_jpeg_scans(ByteSpan data, std::uint32_t most) noexcept;

}  // namespace offloop::image
