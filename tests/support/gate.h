// A door between threads: those who wait() go on once somebody has called open().
#pragma once

#include <atomic>

namespace offloop::testing {

class Gate {
 public:
  void open() noexcept {
    open_.store(true, std::memory_order_release);
    open_.notify_all();
  }
  void wait() const noexcept { open_.wait(false, std::memory_order_acquire); }
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> open_{false};
};

}  // namespace offloop::testing
