#include "image/isolate/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "image/isolate/wire.h"

namespace offloop::image::isolate {
namespace {

constexpr auto kByPidfd = static_cast<idtype_t>(3);  // P_PIDFD; older headers do not name it

/// What it gets of our environment: where its libraries are. Anything else could only confuse it (OFFLOOP_BACKTRACE
/// would make it load a library behind its filter).
constexpr const char* kPassedOn[] = {"LD_LIBRARY_PATH",
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
                                     "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
#endif
                                     "LC_ALL"};

/// posix_spawn()'s two objects, which must be freed again.
class SpawnPlan {
 public:
  SpawnPlan() noexcept {
    failed_ = ::posix_spawn_file_actions_init(&actions_);
    if (failed_ == 0) failed_ = ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  /// `from` is none of the numbers that are given away, so that no step overwrites what a later one needs.
  void give(int from, int number) noexcept {
    if (failed_ == 0) failed_ = ::posix_spawn_file_actions_adddup2(&actions_, from, number);
  }
  void null(int number, int mode) noexcept {
    if (failed_ == 0) failed_ = ::posix_spawn_file_actions_addopen(&actions_, number, "/dev/null", mode, 0);
  }
  void fresh_signals_and_session() noexcept {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    if (failed_ == 0) failed_ = ::posix_spawnattr_setsigmask(&attributes_, &none);
    if (failed_ == 0) failed_ = ::posix_spawnattr_setsigdefault(&attributes_, &all);
    constexpr int kFlags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID;
    if (failed_ == 0) failed_ = ::posix_spawnattr_setflags(&attributes_, kFlags);
  }
  int run(pid_t& pid, const char* program, char* const* arguments, char* const* environment) noexcept {
    if (failed_ != 0) return failed_;
    return ::posix_spawn(&pid, program, &actions_, &attributes_, arguments, environment);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  int failed_ = 0;
};

/// A copy of a descriptor with a number above those of wire.h.
Fd out_of_the_way(int fd) noexcept {
  return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, kOutputFd + 1));
}

Error start_error(const std::string& program, int why) {
  return Error(ErrorCode::kIo,
               std::string("the decoder program for isolate=True could not be started: ") + std::strerror(why), program,
               why);
}

bool set_soft_limit(pid_t pid, decltype(RLIMIT_AS) resource, std::uint64_t value) noexcept {
  rlimit now{};
  if (::prlimit(pid, resource, nullptr, &now) != 0) return false;
  now.rlim_cur = std::min(static_cast<rlim_t>(value), now.rlim_max);
  return ::prlimit(pid, resource, &now, nullptr) == 0;
}

}  // namespace

Result<Child> Child::start(const std::string& program, int socket, int input, int output) {
  const Fd s = out_of_the_way(socket);
  const Fd i = out_of_the_way(input);
  const Fd o = out_of_the_way(output);
  if (!s || !i || !o) return start_error(program, errno);
  SpawnPlan plan;
  plan.null(0, O_RDONLY), plan.null(1, O_WRONLY), plan.null(2, O_WRONLY);
  plan.give(s.get(), kSocketFd), plan.give(i.get(), kInputFd), plan.give(o.get(), kOutputFd);
  plan.fresh_signals_and_session();

  std::string name = "offloop-decoder";
  std::string parent = std::to_string(::getpid());
  char* const arguments[] = {name.data(), parent.data(), nullptr};
  std::string passed[std::size(kPassedOn)];
  char* environment[std::size(kPassedOn) + 1] = {};
  std::size_t n = 0;
  for (const char* variable : kPassedOn) {
    if (const char* value = std::getenv(variable)) {
      passed[n] = std::string(variable) + "=" + value;
      environment[n] = passed[n].data();
      ++n;
    }
  }
  pid_t pid = -1;
  if (const int failed = plan.run(pid, program.c_str(), arguments, environment); failed != 0)
    return start_error(program, failed);
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {  // Linux before 5.3. It waits for its first picture, so the number is still its own
    const int why = errno;
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return start_error(program, why);
  }
  return Child(pid, std::move(pidfd));
}

Child::~Child() {
  if (!pidfd_) return;
  kill();
  constexpr std::int64_t kLong = 10'000'000'000;  // a killed process ends, but for a kernel that is in trouble
  wait(kLong);
}

bool Child::ended() const noexcept {
  if (!pidfd_) return true;
  pollfd waiting{pidfd_.get(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}

void Child::kill() const noexcept {
  if (pidfd_) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

bool Child::wait(std::int64_t most_ns) noexcept {
  if (!pidfd_) return true;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t until = now.tv_sec * 1'000'000'000 + now.tv_nsec + most_ns;
  while (true) {
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t left = std::max<std::int64_t>(0, until - (now.tv_sec * 1'000'000'000 + now.tv_nsec));
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    pollfd waiting{pidfd_.get(), POLLIN, 0};
    const int ready = ::ppoll(&waiting, 1, &timeout, nullptr);
    if (ready == 1) break;
    if (ready == 0 || errno != EINTR) return false;
  }
  siginfo_t info{};
  int failed = 0;
  do {
    failed = ::waitid(kByPidfd, static_cast<id_t>(pidfd_.get()), &info, WEXITED);
  } while (failed != 0 && errno == EINTR);
  if (failed == 0)
    death_ = {info.si_code, info.si_status};  // else SIGCHLD is ignored, or somebody waits for all children
  pidfd_.reset();
  return true;
}

std::int64_t Child::cpu_ns() const noexcept {
  clockid_t clock{};
  timespec used{};
  if (!pidfd_ || ::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return -1;
  return used.tv_sec * 1'000'000'000 + used.tv_nsec;
}

bool Child::limit_memory(std::uint64_t bytes) const noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  (void)bytes;  // their shadow memory is terabytes of address space
  return true;
#else
  return !ended() && set_soft_limit(pid_, RLIMIT_AS, bytes);
#endif
}

bool Child::limit_file_size(std::uint64_t bytes) const noexcept {
  return !ended() && set_soft_limit(pid_, RLIMIT_FSIZE, bytes);
}

bool Child::limit_cpu(std::uint64_t seconds) const noexcept {
  return !ended() && set_soft_limit(pid_, RLIMIT_CPU, seconds);
}

void Child::close() noexcept {
  pidfd_.reset();
}

}  // namespace offloop::image::isolate
