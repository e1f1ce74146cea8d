// By libvips: skipped where it is not installed.
#include "image/vips.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "image/encoder.h"
#include "image/geometry.h"
#include "offloop/runtime/clock.h"
#include "offloop/runtime/fork.h"
#include "offloop/runtime/work.h"
#include "support/child.h"
#include "support/codecs.h"

namespace offloop::image {
namespace {

using offloop::testing::attempt;
using offloop::testing::make_pattern;
using offloop::testing::make_picture;
using offloop::testing::psnr;
using offloop::testing::same_rows;
using offloop::testing::with_damage;

class Vips : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(OFFLOOP_WITH_VIPS)
    ASSERT_TRUE(vips_available()) << vips_info({}, {}).error().message;
#else
    GTEST_SKIP() << "built without libvips";
#endif
  }
};

Bytes png_of(const Pixels& picture, const Metadata& metadata = {}) {
  return std::move(encode_png(picture, {}, metadata, {})).value();
}

Bytes png_of(Model model, int width, int height) {
  return png_of(make_picture(model, width, height));
}

Recipe to(Format format, std::vector<Step> steps = {}) {
  Recipe recipe;
  recipe.engine = Engine::kVips;
  recipe.output.format = format;
  recipe.steps = std::move(steps);
  return recipe;
}

Result<Processed> convert(const Bytes& data, Format format, std::vector<Step> steps = {}) {
  return vips_process(data, to(format, std::move(steps)), {});
}

/// The pixels of a result, as PNG where we have no decoder of our own.
Plane pixels_of(const Bytes& file) {
  const Format format = detect_format(file);
  if (format == Format::kPng) return attempt(open_png, file).pixels.planes[0];
  auto png = convert(file, Format::kPng);
  EXPECT_TRUE(png.ok()) << png.error().message;
  return attempt(open_png, png.value().data).pixels.planes[0];
}

TEST_F(Vips, WritesAndReadsEveryFormat) {
  const Pixels picture = make_picture(Model::kRgb, 120, 80);
  const Bytes png = png_of(picture);
  struct {
    Format format;
    double least;  // dB; 99 for exact
  } const kCases[] = {{Format::kPng, 99},  {Format::kTiff, 99}, {Format::kJpeg, 30},
                      {Format::kWebp, 30}, {Format::kGif, 25},  {Format::kAvif, 30}};
  for (const auto& [format, least] : kCases) {
    const auto made = convert(png, format);
    ASSERT_TRUE(made.ok()) << format_name(format) << ": " << made.error().message;
    EXPECT_EQ(made.value().format, format);
    EXPECT_EQ(detect_format(made.value().data), format);
    EXPECT_EQ(made.value().width, 120U);
    EXPECT_EQ(made.value().height, 80U);
    EXPECT_EQ(made.value().frames, 1U);
    EXPECT_EQ(made.value().input.format, Format::kPng);
    const auto info = vips_info(made.value().data, {});
    ASSERT_TRUE(info.ok()) << format_name(format) << ": " << info.error().message;
    EXPECT_EQ(info.value().format, format);
    EXPECT_EQ(info.value().width, 120U);
    EXPECT_EQ(info.value().height, 80U);
    EXPECT_EQ(info.value().frames, 1U);
    EXPECT_GE(psnr(pixels_of(made.value().data), picture.planes[0]), least) << format_name(format);
  }
  const auto heic = convert(png, Format::kHeic);
  ASSERT_FALSE(heic.ok());
  EXPECT_EQ(heic.error().code, ErrorCode::kUnsupportedFormat);
}

TEST_F(Vips, EveryModelIsExactAsPng) {
  for (const Model model : {Model::kGrey, Model::kGreyAlpha, Model::kRgb, Model::kRgba}) {
    const Pixels picture = make_picture(model, 37, 23);
    const auto made = convert(png_of(picture), Format::kPng);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_TRUE(same_rows(pixels_of(made.value().data), picture.planes[0])) << channels_of(model);
    EXPECT_EQ(made.value().input.channels, channels_of(model));
    EXPECT_EQ(made.value().input.has_alpha, has_alpha(model));
  }
}

