// A started program: known by a descriptor and not by its number, which may be somebody else's by now when the program
// that uses us reaps children of its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "image/isolate/death.h"
#include "image/isolate/fd.h"
#include "offloop/base/result.h"

namespace offloop::image::isolate {

class Child {
 public:
  /// Starts `program PARENT'S_PID` with the three descriptors of wire.h, /dev/null as 0 to 2 and nothing else, in a
  /// session of its own (a terminal's Ctrl-C is not for it), all signals as they are by default. Never forks. kIo. May
  /// throw std::bad_alloc.
  static Result<Child> start(const std::string& program, int socket, int input, int output);

  Child(Child&&) noexcept = default;
  Child& operator=(Child&&) = delete;
  /// Kills it and waits for it, unless it has been waited for.
  ~Child();

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// True when it has ended, whether or not it was waited for.
  [[nodiscard]] bool ended() const noexcept;
  void kill() const noexcept;
  /// Waits at most so long for its end and takes its status: no zombie is left then. False when it still runs.
  bool wait(std::int64_t most_ns) noexcept;
  /// After wait() was true.
  [[nodiscard]] const Death& death() const noexcept { return death_; }

  /// CPU time used up to now; -1 when it has gone.
  [[nodiscard]] std::int64_t cpu_ns() const noexcept;
  /// Both may be set again and again, up and down. False with errno.
  bool limit_memory(std::uint64_t bytes) const noexcept;
  bool limit_file_size(std::uint64_t bytes) const noexcept;
  /// Seconds of CPU time since its start, after which the kernel ends it.
  bool limit_cpu(std::uint64_t seconds) const noexcept;

  /// In a forked child of ours, where it is nobody to wait for.
  void close() noexcept;

  [[nodiscard]] int fd() const noexcept { return pidfd_.get(); }

 private:
  Child(pid_t pid, Fd pidfd) noexcept : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_ = -1;
  Fd pidfd_;  ///< closed: waited for, or moved from
  Death death_;
};

}  // namespace offloop::image::isolate
