// AVX-512: 16 streams in zmm registers and 8 in ymm registers. Rotations (vprord) and any function of three words
// (vpternlogd) are one instruction each, and 32 registers hold the 8 state words and the 16 schedule words without
// spills. Needs F, BW (vpshufb) and VL (the same on ymm).
#include <immintrin.h>

#include "hash/kernels_lanes.h"
#include "hash/kernels_x8.h"

namespace offloop::hash {
namespace {

// vpternlogd's truth tables, with x = 0xf0, y = 0xcc, z = 0xaa.
constexpr int kXor3 = 0x96;  // x ^ y ^ z
constexpr int kCh = 0xca;    // x ? y : z
constexpr int kMaj = 0xe8;   // majority of x, y, z

struct V16 {
  static constexpr int kStreams = 16;
  using Reg = __m512i;
  static OFFLOOP_INLINE Reg add(Reg x, Reg y) { return _mm512_add_epi32(x, y); }
  static OFFLOOP_INLINE Reg broadcast(const std::uint32_t* k) { return _mm512_set1_epi32(static_cast<int>(*k)); }
  static OFFLOOP_INLINE Reg ch(Reg e, Reg f, Reg g) { return _mm512_ternarylogic_epi32(e, f, g, kCh); }
  static OFFLOOP_INLINE Reg maj(Reg a, Reg b, Reg c) { return _mm512_ternarylogic_epi32(a, b, c, kMaj); }
  template <int kA, int kB, int kC>
  static OFFLOOP_INLINE Reg big(Reg x) {
    return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, kA), _mm512_ror_epi32(x, kB), _mm512_ror_epi32(x, kC), kXor3);
  }
  template <int kA, int kB, int kShift>
  static OFFLOOP_INLINE Reg small(Reg x) {
    return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, kA), _mm512_ror_epi32(x, kB), _mm512_srli_epi32(x, kShift),
                                     kXor3);
  }
  static OFFLOOP_INLINE Reg big0(Reg x) { return big<2, 13, 22>(x); }
  static OFFLOOP_INLINE Reg big1(Reg x) { return big<6, 11, 25>(x); }
  static OFFLOOP_INLINE Reg small0(Reg x) { return small<7, 18, 3>(x); }
  static OFFLOOP_INLINE Reg small1(Reg x) { return small<17, 19, 10>(x); }

  /// r[i] word j becomes r[j] word i.
  static OFFLOOP_INLINE void transpose(Reg* r) {
    Reg t[16];
    for (int i = 0; i < 16; i += 4) {  // 4x4 words within each 128-bit quarter, four rows at a time
      const Reg lo01 = _mm512_unpacklo_epi32(r[i], r[i + 1]), hi01 = _mm512_unpackhi_epi32(r[i], r[i + 1]);
      const Reg lo23 = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]), hi23 = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
      t[i] = _mm512_unpacklo_epi64(lo01, lo23), t[i + 1] = _mm512_unpackhi_epi64(lo01, lo23);
      t[i + 2] = _mm512_unpacklo_epi64(hi01, hi23), t[i + 3] = _mm512_unpackhi_epi64(hi01, hi23);
    }
    for (int i = 0; i < 4; ++i) {  // then 4x4 quarters
      const Reg even01 = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88), odd01 = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
      const Reg even23 = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
      const Reg odd23 = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
      r[i] = _mm512_shuffle_i32x4(even01, even23, 0x88), r[i + 8] = _mm512_shuffle_i32x4(even01, even23, 0xdd);
      r[i + 4] = _mm512_shuffle_i32x4(odd01, odd23, 0x88), r[i + 12] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
    }
  }

  static OFFLOOP_INLINE void load_state(std::uint32_t* const* states, Reg* s) {
    Reg r[16];
    for (int i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_epi32(0x00ff, states[i]);
    transpose(r);
    for (int i = 0; i < 8; ++i) s[i] = r[i];
  }

  static OFFLOOP_INLINE void store_state(std::uint32_t* const* states, const Reg* s) {
    Reg r[16];
    for (int i = 0; i < 8; ++i) r[i] = s[i], r[i + 8] = _mm512_setzero_si512();
    transpose(r);
    for (int i = 0; i < 16; ++i) _mm512_mask_storeu_epi32(states[i], 0x00ff, r[i]);
  }

  static OFFLOOP_INLINE void load_block(const std::uint8_t* const* data, std::size_t offset, Reg* w) {
    const Reg swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
    for (int i = 0; i < 16; ++i) w[i] = _mm512_loadu_si512(data[i] + offset);
    transpose(w);
    for (int i = 0; i < 16; ++i) w[i] = _mm512_shuffle_epi8(w[i], swap);
  }
};

struct V8 : X8Memory {
  static OFFLOOP_INLINE Reg add(Reg x, Reg y) { return _mm256_add_epi32(x, y); }
  static OFFLOOP_INLINE Reg broadcast(const std::uint32_t* k) { return _mm256_set1_epi32(static_cast<int>(*k)); }
  static OFFLOOP_INLINE Reg ch(Reg e, Reg f, Reg g) { return _mm256_ternarylogic_epi32(e, f, g, kCh); }
  static OFFLOOP_INLINE Reg maj(Reg a, Reg b, Reg c) { return _mm256_ternarylogic_epi32(a, b, c, kMaj); }
  template <int kA, int kB, int kC>
  static OFFLOOP_INLINE Reg big(Reg x) {
    return _mm256_ternarylogic_epi32(_mm256_ror_epi32(x, kA), _mm256_ror_epi32(x, kB), _mm256_ror_epi32(x, kC), kXor3);
  }
  template <int kA, int kB, int kShift>
  static OFFLOOP_INLINE Reg small(Reg x) {
    return _mm256_ternarylogic_epi32(_mm256_ror_epi32(x, kA), _mm256_ror_epi32(x, kB), _mm256_srli_epi32(x, kShift),
                                     kXor3);
  }
  static OFFLOOP_INLINE Reg big0(Reg x) { return big<2, 13, 22>(x); }
  static OFFLOOP_INLINE Reg big1(Reg x) { return big<6, 11, 25>(x); }
  static OFFLOOP_INLINE Reg small0(Reg x) { return small<7, 18, 3>(x); }
  static OFFLOOP_INLINE Reg small1(Reg x) { return small<17, 19, 10>(x); }
};

}  // namespace

void sha256_avx512_x16(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  sha256_lanes<V16>(states, data, blocks);
  _mm256_zeroupper();  // SHA-NI code entered with dirty upper halves runs 100 times slower on Intel
}

void sha256_avx512_x8(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  sha256_lanes<V8>(states, data, blocks);
  _mm256_zeroupper();
}

}  // namespace offloop::hash
