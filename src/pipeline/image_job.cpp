#include <new>
#include <utility>

#include "offloop/fetch/url.h"
#include "offloop/hash/hash.h"
#include "offloop/pipeline/image.h"
#include "offloop/runtime/clock.h"
#include "pipeline/image_files.h"

namespace offloop::pipeline {
namespace {

using runtime::Outcome;

/// What a picture is taken to cost when the pool decides whether to wake another worker: always worth it.
constexpr std::uint32_t kCostNs = 5'000'000;

}  // namespace

PictureJob::PictureJob(PictureRequest request) : request_(std::move(request)) {
  if (request_.timeout_ns > 0) deadline_ns_ = runtime::now_ns() + request_.timeout_ns;
}

Result<Unit> PictureJob::submit() noexcept {
  runtime::Work& work = *this;
  work.group = &runtime::plain_group();
  work.cost_ns = kCostNs;
  work.sink = this;
  runtime::Pool* pool = runtime::Pool::instance();
  if (pool == nullptr) return runtime::task_error(ErrorCode::kOutOfMemory, "no worker thread could be started");
  if (pool->submit(this)) return Unit{};
  return runtime::task_error(ErrorCode::kPoolClosed, "the pool was shut down: no operation is accepted any more");
}

Result<Unit> PictureJob::start_bytes(ByteSpan data) {
  data_ = data;
  return submit();
}

Result<Unit> PictureJob::start_file(std::string path) {
  path_ = std::move(path);
  from_file_ = true;
  return submit();
}

Result<Unit> PictureJob::start_url(fetch::Fetcher& fetcher, fetch::Request request) {
  if (!request.max_body.has_value() || *request.max_body > request_.recipe.limits.max_bytes)
    request.max_body = request_.recipe.limits.max_bytes;
  if (!request.timeout.has_value() && request_.timeout_ns > 0)
    request.timeout = static_cast<double>(request_.timeout_ns) * 1e-9;
  body_.emplace(*this);
  return body_->start(fetcher, request);
}

void PictureJob::Body::on_started() noexcept {
  owner.transfer_started_ns_ = runtime::now_ns();
}

void PictureJob::body_came(Result<fetch::CollectedBody> result) noexcept {
  if (!result.ok()) return ended(std::move(result).error());
  fetched_ = std::move(result.value().body);
  data_ = fetched_.span();
  Result<Unit> submitted = submit();
  if (!submitted.ok()) ended(std::move(submitted).error());
}

bool PictureJob::cancel() noexcept {
  request_stop();  // first: a body that comes just now is submitted with it
  if (try_stop_queued()) return true;
  if (body_.has_value()) body_->cancel();
  return false;
}

void PictureJob::run_task() noexcept {
  result_.emplace(from_file_ ? make_of_file() : make(data_));
  outcome = result_->ok() ? Outcome::kValue : Outcome::kError;
}

void PictureJob::accept(runtime::PortItem*, runtime::PortItem*) noexcept {
  if (outcome == Outcome::kStopped) return ended(image::stop_error(ErrorCode::kStopped));
  ended(std::move(*result_));
}

void PictureJob::run_here(ByteSpan data) noexcept {
  ended(make(data));
}
void PictureJob::run_file_here(std::string path) noexcept {
  path_ = std::move(path);
  ended(make_of_file());
}

Result<Picture> PictureJob::make_of_file() noexcept {
  try {
    Result<fetch::OwnedBytes> bytes = read_picture_file(path_, request_.recipe.limits.max_bytes);
    if (!bytes.ok()) return std::move(bytes).error();
    Result<Picture> made = make(bytes.value().span());
    if (made.ok() || !made.error().context.empty()) return made;
    Error error = std::move(made).error();
    error.context = path_;
    return error;
  } catch (const std::bad_alloc&) {
    return runtime::task_error(ErrorCode::kOutOfMemory, "out of memory for a picture");
  }
}

Result<Picture> PictureJob::make(ByteSpan data) noexcept {
  try {
    Picture picture;
    picture.input_size = data.size();
    if (request_.hash) picture.input_digest = hash::sha256_now(data);
    Result<image::Processed> processed = image::process(data, request_.recipe, image::Stop(this, deadline_ns_));
    if (!processed.ok()) return std::move(processed).error();
    picture.image = std::move(processed).value();
    const ByteSpan bytes(picture.image.data.data(), picture.image.data.size());
    picture.size = bytes.size();
    if (request_.hash) picture.digest = hash::sha256_now(bytes);
    if (!request_.save_to.empty()) {
      Result<Unit> written = write_picture_file(request_.save_to, bytes);
      if (!written.ok()) return std::move(written).error();
      picture.image.data = {};
    }
    return picture;
  } catch (const std::bad_alloc&) {
    return runtime::task_error(ErrorCode::kOutOfMemory, "out of memory for a picture");
  }
}

namespace {

/// A job that ends in an operation's state, of which it is a part.
class OperationJob final : public PictureJob {
 public:
  OperationJob(PictureRequest request, runtime::OperationState<Picture>& state)
      : PictureJob(std::move(request)), state_(state) {}

 private:
  void ended(Result<Picture> result) noexcept override {
    state_.result = std::move(result);
    state_.complete();
  }
  runtime::OperationState<Picture>& state_;
};

struct PictureState final : runtime::OperationState<Picture> {
  explicit PictureState(PictureRequest request) : job(std::move(request), *this) {}
  void request_stop() noexcept override { job.cancel(); }
  void ended(runtime::Work&) noexcept override {}
  OperationJob job;
};

template <class Start, class Here>
Operation<Picture> started(PictureRequest request, Start start, Here here) {
  auto* state = new PictureState(std::move(request));
  Operation<Picture> handle(state);
  if (runtime::Pool::on_worker()) {
    here(state->job);
    return handle;
  }
  try {
    Result<Unit> result = start(state->job);
    if (result.ok()) return handle;
    state->result = std::move(result).error();
  } catch (const std::bad_alloc&) {
    state->result = runtime::task_error(ErrorCode::kOutOfMemory, "out of memory for a picture");
  }
  state->complete();
  return handle;
}

}  // namespace

Operation<Picture> process_picture(ByteSpan data, PictureRequest request) {
  return started(
      std::move(request), [&](PictureJob& job) { return job.start_bytes(data); },
      [&](PictureJob& job) { job.run_here(data); });
}

Operation<Picture> process_picture_file(std::string path, PictureRequest request) {
  return started(
      std::move(request), [&](PictureJob& job) { return job.start_file(path); },
      [&](PictureJob& job) { job.run_file_here(path); });
}

Operation<image::ImageInfo> read_picture_info(std::string path, image::Limits limits) {
  return spawn([path = std::move(path), limits](StopToken) -> Result<image::ImageInfo> {
    Result<fetch::OwnedBytes> bytes = read_picture_file(path, limits.max_bytes);
    if (!bytes.ok()) return std::move(bytes).error();
    Result<image::ImageInfo> info = image::read_info(bytes.value().span(), limits);
    if (info.ok()) return info;
    Error error = std::move(info).error();
    error.context = path;
    return error;
  });
}

}  // namespace offloop::pipeline