/// Where each pixel says where it was.
Pixels map_picture(int width, int height) {
  Pixels picture = make_picture(Model::kRgb, width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      std::uint8_t* pixel = picture.planes[0].row(y) + 3 * x;
      pixel[0] = static_cast<std::uint8_t>(x);
      pixel[1] = static_cast<std::uint8_t>(y);
    }
  }
  return picture;
}

TEST_F(Vips, TurnsAndCropsAreThoseOfThePlan) {
  constexpr int kWidth = 50;
  constexpr int kHeight = 30;
  const Bytes png = png_of(map_picture(kWidth, kHeight));
  const std::vector<std::vector<Step>> cases = {{Flip{}},
                                                {Flop{}},
                                                {Rotate{90}},
                                                {Rotate{180}},
                                                {Rotate{270}},
                                                {Crop{3, 5, 20, 10}},
                                                {Rotate{90}, Crop{2, 4, 9, 30}},
                                                {Rotate{270}, Flop{}, Crop{2, 4, 9, 30}},
                                                {Flip{}, Rotate{90}, Flop{}},
                                                {Crop{10, 10, 30, 20}, Rotate{90}, Crop{1, 2, 3, 4}}};
  for (const auto& steps : cases) {
    const auto made = convert(png, Format::kPng, steps);
    ASSERT_TRUE(made.ok()) << made.error().message;
    const Plan plan = make_plan({kWidth, kHeight}, 1, to(Format::kPng, steps)).value();
    const Stage& stage = plan.stages[0];
    const Plane got = pixels_of(made.value().data);
    ASSERT_EQ(got.width, plan.result().width);
    ASSERT_EQ(got.height, plan.result().height);
    for (int y = 0; y < got.height; ++y) {
      for (int x = 0; x < got.width; ++x) {
        const int u = stage.turn.flop ? got.width - 1 - x : x;
        const int v = stage.turn.flip ? got.height - 1 - y : y;
        const int from_x = static_cast<int>(stage.x.offset) + (stage.turn.transpose ? v : u);
        const int from_y = static_cast<int>(stage.y.offset) + (stage.turn.transpose ? u : v);
        ASSERT_EQ(got.row(y)[3 * x], from_x);
        ASSERT_EQ(got.row(y)[3 * x + 1], from_y);
      }
    }
  }
}

TEST_F(Vips, EveryFitGivesThePlansSize) {
  const Bytes png = png_of(Model::kRgb, 97, 61);
  for (const Fit fit : {Fit::kCover, Fit::kContain, Fit::kInside, Fit::kOutside, Fit::kFill}) {
    for (const auto& [width, height] :
         {std::pair{20U, 20U}, {40U, 0U}, {0U, 17U}, {150U, 90U}, {1U, 1U}, {7U, 200U}, {31U, 5U}}) {
      for (const Kernel kernel : {Kernel::kNearest, Kernel::kArea, Kernel::kLinear, Kernel::kCubic, Kernel::kMitchell,
                                  Kernel::kLanczos2, Kernel::kLanczos3}) {
        Resize resize;
        resize.width = width;
        resize.height = height;
        resize.fit = fit;
        resize.kernel = kernel;
        const std::vector<Step> steps = {resize, Rotate{90}};
        const auto made = convert(png, Format::kPng, steps);
        ASSERT_TRUE(made.ok()) << made.error().message;
        const Size size = make_plan({97, 61}, 1, to(Format::kPng, steps)).value().result();
        const auto opened = open_png(made.value().data, {});
        EXPECT_EQ(static_cast<int>(opened.value()->info().width), size.width);
        EXPECT_EQ(static_cast<int>(opened.value()->info().height), size.height);
        EXPECT_EQ(static_cast<int>(made.value().width), size.width);
        EXPECT_EQ(static_cast<int>(made.value().height), size.height);
      }
    }
  }
}

