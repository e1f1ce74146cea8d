// One word on which one thread sleeps until another wakes it: a futex, without a condition variable's destructor
// (a static one with a sleeper has hung interpreters at exit).
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

namespace offloop::runtime {

/// Sleeps while *word == expected, at most timeout_ns (negative: without limit). May return early: the caller looks
/// again.
inline void futex_wait(std::atomic<std::uint32_t>* word, std::uint32_t expected, std::int64_t timeout_ns) noexcept {
  timespec limit{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), FUTEX_WAIT_PRIVATE, expected,
            timeout_ns < 0 ? nullptr : &limit, nullptr, 0);
}

inline void futex_wake(std::atomic<std::uint32_t>* word, int sleepers) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), FUTEX_WAKE_PRIVATE, sleepers, nullptr, nullptr, 0);
}

inline void cpu_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace offloop::runtime
