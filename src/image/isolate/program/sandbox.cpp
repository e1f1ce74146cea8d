#include "image/isolate/program/sandbox.h"

#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "image/isolate/signals.h"

namespace offloop::image::isolate {
namespace {

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

// ---- Landlock -----------------------------------------------------------------------------------------------------
// By number: the C library has no functions for it, and older headers know older versions only.

/// struct landlock_ruleset_attr as of version 6. Older kernels take its beginning.
struct Ruleset {
  std::uint64_t files;
  std::uint64_t network;
  std::uint64_t scoped;
};

/// Everything that a version can forbid.
Ruleset everything(long version) noexcept {
  std::uint64_t files = (1U << 13) - 1;   // 1: execute, read, write, make, remove
  if (version >= 2) files |= 1U << 13;    // linking and renaming across folders
  if (version >= 3) files |= 1U << 14;    // truncate
  if (version >= 5) files |= 1U << 15;    // ioctl on devices
  return {files, version >= 4 ? 3U : 0U,  // TCP bind and connect
          version >= 6 ? 3U : 0U};        // abstract Unix sockets, signals
}

std::size_t size_for(long version) noexcept {
  return version >= 6 ? sizeof(Ruleset) : version >= 4 ? 2 * sizeof(std::uint64_t) : sizeof(std::uint64_t);
}

/// Its version; 0 when the kernel has no Landlock, -1 with errno when it has and it could not be used.
long forbid_all_files() noexcept {
  constexpr unsigned kAskVersion = 1;
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kAskVersion);
  if (version <= 0) return 0;
  const Ruleset rules = everything(version);
  const int fd = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, size_for(version), 0));
  if (fd < 0) return -1;
  const long restricted = ::syscall(SYS_landlock_restrict_self, fd, 0);
  const int why = errno;
  ::close(fd);
  errno = why;
  return restricted == 0 ? version : -1;
}

// ---- the filter ---------------------------------------------------------------------------------------------------

/// 0 or a negative errno, as libseccomp's functions.
int allow(scmp_filter_ctx filter) noexcept {
  const scmp_arg_cmp on_socket = SCMP_A0(SCMP_CMP_EQ, kSocketFd);
  const scmp_arg_cmp on_output = SCMP_A0(SCMP_CMP_EQ, kOutputFd);
  const scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  int failed = 0;
  const auto rule = [&](int call, unsigned n, auto... conditions) {
    if (failed == 0) failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, n, conditions...);
  };
  rule(SCMP_SYS(read), 1, on_socket);
  rule(SCMP_SYS(write), 1, on_socket);
  rule(SCMP_SYS(pwrite64), 1, on_output);
  rule(SCMP_SYS(mmap), 1, not_executable);
  for (const int call :
       {SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(clock_gettime),
        SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group)})
    rule(call, 0);
  return failed;
}

int install_filter() noexcept {
  if (seccomp_api_get() < 3) return -ENOSYS;  // cannot end a process at once
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (filter == nullptr) return -ENOMEM;
  int failed = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  // Kernels before 5.16 would slow down loads after stores in a filtered process, against its reading its own secrets:
  // it has none. Where the kernel cannot say so, it is slower.
  (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
  if (failed == 0) failed = allow(filter);
  if (failed == 0) failed = seccomp_load(filter);
  seccomp_release(filter);
  return failed;
}

bool limit(decltype(RLIMIT_AS) resource, rlim_t value) noexcept {
  rlimit now{};
  if (::getrlimit(resource, &now) != 0) return false;
  now.rlim_cur = now.rlim_max = std::min(value, now.rlim_max);
  return ::setrlimit(resource, &now) == 0;
}

/// Best effort: without /proc there is nothing to write to.
void die_first_when_memory_is_short() noexcept {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "1000", 4);
  ::close(fd);
}

}  // namespace

SetupResult leave_the_parent(pid_t parent) noexcept {
  // A signal that nobody else sends, so that the parent can tell. It comes when the thread ends that started us, too.
  if (::prctl(PR_SET_PDEATHSIG, parent_gone_signal()) != 0) return {Setup::kParentGone, errno};
  if (::getppid() != parent) return {Setup::kParentGone, ESRCH};  // it was dead before we asked to be told
  if (::syscall(SYS_close_range, kOutputFd + 1, ~0U, 0) != 0) {
    const long most = std::min(::sysconf(_SC_OPEN_MAX), 1L << 16);  // Linux before 5.9
    for (int fd = kOutputFd + 1; fd < most; ++fd) ::close(fd);
  }
  die_first_when_memory_is_short();
  if (::chdir("/") != 0) return {Setup::kDescriptors, errno};
  return {};
}

SetupResult shut_in(std::uint8_t& landlock) noexcept {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return {Setup::kPrivileges, errno};
  const long version = forbid_all_files();
  if (version < 0) return {Setup::kLandlock, errno};
  landlock = static_cast<std::uint8_t>(std::min(version, 255L));
  if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, 0)) return {Setup::kLimits, errno};
  if (const int failed = install_filter(); failed != 0) return {Setup::kFilter, -failed};
  return {};
}

}  // namespace offloop::image::isolate
