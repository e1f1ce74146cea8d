// The workers' threads: their loop, their sleep, and who wakes them.
#include <pthread.h>
#include <csignal>

#include <cstdio>
#include <new>

#include "offloop/base/counters.h"
#include "offloop/runtime/clock.h"
#include "parking.h"
#include "pool_impl.h"

namespace offloop::runtime {
namespace {

thread_local Worker* tl_worker = nullptr;

}  // namespace

bool Pool::on_worker() noexcept {
  return tl_worker != nullptr;
}

void Pool::report_bytes(std::uint64_t n) noexcept {
  if (tl_worker != nullptr) tl_worker->bytes.add(n);
}

void Pool::Impl::run(Worker& worker) noexcept {
  tl_worker = &worker;
  worker.seat.open();
  while (!leaves(worker)) {
    Quantum q(*pool, worker);
    if (!pool->acquire(q)) {
      idle(worker);
      continue;
    }
    worker.seat.take();
    if (q.count != 0) {
      const std::int64_t from = q.timed_ ? now_ns() : 0;
      if (q.group_->prompt) {
        q.group_->run(q);
      } else {
        begin_long();
        q.group_->run(q);
        end_long();
      }
      if (q.timed_) q.run_ns_ = now_ns() - from;
    }
    pool->give_back(q);
  }
  leave();
  if (closed.load(std::memory_order_acquire)) end_waiting();
}

/// Whether this worker is one too many. Decided under the lock of start_threads: a pool that grows again either keeps
/// this thread or sees that it is gone and starts another.
bool Pool::Impl::leaves(Worker& worker) noexcept {
  if (!closed.load(std::memory_order_acquire) && worker.index < target.load(std::memory_order_relaxed)) return false;
  const std::lock_guard lock(threads_mutex);
  if (!closed.load(std::memory_order_acquire) && worker.index < target.load(std::memory_order_relaxed)) return false;
  worker.seat.leave();
  worker.running = false;  // from here on another thread may be it
  return true;
}

void Pool::Impl::idle(Worker& worker) noexcept {
  if (!spinning.exchange(true, std::memory_order_acq_rel)) {
    const std::int64_t until = now_ns() + kSpinNs;
    bool found = false;
    do {
      for (int i = 0; i < 32 && !found; ++i) {
        found = inbox.load(std::memory_order_relaxed) != nullptr || runnable.load(std::memory_order_relaxed) != 0;
        cpu_pause();
      }
    } while (!found && now_ns() < until && !closed.load(std::memory_order_relaxed));
    spinning.store(false, std::memory_order_release);
    if (found) return;
  }
  worker.seat.leave();
  sleep(worker, worker.index);
  worker.seat.settle();
}

bool Pool::Impl::start_thread(Worker& worker) noexcept {
  const auto entry = [](void* argument) -> void* {
    auto& self = *static_cast<Worker*>(argument);
    Impl& impl = *self.pool->impl_;
    char name[16];
    std::snprintf(name, sizeof name, "offloop-w%u", self.index % 10000);
    pthread_setname_np(pthread_self(), name);
    count_made(Counted::kThread);
    impl.run(self);
    count_freed(Counted::kThread);
    impl.live.fetch_sub(1, std::memory_order_seq_cst);
    futex_wake(&impl.live, 1 << 30);
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  worker.running = true;
  add_prompt();
  live.fetch_add(1, std::memory_order_seq_cst);
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, entry, &worker) == 0;
  if (!started) {
    take_back();
    live.fetch_sub(1, std::memory_order_seq_cst);
    worker.running = false;
  }
  pthread_attr_destroy(&attributes);
  return started;
}

bool Pool::Impl::start_threads(unsigned n) noexcept {
  const std::lock_guard lock(threads_mutex);
  try {
    workers.reserve(n);
  } catch (const std::bad_alloc&) {
    return false;
  }
  target.store(n, std::memory_order_seq_cst);
  // Signals belong to the threads of the program: ours start with all of them blocked, but those that a fault raises in
  // the thread itself, which the kernel would turn into a death without a word (no faulthandler, no sanitizer report).
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  unsigned started = 0;
  for (unsigned i = 0; i < n; ++i) {
    if (i == workers.size()) {
      auto* worker = new (std::nothrow) Worker(pool, i, placement);
      if (worker == nullptr) break;
      workers.push_back(worker);
    }
    if (workers[i]->running || start_thread(*workers[i])) ++started;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (workers.size() > n) wake_all();  // those above the target look up and leave
  return started != 0;
}

}  // namespace offloop::runtime
