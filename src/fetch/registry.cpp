// The process's live Fetchers, so that one call at exit can end their threads before OpenSSL's state goes away.
#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "fetch/core.h"
#include "fetch/threads.h"

namespace offloop::fetch {
namespace {

constexpr double kExitSeconds = 0.25;

struct Registry {
  explicit Registry(std::uint32_t g) : generation(g) {}
  const std::uint32_t generation;
  std::mutex mutex;
  std::vector<Core*> cores;  // guarded by mutex
};

std::atomic<Registry*> g_registry{nullptr};

/// Never freed: threads may use it until the process ends. A forked child makes its own, because its parent's may be
/// locked.
Registry& registry() {
  Registry* current = g_registry.load(std::memory_order_acquire);
  while (current == nullptr || current->generation != fork_generation()) {
    auto fresh = std::make_unique<Registry>(fork_generation());
    if (g_registry.compare_exchange_strong(current, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
  }
  return *current;
}

}  // namespace

void register_core(Core* core) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.cores.push_back(core);
}

void unregister_core(Core* core) noexcept {
  Registry* all = g_registry.load(std::memory_order_acquire);
  if (all == nullptr || all->generation != fork_generation()) return;
  const std::lock_guard lock(all->mutex);
  std::erase(all->cores, core);
}

void close_all_fetchers() {
  Registry& all = registry();
  std::vector<std::shared_ptr<Core>> cores;
  {
    const std::lock_guard lock(all.mutex);
    for (Core* core : all.cores) {
      if (std::shared_ptr<Core> alive = core->weak_from_this().lock()) cores.push_back(std::move(alive));
    }
  }
  for (const auto& core : cores) core->close(false, 0);  // all begin to end at the same time
  for (const auto& core : cores) core->close(true, kExitSeconds);
}

}  // namespace offloop::fetch
