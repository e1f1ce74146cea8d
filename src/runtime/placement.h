// On which CPU a woken worker begins, where the kernel would queue it behind the thread that wakes it.
//
// Linux looks for an idle CPU for a woken thread only while the CPUs that share a cache have time to spare: from about
// 60 % use on it leaves the thread where it last ran (kernel/sched/fair.c: update_idle_cpu_scan(), select_idle_cpu()).
// With two CPUs one thread that submits is more than that. The worker then waits behind it, for up to a tick of the
// scheduler (4 ms), while the other CPU is idle. So who wakes a worker keeps it off the CPUs on which it knows somebody
// running, and the worker takes its whole mask back when it runs. What that gained: docs/performance-zen3.md.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace offloop::runtime {

/// Which CPUs have a worker on them, as far as workers say so: a hint, one bit a CPU.
class Placement {
 public:
  /// On a machine of more CPUs the kernel's own search finds one.
  static constexpr unsigned kMostCpus = 16;

  explicit Placement(unsigned cpus) noexcept : matters_(cpus >= 2 && cpus <= kMostCpus) {}
  /// Whether there are more CPUs than one, and so few that it matters which is taken.
  [[nodiscard]] bool matters() const noexcept { return matters_; }

 private:
  friend class Seat;
  const bool matters_;
  std::atomic<std::uint64_t> occupied_{0};
};

/// A worker's part of it.
class Seat {
 public:
  explicit Seat(Placement& placement) noexcept : placement_(placement) {}
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

  /// Says who is meant. Before the first sleep. [worker]
  void open() noexcept;
  /// This CPU has a worker. Before each quantum: two loads where nothing has changed. [worker]
  void take() noexcept;
  /// It has none any more. Before it sleeps. [worker]
  void leave() noexcept;
  /// Chooses where the sleeper will run. Before it is told to rise, for that tells it of what is written here, too; the
  /// lock of the idle list is held. Two short system calls. [any thread]
  void reserve() noexcept;
  /// Takes the whole mask back, after a sleep. [worker]
  void settle() noexcept;

 private:
  static std::uint64_t bit(int cpu) noexcept { return cpu >= 0 && cpu < 64 ? std::uint64_t{1} << cpu : 0; }

  Placement& placement_;
  pid_t thread_ = 0;
  int cpu_ = -1;
  bool moved_ = false;
  cpu_set_t mask_{};  ///< what it had, while moved_
};

}  // namespace offloop::runtime
