// SHA-256 for the rest of the core: any number of streams up to 16 side by side, run by whichever kernels are fastest
// here.
//
// The choice is made once, on first use, from the CPU, the table of rates (kernels_rates.cpp) and OFFLOOP_CPU. Every
// function may be called from any thread at any time; those that are noexcept do not allocate or block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "hash/cpu.h"
#include "hash/kernels.h"
#include "hash/kernels_rates.h"

namespace offloop::hash {

/// Compresses `blocks` 64-byte blocks of each of n (1 to 16) independent streams. states[i]: 8 native-endian words,
/// updated in place, no two alike; data[i]: 64 * blocks bytes, any alignment. Neither array is changed. [any thread]
void sha256_blocks(unsigned n, std::uint32_t* const* states, const std::uint8_t* const* data,
                   std::size_t blocks) noexcept;

/// A whole message, padding included. [any thread]
void sha256_oneshot(const std::uint8_t* data, std::size_t len, std::uint8_t digest[32]) noexcept;

/// The end of a message: its last `rest_len` bytes (total_len % 64 of them), the 0x80, the zeros and the length in
/// bits, written to `out`. Returns the number of 64-byte blocks to compress, 1 or 2. [any thread]
std::size_t sha256_pad(const std::uint8_t* rest, std::size_t rest_len, std::uint64_t total_len,
                       std::uint8_t out[2 * kSha256BlockBytes]) noexcept;

/// The state after the last block as the big-endian digest. [any thread]
void sha256_store_digest(const std::uint32_t state[8], std::uint8_t digest[32]) noexcept;

/// Estimated bytes a nanosecond of one core for n streams (clamped to 1..16) side by side, all together, from this
/// CPU's table. For decisions (how many lanes to take, when to wake another worker), not for promises. [any thread]
double sha256_rate(unsigned n) noexcept;

/// Which kernel takes how many streams: with n waiting, take[n] runs on min(n, its lanes) of them, then the rest is
/// asked again.
struct Plan {
  Kernel take[kMaxLanes + 1] = {};  ///< [0] is unused
  double rate[kMaxLanes + 1] = {};  ///< bytes a nanosecond of n streams together; [0] is that of 1
};

/// The values of OFFLOOP_CPU.
enum class CpuMode : std::uint8_t {
  kAuto,      ///< the cheapest combination by the table
  kPortable,  ///< no special instructions
  kShani1,    ///< SHA-NI, one stream at a time
  kShani,     ///< SHA-NI, in pairs
  kAvx2,      ///< AVX2 where its lanes are full (or pay all the same), else one stream at a time
  kAvx512,    ///< AVX-512 in the same way
  kNeon,      ///< NEON in the same way, without the SHA-2 extension
  kArmv8,     ///< the ARMv8 SHA-2 extension, in pairs
};
inline constexpr unsigned kCpuModeCount = 8;

/// The mode as OFFLOOP_CPU spells it. [any thread]
const char* cpu_mode_name(CpuMode mode) noexcept;
/// False when the text names no mode. [any thread]
bool parse_cpu_mode(const char* text, CpuMode& mode) noexcept;
/// Whether this CPU has what the mode is named after. [any thread]
bool cpu_mode_supported(CpuMode mode, const CpuFeatures& cpu) noexcept;
/// [any thread]
Plan make_plan(CpuMode mode, const CpuFeatures& cpu, const CpuRates& rates) noexcept;

enum class OverrideProblem : std::uint8_t { kNone, kUnknown, kUnsupported };

/// What was found and decided on first use.
struct Choice {
  CpuFeatures cpu;
  const CpuRates* rates = nullptr;
  CpuMode mode = CpuMode::kAuto;
  OverrideProblem problem = OverrideProblem::kNone;
  char override_text[32] = {};  ///< OFFLOOP_CPU, cut off where it is longer; empty when it is not set
  Plan plan;
  char failure[160] = {};  ///< what the self-test of the plan's kernels found; empty when they are right
};

/// What would be chosen with OFFLOOP_CPU=text (null: not set). [any thread]
Choice make_choice(const char* text) noexcept;
/// The sentence of cpu_override_error() for a choice. [any thread]
std::string override_error_of(const Choice& choice);
/// What was chosen. [any thread]
const Choice& cpu_choice() noexcept;
/// False when the self-test failed, or a ScopedFailure is alive: then no digest may be given to anybody. [any thread]
bool sha256_trusted() noexcept;
/// The plan in force: the choice's, or that of the innermost ScopedPlan. [any thread]
const Plan& current_plan() noexcept;

/// For tests: one kernel, or one mode, for everything the process hashes while this object lives. The caller sees to it
/// that nothing is being hashed when it is made and destroyed. Nests.
class ScopedPlan {
 public:
  explicit ScopedPlan(Kernel kernel) noexcept;  ///< this kernel alone, however few its streams; the CPU must support it
  explicit ScopedPlan(CpuMode mode) noexcept;   ///< as OFFLOOP_CPU would; the CPU must support it
  explicit ScopedPlan(const Plan& plan) noexcept;
  ~ScopedPlan();
  ScopedPlan(const ScopedPlan&) = delete;
  ScopedPlan& operator=(const ScopedPlan&) = delete;

 private:
  Plan plan_;
  const Plan* outer_;
};

/// For tests: the self-test has failed while this object lives. Does not nest.
class ScopedFailure {
 public:
  explicit ScopedFailure(const char* text) noexcept;
  ~ScopedFailure();
  ScopedFailure(const ScopedFailure&) = delete;
  ScopedFailure& operator=(const ScopedFailure&) = delete;
};

}  // namespace offloop::hash
