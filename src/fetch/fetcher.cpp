#include "offloop/fetch/fetcher.h"

#include <new>
#include <utility>

#include "fetch/core.h"

namespace offloop::fetch {
namespace {

constexpr double kDestructorSeconds = 0.25;  // at exit nobody waits longer (docs/design/runtime.md)

}  // namespace

Result<std::unique_ptr<Fetcher>> Fetcher::create(FetcherOptions options) {
  try {
    Result<std::shared_ptr<Core>> core = Core::create(std::move(options));
    if (!core) return std::move(core).error();
    return std::unique_ptr<Fetcher>(new Fetcher(std::move(core).value()));
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory");
  }
}

Fetcher::Fetcher(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Fetcher::~Fetcher() {
  if (core_->in_own_process()) {
    core_->close(true, kDestructorSeconds);
    return;
  }
  // A forked child: locks may be held by threads that do not exist here, and libcurl's clean-up would speak TLS on the
  // parent's connections. Close by number and leave the memory.
  core_->abandon_in_child();
}

Result<TransferId> Fetcher::start(const Request& request, BodyConsumer* consumer) {
  return core_->start(request, consumer);
}

std::vector<Result<TransferId>> Fetcher::start_many(const std::vector<Start>& starts) {
  return core_->start_many(starts);
}

void Fetcher::cancel(TransferId id) noexcept {
  core_->cancel({&id, 1});
}

void Fetcher::cancel_many(const std::vector<TransferId>& ids) noexcept {
  core_->cancel(ids);
}

void Fetcher::resume(TransferId id) noexcept {
  core_->resume(id);
}

bool Fetcher::close(bool wait, double timeout_s) {
  return !core_->in_own_process() || core_->close(wait, timeout_s);
}

FetcherStats Fetcher::stats() const {
  return core_->stats();
}

void Fetcher::set_round_observer(RoundObserver* observer) {
  core_->set_observer(observer);
}

const FetcherOptions& Fetcher::options() const noexcept {
  return core_->config().options;
}

}  // namespace offloop::fetch
