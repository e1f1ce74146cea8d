#include "fetch/threads.h"

#include <atomic>
#include <mutex>

namespace offloop::fetch {
namespace {

std::atomic<std::uint32_t> g_generation{0};
std::once_flag g_watch;

// The only thing that a fork handler may do here: anything else could need a lock that another thread held.
void count_in_child() {
  g_generation.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::uint32_t fork_generation() noexcept {
  return g_generation.load(std::memory_order_relaxed);
}

void watch_forks() noexcept {
  std::call_once(g_watch, [] { pthread_atfork(nullptr, nullptr, &count_in_child); });
}

}  // namespace offloop::fetch
