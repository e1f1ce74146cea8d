// Pictures out of libvips.
#pragma once

#include <cstdint>
#include <vector>

#include "image/vips/session.h"
#include "offloop/base/result.h"
#include "offloop/image/recipe.h"

namespace offloop::image::vips {

/// What a result takes along of its input.
struct Kept {
  bool metadata = false;  ///< EXIF, XMP, IPTC
  bool profile = false;
  bool oriented = false;  ///< the picture lies upright now, whatever its EXIF says
  int frames = 1;
  int frame_height = 0;  ///< of an animation, whose frames lie below each other
};

/// A copy with nothing but that.
Result<Image> with_metadata(Session& session, const Image& image, const Kept& kept);

Result<std::vector<std::uint8_t>> save(Session& session, const Image& image, Format format, const Output& output,
                                       const Kept& kept);

}  // namespace offloop::image::vips
