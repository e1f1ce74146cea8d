#include "hash/reader_threads.h"

#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <new>

#include "offloop/runtime/fork.h"
#include "runtime/parking.h"

namespace offloop::hash {
namespace {

std::atomic<std::uint32_t> g_start_lock{0};
std::atomic<ReaderThreads*> g_readers{nullptr};
std::atomic<std::uint32_t> g_readers_generation{0};

}  // namespace

ReaderThreads* ReaderThreads::instance_if_started() noexcept {
  // The generation first: what is stored after the pointer says that the pointer is new.
  const bool ours = g_readers_generation.load(std::memory_order_acquire) == runtime::fork_generation();
  return ours ? g_readers.load(std::memory_order_acquire) : nullptr;
}

ReaderThreads* ReaderThreads::instance() noexcept {
  if (ReaderThreads* readers = instance_if_started(); readers != nullptr) return readers;
  const runtime::ForkLock lock(g_start_lock);
  if (ReaderThreads* readers = instance_if_started(); readers != nullptr) return readers;
  auto* readers = new (std::nothrow) ReaderThreads;
  if (readers == nullptr || !readers->start()) return nullptr;
  ReaderThreads* parents = g_readers.exchange(readers, std::memory_order_acq_rel);
  g_readers_generation.store(runtime::fork_generation(), std::memory_order_release);
  if (parents != nullptr) parents->waiter_.close_inherited();
  return readers;
}

int start_reader_thread(const char* name, void* (*entry)(void*), void* argument) noexcept {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, entry, argument);
  if (error == 0) {
    pthread_setname_np(thread, name);
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

bool ReaderThreads::start() noexcept {
  unsigned started = 0;
  const auto entry = [](void* self) -> void* {
    static_cast<ReaderThreads*>(self)->run();
    return nullptr;
  };
  while (started < kReaders && start_reader_thread("offloop-read", entry, this) == 0) ++started;
  return started != 0;
}

void ReaderThreads::run() noexcept {
  while (true) {
    const std::uint32_t seen = work_.load(std::memory_order_seq_cst);
    FileJob* job = nullptr;
    {
      const std::lock_guard lock(mutex_);
      job = ready_.pop();
    }
    if (job != nullptr) {
      if (job->read_block()) requeue(job);
      continue;
    }
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    runtime::futex_wait(&work_, seen, -1);
    sleeping_.fetch_sub(1, std::memory_order_seq_cst);
  }
}

void ReaderThreads::wake() noexcept {
  work_.fetch_add(1, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) != 0) runtime::futex_wake(&work_, 1);
}

void ReaderThreads::Queue::push(FileJob* job) noexcept {
  job->next_ = nullptr;
  (last == nullptr ? first : last->next_) = job;
  last = job;
}

FileJob* ReaderThreads::Queue::pop() noexcept {
  FileJob* job = first;
  if (job == nullptr) return nullptr;
  first = job->next_;
  if (first == nullptr) last = nullptr;
  return job;
}

void ReaderThreads::add(FileJob* job) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (open_ < kMaxOpen) {
      ++open_;
      ready_.push(job);
    } else {
      waiting_.push(job);
    }
  }
  wake();
}

void ReaderThreads::requeue(FileJob* job) noexcept {
  {
    const std::lock_guard lock(mutex_);
    ready_.push(job);
  }
  wake();
}

void ReaderThreads::left() noexcept {
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    more = give_up_place();
  }
  if (more) wake();
}

/// True when another file has got it. Those that came back from waiting may be too many for a while.
bool ReaderThreads::give_up_place() noexcept {
  FileJob* next = open_ <= kMaxOpen ? waiting_.pop() : nullptr;
  if (next == nullptr) {
    --open_;
  } else {
    ready_.push(next);
  }
  return next != nullptr;
}

bool ReaderThreads::wait_for_data(FileJob* job) noexcept {
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    job->idle_ = idle_ < kMaxIdle;
    if (job->idle_) {
      ++idle_;
      more = give_up_place();
    }
  }
  if (more) wake();
  if (waiter_.add(job)) return true;
  const int error = errno;
  take_place(job);
  errno = error;
  return false;
}

void ReaderThreads::ready(FileJob* job) noexcept {
  take_place(job);
  requeue(job);
}

/// A file that has waited counts among the open ones again.
void ReaderThreads::take_place(FileJob* job) noexcept {
  const std::lock_guard lock(mutex_);
  if (!job->idle_) return;
  job->idle_ = false;
  --idle_;
  ++open_;
}

}  // namespace offloop::hash
