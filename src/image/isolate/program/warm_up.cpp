#include "image/isolate/program/warm_up.h"

#include <cstdlib>
#include <iterator>
#include <stdexcept>

#include "image/encoder.h"
#include "image/pixels.h"
#include "offloop/image/process.h"

namespace offloop::image::isolate {
namespace {

constexpr int kSide = 16;

Pixels small_picture() {
  Pixels pixels;
  pixels.width = pixels.height = kSide;
  pixels.planes.emplace_back(kSide, kSide, channels_of(pixels.model));
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide * channels_of(pixels.model); ++x)
      pixels.planes[0].row(y)[x] = static_cast<std::uint8_t>(x * y);
  }
  return pixels;
}

void decode_and_encode(const Bytes& file, Format to) {
  Recipe recipe;
  recipe.engine = Engine::kFast;
  recipe.steps = {AutoOrient{}, Resize{kSide / 2, kSide / 2}};
  recipe.output.format = to;
  recipe.output.effort = 0;
  (void)process(file, recipe);
}

/// The C library's qsort() asks once how much memory the machine has, for more than a kilobyte: libwebp sorts a
/// palette.
void sort_something() {
  int numbers[1024] = {};
  std::qsort(numbers, std::size(numbers), sizeof numbers[0], [](const void*, const void*) { return 0; });
}

}  // namespace

void warm_up() {
  try {
    sort_something();
    const Pixels pixels = small_picture();
    Output output;
    output.effort = 0;
    if (auto file = encode_webp(pixels, output, {}, {}); file.ok()) decode_and_encode(file.value(), Format::kJpeg);
    for (int round = 0; round < 2; ++round) {
      if (auto file = encode_jpeg(pixels, output, {}, {}); file.ok()) decode_and_encode(file.value(), Format::kPng);
      if (auto file = encode_png(pixels, output, {}, {}); file.ok()) decode_and_encode(file.value(), Format::kWebp);
      output.progressive = true;  // other parts of the codecs
    }
    throw std::runtime_error("the first exception makes the unwinder look around");
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): whatever could not be done now is tried later
  }
}

}  // namespace offloop::image::isolate
