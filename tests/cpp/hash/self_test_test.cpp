// A kernel whose sums are wrong is found before anybody gets a digest of it.
#include "hash/self_test.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "offloop/hash/cpu.h"
#include "offloop/hash/hash.h"
#include "support/counters_listener.h"
#include "support/temp_dir.h"

namespace offloop::hash {
namespace {

constexpr unsigned kLanes = 4;

void right(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  for (unsigned i = 0; i < kLanes; ++i) kernel_info(Kernel::kPortable).run(states + i, data + i, blocks);
}

void one_bit_of_the_last_lane(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t n) noexcept {
  right(states, data, n);
  states[kLanes - 1][7] ^= 1;
}

void the_third_block(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  right(states, data, blocks < 3 ? blocks : 2);
}

void two_lanes_swapped(std::uint32_t* const* states, const std::uint8_t* const* data, std::size_t blocks) noexcept {
  right(states, data, blocks);
  for (unsigned i = 0; i < 8; ++i) std::swap(states[1][i], states[2][i]);
}

void nothing_at_all(std::uint32_t* const*, const std::uint8_t* const*, std::size_t) noexcept {}

std::string problem_of(const KernelInfo& kernel) {
  char problem[160] = "";
  return kernel_is_right(kernel, problem, sizeof problem) ? "" : problem;
}

TEST(SelfTest, FindsNothingWrongWithTheKernelsOfThisCpu) {
  for (unsigned i = 0; i < kKernelCount; ++i) {
    const auto kernel = static_cast<Kernel>(i);
    if (!kernel_supported(kernel, cpu_choice().cpu)) continue;
    EXPECT_EQ(problem_of(kernel_info(kernel)), "");
  }
  EXPECT_EQ(self_test_error(), "");
  EXPECT_TRUE(sha256_trusted());
}

TEST(SelfTest, FindsEachKindOfWrongKernelAndNamesIt) {
  EXPECT_EQ(problem_of({"right", kLanes, right}), "");
  for (const KernelFn wrong : {one_bit_of_the_last_lane, the_third_block, two_lanes_swapped, nothing_at_all}) {
    const std::string problem = problem_of({"wrong", kLanes, wrong});
    EXPECT_EQ(problem.rfind("wrong gives ", 0), 0U) << problem;
    EXPECT_NE(problem.find(", expected "), std::string::npos) << problem;
  }
}

TEST(SelfTest, TestsEveryKernelOfThePlan) {
  Plan plan = cpu_choice().plan;
  char problem[160] = "";
  EXPECT_TRUE(plan_is_right(plan, problem, sizeof problem)) << problem;
}

TEST(SelfTest, AfterAFailureNothingIsHashed) {
  const testing::TempDir dir;
  const std::vector<std::uint8_t> bytes(100'000, 7);
  const std::string path = dir.write("file", bytes);
  {
    const ScopedFailure failed("AVX9 x1 gives 00000000...");
    EXPECT_FALSE(sha256_trusted());
    for (Operation<Digest>* op : {new Operation<Digest>(sha256(bytes)), new Operation<Digest>(file_digest(path))}) {
      const Result<Digest> result = op->get();
      delete op;
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.error().code, ErrorCode::kInternal);
    }
    const Result<Digest> result = sha256(bytes).get();
    EXPECT_NE(result.error().message.find("AVX9 x1 gives"), std::string::npos) << result.error().message;
    EXPECT_EQ(sha256_now(bytes).size, 0U);
    EXPECT_FALSE(digest_now(bytes, Algorithm::sha256()).has_value());
    EXPECT_TRUE(digest(bytes, "sha512").get().ok());  // OpenSSL's, not ours
  }
  EXPECT_TRUE(sha256(bytes).get().ok());
}

}  // namespace
}  // namespace offloop::hash
