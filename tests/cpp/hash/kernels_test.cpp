// Every kernel that this CPU has does the same sums, for any number of streams, any length, any address.
#include "hash/kernels.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/mman.h>

#include <cstring>
#include <optional>

#include "cpp/cross/sha256_checks.h"
#include "hash/dispatch.h"

namespace offloop::hash {
namespace {

using checks::Reference;

std::string kernel_test_name(const testing::TestParamInfo<unsigned>& info) {
  std::string name;
  for (const char* c = kernel_info(static_cast<Kernel>(info.param)).name; *c != '\0'; ++c) {
    if (*c != ' ' && *c != '-') name += *c;
  }
  return name;
}

std::vector<unsigned> kernels_of_this_build() {
  std::vector<unsigned> built;
  for (unsigned i = 0; i < kKernelCount; ++i) {
    if (kernel_info(static_cast<Kernel>(i)).run != nullptr) built.push_back(i);
  }
  return built;
}

class EveryKernel : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    if (!kernel_supported(kernel(), cpu_choice().cpu))
      GTEST_SKIP() << kernel_info(kernel()).name << ": not on this CPU";
    scoped_.emplace(kernel());
  }

  Kernel kernel() const { return static_cast<Kernel>(GetParam()); }

  const Reference reference_;
  std::optional<ScopedPlan> scoped_;
};

TEST_P(EveryKernel, GivesNistsDigests) {
  EXPECT_EQ(checks::check_nist(), "");
}

TEST_P(EveryKernel, AgreesWithTheReferenceAtEveryPaddingCase) {
  EXPECT_EQ(checks::check_lengths(reference_), "");
}

TEST_P(EveryKernel, AgreesWithTheReferenceAtEveryLengthAndAlignment) {
  EXPECT_EQ(checks::check_lengths_at_every_alignment(reference_), "");
}

