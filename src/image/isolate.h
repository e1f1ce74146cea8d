// One picture in a process of its own, which may crash, hang or be taken over without harm to this one.
#pragma once

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/process.h"

namespace offloop::image {

/// As process(), in a sandboxed decoder process that is kept for the next picture. Blocks this thread meanwhile.
/// Besides process()'s errors kDecoderCrash: the process died of this picture, or was killed because it used more CPU
/// time or memory than it may. Only JPEG, PNG and WebP have decoders there: kUnsupportedFormat for others. [any thread]
Result<Processed> isolated_process(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept;

}  // namespace offloop::image
