// Runs a function in a forked child and says how it ended.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace offloop::testing {

/// A child that hangs is killed by SIGALRM after so long. No test waits for it otherwise.
inline constexpr unsigned kChildLimitSeconds = 60;

struct Child {
  pid_t pid = -1;

  /// "exit 0", "exit 3" or "signal 14" (14: it hung).
  [[nodiscard]] std::string wait() const {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) return "waitpid failed";
    if (WIFEXITED(status)) return "exit " + std::to_string(WEXITSTATUS(status));
    return "signal " + std::to_string(WTERMSIG(status));
  }
};

/// Starts a child that ends with _exit(body()): no exit handlers, no destructors of this process.
template <class F>
Child fork_child(F body) {
  Child child;
  child.pid = ::fork();
  if (child.pid == 0) {
    ::alarm(kChildLimitSeconds);
    ::_exit(body());
  }
  return child;
}

template <class F>
std::string run_in_child(F body) {
  return fork_child(body).wait();
}

}  // namespace offloop::testing
