// One stream in plain C++: for CPUs without anything better, and the reference that every other kernel is compared
// with.
#include <bit>
#include <cstring>

#include "hash/kernels.h"

namespace offloop::hash {
namespace {

using Word = std::uint32_t;

constexpr Word big0(Word x) {
  return std::rotr(x, 2) ^ std::rotr(x, 13) ^ std::rotr(x, 22);
}
constexpr Word big1(Word x) {
  return std::rotr(x, 6) ^ std::rotr(x, 11) ^ std::rotr(x, 25);
}
constexpr Word small0(Word x) {
  return std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3);
}
constexpr Word small1(Word x) {
  return std::rotr(x, 17) ^ std::rotr(x, 19) ^ (x >> 10);
}

Word load_big_endian(const std::uint8_t* p) {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return std::endian::native == std::endian::little ? __builtin_bswap32(word) : word;
}

void compress(Word* state, const std::uint8_t* block) {
  Word w[16];
  for (unsigned i = 0; i < 16; ++i) w[i] = load_big_endian(block + i * 4);
  Word a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];

  for (unsigned t = 0; t < 64; t += 16) {
#define OFFLOOP_ROUND(A, B, C, D, E, F, G, H, I)                                        \
  {                                                                                     \
    const Word sum = H + (kSha256K[t + (I)] + w[I]) + (((F ^ G) & E) ^ G) + big1(E);    \
    D += sum;                                                                           \
    H = sum + (((A ^ B) & (B ^ C)) ^ B) + big0(A);                                      \
    w[I] += w[((I) + 9) % 16] + small0(w[((I) + 1) % 16]) + small1(w[((I) + 14) % 16]); \
  }
#define OFFLOOP_EIGHT_ROUNDS(I)                  \
  OFFLOOP_ROUND(a, b, c, d, e, f, g, h, (I) + 0) \
  OFFLOOP_ROUND(h, a, b, c, d, e, f, g, (I) + 1) \
  OFFLOOP_ROUND(g, h, a, b, c, d, e, f, (I) + 2) \
  OFFLOOP_ROUND(f, g, h, a, b, c, d, e, (I) + 3) \
  OFFLOOP_ROUND(e, f, g, h, a, b, c, d, (I) + 4) \
  OFFLOOP_ROUND(d, e, f, g, h, a, b, c, (I) + 5) \
  OFFLOOP_ROUND(c, d, e, f, g, h, a, b, (I) + 6) \
  OFFLOOP_ROUND(b, c, d, e, f, g, h, a, (I) + 7)
    OFFLOOP_EIGHT_ROUNDS(0)
    OFFLOOP_EIGHT_ROUNDS(8)
#undef OFFLOOP_EIGHT_ROUNDS
#undef OFFLOOP_ROUND
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

}  // namespace

void sha256_portable_x1(Word* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  const std::uint8_t* block = data[0];
  for (; blocks != 0; --blocks, block += kSha256BlockBytes) compress(states[0], block);
}

}  // namespace offloop::hash
