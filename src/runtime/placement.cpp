// Choosing a CPU for a woken worker, and giving it its mask back.
#include "placement.h"

#include <unistd.h>

namespace offloop::runtime {

void Seat::open() noexcept {
  thread_ = ::gettid();
}

void Seat::take() noexcept {
  if (!placement_.matters()) return;
  const int cpu = ::sched_getcpu();
  if (cpu == cpu_) return;
  leave();
  cpu_ = cpu;
  placement_.occupied_.fetch_or(bit(cpu), std::memory_order_relaxed);
}

void Seat::leave() noexcept {
  if (cpu_ < 0) return;
  placement_.occupied_.fetch_and(~bit(cpu_), std::memory_order_relaxed);
  cpu_ = -1;
}

void Seat::reserve() noexcept {
  if (!placement_.matters() || thread_ == 0) return;
  // What it may use now, not what it might when it started: somebody can have bound it since.
  if (::sched_getaffinity(thread_, sizeof mask_, &mask_) != 0) return;
  cpu_set_t free = mask_;
  const std::uint64_t occupied = placement_.occupied_.load(std::memory_order_relaxed) | bit(::sched_getcpu());
  for (int cpu = 0; cpu < 64; ++cpu) {
    if ((occupied >> cpu & 1) != 0) CPU_CLR(static_cast<unsigned>(cpu), &free);
  }
  if (CPU_COUNT(&free) == 0 || CPU_EQUAL(&free, &mask_)) return;
  moved_ = ::sched_setaffinity(thread_, sizeof free, &free) == 0;
}

void Seat::settle() noexcept {
  if (!moved_) return;
  moved_ = false;
  ::sched_setaffinity(0, sizeof mask_, &mask_);
}

}  // namespace offloop::runtime
