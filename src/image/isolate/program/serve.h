// The decoder process: shuts itself in, then does one picture after the other until its parent has gone.
#pragma once

#include "offloop/image/process.h"

namespace offloop::image::isolate {

using ProcessFunction = Result<Processed> (*)(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept;

/// main() of a decoder program. `warm_up` does once, before the filter is on, whatever opens files or asks the kernel
/// things on first use; `process` does one picture. Ends the process without exit handlers: they might want more than
/// the filter lets through.
[[noreturn]] void decoder_main(int argc, char** argv, void (*warm_up)(), ProcessFunction process) noexcept;

}  // namespace offloop::image::isolate
