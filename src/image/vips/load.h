// Pictures into libvips, by the loader of the format that their signature says.
#pragma once

#include "image/vips/session.h"
#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/info.h"
#include "offloop/image/recipe.h"

namespace offloop::image::vips {

/// The first frame (or page), read from top to bottom while it is asked for; nothing is decoded yet.
Result<Image> load_first(Session& session, ByteSpan data, Format format, FailOn fail_on);
/// All frames below each other, to be read in any order. GIF and WebP.
Result<Image> load_all(Session& session, ByteSpan data, Format format, FailOn fail_on);

/// What the header says.
ImageInfo info_of(VipsImage* image, Format format);
/// kImageLimit for a first frame of more pixels than max_pixels.
Result<Unit> check_pixels(const ImageInfo& info, const Limits& limits);
/// The same for all frames together; and for more of them than max_frames.
Result<Unit> check_frames(const ImageInfo& info, const Limits& limits);

}  // namespace offloop::image::vips
