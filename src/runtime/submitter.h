// Whether the thread that submitted last still runs: then its CPU is not one for another worker.
#pragma once

#include <sys/types.h>

#include <atomic>

namespace offloop::runtime {

class Submitter {
 public:
  /// This thread submits. A load or two, and a store. [any thread]
  void note() noexcept;
  /// Whether it is on a CPU now, as its CPU clock shows, looked at twice: 1 to 2 us. False when it has ended. [worker]
  [[nodiscard]] bool runs() const noexcept;

 private:
  std::atomic<pid_t> thread_{0};
};

}  // namespace offloop::runtime
