// Which code serves a picture.
#pragma once

#include "offloop/image/format.h"
#include "offloop/image/recipe.h"

namespace offloop::image {

/// We decode it ourselves, or write it.
constexpr bool is_fast_format(Format format) noexcept {
  return format == Format::kJpeg || format == Format::kPng || format == Format::kWebp;
}
/// What the result will be. `alpha`: there is any left.
Format output_format(const Output& output, Format input, bool alpha) noexcept;
/// kFast or kVips for a recipe's kAuto, which OFFLOOP_IMAGE may decide. [any thread]
Engine engine_for(const Recipe& recipe, Format input, std::uint32_t frames) noexcept;

}  // namespace offloop::image
