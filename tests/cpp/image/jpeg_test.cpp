#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "image/decoder.h"
#include "image/encoder.h"
#include "image/exif.h"
#include "image/jpeg_scans.h"
#include "offloop/image/process.h"
#include "support/image_pictures.h"

namespace offloop::image {
namespace {

using testing::encoded;
using testing::mean_squared_error;
using testing::natural;

/// Decoded rows of all planes.
struct Collected final : RowSink {
  explicit Collected(const Shape& shape) {
    for (const PlaneShape& plane : shape.planes) {
      planes.emplace_back(plane.width, plane.height, plane.channels);
      rows.push_back(0);
    }
  }
  void row(int plane, const std::uint8_t* samples) override {
    Plane& to = planes[static_cast<std::size_t>(plane)];
    std::memcpy(to.row(rows[static_cast<std::size_t>(plane)]++), samples,
                static_cast<std::size_t>(to.width) * static_cast<std::size_t>(to.channels));
  }
  [[nodiscard]] bool full() const noexcept override { return false; }
  std::vector<Plane> planes;
  std::vector<int> rows;
};

std::unique_ptr<Decoder> opened(const Bytes& bytes, const Limits& limits = {}) {
  Result<std::unique_ptr<Decoder>> decoder = open_jpeg({bytes.data(), bytes.size()}, limits);
  EXPECT_TRUE(decoder.ok()) << (decoder.ok() ? "" : decoder.error().message);
  return decoder.ok() ? std::move(decoder).value() : nullptr;
}

TEST(Jpeg, RoundTripsWithinItsQuality) {
  for (const auto& [width, height] : {std::pair{64, 48}, {61, 47}, {1, 1}, {17, 3}, {8, 200}}) {
    const Pixels in = natural(width, height, Model::kRgb, 1);
    Output output;
    output.quality = 95;
    output.subsampling = Subsampling::k444;
    const Bytes bytes = encoded(in, output);
    const auto decoder = opened(bytes);
    EXPECT_EQ(decoder->info().width, static_cast<unsigned>(width));
    const Shape shape = decoder->prepare({}).value();
    Collected rows(shape);
    ASSERT_TRUE(decoder->decode(rows, {}).ok());
    EXPECT_EQ(rows.rows[0], height);
    EXPECT_LT(mean_squared_error(rows.planes[0], in.planes[0]), 12) << width << "x" << height;
  }
}

TEST(Jpeg, PlanesAreTheSamePictureAsRgb) {
  for (const Subsampling subsampling : {Subsampling::k420, Subsampling::k444}) {
    for (const auto& [width, height] : {std::pair{120, 90}, {121, 91}, {33, 70}}) {
      Output output;
      output.subsampling = subsampling;
      const Bytes bytes = encoded(natural(width, height, Model::kRgb, 2), output);
      const auto planes = opened(bytes);
      DecodeRequest request;
      request.want_ycc = true;
      const Shape shape = planes->prepare(request).value();
      ASSERT_EQ(shape.model, Model::kYcc);
      EXPECT_EQ(shape.planes[0].width, width);
      const double expected = subsampling == Subsampling::k420 ? 0.5 : 1;
      EXPECT_DOUBLE_EQ(shape.planes[1].per_pixel_x, expected);
      Collected rows(shape);
      ASSERT_TRUE(planes->decode(rows, {}).ok());
      // Written again from the planes, at the same quality, next to nothing is lost.
      Pixels ycc{Model::kYcc,
                 width,
                 height,
                 subsampling == Subsampling::k420 ? 2 : 1,
                 subsampling == Subsampling::k420 ? 2 : 1,
                 std::move(rows.planes)};
      const Bytes again = encoded(ycc, output);
      const auto first = opened(bytes);
      const auto second = opened(again);
      Collected a(first->prepare({}).value());
      Collected b(second->prepare({}).value());
      ASSERT_TRUE(first->decode(a, {}).ok());
      ASSERT_TRUE(second->decode(b, {}).ok());
      EXPECT_LT(mean_squared_error(a.planes[0], b.planes[0]), 2) << width << "x" << height;
    }
  }
}

TEST(Jpeg, DecodesSmallerOnlyWhenTheResamplerKeepsEnough) {
  const Bytes bytes = encoded(natural(801, 600, Model::kRgb, 3), {});
  const auto scale_at = [&](double shrink) {
    DecodeRequest request;
    request.shrink = shrink;
    return opened(bytes)->prepare(request).value().planes[0].per_pixel_x;
  };
  EXPECT_EQ(scale_at(0.5), 1);
  EXPECT_EQ(scale_at(2.9), 1);
  EXPECT_EQ(scale_at(3.0), 0.5);
  EXPECT_EQ(scale_at(5.9), 0.5);
  EXPECT_EQ(scale_at(6.0), 0.25);
  EXPECT_EQ(scale_at(12), 0.125);
  EXPECT_EQ(scale_at(1000), 0.125);
}

TEST(Jpeg, GreyStaysGreyAndCmykBecomesRgb) {
  const Bytes grey = encoded(natural(40, 30, Model::kGrey, 4), {});
  const auto decoder = opened(grey);
  EXPECT_EQ(decoder->info().channels, 1);
  EXPECT_EQ(decoder->info().color_space, ColorSpace::kGrey);
  EXPECT_EQ(decoder->prepare({}).value().model, Model::kGrey);

  const Bytes cmyk =
      testing::cmyk_jpeg(16, 16, {0, 255, 255, 255});  // inverted, as Adobe writes: full cyan, no other ink
  const auto inks = opened(cmyk);
  EXPECT_EQ(inks->info().color_space, ColorSpace::kCmyk);
  Collected rows(inks->prepare({}).value());
  ASSERT_TRUE(inks->decode(rows, {}).ok());
  EXPECT_NEAR(rows.planes[0].row(8)[3 * 8 + 0], 0, 3);
  EXPECT_NEAR(rows.planes[0].row(8)[3 * 8 + 1], 255, 3);
  EXPECT_NEAR(rows.planes[0].row(8)[3 * 8 + 2], 255, 3);
}

TEST(Jpeg, MetadataComeAlongAndGoAlong) {
  Metadata in;
  in.exif = testing::exif_with_orientation(6);
  in.xmp = {'<', 'x', '>'};
  in.icc.assign(70'000, 7);  // more than one segment
  const Bytes bytes = encode_jpeg(natural(20, 20, Model::kRgb, 5), {}, in, {}).value();
  const auto decoder = opened(bytes);
  EXPECT_EQ(decoder->metadata().exif, in.exif);
  EXPECT_EQ(decoder->metadata().xmp, in.xmp);
  EXPECT_EQ(decoder->metadata().icc, in.icc);
  EXPECT_TRUE(decoder->info().has_profile);
  EXPECT_EQ(decoder->info().orientation, 6);
}

TEST(Exif, OrientationInBothByteOrders) {
  for (unsigned orientation = 1; orientation <= 8; ++orientation) {
    for (const bool little : {true, false}) {
      std::vector<std::uint8_t> tiff = testing::exif_with_orientation(orientation, little);
      EXPECT_EQ(exif_orientation(tiff), orientation);
      reset_exif_orientation(tiff);
      EXPECT_EQ(exif_orientation(tiff), 1);
    }
  }
}

TEST(Exif, BrokenDataAreUpright) {
  const std::vector<std::uint8_t> whole = testing::exif_with_orientation(8);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const unsigned orientation = exif_orientation(cut);
    EXPECT_TRUE(orientation == 1 || orientation == 8);
    reset_exif_orientation(cut);
  }
  std::vector<std::uint8_t> far = whole;
  far[4] = 0xff;  // the directory lies beyond the end
  far[7] = 0xff;
  EXPECT_EQ(exif_orientation(far), 1);
  EXPECT_EQ(exif_orientation(testing::exif_with_orientation(9)), 1);
}

TEST(Jpeg, ScansAreCountedAndLimited) {
  Output output;
  const Bytes baseline = encoded(natural(64, 64, Model::kRgb, 6), output);
  EXPECT_EQ(count_jpeg_scans(baseline, 100), 1U);
  output.progressive = true;
  const Bytes progressive = encoded(natural(64, 64, Model::kRgb, 6), output);
  EXPECT_EQ(count_jpeg_scans(progressive, 100), 10U);  // jpeg_simple_progression's script for YCbCr
  EXPECT_EQ(count_jpeg_scans(progressive, 4), 5U) << "it stops when it knows enough";

  Limits limits;
  limits.max_scans = 10;
  EXPECT_TRUE(opened(progressive, limits)->info().progressive);
  limits.max_scans = 9;
  Result<std::unique_ptr<Decoder>> refused = open_jpeg(progressive, limits);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kImageLimit);
}

TEST(Jpeg, CutAnywhereItIsAnErrorOrThePictureWhenAsked) {
  for (const bool progressive : {false, true}) {
    Output output;
    output.progressive = progressive;
    const Bytes whole = encoded(natural(90, 70, Model::kRgb, 7), output);
    Recipe recipe;
    recipe.steps = {Resize{30, 0}};
    for (std::size_t size = 0; size + 2 < whole.size(); size += 7) {
      recipe.fail_on = FailOn::kError;
      const Result<Processed> strict = process({whole.data(), size}, recipe);
      EXPECT_FALSE(strict.ok()) << size;
      if (size > 3) {
        EXPECT_EQ(strict.error().code, ErrorCode::kImage) << strict.error().message;
      }
      recipe.fail_on = FailOn::kNone;
      const Result<Processed> best = process({whole.data(), size}, recipe);
      if (best.ok()) {
        EXPECT_EQ(best.value().width, 30U);
      }
    }
    EXPECT_TRUE(process(whole, recipe).ok());
  }
}

TEST(Jpeg, FlippedBytesNeverCrash) {
  std::mt19937 random(8);
  for (const bool progressive : {false, true}) {
    Output output;
    output.progressive = progressive;
    const Bytes whole = encoded(natural(90, 70, Model::kRgb, 8), output);
    Recipe recipe;
    recipe.steps = {AutoOrient{}, Resize{40, 40}};
    recipe.limits.max_pixels = 1'000'000;
    for (int round = 0; round < 400; ++round) {
      Bytes bytes = whole;
      for (int flips = 0; flips < 3; ++flips) bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
      recipe.fail_on = round % 2 == 0 ? FailOn::kError : FailOn::kNone;
      const Result<Processed> result = process(bytes, recipe);
      if (result.ok()) {
        EXPECT_EQ(result.value().width, 40U);
      } else {
        EXPECT_TRUE(result.error().code == ErrorCode::kImage || result.error().code == ErrorCode::kImageLimit ||
                    result.error().code == ErrorCode::kUnsupportedFormat)
            << result.error().message;
      }
    }
  }
}

TEST(Jpeg, AStopEndsDecodeAndEncode) {
  struct Asked : runtime::Work {
  } work;
  work.request_stop();
  const Pixels pixels = natural(200, 200, Model::kRgb, 9);
  const Result<Bytes> written = encode_jpeg(pixels, {}, {}, Stop(&work));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kStopped);
  for (const bool progressive : {false, true}) {
    Output output;
    output.progressive = progressive;
    const Bytes bytes = encoded(pixels, output);
    const auto decoder = opened(bytes);
    Collected rows(decoder->prepare({}).value());
    const Result<Unit> decoded = decoder->decode(rows, Stop(nullptr, 1));  // a deadline in 1970
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, ErrorCode::kTimeout);
    EXPECT_LT(rows.rows[0], 200);
  }
}

TEST(Jpeg, ALongerSideThanAJpegHasIsRefused) {
  const Pixels pixels = natural(65'501, 1, Model::kGrey, 1);
  const Result<Bytes> written = encode_jpeg(pixels, {}, {}, {});
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kImage);
}

}  // namespace
}  // namespace offloop::image
