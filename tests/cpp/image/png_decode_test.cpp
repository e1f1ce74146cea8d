#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "image/decoder.h"
#include "image/encoder.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/work.h"
#include "support/codecs.h"
#include "support/png_writer.h"

namespace offloop::image {
namespace {

using offloop::testing::attempt;
using offloop::testing::Attempt;
using offloop::testing::Bytes;
using offloop::testing::make_pattern;
using offloop::testing::PngKind;
using offloop::testing::same_rows;
using offloop::testing::with_chunk;
using offloop::testing::with_damage;
using offloop::testing::write_png;
using offloop::testing::WrittenPng;

std::vector<PngKind> every_kind() {
  std::vector<PngKind> kinds;
  for (const bool interlaced : {false, true}) {
    for (const bool transparency : {false, true}) {
      for (const int depth : {1, 2, 4, 8, 16}) {
        kinds.push_back({PNG_COLOR_TYPE_GRAY, depth, interlaced, transparency});
        if (depth <= 8) kinds.push_back({PNG_COLOR_TYPE_PALETTE, depth, interlaced, transparency});
        if (depth >= 8) kinds.push_back({PNG_COLOR_TYPE_RGB, depth, interlaced, transparency});
        if (depth < 8 || transparency) continue;
        kinds.push_back({PNG_COLOR_TYPE_GRAY_ALPHA, depth, interlaced, false});
        kinds.push_back({PNG_COLOR_TYPE_RGB_ALPHA, depth, interlaced, false});
      }
    }
  }
  return kinds;
}

std::string describe(const PngKind& kind) {
  return "colour " + std::to_string(kind.color) + " depth " + std::to_string(kind.depth) +
         (kind.interlaced ? " interlaced" : "") + (kind.transparency ? " tRNS" : "");
}

Bytes packed_rows(const Plane& plane) {
  Bytes out;
  for (int y = 0; y < plane.height; ++y)
    out.insert(out.end(), plane.row(y), plane.row(y) + plane.width * plane.channels);
  return out;
}

DecodeRequest forgiving() {
  DecodeRequest request;
  request.fail_on = FailOn::kNone;
  return request;
}

TEST(PngDecode, EveryColourTypeAndDepthIsExact) {
  const std::vector<PngKind> kinds = every_kind();
  EXPECT_EQ(kinds.size(), 2U * (2 * (5 + 4 + 2) + 2 + 2));
  for (const PngKind& kind : kinds) {
    for (const auto& [width, height] : {std::pair{1, 1}, {33, 21}, {3, 50}, {130, 2}}) {
      const WrittenPng png = write_png(kind, width, height);
      const Attempt got = attempt(open_png, png.file);
      ASSERT_TRUE(got.ok()) << describe(kind) << ": " << got.error.message;
      EXPECT_EQ(got.info.width, static_cast<unsigned>(width));
      EXPECT_EQ(got.info.height, static_cast<unsigned>(height));
      EXPECT_EQ(got.info.bits, kind.depth);
      EXPECT_EQ(got.info.progressive, kind.interlaced);
      EXPECT_EQ(got.info.channels, png.channels) << describe(kind);
      EXPECT_EQ(got.info.has_alpha, png.channels % 2 == 0);
      ASSERT_EQ(packed_rows(got.pixels.planes[0]), png.expected) << describe(kind) << " " << width << "x" << height;
    }
  }
}

TEST(PngDecode, PicturesThatAreInflatedPieceByPieceAreExactToo) {
  // More than the 16 MiB that are inflated in one go.
  const Pixels picture = make_pattern(Model::kRgba, 2600, 1640);
  Output output;
  output.compression = 1;
  const Bytes file = std::move(encode_png(picture, output, {}, {})).value();
  const Attempt got = attempt(open_png, file);
  ASSERT_TRUE(got.ok()) << got.error.message;
  EXPECT_TRUE(same_rows(got.pixels.planes[0], picture.planes[0]));
  // A byte of its pixels is another: seen by the checksum at the latest.
  Bytes damaged = file;
  damaged[file.size() / 2] ^= 16;
  EXPECT_EQ(attempt(open_png, damaged).error.code, ErrorCode::kImage);
  EXPECT_TRUE(attempt(open_png, damaged, forgiving()).ok());
}

TEST(PngDecode, TruncatedIsAnErrorOrThePictureAndBestEffortWhenAsked) {
  for (const PngKind& kind :
       {PngKind{PNG_COLOR_TYPE_RGB, 8, false, false}, PngKind{PNG_COLOR_TYPE_RGB_ALPHA, 8, true, false},
        PngKind{PNG_COLOR_TYPE_PALETTE, 4, false, true}, PngKind{PNG_COLOR_TYPE_GRAY, 16, false, false}}) {
    const WrittenPng png = write_png(kind, 60, 40);
    int pictures = 0;
    int partial = 0;
    for (std::size_t size = 0; size < png.file.size(); size += size + 100 < png.file.size() ? 7 : 1) {
      const Bytes cut(png.file.begin(), png.file.begin() + static_cast<std::ptrdiff_t>(size));
      const Attempt strict = attempt(open_png, cut);
      if (strict.ok()) {
        ++pictures;  // only what is behind the pixels is missing
        EXPECT_GE(size + 24, png.file.size()) << describe(kind);
        EXPECT_EQ(packed_rows(strict.pixels.planes[0]), png.expected);
      } else {
        EXPECT_EQ(strict.error.code, ErrorCode::kImage);
        EXPECT_NE(strict.error.message, "");
      }
      const Attempt lenient = attempt(open_png, cut, forgiving());
      if (!lenient.ok()) continue;
      ++partial;
      if (kind.interlaced || size < png.file.size() / 2 + 200) continue;
      // The first rows are there, the last ones are not.
      const Bytes rows = packed_rows(lenient.pixels.planes[0]);
      EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 60 * png.channels, png.expected.begin()))
          << describe(kind) << size;
    }
    EXPECT_GT(pictures, 0);
    EXPECT_GT(partial, static_cast<int>(png.file.size() / 14)) << describe(kind);
  }
}

