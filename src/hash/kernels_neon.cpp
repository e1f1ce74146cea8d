// NEON: 4 streams, for aarch64 CPUs without the SHA-2 extension (Raspberry Pi 4).
#include <arm_neon.h>

#include "hash/kernels_lanes.h"

namespace offloop::hash {
namespace {

struct V4 {
  static constexpr int kStreams = 4;
  using Reg = uint32x4_t;
  static OFFLOOP_INLINE Reg add(Reg x, Reg y) { return vaddq_u32(x, y); }
  static OFFLOOP_INLINE Reg broadcast(const std::uint32_t* k) { return vld1q_dup_u32(k); }
  static OFFLOOP_INLINE Reg ch(Reg e, Reg f, Reg g) { return vbslq_u32(e, f, g); }
  /// Where a and b differ c decides, else either of them.
  static OFFLOOP_INLINE Reg maj(Reg a, Reg b, Reg c) { return vbslq_u32(veorq_u32(a, b), c, b); }

  template <int kBits>
  static OFFLOOP_INLINE Reg rotate(Reg x) {
    return vsriq_n_u32(vshlq_n_u32(x, 32 - kBits), x, kBits);
  }
  template <int kA, int kB, int kC>
  static OFFLOOP_INLINE Reg big(Reg x) {
    return veorq_u32(veorq_u32(rotate<kA>(x), rotate<kB>(x)), rotate<kC>(x));
  }
  template <int kA, int kB, int kShift>
  static OFFLOOP_INLINE Reg small(Reg x) {
    return veorq_u32(veorq_u32(rotate<kA>(x), rotate<kB>(x)), vshrq_n_u32(x, kShift));
  }
  static OFFLOOP_INLINE Reg big0(Reg x) { return big<2, 13, 22>(x); }
  static OFFLOOP_INLINE Reg big1(Reg x) { return big<6, 11, 25>(x); }
  static OFFLOOP_INLINE Reg small0(Reg x) { return small<7, 18, 3>(x); }
  static OFFLOOP_INLINE Reg small1(Reg x) { return small<17, 19, 10>(x); }

  /// r[i] word j becomes r[j] word i.
  static OFFLOOP_INLINE void transpose(Reg* r) {
    const uint64x2_t even01 = vreinterpretq_u64_u32(vtrn1q_u32(r[0], r[1])),
                     odd01 = vreinterpretq_u64_u32(vtrn2q_u32(r[0], r[1]));
    const uint64x2_t even23 = vreinterpretq_u64_u32(vtrn1q_u32(r[2], r[3])),
                     odd23 = vreinterpretq_u64_u32(vtrn2q_u32(r[2], r[3]));
    r[0] = vreinterpretq_u32_u64(vtrn1q_u64(even01, even23)), r[2] = vreinterpretq_u32_u64(vtrn2q_u64(even01, even23));
    r[1] = vreinterpretq_u32_u64(vtrn1q_u64(odd01, odd23)), r[3] = vreinterpretq_u32_u64(vtrn2q_u64(odd01, odd23));
  }

  static OFFLOOP_INLINE void load_state(std::uint32_t* const* states, Reg* s) {
    for (int i = 0; i < 4; ++i) s[i] = vld1q_u32(states[i]), s[i + 4] = vld1q_u32(states[i] + 4);
    transpose(s);
    transpose(s + 4);
  }

  static OFFLOOP_INLINE void store_state(std::uint32_t* const* states, Reg* s) {
    transpose(s);
    transpose(s + 4);
    for (int i = 0; i < 4; ++i) vst1q_u32(states[i], s[i]), vst1q_u32(states[i] + 4, s[i + 4]);
  }

  static OFFLOOP_INLINE void load_block(const std::uint8_t* const* data, std::size_t offset, Reg* w) {
    for (int quarter = 0; quarter < 16; quarter += 4) {
      for (int i = 0; i < 4; ++i) {
        w[quarter + i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data[i] + offset + 4 * quarter)));
      }
      transpose(w + quarter);
    }
  }
};

}  // namespace

void sha256_neon_x4(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  sha256_lanes<V4>(states, data, blocks);
}

}  // namespace offloop::hash
