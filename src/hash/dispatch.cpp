#include "hash/dispatch.h"

#include <bit>
#include <cstring>

namespace offloop::hash {
namespace {

/// Fewer streams than the kernel has lanes: the idle lanes read some live lane's data and write a state that nobody
/// reads.
void run_partly(const KernelInfo& kernel, unsigned n, std::uint32_t* const* states, const std::uint8_t* const* data,
                std::size_t blocks) noexcept {
  std::uint32_t nobody[8] = {};
  std::uint32_t* lane_states[kMaxLanes];
  const std::uint8_t* lane_data[kMaxLanes];
  for (unsigned i = 0; i < kernel.lanes; ++i) {
    lane_states[i] = i < n ? states[i] : nobody;
    lane_data[i] = i < n ? data[i] : data[0];
  }
  kernel.run(lane_states, lane_data, blocks);
}

void store_big_endian(std::uint32_t word, std::uint8_t* out) noexcept {
  if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap32(word);
  std::memcpy(out, &word, sizeof word);
}

}  // namespace

void sha256_blocks(unsigned n, std::uint32_t* const* states, const std::uint8_t* const* data,
                   std::size_t blocks) noexcept {
  if (blocks == 0) return;
  const Plan& plan = current_plan();
  while (n != 0) {
    const KernelInfo& kernel = kernel_info(plan.take[n < kMaxLanes ? n : kMaxLanes]);
    if (n < kernel.lanes) return run_partly(kernel, n, states, data, blocks);
    kernel.run(states, data, blocks);
    n -= kernel.lanes, states += kernel.lanes, data += kernel.lanes;
  }
}

std::size_t sha256_pad(const std::uint8_t* rest, std::size_t rest_len, std::uint64_t total_len,
                       std::uint8_t out[2 * kSha256BlockBytes]) noexcept {
  const std::size_t blocks = rest_len + 9 <= kSha256BlockBytes ? 1 : 2;  // 0x80 and eight bytes of length must fit
  const std::size_t length_at = blocks * kSha256BlockBytes - 8;
  if (rest_len != 0) std::memcpy(out, rest, rest_len);
  out[rest_len] = 0x80;
  std::memset(out + rest_len + 1, 0, length_at - rest_len - 1);
  const std::uint64_t bits = total_len * 8;
  store_big_endian(static_cast<std::uint32_t>(bits >> 32), out + length_at);
  store_big_endian(static_cast<std::uint32_t>(bits), out + length_at + 4);
  return blocks;
}

void sha256_store_digest(const std::uint32_t state[8], std::uint8_t digest[32]) noexcept {
  for (unsigned i = 0; i < 8; ++i) store_big_endian(state[i], digest + i * 4);
}

void sha256_oneshot(const std::uint8_t* data, std::size_t len, std::uint8_t digest[32]) noexcept {
  std::uint32_t state[8];
  std::memcpy(state, kSha256Init, sizeof state);
  std::uint32_t* const states[1] = {state};
  const std::size_t whole = len / kSha256BlockBytes;
  sha256_blocks(1, states, &data, whole);

  std::uint8_t tail[2 * kSha256BlockBytes];
  const std::size_t rest = len % kSha256BlockBytes;
  const std::size_t tail_blocks = sha256_pad(rest != 0 ? data + (len - rest) : nullptr, rest, len, tail);
  const std::uint8_t* const tails[1] = {tail};
  sha256_blocks(1, states, tails, tail_blocks);
  sha256_store_digest(state, digest);
}

double sha256_rate(unsigned n) noexcept {
  return current_plan().rate[n < kMaxLanes ? n : kMaxLanes];
}

}  // namespace offloop::hash
