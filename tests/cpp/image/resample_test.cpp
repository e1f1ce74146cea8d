#include "image/resample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "image/resample_simd.h"
#include "image/weights.h"

namespace offloop::image {
namespace {

Plane noise(int width, int height, int channels, unsigned seed) {
  std::mt19937 random(seed);
  Plane plane(width, height, channels);
  for (int y = 0; y < height; ++y)
    for (int i = 0; i < width * channels; ++i) plane.row(y)[i] = static_cast<std::uint8_t>(random());
  return plane;
}

Plane resampled(const Plane& in, const Axis& x, const Axis& y, Kernel kernel, bool alpha = false) {
  Plane out(x.size, y.size, in.channels);
  PlaneResampler resampler(std::make_shared<PreparedAxis>(x, kernel), std::make_shared<PreparedAxis>(y, kernel), alpha,
                           out);
  for (int row = 0; row < in.height; ++row) resampler.push(in.row(row));
  EXPECT_TRUE(resampler.full());
  return out;
}

Axis whole(int from, int to) {
  return {to, static_cast<double>(from) / to, 0, 0, from};
}

double lanczos3(double x) {
  if (x == 0) return 1;
  if (std::abs(x) >= 3) return 0;
  const double p = std::numbers::pi * x;
  return 3 * std::sin(p) * std::sin(p / 3) / (p * p);
}

/// In doubles, as the textbook says, for lanczos3 without boxes.
std::vector<double> exact(const Plane& in, const Axis& x, const Axis& y) {
  const auto weights = [](const Axis& a, int i) {
    std::vector<double> w(static_cast<std::size_t>(a.high), 0.0);
    const double stretch = std::max(1.0, a.scale);
    double sum = 0;
    for (int j = a.low; j < a.high; ++j)
      sum += w[static_cast<std::size_t>(j)] = lanczos3((j + 0.5 - (a.offset + (i + 0.5) * a.scale)) / stretch);
    for (double& one : w) one /= sum;
    return w;
  };
  std::vector<double> out;
  for (int i = 0; i < y.size; ++i) {
    const auto wy = weights(y, i);
    for (int k = 0; k < x.size; ++k) {
      const auto wx = weights(x, k);
      for (int c = 0; c < in.channels; ++c) {
        double sum = 0;
        for (int v = y.low; v < y.high; ++v)
          for (int u = x.low; u < x.high; ++u)
            sum += wy[static_cast<std::size_t>(v)] * wx[static_cast<std::size_t>(u)] * in.row(v)[u * in.channels + c];
        out.push_back(std::clamp(sum, 0.0, 255.0));
      }
    }
  }
  return out;
}

TEST(Weights, AddUpToOneAndStayWithinTheirWindow) {
  for (const Kernel kernel : {Kernel::kNearest, Kernel::kArea, Kernel::kLinear, Kernel::kCubic, Kernel::kMitchell,
                              Kernel::kLanczos2, Kernel::kLanczos3}) {
    for (const Axis& axis : {whole(100, 33), whole(33, 100), whole(7, 7), whole(1, 9), whole(9, 1),
                             Axis{10, 1.5, 20.25, 22, 30}, Axis{3, 7.9, -0.5, 0, 24}}) {
      const Weights weights = make_weights(axis, kernel);
      ASSERT_EQ(weights.spans.size(), static_cast<std::size_t>(axis.size));
      for (const Weights::Span& span : weights.spans) {
        int sum = 0;
        for (int k = 0; k < span.count; ++k) sum += weights.of(span)[k];
        EXPECT_EQ(sum, kWeightOne);
        EXPECT_GE(span.first, axis.low);
        EXPECT_LE(span.first + span.count, axis.high);
        EXPECT_LE(span.count, weights.most);
      }
    }
  }
}

TEST(PlaneResampler, IsWithinOneLevelOfTheTextbook) {
  for (const auto& [w, h, to_w, to_h, channels] : {std::tuple{64, 48, 20, 17, 1},
                                                   {37, 41, 29, 6, 3},
                                                   {16, 9, 40, 31, 4},
                                                   {5, 5, 1, 1, 2},
                                                   {1, 1, 7, 3, 3},
                                                   {3, 90, 50, 12, 1}}) {
    const Plane in = noise(w, h, channels, 1);
    const Axis x = whole(w, to_w);
    const Axis y = whole(h, to_h);
    const Plane out = resampled(in, x, y, Kernel::kLanczos3);
    const std::vector<double> expected = exact(in, x, y);
    for (int v = 0; v < to_h; ++v) {
      for (int i = 0; i < to_w * channels; ++i)
        ASSERT_NEAR(out.row(v)[i], expected[static_cast<std::size_t>(v * to_w * channels + i)], 1.0)
            << w << "x" << h << " at " << v << "," << i;
    }
  }
}

TEST(PlaneResampler, AWindowIsAPartOfTheWhole) {
  const Plane in = noise(80, 60, 3, 2);
  const Plane all = resampled(in, whole(80, 40), whole(60, 30), Kernel::kLanczos3);
  const Axis x{11, 2, 2 * 9, 0, 80};
  const Axis y{8, 2, 2 * 13, 0, 60};
  const Plane part = resampled(in, x, y, Kernel::kLanczos3);
  for (int v = 0; v < 8; ++v)
    for (int i = 0; i < 33; ++i) ASSERT_EQ(part.row(v)[i], all.row(v + 13)[27 + i]);
}

TEST(PlaneResampler, WhatACropTookAwayDoesNotShineIn) {
  Plane in(40, 40, 1);
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 40; ++x)
      in.row(y)[x] = static_cast<std::uint8_t>(x >= 10 && x < 30 && y >= 10 && y < 30 ? 100 : 255);
  const Axis axis{10, 2, 10, 10, 30};
  const Plane out = resampled(in, axis, axis, Kernel::kLanczos3);
  for (int y = 0; y < 10; ++y)
    for (int x = 0; x < 10; ++x) ASSERT_EQ(out.row(y)[x], 100);
}

TEST(PlaneResampler, TheSameSizeIsACopyAndACropIsOneToo) {
  const Plane in = noise(33, 21, 4, 3);
  const Plane same = resampled(in, whole(33, 33), whole(21, 21), Kernel::kMitchell);
  const Plane crop = resampled(in, {9, 1, 5, 5, 14}, {7, 1, 3, 3, 10}, Kernel::kLanczos3);
  for (int y = 0; y < 21; ++y) ASSERT_EQ(std::memcmp(same.row(y), in.row(y), 33 * 4), 0);
  for (int y = 0; y < 7; ++y) ASSERT_EQ(std::memcmp(crop.row(y), in.row(y + 3) + 5 * 4, 9 * 4), 0);
}

TEST(PlaneResampler, OneAxisAlone) {
  const Plane in = noise(30, 20, 3, 4);
  const Axis crop{10, 1, 7, 7, 17};
  const Plane down = resampled(in, crop, whole(20, 9), Kernel::kLanczos3);
  const std::vector<double> expected = exact(in, crop, whole(20, 9));
  for (int y = 0; y < 9; ++y)
    for (int i = 0; i < 30; ++i) ASSERT_NEAR(down.row(y)[i], expected[static_cast<std::size_t>(y * 30 + i)], 1.0);
  const Plane across = resampled(in, whole(30, 11), {5, 1, 2, 2, 7}, Kernel::kLanczos3);
  const std::vector<double> other = exact(in, whole(30, 11), {5, 1, 2, 2, 7});
  for (int y = 0; y < 5; ++y)
    for (int i = 0; i < 33; ++i) ASSERT_NEAR(across.row(y)[i], other[static_cast<std::size_t>(y * 33 + i)], 1.0);
}

TEST(PlaneResampler, FlatStaysFlatAtAnyScale) {
  for (const unsigned level : {0U, 1U, 127U, 254U, 255U}) {
    Plane in(300, 130, 3);
    std::fill(in.bytes.begin(), in.bytes.end(), static_cast<std::uint8_t>(level));
    for (const auto& [w, h] : {std::pair{1, 1}, {3, 2}, {30, 13}, {299, 129}, {400, 170}, {300, 1}, {1, 130}}) {
      for (const Kernel kernel : {Kernel::kLanczos3, Kernel::kArea, Kernel::kCubic, Kernel::kNearest}) {
        const Plane out = resampled(in, whole(300, w), whole(130, h), kernel);
        for (int y = 0; y < h; ++y)
          for (int i = 0; i < w * 3; ++i) ASSERT_EQ(out.row(y)[i], level) << w << "x" << h;
      }
    }
  }
}

TEST(PlaneResampler, BoxesFirstIsCloseToTheTextbook) {
  // A gradient with a wave on it: what noise averages to says little.
  Plane in(320, 240, 1);
  for (int y = 0; y < 240; ++y)
    for (int x = 0; x < 320; ++x)
      in.row(y)[x] = static_cast<std::uint8_t>(std::lrint(127 + 60 * std::sin(x / 40.0) + 60 * std::cos(y / 55.0)));
  const Axis x = whole(320, 25);  // 12.8: boxes of 3
  const Axis y = whole(240, 20);
  const Plane out = resampled(in, x, y, Kernel::kLanczos3);
  const std::vector<double> expected = exact(in, x, y);
  for (int v = 0; v < 20; ++v)
    for (int u = 0; u < 25; ++u) ASSERT_NEAR(out.row(v)[u], expected[static_cast<std::size_t>(v * 25 + u)], 2.5);
}

TEST(PlaneResampler, ALastBoxThatIsNotFullCountsForLess) {
  for (const int count : {17, 33, 100, 233}) {  // boxes of 4 and more, the last one of 1 to 3
    for (const Kernel kernel : {Kernel::kArea, Kernel::kLinear, Kernel::kCubic, Kernel::kLanczos3}) {
      const auto seen = [&](int position) {  // of one bright pixel in the result's nearest
        Plane in(count, 1, 1);
        in.row(0)[position] = 255;
        const Plane out = resampled(in, whole(count, count / 17), whole(1, 1), kernel);
        return static_cast<int>(position == 0 ? out.row(0)[0] : out.row(0)[out.width - 1]);
      };
      EXPECT_NEAR(seen(0), seen(count - 1), 4) << count;
    }
  }
}

TEST(PlaneResampler, AreaAveragesWholeNumbersExactly) {
  const Plane in = noise(24, 24, 1, 5);
  const Plane out = resampled(in, whole(24, 8), whole(24, 8), Kernel::kArea);
  for (int v = 0; v < 8; ++v) {
    for (int u = 0; u < 8; ++u) {
      int sum = 0;
      for (int i = 0; i < 9; ++i) sum += in.row(3 * v + i / 3)[3 * u + i % 3];
      ASSERT_NEAR(out.row(v)[u], sum / 9.0, 0.6);
    }
  }
}

TEST(PlaneResampler, TransparentPixelsHaveNoColour) {
  Plane in(32, 32, 4);  // opaque red left, transparent green right
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x) {
      const std::uint8_t red[4] = {200, 0, 0, 255};
      const std::uint8_t green[4] = {0, 255, 0, 0};
      std::memcpy(in.row(y) + 4 * x, x < 16 ? red : green, 4);
    }
  const Plane out = resampled(in, whole(32, 9), whole(32, 9), Kernel::kLanczos3, true);
  for (int y = 0; y < 9; ++y)
    for (int x = 0; x < 9; ++x) {
      const std::uint8_t* pixel = out.row(y) + 4 * x;
      ASSERT_EQ(pixel[1], 0) << x;
      if (pixel[3] > 4) {
        ASSERT_NEAR(pixel[0], 200, 2) << x;
      }
    }
}

