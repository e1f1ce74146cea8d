// Forks, counted. A forked child has none of our threads; what was made before the fork is recognised by its generation
// and left alone.
#pragma once

#include <atomic>
#include <cstdint>

namespace offloop::runtime {

/// How often this process is a fork of a process that used offloop. The child handler only adds one to it. [any thread]
std::uint32_t fork_generation() noexcept;

/// A lock for a few instructions on something static. It has no destructor, and a fork cannot leave it locked: it holds
/// the generation of its owner plus one, and an older one counts as free.
class ForkLock {
 public:
  explicit ForkLock(std::atomic<std::uint32_t>& word) noexcept : word_(word) { lock(word); }
  ~ForkLock() { word_.store(0, std::memory_order_release); }
  ForkLock(const ForkLock&) = delete;
  ForkLock& operator=(const ForkLock&) = delete;

 private:
  static void lock(std::atomic<std::uint32_t>& word) noexcept;
  std::atomic<std::uint32_t>& word_;
};

}  // namespace offloop::runtime
