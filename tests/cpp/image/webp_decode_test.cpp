#include <gtest/gtest.h>
#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <cmath>
#include <string>

#include "image/decoder.h"
#include "image/encoder.h"
#include "image/webp_range.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/work.h"
#include "support/codecs.h"

namespace offloop::image {
namespace {

using offloop::testing::attempt;
using offloop::testing::Attempt;
using offloop::testing::make_picture;
using offloop::testing::psnr;
using offloop::testing::same_rows;
using offloop::testing::with_damage;

/// By libwebp's simple interface, which shares nothing with ours.
Bytes write_webp(const Pixels& picture, bool lossless, float quality = 90) {
  const Plane& plane = picture.planes[0];
  std::uint8_t* out = nullptr;
  const auto stride = static_cast<int>(plane.stride);
  const bool alpha = plane.channels == 4;
  const std::uint8_t* rows = plane.bytes.data();
  std::size_t size = 0;
  if (lossless) {
    size = alpha ? WebPEncodeLosslessRGBA(rows, plane.width, plane.height, stride, &out)
                 : WebPEncodeLosslessRGB(rows, plane.width, plane.height, stride, &out);
  } else {
    size = alpha ? WebPEncodeRGBA(rows, plane.width, plane.height, stride, quality, &out)
                 : WebPEncodeRGB(rows, plane.width, plane.height, stride, quality, &out);
  }
  Bytes file(out, out + size);
  WebPFree(out);
  return file;
}

Plane read_webp(const Bytes& file, bool alpha) {
  int width = 0;
  int height = 0;
  std::uint8_t* rows = alpha ? WebPDecodeRGBA(file.data(), file.size(), &width, &height)
                             : WebPDecodeRGB(file.data(), file.size(), &width, &height);
  Plane plane(width, height, alpha ? 4 : 3);
  for (int y = 0; y < height; ++y) {
    std::copy_n(rows + std::ptrdiff_t{y} * width * plane.channels, width * plane.channels, plane.row(y));
  }
  WebPFree(rows);
  return plane;
}

DecodeRequest forgiving() {
  DecodeRequest request;
  request.fail_on = FailOn::kNone;
  return request;
}

DecodeRequest in_planes() {
  DecodeRequest request;
  request.want_ycc = true;
  return request;
}

/// JPEG's formula, with the nearest chroma sample.
Plane rgb_of(const Pixels& ycc) {
  Plane out(ycc.width, ycc.height, 3);
  for (int y = 0; y < ycc.height; ++y) {
    for (int x = 0; x < ycc.width; ++x) {
      const double luma = ycc.planes[0].row(y)[x];
      const double blue = ycc.planes[1].row(y / ycc.chroma_y)[x / ycc.chroma_x] - 128.0;
      const double red = ycc.planes[2].row(y / ycc.chroma_y)[x / ycc.chroma_x] - 128.0;
      const double values[] = {luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue};
      for (int c = 0; c < 3; ++c)
        out.row(y)[3 * x + c] = static_cast<std::uint8_t>(std::clamp(std::lround(values[c]), 0L, 255L));
    }
  }
  return out;
}

TEST(WebpDecode, GivesLibwebpsPixelsForEveryKind) {
  for (const Model model : {Model::kRgb, Model::kRgba}) {
    for (const bool lossless : {false, true}) {
      for (const auto& [width, height] : {std::pair{1, 1}, {17, 33}, {640, 481}}) {
        const Bytes file = write_webp(make_picture(model, width, height), lossless);
        const Attempt got = attempt(open_webp, file);
        ASSERT_TRUE(got.ok()) << got.error.message;
        EXPECT_EQ(got.pixels.model, model);
        EXPECT_EQ(got.info.channels, channels_of(model));
        EXPECT_EQ(got.info.has_alpha, model == Model::kRgba);
        EXPECT_EQ(got.info.frames, 1U);
        EXPECT_TRUE(same_rows(got.pixels.planes[0], read_webp(file, model == Model::kRgba))) << width << "x" << height;
      }
    }
  }
}

TEST(WebpDecode, PlanesHaveTheColoursOfRgb) {
  for (const auto& [width, height] : {std::pair{1, 1}, {2, 2}, {33, 17}, {640, 481}}) {
    const Bytes file = write_webp(make_picture(Model::kRgb, width, height), false);
    const Attempt got = attempt(open_webp, file, in_planes());
    ASSERT_TRUE(got.ok()) << got.error.message;
    ASSERT_EQ(got.pixels.model, Model::kYcc);
    EXPECT_EQ(got.pixels.planes[1].width, (width + 1) / 2);
    EXPECT_EQ(got.pixels.planes[2].height, (height + 1) / 2);
    // What is left is chroma interpolated there and repeated here.
    EXPECT_GT(psnr(rgb_of(got.pixels), read_webp(file, false)), 38) << width << "x" << height;
  }
  // No planes where there are none, or where alpha would be lost.
  const Bytes lossless = write_webp(make_picture(Model::kRgb, 9, 9), true);
  EXPECT_EQ(attempt(open_webp, lossless, in_planes()).pixels.model, Model::kRgb);
  const Bytes alpha = write_webp(make_picture(Model::kRgba, 9, 9), false);
  EXPECT_EQ(attempt(open_webp, alpha, in_planes()).pixels.model, Model::kRgba);
}

TEST(WebpDecode, TheTablesOfRangesGoThereAndBack) {
  EXPECT_EQ(webp::kLumaToFull[16], 0);
  EXPECT_EQ(webp::kLumaToFull[235], 255);
  EXPECT_EQ(webp::kLumaToLimited[0], 16);
  EXPECT_EQ(webp::kLumaToLimited[255], 235);
  EXPECT_EQ(webp::kChromaToFull[128], 128);
  EXPECT_EQ(webp::kChromaToFull[240], 255);
  EXPECT_EQ(webp::kChromaToFull[16], 0);
  EXPECT_EQ(webp::kChromaToLimited[128], 128);
  for (int i = 16; i <= 235; ++i) {
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(webp::kLumaToLimited[webp::kLumaToFull[at]], i);
    EXPECT_EQ(webp::kChromaToLimited[webp::kChromaToFull[at]], i);
    EXPECT_EQ(webp::kLumaToFull[at], std::lround((i - 16) * 255.0 / 219));
  }
}

TEST(WebpDecode, ShrinksWhileDecodingWhenMuchIsToBeLeftOut) {
  const Bytes file = write_webp(make_picture(Model::kRgb, 801, 603), false);
  for (const bool planes : {false, true}) {
    for (const double shrink : {7.9, 8.0, 13.0, 40.0}) {
      DecodeRequest request;
      request.want_ycc = planes;
      request.shrink = shrink;
      const Attempt got = attempt(open_webp, file, request);
      ASSERT_TRUE(got.ok()) << got.error.message;
      const int factor = std::max(1, static_cast<int>(shrink / 4));
      EXPECT_EQ(got.pixels.width, (801 + factor - 1) / factor);
      EXPECT_EQ(got.pixels.height, (603 + factor - 1) / factor);
      EXPECT_EQ(got.info.width, 801U);
    }
  }
  auto decoder = std::move(open_webp(file, {})).value();
  DecodeRequest request;
  request.want_ycc = true;
  request.shrink = 16;
  const Shape shape = decoder->prepare(request).value();
  EXPECT_DOUBLE_EQ(shape.planes[0].per_pixel_x, 201.0 / 801);
  EXPECT_DOUBLE_EQ(shape.planes[1].per_pixel_x, 0.5 * 101 / 401);
  EXPECT_DOUBLE_EQ(shape.planes[2].per_pixel_y, 0.5 * 76 / 302);
}

TEST(WebpDecode, WhatItShrinksIsTheAverage) {
  const Bytes file = write_webp(make_picture(Model::kRgb, 800, 600), false);
  const Plane whole = attempt(open_webp, file).pixels.planes[0];
  DecodeRequest request;
  request.shrink = 16;
  const Plane quarter = attempt(open_webp, file, request).pixels.planes[0];
  Plane averaged(200, 150, 3);
  for (int y = 0; y < 150; ++y) {
    for (int i = 0; i < 600; ++i) {
      int sum = 8;
      for (int dy = 0; dy < 4; ++dy) {
        for (int dx = 0; dx < 4; ++dx) sum += whole.row(4 * y + dy)[12 * (i / 3) + 3 * dx + i % 3];
      }
      averaged.row(y)[i] = static_cast<std::uint8_t>(sum / 16);
    }
  }
  EXPECT_GT(psnr(quarter, averaged), 45);
}

/// Two frames, the first of which lies at 4, 6 on a canvas of 40x30.
Bytes write_animation(bool fills) {
  WebPMux* mux = WebPMuxNew();
  const Bytes first = write_webp(make_picture(Model::kRgb, fills ? 40 : 20, fills ? 30 : 10), true);
  const Bytes second = write_webp(make_picture(Model::kRgb, 40, 30, 9), true);
  for (const Bytes* file : {&first, &second}) {
    WebPMuxFrameInfo frame{};
    frame.bitstream = {file->data(), file->size()};
    frame.id = WEBP_CHUNK_ANMF;
    frame.duration = 100;
    frame.x_offset = file == &first && !fills ? 4 : 0;
    frame.y_offset = file == &first && !fills ? 6 : 0;
    EXPECT_EQ(WebPMuxPushFrame(mux, &frame, 1), WEBP_MUX_OK);
  }
  const WebPMuxAnimParams params{0xffffffff, 0};
  EXPECT_EQ(WebPMuxSetAnimationParams(mux, &params), WEBP_MUX_OK);
  WebPMuxSetCanvasSize(mux, 40, 30);
  WebPData data;
  EXPECT_EQ(WebPMuxAssemble(mux, &data), WEBP_MUX_OK);
  Bytes out(data.bytes, data.bytes + data.size);
  WebPDataClear(&data);
  WebPMuxDelete(mux);
  return out;
}

TEST(WebpDecode, TheFirstFrameOfAnAnimation) {
  const Attempt filled = attempt(open_webp, write_animation(true));
  ASSERT_TRUE(filled.ok()) << filled.error.message;
  EXPECT_EQ(filled.info.frames, 2U);
  EXPECT_EQ(filled.pixels.model, Model::kRgb);
  EXPECT_TRUE(same_rows(filled.pixels.planes[0], make_picture(Model::kRgb, 40, 30).planes[0]));

  const Attempt part = attempt(open_webp, write_animation(false));
  ASSERT_TRUE(part.ok()) << part.error.message;
  EXPECT_EQ(part.info.width, 40U);
  EXPECT_EQ(part.info.height, 30U);
  ASSERT_EQ(part.pixels.model, Model::kRgba);
  const Pixels frame = make_picture(Model::kRgb, 20, 10);
  for (int y = 0; y < 30; ++y) {
    for (int x = 0; x < 40; ++x) {
      const std::uint8_t* pixel = part.pixels.planes[0].row(y) + 4 * x;
      const bool inside = x >= 4 && x < 24 && y >= 6 && y < 16;
      ASSERT_EQ(pixel[3], inside ? 255 : 0) << x << "," << y;
      if (inside) {
        ASSERT_EQ(pixel[1], frame.planes[0].row(y - 6)[3 * (x - 4) + 1]);
      }
    }
  }
}

TEST(WebpDecode, TruncatedIsAnErrorAndBestEffortWhenAsked) {
  for (const bool lossless : {false, true}) {
    const Bytes file = write_webp(make_picture(Model::kRgb, 150, 120), lossless);
    const Plane whole = read_webp(file, false);
    int partial = 0;
    for (std::size_t size = 0; size < file.size(); size += 1 + size / 150) {
      const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      const Attempt strict = attempt(open_webp, cut);
      if (strict.ok()) {
        EXPECT_GE(size + 16, file.size());
        EXPECT_TRUE(same_rows(strict.pixels.planes[0], whole));
      } else {
        EXPECT_EQ(strict.error.code, ErrorCode::kImage);
      }
      const Attempt lenient = attempt(open_webp, cut, forgiving());
      if (!lenient.ok()) continue;
      if (std::equal(whole.row(0), whole.row(0) + 450, lenient.pixels.planes[0].row(0))) ++partial;
    }
    EXPECT_GT(partial, 40) << lossless;
  }
}

TEST(WebpDecode, DamageIsAResult) {
  std::vector<Bytes> files = {write_animation(true), write_animation(false)};
  for (const Model model : {Model::kRgb, Model::kRgba}) {
    for (const bool lossless : {false, true}) files.push_back(write_webp(make_picture(model, 90, 70), lossless));
  }
  int errors = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    const Bytes damaged = with_damage(files[seed % files.size()], seed);
    for (DecodeRequest request : {DecodeRequest{}, forgiving(), in_planes()}) {
      request.shrink = seed % 3 == 0 ? 12 : 1;
      const Attempt got = attempt(open_webp, damaged, request, {}, 1'000'000);
      if (got.ok()) continue;
      ++errors;
      EXPECT_TRUE(got.error.code == ErrorCode::kImage || got.error.code == ErrorCode::kImageLimit) << got.error.message;
    }
  }
  EXPECT_GT(errors, 100);  // libwebp has no checksum: most damage is another picture
}

TEST(WebpDecode, AStopAndADeadlineEndItEarly) {
  const Bytes file = write_webp(make_picture(Model::kRgb, 60, 50), false);
  runtime::Work work;
  work.request_stop();
  EXPECT_EQ(attempt(open_webp, file, {}, Stop(&work)).error.code, ErrorCode::kStopped);
  EXPECT_EQ(attempt(open_webp, file, forgiving(), Stop(nullptr, runtime::now_ns() - 1)).error.code,
            ErrorCode::kTimeout);
}

/// Asks for a stop with the first row.
class StoppingSink final : public RowSink {
 public:
  explicit StoppingSink(runtime::Work& work) : work_(work) {}
  void row(int /*plane*/, const std::uint8_t* /*samples*/) override {
    work_.request_stop();
    ++seen_;
  }
  [[nodiscard]] bool full() const noexcept override { return false; }
  [[nodiscard]] int seen() const noexcept { return seen_; }

