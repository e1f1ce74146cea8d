// The inside of a Fetcher, shared with its I/O threads so that a thread which outlives a bounded close() harms nobody.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "fetch/admission.h"
#include "fetch/config.h"
#include "fetch/io_thread.h"
#include "fetch/mailbox.h"
#include "fetch/resolver.h"

namespace offloop::fetch {

class Core : public std::enable_shared_from_this<Core> {
 public:
  static Result<std::shared_ptr<Core>> create(FetcherOptions options);
  ~Core();

  Result<TransferId> start(const Request& request, BodyConsumer* consumer);
  std::vector<Result<TransferId>> start_many(const std::vector<Fetcher::Start>& starts);
  void cancel(std::span<const TransferId> ids) noexcept;
  void resume(TransferId id) noexcept;
  bool close(bool wait, double timeout_s);
  FetcherStats stats() const;

  /// False in a child of the process that made it.
  bool in_own_process() const noexcept;
  /// Closes descriptors by number and keeps the memory for ever.
  void abandon_in_child() noexcept;

  const Config& config() const noexcept { return config_; }
  void set_observer(RoundObserver* observer) { observer_.store(observer, std::memory_order_release); }

 private:
  Core(FetcherOptions options, AddressPolicy policy, Overrides overrides);

  Result<std::unique_ptr<Transfer>> make_transfer(const Request& request, BodyConsumer* consumer) const;
  Error start_threads();
  Result<TransferId> try_start(const Request& request, BodyConsumer* consumer);
  void hand_over(Burst& ready) noexcept;
  bool on_io_thread() const;

  std::shared_ptr<Core> abandoned_;  ///< itself, in a forked child
  const std::uint32_t generation_;
  Config config_;
  Admission admission_;
  Resolver resolver_;
  std::vector<std::shared_ptr<Mailbox>> mailboxes_;
  std::vector<std::unique_ptr<IoThread>> io_;
  std::atomic<RoundObserver*> observer_{nullptr};

  std::atomic<bool> started_{false};
  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable exited_;
  std::vector<std::thread> threads_;
  unsigned alive_ = 0;
  bool closed_ = false;
};

/// The process's Fetchers, for close_all_fetchers(). [any thread]
void register_core(Core* core);
void unregister_core(Core* core) noexcept;

}  // namespace offloop::fetch
