#include "offloop/hash/hash.h"

#include <openssl/evp.h>

#include <memory>
#include <utility>

#include "hash/dispatch.h"
#include "offloop/hash/cpu.h"
#include "offloop/hash/file_reader.h"
#include "offloop/hash/stream.h"

namespace offloop::hash {
namespace {

using runtime::Outcome;

Error self_test_failure() noexcept {
  try {
    return {ErrorCode::kInternal, self_test_error()};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::kOutOfMemory, "out of memory"};
  }
}

/// Why a stream ended without a digest.
Error stream_error(Outcome outcome) noexcept {
  if (outcome == Outcome::kStopped) return {ErrorCode::kStopped, "stopped"};
  if (outcome == Outcome::kOutOfMemory) return {ErrorCode::kOutOfMemory, "out of memory"};
  if (!sha256_trusted()) return self_test_failure();
  return {ErrorCode::kInternal, "the hash function failed"};
}

class MessageState final : public runtime::OperationState<Digest> {
 public:
  explicit MessageState(StreamHandle stream) noexcept : stream_(std::move(stream)) { stream_->sink = this; }
  StreamWork& stream() noexcept { return *stream_; }
  void request_stop() noexcept override { stream_->request_stop(); }

 private:
  void ended(runtime::Work& work) noexcept override {
    result =
        work.outcome == Outcome::kValue ? Result<Digest>(stream_->digest) : Result<Digest>(stream_error(work.outcome));
  }
  const StreamHandle stream_;
};

class FileState final : public runtime::OperationState<Digest>, public FileJob {
 public:
  FileState(std::string path, const Algorithm& algorithm) noexcept : FileJob(std::move(path), algorithm) {}
  void request_stop() noexcept override { FileJob::request_stop(); }

 private:
  using runtime::OperationState<Digest>::ended;
  void ended(runtime::Work&) noexcept override {}
  void ended(Result<Digest> digest) noexcept override {
    result = std::move(digest);
    complete();
  }
};

template <class State>
Operation<Digest> failed(State* state, Error error) {
  state->result = std::move(error);
  Operation<Digest> handle(state);
  state->complete();
  return handle;
}

/// Ended before anybody sees it.
struct ReadyState final : runtime::OperationState<Digest> {
  void ended(runtime::Work&) noexcept override {}
};

/// Hashed here and now: for a worker, which must not wait for a worker.
Operation<Digest> run_inline(const Algorithm& algorithm, ByteSpan data) {
  auto* state = new ReadyState;
  const std::optional<Digest> digest = digest_now(data, algorithm);
  state->result = digest ? Result<Digest>(*digest) : Result<Digest>(stream_error(Outcome::kError));
  Operation<Digest> handle(state);
  state->complete();
  return handle;
}

Operation<Digest> submit(const Algorithm& algorithm, ByteSpan data) {
  if (runtime::Pool::on_worker()) return run_inline(algorithm, data);
  StreamHandle stream = make_stream(algorithm);
  if (stream == nullptr) return failed(new ReadyState, Error(ErrorCode::kOutOfMemory, "out of memory for a stream"));
  set_stream_span(*stream, data, true);
  auto* state = new MessageState(std::move(stream));
  runtime::Pool* pool = runtime::Pool::instance();
  if (pool == nullptr) return failed(state, Error(ErrorCode::kOutOfMemory, "no worker thread could be started"));
  Operation<Digest> handle(state);
  if (!pool->submit(&state->stream())) {
    state->result = Error(ErrorCode::kPoolClosed, "the pool was shut down");
    state->complete();
  }
  return handle;
}

}  // namespace

Operation<Digest> sha256(ByteSpan data) {
  return submit(Algorithm::sha256(), data);
}

Operation<Digest> digest(ByteSpan data, std::string_view algorithm) {
  Result<const Algorithm*> found = Algorithm::find(algorithm);
  if (!found.ok()) return failed(new ReadyState, std::move(found).error());
  return submit(*found.value(), data);
}

Operation<Digest> file_digest(std::string path, std::string_view algorithm) {
  Result<const Algorithm*> found = Algorithm::find(algorithm);
  if (!found.ok()) return failed(new ReadyState, std::move(found).error());
  auto* state = new FileState(std::move(path), *found.value());
  Operation<Digest> handle(state);
  if (!state->start()) {
    state->result = Error(ErrorCode::kOutOfMemory, "no reader thread could be started");
    state->complete();
  }
  return handle;
}

Digest sha256_now(ByteSpan data) noexcept {
  Digest digest;
  if (!sha256_trusted()) return digest;
  sha256_oneshot(data.data(), data.size(), digest.bytes);
  digest.size = 32;
  return digest;
}

std::optional<Digest> digest_now(ByteSpan data, const Algorithm& algorithm) noexcept {
  if (algorithm.has_lanes()) return sha256_trusted() ? std::optional<Digest>(sha256_now(data)) : std::nullopt;
  Digest digest;
  unsigned size = 0;
  const auto* method = static_cast<const EVP_MD*>(algorithm.evp());
  if (EVP_Digest(data.data(), data.size(), digest.bytes, &size, method, nullptr) != 1) return std::nullopt;
  digest.size = static_cast<std::uint8_t>(size);
  return digest;
}

}  // namespace offloop::hash
