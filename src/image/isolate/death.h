// How a process ended, in words.
#pragma once

#include <string>

namespace offloop::image::isolate {

/// How waitid() says it: `code` is CLD_EXITED, CLD_KILLED or CLD_DUMPED, `status` an exit code or a signal.
struct Death {
  int code = 0;  ///< 0: somebody else took the status
  int status = 0;

  [[nodiscard]] bool by_signal(int signal) const noexcept;
};

/// "SIGSEGV", "exit code 3", "SIGSYS: a system call that its sandbox forbids, or abort()". May throw std::bad_alloc.
std::string in_words(const Death& death);

}  // namespace offloop::image::isolate
