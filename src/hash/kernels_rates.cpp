#include "hash/kernels_rates.h"

namespace offloop::hash {
namespace {

// Sources. "measured": `kernels_bench --benchmark_filter=64K`, see docs/design/hash-kernels.md. "published": figures of
// others for the same instructions. "estimated": scaled from a measured neighbour by clock and by instruction
// throughput.
//
//                                      portable shani1 shani2 avx2 avx512x8 avx512x16 neon armv8x1 armv8x2
// Zen 4 at 3.7 GHz: measured.
constexpr CpuRates kZen4 = {"Zen 4", {0.36, 1.83, 3.37, 1.80, 3.65, 3.75, 0, 0, 0}};
// Zen 5 at about 4.1 GHz: measured. A pair gains 1.5, x16 nearly twice x8: its registers and its paths are 512 bits
// wide.
constexpr CpuRates kZen5 = {"Zen 5", {0.54, 2.19, 3.29, 1.95, 3.60, 6.90, 0, 0, 0}};
// Zen 3 at about 3.4 GHz: measured. The message schedule's sha256msg2 shares a pipe with the rounds, so a pair gains
// less.
constexpr CpuRates kZen3 = {"Zen 3", {0.21, 1.55, 2.75, 1.2, 0, 0, 0, 0, 0}};
// Zen 1 and 2: shani1 published (minio/sha256-simd, Ryzen 2700X 1.98), the rest estimated from Zen 3.
constexpr CpuRates kZen = {"Zen 1-2", {0.25, 1.95, 3.3, 1.0, 0, 0, 0, 0, 0}};
// Intel's CPUs with AVX-512 and SHA-NI: measured on one of AMX's generations at 2.6 GHz and more (its hypervisor
// hides the model); the prototype of this design had the same shani1 and shani2 and 4.0 to 4.4 for x16 on Sapphire
// Rapids. Ice Lake to Granite Rapids, and their siblings for clients, have the same vector units.
constexpr CpuRates kSapphireRapids = {"Sapphire Rapids", {0.35, 1.98, 2.65, 1.80, 3.52, 4.65, 0, 0, 0}};
// Intel with AVX-512 and without SHA-NI, Skylake-SP to Cooper Lake: x16 published (minio/sha256-simd, 3.5 at 3.0 GHz).
constexpr CpuRates kSkylakeServer = {"Skylake server", {0.33, 0, 0, 1.2, 2.5, 3.5, 0, 0, 0}};
// Anything else: what a kernel's ratio to its neighbours is nearly everywhere.
constexpr CpuRates kGenericX86 = {"generic x86", {0.35, 1.8, 2.6, 1.3, 2.8, 3.5, 0, 0, 0}};
// All estimated: no aarch64 machine was at hand. Only the order and the rough ratios matter to the plan.
constexpr CpuRates kGenericArm = {"generic aarch64", {0.35, 0, 0, 0, 0, 0, 0.55, 1.6, 2.0}};

const CpuRates& rates_of_intel(const CpuFeatures& cpu) noexcept {
  // Ice Lake and later, of servers and clients, whatever model a hypervisor says.
  if (cpu.avx512 && cpu.sha_ni) return kSapphireRapids;
  if (cpu.family != 6) return kGenericX86;
  switch (cpu.model) {
    case 0x6a:  // Ice Lake-SP
    case 0x6c:  // Ice Lake-D
    case 0x8f:  // Sapphire Rapids
    case 0xcf:  // Emerald Rapids
    case 0xad:  // Granite Rapids
    case 0xae:  // Granite Rapids-D
      return kSapphireRapids;
    case 0x55:  // Skylake-SP, Cascade Lake, Cooper Lake
      return kSkylakeServer;
    default:
      return kGenericX86;
  }
}

const CpuRates& rates_of_amd(const CpuFeatures& cpu) noexcept {
  switch (cpu.family) {
    case 0x17:
      return kZen;
    case 0x19:  // Zen 3 and Zen 4 share a family; only the latter has AVX-512
      return cpu.avx512 ? kZen4 : kZen3;
    case 0x1a:
      return kZen5;
    default:
      return kGenericX86;
  }
}

}  // namespace

const CpuRates& rates_of(const CpuFeatures& cpu) noexcept {
  if (cpu.neon) return kGenericArm;
  switch (cpu.vendor) {
    case CpuVendor::kIntel:
      return rates_of_intel(cpu);
    case CpuVendor::kAmd:
      return rates_of_amd(cpu);
    case CpuVendor::kOther:
      break;
  }
  return kGenericX86;
}

}  // namespace offloop::hash
