#include "offloop/runtime/fork.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>

namespace offloop::runtime {
namespace {

std::atomic<std::uint32_t> g_generation{0};

// Only async-signal-safe work is allowed here, and starting a thread here crashes inside subprocess children.
void after_fork_in_child() {
  g_generation.fetch_add(1, std::memory_order_relaxed);
}

// Registered when the library is loaded: a fork before the first submit must be counted as well.
[[gnu::constructor]] void register_fork_handler() {
  pthread_atfork(nullptr, nullptr, after_fork_in_child);
}

}  // namespace

std::uint32_t fork_generation() noexcept {
  return g_generation.load(std::memory_order_relaxed);
}

void ForkLock::lock(std::atomic<std::uint32_t>& word) noexcept {
  const std::uint32_t mine = fork_generation() + 1;
  while (true) {
    std::uint32_t seen = word.load(std::memory_order_relaxed);
    if (seen != mine && word.compare_exchange_weak(seen, mine, std::memory_order_acquire, std::memory_order_relaxed))
      return;
    ::sched_yield();
  }
}

}  // namespace offloop::runtime
