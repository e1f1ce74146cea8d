// The SHA extensions: one stream, or two whose instructions interleave. sha256rnds2 takes 4 cycles and a new one may
// start every 2, so a second stream is nearly free.
//
// This file is compiled without any AVX flag: VEX-coded neighbours gain nothing here, and the SHA instructions
// themselves have no VEX form, so that mixing would need the very transitions that cost 100 times (see
// hash-kernels.md).
#include <immintrin.h>

#include "hash/kernels_lanes.h"  // OFFLOOP_INLINE

namespace offloop::hash {
namespace {

OFFLOOP_INLINE __m128i load(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

/// The instructions want the state as ABEF and CDGH, highest word first.
struct State {
  __m128i abef, cdgh;
};

OFFLOOP_INLINE State load_state(const std::uint32_t* words) {
  const __m128i badc = _mm_shuffle_epi32(load(words), 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(load(words + 4), 0x1b);
  return {_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0)};
}

OFFLOOP_INLINE void store_state(std::uint32_t* words, State s) {
  const __m128i feba = _mm_shuffle_epi32(s.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(s.cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/// Rounds 4i..4i+3 of every stream, and the four schedule words 16 rounds on where they are needed. m[s] holds the
/// latest 16.
template <std::size_t kI, int kStreams>
OFFLOOP_INLINE void four_rounds(State* state, __m128i (*m)[4]) {
  const __m128i k = load(kSha256K + kI * 4);
  __m128i wk[kStreams];
  for (int s = 0; s < kStreams; ++s) wk[s] = _mm_add_epi32(m[s][kI % 4], k);
  for (int s = 0; s < kStreams; ++s) state[s].cdgh = _mm_sha256rnds2_epu32(state[s].cdgh, state[s].abef, wk[s]);
  if constexpr (kI < 12) {
    for (int s = 0; s < kStreams; ++s) {  // m[i] becomes w[t+16]
      const __m128i w9 = _mm_alignr_epi8(m[s][(kI + 3) % 4], m[s][(kI + 2) % 4], 4);
      const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(m[s][kI % 4], m[s][(kI + 1) % 4]), w9);
      m[s][kI % 4] = _mm_sha256msg2_epu32(sum, m[s][(kI + 3) % 4]);
    }
  }
  for (int s = 0; s < kStreams; ++s) {
    state[s].abef = _mm_sha256rnds2_epu32(state[s].abef, state[s].cdgh, _mm_shuffle_epi32(wk[s], 0x0e));
  }
}

template <int kStreams>
OFFLOOP_INLINE void compress(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) {
  const Prefetch<kStreams> prefetch(data, blocks);
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  State state[kStreams];
  for (int s = 0; s < kStreams; ++s) state[s] = load_state(states[s]);
  for (std::size_t offset = 0; blocks != 0; --blocks, offset += kSha256BlockBytes) {
    State before[kStreams];
    __m128i m[kStreams][4];
    for (int s = 0; s < kStreams; ++s) {
      before[s] = state[s];
      for (std::size_t i = 0; i < 4; ++i) m[s][i] = _mm_shuffle_epi8(load(data[s] + offset + 16 * i), swap);
    }
    prefetch.behind(offset);
    four_rounds<0, kStreams>(state, m), four_rounds<1, kStreams>(state, m);
    four_rounds<2, kStreams>(state, m), four_rounds<3, kStreams>(state, m);
    four_rounds<4, kStreams>(state, m), four_rounds<5, kStreams>(state, m);
    four_rounds<6, kStreams>(state, m), four_rounds<7, kStreams>(state, m);
    four_rounds<8, kStreams>(state, m), four_rounds<9, kStreams>(state, m);
    four_rounds<10, kStreams>(state, m), four_rounds<11, kStreams>(state, m);
    four_rounds<12, kStreams>(state, m), four_rounds<13, kStreams>(state, m);
    four_rounds<14, kStreams>(state, m), four_rounds<15, kStreams>(state, m);
    for (int s = 0; s < kStreams; ++s) {
      state[s].abef = _mm_add_epi32(state[s].abef, before[s].abef);
      state[s].cdgh = _mm_add_epi32(state[s].cdgh, before[s].cdgh);
    }
  }
  for (int s = 0; s < kStreams; ++s) store_state(states[s], state[s]);
}

}  // namespace

void sha256_shani_x1(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  compress<1>(states, data, blocks);
}

void sha256_shani_x2(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  compress<2>(states, data, blocks);
}

}  // namespace offloop::hash
