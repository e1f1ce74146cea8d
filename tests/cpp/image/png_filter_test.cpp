#include "image/png_filter.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <random>
#include <vector>

namespace offloop::image::png {
namespace {

/// As the specification writes it down.
int reference_paeth(int a, int b, int c) {
  const int p = a + b - c;
  const int pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

std::vector<std::uint8_t> reference_undo(int filter, const std::vector<std::uint8_t>& row,
                                         const std::vector<std::uint8_t>& above, std::size_t bytes, std::size_t step) {
  std::vector<std::uint8_t> out(row);
  for (std::size_t i = 0; i < bytes; ++i) {
    const int a = i < step ? 0 : out[i - step];
    const int b = above[i];
    const int c = i < step ? 0 : above[i - step];
    const int predicted[] = {0, a, b, (a + b) / 2, reference_paeth(a, b, c)};
    out[i] = static_cast<std::uint8_t>(row[i] + predicted[filter]);
  }
  return out;
}

constexpr std::size_t kPadding = 8;

TEST(PngFilter, PaethChoosesAsTheSpecificationForEveryNeighbourhood) {
  // Two pixels of 4 bytes: the second has `a` to its left when nothing is above the first but what makes it so.
  for (int c = 0; c < 256; ++c) {
    for (int b = 0; b < 256; ++b) {
      std::vector<std::uint8_t> above(8 + kPadding);
      std::vector<std::uint8_t> row(8 + kPadding);
      for (int a = 0; a < 256; a += 4) {
        for (int lane = 0; lane < 4; ++lane) {
          above[static_cast<std::size_t>(lane)] = static_cast<std::uint8_t>(c);
          above[static_cast<std::size_t>(4 + lane)] = static_cast<std::uint8_t>(b);
          // The first pixel is predicted by what is above it, c.
          row[static_cast<std::size_t>(lane)] = static_cast<std::uint8_t>(a + lane - c);
          row[static_cast<std::size_t>(4 + lane)] = 7;
        }
        ASSERT_TRUE(undo_filter(kPaeth, row.data(), above.data(), 8, 4));
        for (int lane = 0; lane < 4; ++lane) {
          ASSERT_EQ(row[static_cast<std::size_t>(4 + lane)],
                    static_cast<std::uint8_t>(7 + reference_paeth(a + lane, b, c)))
              << "left " << a + lane << " above " << b << " above left " << c;
        }
      }
    }
  }
}

TEST(PngFilter, UndoesEveryFilterForEveryPixelSizeAndLength) {
  std::mt19937 random(5);
  for (int step = 1; step <= 4; ++step) {
    for (std::size_t pixels = 1; pixels < 40; ++pixels) {
      const std::size_t bytes = pixels * static_cast<std::size_t>(step);
      std::vector<std::uint8_t> row(bytes + kPadding);
      std::vector<std::uint8_t> above(bytes + kPadding);
      for (auto& value : row) value = static_cast<std::uint8_t>(random());
      for (auto& value : above) value = static_cast<std::uint8_t>(random());
      for (std::uint8_t filter = 0; filter <= 4; ++filter) {
        std::vector<std::uint8_t> undone(row);
        ASSERT_TRUE(undo_filter(filter, undone.data(), above.data(), bytes, step));
        // What lies behind the row is the next one's: untouched.
        ASSERT_EQ(undone, reference_undo(filter, row, above, bytes, static_cast<std::size_t>(step)))
            << "filter " << int{filter} << " step " << step << " pixels " << pixels;
      }
    }
  }
  std::vector<std::uint8_t> row(16);
  EXPECT_FALSE(undo_filter(5, row.data(), row.data(), 4, 4));
}

TEST(PngFilter, WhatTheChooserFiltersIsUndone) {
  std::mt19937 random(6);
  for (int step = 1; step <= 4; ++step) {
    const std::size_t bytes = 37 * static_cast<std::size_t>(step);
    FilterChooser chooser(bytes, step);
    std::vector<std::uint8_t> above(bytes + kPadding);
    unsigned used = 0;
    for (int y = 0; y < 60; ++y) {
      std::vector<std::uint8_t> row(bytes + kPadding);
      for (std::size_t i = 0; i < bytes; ++i) {  // rows of different kinds, so that different filters win
        const auto noise = static_cast<unsigned>(random() % 3);
        const auto x = static_cast<unsigned>(i);
        const unsigned kinds[] = {static_cast<unsigned>(random()), x * 5 + noise, above[i] + noise, x + above[i] / 2u,
                                  x * x};
        row[i] = static_cast<std::uint8_t>(kinds[y % 5]);
      }
      const std::uint8_t* filtered = chooser.choose(row.data(), bytes);
      used |= 1U << filtered[0];
      std::vector<std::uint8_t> undone(filtered + 1, filtered + 1 + bytes);
      undone.resize(bytes + kPadding);
      ASSERT_TRUE(undo_filter(filtered[0], undone.data(), above.data(), bytes, step));
      ASSERT_EQ(undone, row);
      above = row;
    }
    EXPECT_GE(std::popcount(used), 3) << "the test has lost its subject";
  }
}

}  // namespace
}  // namespace offloop::image::png
