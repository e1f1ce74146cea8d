// The ARMv8 SHA-2 extension: one stream, or two whose instructions interleave to hide sha256h's latency.
#include <arm_neon.h>

#include "hash/kernels_lanes.h"  // OFFLOOP_INLINE

namespace offloop::hash {
namespace {

struct State {
  uint32x4_t abcd, efgh;
};

/// Rounds 4i..4i+3 of every stream, and the four schedule words 16 rounds on where they are needed. m[s] holds the
/// latest 16.
template <int kI, int kStreams>
OFFLOOP_INLINE void four_rounds(State* state, uint32x4_t (*m)[4]) {
  const uint32x4_t k = vld1q_u32(kSha256K + kI * 4);
  uint32x4_t wk[kStreams];
  for (int s = 0; s < kStreams; ++s) wk[s] = vaddq_u32(m[s][kI % 4], k);
  if constexpr (kI < 12) {
    for (int s = 0; s < kStreams; ++s) {
      m[s][kI % 4] =
          vsha256su1q_u32(vsha256su0q_u32(m[s][kI % 4], m[s][(kI + 1) % 4]), m[s][(kI + 2) % 4], m[s][(kI + 3) % 4]);
    }
  }
  for (int s = 0; s < kStreams; ++s) {
    const uint32x4_t abcd = state[s].abcd;
    state[s].abcd = vsha256hq_u32(abcd, state[s].efgh, wk[s]);
    state[s].efgh = vsha256h2q_u32(state[s].efgh, abcd, wk[s]);
  }
}

template <int kStreams>
OFFLOOP_INLINE void compress(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) {
  State state[kStreams];
  for (int s = 0; s < kStreams; ++s) state[s] = {vld1q_u32(states[s]), vld1q_u32(states[s] + 4)};
  for (std::size_t offset = 0; blocks != 0; --blocks, offset += kSha256BlockBytes) {
    State before[kStreams];
    uint32x4_t m[kStreams][4];
    for (int s = 0; s < kStreams; ++s) {
      before[s] = state[s];
      for (int i = 0; i < 4; ++i) m[s][i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data[s] + offset + 16 * i)));
    }
    four_rounds<0, kStreams>(state, m), four_rounds<1, kStreams>(state, m);
    four_rounds<2, kStreams>(state, m), four_rounds<3, kStreams>(state, m);
    four_rounds<4, kStreams>(state, m), four_rounds<5, kStreams>(state, m);
    four_rounds<6, kStreams>(state, m), four_rounds<7, kStreams>(state, m);
    four_rounds<8, kStreams>(state, m), four_rounds<9, kStreams>(state, m);
    four_rounds<10, kStreams>(state, m), four_rounds<11, kStreams>(state, m);
    four_rounds<12, kStreams>(state, m), four_rounds<13, kStreams>(state, m);
    four_rounds<14, kStreams>(state, m), four_rounds<15, kStreams>(state, m);
    for (int s = 0; s < kStreams; ++s) {
      state[s].abcd = vaddq_u32(state[s].abcd, before[s].abcd);
      state[s].efgh = vaddq_u32(state[s].efgh, before[s].efgh);
    }
  }
  for (int s = 0; s < kStreams; ++s) {
    vst1q_u32(states[s], state[s].abcd);
    vst1q_u32(states[s] + 4, state[s].efgh);
  }
}

}  // namespace

void sha256_armv8_x1(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  compress<1>(states, data, blocks);
}

void sha256_armv8_x2(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  compress<2>(states, data, blocks);
}

}  // namespace offloop::hash
