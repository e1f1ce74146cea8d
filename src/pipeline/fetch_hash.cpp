#include "offloop/pipeline/fetch_hash.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "offloop/base/counters.h"
#include "offloop/hash/hash.h"

namespace offloop::pipeline {
namespace {

using fetch::Flow;
using hash::Chunk;
using runtime::Outcome;

/// Chunks of one body between the network and the lanes (docs/design/pipeline.md).
constexpr unsigned kMaxChunks = 4;
/// A body up to here is hashed on the I/O thread, in about 2 us: handing it over and waking a worker costs more.
constexpr std::size_t kInlineBytes = 4096;
/// The first chunk of a body whose length is not known.
constexpr std::size_t kFirstChunkBytes = 32 * 1024;

}  // namespace

/// What a HashingFetcher and its jobs share. It outlives the fetcher: workers end bodies that came before it was
/// destroyed.
struct HashQueue final : fetch::RoundObserver {
  std::atomic<runtime::PortItem*> round{nullptr};  ///< small bodies of this round, of all I/O threads
  std::atomic<std::uint64_t> bytes{0};

  void on_round_end(unsigned io_thread) override;
  /// A whole body in one chunk: joins the batch that this epoll round hands to the pool. [I/O thread]
  bool add_small(FetchHashJob& job, ByteSpan body) noexcept;
  /// An I/O thread may still call it: never freed. [any thread]
  static void keep(std::shared_ptr<HashQueue> queue) noexcept;

  struct SmallBody;
  std::shared_ptr<HashQueue> self;  ///< of a kept one
  HashQueue* next_kept = nullptr;
};

/// A body that fits one chunk, as a message of the pool. Ends in its job.
struct HashQueue::SmallBody final : runtime::Sink {
  hash::Sha256Work work;
  FetchHashJob* job = nullptr;

  void accept(runtime::PortItem*, runtime::PortItem*) noexcept override {  // [worker]
    FetchHashJob* owner = job;
    const Outcome outcome = work.outcome;
    const hash::Digest digest = work.digest;
    delete this;
    owner->on_end(outcome, digest);
  }
};

void HashQueue::on_round_end(unsigned) {
  runtime::PortItem* first = round.exchange(nullptr, std::memory_order_acq_rel);
  std::size_t n = 0;
  for (const runtime::PortItem* item = first; item != nullptr; item = item->next) ++n;
  if (n == 0) return;
  runtime::Pool* pool = runtime::Pool::instance();
  if (pool != nullptr && pool->submit(static_cast<runtime::Work*>(first), n)) return;
  while (first != nullptr) {  // the pool is closed, or cannot start
    auto* work = static_cast<runtime::Work*>(first);
    first = first->next;
    work->outcome = pool != nullptr ? Outcome::kStopped : Outcome::kOutOfMemory;
    work->sink->accept(work, work);
  }
}

bool HashQueue::add_small(FetchHashJob& job, ByteSpan body) noexcept {
  auto* small = new (std::nothrow) SmallBody;
  if (small == nullptr) return false;
  small->job = &job;
  small->work.set_message(body, hash::sha256_group());
  small->work.sink = small;
  runtime::PortItem* head = round.load(std::memory_order_relaxed);
  do {
    small->work.next = head;
  } while (!round.compare_exchange_weak(head, &small->work, std::memory_order_acq_rel, std::memory_order_relaxed));
  return true;
}

void HashQueue::keep(std::shared_ptr<HashQueue> queue) noexcept {
  static std::atomic<HashQueue*> kept{nullptr};  // reachable for leak checkers
  HashQueue* raw = queue.get();
  raw->self = std::move(queue);
  raw->next_kept = kept.load(std::memory_order_relaxed);
  while (!kept.compare_exchange_weak(raw->next_kept, raw, std::memory_order_acq_rel)) {
  }
}

// ---- HashingFetcher
// -------------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<HashingFetcher>> HashingFetcher::create(fetch::FetcherOptions options) {
  Result<std::unique_ptr<fetch::Fetcher>> fetcher = fetch::Fetcher::create(std::move(options));
  if (!fetcher.ok()) return std::move(fetcher).error();
  try {
    return std::unique_ptr<HashingFetcher>(
        new HashingFetcher(std::move(fetcher).value(), std::make_shared<HashQueue>()));
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory");
  }
}

HashingFetcher::HashingFetcher(std::unique_ptr<fetch::Fetcher> fetcher, std::shared_ptr<HashQueue> queue)
    : fetcher_(std::move(fetcher)), queue_(std::move(queue)) {
  fetcher_->set_round_observer(queue_.get());
}

