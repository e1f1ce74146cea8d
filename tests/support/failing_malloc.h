// Lets the n-th allocation of the process fail, once or from then on, and counts what is allocated. Include in one file
// of a test program: it defines malloc and its relatives. Not under sanitizers, which define them too.
#pragma once

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OFFLOOP_CAN_FAIL_MALLOC 0
#else
#define OFFLOOP_CAN_FAIL_MALLOC 1
#endif

namespace offloop::testing {

struct FailingMalloc {
  std::atomic<long> at{0};     ///< which allocation from arm() on fails, from 1; 0: none
  std::atomic<long> count{0};  ///< allocations since arm()
  std::atomic<long> failed{0};
  std::atomic<long> live{0};  ///< allocations that were not freed
  std::atomic<bool> forever{false};

  void arm(long n, bool from_then_on) {
    count.store(0);
    failed.store(0);
    forever.store(from_then_on);
    at.store(n);
  }
  /// How many have failed since arm().
  long disarm() {
    at.store(0);
    return failed.load();
  }
  bool fails() noexcept {
    const long n = at.load(std::memory_order_relaxed);
    if (n == 0) return false;
    const long number = count.fetch_add(1, std::memory_order_relaxed) + 1;
    if (number < n || (number > n && !forever.load(std::memory_order_relaxed))) return false;
    failed.fetch_add(1, std::memory_order_relaxed);
    errno = ENOMEM;
    return true;
  }
  void* counted(void* memory) noexcept {
    if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
    return memory;
  }
};

inline constinit FailingMalloc g_malloc;

}  // namespace offloop::testing

#if OFFLOOP_CAN_FAIL_MALLOC
extern "C" {

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

void* malloc(size_t size) {
  auto& all = offloop::testing::g_malloc;
  return all.fails() ? nullptr : all.counted(__libc_malloc(size));
}

void* calloc(size_t count, size_t size) {
  auto& all = offloop::testing::g_malloc;
  return all.fails() ? nullptr : all.counted(__libc_calloc(count, size));
}

void* realloc(void* memory, size_t size) {
  auto& all = offloop::testing::g_malloc;
  if (size != 0 && all.fails()) return nullptr;
  if (memory == nullptr) return all.counted(__libc_realloc(memory, size));
  if (size == 0) all.live.fetch_sub(1, std::memory_order_relaxed);
  return __libc_realloc(memory, size);
}

void* memalign(size_t alignment, size_t size) {
  auto& all = offloop::testing::g_malloc;
  return all.fails() ? nullptr : all.counted(__libc_memalign(alignment, size));
}

void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) {
  void* made = memalign(alignment, size);
  if (made == nullptr) return ENOMEM;
  *memory = made;
  return 0;
}

void free(void* memory) {
  if (memory != nullptr) offloop::testing::g_malloc.live.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(memory);
}

}  // extern "C"
#endif