TEST_F(Vips, ResizesToWhatAnAverageSays) {
  const Pixels picture = make_picture(Model::kRgb, 400, 240);
  Plane averaged(100, 60, 3);
  for (int y = 0; y < 60; ++y) {
    for (int i = 0; i < 300; ++i) {
      int sum = 8;
      for (int k = 0; k < 16; ++k) sum += picture.planes[0].row(4 * y + k / 4)[12 * (i / 3) + 3 * (k % 4) + i % 3];
      averaged.row(y)[i] = static_cast<std::uint8_t>(sum / 16);
    }
  }
  for (const auto& [kernel, least] :
       {std::pair{Kernel::kArea, 45.0}, {Kernel::kLinear, 38.0}, {Kernel::kLanczos3, 38.0}}) {
    Resize resize;
    resize.width = 100;
    resize.kernel = kernel;
    const auto made = convert(png_of(picture), Format::kPng, {resize});
    ASSERT_TRUE(made.ok());
    EXPECT_GT(psnr(pixels_of(made.value().data), averaged), least) << static_cast<int>(kernel);
  }
}

TEST_F(Vips, ColoursOfTransparentPixelsDoNotShineThrough) {
  Pixels picture = make_picture(Model::kRgba, 64, 64);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      const bool seen = x < 32;
      const std::uint8_t pixel[4] = {200, static_cast<std::uint8_t>(seen ? 100 : 0),
                                     static_cast<std::uint8_t>(seen ? 50 : 255),
                                     static_cast<std::uint8_t>(seen ? 255 : 0)};
      std::memcpy(picture.planes[0].row(y) + 4 * x, pixel, 4);
    }
  }
  Resize resize;
  resize.width = 15;
  const auto made = convert(png_of(picture), Format::kPng, {resize});
  const Plane got = pixels_of(made.value().data);
  for (int y = 0; y < got.height; ++y) {
    for (int x = 0; x < got.width; ++x) {
      const std::uint8_t* pixel = got.row(y) + 4 * x;
      if (pixel[3] < 8) continue;
      EXPECT_NEAR(pixel[1], 100, 4) << x;
      EXPECT_NEAR(pixel[2], 50, 4) << x;
    }
  }
}

TEST_F(Vips, CanvasAndFlatteningHaveTheBackground) {
  Resize resize;
  resize.width = 60;
  resize.height = 60;
  resize.fit = Fit::kContain;
  for (const Model model : {Model::kGrey, Model::kGreyAlpha, Model::kRgb, Model::kRgba}) {
    Recipe recipe = to(Format::kPng, {resize});
    recipe.output.background = {10, 20, 30, 128};
    const auto made = vips_process(png_of(model, 100, 50), recipe, {});
    ASSERT_TRUE(made.ok()) << made.error().message;
    const Plane canvas = pixels_of(made.value().data);
    ASSERT_EQ(canvas.channels, 4) << channels_of(model);
    EXPECT_EQ(Bytes(canvas.row(0), canvas.row(0) + 4), (Bytes{10, 20, 30, 128}));

    recipe.output.flatten = true;
    recipe.output.background = {10, 20, 30, 255};
    const Plane flat = pixels_of(vips_process(png_of(model, 100, 50), recipe, {}).value().data);
    EXPECT_EQ(flat.channels, 3);
    EXPECT_EQ(Bytes(flat.row(0), flat.row(0) + 3), (Bytes{10, 20, 30}));
  }
  // JPEG has no alpha: half of the picture's colour, half of the background's.
  Pixels half = make_picture(Model::kRgba, 32, 32);
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 32; ++x) std::memcpy(half.planes[0].row(y) + 4 * x, "\x00\x00\x00\x80", 4);
  }
  Recipe recipe = to(Format::kJpeg);
  recipe.output.background = {200, 100, 0, 255};
  const Plane flat = pixels_of(vips_process(png_of(half), recipe, {}).value().data);
  EXPECT_NEAR(flat.row(9)[0], 100, 3);
  EXPECT_NEAR(flat.row(9)[1], 50, 3);
}

TEST_F(Vips, GreyscaleHasOneChannel) {
  const auto made = convert(png_of(Model::kRgba, 20, 20), Format::kPng, {Greyscale{}});
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(pixels_of(made.value().data).channels, 2);
}

Metadata sideways() {
  Metadata metadata;
  metadata.exif = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0};
  metadata.xmp = {'<', 'x', '/', '>'};
  return metadata;
}

