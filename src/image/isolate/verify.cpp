#include "image/isolate/verify.h"

namespace offloop::image::isolate {

std::string doubt(const Answer& answer, const Recipe& recipe, Format input, const Budget& budget) {
  const Limits& limits = recipe.limits;
  const ImageInfo& info = answer.input;
  if (!has_decoder(answer.format)) return "a result of a format that it cannot write";
  if (recipe.output.format != Format::kUnknown && answer.format != recipe.output.format)
    return "a result of another format than was asked for";
  if (answer.size == 0 || answer.size > budget.output_bytes) return "a result whose size cannot be";
  if (answer.width == 0 || answer.height == 0 || answer.frames == 0) return "a result without pixels";
  const std::uint64_t pixels = std::uint64_t{answer.width} * answer.height;
  if (pixels > limits.max_output_pixels / answer.frames) return "a result of more pixels than the limits allow";
  if (info.format != input) return "another format than the input has";
  if (info.width == 0 || info.height == 0 || info.frames == 0) return "an input without pixels";
  if (std::uint64_t{info.width} * info.height > limits.max_pixels)
    return "an input of more pixels than the limits allow";
  if (info.channels < 1 || info.channels > 4 || info.bits < 1 || info.bits > 16)
    return "an input whose pixels cannot be";
  if (info.orientation < 1 || info.orientation > 8) return "an orientation that does not exist";
  return {};
}

bool may_fail_so(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kTimeout:
    case ErrorCode::kImage:
    case ErrorCode::kImageLimit:
    case ErrorCode::kUnsupportedFormat:
    case ErrorCode::kInternal:
      return true;
    default:
      return false;
  }
}

std::string printable(std::string text) {
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

bool has_decoder(Format format) noexcept {
  return format == Format::kJpeg || format == Format::kPng || format == Format::kWebp;
}

}  // namespace offloop::image::isolate
