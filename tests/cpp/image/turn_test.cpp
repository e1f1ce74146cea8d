#include "image/turn.h"

#include <gtest/gtest.h>

namespace offloop::image {
namespace {

/// Where the pixel (x, y) of a w by h picture comes to lie.
std::pair<int, int> moved(Turn turn, int x, int y, int w, int h) {
  if (turn.transpose) {
    std::swap(x, y);
    std::swap(w, h);
  }
  return {turn.flop ? w - 1 - x : x, turn.flip ? h - 1 - y : y};
}

TEST(Turn, OrientationsAreThoseOfExif) {
  // Where the first row's first and last pixel of a 3x2 picture lie once it is upright (EXIF 2.32, 4.6.5.A).
  const std::pair<std::pair<int, int>, std::pair<int, int>> expected[] = {
      {{0, 0}, {2, 0}}, {{2, 0}, {0, 0}}, {{2, 1}, {0, 1}}, {{0, 1}, {2, 1}},
      {{0, 0}, {0, 2}}, {{1, 0}, {1, 2}}, {{1, 2}, {1, 0}}, {{0, 2}, {0, 0}}};
  for (unsigned orientation = 1; orientation <= 8; ++orientation) {
    const Turn turn = turn_of_orientation(orientation);
    EXPECT_EQ(moved(turn, 0, 0, 3, 2), expected[orientation - 1].first) << orientation;
    EXPECT_EQ(moved(turn, 2, 0, 3, 2), expected[orientation - 1].second) << orientation;
  }
  EXPECT_TRUE(turn_of_orientation(0).identity());
  EXPECT_TRUE(turn_of_orientation(9).identity());
}

TEST(Turn, ThenIsOneAfterTheOther) {
  for (unsigned a = 1; a <= 8; ++a) {
    for (unsigned b = 1; b <= 8; ++b) {
      const Turn first = turn_of_orientation(a);
      const Turn second = turn_of_orientation(b);
      for (const auto& [x, y] : {std::pair{0, 0}, {2, 0}, {1, 1}}) {
        const auto [mx, my] = moved(first, x, y, 3, 2);
        const auto both = first.transpose ? moved(second, mx, my, 2, 3) : moved(second, mx, my, 3, 2);
        EXPECT_EQ(moved(then(first, second), x, y, 3, 2), both) << a << " then " << b;
      }
    }
  }
}

TEST(Turn, QuartersAreClockwise) {
  EXPECT_EQ(moved(turn_of_degrees(90), 0, 0, 3, 2), std::pair(1, 0));
  EXPECT_EQ(moved(turn_of_degrees(180), 0, 0, 3, 2), std::pair(2, 1));
  EXPECT_EQ(moved(turn_of_degrees(270), 0, 0, 3, 2), std::pair(0, 2));
}

}  // namespace
}  // namespace offloop::image
