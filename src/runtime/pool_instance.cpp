// The process's one pool: made on first use, made anew after a fork, ended at exit.
#include <algorithm>
#include <cstdlib>

#include "offloop/runtime/clock.h"
#include "offloop/runtime/fork.h"
#include "parking.h"
#include "pool_impl.h"

namespace offloop::runtime {
namespace {

// Plain atomics: nothing here has a destructor that could run while a worker still looks at it.
std::atomic<Pool*> g_pool{nullptr};
std::atomic<bool> g_shut_down{false};
std::atomic<std::uint32_t> g_threads{0};
std::atomic<std::uint64_t> g_default_threads{0};
std::atomic<std::uint32_t> g_max_pending{0};
std::atomic<WhenFull> g_when_full{WhenFull::kWait};

std::atomic<std::uint32_t> g_start_lock{0};

unsigned wanted_threads() noexcept {
  const unsigned set = g_threads.load(std::memory_order_relaxed);
  if (set != 0) return set;
  // Asked on every submit: the cgroup's files are read once in a process. A child may have been put elsewhere: the word
  // holds the generation in which it was counted.
  const std::uint64_t generation = std::uint64_t{fork_generation()} << 32;
  std::uint64_t found = g_default_threads.load(std::memory_order_relaxed);
  if ((found & 0xffffffffU) == 0 || (found & ~std::uint64_t{0xffffffffU}) != generation) {
    found = generation | default_threads();
    g_default_threads.store(found, std::memory_order_relaxed);
  }
  return static_cast<unsigned>(found & 0xffffffffU);
}

/// When shutdown() was called first; 0: never.
std::atomic<std::int64_t> g_shut_down_at_ns{0};

/// 250 ms in all: whoever has called shutdown() before has waited already.
void exit_handler() {
  constexpr std::int64_t kBoundNs = 250'000'000;
  const std::int64_t at = g_shut_down_at_ns.load(std::memory_order_relaxed);
  Pool::shutdown(at == 0 ? kBoundNs : std::max(std::int64_t{0}, at + kBoundNs - now_ns()));
}

}  // namespace

std::atomic<bool> g_stop_all{false};

Pool::Pool() : impl_(new Impl(this)) {}

Pool* Pool::instance_if_started() noexcept {
  Pool* pool = g_pool.load(std::memory_order_seq_cst);  // seq_cst: see the end of instance()
  return pool != nullptr && pool->impl_->generation == fork_generation() ? pool : nullptr;
}

Pool* Pool::instance() noexcept {
  if (Pool* pool = instance_if_started()) return pool;
  const ForkLock lock(g_start_lock);
  if (Pool* pool = instance_if_started()) return pool;
  try {
    Pool* pool = new Pool;
    if (!g_shut_down.load(std::memory_order_acquire)) {  // else it exists only to refuse: closed below
      if (!pool->impl_->start_threads(wanted_threads())) {
        for (Worker* worker : pool->impl_->workers) delete worker;  // no thread has ever seen it
        delete pool->impl_;
        delete pool;
        return nullptr;
      }
      shutdown_at_exit();
    }
    g_pool.store(pool, std::memory_order_seq_cst);
    // A shutdown() at this moment either finds the pool or is seen here.
    if (g_shut_down.load(std::memory_order_seq_cst)) pool->impl_->close();
    return pool;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

Result<Unit> Pool::configure(const PoolOptions& options) {
  constexpr unsigned kMaxThreads = 1024;
  if (options.threads > kMaxThreads)
    return Error(ErrorCode::kInvalidArgument, "threads must be at most 1024, got " + std::to_string(options.threads));
  const ForkLock lock(g_start_lock);  // a pool that starts now has either read these or is found below
  if (options.threads != 0) g_threads.store(options.threads, std::memory_order_relaxed);
  if (options.max_pending != 0) g_max_pending.store(options.max_pending, std::memory_order_relaxed);
  g_when_full.store(options.when_full, std::memory_order_relaxed);
  if (options.threads != 0) {
    if (Pool* pool = instance_if_started(); pool != nullptr && !pool->impl_->closed.load()) {
      if (!pool->impl_->start_threads(options.threads))
        return Error(ErrorCode::kOutOfMemory, "no worker thread could be started");
    }
  }
  return Unit{};
}

PoolOptions Pool::options() noexcept {
  PoolOptions options;
  options.threads = wanted_threads();
  const std::uint32_t set = g_max_pending.load(std::memory_order_relaxed);
  options.max_pending = set != 0 ? set : 1024 * options.threads;
  options.when_full = g_when_full.load(std::memory_order_relaxed);
  return options;
}

void Pool::shutdown(std::int64_t timeout_ns) noexcept {
  std::int64_t never = 0;
  g_shut_down_at_ns.compare_exchange_strong(never, now_ns(), std::memory_order_relaxed);
  g_shut_down.store(true, std::memory_order_seq_cst);
  Pool* pool = instance_if_started();
  if (pool == nullptr) return;
  Impl& s = *pool->impl_;
  g_stop_all.store(true, std::memory_order_seq_cst);
  s.close();
  s.end_waiting();  // not left to the workers: all of them may be in long tasks
  const std::int64_t until = now_ns() + std::min(timeout_ns, std::int64_t{1} << 62);
  while (true) {
    const std::uint32_t live = s.live.load(std::memory_order_seq_cst);
    const std::int64_t left = until - now_ns();
    if (live == 0 || left <= 0) return;
    futex_wait(&s.live, live, left);
  }
}

void Pool::shutdown_at_exit() noexcept {
  std::atexit(exit_handler);
}

unsigned Pool::threads() const noexcept {
  return impl_->target.load(std::memory_order_relaxed);
}

PoolStats Pool::stats() const noexcept {
  PoolStats sum;
  Impl& s = *impl_;
  sum.threads = threads();
  sum.sleeping = s.sleeping.load(std::memory_order_relaxed);
  sum.stopped = s.never_ran.load(std::memory_order_relaxed);
  sum.wakes = s.wakes.load(std::memory_order_relaxed);
  {
    const std::lock_guard lock(s.mutex);
    sum.running = s.held;
    sum.queued = s.waiting;
    // Only workers take from the inbox, and they do it under this mutex: what hangs below the head stays.
    for (const PortItem* item = s.inbox.load(std::memory_order_acquire); item != nullptr; item = item->next)
      ++sum.queued;
  }
  const std::lock_guard lock(s.threads_mutex);
  for (const Worker* w : s.workers) {
    sum.done += w->done.get();
    sum.stopped += w->stopped.get();
    sum.failed += w->failed.get();
    sum.bytes += w->bytes.get();
    sum.quanta += w->quanta.get();
    sum.lanes += w->lanes.get();
    for (unsigned i = 0; i < Histogram::kBuckets; ++i) {
      sum.queue_ns[i] += w->queue_ns.count(i);
      sum.run_ns[i] += w->run_ns.count(i);
    }
  }
  return sum;
}

}  // namespace offloop::runtime