TEST_F(Vips, OrientationIsAppliedAndMetadataGoUnlessKept) {
  // WebP, as libvips 8.14 reads EXIF of it.
  Output lossless;
  lossless.lossless = true;
  const Bytes webp = std::move(encode_webp(map_picture(40, 20), lossless, sideways(), {})).value();
  const auto info = vips_info(webp, {});
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info.value().orientation, 6);
  EXPECT_EQ(info.value().width, 40U);
  const auto upright = convert(webp, Format::kPng, {AutoOrient{}});
  ASSERT_TRUE(upright.ok()) << upright.error().message;
  const Plane got = pixels_of(upright.value().data);
  ASSERT_EQ(got.width, 20);
  ASSERT_EQ(got.height, 40);
  EXPECT_EQ(got.row(0)[0], 0);   // the left column is at the top,
  EXPECT_EQ(got.row(0)[1], 19);  // its lower end to the left
  EXPECT_EQ(got.row(39)[0], 39);

  const auto stripped = attempt(open_webp, convert(webp, Format::kWebp).value().data);
  EXPECT_TRUE(stripped.metadata.exif.empty());
  EXPECT_TRUE(stripped.metadata.xmp.empty());
  const auto jpeg = attempt(open_jpeg, convert(webp, Format::kJpeg).value().data);
  EXPECT_TRUE(jpeg.metadata.exif.empty());
  EXPECT_TRUE(jpeg.metadata.xmp.empty());
  Recipe keep = to(Format::kWebp);
  keep.output.keep_metadata = true;
  const auto kept = attempt(open_webp, vips_process(webp, keep, {}).value().data);
  EXPECT_EQ(kept.info.orientation, 6);
  EXPECT_EQ(kept.metadata.xmp, sideways().xmp);
  keep.steps = {AutoOrient{}};
  const auto turned = attempt(open_webp, vips_process(webp, keep, {}).value().data);
  EXPECT_FALSE(turned.metadata.exif.empty());
  EXPECT_EQ(turned.info.orientation, 1);
}

/// Frames of one colour each.
Bytes animation(int frames, int width, int height) {
  WebPMux* mux = WebPMuxNew();
  for (int i = 0; i < frames; ++i) {
    Pixels picture = make_picture(Model::kRgb, width, height);
    const auto value = static_cast<std::uint8_t>(40 * i + 20);
    std::fill(picture.planes[0].bytes.begin(), picture.planes[0].bytes.end(), value);
    Output lossless;
    lossless.lossless = true;
    const Bytes file = std::move(encode_webp(picture, lossless, {}, {})).value();
    WebPMuxFrameInfo frame{};
    frame.bitstream = {file.data(), file.size()};
    frame.id = WEBP_CHUNK_ANMF;
    frame.duration = 100 + 10 * i;
    EXPECT_EQ(WebPMuxPushFrame(mux, &frame, 1), WEBP_MUX_OK);
  }
  const WebPMuxAnimParams params{0, 3};
  WebPMuxSetAnimationParams(mux, &params);
  WebPData data;
  EXPECT_EQ(WebPMuxAssemble(mux, &data), WEBP_MUX_OK);
  Bytes out(data.bytes, data.bytes + data.size);
  WebPDataClear(&data);
  WebPMuxDelete(mux);
  return out;
}

TEST_F(Vips, AnimationsKeepTheirFramesWhereTheResultCanHoldThem) {
  const Bytes webp = animation(4, 60, 40);
  EXPECT_EQ(vips_info(webp, {}).value().frames, 4U);
  EXPECT_EQ(vips_info(webp, {}).value().height, 40U);
  Resize resize;
  resize.width = 30;
  Recipe recipe = to(Format::kGif, {resize, Rotate{90}});
  recipe.all_frames = true;
  const auto gif = vips_process(webp, recipe, {});
  ASSERT_TRUE(gif.ok()) << gif.error().message;
  EXPECT_EQ(gif.value().frames, 4U);
  EXPECT_EQ(gif.value().width, 20U);
  EXPECT_EQ(gif.value().height, 30U);
  const auto info = vips_info(gif.value().data, {});
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info.value().frames, 4U);
  EXPECT_EQ(info.value().width, 20U);
  EXPECT_EQ(info.value().height, 30U);

  recipe = to(Format::kWebp);
  recipe.output.lossless = true;
  recipe.all_frames = true;
  const auto back = vips_process(gif.value().data, recipe, {});
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back.value().frames, 4U);
  WebPData data{back.value().data.data(), back.value().data.size()};
  WebPMux* mux = WebPMuxCreate(&data, 0);
  ASSERT_NE(mux, nullptr);
  for (unsigned i = 0; i < 4; ++i) {
    WebPMuxFrameInfo frame;
    ASSERT_EQ(WebPMuxGetFrame(mux, i + 1, &frame), WEBP_MUX_OK);
    EXPECT_EQ(frame.duration, static_cast<int>(100 + 10 * i));
    WebPDataClear(&frame.bitstream);
  }
  WebPMuxDelete(mux);

  recipe.output.format = Format::kPng;  // holds one
  const auto still = vips_process(webp, recipe, {});
  ASSERT_TRUE(still.ok());
  EXPECT_EQ(still.value().frames, 1U);
  EXPECT_EQ(still.value().height, 40U);
  EXPECT_EQ(pixels_of(still.value().data).row(0)[0], 20);
  // Without being asked only the first, too.
  EXPECT_EQ(convert(webp, Format::kWebp).value().frames, 1U);
}

