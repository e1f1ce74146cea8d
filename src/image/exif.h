// The one thing of EXIF that changes how a picture looks.
#pragma once

#include <cstdint>
#include <vector>

#include "offloop/base/bytes.h"

namespace offloop::image {

/// The orientation (tag 0x0112 of the first directory), 1 to 8; 1 when there is none or the data are broken. `tiff`
/// begins with the TIFF header. [any thread]
std::uint8_t exif_orientation(ByteSpan tiff) noexcept;
/// Makes it 1 where there is one. [any thread]
void reset_exif_orientation(std::vector<std::uint8_t>& tiff) noexcept;

}  // namespace offloop::image
