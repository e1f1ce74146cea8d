#include "image/budget.h"

#include <algorithm>
#include <atomic>

#include "offloop/runtime/fork.h"
#include "runtime/parking.h"

namespace offloop::image {
namespace {

std::atomic<std::uint64_t> g_most{kDefaultPixelsInFlight};
std::atomic<std::uint64_t> g_held{0};
std::atomic<std::uint32_t> g_releases{0};  ///< futex word
std::atomic<std::uint32_t> g_generation{0};

constexpr std::int64_t kLookNs = 20'000'000;  // how soon a stop is seen by one that waits

/// What the parent's workers held is not given back in a forked child: they do not exist there.
void forget_parents_shares() noexcept {
  const std::uint32_t now = runtime::fork_generation();
  if (g_generation.exchange(now, std::memory_order_relaxed) != now) g_held.store(0, std::memory_order_relaxed);
}

bool try_hold(std::uint64_t pixels) noexcept {
  std::uint64_t held = g_held.load(std::memory_order_relaxed);
  do {
    if (held != 0 && held + pixels > g_most.load(std::memory_order_relaxed)) return false;
  } while (!g_held.compare_exchange_weak(held, held + pixels, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

}  // namespace

void set_max_pixels_in_flight(std::uint64_t pixels) noexcept {
  g_most.store(std::max<std::uint64_t>(pixels, 1), std::memory_order_relaxed);
  g_releases.fetch_add(1, std::memory_order_release);
  runtime::futex_wake(&g_releases, 1 << 30);
}
std::uint64_t max_pixels_in_flight() noexcept {
  return g_most.load(std::memory_order_relaxed);
}
std::uint64_t pixels_in_flight() noexcept {
  return g_held.load(std::memory_order_relaxed);
}

PixelShare::PixelShare(std::uint64_t pixels, const Stop& stop) noexcept : pixels_(pixels) {
  forget_parents_shares();
  while (true) {
    const std::uint32_t seen = g_releases.load(std::memory_order_acquire);
    if (try_hold(pixels_)) return;
    outcome_ = stop.requested();
    if (outcome_ != ErrorCode::kOk) return;
    runtime::futex_wait(&g_releases, seen, kLookNs);
  }
}

PixelShare::~PixelShare() {
  if (outcome_ != ErrorCode::kOk) return;
  g_held.fetch_sub(pixels_, std::memory_order_release);
  g_releases.fetch_add(1, std::memory_order_release);
  runtime::futex_wake(&g_releases, 1 << 30);
}

}  // namespace offloop::image
