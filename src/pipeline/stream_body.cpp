#include "offloop/pipeline/stream_body.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace offloop::pipeline {
namespace {

using fetch::Flow;

constexpr unsigned kMaxOut = 4;

}  // namespace

Result<Unit> StreamJob::start(fetch::Fetcher& fetcher, const fetch::Request& request) {
  {
    const std::lock_guard lock(mutex_);
    fetcher_ = &fetcher;
  }
  Result<fetch::TransferId> id = fetcher.start(request, this);
  if (!id.ok()) return std::move(id).error();
  return Unit{};  // the job may be gone already
}

void StreamJob::cancel() noexcept {
  const std::lock_guard lock(mutex_);
  if (fetcher_ != nullptr) fetcher_->cancel(id_.load(std::memory_order_acquire));
}

void StreamJob::pass_on() noexcept {
  out_.fetch_add(1, std::memory_order_seq_cst);
  on_chunk(std::exchange(chunk_, nullptr));
}

Flow StreamJob::on_body(ByteSpan bytes) {
  if (out_.load(std::memory_order_seq_cst) >= kMaxOut) {
    // Who frees a chunk resumes, or this thread goes on if that happened just now.
    paused_.store(true, std::memory_order_seq_cst);
    if (out_.load(std::memory_order_seq_cst) >= kMaxOut || !paused_.exchange(false, std::memory_order_seq_cst))
      return Flow::kPause;
  }
  while (!bytes.empty()) {
    if (chunk_ == nullptr && (chunk_ = hash::make_chunk(hash::kChunkBytes)) == nullptr) {
      out_of_memory_ = true;
      return Flow::kAbort;
    }
    const std::size_t n = std::min(bytes.size(), chunk_->capacity - chunk_->size);
    std::memcpy(chunk_->data() + chunk_->size, bytes.data(), n);
    chunk_->size += n;
    bytes = bytes.subspan(n);
    if (chunk_->size == chunk_->capacity) pass_on();
  }
  return Flow::kContinue;
}

void StreamJob::on_done(Result<fetch::TransferInfo> result) {
  {
    const std::lock_guard lock(mutex_);
    fetcher_ = nullptr;
  }
  if (out_of_memory_) return on_end(Error(ErrorCode::kOutOfMemory, "out of memory for a body's chunk"));
  if (result.ok() && chunk_ != nullptr) pass_on();
  on_end(std::move(result));
}

void StreamJob::chunk_done(hash::Chunk* chunk) noexcept {
  hash::free_chunk(chunk);
  out_.fetch_sub(1, std::memory_order_seq_cst);
  if (!paused_.exchange(false, std::memory_order_seq_cst)) return;
  const std::lock_guard lock(mutex_);
  if (fetcher_ != nullptr) fetcher_->resume(id_.load(std::memory_order_acquire));
}

}  // namespace offloop::pipeline
