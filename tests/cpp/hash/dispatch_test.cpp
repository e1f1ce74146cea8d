// Which kernel runs what: OFFLOOP_CPU, the plan and the words that doctor shows.
#include "hash/dispatch.h"

#include <gtest/gtest.h>

#include <optional>

#include "cpp/cross/sha256_checks.h"
#include "offloop/hash/cpu.h"

namespace offloop::hash {
namespace {

using checks::Reference;

class EveryMode : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    if (!cpu_mode_supported(mode(), cpu_choice().cpu)) GTEST_SKIP() << cpu_mode_name(mode()) << ": not on this CPU";
    scoped_.emplace(mode());
  }

  CpuMode mode() const { return static_cast<CpuMode>(GetParam()); }

  const Reference reference_;
  std::optional<ScopedPlan> scoped_;
};

TEST_P(EveryMode, GivesNistsDigests) {
  EXPECT_EQ(checks::check_nist(), "");
}
TEST_P(EveryMode, SplitsAnyNumberOfStreamsOverItsKernels) {
  EXPECT_EQ(checks::check_all_streams(reference_), "");
}
TEST_P(EveryMode, HoldsAtExtremeWords) {
  EXPECT_EQ(checks::check_extremes(reference_), "");
}

TEST_P(EveryMode, UsesOnlyKernelsOfThisCpu) {
  for (unsigned n = 1; n <= kMaxLanes; ++n)
    EXPECT_TRUE(kernel_supported(current_plan().take[n], cpu_choice().cpu)) << n;
}

TEST_P(EveryMode, SaysAPositiveRateForAnyNumberOfStreams) {
  for (unsigned n = 0; n <= kMaxLanes + 1; ++n) EXPECT_GT(sha256_rate(n), 0.0) << n;
}

