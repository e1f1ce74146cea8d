#include "offloop/image/process.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "image/budget.h"
#include "image/decoder.h"
#include "image/encoder.h"
#include "image/engine.h"
#include "image/turned.h"
#include "offloop/runtime/clock.h"
#include "support/image_pictures.h"

namespace offloop::image {
namespace {

using testing::encoded;
using testing::exif_with_orientation;
using testing::mean_squared_error;
using testing::natural;

struct Whole final : RowSink {
  explicit Whole(const PlaneShape& shape) : plane(shape.width, shape.height, shape.channels) {}
  void row(int, const std::uint8_t* samples) override {
    std::copy_n(samples, plane.width * plane.channels, plane.row(next++));
  }
  [[nodiscard]] bool full() const noexcept override { return false; }
  Plane plane;
  int next = 0;
};

Plane decoded(ByteSpan bytes) {
  Result<std::unique_ptr<Decoder>> decoder = open_jpeg(bytes, {});
  EXPECT_TRUE(decoder.ok());
  const Shape shape = decoder.value()->prepare({}).value();
  Whole whole(shape.planes[0]);
  EXPECT_TRUE(decoder.value()->decode(whole, {}).ok());
  return whole.plane;
}

Processed processed(const Bytes& bytes, const Recipe& recipe) {
  Result<Processed> result = process(bytes, recipe);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? std::move(result).value() : Processed{};
}

ErrorCode error_of(ByteSpan bytes, const Recipe& recipe) {
  const Result<Processed> result = process(bytes, recipe);
  return result.ok() ? ErrorCode::kOk : result.error().code;
}

Recipe recipe_of(std::vector<Step> steps) {
  Recipe recipe;
  recipe.steps = std::move(steps);
  recipe.output.quality = 95;
  return recipe;
}

Turn inverse(Turn turn) {
  for (unsigned o = 1; o <= 8; ++o) {
    if (then(turn, turn_of_orientation(o)).identity()) return turn_of_orientation(o);
  }
  return {};
}

// Odd sizes: where chroma has half the samples, its last one stands for a single pixel, and a turn brings it to the
// other end.
TEST(Process, EveryOrientationComesOutUpright) {
  const Pixels upright = natural(121, 87, Model::kRgb, 1);
  Output output;
  output.quality = 98;
  for (const auto& [width, height] : {std::pair{0U, 0U}, {61U, 43U}, {40U, 40U}}) {
    std::vector<Step> steps = {AutoOrient{}};
    if (width != 0) steps.emplace_back(Resize{width, height});
    const Recipe recipe = recipe_of(steps);
    const Plane expected = decoded(processed(encoded(upright, output), recipe).data);
    for (unsigned orientation = 1; orientation <= 8; ++orientation) {
      const Pixels stored = turned(upright, inverse(turn_of_orientation(orientation)));
      Metadata metadata;
      metadata.exif = exif_with_orientation(orientation);
      const Bytes bytes = encode_jpeg(stored, output, metadata, {}).value();
      const Processed result = processed(bytes, recipe);
      const Plane got = decoded(result.data);
      EXPECT_EQ(got.width, static_cast<int>(result.width));
      EXPECT_LT(mean_squared_error(got, expected), 15) << orientation << " at " << width;
      EXPECT_EQ(result.input.orientation, orientation);
      EXPECT_EQ(result.input.upright_width(), 121U);
    }
  }
}

TEST(Process, PlanesAndRgbGiveTheSamePicture) {
  Output output;
  output.quality = 98;
  const Bytes bytes = encoded(natural(300, 200, Model::kRgb, 2), output);
  for (const auto& steps : {std::vector<Step>{Resize{150, 0}},
                            {Resize{64, 64}},
                            {Crop{11, 7, 101, 99}},
                            {Crop{11, 7, 200, 150}, Resize{91, 0}, Flop{}},
                            {Resize{450, 301, Fit::kFill}}}) {
    const Recipe planes = recipe_of(steps);
    Recipe rgb = planes;
    rgb.steps.emplace_back(Crop{0, 0, 1, 1});
    Recipe whole = planes;
    whole.steps.emplace_back(Resize{1, 1, Fit::kFill});  // a second resize forbids planes; its size is checked only
    EXPECT_EQ(processed(bytes, whole).width, 1U);
    // The same through RGB: on a canvas of its own size.
    const Processed a = processed(bytes, planes);
    Recipe canvas = planes;
    canvas.steps.emplace_back(Resize{a.width + 1, a.height, Fit::kContain});
    canvas.steps.emplace_back(Crop{0, 0, a.width, a.height});
    const Processed b = processed(bytes, canvas);
    EXPECT_EQ(a.width, b.width);
    EXPECT_LT(mean_squared_error(decoded(a.data), decoded(b.data)), 25);
  }
}

TEST(Process, ContainHasTheBackground) {
  Recipe recipe = recipe_of({Resize{60, 60, Fit::kContain}});
  recipe.output.background = {200, 30, 40, 255};
  const Processed result = processed(encoded(natural(120, 60, Model::kRgb, 3), {}), recipe);
  EXPECT_EQ(result.width, 60U);
  EXPECT_EQ(result.height, 60U);
  const Plane plane = decoded(result.data);
  EXPECT_NEAR(plane.row(2)[3 * 30], 200, 6);
  EXPECT_NEAR(plane.row(57)[3 * 30 + 1], 30, 6);
}

TEST(Process, GreyscaleLeavesLumaOnly) {
  const Bytes bytes = encoded(natural(80, 60, Model::kRgb, 4), {});
  const Processed result = processed(bytes, recipe_of({Resize{40, 0}, Greyscale{}}));
  EXPECT_EQ(read_info(result.data).value().channels, 1);
}

TEST(Process, MetadataAreStrippedUnlessKept) {
  Metadata metadata;
  metadata.exif = exif_with_orientation(3);
  metadata.xmp = {'x', 'm', 'p'};
  const Bytes bytes = encode_jpeg(natural(30, 30, Model::kRgb, 5), {}, metadata, {}).value();
  Recipe recipe = recipe_of({AutoOrient{}, Resize{20, 0}});
  const Bytes stripped = processed(bytes, recipe).data;
  EXPECT_TRUE(open_jpeg(stripped, {}).value()->metadata().exif.empty());
  recipe.output.keep_metadata = true;
  const Bytes kept = processed(bytes, recipe).data;
  const auto decoder = open_jpeg(kept, {}).value()->metadata();
  EXPECT_EQ(decoder.exif, exif_with_orientation(1)) << "it has been applied";
  EXPECT_EQ(decoder.xmp, metadata.xmp);
  recipe.steps = {Resize{20, 0}};
  const Bytes unturned = processed(bytes, recipe).data;
  EXPECT_EQ(read_info(unturned).value().orientation, 3) << "it has not";
}

TEST(Process, LimitsAreExact) {
  const Bytes bytes = encoded(natural(50, 40, Model::kRgb, 6), {});
  Recipe recipe = recipe_of({Resize{10, 0}});
  recipe.limits.max_pixels = 2000;
  EXPECT_EQ(error_of(bytes, recipe), ErrorCode::kOk);
  recipe.limits.max_pixels = 1999;
  EXPECT_EQ(error_of(bytes, recipe), ErrorCode::kImageLimit);
  EXPECT_EQ(read_info(bytes, recipe.limits).error().code, ErrorCode::kImageLimit);
  recipe.limits.max_pixels = 2000;
  recipe.limits.max_bytes = bytes.size();
  EXPECT_EQ(error_of(bytes, recipe), ErrorCode::kOk);
  recipe.limits.max_bytes = bytes.size() - 1;
  EXPECT_EQ(error_of(bytes, recipe), ErrorCode::kImageLimit);
}

TEST(Process, WhatIsNoPictureIsUnsupported) {
  for (const char* text :
       {"", "x", "<svg xmlns='http://www.w3.org/2000/svg'/>", "%PDF-1.7", "P6 1 1 255 abc", "8BPS", "BM"}) {
    const std::string_view view(text);
    const ByteSpan span(reinterpret_cast<const std::uint8_t*>(view.data()), view.size());
    EXPECT_EQ(error_of(span, recipe_of({Resize{1, 1}})), ErrorCode::kUnsupportedFormat) << text;
    EXPECT_EQ(read_info(span).error().code, ErrorCode::kUnsupportedFormat) << text;
  }
}

TEST(Process, BadRecipesSayWhatWasExpected) {
  const Bytes bytes = encoded(natural(10, 10, Model::kRgb, 7), {});
  for (const Recipe& recipe : {recipe_of({Resize{}}), recipe_of({Rotate{45}}), recipe_of({Crop{0, 0, 0, 5}}),
                               recipe_of({Crop{8, 0, 3, 3}}), [] {
                                 Recipe bad = recipe_of({Resize{5, 5}});
                                 bad.output.quality = 0;
                                 return bad;
                               }()}) {
    const Result<Processed> result = process(bytes, recipe);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find("got"), std::string::npos) << result.error().message;
  }
}

TEST(Engine, IsChosenByFormatAndCanBeForced) {
  Recipe recipe;
  EXPECT_EQ(engine_for(recipe, Format::kJpeg, 1), Engine::kFast);
  EXPECT_EQ(engine_for(recipe, Format::kGif, 1), Engine::kVips);
  recipe.output.format = Format::kAvif;
  EXPECT_EQ(engine_for(recipe, Format::kJpeg, 1), Engine::kVips);
  recipe.output.format = Format::kWebp;
  EXPECT_EQ(engine_for(recipe, Format::kWebp, 9), Engine::kFast) << "the first frame only";
  recipe.all_frames = true;
  EXPECT_EQ(engine_for(recipe, Format::kWebp, 9), Engine::kVips);
  ::setenv("OFFLOOP_IMAGE", "fast", 1);
  EXPECT_EQ(engine_for(recipe, Format::kGif, 1), Engine::kFast);
  ::setenv("OFFLOOP_IMAGE", "vips", 1);
  EXPECT_EQ(engine_for(Recipe{}, Format::kJpeg, 1), Engine::kVips);
  recipe.engine = Engine::kFast;
  EXPECT_EQ(engine_for(recipe, Format::kGif, 1), Engine::kFast) << "what the caller says goes first";
  ::unsetenv("OFFLOOP_IMAGE");
}

TEST(PixelShare, OneWaitsUntilAnotherIsDone) {
  set_max_pixels_in_flight(100);
  std::atomic<bool> has{false};
  std::thread waiting;
  {
    const PixelShare first(60, {});
    EXPECT_EQ(pixels_in_flight(), 60U);
    const PixelShare small(40, {});
    waiting = std::thread([&] {
      const PixelShare second(50, {});
      has.store(true);
    });
    const PixelShare late(1, Stop(nullptr, 1));  // its deadline is over: it does not wait
    EXPECT_EQ(late.outcome(), ErrorCode::kTimeout);
    EXPECT_FALSE(has.load());
  }
  waiting.join();
  EXPECT_TRUE(has.load());
  EXPECT_EQ(pixels_in_flight(), 0U);
  {
    const PixelShare huge(1'000'000, {});  // alone it always runs
    EXPECT_EQ(huge.outcome(), ErrorCode::kOk);
  }
  set_max_pixels_in_flight(kDefaultPixelsInFlight);
}

}  // namespace
}  // namespace offloop::image
