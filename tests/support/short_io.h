// Makes every system call of the core's threads on files and sockets do less than it was asked: a few bytes at a time,
// and now and then nothing but EINTR. Include in one file of a test program: it defines the functions of libc.
#pragma once

#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace offloop::testing {

inline std::atomic<std::uint64_t> g_short_calls{0};  ///< how many were cut short
inline std::atomic<std::uint64_t> g_interrupted{0};  ///< how many ended with EINTR
inline std::atomic<bool> g_short_io{false};

/// Only ours: the test's own server wants to be trusted.
inline bool is_core_thread() {
  static thread_local bool is_core = false;  // its name is set a moment after it has started, and stays
  char name[16] = "";
  if (!is_core && prctl(PR_GET_NAME, name) == 0) is_core = std::strncmp(name, "offloop-", 8) == 0;
  return is_core;
}

/// How much the call may do; 0: it is to end with EINTR. Event descriptors are left alone: they have no half.
inline std::size_t allowance(int fd, std::size_t size) {
  struct stat status {};
  if (!g_short_io.load(std::memory_order_relaxed) || size == 0 || !is_core_thread() || fstat(fd, &status) != 0 ||
      !(S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode))) {
    return size;
  }
  static thread_local std::uint64_t state = 0x9e3779b97f4a7c15;
  state = state * 6364136223846793005 + 1442695040888963407;
  const std::uint64_t dice = state >> 33;
  if (dice % 5 == 0) {
    g_interrupted.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
  constexpr std::size_t kMost[] = {1, 7, 100, 4097};
  g_short_calls.fetch_add(1, std::memory_order_relaxed);
  return std::min(size, kMost[dice / 5 % 4]);
}

template <class Function>
Function real_function(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

inline ssize_t interrupted() {
  errno = EINTR;
  return -1;
}

}  // namespace offloop::testing

extern "C" {

ssize_t read(int fd, void* buffer, size_t size) {
  static const auto real = offloop::testing::real_function<ssize_t (*)(int, void*, size_t)>("read");
  const size_t most = offloop::testing::allowance(fd, size);
  return most == 0 && size != 0 ? offloop::testing::interrupted() : real(fd, buffer, most);
}

ssize_t write(int fd, const void* buffer, size_t size) {
  static const auto real = offloop::testing::real_function<ssize_t (*)(int, const void*, size_t)>("write");
  const size_t most = offloop::testing::allowance(fd, size);
  return most == 0 && size != 0 ? offloop::testing::interrupted() : real(fd, buffer, most);
}

ssize_t recv(int fd, void* buffer, size_t size, int flags) {
  static const auto real = offloop::testing::real_function<ssize_t (*)(int, void*, size_t, int)>("recv");
  const size_t most = offloop::testing::allowance(fd, size);
  return most == 0 && size != 0 ? offloop::testing::interrupted() : real(fd, buffer, most, flags);
}

ssize_t send(int fd, const void* buffer, size_t size, int flags) {
  static const auto real = offloop::testing::real_function<ssize_t (*)(int, const void*, size_t, int)>("send");
  const size_t most = offloop::testing::allowance(fd, size);
  return most == 0 && size != 0 ? offloop::testing::interrupted() : real(fd, buffer, most, flags);
}

}  // extern "C"
