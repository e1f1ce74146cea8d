// What is to be done with a picture: steps in order, then the form of the result.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "offloop/base/result.h"
#include "offloop/image/format.h"
#include "offloop/image/limits.h"

namespace offloop::image {

/// How a picture is made to fit width x height; the names are sharp's, which took them from CSS.
enum class Fit : std::uint8_t {
  kCover,    ///< fills the box, what sticks out is cut off
  kContain,  ///< within the box, the rest is background: the result has exactly the box's size
  kInside,   ///< as large as possible within the box
  kOutside,  ///< as small as possible around the box
  kFill      ///< exactly the box's size, the ratio of the sides is lost
};

/// Which part stays with kCover, and where the picture goes with kContain.
enum class Position : std::uint8_t {
  kCentre,
  kTop,
  kRightTop,
  kRight,
  kRightBottom,
  kBottom,
  kLeftBottom,
  kLeft,
  kLeftTop
};

enum class Kernel : std::uint8_t { kNearest, kArea, kLinear, kCubic, kMitchell, kLanczos2, kLanczos3 };

struct Color {
  std::uint8_t red = 255;
  std::uint8_t green = 255;
  std::uint8_t blue = 255;
  std::uint8_t alpha = 255;
};

/// Turns the picture the way its EXIF orientation says.
struct AutoOrient {};

/// Clockwise, by 90, 180 or 270 degrees.
struct Rotate {
  std::uint16_t degrees = 90;
};

struct Flip {};  ///< upside down
struct Flop {};  ///< left to right

struct Crop {
  std::uint32_t left = 0;
  std::uint32_t top = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

struct Resize {
  std::uint32_t width = 0;   ///< 0: from the height and the ratio of the sides
  std::uint32_t height = 0;  ///< 0: from the width
  Fit fit = Fit::kCover;
  Position position = Position::kCentre;
  Kernel kernel = Kernel::kLanczos3;
  bool without_enlargement = false;
};

struct Greyscale {};

using Step = std::variant<AutoOrient, Rotate, Flip, Flop, Crop, Resize, Greyscale>;

enum class Subsampling : std::uint8_t { k420, k444 };

/// The form of the result. What a format does not know is ignored.
struct Output {
  Format format =
      Format::kUnknown;  ///< kUnknown: as the input, where we write that format (else PNG with alpha, JPEG without)
  std::uint8_t quality = 80;                    ///< 1 to 100: JPEG, lossy WebP
  Subsampling subsampling = Subsampling::k420;  ///< JPEG
  bool progressive = false;                     ///< JPEG; interlaced PNG
  bool optimize = false;         ///< JPEG: Huffman tables for this picture, 2 to 5 % smaller for a second pass
  std::uint8_t compression = 6;  ///< PNG: zlib's level, 0 to 9
  std::uint8_t effort = 4;       ///< WebP: 0 to 6
  bool lossless = false;         ///< WebP
  bool keep_metadata = false;    ///< EXIF and XMP; the orientation is reset when it was applied
  bool keep_profile = false;     ///< leave colours as they are and keep the profile instead of converting to sRGB
  bool flatten = false;          ///< alpha onto the background also where the format could keep it
  Color background;              ///< for alpha that goes, and around kContain
};

/// What is broken: stop, or make the best of it.
enum class FailOn : std::uint8_t { kError, kNone };

/// Which code does it.
enum class Engine : std::uint8_t {
  kAuto,  ///< ours where it can, else libvips; OFFLOOP_IMAGE=fast|vips decides for kAuto
  kFast,  ///< ours or kUnsupportedFormat
  kVips   ///< libvips or kUnsupportedFormat
};

struct Recipe {
  std::vector<Step> steps;
  Output output;
  Limits limits;
  FailOn fail_on = FailOn::kError;
  Engine engine = Engine::kAuto;
  bool all_frames = false;  ///< of an animation, where the output can hold one
  bool isolate = false;     ///< decode in a process of its own
};

/// kInvalidArgument with what was expected and what came. Whether a crop is inside the picture is known later. [any
/// thread]
Result<Unit> check_recipe(const Recipe& recipe);

}  // namespace offloop::image
