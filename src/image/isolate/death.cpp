#include "image/isolate/death.h"

#include <signal.h>

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

namespace offloop::image::isolate {
namespace {

/// The C library's own table of names is too new to count on.
constexpr auto kNames = std::to_array<std::pair<int, std::string_view>>(
    {{SIGSEGV, "SIGSEGV"},
     {SIGBUS, "SIGBUS"},
     {SIGABRT, "SIGABRT"},
     {SIGILL, "SIGILL"},
     {SIGFPE, "SIGFPE"},
     {SIGTRAP, "SIGTRAP"},
     {SIGTERM, "SIGTERM"},
     {SIGHUP, "SIGHUP"},
     {SIGINT, "SIGINT"},
     {SIGPIPE, "SIGPIPE"},
     {SIGKILL, "SIGKILL: killed from outside, perhaps because memory ran out"},
     {SIGSYS, "SIGSYS: a system call that its sandbox forbids, or abort()"},
     {SIGXCPU, "SIGXCPU: it used more CPU time than it may"},
     {SIGXFSZ, "SIGXFSZ: its result is larger than it may be"}});

}  // namespace

bool Death::by_signal(int signal) const noexcept {
  return (code == CLD_KILLED || code == CLD_DUMPED) && status == signal;
}

std::string in_words(const Death& death) {
  if (death.code == 0) return "an unknown cause: something else in this process took its exit status";
  if (death.code == CLD_EXITED) return "exit code " + std::to_string(death.status);
  for (const auto& [signal, name] : kNames) {
    if (signal == death.status) return std::string(name);
  }
  return "signal " + std::to_string(death.status);
}

}  // namespace offloop::image::isolate
