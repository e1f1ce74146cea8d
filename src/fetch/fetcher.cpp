#include "offloop/fetch/fetcher.h"

#include <utility>

#include "fetch/core.h"

namespace offloop::fetch {
namespace {

constexpr double kDestructorSeconds = 0.25;  // at exit nobody waits longer (docs/design/runtime.md)

}  // namespace

Result<std::unique_ptr<Fetcher>> Fetcher::create(FetcherOptions options) {
  Result<std::shared_ptr<Core>> core = Core::create(std::move(options));
  if (!core) return std::move(core).error();
  return std::unique_ptr<Fetcher>(new Fetcher(std::move(core).value()));
}

Fetcher::Fetcher(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Fetcher::~Fetcher() {
  if (core_->in_own_process()) {
    core_->close(true, kDestructorSeconds);
    return;
  }
  // A forked child: locks may be held by threads that do not exist here, and libcurl's clean-up would speak TLS on the
  // parent's connections. Close by number and leave the memory.
  core_->close_in_child();
  new std::shared_ptr<Core>(std::move(core_));
}

Result<TransferId> Fetcher::start(const Request& request, BodyConsumer* consumer) {
  return core_->start(request, consumer);
}

std::vector<Result<TransferId>> Fetcher::start_many(const std::vector<Start>& starts) {
  return core_->start_many(starts);
}

void Fetcher::cancel(TransferId id) {
  core_->cancel({id});
}

void Fetcher::cancel_many(const std::vector<TransferId>& ids) {
  core_->cancel(ids);
}

void Fetcher::resume(TransferId id) {
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
