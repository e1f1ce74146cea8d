// What liboffloop_vips offers to liboffloop_image, which loads it with the first picture that needs it.
#pragma once

#include <cstdint>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/process.h"

namespace offloop::image {

/// One of a process; all of it may be called by any thread.
struct VipsModule {
  /// Both libraries are built from the same headers, or are not used together.
  static constexpr std::uint32_t kVersion = 1;
  std::uint32_t version = kVersion;
  std::uint32_t recipe_bytes = sizeof(Recipe);
  std::uint32_t processed_bytes = sizeof(Processed);

  /// Starts libvips; once.
  Result<Unit> (*start)();
  Result<Processed> (*process)(ByteSpan data, const Recipe& recipe, const Stop& stop);
  Result<ImageInfo> (*info)(ByteSpan data, const Limits& limits);
};

constexpr char kVipsModuleFile[] = "liboffloop_vips.so.0";
constexpr char kVipsModuleEntry[] = "offloop_vips_module";
using VipsModuleEntry = const VipsModule* (*)();

}  // namespace offloop::image
