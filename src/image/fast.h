// The path of our own: JPEG, PNG and WebP in and out.
#pragma once

#include <memory>

#include "image/decoder.h"
#include "offloop/image/process.h"

namespace offloop::image {

/// Opens a JPEG, PNG or WebP within the limits. kUnsupportedFormat for anything else. May throw std::bad_alloc.
Result<std::unique_ptr<Decoder>> open_fast(ByteSpan data, const Limits& limits);
/// The rest of process(). May throw std::bad_alloc.
Result<Processed> fast_process(Decoder& decoder, const Recipe& recipe, const Stop& stop);

}  // namespace offloop::image
