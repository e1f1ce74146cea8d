#include "hash/kernels.h"

namespace offloop::hash {

const std::uint32_t kSha256Init[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

alignas(64) const std::uint32_t kSha256K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#if defined(__x86_64__)
#define OFFLOOP_X86(fn) fn
#else
#define OFFLOOP_X86(fn) nullptr
#endif
#if defined(__aarch64__)
#define OFFLOOP_ARM(fn) fn
#else
#define OFFLOOP_ARM(fn) nullptr
#endif

const KernelInfo& kernel_info(Kernel kernel) noexcept {
  static constexpr KernelInfo kInfo[kKernelCount] = {
      {"portable", 1, sha256_portable_x1},
      {"SHA-NI x1", 1, OFFLOOP_X86(sha256_shani_x1)},
      {"SHA-NI x2", 2, OFFLOOP_X86(sha256_shani_x2)},
      {"AVX2 x8", 8, OFFLOOP_X86(sha256_avx2_x8)},
      {"AVX-512 x8", 8, OFFLOOP_X86(sha256_avx512_x8)},
      {"AVX-512 x16", 16, OFFLOOP_X86(sha256_avx512_x16)},
      {"NEON x4", 4, OFFLOOP_ARM(sha256_neon_x4)},
      {"ARMv8 x1", 1, OFFLOOP_ARM(sha256_armv8_x1)},
      {"ARMv8 x2", 2, OFFLOOP_ARM(sha256_armv8_x2)},
  };
  return kInfo[static_cast<unsigned>(kernel)];
}

}  // namespace offloop::hash
