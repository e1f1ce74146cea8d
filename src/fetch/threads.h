// Small helpers around threads and fork.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <cstdint>

namespace offloop::fetch {

/// Blocks all signals while it lives; a thread started meanwhile inherits that, so that signals go to the user's
/// threads.
class BlockedSignals {
 public:
  BlockedSignals() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

/// Counts the forks between the first process and this one: an object made in another generation belongs to a parent
/// process whose threads do not exist here and whose locks may be held for ever. [any thread]
std::uint32_t fork_generation() noexcept;

/// Registers the fork handler that counts, once. [any thread]
void watch_forks() noexcept;

}  // namespace offloop::fetch