TEST_F(Vips, LimitsAreJudgedBeforeDecoding) {
  const Bytes webp = animation(5, 60, 40);
  Recipe recipe = to(Format::kGif);
  recipe.all_frames = true;
  recipe.limits.max_frames = 4;
  const auto frames = vips_process(webp, recipe, {});
  ASSERT_FALSE(frames.ok());
  EXPECT_EQ(frames.error().code, ErrorCode::kImageLimit);
  recipe.limits.max_frames = 5;
  recipe.limits.max_pixels = 5 * 60 * 40 - 1;
  EXPECT_EQ(vips_process(webp, recipe, {}).error().code, ErrorCode::kImageLimit);
  recipe.limits.max_pixels = 5 * 60 * 40;
  recipe.limits.max_output_pixels = 5 * 60 * 40 - 1;
  EXPECT_EQ(vips_process(webp, recipe, {}).error().code, ErrorCode::kImageLimit);
  recipe.limits.max_output_pixels = 5 * 60 * 40;
  EXPECT_TRUE(vips_process(webp, recipe, {}).ok());

  // A header that lies: 65535x65535, and a few bytes.
  const Bytes bomb = {'G', 'I',  'F', '8', '9', 'a', 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0,    0, 0, 255, 255,
                      255, 0x2c, 0,   0,   0,   0,   0xff, 0xff, 0xff, 0xff, 0,    2, 2, 0x44, 1, 0, 0x3b};
  const auto large = vips_process(bomb, to(Format::kPng), {});
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code, ErrorCode::kImageLimit) << large.error().message;
  EXPECT_EQ(vips_info(bomb, {}).error().code, ErrorCode::kImageLimit);
}