HashingFetcher::~HashingFetcher() {
  // False on an I/O thread (a job's end was the last to hold the fetcher), or when one does not come to an end.
  if (!fetcher_->close()) HashQueue::keep(queue_);
}

std::uint64_t HashingFetcher::queued_bytes() const noexcept {
  return queue_->bytes.load(std::memory_order_relaxed);
}

// ---- FetchHashJob
// ---------------------------------------------------------------------------------------------------------------

FetchHashJob::~FetchHashJob() {
  if (stream_ != nullptr) stream_->drop();
  hash::free_chunk(chunk_);
}

Result<Unit> FetchHashJob::start(HashingFetcher& fetcher, const fetch::Request& request) {
  fetcher_ = &fetcher;
  queue_ = fetcher.queue_;
  Result<fetch::TransferId> id = fetcher.fetcher().start(request, this);
  if (!id.ok()) return std::move(id).error();
  return Unit{};  // the job may be gone already
}

void FetchHashJob::cancel() noexcept {
  if (const fetch::TransferId id = id_.load(std::memory_order_acquire); id != 0) fetcher_->fetcher().cancel(id);
}

void FetchHashJob::on_accepted(fetch::TransferId id) {
  id_.store(id, std::memory_order_release);
}

void FetchHashJob::on_response(const fetch::ResponseHead& head) {
  content_length_ = head.content_length;
}

/// Room for the next bytes: a first chunk of the body's length where that is known and small, full chunks afterwards.
bool FetchHashJob::make_room() noexcept {
  std::size_t capacity = hash::kChunkBytes;
  if (stream_ == nullptr && chunks_fed_ == 0) {
    const auto length =
        static_cast<std::uint64_t>(content_length_ >= 0 ? content_length_ : std::int64_t{kFirstChunkBytes});
    capacity =
        static_cast<std::size_t>(std::clamp<std::uint64_t>((length + 63) & ~std::uint64_t{63}, 64, hash::kChunkBytes));
  }
  chunk_ = hash::make_chunk(capacity);
  return chunk_ != nullptr;
}

bool FetchHashJob::may_feed() const noexcept {
  if (stream_ == nullptr) return true;
  const unsigned waiting = stream_->chunks();
  // A stream with nothing on its way may always go on: no other event would wake it.
  return waiting == 0 ||
         (waiting < kMaxChunks && queue_->bytes.load(std::memory_order_relaxed) < HashingFetcher::kQueueBytes);
}

/// The chunk is full and more follows.
bool FetchHashJob::feed_chunk() noexcept {
  if (stream_ == nullptr && (stream_ = hash::PieceStream::create(algorithm_, *this)) == nullptr) {
    error_ = Error(ErrorCode::kOutOfMemory, "out of memory for a stream");
    return false;
  }
  ++chunks_fed_;
  charge(chunk_->size);
  stream_failed_ = !stream_->feed(std::exchange(chunk_, nullptr));
  return !stream_failed_;
}

/// Before the chunk is fed: a worker may report it as consumed at once.
void FetchHashJob::charge(std::size_t bytes) noexcept {
  charged_.fetch_add(bytes, std::memory_order_relaxed);
  queue_->bytes.fetch_add(bytes, std::memory_order_relaxed);
}

/// The body's end, by its stream: what is left in one chunk, if anything.
void FetchHashJob::feed_rest() noexcept {
  if (chunk_ == nullptr) {
    stream_->finish();
    return;
  }
  charge(chunk_->size);
  stream_->feed_last(std::exchange(chunk_, nullptr));
}

Flow FetchHashJob::on_body(ByteSpan bytes) {
  const std::size_t room = chunk_ != nullptr ? chunk_->capacity - chunk_->size : 0;
  if (bytes.size() > room && chunk_ != nullptr && !may_feed()) {
    // Too much waits to be hashed. The worker that takes a chunk resumes, or this thread goes on if that happened just
    // now. An exchange, not a store: it reads what the last worker wrote there, and so sees the chunks that worker
    // took.
    paused_.exchange(true, std::memory_order_seq_cst);
    if (!may_feed() || !paused_.exchange(false, std::memory_order_seq_cst)) return Flow::kPause;
  }
  while (!bytes.empty()) {
    if (chunk_ != nullptr && chunk_->size == chunk_->capacity && !feed_chunk()) return Flow::kAbort;
    if (chunk_ == nullptr && !make_room()) {
      error_ = Error(ErrorCode::kOutOfMemory, "out of memory for a body's chunk");
      return Flow::kAbort;
    }
    const std::size_t n = std::min(bytes.size(), chunk_->capacity - chunk_->size);
    std::memcpy(chunk_->data() + chunk_->size, bytes.data(), n);
    chunk_->size += n;
    bytes = bytes.subspan(n);
  }
  return Flow::kContinue;
}

