#include "offloop/fetch/collect.h"

#include <algorithm>
#include <cstring>

namespace offloop::fetch {
namespace {

/// A Content-Length is only a claim: no more than this is reserved for it before bytes have come.
constexpr std::uint64_t kMaxReserve = 64ULL << 20;

}  // namespace

bool OwnedBytes::reserve(std::size_t capacity) noexcept {
  if (capacity <= capacity_) return true;
  void* grown = std::realloc(data_, capacity);
  if (grown == nullptr) return false;
  data_ = static_cast<std::uint8_t*>(grown);
  capacity_ = capacity;
  return true;
}

bool OwnedBytes::append(ByteSpan bytes) noexcept {
  if (bytes.size() > capacity_ - size_ && !reserve(std::max(size_ + bytes.size(), capacity_ + capacity_ / 2)))
    return false;
  std::memcpy(data_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
  return true;
}

Result<Unit> CollectJob::start(Fetcher& fetcher, const Request& request) {
  fetcher_ = &fetcher;
  Result<TransferId> id = fetcher.start(request, this);
  if (!id.ok()) return std::move(id).error();
  return Unit{};  // the job may be gone already
}

void CollectJob::cancel() noexcept {
  if (const TransferId id = id_.load(std::memory_order_acquire); id != 0) fetcher_->cancel(id);
}

void CollectJob::on_response(const ResponseHead& head) {
  if (head.content_length > 0) {
    collected_.body.reserve(
        static_cast<std::size_t>(std::min(static_cast<std::uint64_t>(head.content_length), kMaxReserve)));
  }
}

Flow CollectJob::on_body(ByteSpan bytes) {
  if (collected_.body.append(bytes)) return Flow::kContinue;
  out_of_memory_ = true;
  return Flow::kAbort;
}

void CollectJob::on_done(Result<TransferInfo> result) {
  if (out_of_memory_) return ended(Error(ErrorCode::kOutOfMemory, "out of memory for the body"));
  if (!result.ok()) return ended(std::move(result).error());
  collected_.info = std::move(result).value();
  ended(std::move(collected_));
}

}  // namespace offloop::fetch
