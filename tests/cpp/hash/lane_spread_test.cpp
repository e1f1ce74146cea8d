// Streams that would be read in one set of the first-level cache are moved apart, by as little as can be.
#include "hash/lane_spread.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace offloop::hash {
namespace {

using Steps = std::vector<unsigned>;

/// What spread_over_sets says of streams at these addresses. Nothing is read there.
Steps steps_for(const std::vector<std::uintptr_t>& addresses) {
  std::vector<const std::uint8_t*> data;
  for (const std::uintptr_t address : addresses) data.push_back(reinterpret_cast<const std::uint8_t*>(address));
  std::vector<std::uint8_t> ahead(addresses.size(), 0xff);
  spread_over_sets(static_cast<unsigned>(addresses.size()), data.data(), ahead.data());
  return {ahead.begin(), ahead.end()};
}

TEST(LaneSpread, StreamsAtTheSamePlaceOfTheirPagesComeOneBlockApart) {
  std::vector<std::uintptr_t> addresses;
  for (std::uintptr_t i = 0; i < kMaxLanes; ++i) addresses.push_back(0x7f00'0000'0030 + (i << 24));
  Steps expected;
  for (unsigned i = 0; i < kMaxLanes; ++i) expected.push_back(i);
  EXPECT_EQ(steps_for(addresses), expected);
}

TEST(LaneSpread, StreamsThatAreApartStayWhereTheyAre) {
  std::vector<std::uintptr_t> addresses;
  for (std::uintptr_t i = 0; i < kMaxLanes; ++i) addresses.push_back(0x10000 + (i << 20) + (63 - i) * 64);
  EXPECT_EQ(steps_for(addresses), Steps(kMaxLanes, 0));
}

TEST(LaneSpread, TheLastSetIsFollowedByTheFirst) {
  EXPECT_EQ(steps_for({0x10fc0, 0x20fc0, 0x30000, 0x40fff}), (Steps{0, 1, 1, 3}));
}

TEST(LaneSpread, WhereverTheyAreEachHasASetOfItsOwnAfterwards) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::uintptr_t> addresses(1 + random() % kMaxLanes);
    const std::uintptr_t sets = 1 + random() % kCacheSets;
    for (std::uintptr_t& address : addresses)
      address = (random() % 1024) * 4096 + (random() % sets) * 64 + random() % 64;
    const Steps steps = steps_for(addresses);
    std::set<std::uintptr_t> seen;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      EXPECT_LT(steps[i], kMaxLanes);
      EXPECT_TRUE(seen.insert((addresses[i] / 64 + steps[i]) % kCacheSets).second);
    }
  }
}

}  // namespace
}  // namespace offloop::hash