void FetchHashJob::on_done(Result<fetch::TransferInfo> result) {
  // Nobody resumes or cancels any more. A worker that does so just now holds the stream's lock, for which abort(),
  // finish() and feed_last() wait; so once this has returned nobody touches the fetcher.
  id_.store(0, std::memory_order_release);
  paused_.store(false, std::memory_order_seq_cst);
  if (!result.ok()) {
    if (error_.code == ErrorCode::kOk && !stream_failed_) error_ = std::move(result).error();
    if (stream_ != nullptr) return stream_->abort();  // on_end() follows
    return finish(std::move(error_));
  }
  body_.info = std::move(result).value();
  if (stream_ != nullptr) return feed_rest();
  const ByteSpan body = chunk_ != nullptr ? ByteSpan(chunk_->data(), chunk_->size) : ByteSpan();
  if (!algorithm_.has_lanes()) {
    stream_ = hash::PieceStream::create(algorithm_, *this);
    if (stream_ == nullptr) return finish(Error(ErrorCode::kOutOfMemory, "out of memory for a stream"));
    return feed_rest();
  }
  if (body.size() <= kInlineBytes) {
    const hash::Digest digest = hash::sha256_now(body);
    return on_end(digest.size != 0 ? Outcome::kValue : Outcome::kError, digest);
  }
  if (!queue_->add_small(*this, body)) finish(Error(ErrorCode::kOutOfMemory, "out of memory for a stream"));
}

void FetchHashJob::on_consumed(std::size_t bytes) noexcept {
  charged_.fetch_sub(bytes, std::memory_order_relaxed);
  queue_->bytes.fetch_sub(bytes, std::memory_order_relaxed);
  if (paused_.exchange(false, std::memory_order_seq_cst))
    fetcher_->fetcher().resume(id_.load(std::memory_order_acquire));
}

void FetchHashJob::on_end(Outcome outcome, const hash::Digest& digest) noexcept {
  // The last chunk, and those that were never hashed, are reported by nobody.
  queue_->bytes.fetch_sub(charged_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  if (outcome == Outcome::kValue) {
    body_.digest = digest;
    return ended(Result<HashedBody>(std::move(body_)));
  }
  if (error_.code == ErrorCode::kOk) {
    error_ = outcome == Outcome::kStopped       ? Error(ErrorCode::kPoolClosed, "the pool was shut down")
             : outcome == Outcome::kOutOfMemory ? Error(ErrorCode::kOutOfMemory, "out of memory")
                                                : Error(ErrorCode::kInternal, "the hash function failed");
  }
  finish(std::move(error_));
}

void FetchHashJob::finish(Error error) noexcept {
  ended(Result<HashedBody>(std::move(error)));
}

// ---- the C++ operation
// ----------------------------------------------------------------------------------------------------------

namespace {

class OperationJob final : public runtime::OperationState<HashedBody>, public FetchHashJob {
 public:
  explicit OperationJob(const hash::Algorithm& algorithm) noexcept : FetchHashJob(algorithm) {}
  void request_stop() noexcept override { FetchHashJob::cancel(); }

 private:
  using runtime::OperationState<HashedBody>::ended;
  void ended(runtime::Work&) noexcept override {}
  void ended(Result<HashedBody> body) noexcept override {
    result = std::move(body);
    complete();
  }
};

struct FailedOperation final : runtime::OperationState<HashedBody> {
  void ended(runtime::Work&) noexcept override {}
};

}  // namespace

Operation<HashedBody> HashingFetcher::fetch_and_hash(const std::string& url, std::string_view algorithm) {
  Result<const hash::Algorithm*> found = hash::Algorithm::find(algorithm);
  if (!found.ok()) {
    auto* failed = new FailedOperation;
    failed->result = std::move(found).error();
    Operation<HashedBody> handle(failed);
    failed->complete();
    return handle;
  }
  fetch::Request request;
  request.url = url;
  auto* job = new OperationJob(*found.value());
  Operation<HashedBody> handle(job);
  if (Result<Unit> started = job->start(*this, request); !started.ok()) {
    job->result = std::move(started).error();
    job->complete();
  }
  return handle;
}

}  // namespace offloop::pipeline
