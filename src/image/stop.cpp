#include "offloop/image/stop.h"

#include "offloop/runtime/clock.h"

namespace offloop::image {

ErrorCode Stop::requested() const noexcept {
  if (work_ != nullptr && work_->stop_requested()) return ErrorCode::kStopped;
  if (deadline_ns_ != 0 && runtime::now_ns() >= deadline_ns_) return ErrorCode::kTimeout;
  return ErrorCode::kOk;
}

Error stop_error(ErrorCode code) {
  if (code == ErrorCode::kTimeout) return {code, "the picture's deadline passed while it was being processed"};
  return {ErrorCode::kStopped, "stopped"};
}

}  // namespace offloop::image
