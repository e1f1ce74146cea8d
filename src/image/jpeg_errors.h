// libjpeg reports errors by a jump; this is where to. What is jumped over are libjpeg's frames and functions of ours
// without destructors.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdio>
// jpeglib.h wants size_t and FILE before it.
#include <jpeglib.h>

#include "offloop/base/error.h"
#include "offloop/image/stop.h"

namespace offloop::image {

struct JpegErrors : jpeg_error_mgr {
  /// `strict`: data that are missing or cannot be are errors, not warnings.
  void install(bool strict) noexcept;
  /// The error after a jump. May throw std::bad_alloc.
  [[nodiscard]] Error error(const char* stage) const;

  std::jmp_buf jump;
  bool fatal_warnings = true;
  ErrorCode code = ErrorCode::kImage;  ///< kOutOfMemory, kStopped and kTimeout have their own
  char text[JMSG_LENGTH_MAX] = {};
};

/// Called by libjpeg now and then, also within a long call: jumps when a stop was asked for.
struct JpegProgress : jpeg_progress_mgr {
  void install(const Stop& stop) noexcept;
  const Stop* stop_ = nullptr;
};

}  // namespace offloop::image