std::string mode_test_name(const testing::TestParamInfo<unsigned>& info) {
  return cpu_mode_name(static_cast<CpuMode>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryMode, testing::Range(0U, kCpuModeCount), mode_test_name);

TEST(Override, IsAutoWhenItIsNotSetOrEmpty) {
  for (const char* text : {static_cast<const char*>(nullptr), "", "auto"}) {
    const Choice choice = make_choice(text);
    EXPECT_EQ(choice.mode, CpuMode::kAuto);
    EXPECT_EQ(override_error_of(choice), "");
  }
}

TEST(Override, IsObeyedWhereTheCpuCan) {
  const Choice choice = make_choice("portable");
  EXPECT_EQ(choice.mode, CpuMode::kPortable);
  EXPECT_EQ(choice.plan.take[16], Kernel::kPortable);
  EXPECT_EQ(override_error_of(choice), "");
}

TEST(Override, NamesAnUnknownValueAndGoesOnWithAuto) {
  const Choice choice = make_choice("sse9");
  EXPECT_EQ(choice.mode, CpuMode::kAuto);
  const std::string problem = override_error_of(choice);
  EXPECT_NE(problem.find("OFFLOOP_CPU=sse9 is not a name"), std::string::npos) << problem;
  EXPECT_NE(problem.find("auto, portable"), std::string::npos) << problem;
}

TEST(Override, NamesWhatTheCpuLacksAndGoesOnWithAuto) {
  for (unsigned i = 0; i < kCpuModeCount; ++i) {
    const auto mode = static_cast<CpuMode>(i);
    if (cpu_mode_supported(mode, cpu_choice().cpu)) continue;
    const Choice choice = make_choice(cpu_mode_name(mode));
    EXPECT_EQ(choice.mode, CpuMode::kAuto);
    EXPECT_NE(override_error_of(choice).find("asks for instructions that"), std::string::npos)
        << override_error_of(choice);
  }
}

TEST(Override, CutsOffALongValue) {
  const Choice choice = make_choice(std::string(1000, 'x').c_str());
  EXPECT_EQ(choice.problem, OverrideProblem::kUnknown);
  EXPECT_EQ(std::string(choice.override_text), std::string(sizeof choice.override_text - 1, 'x'));
}

#if defined(__x86_64__)
CpuFeatures cpu_with(bool sha_ni, bool avx2, bool avx512) {
  CpuFeatures cpu;
  cpu.vendor = CpuVendor::kIntel, cpu.family = 6, cpu.model = 0x8f;
  cpu.sha_ni = sha_ni, cpu.avx2 = avx2, cpu.avx512 = avx512;
  return cpu;
}

Plan auto_plan(const CpuFeatures& cpu) {
  return make_plan(CpuMode::kAuto, cpu, rates_of(cpu));
}

TEST(AutoPlan, OnSapphireRapidsIsPairsForFewAndWiderLanesForMany) {
  const Plan plan = auto_plan(cpu_with(true, true, true));
  EXPECT_EQ(plan.take[1], Kernel::kShani1);
  for (unsigned n = 2; n <= 6; ++n) EXPECT_EQ(plan.take[n], Kernel::kShani2) << n;
  for (unsigned n = 7; n <= 10; ++n) EXPECT_EQ(plan.take[n], Kernel::kAvx512x8) << n;
  for (unsigned n = 11; n <= 16; ++n) EXPECT_EQ(plan.take[n], Kernel::kAvx512x16) << n;
}

TEST(AutoPlan, AnIntelCpuWithAvx512AndShaExtensionsIsKnownByThem) {
  CpuFeatures cpu = cpu_with(true, true, true);
  cpu.model = 0xff;
  EXPECT_STREQ(rates_of(cpu).name, "Sapphire Rapids");
  cpu.family = 19;
  EXPECT_STREQ(rates_of(cpu).name, "Sapphire Rapids");
  cpu.sha_ni = false;
  EXPECT_STREQ(rates_of(cpu).name, "generic x86");
}

TEST(AutoPlan, WithoutAvx512IsPairs) {
  const Plan plan = auto_plan(cpu_with(true, true, false));
  for (unsigned n = 2; n <= 16; ++n) EXPECT_EQ(plan.take[n], Kernel::kShani2) << n;
}

TEST(AutoPlan, RunsTheWiderKernelFirstWhereTheOrderCostsNothing) {
  const Plan plan = auto_plan(cpu_with(true, true, false));
  for (unsigned n = 3; n <= 15; n += 2) EXPECT_EQ(plan.take[n], Kernel::kShani2) << n;
}

TEST(AutoPlan, WithoutShaExtensionsIsAvx2ForManyAndPortableForOne) {
  const Plan plan = auto_plan(cpu_with(false, true, false));
  EXPECT_EQ(plan.take[1], Kernel::kPortable);
  EXPECT_EQ(plan.take[8], Kernel::kAvx2x8);
  EXPECT_EQ(plan.take[16], Kernel::kAvx2x8);
}

TEST(ForcedPlan, RunsTheModesOwnKernelWhereverItsLanesAreFull) {
  const CpuFeatures cpu = cpu_with(true, true, true);
  const auto plan = [&cpu](CpuMode mode) { return make_plan(mode, cpu, rates_of(cpu)); };
  EXPECT_EQ(plan(CpuMode::kAvx2).take[8], Kernel::kAvx2x8);
  EXPECT_EQ(plan(CpuMode::kAvx2).take[16], Kernel::kAvx2x8);
  EXPECT_EQ(plan(CpuMode::kAvx512).take[8], Kernel::kAvx512x8);
  EXPECT_EQ(plan(CpuMode::kAvx512).take[16], Kernel::kAvx512x16);
  EXPECT_EQ(plan(CpuMode::kShani).take[2], Kernel::kShani2);
  EXPECT_EQ(plan(CpuMode::kShani1).take[16], Kernel::kShani1);
}

TEST(ForcedPlan, LeavesTheWideKernelAloneWhileItsLanesDoNotPay) {
  const CpuFeatures cpu = cpu_with(true, true, true);
  const Plan plan = make_plan(CpuMode::kAvx2, cpu, rates_of(cpu));
  for (unsigned n = 2; n < 8; ++n) EXPECT_EQ(plan.take[n], Kernel::kShani1) << n;
}

TEST(AutoPlan, WithoutAnythingIsPortable) {
  const Plan plan = auto_plan(cpu_with(false, false, false));
  for (unsigned n = 1; n <= 16; ++n) EXPECT_EQ(plan.take[n], Kernel::kPortable) << n;
}

TEST(AutoPlan, IsNeverSlowerForOneMoreStream) {
  for (const bool avx512 : {false, true}) {
    const Plan plan = auto_plan(cpu_with(true, true, avx512));
    for (unsigned n = 1; n <= kMaxLanes; ++n) EXPECT_GE(plan.rate[n], plan.rate[1]) << n;
    EXPECT_GT(plan.rate[2], plan.rate[1]);
  }
}

TEST(AutoPlan, OnSkylakeServerIsPortableForOneAndSixteenLanesForMany) {
  CpuFeatures cpu = cpu_with(false, true, true);
  cpu.model = 0x55;
  const Plan plan = auto_plan(cpu);
  EXPECT_STREQ(rates_of(cpu).name, "Skylake server");
  EXPECT_EQ(plan.take[1], Kernel::kPortable);
  EXPECT_EQ(plan.take[16], Kernel::kAvx512x16);
}
#endif

TEST(ScopedPlan, EndsWithItsScopeAndNests) {
  const Kernel before = current_plan().take[16];
  {
    const ScopedPlan outer(CpuMode::kPortable);
    EXPECT_EQ(current_plan().take[16], Kernel::kPortable);
    {
      const ScopedPlan inner(cpu_choice().plan);
      EXPECT_EQ(current_plan().take[16], cpu_choice().plan.take[16]);
    }
    EXPECT_EQ(current_plan().take[16], Kernel::kPortable);
  }
  EXPECT_EQ(current_plan().take[16], before);
}

TEST(Report, NamesBrandModeAndKernelsForEachNumberOfStreams) {
  const CpuReport report = cpu_report();
  EXPECT_FALSE(report.brand.empty());
  EXPECT_EQ(report.mode, cpu_mode_name(cpu_choice().mode));
  ASSERT_EQ(report.rows.size(), kMaxLanes);
  for (unsigned i = 0; i < kMaxLanes; ++i) {
    EXPECT_EQ(report.rows[i].streams, i + 1);
    EXPECT_FALSE(report.rows[i].kernels.empty());
    EXPECT_GT(report.rows[i].rate_gb_per_s, 0.0);
  }
}

TEST(Report, CountsRepeatedKernels) {
  const ScopedPlan scoped(CpuMode::kPortable);
  EXPECT_EQ(cpu_report().rows[2].kernels, "portable (3 times)");
}

}  // namespace
}  // namespace offloop::hash
