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
struct HashQueue;

/// One URL on its way to a digest. Derive, start() once; ended() is called exactly once for each start() that
/// succeeded.
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
  friend struct HashQueue;
  void on_accepted(fetch::TransferId id) override;
  // [I/O thread]
  void on_response(const fetch::ResponseHead& head) override;
  fetch::Flow on_body(ByteSpan bytes) override;
  void on_done(Result<fetch::TransferInfo> result) override;
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
  HashingFetcher* fetcher_ =
      nullptr;  ///< touched only while the transfer lives: it may be gone before the digest comes
  std::shared_ptr<HashQueue> queue_;
  std::atomic<fetch::TransferId> id_{0};  ///< 0 before and after the transfer
  hash::PieceStream* stream_ = nullptr;   ///< made when a body is larger than one chunk
  hash::Chunk* chunk_ = nullptr;          ///< being filled
  std::int64_t content_length_ = -1;
  unsigned chunks_fed_ = 0;
  std::atomic<std::uint64_t> charged_{0};  ///< bytes of this body in the fetcher's count of queued bytes
  std::atomic<bool> paused_{false};
  bool stream_failed_ = false;  ///< the stream ended early, and on_end() will say why
  Error error_;                 ///< why the stream was aborted
  HashedBody body_;
};

/// A Fetcher whose bodies end as digests. Threads as Fetcher. Destroying it ends what still runs, as ~Fetcher does; a
/// body that has come whole is hashed to its end all the same.
class HashingFetcher {
 public:
  /// Body bytes that may wait to be hashed, over all transfers, before transfers are paused.
  static constexpr std::uint64_t kQueueBytes = 64ULL << 20;

  static Result<std::unique_ptr<HashingFetcher>> create(fetch::FetcherOptions options);
  ~HashingFetcher();
  HashingFetcher(const HashingFetcher&) = delete;
  HashingFetcher& operator=(const HashingFetcher&) = delete;

  /// Fetches and hashes one URL. Errors as Fetcher's, or kInvalidArgument for an unknown algorithm. [any thread]
  Operation<HashedBody> fetch_and_hash(const std::string& url, std::string_view algorithm = "sha256");

  [[nodiscard]] fetch::Fetcher& fetcher() noexcept { return *fetcher_; }
  /// Body bytes that wait to be hashed now. [any thread]
  [[nodiscard]] std::uint64_t queued_bytes() const noexcept;

 private:
  friend class FetchHashJob;
  HashingFetcher(std::unique_ptr<fetch::Fetcher> fetcher, std::shared_ptr<HashQueue> queue);

  const std::unique_ptr<fetch::Fetcher> fetcher_;
  const std::shared_ptr<HashQueue> queue_;
};

}  // namespace offloop::pipeline
