// What the CPU and the operating system let a kernel use.
#pragma once

#include "hash/kernels.h"

namespace offloop::hash {

enum class CpuVendor : unsigned char { kOther, kIntel, kAmd };

struct CpuFeatures {
  char brand[49] = {};  ///< empty where the CPU does not say
  CpuVendor vendor = CpuVendor::kOther;
  unsigned family = 0;  ///< x86, extended family and model added in
  unsigned model = 0;
  bool sha_ni = false;  ///< with the SSE4.1 that its kernels need
  bool avx2 = false;    ///< and the system saves ymm registers
  bool avx512 = false;  ///< F, BW and VL, and the system saves zmm and mask registers
  bool neon = false;
  bool armv8_sha2 = false;
};

/// Asks the CPU anew on each call: keep the answer. [any thread]
CpuFeatures detect_cpu() noexcept;

/// True when the kernel is in this build and the CPU can run it. [any thread]
bool kernel_supported(Kernel kernel, const CpuFeatures& cpu) noexcept;

}  // namespace offloop::hash