TEST(PlaneResampler, RowsAfterTheLastNeededAreIgnored) {
  const Plane in = noise(10, 50, 1, 6);
  Plane out(10, 5, 1);
  PlaneResampler resampler(std::make_shared<PreparedAxis>(Axis{10, 1, 0, 0, 10}, Kernel::kLanczos3),
                           std::make_shared<PreparedAxis>(Axis{5, 1, 2, 2, 7}, Kernel::kLanczos3), false, out);
  for (int y = 0; y < 50; ++y) resampler.push(in.row(y));
  EXPECT_TRUE(resampler.full());
  for (int y = 0; y < 5; ++y) ASSERT_EQ(std::memcmp(out.row(y), in.row(y + 2), 10), 0);
}

TEST(Simd, NarrowAndWidenAreInverse) {
  std::vector<std::uint8_t> in(777);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint8_t>(i * 7);
  std::vector<std::int16_t> wide(simd::padded(in.size()));
  std::vector<std::uint8_t> out(in.size() + 1, 99);
  simd::widen(in.data(), in.size(), wide.data());
  simd::narrow(wide.data(), in.size(), simd::kSampleBits, out.data());
  EXPECT_TRUE(std::equal(in.begin(), in.end(), out.begin()));
  EXPECT_EQ(out.back(), 99) << "wrote past its end";
}

TEST(Simd, PremultipliedComesBackWhereAlphaAllows) {
  for (int alpha = 0; alpha < 256; ++alpha) {
    std::uint8_t in[4] = {255, 128, 3, static_cast<std::uint8_t>(alpha)};
    std::int16_t wide[simd::kPad] = {};
    std::uint8_t out[4];
    simd::widen_premultiplied(in, 1, 4, wide);
    simd::narrow_unpremultiplied(wide, 1, 4, simd::kSampleBits, out);
    EXPECT_EQ(out[3], alpha);
    if (alpha >= 4) {
      for (int c = 0; c < 3; ++c) EXPECT_NEAR(out[c], in[c], 1) << alpha;
    }
  }
}

}  // namespace
}  // namespace offloop::image
