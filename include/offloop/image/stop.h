// When to give up: asked to, or out of time.
#pragma once

#include <atomic>
#include <cstdint>

#include "offloop/base/error.h"
#include "offloop/runtime/work.h"

namespace offloop::image {

/// Looked at by decoders, resampler and encoders every few rows. The flags must outlive it. [any thread]
class Stop {
 public:
  Stop() = default;
  /// `deadline_ns`: monotonic, as runtime::now_ns(); 0 for none.
  explicit Stop(const runtime::Work* work, std::int64_t deadline_ns = 0) noexcept
      : work_(work), deadline_ns_(deadline_ns) {}

  /// kOk, kStopped or kTimeout.
  [[nodiscard]] ErrorCode requested() const noexcept;
  [[nodiscard]] std::int64_t deadline_ns() const noexcept { return deadline_ns_; }

 private:
  const runtime::Work* work_ = nullptr;
  std::int64_t deadline_ns_ = 0;
};

/// The error of a stop that was asked for: kStopped or kTimeout, in words.
Error stop_error(ErrorCode code);

}  // namespace offloop::image
