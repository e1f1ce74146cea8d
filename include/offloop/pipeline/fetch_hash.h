// fetch → hash: bodies are hashed in the core while they arrive, in lanes across concurrent downloads. No body is kept.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "offloop/fetch/fetcher.h"
#include "offloop/hash/digest.h"
#include "offloop/hash/piece_stream.h"
#include "offloop/runtime/operation.h"

namespace offloop::pipeline {

struct HashedBody {
  hash::Digest digest;
  fetch::TransferInfo info;
};

class HashingFetcher;

/// One URL on its way to a digest. Derive, start() once; ended() is called exactly once for each start() that succeeded.
class FetchHashJob : private fetch::BodyConsumer, private hash::PieceStream::Listener {
 public:
  explicit FetchHashJob(const hash::Algorithm& algorithm) noexcept : algorithm_(algorithm) {}
  ~FetchHashJob() override;
  FetchHashJob(const FetchHashJob&) = delete;
  FetchHashJob& operator=(const FetchHashJob&) = delete;

  /// Errors (kInvalidUrl, kInvalidArgument, kPoolClosed): nothing was started, ended() will not be called. [any thread]
  Result<Unit> start(HashingFetcher& fetcher, const fetch::Request& request);
  /// Ends with kStopped soon; the connection is closed. [any thread, after start() has returned]
  void cancel() noexcept;

 protected:
  /// The last call: the job may be deleted in it. Must not block, must not throw. [I/O thread or worker]
  virtual void ended(Result<HashedBody> result) noexcept = 0;

 private:
  friend class HashingFetcher;
  void on_accepted(fetch::TransferId id) override;
  // [I/O thread]
  void on_response(const fetch::ResponseHead& head) override;
  fetch::Flow on_body(ByteSpan bytes) override;
  void on_done(const Result<fetch::TransferInfo>& result) override;
  bool make_room() noexcept;
  [[nodiscard]] bool may_feed() const noexcept;
  bool feed_chunk() noexcept;
  void charge(std::size_t bytes) noexcept;
  void feed_rest() noexcept;
  // [worker]
  void on_consumed(std::size_t bytes) noexcept override;
  void on_end(runtime::Outcome outcome, const hash::Digest& digest) noexcept override;
  void finish(Error error) noexcept;

  const hash::Algorithm& algorithm_;
  HashingFetcher* fetcher_ = nullptr;
  std::atomic<fetch::TransferId> id_{0};
  hash::PieceStream* stream_ = nullptr;   ///< made when a body is larger than one chunk
  hash::Chunk* chunk_ = nullptr;          ///< being filled
  std::int64_t content_length_ = -1;
  unsigned chunks_fed_ = 0;
  std::atomic<std::uint64_t> charged_{0};  ///< bytes of this body in the fetcher's count of queued bytes
  std::atomic<bool> paused_{false};
  Error error_;                           ///< why the stream was aborted
  HashedBody body_;
};

/// A Fetcher whose bodies end as digests. Threads as Fetcher.
class HashingFetcher : private fetch::RoundObserver {
 public:
  /// Body bytes that may wait to be hashed, over all transfers, before transfers are paused.
  static constexpr std::uint64_t kQueueBytes = 64ULL << 20;

  static Result<std::unique_ptr<HashingFetcher>> create(fetch::FetcherOptions options);
  ~HashingFetcher() override;

  /// Fetches and hashes one URL. Errors as Fetcher's, or kInvalidArgument for an unknown algorithm. [any thread]
  Operation<HashedBody> fetch_and_hash(const std::string& url, std::string_view algorithm = "sha256");

  [[nodiscard]] fetch::Fetcher& fetcher() noexcept { return *fetcher_; }

 private:
  friend class FetchHashJob;
  struct SmallBody;
  explicit HashingFetcher(std::unique_ptr<fetch::Fetcher> fetcher);
  void on_round_end(unsigned io_thread) override;
  /// A whole body in one chunk: joins the batch that this epoll round hands to the pool. [I/O thread]
  bool add_small(FetchHashJob& job, ByteSpan body) noexcept;

  std::unique_ptr<fetch::Fetcher> fetcher_;
  std::atomic<runtime::PortItem*> round_{nullptr};  ///< small bodies of this round, of all I/O threads
  std::atomic<std::uint64_t> queued_bytes_{0};
};

}  // namespace offloop::pipeline
