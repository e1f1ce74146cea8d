#include "fetch/core.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <new>
#include <system_error>
#include <utility>

#include "fetch/curl_errors.h"
#include "fetch/threads.h"

namespace offloop::fetch {
namespace {

Error forked_error() {
  return Error(ErrorCode::kPoolClosed, "the fetcher belongs to the parent process: make a new one after fork()");
}

Error io_error(const char* what) {
  if (errno == ENOMEM) return Error(ErrorCode::kOutOfMemory, "out of memory");
  return Error(ErrorCode::kIo, std::string(what) + ": " + std::system_category().message(errno), {}, errno);
}

}  // namespace

Core::Core(FetcherOptions options, AddressPolicy policy, Overrides overrides)
    : generation_(fork_generation()),
      admission_(options.max_concurrent, options.per_host, options.io_threads),
      resolver_(std::move(overrides)) {
  // A proxy would be asked to connect on our behalf, and the guard would judge the proxy's address instead of the
  // peer's.
  if (options.env_proxy && policy.allows_everything()) config_.proxy = EnvProxy::from_environment();
  config_.policy = std::move(policy);
  config_.base_headers = base_headers(options);
  config_.headers = build_headers(config_.base_headers, {}, HeaderScope::kSameOrigin);
  config_.stripped_headers = build_headers(config_.base_headers, {}, HeaderScope::kOtherOrigin);
  config_.origin_bound = has_origin_bound(options.headers);
  config_.options = std::move(options);
}

Result<std::shared_ptr<Core>> Core::create(FetcherOptions options) {
  if (Result<Unit> valid = validate(options); !valid) return std::move(valid).error();
  if (!options.ca_file.empty() && ::access(options.ca_file.c_str(), R_OK) != 0) {
    Error error = io_error("ca_file cannot be read");
    error.context = options.ca_file;
    return error;
  }
  watch_forks();
  if (Error error = init_curl_once(); error.code != ErrorCode::kOk) return error;

  AddressPolicy policy = AddressPolicy::create(options.addresses, options.allow_cidrs, options.deny_cidrs).value();
  Overrides overrides = parse_overrides(options.resolve).value();
  const unsigned io_threads = options.io_threads;
  std::shared_ptr<Core> core(new Core(std::move(options), std::move(policy), std::move(overrides)));
  for (unsigned i = 0; i < io_threads; ++i) {
    auto mailbox = std::make_shared<Mailbox>();
    if (mailbox->event_fd() < 0) return io_error("eventfd");
    core->mailboxes_.push_back(std::move(mailbox));
  }
  for (unsigned i = 0; i < io_threads; ++i) {
    std::unique_ptr<IoThread> io =
        IoThread::create(i, {core->config_, core->admission_, core->resolver_, core->mailboxes_, core->observer_});
    if (!io) return io_error("I/O thread");
    core->io_.push_back(std::move(io));
  }
  register_core(core.get());
  return core;
}

Core::~Core() {
  unregister_core(this);
  for (std::thread& thread : threads_) thread.detach();  // closed by one of them, which now drops the last reference
}

bool Core::in_own_process() const noexcept {
  return generation_ == fork_generation();
}

void Core::abandon_in_child() noexcept {
  for (const auto& io : io_) io->close_in_child();
  abandoned_ = shared_from_this();
}

Result<std::unique_ptr<Transfer>> Core::make_transfer(const Request& request, BodyConsumer* consumer) const {
  if (consumer == nullptr) return Error(ErrorCode::kInvalidArgument, "consumer is null");
  Result<Url> url = parse_url(request.url);
  if (!url) return std::move(url).error();
  const double timeout_s = request.timeout.value_or(config_.options.timeout);
  if (request.timeout) {
    FetcherOptions with;
    with.timeout = timeout_s;
    if (Result<Unit> valid = validate(with); !valid) return std::move(valid).error();
  }
  auto transfer = std::make_unique<Transfer>();
  transfer->consumer = consumer;
  transfer->first_url = std::move(url).value();
  transfer->method = request.method;
  transfer->timeout = std::isinf(timeout_s)
                          ? Clock::duration::max()
                          : std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_s));
  transfer->max_body = request.max_body.value_or(config_.options.max_body);
  if (!request.headers.empty()) {
    if (Result<Unit> valid = check_headers(request.headers); !valid) return std::move(valid).error();
    const std::vector<Header>& base = config_.base_headers;
    transfer->own_headers = build_headers(base, request.headers, HeaderScope::kSameOrigin);
    transfer->origin_bound = config_.origin_bound || has_origin_bound(request.headers);
    if (transfer->origin_bound) {
      transfer->stripped_headers = build_headers(base, request.headers, HeaderScope::kOtherOrigin);
    }
  }
  return transfer;
}

Result<TransferId> Core::start(const Request& request, BodyConsumer* consumer) {
  try {
    return try_start(request, consumer);
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory");
  }
}

