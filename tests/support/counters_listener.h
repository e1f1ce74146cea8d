// Fails a test that ends with more live operations, ports, buffers, transfers or chunks than it began with.
//
// Include it in a test program; it registers itself. Threads belong to the pool, which outlives every test, and streams
// to caches; both are left out. Does nothing where the library is built without counters.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <chrono>
#include <cstdint>

#include "offloop/base/counters.h"

namespace offloop::testing {

class CountersListener final : public ::testing::EmptyTestEventListener {
 public:
  static bool install() {
    if (kCountersOn) ::testing::UnitTest::GetInstance()->listeners().Append(new CountersListener);
    return true;
  }

 private:
  static constexpr std::array kWatched = {Counted::kOperation, Counted::kBuffer, Counted::kPort, Counted::kTransfer,
                                          Counted::kChunk};
  using Counts = std::array<std::int64_t, kWatched.size()>;

  static Counts counts() {
    Counts now{};
    for (std::size_t i = 0; i < now.size(); ++i) now[i] = live_count(kWatched[i]);
    return now;
  }

  void OnTestStart(const ::testing::TestInfo&) override { before_ = counts(); }

  void OnTestEnd(const ::testing::TestInfo&) override {
    // A worker drops its reference a moment after it has published: that moment is granted, a leak never goes away.
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (counts() != before_ && std::chrono::steady_clock::now() < until) ::sched_yield();
    const Counts after = counts();
    for (std::size_t i = 0; i < after.size(); ++i)
      EXPECT_EQ(after[i], before_[i]) << "live " << counted_name(kWatched[i]) << " after and before the test";
  }

  Counts before_{};
};

inline const bool counters_listener_installed = CountersListener::install();

}  // namespace offloop::testing