TEST_F(Vips, NothingButPicturesOfOursIsLoaded) {
  const auto text = [](std::string_view words) { return Bytes(words.begin(), words.end()); };
  const Bytes files[] = {text("<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'></svg>"),
                         text("%PDF-1.4\n1 0 obj\n"),
                         text("P6 2 2 255\n123456789012"),
                         text("SIMPLE  =                    T"),
                         text(""),
                         text("#?RADIANCE\n")};
  for (const Bytes& file : files) {
    const auto refused = vips_process(file, to(Format::kPng), {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupportedFormat) << refused.error().message;
  }
}

TEST_F(Vips, DamageIsAResult) {
  const Bytes png = png_of(Model::kRgba, 70, 50);
  std::vector<Bytes> files = {animation(3, 30, 20)};
  for (const Format format : {Format::kGif, Format::kTiff, Format::kAvif})
    files.push_back(convert(png, format).value().data);
  int errors = 0;
  Resize resize;
  resize.width = 20;
  for (unsigned seed = 0; seed < 240; ++seed) {
    const Bytes& file = files[seed % files.size()];
    Bytes damaged = with_damage(file, seed);
    if (seed % 3 == 0) damaged.resize(damaged.size() * (seed % 50 + 1) / 51);
    for (const FailOn fail_on : {FailOn::kError, FailOn::kNone}) {
      Recipe recipe = to(Format::kPng, {resize});
      recipe.fail_on = fail_on;
      recipe.all_frames = true;
      recipe.limits.max_pixels = 1'000'000;
      const auto got = vips_process(damaged, recipe, {});
      if (got.ok()) continue;
      ++errors;
      const ErrorCode code = got.error().code;
      EXPECT_TRUE(code == ErrorCode::kImage || code == ErrorCode::kImageLimit || code == ErrorCode::kUnsupportedFormat)
          << got.error().message;
    }
  }
  EXPECT_GT(errors, 60);
}

TEST_F(Vips, TruncatedIsAnErrorUnlessBestEffortIsAskedFor) {
  const Bytes gif = convert(png_of(Model::kRgb, 200, 200), Format::kGif).value().data;
  const Bytes cut(gif.begin(), gif.begin() + static_cast<std::ptrdiff_t>(gif.size() / 2));
  const auto strict = convert(cut, Format::kPng);
  ASSERT_FALSE(strict.ok());
  EXPECT_EQ(strict.error().code, ErrorCode::kImage);
  Recipe lenient = to(Format::kPng);
  lenient.fail_on = FailOn::kNone;
  const auto partial = vips_process(cut, lenient, {});
  ASSERT_TRUE(partial.ok()) << partial.error().message;
  EXPECT_EQ(partial.value().width, 200U);
}

TEST_F(Vips, AStopAndADeadlineEndIt) {
  const Bytes png = png_of(make_pattern(Model::kRgb, 1200, 900));
  runtime::Work work;
  work.request_stop();
  EXPECT_EQ(vips_process(png, to(Format::kTiff), Stop(&work)).error().code, ErrorCode::kStopped);
  const auto late = vips_process(png, to(Format::kTiff), Stop(nullptr, runtime::now_ns() + 1'000'000));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  // The next one is none the worse for it.
  EXPECT_TRUE(convert(png, Format::kTiff).ok());
}

TEST_F(Vips, AForkedChildIsToldInsteadOfHanging) {
  const Bytes png = png_of(Model::kRgb, 40, 30);
  ASSERT_TRUE(convert(png, Format::kTiff).ok());
  EXPECT_EQ(offloop::testing::run_in_child([&] {
              if (vips_available()) return 1;
              const auto refused = convert(png, Format::kTiff);
              if (refused.ok() || refused.error().code != ErrorCode::kUnsupportedFormat) return 2;
              return refused.error().message.find("fork") == std::string::npos ? 3 : 0;
            }),
            "exit 0");
  EXPECT_TRUE(convert(png, Format::kTiff).ok());
}

#if defined(OFFLOOP_WITH_VIPS)

std::atomic<int> g_made{0};
std::atomic<bool> g_told{false};

/// Ends the process while a thread makes one picture after the other. Returns to nobody.
void exit_while_running() {
  ::alarm(offloop::testing::kChildLimitSeconds);
  // Registered before libvips starts, and so called after what is registered with it. By then the thread has been told.
  std::atexit([] { g_told.wait(false); });
  std::thread([] {
    const Bytes png = png_of(Model::kRgb, 300, 200);
    while (convert(png, Format::kTiff).ok()) {
      g_made.fetch_add(1);
      g_made.notify_one();
    }
    g_told.store(true);
    g_told.notify_one();
    while (true) ::pause();
  }).detach();
  g_made.wait(0);
  std::exit(0);
}

TEST(VipsExit, EndsWhatIsRunningBeforeItsLibrariesAreTakenDown) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a program of its own
  EXPECT_EXIT(exit_while_running(), ::testing::ExitedWithCode(0), "");
}

#endif

TEST_F(Vips, ManyThreadsAtOnce) {
  const Bytes png = png_of(Model::kRgba, 150, 100);
  const Bytes gif = convert(png, Format::kGif).value().data;
  Resize resize;
  resize.width = 40;
  const Bytes expected = convert(gif, Format::kPng, {resize}).value().data;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 20; ++k) {
        const auto made = convert(gif, Format::kPng, {resize});
        ASSERT_TRUE(made.ok()) << made.error().message;
        ASSERT_EQ(made.value().data, expected);
        const auto broken = convert(Bytes(gif.begin(), gif.begin() + 40), Format::kPng);
        ASSERT_FALSE(broken.ok());
        EXPECT_EQ(broken.error().code, ErrorCode::kImage);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace offloop::image
