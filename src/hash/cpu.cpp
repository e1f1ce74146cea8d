#include "hash/cpu.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace offloop::hash {

#if defined(__x86_64__)
namespace {

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(unsigned leaf, unsigned subleaf = 0) {
  Leaf r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

constexpr bool has(unsigned word, unsigned bit) {
  return (word >> bit & 1) != 0;
}

/// XCR0: the register states that the operating system saves. Only where CPUID says OSXSAVE.
std::uint64_t enabled_states() {
  std::uint32_t low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

constexpr std::uint64_t kYmmStates = 0x06;  // SSE, AVX
constexpr std::uint64_t kZmmStates = 0xe6;  // and masks, upper halves of zmm0-15, zmm16-31

void read_name(CpuFeatures& cpu) {
  const Leaf vendor = cpuid(0);
  char id[12];
  std::memcpy(id, &vendor.ebx, 4), std::memcpy(id + 4, &vendor.edx, 4), std::memcpy(id + 8, &vendor.ecx, 4);
  if (std::memcmp(id, "GenuineIntel", 12) == 0) cpu.vendor = CpuVendor::kIntel;
  if (std::memcmp(id, "AuthenticAMD", 12) == 0) cpu.vendor = CpuVendor::kAmd;

  const unsigned version = cpuid(1).eax;
  cpu.family = version >> 8 & 0xf;
  cpu.model = version >> 4 & 0xf;
  if (cpu.family == 0x6 || cpu.family == 0xf) cpu.model |= version >> 12 & 0xf0;
  if (cpu.family == 0xf) cpu.family += version >> 20 & 0xff;

  for (unsigned i = 0; i < 3; ++i) {
    const Leaf text = cpuid(0x80000002 + i);
    std::memcpy(cpu.brand + i * 16, &text, 16);
  }
}

}  // namespace

CpuFeatures detect_cpu() noexcept {
  CpuFeatures cpu;
  read_name(cpu);
  const Leaf basic = cpuid(1), extended = cpuid(7);
  const bool sse41 = has(basic.ecx, 9) && has(basic.ecx, 19);  // SSSE3 and SSE4.1
  cpu.sha_ni = sse41 && has(extended.ebx, 29);
  if (has(basic.ecx, 27) && has(basic.ecx, 28)) {  // OSXSAVE, AVX
    const std::uint64_t states = enabled_states();
    cpu.avx2 = (states & kYmmStates) == kYmmStates && has(extended.ebx, 5);
    const bool subsets = has(extended.ebx, 16) && has(extended.ebx, 30) && has(extended.ebx, 31);  // F, BW, VL
    cpu.avx512 = cpu.avx2 && (states & kZmmStates) == kZmmStates && subsets;
  }
  return cpu;
}

#elif defined(__aarch64__)

CpuFeatures detect_cpu() noexcept {
  CpuFeatures cpu;
  const unsigned long capabilities = getauxval(AT_HWCAP);
  cpu.neon = (capabilities & HWCAP_ASIMD) != 0;
  cpu.armv8_sha2 = cpu.neon && (capabilities & HWCAP_SHA2) != 0;
  return cpu;
}

#else

CpuFeatures detect_cpu() noexcept {
  return {};
}

#endif

bool kernel_supported(Kernel kernel, const CpuFeatures& cpu) noexcept {
  if (kernel_info(kernel).run == nullptr) return false;
  switch (kernel) {
    case Kernel::kPortable:
      return true;
    case Kernel::kShani1:
    case Kernel::kShani2:
      return cpu.sha_ni;
    case Kernel::kAvx2x8:
      return cpu.avx2;
    case Kernel::kAvx512x8:
    case Kernel::kAvx512x16:
      return cpu.avx512;
    case Kernel::kNeonx4:
      return cpu.neon;
    case Kernel::kArmv8x1:
    case Kernel::kArmv8x2:
      return cpu.armv8_sha2;
  }
  return false;
}

}  // namespace offloop::hash