Result<TransferId> Core::try_start(const Request& request, BodyConsumer* consumer) {
  if (!in_own_process()) return forked_error();
  Result<std::unique_ptr<Transfer>> transfer = make_transfer(request, consumer);
  if (!transfer) return std::move(transfer).error();
  if (Error error = start_threads(); error.code != ErrorCode::kOk) return error;
  Burst ready;
  Result<TransferId> id = admission_.submit(std::move(transfer).value(), ready);
  hand_over(ready);
  return id;
}

std::vector<Result<TransferId>> Core::start_many(const std::vector<Fetcher::Start>& starts) {
  std::vector<Result<TransferId>> results;
  results.reserve(starts.size());
  const auto refuse_all = [&](const Error& error) {
    results.assign(starts.size(), Result<TransferId>(error));
    return std::move(results);
  };
  if (!in_own_process()) return refuse_all(forked_error());
  if (Error error = start_threads(); error.code != ErrorCode::kOk) return refuse_all(error);

  std::vector<std::unique_ptr<Transfer>> transfers(starts.size());
  for (std::size_t i = 0; i < starts.size(); ++i) {
    Result<std::unique_ptr<Transfer>> transfer = make_transfer(starts[i].request, starts[i].consumer);
    if (transfer) {
      transfers[i] = std::move(transfer).value();
      results.emplace_back(TransferId{});
    } else {
      results.emplace_back(std::move(transfer).error());
    }
  }
  Burst ready;  // from here on nothing fails
  admission_.submit_all(std::move(transfers), results, ready);
  hand_over(ready);
  return results;
}

void Core::hand_over(Burst& ready) noexcept {
  for (; !ready.empty(); admission_.pump(ready)) {
    post_all(mailboxes_, Command::Kind::kStart, ready);
    if (!ready.full()) return;
  }
}

void Core::cancel(std::span<const TransferId> ids) noexcept {
  if (!in_own_process()) return;
  Burst cancelled;
  for (const TransferId id : ids) {
    if (const int io = admission_.cancel(id); io >= 0) cancelled.add(id, static_cast<unsigned>(io));
    if (!cancelled.full()) continue;
    post_all(mailboxes_, Command::Kind::kCancel, cancelled);
    cancelled.clear();
  }
  if (!cancelled.empty()) post_all(mailboxes_, Command::Kind::kCancel, cancelled);
}

void Core::resume(TransferId id) noexcept {
  if (!in_own_process()) return;
  if (const int io = admission_.io_of(id); io >= 0) {
    mailboxes_[static_cast<std::size_t>(io)]->post({Command::Kind::kResume, id, nullptr});
  }
}

Error Core::start_threads() {
  if (started_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(mutex_);
  if (closed_) return Error(ErrorCode::kPoolClosed, "the fetcher is closed");
  const BlockedSignals blocked;
  errno = 0;
  try {
    while (threads_.size() < io_.size()) {
      threads_.emplace_back([core = shared_from_this(), index = threads_.size()] {
        core->io_[index]->run();
        const std::lock_guard exit_lock(core->mutex_);
        --core->alive_;
        core->exited_.notify_all();
      });
      ++alive_;
    }
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory");
  } catch (const std::system_error& e) {
    if (errno == ENOMEM) return Error(ErrorCode::kOutOfMemory, "out of memory");
    return Error(ErrorCode::kIo, std::string("no I/O thread: ") + e.what(), {}, e.code().value());
  }
  started_.store(true, std::memory_order_release);
  return {};
}

bool Core::on_io_thread() const {
  return std::any_of(threads_.begin(), threads_.end(),
                     [](const std::thread& thread) { return thread.get_id() == std::this_thread::get_id(); });
}

bool Core::close(bool wait, double timeout_s) {
  admission_.close();
  std::unique_lock lock(mutex_);
  if (!std::exchange(closed_, true)) {
    for (std::size_t i = 0; i < threads_.size(); ++i) mailboxes_[i]->post({});
  }
  if (!wait || on_io_thread()) return alive_ == 0;
  const auto limit = std::chrono::duration<double>(std::min(timeout_s, 1e6));
  const bool ended = exited_.wait_for(lock, limit, [&] { return alive_ == 0; });
  std::vector<std::thread> threads = std::exchange(threads_, {});
  lock.unlock();
  for (std::thread& thread : threads) {
    if (ended)
      thread.join();  // it has nothing left to run but its return
    else
      thread.detach();
  }
  return ended;
}

FetcherStats Core::stats() const {
  FetcherStats stats;
  if (!in_own_process()) return stats;
  stats.queued = admission_.queued();
  stats.running = admission_.running();
  stats.lookups = resolver_.lookups();
  for (const auto& io : io_) {
    const IoCounters& counters = io->counters();
    stats.done += counters.done.load(std::memory_order_relaxed);
    stats.failed += counters.failed.load(std::memory_order_relaxed);
    stats.stopped += counters.stopped.load(std::memory_order_relaxed);
    stats.body_bytes += counters.body_bytes.load(std::memory_order_relaxed);
    stats.connections_opened += counters.connections_opened.load(std::memory_order_relaxed);
    stats.wakes += counters.wakes.load(std::memory_order_relaxed);
  }
  return stats;
}

}  // namespace offloop::fetch
