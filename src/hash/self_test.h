// The start-up self-test: a kernel whose sums are wrong (a broken CPU, a damaged file, a compiler's fault) must never
// give a digest to anybody.
#pragma once

#include <cstddef>

#include "hash/dispatch.h"

namespace offloop::hash {

/// Runs the kernel on FIPS 180-4's examples and on as many different messages as it has lanes, and writes what is wrong
/// to `problem`, cut off at `size`: "SHA-NI x2 gives 29a1..., expected ba78... for lane 1". True when nothing is. About
/// 5 us. The portable kernel is judged by constants, the others by it as well. [any thread]
bool kernel_is_right(const KernelInfo& kernel, char* problem, std::size_t size) noexcept;

/// The same for the portable kernel and each that the plan uses; the first problem. [any thread]
bool plan_is_right(const Plan& plan, char* problem, std::size_t size) noexcept;

}  // namespace offloop::hash
