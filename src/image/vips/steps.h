// A plan, done by libvips.
#pragma once

#include "image/geometry.h"
#include "image/vips/session.h"
#include "offloop/base/result.h"
#include "offloop/image/recipe.h"

namespace offloop::image::vips {

/// 8 bits of sRGB or grey, with alpha if there is any: what all that follows works on.
Result<Image> to_working_colors(Session& session, Image image, bool keep_profile);

/// All stages; the result is in memory, and so is everything that a decoder had to do.
Result<Image> run_plan(Session& session, Image image, const Plan& plan, Color background);

/// Alpha and colours as the result wants them.
Result<Image> finish_colors(Session& session, Image image, bool flatten, bool grey, Color background);

}  // namespace offloop::image::vips
