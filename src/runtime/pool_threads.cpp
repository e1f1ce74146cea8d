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

bool Pool::Impl::has_work() const noexcept {
  return inbox.load(std::memory_order_seq_cst) != nullptr || runnable.load(std::memory_order_seq_cst) != 0;
}

void Pool::Impl::run(Worker& worker) noexcept {
  tl_worker = &worker;
  while (!leaves(worker)) {
    Quantum q(*pool, worker);
    if (!pool->acquire(q)) {
      idle(worker);
      continue;
    }
    if (q.count != 0) {
      if (q.group_->prompt) {
        q.group_->run(q);
      } else {
        // This one may take long: it no longer counts as somebody who will look soon, and hands over to a sleeper.
        prompt.fetch_sub(1, std::memory_order_seq_cst);
        if (has_work()) wake_if_behind();
        q.group_->run(q);
        prompt.fetch_add(1, std::memory_order_seq_cst);
      }
    }
    pool->give_back(q);
  }
  prompt.fetch_sub(1, std::memory_order_seq_cst);
  if (has_work()) wake_if_behind();
}

/// Whether this worker is one too many. Decided under the lock of start_threads: a pool that grows again either keeps
/// this thread or sees that it is gone and starts another.
bool Pool::Impl::leaves(Worker& worker) noexcept {
  if (!closed.load(std::memory_order_acquire) && worker.index < target.load(std::memory_order_relaxed)) return false;
  const std::lock_guard lock(threads_mutex);
  if (!closed.load(std::memory_order_acquire) && worker.index < target.load(std::memory_order_relaxed)) return false;
  worker.running = false;
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
  {
    const std::lock_guard lock(idle_mutex);
    worker.awake.store(0, std::memory_order_relaxed);
    worker.idle_next = idle_first;
    idle_first = &worker;
    prompt.fetch_sub(1, std::memory_order_seq_cst);
    sleeping.fetch_add(1, std::memory_order_seq_cst);
  }
  if (has_work() || closed.load(std::memory_order_seq_cst) || worker.index >= target.load(std::memory_order_seq_cst)) {
    const std::lock_guard lock(idle_mutex);
    for (Worker** link = &idle_first; *link != nullptr; link = &(*link)->idle_next) {
      if (*link != &worker) continue;
      *link = worker.idle_next;
      prompt.fetch_add(1, std::memory_order_seq_cst);
      sleeping.fetch_sub(1, std::memory_order_seq_cst);
      return;
    }
    return;  // somebody has woken us between: the counts are theirs
  }
  while (worker.awake.load(std::memory_order_acquire) == 0) futex_wait(&worker.awake, 0, -1);
}

void Pool::Impl::wake_if_behind() noexcept {
  const std::uint32_t looking = prompt.load(std::memory_order_seq_cst);
  if (looking != 0 && backlog_ns.load(std::memory_order_relaxed) <= kWakeBacklogNs * looking) return;
  if (sleeping.load(std::memory_order_seq_cst) == 0) return;
  wake_one();
}

/// wake_if_behind() for those who will look again within a quantum anyway. Where this would be the worker of the last
/// CPU, and whoever submits still runs on it, it waits until the submitter has paused: a worker woken before finds no
/// free CPU and is queued behind another worker. A kernel that packs tasks on few CPUs (virtual machines of sandboxes
/// do) leaves it there for 4 to 15 ms after the submitter has gone to sleep: 1,000 x 100 KB took 45 ms on two CPUs, and
/// 29 ms with this.
void Pool::Impl::wake_for_share(std::int64_t now) noexcept {
  const std::uint32_t looking = prompt.load(std::memory_order_seq_cst);
  if (looking != 0 && looking + 1 >= cpus && now - last_submit_ns.load(std::memory_order_relaxed) < kSubmitterBusyNs)
    return;
  wake_if_behind();
}

void Pool::Impl::wake_one() noexcept {
  Worker* worker = nullptr;
  {
    const std::lock_guard lock(idle_mutex);
    worker = idle_first;
    if (worker == nullptr) return;
    idle_first = worker->idle_next;
    // Counted for the sleeper here, so that the next submit does not wake another one for the same backlog.
    prompt.fetch_add(1, std::memory_order_seq_cst);
    sleeping.fetch_sub(1, std::memory_order_seq_cst);
    worker->awake.store(1, std::memory_order_release);
  }
  wakes.fetch_add(1, std::memory_order_relaxed);
  futex_wake(&worker->awake, 1);
}

void Pool::Impl::wake_all() noexcept {
  // Those in the list now: who joins it later looks at `closed` and `target` after that. One at a time by wake_one()
  // could wake the same few again and again, for those who may stay go back to sleep at once.
  const std::lock_guard lock(idle_mutex);
  while (Worker* worker = idle_first) {
    idle_first = worker->idle_next;
    prompt.fetch_add(1, std::memory_order_seq_cst);
    sleeping.fetch_sub(1, std::memory_order_seq_cst);
    worker->awake.store(1, std::memory_order_release);
    futex_wake(&worker->awake, 1);
  }
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
  prompt.fetch_add(1, std::memory_order_seq_cst);
  live.fetch_add(1, std::memory_order_seq_cst);
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, entry, &worker) == 0;
  if (!started) {
    prompt.fetch_sub(1, std::memory_order_seq_cst);
    if (has_work()) wake_if_behind();  // a submitter may have counted on it
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
      auto* worker = new (std::nothrow) Worker(pool, i);
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