TEST_P(EveryKernel, ReadsNothingBeforeOrBehindItsMessage) {
  // One readable page between two that are not: the message ends, then begins, where reading further is a crash.
  constexpr std::size_t kPage = 4096;
  void* const pages = ::mmap(nullptr, 3 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  auto* const page = static_cast<std::uint8_t*>(pages) + kPage;
  ASSERT_EQ(::mprotect(page, kPage, PROT_READ | PROT_WRITE), 0);
  const checks::Bytes text = checks::noise(kPage, 4);
  std::memcpy(page, text.data(), kPage);
  for (std::size_t len = 0; len <= kPage; len += len < 300 ? 1 : 61) {
    for (const std::uint8_t* const at : {page + kPage - len, page + 0}) {
      std::uint8_t digest[32];
      sha256_oneshot(at, len, digest);
      ASSERT_EQ(checks::hex(digest, 32), checks::hex(reference_.digest(at, len))) << len << " bytes";
    }
  }
  // The same with every lane in use: all read the last whole blocks of the page.
  std::uint32_t states[kMaxLanes][8];
  std::uint32_t* into[kMaxLanes];
  const std::uint8_t* from[kMaxLanes];
  for (unsigned i = 0; i < kMaxLanes; ++i) {
    std::memcpy(states[i], kSha256Init, sizeof states[i]);
    into[i] = states[i], from[i] = page + kPage - 3 * kSha256BlockBytes;
  }
  sha256_blocks(kMaxLanes, into, from, 3);
  for (unsigned i = 1; i < kMaxLanes; ++i) EXPECT_EQ(std::memcmp(states[i], states[0], sizeof states[0]), 0) << i;
  ::munmap(pages, 3 * kPage);
}

TEST_P(EveryKernel, ReadsFromAnyAddress) {
  EXPECT_EQ(checks::check_alignments(reference_), "");
}

TEST_P(EveryKernel, RunsOneToSixteenStreamsInOneOrMoreCallsAndTouchesNothingElse) {
  EXPECT_EQ(checks::check_all_streams(reference_), "");
}

TEST_P(EveryKernel, HoldsAtExtremeWords) {
  EXPECT_EQ(checks::check_extremes(reference_), "");
}

TEST_P(EveryKernel, AgreesWithOpensslOnLongMessages) {
  for (const std::size_t len : {std::size_t{65536}, std::size_t{1000003}}) {
    const checks::Bytes message = checks::noise(len, len);
    checks::Digest expected(32);
    ASSERT_EQ(EVP_Digest(message.data(), message.size(), expected.data(), nullptr, EVP_sha256(), nullptr), 1);
    EXPECT_EQ(checks::hex(checks::oneshot(message)), checks::hex(expected)) << len << " bytes";
  }
}

TEST_P(EveryKernel, DoesNothingForNoBlocks) {
  std::uint32_t state[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::uint32_t* const states[1] = {state};
  const std::uint8_t* const nothing[1] = {nullptr};
  sha256_blocks(1, states, nothing, 0);
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(state[i], i + 1);
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryKernel, testing::ValuesIn(kernels_of_this_build()), kernel_test_name);

#if defined(__x86_64__)
/// The upper halves of ymm0 to ymm15 (and with them of zmm0 to zmm15), as they are at this moment.
__attribute__((noinline)) bool upper_halves_are_zero() {
  std::uint64_t upper[16][2];
#define OFFLOOP_UPPER(I) asm volatile("vextractf128 $1, %%ymm" #I ", %0" : "=m"(upper[I]))
  OFFLOOP_UPPER(0);
  OFFLOOP_UPPER(1);
  OFFLOOP_UPPER(2);
  OFFLOOP_UPPER(3);
  OFFLOOP_UPPER(4);
  OFFLOOP_UPPER(5);
  OFFLOOP_UPPER(6);
  OFFLOOP_UPPER(7);
  OFFLOOP_UPPER(8);
  OFFLOOP_UPPER(9);
  OFFLOOP_UPPER(10);
  OFFLOOP_UPPER(11);
  OFFLOOP_UPPER(12);
  OFFLOOP_UPPER(13);
  OFFLOOP_UPPER(14);
  OFFLOOP_UPPER(15);
#undef OFFLOOP_UPPER
  std::uint64_t all = 0;
  for (const auto& half : upper) all |= half[0] | half[1];
  return all == 0;
}

TEST_P(EveryKernel, LeavesTheUpperHalvesOfTheRegistersClean) {
  if (!cpu_choice().cpu.avx2) GTEST_SKIP() << "no upper halves on this CPU";
  std::uint32_t states[kMaxLanes][8] = {};
  std::uint32_t* into[kMaxLanes];
  const std::uint8_t* from[kMaxLanes];
  const checks::Bytes block(64, 0x5a);
  for (unsigned i = 0; i < kMaxLanes; ++i) into[i] = states[i], from[i] = block.data();

  asm volatile("vpcmpeqd %%ymm15, %%ymm15, %%ymm15" ::: "xmm15");
  ASSERT_FALSE(upper_halves_are_zero());  // so a forgotten vzeroupper is seen
  asm volatile("vzeroupper" ::: "memory");
  kernel_info(kernel()).run(into, from, 1);
  EXPECT_TRUE(upper_halves_are_zero());
}
#endif

// The reference is what the others are judged by, so it is judged first, by someone else's code.
TEST(Reference, AgreesWithOpenssl) {
  const Reference reference;
  for (std::size_t len = 0; len < 300; ++len) {
    const checks::Bytes message = checks::noise(len, len + 5);
    checks::Digest expected(32);
    ASSERT_EQ(EVP_Digest(message.data(), message.size(), expected.data(), nullptr, EVP_sha256(), nullptr), 1);
    ASSERT_EQ(checks::hex(reference.digest(message)), checks::hex(expected)) << len << " bytes";
  }
}

TEST(Padding, TakesOneBlockUpToFiftyFiveBytesAndTwoFromThere) {
  std::uint8_t out[128];
  const checks::Bytes rest(63, 0xff);
  for (std::size_t len = 0; len < 64; ++len) {
    std::memset(out, 0xaa, sizeof out);
    const std::size_t blocks = sha256_pad(rest.data(), len, 64 + len, out);
    EXPECT_EQ(blocks, len <= 55 ? 1U : 2U);
    EXPECT_EQ(out[len], 0x80);
    EXPECT_EQ(std::size_t{out[blocks * 64 - 1]} + 256U * out[blocks * 64 - 2], (64 + len) * 8);
  }
}

TEST(Padding, CountsMessagesBeyondFourGibibytes) {
  std::uint8_t out[128];
  ASSERT_EQ(sha256_pad(nullptr, 0, std::uint64_t{5} << 32, out), 1U);
  EXPECT_EQ(checks::hex(out + 56, 8), "0000002800000000");
}

}  // namespace
}  // namespace offloop::hash