 private:
  runtime::Work& work_;
  int seen_ = 0;
};

TEST(WebpDecode, AStopIsSeenBetweenPieces) {
  const Bytes file = write_webp(make_picture(Model::kRgb, 1400, 1400), false, 50);
  auto decoder = std::move(open_webp(file, {})).value();
  ASSERT_TRUE(decoder->prepare({}).ok());
  runtime::Work work;
  StoppingSink sink(work);
  const auto result = decoder->decode(sink, Stop(&work));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kStopped);
  EXPECT_LT(sink.seen(), 1000);
}

TEST(WebpDecode, EndsWhenTheSinkIsFull) {
  const Bytes file = write_webp(make_picture(Model::kRgb, 300, 200), true);
  auto decoder = std::move(open_webp(file, {})).value();
  const auto shape = decoder->prepare({});
  offloop::testing::KeepingSink sink(shape.value(), 5);
  EXPECT_TRUE(decoder->decode(sink, {}).ok());
  EXPECT_EQ(sink.seen(), 5);
}

TEST(WebpDecode, ReadsMetadata) {
  const Bytes exif = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0};
  Metadata metadata;
  metadata.exif = {'E', 'x', 'i', 'f', 0, 0};  // as some writers have it
  metadata.exif.insert(metadata.exif.end(), exif.begin(), exif.end());
  metadata.xmp = {'<', 'x', '/', '>'};
  metadata.icc.assign(500, 1);
  const auto file = encode_webp(make_picture(Model::kRgb, 20, 10), {}, metadata, {});
  ASSERT_TRUE(file.ok()) << file.error().message;
  const Attempt got = attempt(open_webp, file.value());
  ASSERT_TRUE(got.ok()) << got.error.message;
  EXPECT_EQ(got.metadata.exif, exif);
  EXPECT_EQ(got.metadata.xmp, metadata.xmp);
  EXPECT_EQ(got.metadata.icc, metadata.icc);
  EXPECT_TRUE(got.info.has_profile);
  EXPECT_EQ(got.info.orientation, 8);
  EXPECT_EQ(got.info.width, 20U);
}

TEST(WebpDecode, MillionsOfFramesCostNothing) {
  Bytes file = write_animation(true);
  for (int i = 0; i < 2'000'000; ++i) file.insert(file.end(), {'A', 'N', 'M', 'F', 0, 0, 0, 0});
  const auto opened = open_webp(file, {});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened.value()->info().frames, 2'000'002U);
}

}  // namespace
}  // namespace offloop::image
