// SHA-256 over the lanes of a vector register: word i of every stream sits in one register, so that the scalar
// algorithm of FIPS 180-4 runs on all streams at once. The register type and its operations come from a traits class V:
//   kStreams, Reg, add, broadcast, ch, maj, big0, big1 (the upper-case sigmas), small0, small1,
//   load_state(states, Reg[8]), store_state(states, Reg[8]), load_block(data, offset, Reg[16])
//
// V must live in an anonymous namespace: only then are the instantiations private to a file compiled with its own
// instruction set. For the same reason nothing of the standard library with code in it is used here.
#pragma once

#include "hash/kernels.h"

#define OFFLOOP_INLINE inline __attribute__((always_inline))

namespace offloop::hash {

/// How many blocks ahead each stream's data is asked for, so that all streams together have some 16 to 32 cache lines
/// on their way. Measured from none to 32 blocks for each number of streams, on messages that are in no cache
/// of the core (docs/design/hash-kernels.md).
template <int kStreams>
inline constexpr std::size_t kBlocksAhead = kStreams == 1   ? 16
                                            : kStreams == 2 ? 8
                                            : kStreams <= 8 ? 4
                                                            : 2;

/// Asks the memory for blocks before they are read: one stream is too short for the CPU's own prefetchers to see it
/// coming (they begin anew in each page), and eight or sixteen are more than they follow. Never past the last block,
/// where somebody else's data is.
template <int kStreams>
class Prefetch {
 public:
  OFFLOOP_INLINE Prefetch(const std::uint8_t* const* data, std::size_t blocks)
      : data_(data), last_((blocks - 1) * kSha256BlockBytes) {
    for (std::size_t offset = kSha256BlockBytes; offset < kAhead && offset <= last_; offset += kSha256BlockBytes)
      ask(offset);
  }
  /// For the block that is read when the one at `offset` and those that have been asked for are done.
  OFFLOOP_INLINE void behind(std::size_t offset) const { ask(offset + kAhead); }

 private:
  static constexpr std::size_t kAhead = kBlocksAhead<kStreams> * kSha256BlockBytes;

  OFFLOOP_INLINE void ask(std::size_t offset) const {
    const std::size_t at = offset < last_ ? offset : last_;
    for (int i = 0; i < kStreams; ++i) __builtin_prefetch(data_[i] + at);
  }

  const std::uint8_t* const* data_;
  std::size_t last_;
};

template <class V, class Reg = typename V::Reg>
OFFLOOP_INLINE void lanes_round(Reg a, Reg b, Reg c, Reg& d, Reg e, Reg f, Reg g, Reg& h, Reg w,
                                const std::uint32_t* k) {
  // h + (K + w) first: it does not wait for the round before.
  const Reg t = V::add(V::add(V::add(h, V::add(w, V::broadcast(k))), V::ch(e, f, g)), V::big1(e));
  d = V::add(d, t);
  h = V::add(V::add(t, V::maj(a, b, c)), V::big0(a));
}

/// Eight rounds; W(i) becomes the schedule word 16 rounds on where kExpand says so.
template <class V, bool kExpand, unsigned kFirst, class Reg = typename V::Reg>
OFFLOOP_INLINE void lanes_eight_rounds(Reg& a, Reg& b, Reg& c, Reg& d, Reg& e, Reg& f, Reg& g, Reg& h, Reg* w,
                                       const std::uint32_t* k) {
#define OFFLOOP_ROUND(A, B, C, D, E, F, G, H, I)                                                                      \
  lanes_round<V>(A, B, C, D, E, F, G, H, w[I], k + (I));                                                              \
  if constexpr (kExpand) {                                                                                            \
    w[I] =                                                                                                            \
        V::add(V::add(w[I], w[((I) + 9) % 16]), V::add(V::small0(w[((I) + 1) % 16]), V::small1(w[((I) + 14) % 16]))); \
  }
  OFFLOOP_ROUND(a, b, c, d, e, f, g, h, kFirst + 0)
  OFFLOOP_ROUND(h, a, b, c, d, e, f, g, kFirst + 1)
  OFFLOOP_ROUND(g, h, a, b, c, d, e, f, kFirst + 2)
  OFFLOOP_ROUND(f, g, h, a, b, c, d, e, kFirst + 3)
  OFFLOOP_ROUND(e, f, g, h, a, b, c, d, kFirst + 4)
  OFFLOOP_ROUND(d, e, f, g, h, a, b, c, kFirst + 5)
  OFFLOOP_ROUND(c, d, e, f, g, h, a, b, kFirst + 6)
  OFFLOOP_ROUND(b, c, d, e, f, g, h, a, kFirst + 7)
#undef OFFLOOP_ROUND
}

template <class V>
OFFLOOP_INLINE void sha256_lanes(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) {
  using Reg = typename V::Reg;
  Reg s[8];
  const Prefetch<V::kStreams> prefetch(data, blocks);
  V::load_state(states, s);
  for (std::size_t offset = 0; blocks != 0; --blocks, offset += kSha256BlockBytes) {
    Reg w[16];
    V::load_block(data, offset, w);
    prefetch.behind(offset);
    Reg a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    // All 64 rounds in a row: as a loop, the schedule words travel through memory at its seams (15 % slower on Zen 4).
    const std::uint32_t* k = kSha256K;
    asm("" : "+r"(k));  // else the 64 broadcasts are hoisted out of the loop into 4 KiB of stack
    lanes_eight_rounds<V, true, 0>(a, b, c, d, e, f, g, h, w, k);
    lanes_eight_rounds<V, true, 8>(a, b, c, d, e, f, g, h, w, k);
    lanes_eight_rounds<V, true, 0>(a, b, c, d, e, f, g, h, w, k + 16);
    lanes_eight_rounds<V, true, 8>(a, b, c, d, e, f, g, h, w, k + 16);
    lanes_eight_rounds<V, true, 0>(a, b, c, d, e, f, g, h, w, k + 32);
    lanes_eight_rounds<V, true, 8>(a, b, c, d, e, f, g, h, w, k + 32);
    lanes_eight_rounds<V, false, 0>(a, b, c, d, e, f, g, h, w, k + 48);
    lanes_eight_rounds<V, false, 8>(a, b, c, d, e, f, g, h, w, k + 48);
    s[0] = V::add(s[0], a), s[1] = V::add(s[1], b), s[2] = V::add(s[2], c), s[3] = V::add(s[3], d);
    s[4] = V::add(s[4], e), s[5] = V::add(s[5], f), s[6] = V::add(s[6], g), s[7] = V::add(s[7], h);
  }
  V::store_state(states, s);
}

}  // namespace offloop::hash
