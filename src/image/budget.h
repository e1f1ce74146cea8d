// Holding a share of the pixels in flight.
#pragma once

#include <cstdint>

#include "offloop/image/budget.h"
#include "offloop/image/stop.h"

namespace offloop::image {

/// Blocks until the pixels are within the budget or a stop is requested. [any thread]
class PixelShare {
 public:
  PixelShare(std::uint64_t pixels, const Stop& stop) noexcept;
  ~PixelShare();
  PixelShare(const PixelShare&) = delete;
  PixelShare& operator=(const PixelShare&) = delete;
  /// kOk, or why there is no share.
  [[nodiscard]] ErrorCode outcome() const noexcept { return outcome_; }

 private:
  const std::uint64_t pixels_;
  ErrorCode outcome_ = ErrorCode::kOk;
};

}  // namespace offloop::image
