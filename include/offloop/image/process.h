// One picture through one recipe.
#pragma once

#include <cstdint>
#include <vector>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/info.h"
#include "offloop/image/recipe.h"
#include "offloop/image/stop.h"

namespace offloop::image {

struct Processed {
  std::vector<std::uint8_t> data;  ///< the encoded result
  Format format = Format::kUnknown;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t frames = 1;
  ImageInfo input;
};

/// Decodes, does the steps and encodes, on this thread. `stop` is looked at after every few rows: a 50-megapixel
/// picture is let go within milliseconds. Errors: kUnsupportedFormat, kImageLimit, kImage (broken), kInvalidArgument (a
/// crop outside the picture), kDecoderCrash (with isolate), kStopped, kTimeout, kOutOfMemory. [any thread]
Result<Processed> process(ByteSpan data, const Recipe& recipe, const Stop& stop = {}) noexcept;

}  // namespace offloop::image
