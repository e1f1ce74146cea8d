// The SHA-256 kernels: one function per instruction set and number of lanes, each in a file compiled with that
// instruction set alone. They compress whole blocks and know nothing of padding, queues or CPUs; dispatch.h chooses
// among them.
//
// This header is included by files compiled with wide instruction sets: nothing inline with code in it may live here,
// or the linker could keep the copy that an older CPU cannot run.
#pragma once

#include <cstddef>
#include <cstdint>

namespace offloop::hash {

/// The widest kernel; no call takes more streams.
inline constexpr unsigned kMaxLanes = 16;
inline constexpr std::size_t kSha256BlockBytes = 64;

/// FIPS 180-4, 5.3.3: the state before the first block.
extern const std::uint32_t kSha256Init[8];
/// FIPS 180-4, 4.2.2: the round constants.
extern const std::uint32_t kSha256K[64];

enum class Kernel : std::uint8_t {
  kPortable,
  kShani1,
  kShani2,
  kAvx2x8,
  kAvx512x8,
  kAvx512x16,
  kNeonx4,
  kArmv8x1,
  kArmv8x2,
};
inline constexpr unsigned kKernelCount = 9;

/// Compresses `blocks` blocks of as many streams as the kernel has lanes. states[i]: 8 native-endian words, updated in
/// place; data[i]: 64 * blocks bytes, any alignment. Two lanes may share a state only when nobody wants its result.
using KernelFn = void (*)(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;

struct KernelInfo {
  const char* name;  ///< "AVX-512 x16"
  unsigned lanes;
  KernelFn run;  ///< null when this kernel is not built for this architecture
};

/// What this build holds; whether the CPU can run it is cpu.h's affair. [any thread]
const KernelInfo& kernel_info(Kernel kernel) noexcept;

// One file each. [any thread]
void sha256_portable_x1(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_shani_x1(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_shani_x2(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_avx2_x8(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_avx512_x8(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_avx512_x16(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_neon_x4(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_armv8_x1(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;
void sha256_armv8_x2(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept;

}  // namespace offloop::hash
