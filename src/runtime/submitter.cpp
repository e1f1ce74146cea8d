// Looking at another thread's CPU clock.
#include "submitter.h"

#include <time.h>
#include <unistd.h>

#include <cstdint>

#include "offloop/runtime/fork.h"
#include "parking.h"

namespace offloop::runtime {
namespace {

struct Self {
  pid_t thread;
  std::uint32_t generation;
};
thread_local Self tl_self{0, 0};

/// Nanoseconds for which a thread of this process has been on a CPU until now; 0 when there is no such thread. The
/// number of its clock is what pthread_getcpuclockid(3) makes, without the pthread_t that may be gone.
std::int64_t cpu_ns(pid_t thread) noexcept {
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6U);
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) return 0;
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

void Submitter::note() noexcept {
  if (tl_self.thread == 0 || tl_self.generation != fork_generation()) tl_self = {::gettid(), fork_generation()};
  if (thread_.load(std::memory_order_relaxed) != tl_self.thread)
    thread_.store(tl_self.thread, std::memory_order_relaxed);
}

bool Submitter::runs() const noexcept {
  const pid_t thread = thread_.load(std::memory_order_relaxed);
  if (thread == 0) return false;
  const std::int64_t before = cpu_ns(thread);
  for (int i = 0; i < 16; ++i) cpu_pause();
  return cpu_ns(thread) != before;
}

}  // namespace offloop::runtime
