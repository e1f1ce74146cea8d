// AVX2: 8 streams. No rotation and no three-operand logic here, so a rotation is two shifts; the 16 schedule words live
// on the stack, as 16 registers cannot hold them and the state.
#include <immintrin.h>

#include "hash/kernels_lanes.h"
#include "hash/kernels_x8.h"

namespace offloop::hash {
namespace {

struct V8 : X8Memory {
  static OFFLOOP_INLINE Reg add(Reg x, Reg y) { return _mm256_add_epi32(x, y); }
  static OFFLOOP_INLINE Reg exor(Reg x, Reg y) { return _mm256_xor_si256(x, y); }
  static OFFLOOP_INLINE Reg broadcast(const std::uint32_t* k) { return _mm256_set1_epi32(static_cast<int>(*k)); }
  static OFFLOOP_INLINE Reg ch(Reg e, Reg f, Reg g) { return exor(_mm256_and_si256(exor(f, g), e), g); }
  /// This round's a ^ b is the next one's b ^ c: the compiler computes it once.
  static OFFLOOP_INLINE Reg maj(Reg a, Reg b, Reg c) { return exor(_mm256_and_si256(exor(a, b), exor(b, c)), b); }

  template <int kBits>
  static OFFLOOP_INLINE Reg rotate(Reg x) {
    return exor(_mm256_srli_epi32(x, kBits), _mm256_slli_epi32(x, 32 - kBits));
  }
  template <int kA, int kB, int kC>
  static OFFLOOP_INLINE Reg big(Reg x) {
    return exor(exor(rotate<kA>(x), rotate<kB>(x)), rotate<kC>(x));
  }
  template <int kA, int kB, int kShift>
  static OFFLOOP_INLINE Reg small(Reg x) {
    return exor(exor(rotate<kA>(x), rotate<kB>(x)), _mm256_srli_epi32(x, kShift));
  }
  static OFFLOOP_INLINE Reg big0(Reg x) { return big<2, 13, 22>(x); }
  static OFFLOOP_INLINE Reg big1(Reg x) { return big<6, 11, 25>(x); }
  static OFFLOOP_INLINE Reg small0(Reg x) { return small<7, 18, 3>(x); }
  static OFFLOOP_INLINE Reg small1(Reg x) { return small<17, 19, 10>(x); }
};

}  // namespace

void sha256_avx2_x8(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  sha256_lanes<V8>(states, data, blocks);
  _mm256_zeroupper();  // SHA-NI code entered with dirty upper halves runs 100 times slower on Intel
}

}  // namespace offloop::hash
