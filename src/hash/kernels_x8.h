// How eight streams get into ymm registers and back, for the AVX2 kernel and the 256-bit AVX-512 one. AVX2 is enough
// for it.
#pragma once

#include <immintrin.h>

#include "hash/kernels_lanes.h"

namespace offloop::hash {
namespace {  // in a header on purpose: each file compiled with its own instruction set gets its own copy

struct X8Memory {
  static constexpr int kStreams = 8;
  using Reg = __m256i;

  static OFFLOOP_INLINE Reg load(const void* p) { return _mm256_loadu_si256(static_cast<const Reg*>(p)); }

  /// r[i] word j becomes r[j] word i.
  static OFFLOOP_INLINE void transpose(Reg* r) {
    Reg t[8];
    for (int i = 0; i < 8; i += 4) {  // 4x4 words within each half, four rows at a time
      const Reg lo01 = _mm256_unpacklo_epi32(r[i], r[i + 1]), hi01 = _mm256_unpackhi_epi32(r[i], r[i + 1]);
      const Reg lo23 = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]), hi23 = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
      t[i] = _mm256_unpacklo_epi64(lo01, lo23), t[i + 1] = _mm256_unpackhi_epi64(lo01, lo23);
      t[i + 2] = _mm256_unpacklo_epi64(hi01, hi23), t[i + 3] = _mm256_unpackhi_epi64(hi01, hi23);
    }
    for (int i = 0; i < 4; ++i) {  // then the halves
      r[i] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x20);
      r[i + 4] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x31);
    }
  }

  static OFFLOOP_INLINE void load_state(std::uint32_t* const* states, Reg* s) {
    for (int i = 0; i < 8; ++i) s[i] = load(states[i]);
    transpose(s);
  }

  static OFFLOOP_INLINE void store_state(std::uint32_t* const* states, Reg* s) {
    transpose(s);
    for (int i = 0; i < 8; ++i) _mm256_storeu_si256(reinterpret_cast<Reg*>(states[i]), s[i]);
  }

  static OFFLOOP_INLINE void load_block(const std::uint8_t* const* data, std::size_t offset, Reg* w) {
    const Reg swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
    for (int i = 0; i < 8; ++i) w[i] = load(data[i] + offset);
    transpose(w);
    for (int i = 0; i < 8; ++i) w[i + 8] = load(data[i] + offset + 32);
    transpose(w + 8);
    for (int i = 0; i < 16; ++i) w[i] = _mm256_shuffle_epi8(w[i], swap);
  }
};

}  // namespace
}  // namespace offloop::hash
