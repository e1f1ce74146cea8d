// The decoder program that ships: what process() makes comes out of it byte for byte, whatever of the codecs is used
// first.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "image/encoder.h"
#include "image/isolate.h"
#include "image/isolate/decoder_set.h"
#include "offloop/image/process.h"
#include "support/own_processes.h"

namespace offloop::image::isolate {
namespace {

Pixels picture(Model model, int width, int height) {
  Pixels pixels;
  pixels.model = model;
  pixels.width = width;
  pixels.height = height;
  const int channels = channels_of(model);
  pixels.planes.emplace_back(width, height, channels);
  std::uint32_t noise = 1;
  for (int y = 0; y < height; ++y) {
    std::uint8_t* row = pixels.planes[0].row(y);
    for (int x = 0; x < width * channels; ++x) {
      noise ^= noise << 13, noise ^= noise >> 17, noise ^= noise << 5;
      row[x] = static_cast<std::uint8_t>((x + 2 * y) / 4 + static_cast<int>(noise % 3));
    }
  }
  return pixels;
}

struct File {
  std::string name;
  Bytes bytes;
};

void add(std::vector<File>& files, std::string name, Result<Bytes> bytes) {
  ASSERT_TRUE(bytes.ok()) << name << ": " << bytes.error().message;
  files.push_back({std::move(name), std::move(bytes).value()});
}

std::vector<File> files() {
  std::vector<File> all;
  for (const Model model : {Model::kRgb, Model::kRgba, Model::kGrey}) {
    const Pixels pixels = picture(model, 61, 43);
    const std::string kind = std::to_string(channels_of(model)) + " channels";
    Output output;
    if (!has_alpha(model)) add(all, "jpeg, " + kind, encode_jpeg(pixels, output, {}, {}));
    add(all, "png, " + kind, encode_png(pixels, output, {}, {}));
    add(all, "webp, " + kind, encode_webp(pixels, output, {}, {}));
    output.progressive = output.lossless = true;
    if (!has_alpha(model)) add(all, "progressive jpeg, " + kind, encode_jpeg(pixels, output, {}, {}));
    add(all, "interlaced png, " + kind, encode_png(pixels, output, {}, {}));
    add(all, "lossless webp, " + kind, encode_webp(pixels, output, {}, {}));
  }
  return all;
}

std::vector<Recipe> recipes() {
  std::vector<Recipe> all;
  for (const Format format : {Format::kUnknown, Format::kJpeg, Format::kPng, Format::kWebp}) {
    Recipe recipe;
    recipe.engine = Engine::kFast;
    recipe.output.format = format;
    all.push_back(recipe);
    recipe.steps = {AutoOrient{}, Rotate{90}, Resize{40, 60, Fit::kContain}, Greyscale{}};
    recipe.output.optimize = recipe.output.progressive = true;
    all.push_back(recipe);
    recipe.steps = {Flip{}, Crop{5, 10, 40, 30}, Resize{50, 0, Fit::kFill, Position::kTop, Kernel::kMitchell}};
    recipe.output.lossless = recipe.output.keep_metadata = recipe.output.keep_profile = true;
    all.push_back(recipe);
  }
  return all;
}

Options real() {
  Options options;
  options.program = OFFLOOP_REAL_DECODER;
  return options;
}

void expect_same(DecoderSet& set, const Bytes& file, const Recipe& recipe) {
  const auto here = process(file, recipe);
  const auto there = set.process(file, recipe, {});
  ASSERT_EQ(here.ok(), there.ok()) << (there.ok() ? "" : there.error().message);
  if (!here.ok()) {
    EXPECT_EQ(here.error().code, there.error().code);
    EXPECT_EQ(here.error().message, there.error().message);
    return;
  }
  EXPECT_EQ(here.value().data, there.value().data);
  EXPECT_EQ(here.value().format, there.value().format);
  EXPECT_EQ(here.value().width, there.value().width);
  EXPECT_EQ(here.value().height, there.value().height);
  EXPECT_EQ(here.value().frames, there.value().frames);
  EXPECT_EQ(here.value().input.width, there.value().input.width);
  EXPECT_EQ(here.value().input.has_alpha, there.value().input.has_alpha);
  EXPECT_EQ(here.value().input.progressive, there.value().input.progressive);
}

TEST(IsolatedCodecs, ThereComesOutWhatComesOutHere) {
  DecoderSet set(real());
  for (const File& file : files()) {
    for (const Recipe& recipe : recipes()) {
      SCOPED_TRACE(file.name + " to " + format_name(recipe.output.format));
      expect_same(set, file.bytes, recipe);
    }
  }
  EXPECT_EQ(set.started(), 1U);
}

// Nothing may be left that is made on first use behind the filter: each is the first picture of its process.
TEST(IsolatedCodecs, AnyPictureMayBeTheFirst) {
  Options options = real();
  options.pictures = 1;
  DecoderSet set(options);
  const std::vector<Recipe> all = recipes();
  std::size_t next = 0;
  for (const File& file : files()) {
    for (int i = 0; i < 4; ++i, next = (next + 5) % all.size()) {  // each recipe comes up, each file in four formats
      SCOPED_TRACE(file.name + " to " + format_name(all[next].output.format));
      expect_same(set, file.bytes, all[next]);
    }
  }
}

TEST(IsolatedCodecs, BrokenPicturesFailThereAsTheyDoHere) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer reads /proc/self/maps at each longjmp() out of a codec, which the filter forbids";
#endif
  DecoderSet set(real());
  for (File& file : files()) {
    SCOPED_TRACE(file.name);
    for (const std::size_t cut : {std::size_t{13}, std::size_t{60}, file.bytes.size() / 2, file.bytes.size() - 3}) {
      const Bytes part(file.bytes.begin(), file.bytes.begin() + static_cast<std::ptrdiff_t>(cut));
      expect_same(set, part, recipes()[0]);
    }
    for (std::size_t at = file.bytes.size() / 3; at < file.bytes.size(); at += file.bytes.size() / 5)
      file.bytes[at] ^= 0x5a;
    expect_same(set, file.bytes, recipes()[1]);
  }
  EXPECT_EQ(set.started(), 1U);  // a broken picture is an answer, not a death
}

/// The most address space that this process's only child has ever had.
std::uint64_t peak_bytes() {
  const auto children = testing::children_of(::getpid());
  if (children.size() != 1) return 0;
  std::ifstream status("/proc/" + std::to_string(children[0].first) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPeak:")) return std::strtoull(line.c_str() + 7, nullptr, 10) * 1024;
  }
  return 0;
}

/// What the budget grows by with each pixel of the limits.
std::uint64_t bytes_a_pixel(Recipe recipe) {
  constexpr std::uint64_t kMany = 1'000'000'000;
  recipe.limits.max_pixels = recipe.limits.max_output_pixels = 0;
  const std::uint64_t without = budget_of(recipe, 0).memory_bytes;
  recipe.limits.max_pixels = recipe.limits.max_output_pixels = kMany;
  return (budget_of(recipe, 0).memory_bytes - without) / kMany;
}

// Steps and formats that need the picture whole, several times. What the budget has for a process without one is not
// touched.
TEST(IsolatedCodecs, TheBudgetIsEnoughForTheLargestPicture) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer's own memory is counted, too";
#endif
  constexpr int kWidth = 800;
  constexpr int kHeight = 600;
  Output stored;
  stored.progressive = true;
  stored.subsampling = Subsampling::k444;
  std::vector<File> all;
  add(all, "progressive jpeg", encode_jpeg(picture(Model::kRgb, kWidth, kHeight), stored, {}, {}));
  add(all, "interlaced png", encode_png(picture(Model::kRgba, kWidth, kHeight), stored, {}, {}));
  for (const bool lossless : {false, true}) {
    DecoderSet set(real());
    Recipe recipe;
    recipe.engine = Engine::kFast;
    recipe.steps = {Rotate{90}};
    recipe.output.lossless = lossless;
    ASSERT_TRUE(set.process(files()[0].bytes, recipe, {}).ok());
    const std::uint64_t before = peak_bytes();
    ASSERT_NE(before, 0U);
    for (const File& file : all) {
      for (const Format format : {Format::kJpeg, Format::kPng, Format::kWebp}) {
        SCOPED_TRACE(file.name + " to " + format_name(format));
        recipe.output.format = format;
        const auto there = set.process(file.bytes, recipe, {});
        ASSERT_TRUE(there.ok()) << there.error().message;
        EXPECT_LE(peak_bytes() - before, bytes_a_pixel(recipe) * kWidth * kHeight);
      }
    }
    EXPECT_GT(peak_bytes() - before, 4U * kWidth * kHeight);  // measured at all
  }
}

// The way users take.
TEST(IsolatedCodecs, TheRecipeSaysSo) {
  ::setenv("OFFLOOP_DECODER", OFFLOOP_REAL_DECODER, 1);
  const auto file = encode_jpeg(picture(Model::kRgb, 64, 48), {}, {}, {});
  ASSERT_TRUE(file.ok());
  Recipe recipe;
  recipe.isolate = true;
  recipe.steps = {Resize{32, 0}};
  const auto result = process(file.value(), recipe);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result.value().width, 32U);
  EXPECT_EQ(result.value().height, 24U);
  recipe.isolate = false;
  EXPECT_EQ(result.value().data, process(file.value(), recipe).value().data);
}

}  // namespace
}  // namespace offloop::image::isolate
