#include "hash/self_test.h"

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "offloop/base/bytes.h"

namespace offloop::hash {
namespace {

constexpr std::size_t kBlocks = 3;

/// FIPS 180-4's examples of one and of two blocks (csrc.nist.gov, "Examples with intermediate values").
struct Example {
  const char* message;
  std::uint32_t digest[8];
};
constexpr Example kExamples[] = {
    {"abc", {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad}},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     {0x248d6a61, 0xd20638b8, 0xe5c02693, 0x0c3e6039, 0xa33ce459, 0x64ff2167, 0xf6ecedd4, 0x19db06c1}},
};

/// Up to kMaxLanes messages of kBlocks blocks, no two alike, every byte value among them.
struct Messages {
  std::uint8_t bytes[kMaxLanes][kBlocks * kSha256BlockBytes];

  Messages() noexcept {
    std::uint32_t x = 1;
    for (auto& message : bytes) {
      for (std::uint8_t& byte : message) {
        x = x * 1664525 + 1013904223;  // Numerical Recipes' generator
        byte = static_cast<std::uint8_t>(x >> 24);
      }
    }
  }
};

struct States {
  std::uint32_t words[kMaxLanes][8];
  std::uint32_t* of[kMaxLanes];

  States() noexcept {
    for (unsigned i = 0; i < kMaxLanes; ++i) {
      std::memcpy(words[i], kSha256Init, sizeof words[i]);
      of[i] = words[i];
    }
  }
};

bool same(const std::uint32_t* got, const std::uint32_t* expected, const KernelInfo& kernel, const char* what,
          unsigned lane, char* problem, std::size_t size) noexcept {
  if (std::memcmp(got, expected, 8 * sizeof *got) == 0) return true;
  std::snprintf(problem, size, "%s gives %08x%08x..., expected %08x%08x..., for %s in lane %u", kernel.name, got[0],
                got[1], expected[0], expected[1], what, lane);
  return false;
}

bool examples_are_right(const KernelInfo& kernel, char* problem, std::size_t size) noexcept {
  for (const Example& example : kExamples) {
    std::uint8_t padded[2 * kSha256BlockBytes];
    const std::size_t length = std::strlen(example.message);
    const std::size_t blocks =
        sha256_pad(reinterpret_cast<const std::uint8_t*>(example.message), length, length, padded);
    const std::uint8_t* data[kMaxLanes];
    for (const std::uint8_t*& lane : data) lane = padded;
    States states;
    kernel.run(states.of, data, blocks);
    for (unsigned lane = 0; lane < kernel.lanes; ++lane) {
      if (!same(states.words[lane], example.digest, kernel, "FIPS 180-4's example", lane, problem, size)) return false;
    }
  }
  return true;
}

}  // namespace

bool kernel_is_right(const KernelInfo& kernel, char* problem, std::size_t size) noexcept {
  if (!examples_are_right(kernel, problem, size)) return false;
  const Messages messages;
  const std::uint8_t* data[kMaxLanes];
  for (unsigned lane = 0; lane < kMaxLanes; ++lane) data[lane] = messages.bytes[lane];
  States states;
  kernel.run(states.of, data, kBlocks);
  for (unsigned lane = 0; lane < kernel.lanes; ++lane) {
    States expected;
    kernel_info(Kernel::kPortable).run(&expected.of[lane], &data[lane], kBlocks);
    if (!same(states.words[lane], expected.words[lane], kernel, "the portable kernel's message", lane, problem, size))
      return false;
  }
  return true;
}

bool plan_is_right(const Plan& plan, char* problem, std::size_t size) noexcept {
  if (!kernel_is_right(kernel_info(Kernel::kPortable), problem, size)) return false;
  unsigned judged = 1U << static_cast<unsigned>(Kernel::kPortable);
  for (unsigned n = 1; n <= kMaxLanes; ++n) {
    const unsigned bit = 1U << static_cast<unsigned>(plan.take[n]);
    if ((judged & bit) != 0) continue;
    judged |= bit;
    if (!kernel_is_right(kernel_info(plan.take[n]), problem, size)) return false;
  }
  return true;
}

}  // namespace offloop::hash