TEST(PngDecode, DamageIsAResult) {
  const std::vector<PngKind> kinds = every_kind();
  int errors = 0;
  int pictures = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    const WrittenPng png = write_png(kinds[seed % kinds.size()], 40, 30, seed);
    const Bytes damaged = with_damage(png.file, seed);
    const Attempt strict = attempt(open_png, damaged, {}, {}, 1'000'000);
    strict.ok() ? ++pictures : ++errors;
    if (!strict.ok()) {
      EXPECT_TRUE(strict.error.code == ErrorCode::kImage || strict.error.code == ErrorCode::kImageLimit);
    }
    const Attempt lenient = attempt(open_png, damaged, forgiving(), {}, 1'000'000);
    EXPECT_TRUE(lenient.ok() || !strict.ok()) << "strict takes what best effort refuses, seed " << seed;
  }
  EXPECT_GT(errors, 1200);  // the rest lost nothing that shows
}

TEST(PngDecode, AWrongChecksumOfThePixelsIsAnErrorOnlyWhenStrict) {
  for (const PngKind& kind :
       {PngKind{PNG_COLOR_TYPE_RGB, 8, false, false}, PngKind{PNG_COLOR_TYPE_RGB, 16, false, false}}) {
    const WrittenPng png = write_png(kind, 60, 40);
    Bytes damaged = png.file;
    damaged[damaged.size() - 13] ^= 1;  // the last byte of IDAT's checksum
    EXPECT_EQ(attempt(open_png, damaged).error.code, ErrorCode::kImage);
    const Attempt lenient = attempt(open_png, damaged, forgiving());
    ASSERT_TRUE(lenient.ok());
    EXPECT_EQ(packed_rows(lenient.pixels.planes[0]), png.expected);
  }
}

