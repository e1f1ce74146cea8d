// Cgroup quotas of both versions, flat and nested, read from a made-up /proc and /sys.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>

#include "runtime/topology.h"
#include "support/temp_dir.h"

namespace offloop::runtime {
namespace {

class Cgroup : public ::testing::Test {
 protected:
  void file(const std::string& path, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(root_ / path).parent_path());
    root_.write(path, text);
  }
  void member_of(std::string_view lines) { file("proc/self/cgroup", lines); }
  void v2(const std::string& group, std::string_view quota) { file("sys/fs/cgroup" + group + "/cpu.max", quota); }
  void v1(const std::string& mount, const std::string& group, std::string_view quota, std::string_view period) {
    file("sys/fs/cgroup/" + mount + group + "/cpu.cfs_quota_us", quota);
    file("sys/fs/cgroup/" + mount + group + "/cpu.cfs_period_us", period);
  }
  [[nodiscard]] double cpus() const { return cgroup_cpus(root_ / ""); }

  testing::TempDir root_;
};

TEST_F(Cgroup, WithoutCgroupsThereIsNoLimit) {
  EXPECT_EQ(cpus(), HUGE_VAL);
}

TEST_F(Cgroup, Version2) {
  member_of("0::/service\n");
  v2("/service", "150000 100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 1.5);
}

TEST_F(Cgroup, Version2WithoutALimit) {
  member_of("0::/service\n");
  v2("/service", "max 100000\n");
  EXPECT_EQ(cpus(), HUGE_VAL);
}

TEST_F(Cgroup, TheTightestOfNestedGroupsOfVersion2Counts) {
  member_of("0::/a/b/c\n");
  v2("/a", "200000 100000\n");
  v2("/a/b", "50000 50000\n");
  v2("/a/b/c", "400000 100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 1.0);
  v2("/a/b/c", "30000 100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 0.3);
  v2("/a", "10000 100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 0.1);
}

// In a container the path is often the host's, and the group is mounted at the root.
TEST_F(Cgroup, APathThatIsNotMountedHereEndsAtTheRoot) {
  member_of("0::/docker/0123456789\n");
  v2("", "300000 100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 3.0);
}

TEST_F(Cgroup, Version1) {
  member_of("5:cpuset:/elsewhere\n4:cpu,cpuacct:/service\n3:memory:/x\n");
  v1("cpu", "/service", "250000\n", "100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 2.5);
  v1("cpu", "/service", "-1\n", "100000\n");
  EXPECT_EQ(cpus(), HUGE_VAL);
}

TEST_F(Cgroup, Version1UnderItsOtherName) {
  member_of("4:cpu,cpuacct:/\n");
  v1("cpu,cpuacct", "", "100000\n", "50000\n");
  EXPECT_DOUBLE_EQ(cpus(), 2.0);
}

TEST_F(Cgroup, NestedGroupsOfVersion1) {
  member_of("4:cpu:/a/b\n");
  v1("cpu", "", "-1\n", "100000\n");
  v1("cpu", "/a", "100000\n", "100000\n");
  v1("cpu", "/a/b", "800000\n", "100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 1.0);
}

// "cpuset" is another controller, whatever it starts with.
TEST_F(Cgroup, OtherControllersOfVersion1DoNotCount) {
  member_of("4:cpuset:/wrong\n2:cpuacct,cpu:/right\n");
  v1("cpu", "/wrong", "100000\n", "100000\n");
  v1("cpu", "/right", "700000\n", "100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 7.0);
}

TEST_F(Cgroup, OfBothVersionsTheTighterCounts) {
  member_of("4:cpu:/a\n0::/b\n");
  v1("cpu", "/a", "400000\n", "100000\n");
  v2("/b", "200000 100000\n");
  EXPECT_DOUBLE_EQ(cpus(), 2.0);
}

TEST_F(Cgroup, WhatNobodyUnderstandsIsNoLimit) {
  member_of("nonsense\n0:\n::\n0::/x\n");
  v2("/x", "");
  EXPECT_EQ(cpus(), HUGE_VAL);
  v2("/x", "many few\n");
  EXPECT_EQ(cpus(), HUGE_VAL);
  v2("/x", "100000 0\n");
  EXPECT_EQ(cpus(), HUGE_VAL);
  v1("cpu", "", "100000\n", "0\n");
  EXPECT_EQ(cpus(), HUGE_VAL);
}

TEST(UsableCpus, AreTheMasksOrTheQuotaRoundedUp) {
  EXPECT_EQ(usable_cpus(8, HUGE_VAL), 8U);
  EXPECT_EQ(usable_cpus(8, 1.5), 2U);
  EXPECT_EQ(usable_cpus(8, 0.1), 1U);
  EXPECT_EQ(usable_cpus(2, 64), 2U);
  EXPECT_EQ(usable_cpus(4096, HUGE_VAL), 1024U);
  EXPECT_EQ(usable_cpus(0, 0), 1U);
}

}  // namespace
}  // namespace offloop::runtime
