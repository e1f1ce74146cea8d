#include <gtest/gtest.h>
#include <lcms2.h>
#include <png.h>

#include "image/encoder.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/work.h"
#include "support/codecs.h"

namespace offloop::image {
namespace {

using offloop::testing::attempt;
using offloop::testing::make_pattern;
using offloop::testing::make_picture;
using offloop::testing::same_rows;

constexpr Model kModels[] = {Model::kGrey, Model::kGreyAlpha, Model::kRgb, Model::kRgba};

/// Read by libpng's simplified interface, which shares nothing with ours.
Plane read_by_libpng(const Bytes& file, Model model) {
  png_image picture{};
  picture.version = PNG_IMAGE_VERSION;
  EXPECT_NE(png_image_begin_read_from_memory(&picture, file.data(), file.size()), 0) << picture.message;
  constexpr png_uint_32 kFormats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
  picture.format = kFormats[channels_of(model) - 1];
  Plane plane(static_cast<int>(picture.width), static_cast<int>(picture.height), channels_of(model));
  EXPECT_NE(png_image_finish_read(&picture, nullptr, plane.bytes.data(), static_cast<int>(plane.stride), nullptr), 0)
      << picture.message;
  EXPECT_EQ(picture.warning_or_error, 0U) << picture.message;
  return plane;
}

Bytes srgb_profile() {
  const cmsHPROFILE profile = cmsCreate_sRGBProfile();
  cmsUInt32Number size = 0;
  cmsSaveProfileToMem(profile, nullptr, &size);
  Bytes icc(size);
  cmsSaveProfileToMem(profile, icc.data(), &size);
  cmsCloseProfile(profile);
  return icc;
}

TEST(PngEncode, EveryModelPlainAndInterlacedIsReadBackExactly) {
  for (const Model model : kModels) {
    for (const bool progressive : {false, true}) {
      for (const auto& [width, height] : {std::pair{1, 1}, {2, 3}, {5, 1}, {1, 9}, {7, 8}, {131, 67}}) {
        const Pixels picture = make_picture(model, width, height);
        Output output;
        output.progressive = progressive;
        const auto file = encode_png(picture, output, {}, {});
        ASSERT_TRUE(file.ok());
        EXPECT_TRUE(same_rows(read_by_libpng(file.value(), model), picture.planes[0])) << width << "x" << height;
        const auto ours = attempt(open_png, file.value());
        ASSERT_TRUE(ours.ok()) << ours.error.message;
        EXPECT_EQ(ours.pixels.model, model);
        EXPECT_EQ(ours.info.progressive, progressive);
        EXPECT_TRUE(same_rows(ours.pixels.planes[0], picture.planes[0]));
      }
    }
  }
}

TEST(PngEncode, PicturesThatAreCompressedPieceByPieceAreExactToo) {
  for (const bool progressive : {false, true}) {
    const Pixels picture = make_pattern(Model::kRgba, 1700, 1300);  // more than the 8 MiB that are compressed in one go
    Output output;
    output.progressive = progressive;
    output.compression = 1;
    const auto file = encode_png(picture, output, {}, {});
    ASSERT_TRUE(file.ok());
    EXPECT_TRUE(same_rows(read_by_libpng(file.value(), Model::kRgba), picture.planes[0]));
  }
}

TEST(PngEncode, EveryLevelIsExactAndHigherOnesAreSmaller) {
  const Pixels picture = make_picture(Model::kRgb, 300, 200);
  std::vector<std::size_t> sizes;
  for (std::uint8_t level = 0; level <= 9; ++level) {
    Output output;
    output.compression = level;
    const auto file = encode_png(picture, output, {}, {});
    ASSERT_TRUE(file.ok());
    EXPECT_TRUE(same_rows(read_by_libpng(file.value(), Model::kRgb), picture.planes[0])) << int{level};
    sizes.push_back(file.value().size());
  }
  EXPECT_GT(sizes[0], 300U * 200 * 3);
  EXPECT_LT(sizes[1], sizes[0] * 3 / 4);
  EXPECT_LE(sizes[9], sizes[1]);
}

TEST(PngEncode, SmallerThanWithoutFiltersWhereTheyHelp) {
  // A gradient: each row is predicted from its neighbours, and hardly anything is left.
  Pixels picture = make_picture(Model::kRgb, 256, 256);
  for (int y = 0; y < 256; ++y) {
    for (int i = 0; i < 256 * 3; ++i) picture.planes[0].row(y)[i] = static_cast<std::uint8_t>(i / 3 + y * (i % 3));
  }
  const auto file = encode_png(picture, {}, {}, {});
  ASSERT_TRUE(file.ok());
  EXPECT_LT(file.value().size(), 6000U);
}

TEST(PngEncode, KeepsMetadata) {
  Metadata metadata;
  metadata.icc = srgb_profile();
  metadata.exif = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 0};
  metadata.xmp = {'<', 'x', '/', '>'};
  const auto file = encode_png(make_picture(Model::kRgb, 9, 9), {}, metadata, {});
  const auto got = attempt(open_png, file.value());
  ASSERT_TRUE(got.ok()) << got.error.message;
  EXPECT_EQ(got.metadata.icc, metadata.icc);
  EXPECT_EQ(got.metadata.exif, metadata.exif);
  EXPECT_EQ(got.metadata.xmp, metadata.xmp);
  const auto bare = encode_png(make_picture(Model::kRgb, 9, 9), {}, {}, {});
  EXPECT_LT(bare.value().size() + 100, file.value().size());
  read_by_libpng(file.value(), Model::kRgb);  // no warning
}

TEST(PngEncode, AStopAndADeadlineEndIt) {
  for (const auto& [width, height] : {std::pair{20, 20}, {1700, 1300}}) {
    const Pixels picture = make_pattern(Model::kRgba, width, height);
    runtime::Work work;
    work.request_stop();
    EXPECT_EQ(encode_png(picture, {}, {}, Stop(&work)).error().code, ErrorCode::kStopped);
    EXPECT_EQ(encode_png(picture, {}, {}, Stop(nullptr, runtime::now_ns() - 1)).error().code, ErrorCode::kTimeout);
  }
}

}  // namespace
}  // namespace offloop::image