TEST(PngDecode, AStopAndADeadlineEndItEarly) {
  for (const PngKind& kind : every_kind()) {
    const WrittenPng png = write_png(kind, 50, 50);
    runtime::Work work;
    work.request_stop();
    EXPECT_EQ(attempt(open_png, png.file, {}, Stop(&work)).error.code, ErrorCode::kStopped) << describe(kind);
    EXPECT_EQ(attempt(open_png, png.file, forgiving(), Stop(&work)).error.code, ErrorCode::kStopped);
    EXPECT_EQ(attempt(open_png, png.file, {}, Stop(nullptr, runtime::now_ns() - 1)).error.code, ErrorCode::kTimeout);
  }
}

/// Asks for a stop when it has got so many rows.
class StoppingSink final : public RowSink {
 public:
  StoppingSink(runtime::Work& work, int rows) : work_(work), rows_(rows) {}
  void row(int /*plane*/, const std::uint8_t* /*samples*/) override {
    if (++seen_ == rows_) work_.request_stop();
  }
  [[nodiscard]] bool full() const noexcept override { return false; }
  [[nodiscard]] int seen() const noexcept { return seen_; }

 private:
  runtime::Work& work_;
  int rows_;
  int seen_ = 0;
};

TEST(PngDecode, AStopIsSeenBetweenRows) {
  for (const int depth : {8, 16}) {
    const WrittenPng png = write_png({PNG_COLOR_TYPE_RGB_ALPHA, depth, false, false}, 2200, 90);
    auto decoder = std::move(open_png(png.file, {})).value();
    ASSERT_TRUE(decoder->prepare({}).ok());
    runtime::Work work;
    StoppingSink sink(work, 10);
    const auto result = decoder->decode(sink, Stop(&work));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kStopped);
    EXPECT_LT(sink.seen(), 30) << depth;
  }
}

TEST(PngDecode, EndsWhenTheSinkIsFull) {
  for (const bool interlaced : {false, true}) {
    for (const int depth : {8, 16}) {
      const WrittenPng png = write_png({PNG_COLOR_TYPE_RGB, depth, interlaced, false}, 20, 90);
      auto decoder = std::move(open_png(png.file, {})).value();
      const auto shape = decoder->prepare({});
      offloop::testing::KeepingSink sink(shape.value(), 7);
      EXPECT_TRUE(decoder->decode(sink, {}).ok());
      EXPECT_EQ(sink.seen(), 7);
    }
  }
}

