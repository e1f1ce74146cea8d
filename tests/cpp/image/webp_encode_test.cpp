#include <gtest/gtest.h>
#include <webp/encode.h>

#include "image/encoder.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/work.h"
#include "support/codecs.h"

namespace offloop::image {
namespace {

using offloop::testing::attempt;
using offloop::testing::Attempt;
using offloop::testing::make_pattern;
using offloop::testing::make_picture;
using offloop::testing::psnr;
using offloop::testing::same_rows;

/// As a decoder delivers it: grey as RGB.
Plane widened(const Pixels& picture) {
  const Plane& from = picture.planes[0];
  if (from.channels >= 3) return from;
  Plane out(from.width, from.height, from.channels + 2);
  for (int y = 0; y < from.height; ++y) {
    for (int x = 0; x < from.width; ++x) {
      for (int c = 0; c < out.channels; ++c) {
        out.row(y)[x * out.channels + c] = from.row(y)[x * from.channels + (c == 3 ? 1 : 0)];
      }
    }
  }
  return out;
}

TEST(WebpEncode, LosslessIsExactAndLossyIsNear) {
  for (const Model model : {Model::kGrey, Model::kGreyAlpha, Model::kRgb, Model::kRgba}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {31, 17}, {300, 200}}) {
      const Pixels picture = make_picture(model, width, height);
      Output output;
      output.lossless = true;
      const auto exact = encode_webp(picture, output, {}, {});
      ASSERT_TRUE(exact.ok()) << exact.error().message;
      const Attempt back = attempt(open_webp, exact.value());
      ASSERT_TRUE(back.ok()) << back.error.message;
      EXPECT_TRUE(same_rows(back.pixels.planes[0], widened(picture))) << width << "x" << height;

      output.lossless = false;
      output.quality = 90;
      const auto near = encode_webp(picture, output, {}, {});
      ASSERT_TRUE(near.ok()) << near.error().message;
      const Attempt lossy = attempt(open_webp, near.value());
      ASSERT_TRUE(lossy.ok());
      if (width > 16) {
        EXPECT_GT(psnr(lossy.pixels.planes[0], widened(picture)), 33) << channels_of(model);
      }
    }
  }
}

TEST(WebpEncode, LargePicturesBecomeWhatLibwebpMakesOfThem) {
  // Taken in strips here, in one piece there.
  for (const Model model : {Model::kRgb, Model::kRgba}) {
    Pixels picture = make_pattern(model, 601, 903);
    Plane& plane = picture.planes[0];
    for (int y = 0; model == Model::kRgba && y < plane.height; ++y) {  // the last strip is opaque
      for (int x = 0; x < plane.width; ++x) plane.row(y)[4 * x + 3] = y < 400 ? 128 : 255;
    }
    Output output;
    output.quality = 70;
    const auto ours = encode_webp(picture, output, {}, {});
    ASSERT_TRUE(ours.ok());
    std::uint8_t* theirs = nullptr;
    const auto stride = static_cast<int>(plane.stride);
    const std::size_t size = model == Model::kRgba
                                 ? WebPEncodeRGBA(plane.bytes.data(), plane.width, plane.height, stride, 70, &theirs)
                                 : WebPEncodeRGB(plane.bytes.data(), plane.width, plane.height, stride, 70, &theirs);
    EXPECT_EQ(ours.value(), Bytes(theirs, theirs + size)) << channels_of(model);
    WebPFree(theirs);
  }
}

TEST(WebpEncode, QualityAndEffortAreHeeded) {
  const Pixels picture = make_picture(Model::kRgb, 300, 200);
  const auto size = [&](std::uint8_t quality, std::uint8_t effort) {
    Output output;
    output.quality = quality;
    output.effort = effort;
    const auto file = encode_webp(picture, output, {}, {});
    EXPECT_TRUE(file.ok());
    return file.value().size();
  };
  EXPECT_LT(size(40, 4), size(80, 4));
  EXPECT_LT(size(80, 4), size(95, 4));
  EXPECT_NE(size(80, 0), size(80, 6));
}

TEST(WebpEncode, PlanesAreTakenAsTheyAre) {
  for (const auto& [width, height] : {std::pair{1, 1}, {2, 5}, {301, 203}}) {
    const Pixels picture = make_picture(Model::kRgb, width, height);
    Output output;
    output.quality = 95;
    const auto first = encode_webp(picture, output, {}, {});
    DecodeRequest request;
    request.want_ycc = true;
    const Attempt planes = attempt(open_webp, first.value(), request);
    ASSERT_EQ(planes.pixels.model, Model::kYcc);
    Pixels again = planes.pixels;
    again.chroma_x = again.chroma_y = 2;
    const auto second = encode_webp(again, output, {}, {});
    ASSERT_TRUE(second.ok()) << second.error().message;
    const Attempt back = attempt(open_webp, second.value(), request);
    ASSERT_TRUE(back.ok());
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_GT(psnr(back.pixels.planes[i], planes.pixels.planes[i]), 37) << "plane " << i;
    }
  }
}

TEST(WebpEncode, TooManyPixelsASideAreAnErrorThatSaysSo) {
  for (const auto& [width, height] : {std::pair{16384, 1}, {1, 16384}}) {
    const auto refused = encode_webp(make_pattern(Model::kRgb, width, height), {}, {}, {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kImage);
    EXPECT_NE(refused.error().message.find("16383"), std::string::npos);
    EXPECT_NE(refused.error().message.find(std::to_string(width) + "x" + std::to_string(height)), std::string::npos);
  }
  EXPECT_TRUE(encode_webp(make_picture(Model::kRgb, 16383, 1), {}, {}, {}).ok());
}

TEST(WebpEncode, AStopAndADeadlineEndIt) {
  const Pixels picture = make_picture(Model::kRgb, 64, 64);
  runtime::Work work;
  work.request_stop();
  EXPECT_EQ(encode_webp(picture, {}, {}, Stop(&work)).error().code, ErrorCode::kStopped);
  EXPECT_EQ(encode_webp(picture, {}, {}, Stop(nullptr, runtime::now_ns() - 1)).error().code, ErrorCode::kTimeout);
}

TEST(WebpEncode, ADeadlineEndsItInTheMiddle) {
  // Lossless with the greatest effort takes seconds; the deadline is far behind the start and far before the end.
  const Pixels picture = make_pattern(Model::kRgb, 1500, 1500);
  Output output;
  output.lossless = true;
  output.effort = 6;
  const auto ended = encode_webp(picture, output, {}, Stop(nullptr, runtime::now_ns() + 100'000'000));
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::kTimeout);
}

}  // namespace
}  // namespace offloop::image
