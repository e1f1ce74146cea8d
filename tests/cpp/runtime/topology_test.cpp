#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <thread>

#include "offloop/runtime/histogram.h"
#include "offloop/runtime/pool.h"

namespace offloop::runtime {
namespace {

class Topology : public ::testing::Test {
 protected:
  void SetUp() override { ::unsetenv("OFFLOOP_THREADS"); }
  void TearDown() override { ::unsetenv("OFFLOOP_THREADS"); }

  static unsigned with_env(const char* text) {
    ::setenv("OFFLOOP_THREADS", text, 1);
    return default_threads();
  }
};

TEST_F(Topology, NeverMoreThreadsThanTheAffinityMaskHasCpus) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  EXPECT_GE(default_threads(), 1U);
  EXPECT_LE(default_threads(), static_cast<unsigned>(CPU_COUNT(&all)));
}

TEST_F(Topology, OneCpuInTheAffinityMaskIsOneThread) {
  unsigned threads = 0;
  std::thread pinned([&] {  // the mask is the thread's own
    cpu_set_t all;
    cpu_set_t one;
    ::sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &all)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    if (::sched_setaffinity(0, sizeof one, &one) == 0) threads = default_threads();
  });
  pinned.join();
  EXPECT_EQ(threads, 1U);
}

TEST_F(Topology, TheEnvironmentVariableWins) {
  EXPECT_EQ(with_env("7"), 7U);
  EXPECT_EQ(with_env("1"), 1U);
}

TEST_F(Topology, TheEnvironmentVariableIsCapped) {
  EXPECT_EQ(with_env("1024"), 1024U);
  EXPECT_EQ(with_env("99999"), 1024U);
  EXPECT_EQ(with_env("99999999999999999999999"), 1024U);
}

TEST_F(Topology, WhatIsNoPositiveNumberIsIgnored) {
  const unsigned measured = default_threads();
  for (const char* text : {"", "0", "-3", "abc", "4x", "2.5"}) EXPECT_EQ(with_env(text), measured) << text;
}

TEST(HistogramOf, BucketsArePowersOfTwo) {
  Histogram h;
  h.record(0);
  h.record(-5);  // a clock that two CPUs disagree about
  h.record(1);
  h.record(1023);
  h.record(1024, 3);
  h.record(INT64_MAX);
  EXPECT_EQ(h.count(0), 2U);
  EXPECT_EQ(h.count(1), 1U);
  EXPECT_EQ(h.count(10), 1U);
  EXPECT_EQ(h.count(11), 3U);
  EXPECT_EQ(h.count(Histogram::kBuckets - 1), 1U);
}

}  // namespace
}  // namespace offloop::runtime
