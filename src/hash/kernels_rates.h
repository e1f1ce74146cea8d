// How fast each kernel runs on each CPU we know: the numbers from which dispatch.cpp plans which kernel takes how many
// streams.
#pragma once

#include "hash/cpu.h"

namespace offloop::hash {

struct CpuRates {
  const char* name;
  /// Bytes a nanosecond (GB/s) of one core with every lane in use, indexed by Kernel; 0 where the CPU lacks the kernel.
  double rate[kKernelCount];
};

/// The table of this CPU, or the generic one of its architecture. [any thread]
const CpuRates& rates_of(const CpuFeatures& cpu) noexcept;

}  // namespace offloop::hash
