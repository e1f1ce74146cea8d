// libvips behind our own interface: every format we have no code for, and the reference for those we have. It is in a
// library of its own (liboffloop_vips), loaded with the first picture that needs it, so that nobody else loads GLib.
#pragma once

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/process.h"

namespace offloop::image {

/// True when libvips and our part for it can be loaded. [any thread]
bool vips_available() noexcept;
/// As process(), by libvips; a thread of libvips' own does the work. kUnsupportedFormat says what to install when
/// libvips is not there. [any thread]
Result<Processed> vips_process(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept;
/// As read_info(), for the formats that only libvips knows (GIF, TIFF, AVIF, HEIC). [any thread]
Result<ImageInfo> vips_info(ByteSpan data, const Limits& limits) noexcept;

}  // namespace offloop::image
