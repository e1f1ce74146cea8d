// A whole body in memory.
#pragma once

#include <atomic>
#include <cstdlib>
#include <memory>

#include "offloop/fetch/fetcher.h"

namespace offloop::fetch {

/// Bytes from malloc, moved, never copied.
class OwnedBytes {
 public:
  OwnedBytes() noexcept = default;
  OwnedBytes(OwnedBytes&& other) noexcept { swap(other); }
  OwnedBytes& operator=(OwnedBytes&& other) noexcept {
    swap(other);
    return *this;
  }
  ~OwnedBytes() { std::free(data_); }

  /// False when memory is out; what was there stays.
  bool append(ByteSpan bytes) noexcept;
  bool reserve(std::size_t capacity) noexcept;
  [[nodiscard]] ByteSpan span() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void swap(OwnedBytes& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

struct CollectedBody {
  OwnedBytes body;
  TransferInfo info;
};

/// One URL on its way into memory. Derive, start() once; ended() is called exactly once for each start() that
/// succeeded.
class CollectJob : private BodyConsumer {
 public:
  CollectJob() = default;
  CollectJob(const CollectJob&) = delete;
  CollectJob& operator=(const CollectJob&) = delete;
  ~CollectJob() override = default;

  /// Errors: as Fetcher::start; ended() will not be called then. [any thread]
  Result<Unit> start(Fetcher& fetcher, const Request& request);
  /// [any thread, after start() has returned]
  void cancel() noexcept;

 protected:
  /// The last call: the job may be deleted in it. Must not block. [I/O thread]
  virtual void ended(Result<CollectedBody> result) noexcept = 0;

 private:
  void on_accepted(TransferId id) override { id_.store(id, std::memory_order_release); }
  void on_response(const ResponseHead& head) override;
  Flow on_body(ByteSpan bytes) override;
  void on_done(Result<TransferInfo> result) override;

  Fetcher* fetcher_ = nullptr;
  std::atomic<TransferId> id_{0};
  CollectedBody collected_;
  bool out_of_memory_ = false;
};

}  // namespace offloop::fetch
