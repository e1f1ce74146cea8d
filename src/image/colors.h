// From one model of colours to another, on the finished picture.
#pragma once

#include <cstdint>
#include <vector>

#include "image/pixels.h"
#include "offloop/base/result.h"
#include "offloop/image/recipe.h"

namespace offloop::image {

// All throw std::bad_alloc.

/// kRgba or kGreyAlpha, opaque where there was no alpha. Not kYcc.
Pixels with_alpha(const Pixels& pixels);
/// kRgb or kRgba: grey as three equal channels, YCbCr converted (chroma repeated, not interpolated).
Pixels to_rgb(const Pixels& pixels);
/// kGrey or kGreyAlpha, by BT.601 luma; of kYcc the first plane.
Pixels to_grey(const Pixels& pixels);
/// Without alpha: every pixel laid over the colour. What has none comes back as it is.
Pixels flattened(Pixels pixels, Color background);

/// True when the profile says so much like sRGB that nothing would change, or is broken. [any thread]
bool is_srgb_profile(const std::vector<std::uint8_t>& icc) noexcept;
/// Through the profile to sRGB, with perceptual intent as libvips'. A profile that does not fit the channels changes
/// nothing. kRgb, kRgba, kGrey, kGreyAlpha.
Pixels to_srgb(Pixels pixels, const std::vector<std::uint8_t>& icc);

}  // namespace offloop::image