Bytes text(std::string_view value) {
  return {value.begin(), value.end()};
}

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Bytes profile_of(std::size_t size, std::string_view space) {
  Bytes icc(size, 7);
  for (int i = 0; i < 4; ++i) icc[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(size >> (24 - 8 * i));
  std::copy(space.begin(), space.end(), icc.begin() + 16);
  return icc;
}

using namespace std::string_view_literals;

TEST(PngDecode, ReadsExifXmpAndProfileAlsoBehindThePixels) {
  const WrittenPng png = write_png({PNG_COLOR_TYPE_RGB, 8, false, false}, 5, 5);
  const Bytes icc = profile_of(3000, "RGB ");
  const Bytes exif = text("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"sv);
  const Bytes xmp = text("<x:xmpmeta>photo</x:xmpmeta>");
  Bytes file = with_chunk(
      png.file, offloop::testing::png_chunk("iCCP", joined({text("name\0\0"sv), offloop::testing::zlib_packed(icc)})));
  file = with_chunk(file, offloop::testing::png_chunk("eXIf", exif));
  const Bytes late = offloop::testing::png_chunk("iTXt", joined({text("XML:com.adobe.xmp\0\0\0\0\0"sv), xmp}));
  file.insert(file.end() - 12, late.begin(), late.end());
  const Attempt got = attempt(open_png, file);
  ASSERT_TRUE(got.ok()) << got.error.message;
  EXPECT_EQ(got.metadata.icc, icc);
  EXPECT_TRUE(got.info.has_profile);
  EXPECT_EQ(got.metadata.exif, exif);
  EXPECT_EQ(got.info.orientation, 6);
  EXPECT_EQ(got.metadata.xmp, xmp);
  // A compressed packet says the same.
  const Bytes packed = offloop::testing::png_chunk(
      "iTXt", joined({text("XML:com.adobe.xmp\0\1\0en\0x\0"sv), offloop::testing::zlib_packed(xmp)}));
  EXPECT_EQ(attempt(open_png, with_chunk(png.file, packed)).metadata.xmp, xmp);
  // A grey profile says nothing about an RGB picture.
  const Bytes grey = offloop::testing::png_chunk(
      "iCCP", joined({text("g\0\0"sv), offloop::testing::zlib_packed(profile_of(300, "GRAY"))}));
  EXPECT_TRUE(attempt(open_png, with_chunk(png.file, grey)).metadata.icc.empty());
}

TEST(PngDecode, MetadataThatInflatesWithoutEndIsLeftOut) {
  for (const int depth : {8, 16}) {
    const WrittenPng png = write_png({PNG_COLOR_TYPE_RGB, depth, false, false}, 5, 5);
    const Bytes zeros = offloop::testing::zlib_packed(Bytes(16U << 20));
    Bytes file = png.file;
    for (int i = 0; i < 50; ++i) {  // 800 MiB of text, if anybody looked
      file = with_chunk(file, offloop::testing::png_chunk("zTXt", joined({text("Comment\0\0"sv), zeros})));
    }
    file =
        with_chunk(file, offloop::testing::png_chunk("iTXt", joined({text("XML:com.adobe.xmp\0\1\0\0\0"sv), zeros})));
    file = with_chunk(file, offloop::testing::png_chunk("iCCP", joined({text("name\0\0"sv), zeros})));
    const Attempt got = attempt(open_png, file);
    ASSERT_TRUE(got.ok()) << got.error.message;
    EXPECT_TRUE(got.metadata.icc.empty());
    EXPECT_TRUE(got.metadata.xmp.empty());
    EXPECT_EQ(packed_rows(got.pixels.planes[0]), png.expected);
    // A profile that claims to be of 4 GiB.
    Bytes icc = profile_of(1000, "RGB ");
    icc[0] = icc[1] = 0xff;
    const Bytes lying =
        offloop::testing::png_chunk("iCCP", joined({text("n\0\0"sv), offloop::testing::zlib_packed(icc)}));
    EXPECT_TRUE(attempt(open_png, with_chunk(png.file, lying)).metadata.icc.empty());
  }
}

TEST(PngDecode, AHeaderThatLiesCostsNothing) {
  // The largest size there is, a few bytes of pixels: known at once, nothing is allocated for it.
  WrittenPng png = write_png({PNG_COLOR_TYPE_RGB, 8, false, false}, 5, 5);
  Bytes header(png.file.begin() + 16, png.file.begin() + 29);
  header[0] = 0x7f, header[1] = header[2] = header[3] = 0xff;
  header[4] = 0x7f, header[5] = header[6] = header[7] = 0xff;
  const Bytes chunk = offloop::testing::png_chunk("IHDR", header);
  std::copy(chunk.begin(), chunk.end(), png.file.begin() + 8);
  const auto opened = open_png(png.file, {});
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.value()->info().width, 0x7fffffffU);
  EXPECT_EQ(opened.value()->info().height, 0x7fffffffU);
  header[0] = 0xff;  // not a number that PNG allows
  const Bytes impossible = offloop::testing::png_chunk("IHDR", header);
  std::copy(impossible.begin(), impossible.end(), png.file.begin() + 8);
  EXPECT_EQ(open_png(png.file, {}).error().code, ErrorCode::kImage);
}

}  // namespace
}  // namespace offloop::image
