// Preloaded (LD_PRELOAD) by test_out_of_memory.py: the n-th C++ allocation of the process fails, once or from then on.
// Python's own allocations and those of C libraries do not come by here.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> g_until_failure{-1};  // negative: not armed
std::atomic<bool> g_for_ever{false};
std::atomic<long> g_failed{0};

bool fails() noexcept {
  long left = g_until_failure.load(std::memory_order_relaxed);
  while (left >= 0) {
    const long next = left > 0 ? left - 1 : (g_for_ever.load(std::memory_order_relaxed) ? 0 : -1);
    if (!g_until_failure.compare_exchange_weak(left, next)) continue;
    if (left > 0) return false;
    g_failed.fetch_add(1);
    return true;
  }
  return false;
}

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  if (size == 0) size = 1;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  void* memory = allocate(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

extern "C" {
/// The allocation after `n` more fails; with `for_ever`, all that follow it, too.
void failing_new_arm(long n, int for_ever) {
  g_failed.store(0);
  g_for_ever.store(for_ever != 0);
  g_until_failure.store(n);
}
/// Returns how many have failed.
long failing_new_disarm() {
  g_until_failure.store(-1);
  return g_failed.load();
}
}

void* operator new(std::size_t size) {
  return allocate_or_throw(size, 0);
}
void* operator new[](std::size_t size) {
  return allocate_or_throw(size, 0);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, 0);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, 0);
}
void* operator new(std::size_t size, std::align_val_t a) {
  return allocate_or_throw(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return allocate_or_throw(size, static_cast<std::size_t>(a));
}
void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(a));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
